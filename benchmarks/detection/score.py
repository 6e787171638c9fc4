"""What the records say of every candidate: rows of numbers, and the tables made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import peers
from grid import CHOOSING
from methods import DECISIONS, RATES, SCORES, STOPS, Seen
from records import Record


def rows_of(record: Record, folds: dict[str, np.ndarray] | None, others: Sequence[Record] = ()) -> list[dict[str, Any]]:
    """A row for each candidate and metric of one record; peers that need folds are left out without them.

    With other trainings of the same labels, the mean of each score over all of them stands beside it.
    """
    seen, noisy = Seen.of(record), record.noisy
    given = record.given
    scores = {name: method(seen) for name, method in SCORES.items()}
    if others:
        every = [seen, *map(Seen.of, others)]
        scores |= {f"{len(every)} trainings: {name}": _mean_score(name, every) for name in SCORES}
    flags = {name: method(seen) for name, method in DECISIONS.items()} | {"flags nothing": peers.nothing(len(given))}
    rates = {name: method(seen) for name, method in RATES.items()}
    if folds is not None:
        scores |= peers.cleanlab_scores(given, folds)
        flags |= peers.cleanlab_flags(given, folds)
        rates |= {name: (rate, np.nan, np.nan) for name, rate in peers.cleanlab_rates(given, folds).items()}
    rows = [_row("score", name, **ranking(noisy, values)) for name, values in scores.items() if noisy.any()]
    rows += [_row("decision", name, **decided(noisy, mask)) for name, mask in flags.items()]
    rows += [_row("rate", name, **estimated(float(noisy.mean()), *values)) for name, values in rates.items()]
    rows += [_row("stop", name, **regret(record, rule(seen))) for name, rule in STOPS.items()]
    rows += [_row("cost", "one training", seconds=float(record.seconds), trainings=1.0)]
    if folds is not None:
        rows += [_row("cost", "5 folds", seconds=float(folds["seconds"]), trainings=4.0)]
    setting = record.setting
    common = {
        "data": setting.data, "learner": setting.learner, "noise": setting.noise, "schedule": setting.schedule,
        "seed": setting.seed, "half": "choosing" if setting.seed in CHOOSING else "reporting",
        "rate_true": float(noisy.mean()), "folds": folds is not None,
    }  # fmt: skip
    return [common | row for row in rows]


def _mean_score(name: str, every: Sequence[Seen]) -> np.ndarray:
    return np.mean([SCORES[name](seen) for seen in every], axis=0)


def _row(what: str, name: str, **values: float) -> dict[str, Any]:
    return {"what": what, "name": name, **values}


def ranking(noisy: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Average precision, and the share of wrong labels among as many of the most suspicious as there are (P@k)."""
    order = np.argsort(-score, kind="stable")
    hits = noisy[order]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    return {"ap": float(precision[hits].mean()), "p_at_k": float(hits[: noisy.sum()].mean())}


