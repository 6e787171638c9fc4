"""Images in a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelnoise.errors import InputError, check_regular
from labelnoise.images.source import Source, split
from labelnoise.runs.files import as_utf8

IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp")
"""Suffixes of the files that a folder of images is read from; other files in it are left alone."""

MODES = {"1": "L", "L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
"""Whether an image is read as a grey (L) or as a colour one, by Pillow's name of what its pixels are."""


def read_folder(path: Path, seed: int) -> Source:
    """Read images from a folder for each class; its id is its position among the sorted names.

    The class folders lie in the subfolders `train` and `test`, or in `path` itself, where the stream `split` of
    `seed` draws the test set. The order is that of the class names, then of the file names. Images that are all grey
    have one channel, others three; transparency is dropped.

    Raises:
        InputError: no class folder, one without images, an image that is damaged or no regular file, or images of
            different sizes.
    """
    halves = [half for half in ("train", "test") if (path / half).is_dir()]
    if len(halves) == 1:
        raise InputError(f"{path} must hold both train and test, got {halves[0]} alone; add the other, or neither")
    parts = [_list_images(path / half) for half in halves or ("",)]
    names = sorted(set().union(*parts))
    images = _read_images([file for part in parts for name in names for file in part.get(name, ())])
    labels = [np.repeat(np.arange(len(names)), [len(part.get(name, ())) for name in names]) for part in parts]
    if not halves:
        return split(images, labels[0], seed, tuple(names))
    n = len(labels[0])
    return Source(images[:n], labels[0], images[n:], labels[1], np.arange(n), n, tuple(names))


def _list_images(folder: Path) -> dict[str, list[Path]]:
    """Image files of each class folder, by the class name."""
    files = {}
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.name.startswith("."):
            shown, name = (file for file in inner.iterdir() if not file.name.startswith(".")), as_utf8(inner.name)
            files[name] = sorted(file for file in shown if file.suffix.lower() in IMAGE_FILES)
            if not files[name]:
                raise InputError(
                    f"{inner} holds no image ({', '.join(IMAGE_FILES)}); add some, move it away, or name another "
                    "folder in --data"
                )
    if not files:
        raise InputError(f"{folder} must hold a folder of images for each class, got none; sort the images by class")
    return files


def _read_images(files: Sequence[Path]) -> np.ndarray:
    """Images (n, C, H, W) of one size."""
    arrays: list[np.ndarray] = []
    for file in files:
        pixels = _read_pixels(file)
        if arrays and pixels.shape[:2] != arrays[0].shape[:2]:
            (height, width), (other_height, other_width) = arrays[0].shape[:2], pixels.shape[:2]
            raise InputError(
                f"images must have one size, got {width} x {height} in {files[0]} and {other_width} x {other_height} "
                f"in {file}; resize them first"
            )
        arrays.append(pixels)
    if all(pixels.ndim == 2 for pixels in arrays):
        return np.stack(arrays)[:, None]
    images = np.empty((len(arrays), 3, *arrays[0].shape[:2]), np.uint8)
    for image, pixels in zip(images, arrays, strict=True):
        image[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return images


def _read_pixels(file: Path) -> np.ndarray:
    """Pixels (H, W) of a grey image or (H, W, 3) of another one."""
    check_regular(file, "replace or delete it")
    try:
        from PIL import Image
    except ImportError:
        raise InputError("folders of images need Pillow; pip install 'labelnoise[train]'") from None
    try:
        with Image.open(file) as image:
            read: Image.Image = image
            if image.mode == "P":  # Pillow warns where a palette's transparency is dropped at once
                read = image.convert("RGBA")
            kind = MODES.get(read.mode)
            if kind:
                return np.asarray(read if read.mode == kind else read.convert(kind))
            mode = read.mode
    except Exception as error:  # a damaged image may raise anything
        raise InputError(f"{file} could not be read as an image ({error}); replace or delete it") from None
    raise InputError(f"{file} must have 8 bits a channel, got mode {mode}; convert it first")
