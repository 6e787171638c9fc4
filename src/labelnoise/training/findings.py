"""What the command says of a training in the end: what the stop is worth, and what the sign of the margin finds."""

from __future__ import annotations

import pandas as pd

from labelnoise.record.stopping_points import RULES
from labelnoise.runs.reading import Run

FIRST = ("averaged", "rule", "held_out", "oracle")
"""The stopping points of which the first that a run has is its stop, as on its page."""


def describe_training(run: Run) -> list[str]:
    """Return up to two lines on a finished run, of several seeds their means; none of one without a record."""
    points = pd.DataFrame(run.summary["stops"])
    if points.empty:
        return []
    points = points[points["at"].notna()]
    rules = set(points["rule"])
    rule = next((name for name in FIRST if name in rules), "last")
    seeds = points["seed"].nunique()
    several = f"means of {seeds} seeds: " * (seeds > 1)
    lines = [_accuracies(run, points, rule), _wrong_labels(points, rule)]
    return [several + line for line in lines if line]


def _accuracies(run: Run, points: pd.DataFrame, rule: str) -> str:
    """Test accuracy at the stop, at the end and at its best, and where these are."""
    stop, end = (_mean(points, name, "at", ".0f") for name in (rule, "last"))
    if rule == "last":
        where, later = f"at the end (epoch {end}; no rule stops before)", ""
    else:
        where = f"at the stop (epoch {stop} of {end}: {', '.join(RULES[rule])})"
        later = f", {_mean(points, 'last', 'test_accuracy')} at the end"
    if accuracy := _mean(points, rule, "test_accuracy"):
        return f"test accuracy {accuracy} {where}{later}{_best(run)}{_fall(points, rule)}"
    return f"no test image; what a record is worth {where} is not known{_fall(points, rule)}"


def _best(run: Run) -> str:
    """The best test accuracy of each seed, which only the test labels know."""
    history = run.history.dropna(subset="test_accuracy")
    seeds = history["seed"] if "seed" in history else pd.Series(0, history.index)
    best = history.loc[history.groupby(seeds)["test_accuracy"].idxmax()]
    accuracy, epoch = best["test_accuracy"].mean(), best["epoch"].mean()
    return f", {accuracy:.1%} in the best epoch ({epoch:.0f}, which only test labels know)"


def _fall(points: pd.DataFrame, rule: str) -> str:
    """In how many seeds held-out accuracy falls after the stop by more than chance."""
    chosen = points[points["rule"] == rule]
    known = chosen["falls"].dropna() if "falls" in chosen else chosen["at"][:0]
    if known.empty:
        return ""
    if len(known) > 1:
        return f"; held-out accuracy falls after the stop, by more than chance, in {int(known.sum())} of {len(known)}"
    return f"; after the stop held-out accuracy falls by {'more' if known.iloc[0] else 'no more'} than chance"


def _wrong_labels(points: pd.DataFrame, rule: str) -> str:
    """How well the suspects at the stop, those with a negative margin, are the wrong labels; and what is memorised."""
    recall, precision = (_mean(points, rule, f"selection_{name}") for name in ("recall", "precision"))
    memorised = _mean(points, "last", "train_accuracy_noisy")
    parts = [
        f"of the wrong labels a negative margin finds {recall} {'at the end' if rule == 'last' else 'at the stop'} "
        f"({precision or 'none'} of these suspects are wrong)"
    ] * bool(recall)
    return ", ".join([*parts, *[f"and {memorised} are memorised at the end"] * bool(parts and memorised)])


def _mean(points: pd.DataFrame, rule: str, name: str, form: str = ".1%") -> str:
    """The mean over the seeds of what a stopping point says; empty where it says nothing."""
    chosen = points[points["rule"] == rule]
    known = chosen[name].dropna().astype(float) if name in chosen else pd.Series(dtype=float)
    return "" if known.empty else f"{known.mean():{form}}"
