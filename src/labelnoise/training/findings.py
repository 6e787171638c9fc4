"""What the command says of a training in the end: what the stop is worth, and what the sign of the margin finds."""

from __future__ import annotations

import pandas as pd

from labelnoise.record.stopping_points import RULES
from labelnoise.runs.reading import Run

FIRST = ("averaged", "rule", "held_out", "oracle")
"""The stopping points of which the first that a run has is its stop, as on its page."""
RETURNED = ("averaged", "rule")
"""Those of a run that was stopped; the others only say where it could have been."""


def describe_training(run: Run) -> list[str]:
    """Return a line each on the stop, test accuracy, suspects and memory of a finished run; none without a record.

    Of several seeds they are means, and the first line says so.
    """
    points = pd.DataFrame(run.summary["stops"])
    if points.empty:
        return []
    points = points[points["at"].notna()]
    rules = set(points["rule"])
    rule = next((name for name in FIRST if name in rules), "last")
    where, seeds = "at the end" if rule == "last" else "at the stop", points["seed"].nunique()
    several = [f"means of {seeds} seeds:"] * (seeds > 1)
    parts = _stop(points, rule), _accuracies(run, points, rule, where), *_wrong_labels(points, rule, where)
    return several + [line for line in parts if line]


def _stop(points: pd.DataFrame, rule: str) -> str:
    """Which epoch is kept and why, and whether held-out accuracy falls after it by more than chance."""
    stop, end = (_mean(points, name, "at", ".0f") for name in (rule, "last"))
    if rule == "last":
        return f"the stop: no rule stops before the end (epoch {end})"
    words = "the stop" if rule in RETURNED else "where to stop"
    return f"{words}: epoch {stop} of {end} ({', '.join(RULES[rule])}){_fall(points, rule)}"


def _fall(points: pd.DataFrame, rule: str) -> str:
    chosen, ends = (points[points["rule"] == name] for name in (rule, "last"))
    if chosen["at"].tolist() == ends["at"].tolist():
        return "; nothing comes after it"
    known = chosen["falls"].dropna() if "falls" in chosen else chosen["at"][:0]
    if known.empty:
        return ""
    if len(known) > 1:
        return f"; held-out accuracy then falls by more than chance in {int(known.sum())} of {len(known)} seeds"
    return f"; held-out accuracy then falls by {'more' if known.iloc[0] else 'no more'} than chance"


def _accuracies(run: Run, points: pd.DataFrame, rule: str, where: str) -> str:
    """Test accuracy at the stop, at the end and at its best, which only the test labels know."""
    accuracy = _mean(points, rule, "test_accuracy")
    if not accuracy:
        return f"test accuracy: no test image, so what a record is worth {where} is not known"
    later = "" if rule == "last" else f", {_mean(points, 'last', 'test_accuracy')} at the end"
    history = run.history.dropna(subset="test_accuracy")
    seeds = history["seed"] if "seed" in history else pd.Series(0, history.index)
    best = history.loc[history.groupby(seeds)["test_accuracy"].idxmax()]
    epoch = f"{best['epoch'].mean():.0f}, which only test labels know"
    return f"test accuracy: {accuracy} {where}{later}, {best['test_accuracy'].mean():.1%} in the best epoch ({epoch})"


def _wrong_labels(points: pd.DataFrame, rule: str, where: str) -> tuple[str, str]:
    """How well the suspects, those with a negative margin, are the wrong labels; and what is memorised in the end."""
    recall, precision = (_mean(points, rule, f"selection_{name}") for name in ("recall", "precision"))
    if not recall:
        return "", ""
    suspects = f"{recall} of the wrong labels are among them, {precision} of them are wrong" if precision else "none"
    memorised = _mean(points, "last", "train_accuracy_noisy")
    return (
        f"suspects {where} (a negative margin): {suspects}",
        f"wrong labels memorised at the end: {memorised}" if memorised else "",
    )


def _mean(points: pd.DataFrame, rule: str, name: str, form: str = ".1%") -> str:
    """The mean over the seeds of what a stopping point says; empty where it says nothing."""
    chosen = points[points["rule"] == rule]
    known = chosen[name].dropna().astype(float) if name in chosen else pd.Series(dtype=float)
    return "" if known.empty else f"{known.mean():{form}}"
