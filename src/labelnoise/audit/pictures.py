"""Images as somebody has them, brought to one form: in an array of any layout, or in folders, some of them damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError, described, first_few
from labelnoise.images.source import CHANNELS, is_channels_last
from labelnoise.runs.files import as_utf8

if TYPE_CHECKING:
    from jaxtyping import Num, UInt8

ALPHA = 4
"""Channels of a colour image with its transparency."""
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""Suffixes of the files that are read; others are left alone."""
SIDE = 32
"""Height and width to which images of different or larger sizes are brought."""


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


def read_picture_folder(folder: Path) -> tuple[np.ndarray, list[str], list[str], list[str]]:
    """Read the images of a folder that holds a folder for each class.

    Returns:
        Images (n, C, H, W) uint8, C = 1 where all are grey; the class name of each; its file, from the folder; and
        notes on folders without an image and files that cannot be read, which are left out, and on sizes.

    Raises:
        InputError: no class folders, or no image that can be read.
    """
    classes = sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    files = [file for inner in classes for file in sorted(inner.iterdir()) if file.suffix.lower() in IMAGE_FILES]
    if not files:
        raise InputError(
            f"{folder} must hold a folder of images for each class, got none ({', '.join(IMAGE_FILES)}); sort the "
            "images by class"
        )
    pictures, kept, damaged, deep = [], [], [], 0
    sizes: set[tuple[int, int]] = set()
    for file in files:
        picture = _read(file)
        if picture is None:
            damaged.append(as_utf8(str(file.relative_to(folder))))
        else:
            sizes.add(picture.size)
            if picture.mode.startswith("I;16"):
                picture, deep = _upper_bits(picture), deep + 1
            pictures.append(picture.resize((SIDE, SIDE)) if max(picture.size) > 2 * SIDE else picture)
            kept.append(file)
    if not pictures:
        raise InputError(f"{folder} holds no image that can be read, {len(damaged)} are damaged; check the files")
    notes = []
    full = {file.parent for file in files}
    if without := [as_utf8(inner.name) for inner in classes if inner not in full]:
        notes.append(f"folders without an image, which are left out ({len(without)}): {first_few(without)}")
    if damaged:
        words = first_few(damaged, most=20)
        notes.append(f"images that could not be read and are left out ({len(damaged)} of {len(files)}): {words}")
    if deep:
        notes.append(f"grey images of 16 bits, of which the upper 8 are used: {deep}")
    if len(sizes) > 1 or max(max(size) for size in sizes) > 2 * SIDE:
        size = f"{len(sizes)} sizes" if len(sizes) > 1 else "one size"
        notes.append(f"images of {size} were brought to {SIDE} x {SIDE} for the network")
        pictures = [picture.resize((SIDE, SIDE)) for picture in pictures]
    grey = all(picture.mode == "L" for picture in pictures)
    arrays = [np.asarray(picture if grey else picture.convert("RGB")) for picture in pictures]
    images = np.stack(arrays)
    images = images[:, None] if grey else np.ascontiguousarray(np.moveaxis(images, 3, 1))
    names = [as_utf8(file.relative_to(folder).as_posix()) for file in kept]
    return images, [name.partition("/")[0] for name in names], names, notes


def _read(file: Path) -> Any:
    """A grey or a colour image of bytes, or a grey one of 16 bits; None where it cannot be read."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError("folders of images need Pillow; pip install 'labelnoise[train]'") from None
    if not file.is_file():  # to read a pipe may never end
        return None
    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F"):  # of any range
                return None
            if image.mode.startswith("I;16"):
                return image.copy()
            picture = image.convert("RGBA") if image.mode == "P" else image
            return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
    except Exception:  # a damaged image may raise anything
        return None


def _upper_bits(picture: Any) -> Any:
    """A grey image of 16 bits as one of bytes; Pillow's own conversion makes all above 255 white."""
    from PIL import Image

    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
