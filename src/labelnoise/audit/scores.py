"""How suspicious each sample (n,) is, from the record of one training.

A score is larger where the given label is more likely to be wrong. NaN, of an epoch in which a sample was not seen,
does not count; a sample that was never seen has score NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.memory import without_memory
from labelnoise.audit.recorded import RecordedTraining, around, mean_seen

if TYPE_CHECKING:
    from jaxtyping import Float

    Score = Float[np.ndarray, " n"]

SMOOTHING = 0.9
"""What the moving average of the loss keeps of its past at each epoch."""


def given_probability(training: RecordedTraining) -> Score:
    """1 - mean over the epochs up to twice the stop of exp(-loss), the probability of the given label."""
    return 1 - mean_seen(np.exp(-row) for row in training.loss[training.to_twice])


def mean_margin(training: RecordedTraining) -> Score:
    """Minus the mean margin of the epochs up to the stop."""
    return -mean_seen(training.margin[: training.stop])


def margin_at_stop(training: RecordedTraining) -> Score:
    """Minus the mean margin of the five epochs around the stop."""
    return -mean_seen(training.margin[around(training.stop, len(training.margin))])


def share_rejected(training: RecordedTraining) -> Score:
    """Share of all epochs in which another class was predicted; it needs no stop."""
    return mean_seen(np.where(row < 0, np.nan, row != training.given) for row in training.prediction)


def aum(training: RecordedTraining) -> Score:
    """Minus the area under the margin: the mean over all epochs (Pleiss et al. 2020)."""
    return -mean_seen(training.margin)


def forgetting(training: RecordedTraining) -> Score:
    """How often the given label was predicted and then was not (Toneva et al. 2019); never predicted counts as most.

    Only epochs in which the sample was seen are compared, each with the last one before it that was.
    """
    prediction, given = training.prediction, training.given
    forgotten, fitted = np.zeros(given.size), np.zeros(given.size, bool)
    ever, seen = fitted.copy(), fitted.copy()
    for row in prediction:
        known, now = row >= 0, row == given
        forgotten += known & fitted & ~now
        fitted, ever, seen = np.where(known, now, fitted), ever | (known & now), seen | known
    return np.where(seen, np.where(ever, forgotten, len(prediction)), np.nan)


def moving_loss(training: RecordedTraining) -> Score:
    """Moving average of the loss at the last epoch, which keeps 0.9 of its past at each."""
    average = np.full(training.given.size, np.nan)
    for row in training.loss:
        both = SMOOTHING * average + (1 - SMOOTHING) * row
        average = np.where(np.isnan(average), row, np.where(np.isnan(row), average, both))
    return average


def last_loss(training: RecordedTraining) -> Score:
    """Loss at the last epoch in which the sample was seen: what is left when no one looks at the training."""
    last = np.full(training.given.size, np.nan)
    for row in training.loss:
        last = np.where(np.isnan(row), last, row)
    return last


def margin_to_twice(training: RecordedTraining) -> Score:
    """Minus the mean margin of the epochs up to twice the stop."""
    return -mean_seen(training.margin[training.to_twice])


def left_out_margin(training: RecordedTraining) -> Score:
    """Minus the mean margin up to twice the stop, without what the network has memorised of the sample itself."""
    return -without_memory(training)[0]


SCORES: dict[str, Callable[[RecordedTraining], Score]] = {
    "left-out-margin": left_out_margin,
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
