"""How suspicious a sample is, from the record of one training; each score is a function of the same five arrays.

A score is larger where the given label is more likely to be wrong. NaN, of an epoch in which a sample was not seen,
does not count; a sample that was never seen has score NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    Values = Float[np.ndarray, "epochs n"]
    Classes = Int[np.ndarray, "epochs n"]
    Labels = Int[np.ndarray, " n"]
    Score = Float[np.ndarray, " n"]

SMOOTHING = 0.9
"""What the moving average of the loss keeps of its past at each epoch."""


def given_probability(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """1 - mean over the epochs up to twice the stop of exp(-loss), the probability of the given label.

    Args:
        margin: (epochs, n) given label's logit minus the best other one.
        loss: (epochs, n) cross-entropy of the given label.
        prediction: (epochs, n) predicted class, -1 where the sample was not seen.
        given: (n,) given labels.
        stop: epochs of Stage I, counted from 1.
    """
    return 1 - mean_seen(np.exp(-loss[: 2 * stop]))


def mean_margin(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Minus the mean margin of the epochs up to the stop."""
    return -mean_seen(margin[:stop])


def margin_at_stop(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Minus the mean margin of the five epochs around the stop."""
    return -mean_seen(margin[around(stop, len(margin))])


def share_rejected(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Share of all epochs in which another class was predicted; it needs no stop."""
    return mean_seen(np.where(prediction < 0, np.nan, prediction != given))


def aum(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Minus the area under the margin: the mean over all epochs (Pleiss et al. 2020)."""
    return -mean_seen(margin)


def forgetting(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """How often the given label was predicted and then was not (Toneva et al. 2019); never predicted counts as most.

    Only epochs in which the sample was seen are compared, each with the last one before it that was.
    """
    forgotten, fitted = np.zeros(given.size), np.zeros(given.size, bool)
    ever, seen = fitted.copy(), fitted.copy()
    for row in prediction:
        known, now = row >= 0, row == given
        forgotten += known & fitted & ~now
        fitted, ever, seen = np.where(known, now, fitted), ever | (known & now), seen | known
    return np.where(seen, np.where(ever, forgotten, len(prediction)), np.nan)


def moving_loss(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Moving average of the loss at the last epoch, which keeps 0.9 of its past at each."""
    average = np.full(given.size, np.nan)
    for row in loss:
        both = SMOOTHING * average + (1 - SMOOTHING) * row
        average = np.where(np.isnan(average), row, np.where(np.isnan(row), average, both))
    return average


def last_loss(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Loss at the last epoch in which the sample was seen: what is left when no one looks at the training."""
    last = np.full(given.size, np.nan)
    for row in loss:
        last = np.where(np.isnan(row), last, row)
    return last


def margin_to_twice(margin: Values, loss: Values, prediction: Classes, given: Labels, stop: int) -> Score:
    """Minus the mean margin of the epochs up to twice the stop."""
    return -mean_seen(margin[: 2 * stop])


SCORES: dict[str, Callable[[Values, Values, Classes, Labels, int], Score]] = {
    "margin-to-twice": margin_to_twice,
    "given-probability": given_probability,
    "mean-margin": mean_margin,
    "margin-at-stop": margin_at_stop,
    "share-rejected": share_rejected,
    "aum": aum,
    "forgetting": forgetting,
    "moving-loss": moving_loss,
    "last-loss": last_loss,
}
"""Each score by name; the first is the default, `share-rejected` where no stop is known."""


def around(stop: int, epochs: int, width: int = 5) -> slice:
    """Return the `width` epochs around the stop (counted from 1), as many of them as there are."""
    start = max(0, stop - 1 - width // 2)
    return slice(start, min(epochs, stop + width // 2))


def mean_seen(values: Values) -> Score:
    """Mean (n,) over the epochs that are no NaN, in float64; NaN where none is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0, dtype=float)
    count = known.sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
