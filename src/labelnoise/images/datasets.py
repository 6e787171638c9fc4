"""Image data by name or path: known data sets, .npz files and folders of images, each read into one `Source`."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_boolean, check_path, check_progress, did_you_mean
from labelnoise.images import archives
from labelnoise.images.image_folders import read_folder
from labelnoise.images.source import CHANNELS, Source, is_channels_last, split
from labelnoise.npz import load_arrays


def read_source(
    name: str | Path,
    root: str | Path,
    seed: int,
    download: bool = False,
    progress: archives.Fetched | None = None,
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
        InputError: an argument of another type, no such data, or data that are damaged or unsuitable.
    """
    if not isinstance(name, str | Path) or name == "":  # the path of an empty text is the current folder
        raise InputError(f"`name` must name a data set, a file or a folder, got {name!r}; use for example 'digits'")
    check_path("root", root)
    if os.path.exists(root) and not os.path.isdir(root):
        raise InputError(f"`root` must be a folder, got the file {root}; use for example 'data'")
    check_boolean("download", download)
    check_progress(progress)
    stream(seed, "split")  # refuses a seed that is none, which not every data set needs
    name, root = str(name), Path(root)
    folders = _folders(root)
    if name in DATASETS:
        places = [place for folder in folders for place in (folder / name, folder)]
        try:
            return name, DATASETS[name](name, places, seed)
        except archives.Missing:
            if not download:
                raise
        archives.fetch(name, root / name, progress)
        return name, DATASETS[name](name, places, seed)
    path = find_path(name, root)
    if path and path.is_file():
        return path.stem, read_npz(path)
    if path:
        return path.resolve().name, read_folder(path, seed)
    looked = " nor in ".join(map(str, folders))
    raise InputError(
        f"data set {name!r} is not known and is no file or folder, neither here nor in {looked}"
        f"{did_you_mean(name, DATASETS)}"
    )


def find_path(name: str, root: Path) -> Path | None:
    """Return the file or folder that `name` stands for, if there is one: as given, in `root`, or in LABELNOISE_DATA."""
    check_path("data", name)
    inside = (folder / f"{name}{end}" for folder in _folders(root) for end in ("", ".npz"))
    return next((path for path in (Path(name), *inside) if path.is_file() or path.is_dir()), None)


def _folders(root: Path) -> list[Path]:
    """The folders in which data are looked for."""
    shared = os.environ.get("LABELNOISE_DATA")
    return [root, Path(shared)] if shared else [root]


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
        path: uint8 images (n, H, W), (n, C, H, W) or (n, H, W, C), C = 1 or 3, the second axis first; integer labels.

    Raises:
        InputError: no regular file, a damaged one, one whose arrays exceed the free memory, or arrays that are missing
            or unsuitable.
    """
    keys = ("x_train", "y_train", "x_test", "y_test")
    _, arrays = load_arrays(path, keys)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise InputError(f"{path} must hold {', '.join(keys)}, but {missing[0]} is missing; save it too")
    return _checked(path, arrays)


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> Source:
    """Images and labels of both parts, checked."""
    last = {part: _channels_last(path, f"x_{part}", arrays[f"x_{part}"]) for part in ("train", "test")}
    if last["train"] != last["test"]:
        words = {part: "last" if is_last else "first" for part, is_last in last.items()}
        raise InputError(
            f"{path} must have the channels on one axis, got them {words['train']} in x_train and {words['test']} in "
            "x_test; move those of one"
        )
    for part, is_last in last.items():
        images = arrays[f"x_{part}"]
        images = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1) if is_last else images
        arrays[f"x_{part}"] = np.ascontiguousarray(images)
        _check_labels(path, f"y_{part}", arrays[f"y_{part}"], len(images))
    x_train, y_train, x_test, y_test = (arrays[f"{kind}_{part}"] for part in ("train", "test") for kind in "xy")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InputError(
            f"{path} must hold images of one shape, got {x_train.shape[1:]} in x_train and {x_test.shape[1:]} in "
            "x_test; resize one of them"
        )
    n = len(x_train)
    labels = y_train.astype(np.int64), y_test.astype(np.int64)
    return Source(x_train, labels[0], x_test, labels[1], np.arange(n), n, channels_last=last["train"])


def _channels_last(path: Path, key: str, images: np.ndarray) -> bool:
    """Whether the channels of images are on the last axis, and not on the second one; or a refusal."""
    if images.dtype != np.uint8:
        kind = str(images.dtype)
        if images.dtype.kind == "f" and np.isnan(images).any():
            kind += " with NaN"
        raise InputError(f"{path}: {key} must be uint8 (0..255), got {kind}; scale, round and convert it first")
    is_last = is_channels_last(images.shape)
    if images.ndim not in (3, 4) or (is_last and images.shape[3] not in CHANNELS) or 0 in images.shape:
        raise InputError(
            f"{path}: {key} must have shape (n, H, W), (n, C, H, W) or (n, H, W, C) with C = 1 or 3, got "
            f"{images.shape}; reshape it"
        )
    return is_last


def _check_labels(path: Path, key: str, labels: np.ndarray, n: int) -> None:
    if labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {key} must hold integers, got {labels.dtype}; number the classes")
    if labels.shape != (n,):
        raise InputError(f"{path}: {key} must hold one label an image ({n}), got shape {labels.shape}; correct it")
