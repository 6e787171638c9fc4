"""How likely each label is wrong: chances that follow the score and add up to the estimated number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.rates import Rates

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

TINY = 1e-6
"""How near to 0 and 1 a share comes."""
SHARPEST, DULLEST = 8.0, 0.25
"""Powers of a score's odds among which one is chosen."""
FEW = 10
"""Held-out samples below which the most suspicious ones say nothing."""


def confidence(
    score: Float[np.ndarray, " n"],
    target: float,
    tested: Bool[np.ndarray, " n"] | None = None,
    chance: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"]:
    """Return the chance (n,) that each label is wrong; NaN where there is no score.

    Odds of the score to a power, times a number: the number makes the mean of the chances `target`, the power makes
    that of the most suspicious samples (half of the estimated number) what it is among the held-out ones.

    Args:
        score: (n,) larger is more suspicious; one that is no share counts by its rank.
        target: share of labels that are wrong.
        tested: (n,) held-out samples.
        chance: (n,) what `held_out_chances` says of them.
    """
    known = np.isfinite(score)
    result = np.full(score.size, np.nan)
    if not known.any():
        return result
    odds = _odds(score[known])
    power = 1.0
    if tested is not None and chance is not None and target > 0:
        power = _power(odds, target, tested[known], chance[known])
    result[known] = _shifted(power * odds, target)
    return result


def held_out_chances(
    predicted: Int[np.ndarray, " n"],
    sure: Float[np.ndarray, " n"],
    given: Int[np.ndarray, " n"],
    tested: Bool[np.ndarray, " n"],
    rates: Rates,
) -> Float[np.ndarray, " n"]:
    """Chance (n,) that the label of a held-out sample is wrong, 0 elsewhere; of a rejected label the least it can be.

    Let a be the share of given labels that the network predicts among samples of which it is as sure (isotonic), t =
    P(given k | true k) of the predicted class and b its mean over the other true classes. The network is right with
    probability p = (a - b) / (t - b), and a label that it rejects is wrong at least with p (1 - t) / (1 - a), one that
    it predicts with (1 - p) b / a.
    """
    own = np.diag(rates.transition)
    others = (rates.transition.sum(axis=0) - own) / (own.size - 1)
    chances = np.zeros(given.size)
    sizes = np.bincount(predicted[tested], minlength=own.size)
    classes = [predicted == k for k in range(own.size)] if sizes.min() >= LARGE else [np.ones(given.size, bool)]
    weights = sizes / sizes.sum()
    for k, members in enumerate(classes):
        of = np.flatnonzero(tested & members)
        of = of[np.argsort(sure[of], kind="stable")]
        agree = _rising((predicted[of] == given[of]).astype(float))
        t, b = (own[k], others[k]) if len(classes) > 1 else (weights @ own, weights @ others)
        right = np.clip((agree - b) / max(t - b, TINY), 0, 1)
        rejected = right * (1 - t) / np.maximum(1 - agree, TINY)
        accepted = (1 - right) * b / np.maximum(agree, TINY)
        chances[of] = np.clip(np.where(predicted[of] != given[of], rejected, accepted), 0, 1)
    return chances


LARGE = 100
"""Held-out samples of each predicted class from which on classes are judged apart."""


def _odds(score: np.ndarray) -> np.ndarray:
    """Logarithms of the odds of a share."""
    if score.min() < 0 or score.max() > 1:
        score = (np.argsort(np.argsort(score, kind="stable"), kind="stable") + 0.5) / score.size
    score = np.clip(score, TINY, 1 - TINY)
    return np.log(score) - np.log1p(-score)


def _power(odds: np.ndarray, target: float, tested: np.ndarray, chance: np.ndarray) -> float:
    """The power at which the most suspicious samples are wrong as often as those that were held out."""
    among = np.flatnonzero(tested)
    number = round(target * among.size / 2)
    if number < FEW:
        return 1.0
    found = chance[among[np.argsort(-odds[among], kind="stable")[:number]]].mean()
    top = np.argsort(-odds, kind="stable")[: round(target * odds.size / 2)]
    powers = np.geomspace(DULLEST, SHARPEST, 21)
    means = np.array([_shifted(power * odds, target)[top].mean() for power in powers])
    return float(powers[np.argmin(np.abs(means - found))])


def _shifted(odds: np.ndarray, target: float) -> np.ndarray:
    """Chances whose odds are these times one number, with the mean `target`."""
    low, high = -200.0, 200.0
    for _ in range(50):  # halving: the mean grows with the shift
        shift = (low + high) / 2
        low, high = (shift, high) if _logistic(odds + shift).mean() < target else (low, shift)
    return _logistic(odds + low)


def _logistic(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))


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
