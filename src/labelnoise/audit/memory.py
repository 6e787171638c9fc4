"""What a network has memorised of each sample itself, and what would be left of its outputs without.

A margin is what the other samples teach and what the network has memorised of the sample itself (in the paper gamma and
rho). By gradient descent on the cross-entropy each pass adds to the second in proportion to 1 - p, where p is the
probability of the given label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.contradiction import Predictions
from labelnoise.audit.recorded import RecordedTraining, mean_seen
from labelnoise.record.measures import LARGEST

if TYPE_CHECKING:
    from jaxtyping import Float


def without_memory(training: RecordedTraining) -> tuple[Float[np.ndarray, " n"], float]:
    """Return the mean margin up to twice the stop, without what a sample has itself added to it; and the constant a.

    With p of the records s < t, that is at record t

        a sum_{s<t} (1 - p(s)),    0 for a held-out sample.

    Let trained samples be ahead of held-out ones by d on the mean, with standard error e. The constant takes d (1 -
    (e / d)^2) off their mean, all but what chance explains, and is 0 where that is negative. No margin counts there as
    more than `LARGEST`: one sample does not decide for all. An epoch in which a sample was not seen adds nothing; nor
    does a record of running sums, which is one epoch.
    """
    margins = training.margin[training.to_twice]
    means, bounded = mean_seen(margins), mean_seen(np.clip(row, -LARGEST, LARGEST) for row in margins)
    pulled = mean_seen(np.where(np.isnan(margin), np.nan, pulled) for margin, _, pulled in _rows(training))
    known = ~np.isnan(means)
    trained, held_out = known & ~training.held_out, known & training.held_out
    if min(trained.sum(), held_out.sum()) < 2 or not pulled[trained].any():
        return means, 0.0
    ahead = bounded[trained].mean() - bounded[held_out].mean()
    variance = sum(bounded[part].var(ddof=1) / part.sum() for part in (trained, held_out))
    if ahead <= 0 or variance >= ahead**2:
        return means, 0.0
    constant = float((ahead - variance / ahead) / pulled[trained].mean())
    return means - constant * pulled, constant


def left_out_predictions(training: RecordedTraining) -> Predictions:
    """Return what the network would say of each sample up to twice the stop, had it been left out of the training.

    Without what is memorised the mean margin may be below 0 though the given label is predicted: which class would be
    is not recorded, so the predicted one stands, beside that it is contradicted.
    """
    margins, constant = without_memory(training)
    sure = training.sureness
    if sure is None:
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            sure = mean_seen(_sureness(margin, loss, constant * pulled) for margin, loss, pulled in _rows(training))
    return Predictions(training.majority(training.to_twice), sure, margins < 0)


def _rows(training: RecordedTraining) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Margin, loss and the sum of the earlier 1 - p, (n,) each, of the records up to twice the stop."""
    pulled = np.zeros(training.given.size)
    for margin, loss in zip(training.margin[training.to_twice], training.loss[training.to_twice], strict=True):
        yield margin, loss, pulled
        pulled = pulled + np.where(training.held_out, 0, np.nan_to_num(1 - np.exp(-loss)))


def _sureness(margin: np.ndarray, loss: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Probability of what is likeliest without the memory: the given label, or else the best other one."""
    given, best_other, less = np.exp(-loss), np.exp(-loss - margin), np.exp(-memory)
    return np.clip(np.where(margin > memory, given * less, best_other) / (1 - given + given * less), 0, 1)
