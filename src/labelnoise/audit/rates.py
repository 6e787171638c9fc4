"""How many labels are wrong, and which class is given for which.

A network may err on a sample, or its given label may be wrong; the two cannot be told apart. But where the network is
most sure of a held-out sample it hardly errs, and there the share of other labels is the share of wrong ones (the
anchor points of Patrini et al. 2017). Where few samples are held out, all vote by what was predicted before memorising
began, in five parts from the surest to the least sure: in the surest some wrong labels are memorised, in the least the
network errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream
from labelnoise.audit.frequencies import wrong_labels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    Early = tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]

ANCHORS, ANCHOR_SHARES = 500, (0.25, 0.5)
"""Anchors, the surest held-out samples of each predicted class: how many, and their least and largest share."""
FEWEST_HELD_OUT = 20
"""Held-out samples below which there is no matrix."""
PRIOR = 20
"""Samples that the rate over all classes counts for in the row of one class: some classes have few anchors."""
PRIOR_OF_FACTORS = 100
"""The same where factors by class are taken from the surest fifth of all samples: equal classes are to stay equal."""
RESAMPLES = 200
"""Bootstrap samples of an interval."""
LEVEL = 0.9
"""Share of the bootstrap samples within an interval."""
PARTS = 5
"""Parts of each predicted class, from the surest to the least sure."""
QUANTILES = (0.2, 0.4, 0.6)
"""Of the parts' shares of contradicted labels: lower end, rate and upper end."""
Z = 1.645
"""Standard errors on each side of a 90 % interval."""


@dataclass(frozen=True, eq=False)
class Rates:
    """How many labels are wrong, by class."""

    rate: float
    """Share of wrong labels; NaN where nothing can be said."""
    low: float
    high: float
    """Ends of its 90 % interval."""
    transition: Float[np.ndarray, "K K"]
    """P(given | true): a row a true class."""
    transition_low: Float[np.ndarray, "K K"]
    transition_high: Float[np.ndarray, "K K"]
    wrong: Float[np.ndarray, " K"]
    """Share of all samples that bear each given label wrongly; they add up to the rate."""
    wrong_high: Float[np.ndarray, " K"]
    """Upper ends of their intervals."""
    factors: Float[np.ndarray, " K"]
    """How much more often than on average a given label of each class is wrong, as odds; 1 where that is not known."""
    anchors: int
    """Held-out samples that the matrix rests on."""
    reason: str
    """What it rests on, in words."""

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return bool(np.isfinite(self.rate))


def estimate_rates(
    predicted: Int[np.ndarray, " n"],
    sure: Float[np.ndarray, " n"],
    given: Int[np.ndarray, " n"],
    held_out: Bool[np.ndarray, " n"],
    n_classes: int,
    early: Sequence[Early] = (),
    seed: int = 0,
) -> Rates:
    """Estimate the rate and P(given | true), with 90 % intervals.

    The matrix is that of the anchors, its intervals by bootstrap over the held-out samples. So is the rate, if no early
    predictions are given, with the true classes as frequent as makes the given ones most likely; else it is that of the
    fifths, see `fifths`, and the factors by class are those of the surest fifth of all samples. Too few held-out
    samples give no matrix.

    Args:
        predicted: (n,) class that the network predicts around the stop; -1 where it was not seen.
        sure: (n,) its probability.
        given: (n,) given labels.
        held_out: (n,) samples that the prediction has not trained on.
        n_classes: number of classes K.
        early: of each training, what it predicts of all samples up to the stop, and its probability.
        seed: of the bootstrap.
    """
    usable = np.flatnonzero(held_out & (predicted >= 0) & (given >= 0))
    seen = (predicted >= 0) & (given >= 0)
    frequency = np.bincount(given[seen], minlength=n_classes) / max(seen.sum(), 1)
    if usable.size >= FEWEST_HELD_OUT:
        rates = _of_anchors(predicted[usable], sure[usable], given[usable], frequency, seed)
    else:
        rates = unknown_rates(n_classes, f"{usable.size} held-out samples are too few for an estimate")
    return _of_fifths(rates, early, given, frequency) if early else rates


