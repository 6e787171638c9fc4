"""Image data by name or path: known data sets, .npz files and folders of images, each read into one `Source`."""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from labelnoise.errors import InputError, did_you_mean
from labelnoise.images import archives
from labelnoise.images.image_folders import read_folder
from labelnoise.images.source import Source, split


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
    return split(images, labels, seed)


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
        kind = str(images.dtype)
        if images.dtype.kind == "f" and np.isnan(images).any():
            kind += " with NaN"
        raise InputError(f"{path}: {key} must be uint8 (0..255), got {kind}; scale, round and convert it first")
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
