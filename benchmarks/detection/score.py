"""What the records say of every candidate: rows of numbers, and the tables made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import peers
from grid import CHOOSING
from methods import DECISIONS, RATES, SCORES, STOPS
from records import Record
from seen import Seen


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
    frame["kind"] = [noise.partition(":")[0] for noise in frame["noise"]]
    frame["place"] = frame["data"] + " " + frame["learner"]
    noisy, clean = frame[frame["rate_true"] > 0], frame[frame["rate_true"] == 0]
    parts = []
    for half in ("reporting", "choosing"):
        seen = frame[frame["half"] == half]
        wrong, right = seen[seen["rate_true"] > 0], seen[seen["rate_true"] == 0]
        of_half = {
            "Scores: average precision": _scores(_of(wrong, "score")),
            "Decisions without a known rate": _decisions(_of(wrong, "decision"), _of(right, "decision")),
            "Rate": _rates(_of(seen, "rate")),
            "Stops: regret in points of test accuracy": _stops(_of(wrong, "stop"), _of(right, "stop")),
        }
        parts += [f"## {title} ({half} seeds)\n\n{table}" for title, table in of_half.items()]
    reported = noisy[noisy["half"] == "reporting"]
    parts += [
        "## Average precision by kind of noise (reporting seeds)", _pivot(_of(reported, "score"), "ap", "kind"),
        "## Average precision by data (reporting seeds)", _pivot(_of(reported, "score"), "ap", "place"),
        "## F1 by kind of noise (reporting seeds)", _pivot(_of(reported, "decision"), "f1", "kind"),
        "## F1 by data (reporting seeds)", _pivot(_of(reported, "decision"), "f1", "place"),
        "## Share flagged on clean data (all seeds)", _pivot(_of(clean, "decision"), "flagged", "place"),
        "## Seconds (all seeds)", _pivot(_of(frame, "cost"), "seconds", "name", "place"),
        "## Where the default score loses (all seeds)", _losses(_of(noisy, "score")),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _of(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Rows of one of score, decision, rate, stop and cost; of a frame without any, one that has all columns."""
    return frame[frame["what"] == what]


def _scores(part: pd.DataFrame) -> str:
    """Mean, spread and worst case over all records, and the mean over those with folds, to compare cleanlab with."""
    return _summary(part, "ap", lambda group: {
        "records": len(group), "AP": group["ap"].mean(), "sd": group["ap"].std(), "worst": group["ap"].min(),
        "without subclass noise": group.loc[_elsewhere(group), "ap"].mean(), "P@k": group["p_at_k"].mean(),
        "AP where folds are": group.loc[group["folds"], "ap"].mean(),
    })  # fmt: skip


def _decisions(part: pd.DataFrame, clean: pd.DataFrame) -> str:
    """F1, its worst case where a tenth of the labels or more are wrong, and what is flagged on clean data."""
    quiet = {name: group["flagged"] for name, group in clean.groupby("name")}
    absent = pd.Series(dtype=float)

    def summary(group: pd.DataFrame) -> dict[str, float]:
        frequent, on_clean = group["rate_true"] >= 0.095, quiet.get(str(group["name"].iloc[0]), absent)
        return {
            "records": len(group), "F1": group["f1"].mean(), "sd": group["f1"].std(),
            "without subclass noise": group.loc[_elsewhere(group), "f1"].mean(),
            "worst, rate >= 10 %": group.loc[frequent, "f1"].min(),
            "the same without subclass noise": group.loc[frequent & _elsewhere(group), "f1"].min(),
            "F1 where folds are": group.loc[group["folds"], "f1"].mean(),
            "flagged on clean data": on_clean.mean(), "at most": on_clean.max(),
        }  # fmt: skip

    return _summary(part, "f1", summary)


def _rates(part: pd.DataFrame) -> str:
    return _summary(part, "error", lambda group: {
        "records": len(group), "mean absolute error": group["error"].abs().mean(),
        "without subclass noise": group.loc[_elsewhere(group), "error"].abs().mean(),
        "bias": group["error"].mean(), "worst": group["error"].abs().max(),
        "intervals that hold it": group["covers"].mean(),
        "the same without subclass noise": group.loc[_elsewhere(group), "covers"].mean(),
        "width": group["width"].mean(),
    })  # fmt: skip


def _stops(part: pd.DataFrame, clean: pd.DataFrame) -> str:
    """Of the single epoch, and of the average of the weights of the five around it: against the best single epoch."""

    def summary(group: pd.DataFrame) -> dict[str, float]:
        found: dict[str, float] = {"records": len(group)}
        for column in ("single", "averaged"):
            values = group.get(column, pd.Series(dtype=float))
            quiet = clean.loc[clean["name"] == group["name"].iloc[0]].get(column, pd.Series(dtype=float))
            found |= {
                f"{column}: mean": values.mean(), "p90": values.quantile(0.9), "worst": values.max(),
                "clean": quiet.mean(),
            } if column == "single" else {
                f"{column}: mean": values.mean(), "p90 ": values.quantile(0.9), "worst ": values.max(),
                "clean ": quiet.mean(), "against the best average": group.get("averaged_best", values).mean(),
            }  # fmt: skip
        return found

    return _summary(part, "single", summary)


def _losses(part: pd.DataFrame) -> str:
    """Records with folds in which the best cleanlab score is ahead of the default one, the farthest first."""
    part = part[part["folds"]]
    if part.empty:
        return NO_RECORDS
    wide = part.pivot_table(index=["data", "learner", "noise", "schedule", "seed"], columns="name", values="ap")
    default, best = wide[next(iter(SCORES))], wide[[name for name in wide if name.startswith("cleanlab")]].max(axis=1)
    table = pd.DataFrame({"default": default, "cleanlab": best, "behind by": best - default})
    table.index = pd.Index([" ".join(map(str, key)) for key in table.index])
    behind = table[table["behind by"] > 0].sort_values("behind by", ascending=False)
    words = f"{len(behind)} of {len(table)} records; cleanlab at best of its six variants each."
    return words + (f"\n\n{_markdown(behind)}" if len(behind) else "")


def _elsewhere(group: pd.DataFrame) -> pd.Series:
    """Where the noise is not dominant in a subclass, which no score can see."""
    return group["kind"] != "subclass"


def _summary(part: pd.DataFrame, value: str, summary: Callable[[pd.DataFrame], dict[str, float]]) -> str:
    """A row a candidate, in the order of the candidates; none where nothing was measured."""
    part = part.dropna(subset=[value]) if value in part else part.iloc[:0]
    return _markdown(pd.DataFrame({name: summary(group) for name, group in part.groupby("name", sort=False)}).T)


def _pivot(part: pd.DataFrame, value: str, columns: str, index: str = "name") -> str:
    """Means of a value, a row a candidate in their order."""
    if part.empty or value not in part:
        return NO_RECORDS
    return _markdown(part.pivot_table(index=index, columns=columns, values=value, sort=False))


NO_RECORDS = "No such records."


def _markdown(table: pd.DataFrame) -> str:
    """A table as markdown, three decimals; counts without."""
    if table.empty:
        return NO_RECORDS
    head = ["", *map(str, table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in table.iterrows():
        cells = [_cell(str(column), value) for column, value in row.items()]
        lines.append("| " + " | ".join([str(name), *cells]) + " |")
    return "\n".join(lines)


def _cell(column: str, value: float) -> str:
    return "" if pd.isna(value) else f"{value:.0f}" if column == "records" else f"{value:.3f}"
