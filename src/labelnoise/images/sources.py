"""Readers of image data: known data sets, .npz files and folders of images, each into one `Source`."""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, did_you_mean
from labelnoise.images import archives

TEST_SHARE = 0.3
"""Share of a data set without a test split of its own that becomes the test set."""

IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp")
"""Suffixes of the files that a folder of images is read from; other files in it are left alone."""

MODES = {"1": "L", "L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
"""Whether an image is read as a grey (L) or as a colour one, by Pillow's name of what its pixels are."""


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


def read_source(
    name: str, root: Path, seed: int, download: bool = False, progress: archives.Fetched | None = None
) -> tuple[str, Source]:
    """Read a known data set, an .npz file or a folder of images.

    Args:
        name: a key of `DATASETS`, or a path: as given, else in `root`, else in the folder LABELNOISE_DATA, where
            `.npz` may be left out.
        root: folder with data; official files lie in it or in its subfolder `name`.
        seed: of the stream `split`, for data without a test set.
        download: fetch official files that are not at hand into `root / name`.
        progress: of the download, see `archives.fetch`.

    Returns:
        The data set's name (of a file, without its folder), and its content.

    Raises:
        InputError: no such data, or data that are damaged or unsuitable.
    """
    folders = [root, *(Path(folder) for folder in [os.environ.get("LABELNOISE_DATA")] if folder)]
    if name in DATASETS:
        places = [place for folder in folders for place in (folder / name, folder)]
        try:
            return name, DATASETS[name](name, places, seed)
        except archives.Missing:
            if not download:
                raise
        archives.fetch(name, root / name, progress)
        return name, DATASETS[name](name, places, seed)
    for path in (Path(name), *(folder / f"{name}{end}" for folder in folders for end in ("", ".npz"))):
        if path.is_file():
            return path.stem, read_npz(path)
        if path.is_dir():
            return path.resolve().name, read_folder(path, seed)
    looked = " nor in ".join(map(str, folders))
    raise InputError(
        f"data set {name!r} is not known and is no file or folder, neither here nor in {looked}"
        f"{did_you_mean(name, DATASETS)}"
    )


def _read_digits(name: str, places: Sequence[Path], seed: int) -> Source:
    """Return scikit-learn's bundled handwritten digits, 1797 images of 8 x 8."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(f"data set {name!r} needs scikit-learn; pip install 'labelnoise[train]'") from None
    values, labels = load_digits(return_X_y=True)
    images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return _split(images, labels, seed)


def _split(images: np.ndarray, labels: np.ndarray, seed: int, names: tuple[str, ...] = ()) -> Source:
    """Draw the test set from data that have none; the order of the images is kept on both sides."""
    order = stream(seed, "split").permutation(labels.size)
    n_test = round(TEST_SHARE * labels.size)
    test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
    return Source(images[train], labels[train], images[test], labels[test], train, labels.size, names)


CIFAR = {
    "cifar10": ([f"data_batch_{k}" for k in range(1, 6)], "test_batch", "batches.meta", b"labels", b"label_names"),
    "cifar100": (["train"], "test", "meta", b"fine_labels", b"fine_label_names"),
}
"""Files of an archive (training, test, names), and the keys of labels and names in them."""


def _read_cifar(name: str, places: Sequence[Path], seed: int) -> Source:
    """Read the folder of the python archive, or the .tar.gz itself."""
    archive, *files = archives.MD5[name]
    parts = archives.read_pickles(name, *archives.locate(name, places, (files, [archive])))
    train, test, meta, labels, names = CIFAR[name]
    x_train, x_test = (
        np.concatenate([parts[file][b"data"] for file in half]).reshape(-1, 3, 32, 32) for half in (train, [test])
    )
    y_train, y_test = (np.concatenate([parts[file][labels] for file in half]) for half in (train, [test]))
    words = tuple(word.decode() for word in parts[meta][names])
    return Source(x_train, y_train, x_test, y_test, np.arange(len(y_train)), len(y_train), words)


FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""Names of the classes of Fashion-MNIST."""


def _read_mnist(name: str, places: Sequence[Path], seed: int) -> Source:
    """Read the four idx files, as they are fetched (.gz) or unpacked."""
    packed = list(archives.MD5[name])
    place, files = archives.locate(name, places, (packed, [file.removesuffix(".gz") for file in packed]))
    arrays = {}
    for key, file in zip(("x_train", "y_train", "x_test", "y_test"), files, strict=True):
        if file in packed:
            content = gzip.decompress(archives.read_verified(name, place, file))
        elif place.name == name:
            content = (place / file).read_bytes()
        else:
            raise InputError(
                f"{place / file} may be of mnist or of fashion-mnist, and unpacked it has no checksum to tell; put the "
                f"four files in a folder named {name}"
            )
        arrays[key] = _parse_idx(content, place / file, n_axes=3 if key[0] == "x" else 1)
    return _checked(place, arrays)._replace(names=FASHION if name == "fashion-mnist" else ())


def _parse_idx(content: bytes, path: Path, n_axes: int) -> np.ndarray:
    """Array of unsigned bytes: two zeros, type 8, number of axes, their lengths (4 bytes each), the values."""
    start = 4 + 4 * n_axes
    shape = [int.from_bytes(content[k : k + 4]) for k in range(4, start, 4)]
    if content[:4] != bytes((0, 0, 8, n_axes)) or len(content) != start + math.prod(shape):
        raise InputError(
            f"{path} must be an idx file with {n_axes} axes of bytes, but its header does not fit its {len(content)} "
            "bytes; delete it and put the official .gz file there"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # writable, as torch wants it


DATASETS: dict[str, Callable[[str, Sequence[Path], int], Source]] = {
    "digits": _read_digits,
    "cifar10": _read_cifar,
    "cifar100": _read_cifar,
    "mnist": _read_mnist,
    "fashion-mnist": _read_mnist,
}
"""Each known data set by name: its reader takes the name, the folders to look in, and the seed of the split."""


def read_npz(path: Path) -> Source:
    """Read an .npz file with x_train, y_train, x_test, y_test.

    Args:
        path: uint8 images (n, H, W), (n, 1, H, W) or (n, 3, H, W); integer labels.

    Raises:
        InputError: a damaged file, or arrays that are missing or unsuitable.
    """
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
    return _checked(path, arrays)


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> Source:
    """Images and labels of both parts, checked."""
    for part in ("train", "test"):
        arrays[f"x_{part}"] = _checked_images(path, f"x_{part}", arrays[f"x_{part}"])
        _check_labels(path, f"y_{part}", arrays[f"y_{part}"], len(arrays[f"x_{part}"]))
    x_train, y_train, x_test, y_test = (arrays[f"{kind}_{part}"] for part in ("train", "test") for kind in "xy")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InputError(
            f"{path} must hold images of one shape, got {x_train.shape[1:]} in x_train and {x_test.shape[1:]} in "
            "x_test; resize one of them"
        )
    n = len(x_train)
    return Source(x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), np.arange(n), n)


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


def read_folder(path: Path, seed: int) -> Source:
    """Read images from a folder for each class; its id is its position among the sorted names.

    The class folders lie in the subfolders `train` and `test`, or in `path` itself, where the stream `split` of
    `seed` draws the test set. The order is that of the class names, then of the file names. Images that are all grey
    have one channel, others three; transparency is dropped.

    Raises:
        InputError: no class folder, one without images, a damaged image, or images of different sizes.
    """
    halves = [half for half in ("train", "test") if (path / half).is_dir()]
    if len(halves) == 1:
        raise InputError(f"{path} must hold both train and test, got {halves[0]} alone; add the other, or neither")
    parts = [_list_images(path / half) for half in halves or ("",)]
    names = sorted(set().union(*parts))
    images = _read_images([file for part in parts for name in names for file in part.get(name, ())])
    labels = [np.repeat(np.arange(len(names)), [len(part.get(name, ())) for name in names]) for part in parts]
    if not halves:
        return _split(images, labels[0], seed, tuple(names))
    n = len(labels[0])
    return Source(images[:n], labels[0], images[n:], labels[1], np.arange(n), n, tuple(names))


def _list_images(folder: Path) -> dict[str, list[Path]]:
    """Image files of each class folder, by the class name."""
    found = {}
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.name.startswith("."):
            found[inner.name] = sorted(file for file in inner.iterdir() if file.suffix.lower() in IMAGE_FILES)
            if not found[inner.name]:
                raise InputError(f"{inner} holds no image ({', '.join(IMAGE_FILES)}); add some or delete the folder")
    if not found:
        raise InputError(f"{folder} must hold a folder of images for each class, got none; sort the images by class")
    return found


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
