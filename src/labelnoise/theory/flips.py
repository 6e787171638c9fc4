"""Flips that depend on the noise patch: a rate for each sample, whose mean over patches is the rate of its class.

A sample is flipped where a normal score exceeds Phi^-1(1 - tau). The part r s of that score, s = <xi, v> / sigma_xi, is
read from the patch, the rest is fresh: r is the correlation of the score with the patch, and the mean rate is tau
whatever r is.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

SMALLEST = 1e-300
"""Of 1 - r^2, so that r = 1 is a threshold."""


def flip_probability(
    score: Float[np.ndarray, ...], tau: Float[np.ndarray, ...], dependence: float
) -> Float[np.ndarray, ...]:
    """P(flip | xi) = Phi((Phi^-1(tau) + r s) / sqrt(1 - r^2)), whose mean over s ~ N(0, 1) is tau.

    Args:
        score: s = <xi, v> / sigma_xi.
        tau: mean rates in [0, 1), of a shape that broadcasts with the score's.
        dependence: r in [0, 1]; 0 gives tau itself, 1 flips the patches beyond a threshold.
    """
    quantile = _quantile(np.asarray(tau, dtype=float))
    return _phi((quantile + dependence * score) / math.sqrt(max(1 - dependence**2, SMALLEST)))


def _quantile(tau: np.ndarray) -> np.ndarray:
    """Phi^-1, -inf at 0."""
    rates, at = np.unique(tau, return_inverse=True)
    known = [NormalDist().inv_cdf(rate) if 0 < rate < 1 else math.copysign(math.inf, rate - 0.5) for rate in rates]
    return np.array(known)[at].reshape(tau.shape)


def _phi(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.asarray(_erfc(-z / math.sqrt(2)), dtype=float)


_erfc = np.frompyfunc(math.erfc, 1, 1)
