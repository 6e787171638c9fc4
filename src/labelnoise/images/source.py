"""What a reader of image data returns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError

TEST_SHARE = 0.3
"""Share of a data set without a test split of its own that becomes the test set."""


class Source(NamedTuple):
    """What a reader returns; class ids are the original ones."""

    x_train: np.ndarray
    """(n, C, H, W) uint8."""
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    position: np.ndarray
    """(n,) positions of the training images in the source's order, ascending."""
    size: int
    """Number of images in that order: more than n where the test images are drawn from it."""
    names: tuple[str, ...] = ()
    """Names of the classes by id; empty where an id is all there is."""
    channels_last: bool = False
    """Whether the channels stood on the last axis of the file."""


def split(images: np.ndarray, labels: np.ndarray, seed: int, names: tuple[str, ...] = ()) -> Source:
    """Draw the test set from data that have none; the order of the images is kept on both sides."""
    order = stream(seed, "split").permutation(labels.size)
    n_test = round(TEST_SHARE * labels.size)
    test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
    return Source(images[train], labels[train], images[test], labels[test], train, labels.size, names)


def check_regular(path: Path, remedy: str) -> None:
    """Refuse what is no regular file, nor a link to one: to read a pipe or a device may never end."""
    if path.is_file():
        return
    kinds = {"a folder": path.is_dir, "a named pipe": path.is_fifo, "a link to nothing": path.is_symlink}
    kind = next((kind for kind, is_so in kinds.items() if is_so()), "a device" if path.exists() else "no file")
    raise InputError(f"{path} must be a regular file, got {kind}; {remedy}")
