"""Which samples to flag, from their scores, what the network rejects and the estimated rates: a mask each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.rates import Rates

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    Flags = Bool[np.ndarray, " n"]

EM_STEPS = 100
"""Steps after which the fit of two normal distributions ends, settled or not."""


def counted(score: Float[np.ndarray, " n"], rejected: Flags, given: Int[np.ndarray, " n"], rates: Rates) -> Flags:
    """The most suspicious samples, as many as the estimated rate says; without one, those that the network rejects."""
    flagged = np.isfinite(score)
    if not rates.known:
        return rejected & flagged
    flagged[_beyond(score, np.flatnonzero(flagged), round(rates.rate * int(flagged.sum())))] = False
    return flagged


def capped(score: Float[np.ndarray, " n"], rejected: Flags, given: Int[np.ndarray, " n"], rates: Rates) -> Flags:
    """Samples that the network rejects around the stop, at most as many as the interval of the rate allows.

    Of each given class, and of all, the most suspicious are kept, up to the upper end of the interval of how many are
    wrong. On clean data the share that is flagged is at most that end, which held-out samples alone decide; where the
    network hardly errs the cap does not bind.
    """
    flagged = rejected & np.isfinite(score)
    if not rates.known:
        return flagged
    n = int(np.isfinite(score).sum())
    for label, share in enumerate(rates.wrong_high):
        of_class = np.flatnonzero(flagged & (given == label))
        flagged[_beyond(score, of_class, int(np.ceil(share * n)))] = False
    flagged[_beyond(score, np.flatnonzero(flagged), int(np.ceil(rates.high * n)))] = False
    return flagged


def all_rejected(score: Float[np.ndarray, " n"], rejected: Flags, given: Int[np.ndarray, " n"], rates: Rates) -> Flags:
    """Samples that the network rejects around the stop: whose mean margin there is below 0."""
    return rejected & np.isfinite(score)


def mixture(score: Float[np.ndarray, " n"], rejected: Flags, given: Int[np.ndarray, " n"], rates: Rates) -> Flags:
    """Samples of the upper of two normal distributions that are fitted to the scores by EM."""
    known = np.isfinite(score)
    values = score[known]
    if values.size < 2 or np.ptp(values) == 0:
        return np.zeros(score.size, bool)
    flagged = known.copy()
    flagged[known] = _upper_normal(values) & (values > np.median(values))
    return flagged


def _beyond(score: np.ndarray, members: np.ndarray, number: int) -> np.ndarray:
    """Those of the members that are not among the `number` most suspicious; the first of equal scores are."""
    return members[np.argsort(-score[members], kind="stable")[number:]]


def _upper_normal(values: np.ndarray) -> np.ndarray:
    """Whether each value more likely belongs to the upper of two normal distributions."""
    cut = np.quantile(values, 0.8)
    upper = (values > cut).astype(float) if (values > cut).any() else (values >= cut).astype(float)
    least = 1e-3 * values.std()
    for _ in range(EM_STEPS):
        logs = []
        for weight in (1 - upper, upper):
            total = max(weight.sum(), 1e-9)
            mean = (weight * values).sum() / total
            spread = max(np.sqrt((weight * (values - mean) ** 2).sum() / total), least)
            logs.append(np.log(total) - np.log(spread) - 0.5 * ((values - mean) / spread) ** 2)
        updated = 1 / (1 + np.exp(np.clip(logs[0] - logs[1], -500, 500)))
        if np.abs(updated - upper).max() < 1e-6:
            break
        upper = updated
    return upper > 0.5


DECISIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Rates], np.ndarray]] = {
    "counted": counted,
    "capped": capped,
    "rejected": all_rejected,
    "mixture": mixture,
}
"""Each decision by name; the first is the default."""
