"""Real images with given labels: read, choose classes, flip training labels, put on a device.

Images stay uint8 until the device normalises them: a quarter of the memory, and one copy for the whole run.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labelnoise.arrays import Array, stream, to_device
from labelnoise.errors import InputError, did_you_mean
from labelnoise.noise import FromFile, LabelNoise, NoisyLabels, flip_labels

TEST_SHARE = 0.3
"""Share of a data set without a test split of its own that becomes the test set."""


@dataclass(frozen=True, eq=False)
class Data:
    """Training images with given and true labels, and a test set whose labels are true.

    Labels are class positions 0..K-1: position k stands for the original class `classes[k]`.
    """

    name: str
    """Name of the data set, or of the file without its folder."""
    x_train: np.ndarray
    """(n, C, H, W) uint8."""
    y_true: np.ndarray
    """(n,) true labels of the training images."""
    y_given: np.ndarray
    """(n,) labels to train on; they differ from `y_true` where label noise struck."""
    x_test: np.ndarray
    """(n_test, C, H, W) uint8."""
    y_test: np.ndarray
    """(n_test,) true labels."""
    classes: tuple[int, ...]
    """Original class ids in the order of their positions."""
    index: np.ndarray
    """(n,) position of each training image in the source."""
    mean: np.ndarray
    """(C,) mean of `x_train` / 255 in each channel."""
    std: np.ndarray
    """(C,) standard deviation of `x_train` / 255 in each channel; 1 for a channel that is constant."""

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """Number of channels C of an image."""
        return self.x_train.shape[1]

    @property
    def noise(self) -> NoisyLabels:
        """The training labels as a report: realised rates, and a sentence by `str`."""
        return NoisyLabels(self.y_true, self.y_given, self.n_classes)

    @property
    def noisy(self) -> np.ndarray:
        """Boolean mask (n,) of the training images whose given label is wrong."""
        return self.noise.noisy

    def on(self, device: str) -> DeviceData:
        """Copy images and labels to a torch device."""
        arrays = (self.x_train, self.y_given, self.x_test, self.y_test)
        shape = (1, self.in_channels, 1, 1)
        scale = (255 * self.mean.reshape(shape), 255 * self.std.reshape(shape))
        return DeviceData(
            *(to_device(array, device) for array in arrays),
            *(to_device(array, device, dtype="float32") for array in scale),
        )


@dataclass(frozen=True, eq=False)
class DeviceData:
    """A data set on a torch device: uint8 images, int64 labels, and the scale that normalises a batch there."""

    x_train: Array
    y_given: Array
    x_test: Array
    y_test: Array
    mean: Array
    """(1, C, 1, 1) float32, in units of a pixel value."""
    std: Array
    """(1, C, 1, 1) float32, in units of a pixel value."""

    def normalise(self, pixels: Array) -> Array:
        """Return uint8 images (b, C, H, W) as float32 with mean 0 and standard deviation 1 over the training set."""
        return (pixels.float() - self.mean) / self.std


class Source(NamedTuple):
    """What a reader returns: images (n, C, H, W) uint8, original class ids, positions of the training images."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    position: np.ndarray


def load_data(
    name: str,
    *,
    root: str | Path = "data",
    classes: Sequence[int] | None = None,
    label_noise: LabelNoise | FromFile | None = None,
    seed: int = 0,
) -> Data:
    """Read a data set, choose classes and flip training labels.

    The split (of a data set without one) and the flips come from two streams of `seed`: another `label_noise` or
    other `classes` move no image from one side to the other. The test labels are never flipped.

    Args:
        name: a key of `DATASETS`, or an .npz file with x_train, y_train, x_test, y_test (uint8 images (n, H, W),
            (n, 1, H, W) or (n, 3, H, W); integer labels). A file is looked for as given, then in `root`, then in
            the folder that the environment variable LABELNOISE_DATA names; there `.npz` may be left out.
        root: folder with data files.
        classes: original class ids, two or more; their order gives the positions 0..K-1. None takes all, ascending.
        label_noise: a model of `labelnoise.noise`; None leaves the labels as they are.
        seed: a non-negative integer.

    Raises:
        InputError: an unknown name, a damaged or unsuitable file, or classes that it does not hold.

    Example:
        >>> data = load_data("digits", classes=(3, 8))
        >>> data.x_train.shape[1:], data.classes, data.noisy.any()
        ((1, 8, 8), (3, 8), np.False_)
    """
    label, source = _read(name, Path(root), seed)
    chosen = _choose_classes(source, classes)
    train, test = (np.isin(labels, chosen) for labels in (source.y_train, source.y_test))
    labels = flip_labels(_positions(source.y_train[train], chosen), label_noise, len(chosen), seed)
    x_train = source.x_train[train]
    mean, std = _channel_scale(x_train)
    return Data(
        name=label,
        x_train=x_train,
        y_true=labels.y_true,
        y_given=labels.y_given,
        x_test=source.x_test[test],
        y_test=_positions(source.y_test[test], chosen),
        classes=chosen,
        index=source.position[train],
        mean=mean,
        std=std,
    )


