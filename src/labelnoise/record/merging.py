"""What several processes recorded of the same epochs, put together by the position of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, described
from labelnoise.record.history import COLUMNS, EpochRecord, History
from labelnoise.record.sums import TO_STOP, TO_TWICE, Accumulator

SAME = 1e-3
"""By how much, relative and absolute, margins of one sample from two processes may differ and be the same."""
TWICE = "give each process samples of its own (drop_last=True)"


def read_positions(index: Any, n: int, n_other: int) -> np.ndarray | slice:
    """Where the samples of the other recorder stand in this one; a slice where both count them alike.

    Raises:
        InputError: it is no vector of different positions, one for each sample of the other one.
    """
    if index is None:
        if n != n_other:
            raise InputError(
                f"`other` must record as many samples ({n}) without `index`, got {n_other}; say where they stand here"
            )
        return slice(None)
    positions = on_host(index)
    if positions.dtype.kind not in "iu" or positions.shape != (n_other,):
        raise InputError(
            f"`index` must hold a position for each of the {n_other} samples of `other`, got {described(index)}; give "
            "integers"
        )
    inside = positions.min() >= 0 and positions.max() < n
    if not inside or not ((np.diff(positions) > 0).all() or np.unique(positions).size == n_other):
        raise InputError(f"`index` must hold different positions in 0..{n - 1}, got others; number the samples")
    return positions.astype(np.int64)


def check_alike(**pairs: tuple[object, object]) -> None:
    """Refuse two recorders that differ in what is named; each is (own, other).

    Raises:
        InputError: they do.
    """
    for name, (own, other) in pairs.items():
        if own != other:
            raise InputError(f"`other` must have the same {name} ({own}), got {other}; merge records of one training")


def merge_labels(given: np.ndarray, other: np.ndarray, at: np.ndarray | slice) -> np.ndarray:
    """Given labels of both, of the samples of the other.

    Raises:
        InputError: a sample has two.
    """
    mine = given[at]
    wrong = np.flatnonzero((mine >= 0) & (other >= 0) & (mine != other))
    if wrong.size:
        first = wrong[0]
        where = first if isinstance(at, slice) else at[first]
        raise InputError(
            f"`other` must have the same given labels, got {other[first]} and here {mine[first]} for sample {where}; "
            "merge records of one data set"
        )
    return np.maximum(mine, other)


def check_masks(own: np.ndarray | None, other: np.ndarray | None, at: np.ndarray | slice, n_other: int) -> None:
    """Refuse two recorders that hold other samples out.

    Raises:
        InputError: they do.
    """
    mine = np.zeros(n_other, bool) if own is None else own[at]
    if not np.array_equal(mine, np.zeros(n_other, bool) if other is None else other):
        raise InputError(
            "`other` must hold the same samples out, got other ones; give each Recorder the same `held_out`, one of a "
            "part its entries: held_out=mask[index]"
        )


def merge_histories(own: History, other: History, at: np.ndarray | slice) -> History:
    """Every epoch of both; of a sample that both saw in an epoch this one's is kept.

    Raises:
        InputError: the two disagree about such a sample.
    """
    united = History(own.n, own.budget)
    for epoch in range(len(own)):
        values = {name: np.array(own.column(name, epoch)) for name in COLUMNS}
        mine, theirs = values["margin"][at], np.asarray(other.column("margin", epoch))
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        apart = both & ~np.isclose(mine, theirs, rtol=SAME, atol=SAME)
        if apart.any():
            first = np.flatnonzero(apart)[0]
            raise InputError(
                f"`other` must agree on samples that both saw, got margin {theirs[first]:g} and here {mine[first]:g} "
                f"in epoch {epoch}; {TWICE}, or record in eval mode"
            )
        new = np.isnan(mine) & ~np.isnan(theirs)
        for name, column in values.items():
            column[at] = np.where(new, other.column(name, epoch), column[at])
        united.append(EpochRecord(**values))
    return united


def merge_sums(own: Accumulator, other: Accumulator, at: np.ndarray | slice) -> None:
    """Add the sums of other samples, or of other epochs of the same ones, to these.

    Raises:
        InputError: the two stop elsewhere, or a sample was seen more often than there are epochs. Nothing is changed.
    """
    if not same_loss(own, other) or own.settled != other.settled:
        raise InputError(
            "`other` must have the same held-out loss in each epoch, for sums up to the stop need one stop, got "
            "others; give `end_epoch` the mean over all processes as held_out_loss, or keep the history"
        )
    mine = own.arrays["seen"][at].astype(np.int64)
    if (mine + other.arrays["seen"] > own.epochs).any():
        raise InputError(
            f"`other` must have seen other samples in each epoch, got one that both together saw more than "
            f"{own.epochs} times in {own.epochs} epochs; {TWICE}"
        )
    rival, votes = own.arrays["rival"][at], own.arrays["votes"][at].astype(np.int64)
    other_rival, other_votes = other.arrays["rival"], other.arrays["votes"].astype(np.int64)
    same, theirs = rival == other_rival, (rival < 0) | (other_votes > votes)
    own.arrays["rival"][at] = np.where(theirs & (other_rival >= 0), other_rival, rival)
    own.arrays["votes"][at] = np.where(same, votes + other_votes, np.abs(votes - other_votes))
    for name in ("seen", "margin", "probability", "rejected", *TO_STOP.values(), *TO_TWICE.values()):
        if name in own.arrays:
            with np.errstate(invalid="ignore", over="ignore"):
                own.arrays[name][at] += other.arrays[name]


def same_loss(own: Accumulator, other: Accumulator) -> bool:
    """Whether two records have the same held-out loss in each epoch."""
    return own.epochs == other.epochs and np.allclose(own.loss, other.loss, rtol=1e-6, atol=1e-9, equal_nan=True)
