"""Markdown of the rows: what each candidate is worth over all records, by noise and by data, and beside cleanlab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from methods import SUSPECTS

GOAL = 0.02
"""How far one training may be behind the best variant of cleanlab, whose folds are five, on any data set."""
OVERALL = "mean of the data sets"


def tables(rows: Iterable[dict[str, Any]]) -> str:
    """Scores, decisions, rates and stops on both halves of the seeds; the default beside cleanlab; and by data."""
    frame = pd.DataFrame(rows)
    frame["kind"] = [noise.partition(":")[0] for noise in frame["noise"]]
    frame["place"] = frame["data"] + " " + frame["learner"]
    frame["compared"] = compared(frame)
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
        if half == "reporting":
            parts += _by_data(wrong, seen)
    parts += [
        "## Share flagged on clean data (all seeds)", _pivot(_of(clean, "decision"), "flagged", "place"),
        "## Test accuracy of the best epoch (all seeds)", _pivot(_of(frame, "test"), "accuracy", "kind", "place"),
        "## Where the default score loses (all seeds)", _losses(_of(noisy, "score")),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def compared(frame: pd.DataFrame) -> pd.Series:
    """Where a record is compared with cleanlab: it has folds and, where any record has them, several trainings."""
    return frame["folds"] & (frame["several"] if frame["several"].any() else True)


def _by_data(wrong: pd.DataFrame, every: pd.DataFrame) -> list[str]:
    """Titles and tables of reporting records with wrong labels; those of the rate hold the clean ones, too."""
    stop, rate = _of(wrong, "stop"), _of(every, "rate").assign(error=lambda part: part["error"].abs())
    titled = {
        "One training and five beside cleanlab: average precision by data": beside(_of(wrong, "score")),
        "Average precision by kind of noise": _pivot(_of(wrong, "score"), "ap", "kind"),
        "Average precision by data": _pivot(_of(wrong, "score"), "ap", "place"),
        "F1 by kind of noise": _pivot(_of(wrong, "decision"), "f1", "kind"),
        "F1 by data": _pivot(_of(wrong, "decision"), "f1", "place"),
        "Absolute error of the rate by data": _pivot(rate, "error", "place"),
        "Share of intervals that hold the rate by data": _pivot(rate, "covers", "place"),
        "Regret of the single epoch by schedule": _pivot(stop, "single", "schedule"),
        "Regret of the average of five by schedule": _pivot(stop, "averaged", "schedule"),
        "Regret of the single epoch by data": _pivot(stop, "single", "place", overall=OVERALL),
        "Regret of the average of five by data": _pivot(stop, "averaged", "place", overall=OVERALL),
    }
    return [part for title, table in titled.items() for part in (f"## {title} (reporting seeds)", table)]


def _of(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Rows of one of score, decision, rate, stop and test; of a frame without any, one that has all columns."""
    return frame[frame["what"] == what]


def _scores(part: pd.DataFrame) -> str:
    """Mean, spread and worst case over all records, the mean over those that are compared, and their CPU seconds."""
    return _summary(part, "ap", lambda group: {
        "records": len(group), "AP": group["ap"].mean(), "sd": group["ap"].std(), "worst": group["ap"].min(),
        "without subclass noise": group.loc[_elsewhere(group), "ap"].mean(), "P@k": group["p_at_k"].mean(),
        "AP, compared": group.loc[group["compared"], "ap"].mean(),
        "trainings": group["trainings"].mean(), "seconds": group.loc[group["compared"], "seconds"].mean(),
    })  # fmt: skip


def beside(part: pd.DataFrame) -> str:
    """By data: the default of one training and of several, beside the variant of cleanlab that is best there."""
    part = part[part["compared"]]
    names = [name for name in part["name"].unique() if name.endswith(SUSPECTS)]
    return "\n\n".join(_compared(name, part) for name in names) or NO_RECORDS


def _compared(name: str, part: pd.DataFrame) -> str:
    """A row a data set, one for all of them, and a sentence on the goal."""
    places = part.groupby("place", sort=False)
    table = pd.DataFrame({place: _against_cleanlab(name, group) for place, group in places}).T
    means = table.drop(columns=["records", "best variant"]).astype(float).mean()
    table.loc[OVERALL] = means
    one, behind = name == SUSPECTS, table["ahead by"].iloc[:-1].astype(float)
    missed = behind[behind < -GOAL] if one else behind[behind <= 0]
    goal = f"behind by at most {GOAL}" if one else "ahead"
    words = "met on every data set" if missed.empty else f"missed on {', '.join(missed.index)}"
    return f"{name}; goal: {goal} on each data set: {words}.\n\n{_markdown(table)}"


