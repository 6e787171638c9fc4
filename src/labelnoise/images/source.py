"""What a reader of image data returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from labelnoise.arrays import stream

TEST_SHARE = 0.3
"""Share of a data set without a test split of its own that becomes the test set."""


CHANNELS = (1, 3)
"""Numbers of channels of an image: grey or colour."""


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether the channels of images (n, C, H, W) or (n, H, W, C) stand on the last axis: not on the second one."""
    return len(shape) == 4 and shape[1] not in CHANNELS


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
