"""How suspicious each sample (n,) is, from the record of one training.

A score is larger where the given label is more likely to be wrong. NaN, of an epoch in which a sample was not seen,
does not count; a sample that was never seen has score NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from labelnoise.audit.recorded import RecordedTraining

    Values = Float[np.ndarray, "epochs n"]
    Score = Float[np.ndarray, " n"]

SMOOTHING = 0.9
"""What the moving average of the loss keeps of its past at each epoch."""


def given_probability(training: RecordedTraining) -> Score:
    """1 - mean over the epochs up to twice the stop of exp(-loss), the probability of the given label."""
    return 1 - mean_seen(np.exp(-training.loss[training.to_twice]))


def mean_margin(training: RecordedTraining) -> Score:
    """Minus the mean margin of the epochs up to the stop."""
    return -mean_seen(training.margin[: training.stop])


def margin_at_stop(training: RecordedTraining) -> Score:
    """Minus the mean margin of the five epochs around the stop."""
    return -mean_seen(training.margin[around(training.stop, len(training.margin))])


def share_rejected(training: RecordedTraining) -> Score:
    """Share of all epochs in which another class was predicted; it needs no stop."""
    return mean_seen(np.where(training.prediction < 0, np.nan, training.prediction != training.given))


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
    """Minus the mean margin up to twice the stop that a sample would have had, had it been left out of the training.

    A margin is what the other samples teach and what the network has memorised of the sample itself (in the paper gamma
    and rho). By gradient descent on the cross-entropy each pass adds to the second in proportion to 1 - p, where p is
    the probability of the given label. So with m and p of the records s < t, and a held-out sample without memory,

        left-out margin of record t = m(t) - a sum_{s<t} (1 - p(s)).

    The constant a makes the means of trained and held-out samples equal, less one standard error of their difference: it
    is 0 where nothing is seen to be memorised.
    """
    margin = mean_seen(training.margin[training.to_twice])
    pulls = np.where(training.held_out, 0, np.nan_to_num(1 - np.exp(-training.loss[training.to_twice])))
    pulled = mean_seen(np.where(np.isnan(training.margin[training.to_twice]), np.nan, np.cumsum(pulls, axis=0) - pulls))
    known = np.isfinite(margin)
    trained, held_out = known & ~training.held_out, known & training.held_out
    if min(trained.sum(), held_out.sum()) < 2 or not pulled[trained].any():
        return -margin
    error = np.sqrt(sum(margin[part].var(ddof=1) / part.sum() for part in (trained, held_out)))
    memory = max(margin[trained].mean() - margin[held_out].mean() - error, 0.0)
    return memory / pulled[trained].mean() * pulled - margin


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
