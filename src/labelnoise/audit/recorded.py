"""What one training says of every sample: its record, which samples it never trained on, and where Stage I ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError, check_integer, counted, described
from labelnoise.record.inputs import read_held_out
from labelnoise.record.means import bounded_loss, last_least, mean_known
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

SMOOTH = 3
"""Epochs of one mean of the held-out loss."""


@dataclass(frozen=True, eq=False)
class RecordedTraining:
    """The record of one training, and how to read it."""

    margin: Float[np.ndarray, "epochs n"]
    loss: Float[np.ndarray, "epochs n"]
    prediction: Int[np.ndarray, "epochs n"]
    given: Int[np.ndarray, " n"]
    """-1 for a sample that was never seen."""
    n_classes: int
    held_out: Bool[np.ndarray, " n"]
    """Samples that were recorded and not trained on; none where that is not known."""
    stop: int
    """Epochs of Stage I, counted from 1; all of them where no stop is known."""
    stop_known: bool
    reason: str
    """What the stop is based on, in words."""
    sureness: Float[np.ndarray, " n"] | None = None
    """How sure the prediction is, where that is not in the record: of running sums."""
    stop_of_sums: int | None = None
    """Epochs of Stage I where the record is of running sums, whose one epoch stands for all, and the stop is known."""

    @property
    def of_sums(self) -> bool:
        """Whether this is a record of running sums."""
        return self.sureness is not None

    @property
    def known_stop(self) -> int | None:
        """Epochs of Stage I of the training, counted from 1; None where no stop is known."""
        return (self.stop_of_sums or self.stop) if self.stop_known else None

    @property
    def near(self) -> slice:
        """The five epochs around the stop; all of them where none is known."""
        return around(self.stop, len(self.margin)) if self.stop_known else slice(None)

    @property
    def seen(self) -> Bool[np.ndarray, " n"]:
        """Samples that were seen in at least one epoch."""
        return np.isfinite(self.loss).any(axis=0)

    @property
    def lost(self) -> int:
        """Epochs at the end in which no sample has an output that is a number: what a divergence leaves."""
        known = np.flatnonzero((self.prediction >= 0).any(axis=1))
        return len(self.prediction) - (int(known[-1]) + 1 if known.size else 0)

    @property
    def to_twice(self) -> slice:
        """Epochs up to twice the stop."""
        return slice(0, 2 * self.stop)

    def predicted(self, epochs: slice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The class that most of some epochs predict (n,), and its probability (n,), NaN where there is none.

        The epochs are those around the stop if none are given, of a sample that was not seen in these all up to twice
        the stop.

        An epoch's probability of its prediction is exp(-loss - min(margin, 0)): the given label's, or exp(-margin)
        times as much where another class leads by -margin.
        """
        if epochs is None:
            near = self.predicted(self.near)
            if not (missed := self.seen & (near[0] < 0)).any():
                return near
            winner, sure = (np.where(missed, *parts) for parts in zip(self.predicted(self.to_twice), near, strict=True))
            return winner, sure
        if self.sureness is not None:
            return self.majority(epochs), self.sureness
        pairs = zip(self.loss[epochs], self.margin[epochs], strict=True)
        with np.errstate(invalid="ignore", over="ignore"):
            sure = mean_seen(np.clip(np.exp(-loss - np.minimum(margin, 0)), 0, 1) for loss, margin in pairs)
        return self.majority(epochs), sure

    def majority(self, epochs: slice) -> Int[np.ndarray, " n"]:
        """The class that most of some epochs predict (n,), the least on ties; -1 where a sample was not seen in any."""
        rows = self.prediction[epochs]
        votes = np.zeros(self.given.size, dtype=np.int64)
        winner = np.full(self.given.size, -1, dtype=np.int64)
        for candidate in rows if len(rows) < self.n_classes else range(self.n_classes):  # never (n, K)
            count = sum((row == candidate) & (candidate >= 0) for row in rows)
            better = (count > votes) | ((count == votes) & (count > 0) & (candidate < winner))
            votes, winner = np.where(better, count, votes), np.where(better, candidate, winner)
        return winner

    def margins(self) -> Float[np.ndarray, " n"]:
        """Mean margin of the epochs around the stop; below 0 the network rejects the given label."""
        return mean_seen(self.margin[self.near])


