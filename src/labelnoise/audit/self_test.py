"""The self-test of an audit: labels are flipped on purpose, and a second audit says how many of them it flags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream
from labelnoise.audit.labels import GivenLabels
from labelnoise.errors import counted

if TYPE_CHECKING:
    from jaxtyping import Bool

    from labelnoise.audit.judging import Verdict

PLANTED = 0.05
"""Share of the labels that are flipped."""


@dataclass(frozen=True)
class SelfTest:
    """How well an audit finds labels that were flipped on purpose: an optimistic bound.

    Planted flips are random and lie among samples that the audit did not suspect, so they tend to be easier to find
    than real mistakes. Where the real ones are random, too, both are found alike.
    """

    planted: int
    """Labels that were flipped."""
    flagged: int
    """How many of them the second audit flagged."""
    recall: float
    """Their share; NaN where none was judged."""
    average_precision: float
    """Of the score, planted flips against the other samples that the first audit did not suspect; NaN likewise."""

    def __str__(self) -> str:
        if not self.planted:
            return "self-test: no label could be flipped that a training sees"
        return (
            f"self-test: of {counted(self.planted, 'label')} flipped on purpose {self.flagged:,} ({self.recall:.0%}) "
            f"flagged, average precision {self.average_precision:.2f}; this is an optimistic bound, since random "
            "flips are easier to find than real mistakes"
        )


def plant_flips(labels: GivenLabels, suspects: Bool[np.ndarray, " n"], seed: int) -> GivenLabels:
    """Return the given labels with a twentieth of them flipped at random, each to any other class.

    A suspect stays what it is, since its flip may be its true label, and so does one sample of each class, since a
    class must not vanish.

    Args:
        labels: given labels.
        suspects: (n,) what the audit flagged.
        seed: of the draw.
    """
    generator = stream(seed, "planted")
    positions, k = labels.positions, len(labels.classes)
    order = generator.permutation(positions.size)
    _, first = np.unique(positions[order], return_index=True)
    free = ~suspects
    free[order[first]] = False
    chosen = order[free[order]][: max(1, round(PLANTED * positions.size))]
    flipped = positions.copy()
    flipped[chosen] = (positions[chosen] + generator.integers(1, k, size=chosen.size)) % k
    return replace(labels, positions=flipped)


def compare_verdicts(first: Verdict, second: Verdict, planted: Bool[np.ndarray, " n"]) -> SelfTest:
    """Return how well the second audit finds what was planted.

    Args:
        first: the audit of the given labels.
        second: the audit after labels were flipped.
        planted: (n,) the flipped ones.
    """
    from sklearn.metrics import average_precision_score

    judged = np.isfinite(second.score)
    planted = planted & judged
    if not planted.any():
        return SelfTest(0, 0, np.nan, np.nan)
    trusted = judged & ~first.flagged
    recovered = int(second.flagged[planted].sum())
    precision = float(average_precision_score(planted[trusted], second.score[trusted]))
    return SelfTest(int(planted.sum()), recovered, recovered / int(planted.sum()), precision)
