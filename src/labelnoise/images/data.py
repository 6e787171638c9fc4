"""Real data with given labels: choose classes and images, flip training labels, put on a device.

Images stay uint8 until the device normalises them: a quarter of the memory, and one copy for the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import Array, to_device
from labelnoise.errors import InputError, check_integer
from labelnoise.images.archives import Fetched
from labelnoise.images.choosing import choose_classes, choose_images, positions, read_given
from labelnoise.images.datasets import read_source
from labelnoise.noise.features import FeatureNoise
from labelnoise.noise.files import FromFile
from labelnoise.noise.flipping import NoisyLabels, flip_labels
from labelnoise.noise.models import LabelNoise

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8


PADDING = 4
"""Zeros around an image before `DeviceData.augment` crops it to its size."""


@dataclass(frozen=True, eq=False)
class Data:
    """Training images with given and true labels, and a test set whose labels are true; also tables (`from_arrays`).

    Labels are class positions 0..K-1: position k stands for the original class `classes[k]`.
    """

    name: str
    """Name of the data set, or of the file without its folder."""
    x_train: UInt8[np.ndarray, "n C H W"] = field(repr=False)
    """(n, C, H, W) uint8; float32 of arrays that are no such images, (n, d) of a table."""
    y_true: Int[np.ndarray, " n"] = field(repr=False)
    """(n,) true labels of the training images; all -1 where they are not known."""
    y_given: Int[np.ndarray, " n"] = field(repr=False)
    """(n,) labels to train on; they differ from `y_true` where label noise struck."""
    x_test: UInt8[np.ndarray, "n_test C H W"] = field(repr=False)
    """(n_test, C, H, W) uint8, or like `x_train`; n_test may be 0."""
    y_test: Int[np.ndarray, " n_test"] = field(repr=False)
    """(n_test,) true labels."""
    classes: tuple[int, ...]
    """Original class ids in the order of their positions."""
    class_names: tuple[str, ...]
    """Their names; the id where a class has no name."""
    index: Int[np.ndarray, " n"] = field(repr=False)
    """(n,) position of each training image in the source."""
    mean: Float[np.ndarray, " C"]
    """(C,) mean of `x_train` / 255 in each channel; of floats, of the values along their second axis."""
    std: Float[np.ndarray, " C"]
    """(C,) standard deviation of the same; 1 for a channel that is constant."""
    channels_last: bool = False
    """Whether the file holds the channels on its last axis; `x_train` and `x_test` have them on the second one."""

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """Number of channels C of an image, or of features of a table."""
        return self.x_train.shape[1]

    @property
    def noise(self) -> NoisyLabels:
        """The training labels as a report: realised rates, and a sentence by `str`.

        Raises:
            InputError: the true labels are not known.
        """
        if not self.truth_known:
            raise InputError("`noise` needs the true labels, got data without; give y_true, or estimate the rate")
        return NoisyLabels(self.y_true, self.y_given, self.n_classes)

    @property
    def noisy(self) -> Bool[np.ndarray, " n"]:
        """Boolean mask (n,) of the training images whose given label is wrong, as far as that is known."""
        return (self.y_true >= 0) & (self.y_true != self.y_given)

    @property
    def clean(self) -> Bool[np.ndarray, " n"]:
        """Boolean mask (n,) of the training images whose given label is right, as far as that is known."""
        return self.y_true == self.y_given

    @property
    def truth_known(self) -> bool:
        """Whether the true labels are known."""
        return bool((self.y_true >= 0).all())

    def on(self, device: str) -> DeviceData:
        """Copy images and labels to a torch device."""
        arrays = (self.x_train, self.y_given, self.x_test, self.y_test)
        shape = (1, self.in_channels, *(1,) * (self.x_train.ndim - 2))
        unit = 255 if self.x_train.dtype == np.uint8 else 1
        scale = (unit * self.mean.reshape(shape), unit * self.std.reshape(shape))
        return DeviceData(
            *(to_device(array, device) for array in arrays),
            *(to_device(array, device, dtype="float32") for array in scale),
        )


@dataclass(frozen=True, eq=False)
class DeviceData:
    """A data set on a torch device: images or tables, int64 labels, and the scale that normalises a batch there."""

    x_train: Array
    y_given: Array
    x_test: Array
    y_test: Array
    mean: Array
    """(1, C, 1, 1) float32, in units of a pixel value; (1, d) of a table."""
    std: Array
    """(1, C, 1, 1) float32, in units of a pixel value; (1, d) of a table."""

    def normalise(self, pixels: Array) -> Array:
        """Return images (b, C, H, W), or rows of a table, as float32: mean 0, standard deviation 1 over training."""
        return (pixels.float() - self.mean) / self.std

    def augment(self, pixels: Array, shifts: Array) -> Array:
        """Put zeros of width 4 around uint8 images, crop each to its size again, and mirror some crops.

        Args:
            pixels: (b, C, H, W) uint8 images.
            shifts: (b, 3) integers: the crop's first row and column in 0..8 (4 leaves the image in place), and 1 to
                mirror it left to right, else 0.
        """
        import torch

        height, width = pixels.shape[2:]
        padded = torch.nn.functional.pad(pixels, (PADDING,) * 4).movedim(1, -1)
        which, down, across = (torch.arange(size, device=pixels.device) for size in (len(pixels), height, width))
        down_shift, across_shift, mirror = shifts[:, :, None].unbind(1)
        rows = down + down_shift
        columns = torch.where(mirror.bool(), width - 1 - across, across) + across_shift
        return padded[which[:, None, None], rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def load_data(
    name: str | Path,
    *,
    root: str | Path = "data",
    classes: Sequence[int | str] | None = None,
    label_noise: LabelNoise | FeatureNoise | FromFile | None = None,
    seed: int = 0,
    per_class: int | None = None,
    download: bool = False,
    progress: Fetched | None = None,
) -> Data:
    """Read a data set, choose classes and images, and flip training labels.

    The split (of a data set without one), the choice of `per_class` images and the flips come from three streams of
    `seed`: other noise or other classes move no image from one side to the other, and fewer images of a class are
    among more of them. The test labels are never flipped.

    Args:
        name: a key of `datasets.DATASETS`; or an .npz file with x_train, y_train, x_test, y_test (uint8 images
            (n, H, W), (n, C, H, W) or (n, H, W, C) with C = 1 or 3; integer labels); or a folder that holds a folder of
            images for each class, or such folders in `train` and `test`. Where both the second and the last axis have
            length 1 or 3, the second one holds the channels; `Data.channels_last` says which one did. Looked for as
            given, then in `root`, then in the folder that the environment variable LABELNOISE_DATA names; in those two
            `.npz` may be left out.
        root: folder with data; official archives lie in it or in its subfolder `name`.
        classes: original class ids, or class names where the data set has them, two or more; their order gives the
            positions 0..K-1. Where each of them is a name, they are names, also numbers: (3, 7) are the folders 3 and
            7, if there are such, and else the fourth and the eighth one. None takes all, ascending.
        label_noise: a model of `labelnoise.noise`, or `FromFile`; None leaves the labels as they are. Noise that
            depends on the sample takes the pixels for its features.
        seed: a non-negative integer.
        per_class: number of training images drawn of each class; None takes all.
        download: fetch the official archive into `root / name` if it is not at hand.
        progress: called as progress(done, total) in bytes while a file is fetched.

    Raises:
        InputError: an argument of another type, unknown, missing, damaged or unsuitable data, data that need more
            memory than is free, classes or images that they do not hold, or a label file that does not fit.

    Example:
        >>> data = load_data("digits", classes=(3, 8), per_class=20)
        >>> data.x_train.shape, data.classes, data.class_names, data.noisy.any()
        ((40, 1, 8, 8), (3, 8), ('3', '8'), np.False_)
    """
    no_list = isinstance(classes, str | bytes | Set | Mapping) or not isinstance(classes, Iterable)
    if classes is not None and no_list:  # a text is iterable, a set has no order
        raise InputError(f"`classes` must be a list of ids or names, got {classes!r}; write for example (3, 8)")
    if per_class is not None:
        check_integer("per_class", per_class, 1, 100)
    label, source = read_source(name, root, seed, download, progress)
    chosen = choose_classes(source, classes)
    keep = choose_images(source, chosen, per_class, seed)
    y_true, x_train = positions(source.y_train[keep], chosen), _take(source.x_train, keep)
    if isinstance(label_noise, FromFile):
        labels = NoisyLabels(y_true, positions(read_given(label_noise, source, keep, chosen), chosen), len(chosen))
    else:
        labels = flip_labels(y_true, label_noise, len(chosen), seed, x_train)
    mean, std = _channel_scale(x_train)
    test = np.flatnonzero(np.isin(source.y_test, chosen))
    return Data(
        name=label,
        x_train=x_train,
        y_true=labels.y_true,
        y_given=labels.y_given,
        x_test=_take(source.x_test, test),
        y_test=positions(source.y_test[test], chosen),
        classes=chosen,
        class_names=tuple(source.names[k] if source.names else str(k) for k in chosen),
        index=source.position[keep],
        mean=mean,
        std=std,
        channels_last=source.channels_last,
    )


def _take(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some of the images, without a copy where these are all; `rows` ascend."""
    return images if len(rows) == len(images) else images[rows]


def _channel_scale(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (C,) of images / 255, from exact sums, in blocks that stay in the cache."""
    total, squares = np.zeros((2, images.shape[1]), np.int64)
    for part in np.array_split(images, max(1, images.size // 10**6)):
        values = part.astype(np.uint16)  # 255^2 fits
        total += values.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += (values * values).sum(axis=(0, 2, 3), dtype=np.int64)
    count = images.size // images.shape[1]
    spread = [count * int(square) - int(all_of_it) ** 2 for all_of_it, square in zip(total, squares, strict=True)]
    std = np.sqrt(np.array(spread, float)) / (255 * count)
    return total / (255 * count), np.where(std > 0, std, 1.0)
