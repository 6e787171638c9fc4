"""The stopping points of a run as rows of its summary: where each rule would end it, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.record.stopping import Fall, Stop

RULES = {
    "oracle": ("T1", "truth known"),
    "held_out": ("held-out stop", "best held-out accuracy, given labels only"),
    "rule": ("the stop", "chosen by the rule of --stop, given labels only"),
    "averaged": ("average around the stop", "given labels only"),
    "last": ("the end", ""),
}
"""Each stop rule: how pages and figures call it, and what it sees."""
OPTIONAL = ("rule", "averaged")
"""Those that only a run has that was stopped."""


@dataclass(frozen=True)
class StoppingPoint:
    """Where a rule ends a run."""

    rule: str
    """A key of `RULES`."""
    at: int | None
    """Step or epoch; None where the rule finds none."""
    reason: str
    values: Mapping[Any, Any]
    """What is known of the network there, by column; empty where the rule finds none."""
    more: Mapping[str, Any]
    """What this rule alone says."""


def oracle_point(at: int | None, reason: str, values: Mapping[Any, Any]) -> StoppingPoint:
    """Return T1, found with the truth known."""
    return StoppingPoint("oracle", at, reason, values, {})


def held_out_point(stop: Stop, table: pd.DataFrame, clock: str) -> StoppingPoint:
    """Return what the held-out rule chose; `ended` is where it ends the run."""
    ended = None if stop.stopped is None else int(table[clock].iloc[stop.stopped])
    row = table.iloc[stop.chosen]
    return chosen_point("held_out", int(row[clock]), ended, stop.reason, stop.fall, row.to_dict())


def chosen_point(
    rule: str, at: int, ended: int | None, reason: str, fall: Fall | None, values: Mapping[Any, Any], **more: Any
) -> StoppingPoint:
    """Return what a rule chose that sees given labels only; `ended` is where it ends the run."""
    return StoppingPoint(rule, at, reason, values, {"ended": ended, **describe_fall(fall), **more})


def describe_fall(fall: Fall | None) -> dict[str, Any]:
    """Return what a row says of the fall: whether it was seen, its size and standard error, whether it is paired."""
    if fall is None:
        return {"falls": None, "fall": np.nan, "fall_error": np.nan, "paired": False}
    return {"falls": fall.seen, "fall": fall.high - fall.low, "fall_error": fall.error, "paired": fall.paired}


def last_point(table: pd.DataFrame, clock: str) -> StoppingPoint:
    """Return the end of the run."""
    row = table.iloc[-1]
    return StoppingPoint("last", int(row[clock]), f"the last {clock}", row.to_dict(), {})


def describe_points(
    points: Sequence[StoppingPoint], seed: int | None, columns: Sequence[str], gains: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return a row for each stopping point of a run.

    Args:
        points: the last one is the end of the run.
        seed: of the run.
        columns: what to say of the network at each point; NaN where it is not known.
        gains: columns of which `gain_<column>` says what the point is worth over the end of the run: +1 where larger
            is better, -1 where smaller is.
    """
    rows = []
    for point in points:
        values = {name: point.values.get(name, np.nan) for name in columns}
        gained = {
            f"gain_{name}": sign * (values[name] - points[-1].values.get(name, np.nan)) for name, sign in gains.items()
        }
        row = {"rule": point.rule, "seed": seed, "at": point.at, "reason": point.reason}
        rows.append({**row, **point.more, **values, **gained})
    return rows