def _against_cleanlab(name: str, group: pd.DataFrame) -> dict[str, Any]:
    means = group.groupby("name")[["ap", "seconds"]].mean()
    theirs = means[means.index.str.startswith("cleanlab")]
    best = str(theirs["ap"].idxmax())
    return {
        "records": (group["name"] == name).sum(), "AP": means.loc[name, "ap"], "cleanlab": means.loc[best, "ap"],
        "ahead by": means.loc[name, "ap"] - means.loc[best, "ap"], "seconds": means.loc[name, "seconds"],
        "cleanlab's": means.loc[best, "seconds"], "best variant": best.removeprefix("cleanlab "),
    }  # fmt: skip


def _decisions(part: pd.DataFrame, clean: pd.DataFrame) -> str:
    """F1, its worst case where a tenth of the labels or more are wrong, and what is flagged on clean data."""

    def summary(group: pd.DataFrame) -> dict[str, float]:
        frequent, quiet = group["rate_true"] >= 0.095, clean[clean["name"] == group["name"].iloc[0]]
        return {
            "records": len(group), "F1": group["f1"].mean(), "sd": group["f1"].std(),
            "without subclass noise": group.loc[_elsewhere(group), "f1"].mean(),
            "worst, rate >= 10%": group.loc[frequent, "f1"].min(),
            "of these below 0.5": int((group.loc[frequent, "f1"] < 0.5).sum()),
            "the same without subclass noise": group.loc[frequent & _elsewhere(group), "f1"].min(),
            "F1, compared": group.loc[group["compared"], "f1"].mean(),
            "flagged on clean data": quiet["flagged"].mean(), "at most": quiet["flagged"].max(),
            "flagged, compared": quiet.loc[quiet["compared"], "flagged"].mean(),
        }  # fmt: skip

    return _summary(part, "f1", summary)


def _rates(part: pd.DataFrame) -> str:
    return _summary(part, "error", lambda group: {
        "records": len(group), "mean absolute error": group["error"].abs().mean(),
        "without subclass noise": group.loc[_elsewhere(group), "error"].abs().mean(),
        "compared": group.loc[group["compared"], "error"].abs().mean(),
        "bias": group["error"].mean(), "worst": group["error"].abs().max(),
        "intervals that hold it": group["covers"].mean(),
        "the same without subclass noise": group.loc[_elsewhere(group), "covers"].mean(),
        "width": group["width"].mean(),
    })  # fmt: skip


def _stops(part: pd.DataFrame, clean: pd.DataFrame) -> str:
    """Of the single epoch, and of the average of the weights of the five around it: against the best single epoch."""
    absent = pd.Series(dtype=float)

    def summary(group: pd.DataFrame) -> dict[str, float]:
        quiet = clean[clean["name"] == group["name"].iloc[0]]
        single, averaged = group["single"], group.get("averaged", absent)
        return {
            "records": len(group),
            "single: mean": single.mean(), "p90": single.quantile(0.9), "worst": single.max(),
            "clean": quiet["single"].mean(),
            "averaged: mean": averaged.mean(), "p90 ": averaged.quantile(0.9), "worst ": averaged.max(),
            "clean ": quiet.get("averaged", absent).mean(),
            "against the best average": group.get("averaged_best", absent).mean(),
        }  # fmt: skip

    return _summary(part, "single", summary)


def _losses(part: pd.DataFrame) -> str:
    """Records with folds in which the best cleanlab score is ahead of the default one, the farthest first."""
    part = part[part["folds"]]
    if part.empty:
        return NO_RECORDS
    wide = part.pivot_table(index=["data", "learner", "noise", "schedule", "seed"], columns="name", values="ap")
    default, best = wide[SUSPECTS], wide[[name for name in wide if name.startswith("cleanlab")]].max(axis=1)
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


def _pivot(part: pd.DataFrame, value: str, columns: str, index: str = "name", overall: str = "") -> str:
    """Means of a value, a row a candidate in their order; and the mean of the columns, if that has a name."""
    if part.empty or value not in part:
        return NO_RECORDS
    table = part.pivot_table(index=index, columns=columns, values=value, sort=False)
    return _markdown(table.assign(**{overall: table.mean(axis=1)}) if overall else table)


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


def _cell(column: str, value: Any) -> str:
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    return f"{value:.{DIGITS.get(column, 3)}f}"


DIGITS = {"records": 0, "of these below 0.5": 0, "trainings": 0, "seconds": 0, "cleanlab's": 0}
"""Decimals of a column that has other than three."""
