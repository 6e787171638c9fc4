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

    def predicted(self, epochs: slice) -> np.ndarray:
        """(n,) the class that most of these epochs predict, the least on ties."""
        rows = self.prediction[epochs]
        votes = np.array([(rows == k).sum(axis=0) for k in range(rows.max() + 1)])
        return votes.argmax(axis=0)

    def sure(self, epochs: slice) -> np.ndarray:
        """(n,) mean probability of the class that is predicted in each of these epochs: exp(-loss - min(margin, 0))."""
        return np.exp(-self.loss[epochs].astype(float) - np.minimum(self.margin[epochs], 0)).clip(0, 1).mean(axis=0)


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


def margin_to_twice(seen: Seen) -> np.ndarray:
    """Minus the mean margin up to twice the stop."""
    return -seen.margin[seen.to_twice].mean(axis=0)


def mean_rank(seen: Seen) -> np.ndarray:
    """Mean of the ranks by margin and by relative probability, both up to twice the stop, in [0, 1]."""
    ranks = [np.argsort(np.argsort(score(seen), kind="stable")) for score in (margin_to_twice, relative_probability)]
    return np.mean(ranks, axis=0) / max(seen.given.size - 1, 1)


PROBABILITY, RELATIVE = "probability, to twice the stop", "relative probability, to twice the stop"
MARGIN, MEAN_RANK = "margin, to twice the stop", "mean rank of margin and relative probability"

SCORES: dict[str, Callable[[Seen], np.ndarray]] = {
    MEAN_RANK: mean_rank,
    MARGIN: margin_to_twice,
    PROBABILITY: lambda s: 1 - s.probability[s.to_twice].mean(axis=0),
    RELATIVE: relative_probability,
    "probability, to the stop": lambda s: 1 - s.probability[s.to_stop].mean(axis=0),
    "probability, around the stop": lambda s: 1 - s.probability[s.around].mean(axis=0),
    "probability, all epochs": lambda s: 1 - s.probability.mean(axis=0),
    "margin, to the stop": lambda s: -s.margin[s.to_stop].mean(axis=0),
    "margin, at the stop": lambda s: -s.margin[s.stop],
    "share rejected, to twice the stop": lambda s: share_rejected(s, s.to_twice),
    "share rejected, all epochs (wrong events)": share_rejected,
    "margin, all epochs (AUM)": lambda s: -s.margin.mean(axis=0),
    "moving average of the loss (Datumaro)": moving_loss,
    "loss, last epoch": lambda s: s.loss[-1],
}
"""Each score (n,) by name; larger is more suspicious. The first is the default."""


# ---------------------------------------------------------------------------------------------------------------- rates

Z = 1.645
"""Standard errors on each side of a 90 % interval."""


