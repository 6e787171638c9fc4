"""How frequent the true classes are, known the given labels, and how many labels of each class are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def wrong_labels(transition: Float[np.ndarray, "K K"], frequency: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Return the share of all samples (K,) that bear each given label wrongly, if given labels have this frequency.

    The frequency of the true classes is the likeliest one. That of the predicted ones would not do: a network predicts
    too seldom a class that is rare or often mislabelled, and its wrong labels would be too few.

    Args:
        transition: (K, K) P(given | true), a row a true class.
        frequency: (K,) how frequent the given labels are.
    """
    true = true_frequency(transition, frequency)
    return true @ transition - true * np.diag(transition)


TOLERANCE, MOST_STEPS = 1e-6, 1000
"""Where EM ends: shares of the classes that moved by less in one step, all together, or so many steps."""


def true_frequency(transition: Float[np.ndarray, "K K"], frequency: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Return the frequency p (K,) of true classes that makes the given ones, f (K,), likeliest.

    That is p = f T^-1, which explains f exactly, where no share of it is negative; else EM finds it, from f on. Where
    EM is not at its end after the last step, classes are so hard to tell apart that all p on its way are nearly as
    likely, and the one that it has come to is taken.
    """
    try:
        exact = np.linalg.solve(transition.T, frequency)
    except np.linalg.LinAlgError:
        exact = np.full(frequency.size, -1.0)
    if (exact >= 0).all():
        return exact
    true = frequency.copy()
    for _ in range(MOST_STEPS):
        before = true
        true = true * (transition @ (frequency / np.maximum(true @ transition, np.finfo(float).tiny)))
        if np.abs(true - before).sum() < TOLERANCE:
            break
    return true
