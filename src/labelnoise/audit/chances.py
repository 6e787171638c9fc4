"""How likely each label is wrong: chances that follow the score and add up to the estimated number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.contradiction import places

if TYPE_CHECKING:
    from jaxtyping import Float, Int

TINY = 1e-4
"""How near to 0 and 1 a chance comes before the chances are brought to their mean."""
MOST = 0.95
"""No chance is larger: of labels that would have one, 93% were wrong (`benchmarks/detection/calibration.py`)."""


def chances_of(
    predicted: Int[np.ndarray, " n"],
    sure: Float[np.ndarray, " n"],
    given: Int[np.ndarray, " n"],
    rate: float,
    n_classes: int,
) -> Float[np.ndarray, " n"]:
    """Return the chance (n,) that each label is wrong, by what one network predicts; NaN where it predicts nothing.

    Let s be the share of given labels that the network contradicts among samples of which it is as sure (isotonic in
    the place in the predicted class), r the rate and K the number of classes. If wrong labels are as frequent
    everywhere and fall on any class, the network errs on a share e = (s - r) / (1 - r - r / (K - 1)) of them; a label
    that it contradicts is wrong with probability 1 - (1 - r) e / s, one that it accepts with r e / ((K - 1) (1 - s)).

    Args:
        predicted: (n,) predicted class; -1 where there is none.
        sure: (n,) its probability.
        given: (n,) given labels; -1 where there is none.
        rate: estimated share of wrong labels, r.
        n_classes: number of classes K.
    """
    chances = np.full(given.size, np.nan)
    usable = np.flatnonzero((predicted >= 0) & (given >= 0))
    if not usable.size:
        return chances
    usable = usable[np.argsort(-places(predicted[usable], sure[usable]), kind="stable")]
    accepted = predicted[usable] == given[usable]
    agree = _rising(accepted.astype(float))
    contradicted = 1 - agree
    errs = np.clip((contradicted - rate) / max(1 - rate - rate / (n_classes - 1), TINY), 0, 1)
    if_rejected = 1 - (1 - rate) * errs / np.maximum(contradicted, TINY)
    if_accepted = rate * errs / ((n_classes - 1) * np.maximum(agree, TINY))
    chances[usable] = np.clip(np.where(accepted, if_accepted, if_rejected), 0, 1)
    return chances


def confidence(
    score: Float[np.ndarray, " n"], target: float, chances: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " n"]:
    """Return the chance (n,) that each label is wrong as a function of its score; NaN where there is no score.

    It is the non-decreasing function of the score that is nearest to the chances, its odds times the one number that
    makes the mean `target`, and at most 0.95. Without chances it is that of the rank.

    Args:
        score: (n,) larger is more suspicious.
        target: share of labels that are wrong.
        chances: (n,) what `chances_of` says, NaN where it says nothing.
    """
    result = np.full(score.size, np.nan)
    known = np.isfinite(score)
    if not known.any():
        return result
    share = _rank(score[known])
    if chances is not None and np.isfinite(chances[known]).any():
        share = _along(share, chances[known])
    if target == 0:
        result[known] = 0.0
        return result
    share = np.clip(share, TINY, 1 - TINY)
    result[known] = _shifted(np.log(share) - np.log1p(-share), target)
    return result


def _rank(score: np.ndarray) -> np.ndarray:
    """Mean rank of each score in (0, 1): equal scores have equal ones."""
    _, of, count = np.unique(score, return_inverse=True, return_counts=True)
    return ((np.cumsum(count) - (count - 1) / 2 - 0.5) / score.size)[of]


def _along(rank: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """The non-decreasing function of the rank that is nearest to the chances (not to NaN), straight between steps."""
    at = np.flatnonzero(np.isfinite(chances))
    at = at[np.argsort(rank[at], kind="stable")]
    fitted = _rising(chances[at])
    starts = np.flatnonzero(np.diff(fitted, prepend=-1))
    ends = np.append(starts[1:], fitted.size) - 1
    return np.interp(rank, (rank[at[starts]] + rank[at[ends]]) / 2, fitted[starts])


def _shifted(odds: np.ndarray, target: float) -> np.ndarray:
    """Chances whose odds are these times one number, with the mean `target`, cut at the largest."""
    low, high = -200.0, 200.0
    for _ in range(50):  # halving: the mean grows with the shift
        shift = (low + high) / 2
        low, high = (shift, high) if _chances(odds + shift).mean() < target else (low, shift)
    return _chances(odds + low)


def _chances(odds: np.ndarray) -> np.ndarray:
    return np.minimum(1 / (1 + np.exp(-np.clip(odds, -500, 500))), MOST)


def _rising(values: np.ndarray) -> np.ndarray:
    """The non-decreasing series nearest to values: neighbours that fall are pooled."""
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        means.append(float(value))
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            both = counts[-2] + counts[-1]
            mean = (means[-2] * counts[-2] + means[-1] * counts[-1]) / both
            means[-2:], counts[-2:] = [mean], [both]
    return np.repeat(means, counts)