def _of_anchors(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, frequency: np.ndarray, seed: int) -> Rates:
    """Rates of the anchors among held-out samples, intervals by bootstrap over these."""
    n_classes, share = frequency.size, float(np.clip(ANCHORS / given.size, *ANCHOR_SHARES))
    transition, anchors = _anchored(predicted, sure, given, share, n_classes)
    generator, tail = stream(seed, "bootstrap"), (1 - LEVEL) / 2
    wrongs, matrices = [], []
    for _ in range(RESAMPLES):
        again = generator.integers(given.size, size=given.size)
        matrix, _ = _anchored(predicted[again], sure[again], given[again], share, n_classes)
        wrongs.append(wrong_labels(matrix, frequency))
        if n_classes <= WIDEST:
            matrices.append(matrix)
    wrong = wrong_labels(transition, frequency)
    low, high = np.quantile(np.sum(wrongs, axis=1), (tail, 1 - tail))
    ends = np.quantile(matrices, (tail, 1 - tail), axis=0) if matrices else np.full((2, *transition.shape), np.nan)
    room = 3 / (anchors + 3)  # no wrong label among the anchors leaves room for some: rule of three
    return Rates(
        rate=float(wrong.sum()),
        low=float(low),
        high=max(float(high), room),
        transition=transition,
        transition_low=ends[0],
        transition_high=ends[1],
        wrong=wrong,
        wrong_high=np.maximum(np.quantile(wrongs, 1 - tail, axis=0), frequency * room),
        factors=class_factors(transition),
        anchors=anchors,
        reason=f"the {anchors:,} of {given.size:,} held-out samples of which the model is most sure",
    )


def _of_fifths(rates: Rates, early: Sequence[Early], given: np.ndarray, frequency: np.ndarray) -> Rates:
    """The same with the rate of the fifths, and the factors of the surest one."""
    rate, low, high = fifths(early, given)
    count = max(int(((predicted >= 0) & (given >= 0)).sum()) for predicted, _ in early)
    counts = np.mean([_counts(*one, given, 1 / PARTS, frequency.size) for one in early], axis=0)
    wrong, wrong_high = (rates.wrong, rates.wrong_high) if rates.known else (frequency, frequency)
    return replace(
        rates,
        rate=rate,
        low=low,
        high=high,
        wrong=_scaled(wrong, rate, frequency),
        wrong_high=_scaled(wrong_high, high, frequency),
        factors=class_factors(_smoothed(counts, PRIOR_OF_FACTORS)),
        reason=f"all {count:,} samples in {PARTS} parts by how sure the model is of them up to the stop",
    )


