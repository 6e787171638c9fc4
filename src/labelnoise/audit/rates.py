"""How many labels are wrong, and which class is given for which, from samples that the network never trained on.

A network may err on a held-out sample, or its given label may be wrong; the two cannot be told apart. But where the
network is most sure it hardly errs, and there the share of other labels is the share of wrong ones (the anchor points
of Patrini et al. 2017). In-sample predictions would not do: a label that is memorised makes the network sure of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

LEAST_SHARE, MOST_SHARE, ENOUGH = 0.25, 0.5, 500
"""Anchors are this share of the held-out samples of each predicted class; as many of them as are enough, within it."""
PRIOR = 20
"""Samples that the rate over all classes counts for in the row of one class: some classes have few anchors."""
RESAMPLES = 200
"""Bootstrap samples of an interval."""
LEVEL = 0.9
"""Share of the bootstrap samples within an interval."""


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
    """Share of all samples that bear each given label wrongly; their sum is that of the anchors alone."""
    wrong_high: Float[np.ndarray, " K"]
    """Upper ends of their intervals."""
    anchors: int
    """Held-out samples that the estimate rests on."""
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
    rejected: Bool[np.ndarray, " n"],
    n_classes: int,
    seed: int = 0,
) -> Rates:
    """Estimate the rate and P(given | true), with 90 % intervals by bootstrap over the held-out samples.

    The rate is the share of all samples that the network rejects around the stop, where that lies in the interval of
    the anchors: then the network hardly errs, and n samples say more than the anchors. Else it is the anchors' rate.

    Args:
        predicted: (n,) class that the network predicts around the stop; -1 where it was not seen.
        sure: (n,) its probability.
        given: (n,) given labels.
        held_out: (n,) samples that the prediction has not trained on.
        rejected: (n,) samples whose given label the network rejects around the stop.
        n_classes: number of classes K.
        seed: of the bootstrap.
    """
    usable = np.flatnonzero(held_out & (predicted >= 0) & (given >= 0))
    seen = (predicted >= 0) & (given >= 0)
    if usable.size < 2 * MINIMUM:
        return _unknown(n_classes, f"{usable.size} held-out samples are too few for an estimate")
    prior = np.bincount(predicted[seen], minlength=n_classes) / max(seen.sum(), 1)
    share = float(np.clip(ENOUGH / usable.size, LEAST_SHARE, MOST_SHARE))
    columns = predicted[usable], sure[usable], given[usable]
    transition, anchors = _anchored(*columns, share, n_classes)
    generator, tail = stream(seed, "bootstrap"), (1 - LEVEL) / 2
    rates, wrongs, matrices = [], [], []
    for _ in range(RESAMPLES):
        again = generator.integers(usable.size, size=usable.size)
        matrix, _ = _anchored(columns[0][again], columns[1][again], columns[2][again], share, n_classes)
        wrongs.append(_wrong(matrix, prior))
        rates.append(wrongs[-1].sum())
        if n_classes <= WIDEST:
            matrices.append(matrix)
    wrong = _wrong(transition, prior)
    low, high = np.quantile(rates, (tail, 1 - tail))
    high = max(high, 3 / (anchors + 3))  # no wrong label among the anchors leaves room for some (rule of three)
    everyone = float(rejected[seen].mean())
    agree = low <= everyone <= high
    ends = np.quantile(matrices, (tail, 1 - tail), axis=0) if matrices else np.full((2, *transition.shape), np.nan)
    words = f"the {anchors} held-out samples of {usable.size} of which the network is most sure"
    if agree:
        words += f", and the {everyone:.1%} of all samples that it rejects around the stop, which agrees with them"
    rate = everyone if agree else float(wrong.sum())
    wrong_high = np.maximum(np.quantile(wrongs, 1 - tail, axis=0), 0)
    return Rates(rate, float(low), float(high), transition, ends[0], ends[1], wrong, wrong_high, anchors, words)


MINIMUM = 10
"""Anchors below which there is no estimate."""
WIDEST = 100
"""Classes up to which the entries of the matrix get intervals: each resample holds one."""


def _anchored(
    predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, share: float, n_classes: int
) -> tuple[np.ndarray, int]:
    """P(given | true) from the surest samples of each predicted class, drawn to one rate for all; and their number."""
    order = np.lexsort((-sure, predicted))
    predicted, given = predicted[order], given[order]
    sizes = np.bincount(predicted, minlength=n_classes)
    rank = np.arange(predicted.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rank < np.ceil(share * sizes)[predicted]
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (predicted[chosen], given[chosen]), 1)
    total = counts.sum(axis=1)
    pooled = float((total.sum() - np.trace(counts)) / total.sum())
    base = np.full((n_classes, n_classes), pooled / (n_classes - 1))
    np.fill_diagonal(base, 1 - pooled)
    return (counts + PRIOR * base) / (total[:, None] + PRIOR), int(chosen.sum())


def _wrong(transition: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Share of all samples (K,) that bear each given label wrongly."""
    return prior @ transition - prior * np.diag(transition)


def _unknown(n_classes: int, reason: str) -> Rates:
    matrix, vector = np.full((n_classes, n_classes), np.nan), np.full(n_classes, np.nan)
    return Rates(np.nan, 0.0, 1.0, matrix, matrix, matrix, vector, vector, 0, reason)


def class_factors(rates: Rates) -> Float[np.ndarray, " K"]:
    """Return how much more often than on average a given label of each class is wrong, from P(given | true).

    With t = P(given g | true g) and b the mean of P(given g | true c) over the other classes, the odds that label g is
    wrong on a sample with probability q of it are t b / (t - b) (1 - q) / q, up to a number that all share: exact for
    two classes, where q = b + (t - b) P(true g). The factors have the geometric mean 1; without an estimate, or where a
    class's own label is not the likeliest, all are 1.
    """
    k = len(rates.transition)
    own = np.diag(rates.transition)
    others = (rates.transition.sum(axis=0) - own) / (k - 1)
    if not rates.known or not (own > others).all():
        return np.ones(k)
    factor = own * np.maximum(others, FLOOR / k) / np.maximum(own - others, FLOOR)
    return factor / np.exp(np.log(factor).mean())


FLOOR = 0.001
"""A rate below which classes are not told apart."""
