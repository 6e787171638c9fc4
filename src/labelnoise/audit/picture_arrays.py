"""Images in an array as somebody has them: channels first or last, grey, with transparency, bytes or floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError, described
from labelnoise.images.source import CHANNELS, is_channels_last

if TYPE_CHECKING:
    from jaxtyping import Num, UInt8

ALPHA = 4
"""Channels of a colour image with its transparency."""


def are_pictures(array: np.ndarray) -> bool:
    """Whether an array can only hold images: numbers on three or four axes."""
    return array.ndim in (3, 4) and array.dtype.kind in "biuf"


def read_picture_array(array: Num[np.ndarray, "n ..."], name: str) -> tuple[UInt8[np.ndarray, "n C H W"], list[str]]:
    """Bring images to one form.

    Args:
        array: (n, H, W), (n, C, H, W) or (n, H, W, C), C = 1, 3 or 4, the second axis first; uint8, or floats in
            [0, 1].
        name: of the array, for a refusal.

    Returns:
        Images with C = 1 or 3, without a copy where they were so, and what was done to them, a sentence each.

    Raises:
        InputError: another shape, or other numbers.
    """
    images, notes = (array[:, None] if array.ndim == 3 else array), []
    if is_channels_last(images.shape) and not (images.shape[1] == ALPHA and images.shape[3] not in (*CHANNELS, ALPHA)):
        images = np.moveaxis(images, 3, 1)
    if images.shape[1] not in (*CHANNELS, ALPHA) or 0 in images.shape:
        raise InputError(
            f"{name} must hold images (n, H, W), (n, C, H, W) or (n, H, W, C) with C = 1, 3 or 4, got shape "
            f"{array.shape}; choose the channels first, as by x[:, :, :, :3]"
        )
    if images.shape[1] == ALPHA:
        images = images[:, : ALPHA - 1]
        notes.append("images of four channels were taken for RGBA, and their transparency was left out")
    if images.dtype != np.uint8:
        images = _as_bytes(images, f"{name} must hold images of uint8, or of floats in [0, 1], got {described(array)}")
        notes.append(f"images of {array.dtype} in [0, 1] were brought to bytes, 0 to 255")
    return np.ascontiguousarray(images), notes


def _as_bytes(images: np.ndarray, refusal: str) -> np.ndarray:
    """Floats in [0, 1] as bytes; else a refusal that begins with these words."""
    low, high = images.min(), images.max()  # NaN if one is
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(images * np.float32(255)).astype(np.uint8)
    if not (np.isfinite(low) and np.isfinite(high)):
        remedy = "replace NaN and infinity first"
    elif images.dtype.kind == "b":
        remedy = "give 255 * x.astype('uint8')"
    elif low >= 0 and high <= 255:
        remedy = "give x.round().astype('uint8')"
    else:
        remedy = "give (x - x.min()) / (x.max() - x.min())"
    raise InputError(f"{refusal} from {low} to {high}; {remedy}")