def fifths(early: Sequence[Early], given: Int[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Rate, and the ends of its 90 % interval, from five equal parts of each predicted class, the surest first.

    Where the network errs it contradicts right labels, most in the parts of which it is least sure; where it has begun
    to memorise, it accepts wrong ones, most in the surest. Label noise alone is the same in all parts. So the rate is a
    quantile of the five shares of contradicted labels, 0.4 (chosen by its error), and the interval spans the quantiles
    0.2 and 0.6 with the errors of three fifths of the samples. Of several trainings the shares are averaged.

    Args:
        early: of each training the predicted class (n,), -1 where a sample was not seen, and its probability (n,).
        given: (n,) given labels.
    """
    every = [_shares(*one, given) for one in early]
    shares = np.nanmean([share for share, _ in every], axis=0)
    low, rate, high = np.quantile(shares[np.isfinite(shares)], QUANTILES)
    count = max(round(3 / PARTS * max(number for _, number in every)), 1)
    return float(rate), wilson(round(float(low) * count), count)[0], wilson(round(float(high) * count), count)[1]


def places(predicted: Int[np.ndarray, " n"], sure: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return where each sample stands in its predicted class: near 0 the surest, near 1 the least sure."""
    rank, size = _ranks(predicted, sure)
    return (rank + 0.5) / size


def _ranks(predicted: np.ndarray, sure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many samples of its predicted class are surer than each, the first of equal ones; and the class's size."""
    order, sizes = np.lexsort((-sure, predicted)), np.bincount(predicted)
    rank = np.empty(predicted.size, int)
    rank[order] = np.arange(predicted.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank, sizes[predicted]


def wilson(count: int, n: int) -> tuple[float, float]:
    """Ends of the 90 % interval of a share count / n."""
    share = count / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n)) / (1 + Z**2 / n)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)  # beyond by rounding alone


def _shares(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, int]:
    """Shares of contradicted labels (5,), NaN of an empty part, and the number of samples."""
    seen = (predicted >= 0) & (given >= 0)
    contradicted = predicted[seen] != given[seen]
    part = np.minimum((PARTS * places(predicted[seen], sure[seen])).astype(int), PARTS - 1)
    size = np.bincount(part, minlength=PARTS)
    sums = np.bincount(part, contradicted, minlength=PARTS)
    return np.divide(sums, size, out=np.full(PARTS, np.nan), where=size > 0), int(seen.sum())


WIDEST = 100
"""Classes up to which the entries of the matrix get intervals: each resample holds one."""


def _anchored(
    predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, share: float, n_classes: int
) -> tuple[np.ndarray, int]:
    """P(given | true) from the surest samples of each predicted class, drawn to one rate for all; and their number."""
    counts = _counts(predicted, sure, given, share, n_classes)
    return _smoothed(counts, PRIOR), int(counts.sum())


def _counts(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, share: float, n_classes: int) -> np.ndarray:
    """How often each label is given (column) to the surest samples of each predicted class (row)."""
    known = (predicted >= 0) & (given >= 0)
    predicted, sure, given = predicted[known], sure[known], given[known]
    rank, size = _ranks(predicted, sure)
    chosen = rank < np.ceil(share * size)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (predicted[chosen], given[chosen]), 1)
    return counts


def _smoothed(counts: np.ndarray, prior: int) -> np.ndarray:
    """P(given | true) of counts, each row drawn to one rate for all by as many more samples."""
    n_classes, total = len(counts), counts.sum(axis=1)
    pooled = float((total.sum() - np.trace(counts)) / total.sum())
    base = np.full((n_classes, n_classes), pooled / (n_classes - 1))
    np.fill_diagonal(base, 1 - pooled)
    return (counts + prior * base) / (total[:, None] + prior)


def _scaled(wrong: np.ndarray, total: float, frequency: np.ndarray) -> np.ndarray:
    """Shares by class (K,) that add up to a total, as the classes are frequent if there are none."""
    return total * (wrong / wrong.sum() if wrong.any() else frequency)


def unknown_rates(n_classes: int, reason: str) -> Rates:
    """Rates of which nothing is known, and why."""
    matrix, vector = np.full((n_classes, n_classes), np.nan), np.full(n_classes, np.nan)
    return Rates(np.nan, 0.0, 1.0, matrix, matrix, matrix, vector, vector, np.ones(n_classes), 0, reason)


def class_factors(transition: Float[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """Return how much more often than on average a given label of each class is wrong, from P(given | true).

    With t = P(given g | true g) and b the mean of P(given g | true c) over the other classes, the odds that label g is
    wrong on a sample with probability q of it are t b / (t - b) (1 - q) / q, up to a number that all share, for two
    classes where a label is as likely right as wrong: there q = b + (t - b) P(true g). The factors have the geometric
    mean 1; where a class's own label is not the likeliest, all are 1.
    """
    k = len(transition)
    own = np.diag(transition)
    others = (transition.sum(axis=0) - own) / (k - 1)
    if not (own > others).all():
        return np.ones(k)
    factor = own * np.maximum(others, FLOOR / k) / np.maximum(own - others, FLOOR)
    return factor / np.exp(np.log(factor).mean())


FLOOR = 0.001
"""A rate below which classes are not told apart."""
