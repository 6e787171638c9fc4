"""The candidates: scores, decisions and estimates of the rate from one training, and stops, each by name.

Those of the package stand beside simpler and older ones. None sees the truth; which are best is decided on the choosing
seeds (`grid.CHOOSING`) and reported on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from records import Record, smooth_loss_stop

from labelnoise.record.stopping import HeldOut


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
        stop = smooth_loss_stop(record.loss, record.held_out)
        return cls(record.margin, record.loss, record.prediction, record.given, record.held_out, stop)

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


# --------------------------------------------------------------------------------------------------------------- scores


def moving_loss(seen: Seen) -> np.ndarray:
    """Moving average of the loss at the last epoch, which keeps 0.9 of its past at each."""
    average = seen.loss[0].astype(float)
    for row in seen.loss[1:]:
        average = 0.9 * average + 0.1 * row
    return average


def share_rejected(seen: Seen, epochs: slice = slice(None)) -> np.ndarray:
    """Share of epochs whose prediction is not the given label; its probability decides ties."""
    return seen.wrong[epochs].mean(axis=0) + 1e-6 * (1 - seen.probability[epochs].mean(axis=0))


def relative_probability(seen: Seen) -> np.ndarray:
    """Minus the mean probability of the given label up to twice the stop, as a multiple of its mean in the class."""
    mean = seen.probability[seen.to_twice].mean(axis=0)
    size = np.maximum(np.bincount(seen.given), 1)
    return -mean / (np.bincount(seen.given, mean) / size)[seen.given]


SCORES: dict[str, Callable[[Seen], np.ndarray]] = {
    "probability, to twice the stop": lambda s: 1 - s.probability[s.to_twice].mean(axis=0),
    "the same, relative to the class": relative_probability,
    "probability, to the stop": lambda s: 1 - s.probability[s.to_stop].mean(axis=0),
    "probability, around the stop": lambda s: 1 - s.probability[s.around].mean(axis=0),
    "probability, all epochs": lambda s: 1 - s.probability.mean(axis=0),
    "margin, to the stop": lambda s: -s.margin[s.to_stop].mean(axis=0),
    "margin, to twice the stop": lambda s: -s.margin[s.to_twice].mean(axis=0),
    "margin, at the stop": lambda s: -s.margin[s.stop],
    "share rejected, to twice the stop": lambda s: share_rejected(s, s.to_twice),
    "share rejected, all epochs (wrong events)": share_rejected,
    "margin, all epochs (AUM)": lambda s: -s.margin.mean(axis=0),
    "moving average of the loss (Datumaro)": moving_loss,
    "loss, last epoch": lambda s: s.loss[-1],
}
"""Each score (n,) by name; larger is more suspicious. The first is the default."""


# ------------------------------------------------------------------------------------------------------------ decisions

DECISIONS: dict[str, Callable[[Seen], np.ndarray]] = {
    "margin < 0 around the stop": lambda s: s.rejected,
    "margin < 0 to the stop": lambda s: s.margin[s.to_stop].mean(axis=0) < 0,
    "margin < 0 to twice the stop": lambda s: s.margin[s.to_twice].mean(axis=0) < 0,
    "margin < 0 at the stop": lambda s: s.margin[s.stop] < 0,
    "margin < 0 at the last epoch": lambda s: s.margin[-1] < 0,
    "rejected in most epochs to twice the stop": lambda s: s.wrong[s.to_twice].mean(axis=0) > 0.5,
    "rejected in most of all epochs": lambda s: s.wrong.mean(axis=0) > 0.5,
}
"""Each decision (n,) by name; True is flagged."""


# ---------------------------------------------------------------------------------------------------------------- rates


def held_out_rejection(seen: Seen) -> tuple[float, float, float]:
    """Share of the held-out samples that are rejected around the stop: an upper bound, the network errs, too."""
    return _binomial(seen.rejected[seen.held_out])


def all_rejection(seen: Seen) -> tuple[float, float, float]:
    """Share of all samples that are rejected around the stop."""
    return _binomial(seen.rejected)


def _binomial(mask: np.ndarray) -> tuple[float, float, float]:
    """A share with the ends of its 90 % interval (Wilson)."""
    n, share, z2 = mask.size, float(mask.mean()), 1.645**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return share, middle - half, middle + half


RATES: dict[str, Callable[[Seen], tuple[float, float, float]]] = {
    "rejected around the stop": all_rejection,
    "rejected held-out samples": held_out_rejection,
}
"""Each estimate by name: the rate and the ends of its 90 % interval."""


# ---------------------------------------------------------------------------------------------------------------- stops


def held_out_rule(seen: Seen) -> int:
    """The rule of the package."""
    accuracy = (~seen.wrong[:, seen.held_out]).mean(axis=1)
    return HeldOut(int(seen.held_out.sum()))(accuracy, seen.loss[:, seen.held_out].mean(axis=1)).chosen


def label_wave(seen: Seen) -> int:
    """The first local minimum of how many training predictions change, a mean of three epochs; else the last epoch."""
    trained = seen.prediction[:, ~seen.held_out]
    changes = (trained[1:] != trained[:-1]).mean(axis=1)
    if changes.size < 4:
        return seen.epochs - 1
    mean = np.convolve(changes, np.full(3, 1 / 3), "valid")
    rises = np.flatnonzero(mean[1:] > mean[:-1])
    return int(rises[0]) + 3 if rises.size else seen.epochs - 1


STOPS: dict[str, Callable[[Seen], int]] = {
    "held-out loss, mean of 3": lambda s: s.stop,
    "HeldOut": held_out_rule,
    "Label Wave": label_wave,
    "last epoch": lambda s: s.epochs - 1,
}
"""Each stop by name: the epoch, from 0, that it keeps."""
