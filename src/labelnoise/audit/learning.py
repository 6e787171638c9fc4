"""Whether the network has learnt anything: its held-out predictions against chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelnoise.audit.pooling import Basis
from labelnoise.audit.rates import Rates, unknown_rates

UNDECIDED, DOUBTFUL = 1.0, 2.0
"""Standard errors ahead of chance below which nothing is decided, and below which a reader is warned."""
POOR, EVEN, ENOUGH = 0.5, 0.55, 50
"""Part of the way from chance to all given labels below which errors of a network may pass for wrong labels, where
chance is at most the second and held-out samples are at least the third."""
FEW = 0.05
"""A rate below which an estimate by a network that errs a lot may as well be too low."""


@dataclass(frozen=True)
class Learning:
    """How far the predictions of held-out samples are from chance."""

    z: float
    """In standard errors, each prediction weighted by how much surer than 1 / K it is."""
    fitted: float
    """Share of held-out samples whose given label is predicted."""
    chance: float
    """The same if labels were drawn from how frequent they are."""
    held_out: int
    """Held-out samples; 0 where there is none to test."""

    @property
    def words(self) -> str:
        """The two shares that are compared."""
        return (
            f"the model predicts the given label of {self.fitted:.1%} of the {self.held_out:,} samples that it was not "
            f"trained on, where chance alone would give {self.chance:.1%}"
        )

    @property
    def poor(self) -> bool:
        """Whether the network errs a lot, or many labels are wrong: the two are hard to tell apart."""
        return (
            self.held_out >= ENOUGH
            and self.chance <= EVEN
            and self.fitted - self.chance < POOR * (1 - self.chance)
            and self.z >= DOUBTFUL
        )

    def doubt(self, rate: float) -> str:
        """A sentence where little speaks for the network, or for a rate where it errs a lot; else none."""
        if self.poor:
            few = (
                "that few labels seem wrong, or none, says little: more may be (the interval says up to how many), so "
                "look at some samples of each class yourself"
            )
            many = (
                "the number of wrong labels and the chances may be far too high, so the interval begins at none: stop "
                "reviewing where suspects are mostly right"
            )
            return (
                f"{self.words}: either it errs a lot or many labels are wrong, and the two are hard to tell apart; "
                f"{few if rate < FEW else many}"
            )
        if not self.held_out or not UNDECIDED <= self.z < DOUBTFUL:
            return ""
        return (
            f"little speaks for this audit: {self.words}, and labels that are nothing but noise can look like this; "
            "hold more samples out, or use folds"
        )


def learning_of(basis: Basis, given: np.ndarray, n_classes: int) -> Learning:
    """Compare held-out predictions with labels drawn from how frequent they are.

    Weighted, because a class that is predicted for want of knowledge says nothing: that of most samples, of which a
    network that has learnt nothing else is about as sure as the class is frequent.
    """
    tested = basis.held_out & (basis.predicted >= 0) & (given >= 0)
    if not tested.any():
        return Learning(np.nan, np.nan, np.nan, 0)
    predicted, labels = basis.predicted[tested], given[tested]
    expected = (np.bincount(labels, minlength=n_classes) / labels.size)[predicted]
    right = predicted == labels
    weight = np.maximum(basis.sure[tested] - 1 / n_classes, 0)
    spread = float(np.sqrt((weight**2 * expected * (1 - expected)).sum()))
    ahead = float((weight * (right - expected)).sum())
    return Learning(ahead / spread if spread else 0.0, float(right.mean()), float(expected.mean()), int(tested.sum()))


def undecided_rates(rates: Rates, learning: Learning) -> tuple[Rates, str]:
    """Say why nothing can be decided, if so: the network has learnt nothing, or more than half are surely wrong.

    The rate is NaN then. Where a network errs a lot, its interval begins at 0.
    """
    if not rates.known or not learning.held_out:
        return rates, ""
    if learning.z < UNDECIDED:
        why = learning.words
    elif rates.low > 0.5:
        why = f"about {rates.rate:.0%} of the labels seem wrong"
    else:
        return (replace(rates, low=0.0) if learning.poor else rates), ""
    words = (
        f"nothing can be decided: {why}; either more than half of the labels are wrong, so that wrong and right look "
        "alike, or there are too few samples to learn from, or they do not tell the classes apart"
    )
    return unknown_rates(rates.wrong.size, words), words
