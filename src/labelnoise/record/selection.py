"""Which samples the margin rule suspects, and how well that finds the noisy ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError
from labelnoise.record.inputs import as_mask, as_numbers

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from numpy.typing import ArrayLike


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


def select_by_margin(margin: Float[ArrayLike, "*batch n"], noisy: Bool[ArrayLike, "*batch n"]) -> Selection:
    """Compare the margin rule's suspects with the truth; loss > log 2 is margin < 0 for two classes (Prop. 4.3).

    Args:
        margin: (..., n); a NaN margin (never seen) is no suspect.
        noisy: (..., n) true mask, broadcast to the shape of `margin`.

    Raises:
        InputError: margins that are no numbers, or a mask that is none or does not broadcast.
    """
    suspect, wrongly_labelled = as_numbers("margin", margin) < 0, as_mask("noisy", noisy)
    if suspect.ndim == 0:
        raise InputError("`margin` must have the samples as its last axis, got one number; give a margin a sample")
    try:
        wrongly_labelled = np.broadcast_to(wrongly_labelled, suspect.shape)
    except ValueError:
        raise InputError(
            f"`noisy` must broadcast to the shape of `margin` {suspect.shape}, got {wrongly_labelled.shape}; give one "
            "truth value a sample"
        ) from None
    hits = (suspect & wrongly_labelled).sum(-1).astype(float)
    suspects, wrong = suspect.sum(-1), wrongly_labelled.sum(-1)
    hits = np.where(wrong, hits, np.nan)
    return Selection(_ratio(hits, suspects), _ratio(hits, wrong), _ratio(2 * hits, suspects + wrong))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
