"""What a method may look at: the record of one training, without the truth and without the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from records import Record, stage_one

import labelnoise as ln
from labelnoise.audit.decisions import capped
from labelnoise.audit.judging import Verdict, judge
from labelnoise.audit.recorded import RecordedTraining, read_training


@dataclass(frozen=True, eq=False)
class Seen:
    """What a method may look at: a record without the truth and without the test set."""

    margin: np.ndarray
    loss: np.ndarray
    prediction: np.ndarray
    given: np.ndarray
    held_out: np.ndarray
    stop: int
    """The epoch, from 0, at which the held-out loss is least (mean of three)."""

    @classmethod
    def of(cls, record: Record) -> Seen:
        """Hide the truth."""
        stop = stage_one(record.loss, record.prediction, record.held_out)
        return cls(record.margin, record.loss, record.prediction, record.given, record.held_out, stop)

    @cached_property
    def recorder(self) -> ln.Recorder:
        """The same as what any training loop leaves."""
        return self.recorder_of(self.n_classes)

    @property
    def n_classes(self) -> int:
        """Number of classes that are given or predicted."""
        return int(max(self.given.max(), self.prediction.max())) + 1

    def recorder_of(self, n_classes: int) -> ln.Recorder:
        """The record of a training with so many classes."""
        recorder = ln.Recorder(self.given.size, n_classes)
        arrays = {"margin": self.margin, "loss": self.loss}
        classes = {"prediction": self.prediction.astype(np.int32), "given": self.given.astype(np.int64)}
        recorder.load_state_dict(arrays | classes)
        return recorder

    @cached_property
    def training(self) -> RecordedTraining:
        """The same as the package reads it."""
        return read_training(self.recorder, self.held_out)

    @cached_property
    def verdict(self) -> Verdict:
        """What the package's audit says."""
        return judge([self.training])

    @property
    def capped(self) -> np.ndarray:
        """(n,) what the audit flags by its decision `capped`; nothing where it can decide nothing."""
        verdict, rejected = self.verdict, self.rejected & (self.verdict.suggested != self.given)
        return rejected & verdict.rates.known & capped(verdict.score, rejected, self.given, verdict.rates)

    @property
    def epochs(self) -> int:
        """Number of epochs T."""
        return len(self.loss)

    @cached_property
    def probability(self) -> np.ndarray:
        """(T, n) probability of the given label."""
        return np.exp(-self.loss.astype(float))

    @property
    def wrong(self) -> np.ndarray:
        """(T, n) whether the prediction is not the given label."""
        return self.prediction != self.given

    @property
    def to_stop(self) -> slice:
        """Epochs up to the stop."""
        return slice(0, self.stop + 1)

    @property
    def to_twice(self) -> slice:
        """Epochs up to twice the stop."""
        return slice(0, 2 * (self.stop + 1))

    @property
    def around(self) -> slice:
        """The five epochs around the stop."""
        return slice(max(self.stop - 2, 0), self.stop + 3)

    @cached_property
    def rejected(self) -> np.ndarray:
        """(n,) whether the mean margin of the five epochs around the stop is below 0."""
        return self.margin[self.around].mean(axis=0) < 0

    def predicted(self, epochs: slice) -> np.ndarray:
        """(n,) the class that most of these epochs predict, the least on ties."""
        rows = self.prediction[epochs]
        votes = np.array([(rows == k).sum(axis=0) for k in range(rows.max() + 1)])
        return votes.argmax(axis=0)

    def sure(self, epochs: slice) -> np.ndarray:
        """(n,) mean probability of the class that is predicted in each of these epochs: exp(-loss - min(margin, 0))."""
        return np.exp(-self.loss[epochs].astype(float) - np.minimum(self.margin[epochs], 0)).clip(0, 1).mean(axis=0)


def judged(every: Sequence[Seen]) -> Verdict:
    """What the package's audit says by several trainings of the same labels."""
    n_classes = max(seen.n_classes for seen in every)
    return judge([read_training(seen.recorder_of(n_classes), seen.held_out) for seen in every])
