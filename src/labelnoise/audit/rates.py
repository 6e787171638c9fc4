"""How many labels are wrong, and which class is given for which.

A network may err on a sample, or its given label may be wrong; the two cannot be told apart. But where the network is
most sure of a held-out sample it hardly errs, and there the share of other labels is the share of wrong ones (the
anchor points of Patrini et al. 2017), less what its errors add where it errs a lot. Where few samples are held out, all
vote by what was predicted before memorising began, in five parts (`labelnoise.audit.contradiction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream
from labelnoise.audit.contradiction import (
    OF_HELD_OUT,
    PARTS,
    Predictions,
    contradicted_shares,
    errors_of,
    fifths,
    ranks,
    surest,
)
from labelnoise.audit.frequencies import wrong_labels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

ANCHORS, ANCHOR_SHARES = 500, (0.25, 0.5)
"""Anchors, the surest held-out samples of each predicted class: how many, and their least and largest share."""
FEWEST_HELD_OUT = 20
"""Held-out samples below which there is no matrix."""
PRIOR = 20
"""Samples that the rate over all classes counts for in the row of one class: some classes have few anchors."""
PRIOR_OF_FACTORS = 50
"""The same where factors by class are taken from the surest fifth of all samples."""
DRAWS = 20
"""Draws of equal classes, which tell how far apart chance alone puts their factors."""
RESAMPLES, RESAMPLES_OF_MANY = 200, 50
"""Bootstrap samples of an interval, and of one over more classes than `WIDEST`, each of which solves for them all."""
LEVEL = 0.9
"""Share of the bootstrap samples within an interval."""
WIDEST = 100
"""Classes up to which the entries of the matrix get intervals: each resample holds one."""
FLOOR = 0.001
"""A rate below which classes are not told apart."""


@dataclass(frozen=True, eq=False)
class Rates:
    """How many labels are wrong, by class."""

    rate: float
    """Share of wrong labels; NaN where nothing can be said."""
    low: float
    high: float
    """Ends of its 90% interval."""
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
    early: Sequence[Predictions] = (),
    left_out: Sequence[Predictions] = (),
    seed: int = 0,
) -> Rates:
    """Estimate the rate and P(given | true), with 90% intervals.

    The matrix is that of the anchors, its intervals by bootstrap over the held-out samples. So is the rate, if no early
    views are given, with the true classes as frequent as makes the given ones most likely; else it is that of the
    fifths, see `fifths`, and the factors by class are those of the surest fifth of all samples. The interval of the
    rate reaches down to what the surest samples of all classes show, see `surest`. Too few held-out samples give no
    matrix.

    Args:
        predicted: (n,) class that the network predicts around the stop; -1 where it was not seen.
        sure: (n,) its probability.
        given: (n,) given labels.
        held_out: (n,) samples that the prediction has not trained on.
        n_classes: number of classes K.
        early: of each training, what it says of all samples up to the stop.
        left_out: of each training, what it would say of them up to twice the stop, had they been left out.
        seed: of the bootstrap.
    """
    usable = np.flatnonzero(held_out & (predicted >= 0) & (given >= 0))
    seen = (predicted >= 0) & (given >= 0)
    frequency = np.bincount(given[seen], minlength=n_classes) / max(seen.sum(), 1)
    if usable.size >= FEWEST_HELD_OUT:
        rates = _of_anchors(predicted[usable], sure[usable], given[usable], frequency, seed)
    else:
        few = f"too few samples are held out for an estimate ({usable.size})"
        rates = unknown_rates(n_classes, few if held_out.any() else "no samples were held out")
    return _of_fifths(rates, early, left_out, given, frequency) if early else rates


def _of_anchors(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, frequency: np.ndarray, seed: int) -> Rates:
    """Rates of the anchors among held-out samples, intervals by bootstrap over these."""
    n_classes, share = frequency.size, float(np.clip(ANCHORS / given.size, *ANCHOR_SHARES))
    counts = _counts(predicted, sure, given, share, n_classes)
    transition, anchors = _smoothed(counts, PRIOR), int(counts.sum())
    wrong = wrong_labels(transition, frequency)
    rate, _ = _without_errors(predicted, sure, given, float(wrong.sum()))
    factor = rate / wrong.sum() if wrong.any() else 1.0
    generator, tail = stream(seed, "bootstrap"), (1 - LEVEL) / 2
    wrongs, lines, matrices = [], [], []
    place = np.unique(predicted - 1j * sure, return_inverse=True)[1]  # by class, the surest first; equal ones alike
    for _ in range(RESAMPLES if n_classes <= WIDEST else RESAMPLES_OF_MANY):
        again = generator.integers(given.size, size=given.size)
        again = again[np.argsort(place[again] * given.size + np.arange(given.size))]  # sorted once for all that ranks
        sample = predicted[again], -place[again], given[again]
        matrix = _smoothed(_counts(*sample, share, n_classes), PRIOR)
        wrongs.append(wrong_labels(matrix, frequency))
        lines.append(_without_errors(*sample, float(wrongs[-1].sum()))[1])
        if n_classes <= WIDEST:
            matrices.append(_less_wrong(matrix, factor))
    high = np.quantile(np.sum(wrongs, axis=1), 1 - tail)
    less = _less_wrong(transition, factor)
    ends = np.quantile(matrices, (tail, 1 - tail), axis=0) if matrices else np.full((2, *transition.shape), np.nan)
    room = 3 / (anchors + 3)  # no wrong label among the anchors leaves room for some: rule of three
    return Rates(
        rate=rate,
        low=min(float(np.quantile(lines, tail)), surest([Predictions.of(predicted, sure, given)])),
        high=max(float(high), room),
        transition=less,
        transition_low=ends[0],
        transition_high=ends[1],
        wrong=factor * wrong,
        wrong_high=np.maximum(np.quantile(wrongs, 1 - tail, axis=0), frequency * room),
        factors=_beyond_chance(class_factors(less), counts, PRIOR),
        anchors=anchors,
        reason=f"the {anchors:,} of {given.size:,} held-out samples of which the model is most sure",
    )


def _without_errors(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, rate: float) -> tuple[float, float]:
    """The rate of the anchors without what errors of the network add to it, as `fifths` does it; and the line."""
    shares, _ = contradicted_shares(Predictions.of(predicted, sure, given))
    errs, line = errors_of(shares[np.isfinite(shares)], OF_HELD_OUT)
    return (1 - errs) * rate + errs * min(line, rate), min(line, rate)


def _less_wrong(transition: np.ndarray, factor: float) -> np.ndarray:
    """P(given | true) with a factor times the wrong labels."""
    return factor * transition + (1 - factor) * np.eye(len(transition))


def _of_fifths(
    rates: Rates,
    early: Sequence[Predictions],
    left_out: Sequence[Predictions],
    given: np.ndarray,
    frequency: np.ndarray,
) -> Rates:
    """The same with the rate of the fifths, and the factors of the surest one."""
    rate, low, high = fifths([*early, *left_out])
    count = max(int((view.predicted >= 0).sum()) for view in early)
    counts = np.mean([_counts(view.predicted, view.sure, given, 1 / PARTS, frequency.size) for view in early], axis=0)
    wrong, wrong_high = (rates.wrong, rates.wrong_high) if rates.known else (frequency, frequency)
    return replace(
        rates,
        rate=rate,
        low=low,
        high=high,
        wrong=_scaled(wrong, rate, frequency),
        wrong_high=_scaled(wrong_high, high, frequency),
        factors=_beyond_chance(class_factors(_smoothed(counts, PRIOR_OF_FACTORS)), counts, PRIOR_OF_FACTORS),
        reason=f"all {count:,} samples in {PARTS} parts by how sure the model is of them up to the stop",
    )


def _counts(predicted: np.ndarray, sure: np.ndarray, given: np.ndarray, share: float, n_classes: int) -> np.ndarray:
    """How often each label is given (column) to the surest samples of each predicted class (row)."""
    known = (predicted >= 0) & (given >= 0)
    predicted, sure, given = predicted[known], sure[known], given[known]
    rank, size = ranks(predicted, sure)
    chosen = rank < np.ceil(share * size)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (predicted[chosen], given[chosen]), 1)
    return counts


def _smoothed(counts: np.ndarray, prior: int) -> np.ndarray:
    """P(given | true) of counts, each row drawn to one rate for all by as many more samples."""
    return (counts + prior * _equal(counts)) / (counts.sum(axis=1)[:, None] + prior)


def _equal(counts: np.ndarray) -> np.ndarray:
    """P(given | true) of classes that are all wrong at the rate of the counts, and given for each other alike."""
    n_classes, pooled = len(counts), max(float(1 - np.trace(counts) / counts.sum()), 0.0)  # below by rounding alone
    base = np.full((n_classes, n_classes), pooled / (n_classes - 1))
    np.fill_diagonal(base, 1 - pooled)
    return base


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


def _beyond_chance(factors: np.ndarray, counts: np.ndarray, prior: int) -> np.ndarray:
    """Factors to the power w, the part of the variance of their logarithms that chance does not explain.

    Of K classes with few samples each some factors are large by chance; it is drawn from counts (K, K) of as many
    samples whose labels are all wrong at one rate, always the same ones: a seed moves no score.
    """
    equal, generator = _equal(counts), stream(0, "bootstrap", 1)
    sizes = counts.sum(axis=1).round().astype(int)
    drawn = (generator.multinomial(sizes, equal) for _ in range(DRAWS))  # one (K, K) at a time
    by_chance = np.mean([np.log(class_factors(_smoothed(draw, prior))).var() for draw in drawn])
    seen = np.log(factors).var()
    return factors ** max(1 - by_chance / seen, 0.0) if seen > 0 else factors