def _read(name: str, root: Path, seed: int) -> tuple[str, Source]:
    """Short name and content of a known data set or of an .npz file."""
    if name in DATASETS:
        return name, DATASETS[name](seed)
    folders = [root, *(Path(folder) for folder in [os.environ.get("LABELNOISE_DATA")] if folder)]
    for path in (Path(name), *(folder / f"{name}{end}" for folder in folders for end in ("", ".npz"))):
        if path.is_file():
            return path.stem, _read_npz(path)
    looked = " nor in ".join(map(str, folders))
    raise InputError(
        f"data set {name!r} is not known and is no file, neither here nor in {looked}{did_you_mean(name, DATASETS)}"
    )


def _read_digits(seed: int) -> Source:
    """Return scikit-learn's bundled handwritten digits, 1797 images of 8 x 8."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("data set 'digits' needs scikit-learn; pip install 'labelnoise[train]'") from None
    values, labels = load_digits(return_X_y=True)
    images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    order = stream(seed, "split").permutation(labels.size)
    n_test = round(TEST_SHARE * labels.size)
    test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
    return Source(images[train], labels[train], images[test], labels[test], train)


DATASETS: dict[str, Callable[[int], Source]] = {"digits": _read_digits}
"""Each known data set by name: its reader takes the seed of the split."""


def _read_npz(path: Path) -> Source:
    """Read and check an .npz file."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in keys if key in archive.files}
    except TypeError:
        raise InputError(f"{path} must be an .npz archive, got a single array; save it with numpy.savez") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged or holds pickled objects ({error}); save plain arrays with numpy.savez"
        ) from None
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise InputError(f"{path} must hold {', '.join(keys)}, but {missing[0]} is missing; save it too")
    for part in ("train", "test"):
        arrays[f"x_{part}"] = _checked_images(path, f"x_{part}", arrays[f"x_{part}"])
        _check_labels(path, f"y_{part}", arrays[f"y_{part}"], len(arrays[f"x_{part}"]))
    x_train, y_train, x_test, y_test = (arrays[key] for key in keys)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InputError(
            f"{path} must hold images of one shape, got {x_train.shape[1:]} in x_train and {x_test.shape[1:]} in "
            "x_test; resize one of them"
        )
    return Source(x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), np.arange(len(x_train)))


def _checked_images(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """Images as (n, C, H, W), or a refusal."""
    if images.dtype != np.uint8:
        found = str(images.dtype)
        if images.dtype.kind == "f" and np.isnan(images).any():
            found += " with NaN"
        raise InputError(f"{path}: {key} must be uint8 (0..255), got {found}; scale, round and convert it first")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"{path}: {key} must have shape (n, H, W), (n, 1, H, W) or (n, 3, H, W), got {images.shape}; move the "
            "channels to the second axis"
        )
    return images


def _check_labels(path: Path, key: str, labels: np.ndarray, n: int) -> None:
    if labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {key} must hold integers, got {labels.dtype}; number the classes")
    if labels.shape != (n,):
        raise InputError(f"{path}: {key} must hold one label an image ({n}), got shape {labels.shape}; correct it")


def _choose_classes(source: Source, classes: Sequence[int] | None) -> tuple[int, ...]:
    """Class ids in the order asked for, each present in both parts."""
    parts = {"training": source.y_train, "test": source.y_test}
    held = {part: np.unique(labels).tolist() for part, labels in parts.items()}
    known = sorted(set(held["training"]) | set(held["test"]))
    listed = known if classes is None else list(classes)
    for class_id in listed:
        if isinstance(class_id, bool) or not isinstance(class_id, int | np.integer) or class_id not in known:
            raise InputError(f"`classes` must be among {_listing(known)}, got {class_id!r}; choose others")
    chosen = tuple(int(class_id) for class_id in listed)
    if len(set(chosen)) != len(chosen):
        raise InputError(f"`classes` must differ from each other, got {chosen}; list each one once")
    if len(chosen) < 2:
        raise InputError(f"`classes` must be two or more, got {chosen}; the data holds {_listing(known)}")
    for part, present in held.items():
        absent = [class_id for class_id in chosen if class_id not in present]
        if absent:
            raise InputError(
                f"each class must be in both parts, but class {absent[0]} has no {part} image; leave it out"
            )
    return chosen


def _listing(classes: list[int]) -> str:
    """Class ids for a message, cut where a list of them helps nobody."""
    return ", ".join(map(str, classes[:20])) + (", ..." if len(classes) > 20 else "")


def _positions(labels: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """Positions 0..K-1 of class ids that are all among `chosen`."""
    order = np.argsort(chosen)
    return order[np.searchsorted(np.asarray(chosen)[order], labels)]


def _channel_scale(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (C,) of images / 255, exact and without a float copy of the images."""
    counts = np.zeros((images.shape[1], 256))
    for part in np.array_split(images, max(1, images.size // 10**7)):
        for channel, row in enumerate(counts):
            row += np.bincount(part[:, channel].ravel(), minlength=256)
    share, value = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = share @ value
    std = np.sqrt((share * (value - mean[:, None]) ** 2).sum(axis=1))
    return mean, np.where(std > 0, std, 1.0)