def ranked(seen: Seen, epochs: slice, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which labels the network contradicts, and where each stands in its predicted class: 0 is the surest, 1 the least.

    Args:
        seen: a record.
        epochs: the majority of their predictions counts, and the mean probability of these.
        among: (n,) samples to look at; None for all.
    """
    rows = np.arange(seen.given.size) if among is None else np.flatnonzero(among)
    predicted, sure = seen.predicted(epochs)[rows], seen.sure(epochs)[rows]
    order, sizes = np.lexsort((-sure, predicted)), np.bincount(predicted)
    place = np.empty(rows.size, int)
    place[order] = np.arange(rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return predicted != seen.given[rows], (place + 0.5) / sizes[predicted]


def anchored(seen: Seen, epochs: slice, share: float, among: np.ndarray | None = None) -> tuple[int, int]:
    """Labels that the network contradicts among its anchors, and the number of anchors.

    Anchors are the `share` of the samples of each predicted class of which the network is most sure (Patrini et al.
    2017): there it hardly errs, so that a contradicted label is a wrong one. Before Stage II the samples that it trains
    on may be among them: it has not memorised them yet.
    """
    contradicted, place = ranked(seen, epochs, among)
    return int(contradicted[place < share].sum()), int((place < share).sum())


def anchor_rate(seen: Seen, share: float = 0.75) -> tuple[float, float, float]:
    """Rate from the anchors among all samples, up to the stop."""
    wrong, count = anchored(seen, seen.to_stop, share)
    return (wrong / count, *_wilson(wrong, count))


def fifths_rate(seen: Seen, epochs: slice | None = None) -> tuple[float, float, float]:
    """Rate from five equal parts of each predicted class, from the surest to the least sure, up to the stop.

    Where the network errs it contradicts right labels, most in the parts of which it is least sure; where it has begun
    to memorise, it accepts wrong ones, most in the surest. Label noise alone is the same in all parts. So the rate is a
    quantile of the five shares of contradicted labels, 0.4 (chosen by its error), and the interval spans the quantiles
    0.2 and 0.6 with the errors of three fifths of the samples.
    """
    contradicted, place = ranked(seen, seen.to_stop if epochs is None else epochs)
    part = np.minimum((5 * place).astype(int), 4)
    size = np.bincount(part, minlength=5)
    shares = np.bincount(part, contradicted, minlength=5) / np.maximum(size, 1)
    low, rate, high = np.quantile(shares[size > 0], (0.2, 0.4, 0.6))
    count = max(round(0.6 * place.size), 1)
    ends = (_wilson(round(float(end) * count), count) for end in (low, high))
    return float(rate), next(ends)[0], next(ends)[1]


def held_out_anchor_rate(seen: Seen, share: float = 0.5) -> tuple[float, float, float]:
    """Rate from anchors among held-out samples, around the stop."""
    wrong, count = anchored(seen, seen.around, share, seen.held_out)
    return (wrong / count, *_wilson(wrong, count))


def _rejection(mask: np.ndarray) -> tuple[float, float, float]:
    return (float(mask.mean()), *_wilson(int(mask.sum()), mask.size))


def _wilson(count: int, n: int) -> tuple[float, float]:
    """Ends of the 90 % interval of a share count / n."""
    share = count / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n)) / (1 + Z**2 / n)
    return float(middle - half), float(middle + half)


def mixture_rate(seen: Seen) -> tuple[float, float, float]:
    """Share of the upper of two normal distributions fitted to the logit of the mean probability to twice the stop."""
    from sklearn.mixture import GaussianMixture

    mean = seen.probability[seen.to_twice].mean(axis=0).clip(1e-4, 1 - 1e-4)
    values = np.log((1 - mean) / mean)[:, None]
    fitted = GaussianMixture(2, random_state=0).fit(values)
    upper = fitted.means_[:, 0].argmax()
    return float((fitted.predict(values) == upper).mean()), np.nan, np.nan


RATES: dict[str, Callable[[Seen], tuple[float, float, float]]] = {
    "fifths, to the stop": fifths_rate,
    "fifths, around the stop": lambda s: fifths_rate(s, s.around),
    "anchors, to the stop": anchor_rate,
    "anchors, held out": held_out_anchor_rate,
    "rejected around the stop": lambda s: _rejection(s.rejected),
    "rejected, held out": lambda s: _rejection(s.rejected[s.held_out]),
    "mixture of two": mixture_rate,
}
"""Each estimate by name: the rate and the ends of its 90 % interval. The first is the default."""


# ------------------------------------------------------------------------------------------------------------ decisions


def counted(seen: Seen, score: str, rate: str) -> np.ndarray:
    """The most suspicious samples by a score, as many as an estimated rate says."""
    flagged = np.zeros(seen.given.size, dtype=bool)
    number = round(RATES[rate](seen)[0] * flagged.size)
    flagged[np.argsort(-SCORES[score](seen), kind="stable")[:number]] = True
    return flagged


def _as_counted(score: str, rate: str) -> Callable[[Seen], np.ndarray]:
    return lambda seen: counted(seen, score, rate)


DECISIONS: dict[str, Callable[[Seen], np.ndarray]] = {
    "mean rank, as many as fifths say": _as_counted(MEAN_RANK, "fifths, to the stop"),
    "margin, as many as fifths say": _as_counted(MARGIN, "fifths, to the stop"),
    "relative probability, as many as fifths say": _as_counted(RELATIVE, "fifths, to the stop"),
    "probability, as many as fifths say": _as_counted(PROBABILITY, "fifths, to the stop"),
    "probability, as many as anchors say": _as_counted(PROBABILITY, "anchors, to the stop"),
    "probability, as many as held-out anchors say": _as_counted(PROBABILITY, "anchors, held out"),
    "probability, as many as a mixture says": _as_counted(PROBABILITY, "mixture of two"),
    "margin < 0 around the stop": lambda s: s.rejected,
    "margin < 0 to the stop": lambda s: s.margin[s.to_stop].mean(axis=0) < 0,
    "margin < 0 to twice the stop": lambda s: s.margin[s.to_twice].mean(axis=0) < 0,
    "margin < 0 at the stop": lambda s: s.margin[s.stop] < 0,
    "margin < 0 at the last epoch": lambda s: s.margin[-1] < 0,
    "rejected in most epochs to twice the stop": lambda s: s.wrong[s.to_twice].mean(axis=0) > 0.5,
    "rejected in most of all epochs": lambda s: s.wrong.mean(axis=0) > 0.5,
}
"""Each decision (n,) by name; True is flagged. The first is the default."""


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
