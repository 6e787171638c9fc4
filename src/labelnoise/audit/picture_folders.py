"""Images in a folder for each class as somebody has them: of any size, some of them damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.errors import InputError, first_few

IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""Suffixes of the files that are read; others are left alone."""
SIDE = 32
"""Height and width to which images of different or larger sizes are brought."""


def read_pictures(folder: Path) -> tuple[np.ndarray, list[str], list[str], list[str]]:
    """Read the images of a folder that holds a folder for each class.

    Returns:
        Images (n, C, H, W) uint8, C = 1 where all are grey; the class name of each; its file, from the folder; and
        notes on files that could not be read, which are skipped, and on sizes.

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
            damaged.append(str(file.relative_to(folder)))
        else:
            sizes.add(picture.size)
            if picture.mode.startswith("I;16"):
                picture, deep = _upper_bits(picture), deep + 1
            pictures.append(picture.resize((SIDE, SIDE)) if max(picture.size) > 2 * SIDE else picture)
            kept.append(file)
    if not pictures:
        raise InputError(f"{folder} holds no image that can be read, {len(damaged)} are damaged; check the files")
    notes = []
    if damaged:
        words = first_few(damaged, most=20)
        notes.append(f"{len(damaged)} of {len(files)} images could not be read and were skipped: {words}")
    if deep:
        notes.append(f"{deep} grey images of 16 bits were brought to bytes, by their upper 8 bits")
    if len(sizes) > 1 or max(max(size) for size in sizes) > 2 * SIDE:
        notes.append(f"images of {len(sizes)} sizes were brought to {SIDE} x {SIDE} for the network")
        pictures = [picture.resize((SIDE, SIDE)) for picture in pictures]
    grey = all(picture.mode == "L" for picture in pictures)
    arrays = [np.asarray(picture if grey else picture.convert("RGB")) for picture in pictures]
    images = np.stack(arrays)
    images = images[:, None] if grey else np.ascontiguousarray(np.moveaxis(images, 3, 1))
    return images, [file.parent.name for file in kept], [file.relative_to(folder).as_posix() for file in kept], notes


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