def decided(noisy: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    """F1 (NaN without wrong labels), precision, recall and the share that is flagged."""
    both, total = float((noisy & flagged).sum()), float(noisy.sum() + flagged.sum())
    return {
        "f1": 2 * both / total if noisy.any() else np.nan,
        "precision": both / flagged.sum() if flagged.any() else np.nan,
        "recall": both / noisy.sum() if noisy.any() else np.nan,
        "flagged": float(flagged.mean()),
    }


def estimated(true: float, rate: float, low: float, high: float) -> dict[str, float]:
    """Error of an estimated rate, and whether its interval holds the true one."""
    covers = np.nan if np.isnan(low) else float(low <= true <= high)
    return {"rate": rate, "error": rate - true, "covers": covers, "width": high - low}


def regret(record: Record, stop: int) -> dict[str, float]:
    """Points of test accuracy lost against the best single epoch, and against the best average of five."""
    single, averaged = 100 * record.test_accuracy, 100 * record.test_accuracy_averaged
    best = float(single.max())
    lost = {"single": best - float(single[stop])}
    if not np.isnan(averaged).any():
        lost |= {"averaged": best - float(averaged[stop]), "averaged_best": float(averaged.max() - averaged[stop])}
    return lost


# --------------------------------------------------------------------------------------------------------------- tables


def tables(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown: scores, decisions, rates, stops and costs, on both halves of the seeds, and the losses."""
    frame = pd.DataFrame(rows)
    noisy = frame[frame["rate_true"] > 0]
    clean = frame[frame["rate_true"] == 0]
    parts = [
        "## Scores: average precision", _scores(noisy),
        "## Scores by kind of noise (reporting seeds)", _by(noisy, "score", "ap", "kind"),
        "## Scores by data set (reporting seeds)", _by(noisy, "score", "ap", "place"),
        "## Decisions without a known rate", _decisions(noisy, clean),
        "## F1 of decisions by kind of noise (reporting seeds)", _by(noisy, "decision", "f1", "kind"),
        "## F1 of decisions by data set (reporting seeds)", _by(noisy, "decision", "f1", "place"),
        "## Share flagged on clean data (all seeds)",
        _by(clean, "decision", "flagged", "place", halves=("choosing", "reporting")),
        "## Rate", _rates(frame),
        "## Stops: regret in points of test accuracy", _stops(noisy, clean),
        "## Cost", _costs(frame),
        "## Where the default loses", _losses(noisy),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _scores(noisy: pd.DataFrame) -> str:
    """Mean, spread and worst case over all records, and over those with folds, on which cleanlab can be compared."""
    part = noisy[noisy["what"] == "score"]
    table = _halves(part, lambda group: {
        "AP": group["ap"].mean(), "sd": group["ap"].std(), "worst": group["ap"].min(), "P@k": group["p_at_k"].mean(),
    })  # fmt: skip
    with_folds = part[part["folds"]]
    if len(with_folds):
        table["AP where folds are"] = with_folds.groupby("name")["ap"].mean()
    return _markdown(table, sort=next((name for name in table.columns[::-1] if ": AP" in name), None))


def _by(frame: pd.DataFrame, what: str, value: str, column: str, halves: tuple[str, ...] = ("reporting",)) -> str:
    """Means of a value over the records of each kind of noise, or of each place: data set and learner."""
    part = frame[(frame["what"] == what) & frame["half"].isin(halves)].copy() if len(frame) else frame
    if part.empty:
        return "No such records."
    part["kind"] = [noise.partition(":")[0] for noise in part["noise"]]
    part["place"] = part["data"] + " " + part["learner"]
    return _markdown(part.pivot_table(index="name", columns=column, values=value))


def _decisions(noisy: pd.DataFrame, clean: pd.DataFrame) -> str:
    part, empty = noisy[noisy["what"] == "decision"], clean[clean["what"] == "decision"]
    table = _halves(part, lambda group: {
        "F1": group["f1"].mean(), "sd": group["f1"].std(),
        "worst, rate >= 10 %": group.loc[group["rate_true"] >= 0.095, "f1"].min(),
        "the same without subclass noise": group.loc[
            (group["rate_true"] >= 0.095) & ~group["noise"].str.startswith("subclass"), "f1"
        ].min(),
    })  # fmt: skip
    flagged = _halves(empty, lambda group: {
        "flagged on clean data": group["flagged"].mean(), "at most": group["flagged"].max(),
    })  # fmt: skip
    both = table.join(flagged, how="outer")
    with_folds = part[part["folds"]]
    if len(with_folds):
        both["F1 where folds are"] = with_folds.groupby("name")["f1"].mean()
    return _markdown(both, sort=next(iter(table.columns), None))


def _rates(frame: pd.DataFrame) -> str:
    part = frame[frame["what"] == "rate"]
    return _markdown(_halves(part, lambda group: {
        "mean absolute error": group["error"].abs().mean(),
        "the same without subclass noise": group.loc[~group["noise"].str.startswith("subclass"), "error"].abs().mean(),
        "bias": group["error"].mean(),
        "worst": group["error"].abs().max(), "intervals that hold it": group["covers"].mean(),
        "their width": group["width"].mean(),
    }), sort=None)  # fmt: skip


def _stops(noisy: pd.DataFrame, clean: pd.DataFrame) -> str:
    def summary(group: pd.DataFrame) -> dict[str, float]:
        found = {}
        for column in ("single", "averaged"):
            values = group[column].dropna() if column in group else pd.Series(dtype=float)
            found |= {f"{column}, mean": values.mean(), f"{column}, p90": values.quantile(0.9)}
        return found | {"averaged, worst": group["averaged"].max() if "averaged" in group else np.nan}

    table = _halves(noisy[noisy["what"] == "stop"], summary)
    quiet = _halves(clean[clean["what"] == "stop"], lambda group: {"averaged, clean": group.get("averaged").mean()})
    return _markdown(table.join(quiet, how="outer"), sort=None)


def _costs(frame: pd.DataFrame) -> str:
    part = frame[(frame["what"] == "cost")]
    place = part["data"] + " " + part["learner"]
    return _markdown(part.pivot_table(index=place, columns="name", values="seconds"))


def _losses(noisy: pd.DataFrame) -> str:
    """Records with folds in which the best cleanlab score is ahead of the default one, the farthest first."""
    part = noisy[(noisy["what"] == "score") & noisy["folds"]]
    if part.empty:
        return "No records with folds."
    keys = ["data", "learner", "noise", "schedule", "seed"]
    wide = part.pivot_table(index=keys, columns="name", values="ap")
    peer = wide[[name for name in wide if name.startswith("cleanlab")]]
    default = wide[next(iter(SCORES))]
    lost = (peer.max(axis=1) - default).rename("behind by")
    table = pd.concat([default.rename("default"), peer.max(axis=1).rename("cleanlab"), lost], axis=1)
    behind = table[lost > 0].sort_values("behind by", ascending=False)
    words = f"{len(behind)} of {len(table)} records; cleanlab at best of its six variants each.\n\n"
    behind.index = pd.Index([" ".join(map(str, key)) for key in behind.index])
    return words + (_markdown(behind) if len(behind) else "None.")


def _halves(part: pd.DataFrame, summary: Any) -> pd.DataFrame:
    """A row a candidate; the columns of the summary on the choosing seeds, then on the reporting ones."""
    columns = {}
    for half in ("choosing", "reporting"):
        of_half = part[part["half"] == half]
        for name, group in of_half.groupby("name", sort=False):
            for label, value in summary(group).items():
                columns.setdefault(f"{half}: {label}", {})[name] = value
    return pd.DataFrame(columns)


def _markdown(table: pd.DataFrame, sort: str | None = None) -> str:
    """A table as markdown, three decimals."""
    if sort is not None and sort in table:
        table = table.sort_values(sort, ascending=False)
    if table.empty:
        return "No such records."
    head = ["", *map(str, table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in table.iterrows():
        cells = ["" if pd.isna(value) else f"{value:.3f}" for value in row]
        lines.append("| " + " | ".join([str(name), *cells]) + " |")
    return "\n".join(lines)
