"""Which samples the margin rule suspects, and how well that finds the noisy ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


SELECTION = ("selection_precision", "selection_recall", "selection_f1")
"""Columns of a history that hold the fields of `Selection`."""


@dataclass(frozen=True)
class Selection:
    """How well the margin rule (suspect: margin < 0) finds the noisy samples, along training."""

    precision: Float[np.ndarray, "*batch"]
    """Share of the suspects that are noisy; NaN without suspects or without noisy samples."""
    recall: Float[np.ndarray, "*batch"]
    """Share of the noisy samples that are suspects; NaN without noisy samples."""
    f1: Float[np.ndarray, "*batch"]
    """Harmonic mean of the two; NaN without noisy samples."""


def select_by_margin(margin: Float[np.ndarray, "*batch n"], noisy: Bool[np.ndarray, "*batch n"]) -> Selection:
    """Compare the margin rule's suspects with the truth; loss > log 2 is margin < 0 for two classes (Prop. 4.3).

    Args:
        margin: (..., n); a NaN margin (never seen) is no suspect.
        noisy: (..., n) true mask, broadcast against `margin`.
    """
    suspect = margin < 0
    hits = (suspect & noisy).sum(-1).astype(float)
    suspects, wrong = suspect.sum(-1), np.broadcast_to(noisy, suspect.shape).sum(-1)
    hits = np.where(wrong, hits, np.nan)
    return Selection(_ratio(hits, suspects), _ratio(hits, wrong), _ratio(2 * hits, suspects + wrong))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
