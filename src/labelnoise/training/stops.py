"""The stopping points of a training run, in epochs as its table counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labelnoise.record.stages import oracle_stop
from labelnoise.record.stopping import Fall, HeldOut, Stop
from labelnoise.training.config import TrainConfig


@dataclass(frozen=True)
class EpochStop:
    """What a stop rule decided, in epochs."""

    epoch: int
    """The epoch to keep."""
    ended: int | None
    """The epoch at which the rule ends the run; None if it never does."""
    falls: bool
    """Whether held-out accuracy fell from there to the end by more than chance: a Stage II to avoid."""
    reason: str
    """Why, in words, and how sure that is."""
    fall: Fall | None
    """By how much it fell; None where it was not observed."""
    between: tuple[int, int] | None
    """First and last epoch that the held-out samples cannot tell from it; None where the rule does not say."""
    applicable: bool
    """Whether the rule has anything to go by."""


@dataclass(frozen=True)
class Stops:
    """The stopping points of a training run."""

    oracle: int | None
    """The epoch of T1, with the truth known; None without clean, without noisy samples, or where none is known."""
    held_out: EpochStop | None
    """What `HeldOut` says of held-out accuracy and loss; None without held-out samples."""
    rule: EpochStop | None
    """What the rule says that the run was stopped by; None for a run of all epochs."""


def in_epochs(stop: Stop, epochs: Sequence[int]) -> EpochStop:
    """Return what a rule said of records as what it says of their epochs."""
    ended = None if stop.stopped is None else int(epochs[stop.stopped])
    between = None if stop.between is None else (int(epochs[stop.between[0]]), int(epochs[stop.between[1]]))
    reason = stop.reason
    if between and stop.applicable:
        first, last = between
        alike = f"cannot tell it from epochs {first} to {last}" if first < last else "tell it from the epochs beside it"
        reason += f"; held-out samples {alike}"
    return EpochStop(int(epochs[stop.chosen]), ended, stop.falls, reason, stop.fall, between, stop.applicable)


def find_stops(
    table: pd.DataFrame, n_held_out: int, config: TrainConfig, fitted: np.ndarray | None = None
) -> tuple[int | None, Stop | None]:
    """Return the record of T1 (truth known), and what the held-out rule (given labels only) decided.

    Args:
        table: a training history.
        n_held_out: number of held-out images; with none, there is no such rule.
        config: its patience.
        fitted: (records, n_held_out) which of them are fitted; no stop depends on it.
    """
    if table.empty:
        return None, None
    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    if not n_held_out:
        return t1, None
    accuracy, loss = (table[f"held_out_{name}"].to_numpy() for name in ("accuracy", "loss"))
    return t1, HeldOut(n_held_out, config.patience)(accuracy, loss, fitted)