def read_training(recorder: Any, held_out: Any = None, stop: int | None = None) -> RecordedTraining:
    """Read a recorder that holds its history; `read_sums` reads one that does not.

    Args:
        recorder: one `Recorder` with at least one ended epoch.
        held_out: (n,) mask of the samples that were recorded and not trained on; None takes the recorder's own,
            which may have none.
        stop: epochs of Stage I, counted from 1; None takes the least held-out loss, a mean of three epochs.

    Raises:
        InputError: what is no recorder, an empty one, a mask of another length, or a stop beyond the record.
    """
    if not isinstance(recorder, Recorder):
        raise InputError(f"`recorder` must be a Recorder, got {described(recorder)}; record a training first")
    if not recorder.epochs:
        raise InputError("`recorder` must hold an epoch, got none; call `update` for each batch, then `end_epoch`")
    if not recorder.history:
        raise InputError("`recorder` must hold its history, got one of sums alone; make it with history=True")
    mask = read_held_out(recorder.held_out if held_out is None else held_out, recorder.n_samples)
    margin, loss, prediction = (np.asarray(part) for part in (recorder.margin, recorder.loss, recorder.prediction))
    given = recorder.given
    outside = mask & (given >= 0)
    end, known, reason = end_of_stage_one(bounded_loss(loss[:, outside], prediction[:, outside]))
    loss, margin = finite(loss, prediction >= 0), finite(margin)
    if stop is not None:
        check_integer("stop", stop, 1, end)
        if stop > recorder.epochs:
            raise InputError(f"`stop` must be at most the number of epochs ({recorder.epochs}), got {stop}; lower it")
        end, known, reason = int(stop), True, f"epoch {stop}, as it was given"
    return RecordedTraining(margin, loss, prediction, given, recorder.n_classes, mask, end, known, reason)


def finite(values: np.ndarray, which: Bool[np.ndarray, "epochs n"] | bool = True) -> np.ndarray:
    """Values with the infinite ones, which masked logits leave, as far from 0 as the farthest that is finite.

    A sample whose given label is masked is as suspicious as any: it must not be lost, nor be all of a mean by itself.

    Args:
        values: margins or losses.
        which: those that are replaced; a loss that a divergence leaves stays infinite.
    """
    infinite = np.isinf(values)
    if not infinite.any():
        return values
    farthest = np.abs(values[np.isfinite(values)]).max(initial=0)
    return np.where(infinite & which, np.sign(values) * farthest, values)


def end_of_stage_one(loss: Float[np.ndarray, "epochs h"]) -> tuple[int, bool, str]:
    """Return the epochs of Stage I, whether they are known, and what they are based on.

    The stop is the middle of the three epochs whose mean held-out loss is least, of given labels, the last ones on
    ties, among the epochs in which it is known; with fewer than three of them all epochs count, and without held-out
    samples no stop is known. Unlike `LeastLoss` and `HeldOutLoss` it passes over the first and the last epoch, whose
    means would have two members, and takes epochs around a gap for neighbours: outputs of somebody's training may hold
    every tenth one.

    Args:
        loss: bounded (`bounded_loss`), of the h held-out samples.
    """
    epochs, size = loss.shape
    if not size:
        return epochs, False, "no stop is known, since no samples were held out; the score uses all epochs"
    series = np.array([mean_known(row) for row in loss])
    known = np.flatnonzero(np.isfinite(series))
    if known.size < SMOOTH:
        return epochs, True, f"{counted(epochs, 'epoch')} in all, too few to choose among"
    smooth = np.convolve(series[known], np.full(SMOOTH, 1 / SMOOTH), "valid")
    stop = int(known[last_least(smooth) + SMOOTH // 2]) + 1
    low, end, last = series[stop - 1], series[known[-1]], int(known[-1]) + 1
    samples = counted(size, "held-out sample")
    words = f"epoch {stop} of {epochs}, where the loss of {samples} was least ({low:.3f}"
    where = "the end" if last == epochs else f"epoch {last}, the last that is finite"
    return stop, True, f"{words}, {end:.3f} at {where})"


def around(stop: int, epochs: int, width: int = 5) -> slice:
    """Return the `width` epochs around the stop (counted from 1), as many of them as there are."""
    start = max(0, stop - 1 - width // 2)
    return slice(start, min(epochs, stop + width // 2))


def mean_seen(rows: Iterable[Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
    """Mean (n,) over the epochs that are no NaN, in float64; NaN where none is.

    Args:
        rows: (n,) each, one an epoch: an array (epochs, n), or rows that are made one by one.
    """
    total, count = np.zeros(()), np.zeros(())
    for row in rows:
        known = ~np.isnan(row)
        total, count = total + np.where(known, row, 0), count + known
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
