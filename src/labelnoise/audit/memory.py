"""What a network has memorised of each sample itself, and what would be left of its outputs without.

A margin is what the other samples teach and what the network has memorised of the sample itself (in the paper gamma and
rho). By gradient descent on the cross-entropy each pass adds to the second in proportion to 1 - p, where p is the
probability of the given label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelnoise.audit.contradiction import Predictions
from labelnoise.audit.recorded import RecordedTraining, mean_seen

if TYPE_CHECKING:
    from jaxtyping import Float


def memorised(training: RecordedTraining) -> Float[np.ndarray, "epochs n"]:
    """Return what a sample has itself added to its margin at each record t up to twice the stop.

    With p of the records s < t it is

        a sum_{s<t} (1 - p(s)),    0 for a held-out sample.

    Let trained samples be ahead of held-out ones by d on the mean, with standard error e. The constant a takes d (1 -
    (e / d)^2) of it off, all but what chance explains, and is 0 where that is negative. An epoch in which a sample was
    not seen adds nothing; nor does a record of running sums, which is one epoch.
    """
    margin, loss = training.margin[training.to_twice], training.loss[training.to_twice]
    pulls = np.where(training.held_out, 0, np.nan_to_num(1 - np.exp(-loss)))
    pulled = np.cumsum(pulls, axis=0) - pulls
    means, pulled_means = mean_seen(margin), mean_seen(np.where(np.isnan(margin), np.nan, pulled))
    known = np.isfinite(means)
    trained, held_out = known & ~training.held_out, known & training.held_out
    if min(trained.sum(), held_out.sum()) < 2 or not pulled_means[trained].any():
        return np.zeros_like(margin)
    ahead = means[trained].mean() - means[held_out].mean()
    variance = sum(means[part].var(ddof=1) / part.sum() for part in (trained, held_out))
    if ahead <= 0 or variance >= ahead**2:
        return np.zeros_like(margin)
    return float((ahead - variance / ahead) / pulled_means[trained].mean()) * pulled  # of float32, too


def left_out_predictions(training: RecordedTraining) -> Predictions:
    """Return what the network would say of each sample up to twice the stop, had it been left out of the training.

    Without what is memorised the mean margin may be below 0 though the given label is predicted: which class would be
    is not recorded, so the predicted one stands, beside that it is contradicted.
    """
    memory, epochs = memorised(training), training.to_twice
    margin, loss = training.margin[epochs], training.loss[epochs]
    predicted, sure = training.predicted(epochs)
    if training.sureness is None:
        with np.errstate(invalid="ignore", over="ignore"):
            given, best_other, less = np.exp(-loss), np.exp(-loss - margin), np.exp(-memory)
            leading = np.where(margin > memory, given * less, best_other)
            sure = mean_seen(np.clip(leading / (1 - given + given * less), 0, 1))
    return Predictions(predicted, sure, mean_seen(margin - memory) < 0)
