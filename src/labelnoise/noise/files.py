"""Given labels, and transition matrices, read from files: .npz, .npy or text, never a pickle."""

from __future__ import annotations

import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from labelnoise.errors import InputError


@dataclass(frozen=True)
class FromFile:
    """Given labels read from a file, for example those that people gave.

    `load_data` takes one original class id for each training image of the source, in the source's order, and checks
    that order against the true labels; `flip_labels` takes one class position 0..K-1 a sample.
    """

    path: str
    """An .npz or .npy file, or text with one integer a line."""
    key: str = "y_given"
    """Which array of an .npz file to read; true labels beside it (`y_true` or `clean_label`) vouch for the order."""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise InputError(
                f"`path` must be the path of a label file, got {self.path!r}; use for example 'labels.npz'"
            )
        if not isinstance(self.key, str):
            raise InputError(f"`key` must be the name of an array, got {self.key!r}; use for example 'y_given'")
        object.__setattr__(self, "path", os.fspath(self.path))

    def read(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the given labels (n,) and the true ones that the file holds beside them, or None.

        Raises:
            InputError: a file that cannot be read, another number of labels, or labels that are not integers.
        """
        arrays = read_numbers(Path(self.path), self.key, "y_true", "clean_label")
        integers = {key: self._integers(array.ravel(), n) for key, array in arrays.items()}
        return integers[self.key], integers.get("y_true", integers.get("clean_label"))

    def _integers(self, labels: np.ndarray, n: int) -> np.ndarray:
        if labels.size != n:
            raise InputError(f"{self.path} must hold one label a sample ({n}), got {labels.size}; check the file")
        labels = labels.astype(float)
        wrong = np.flatnonzero(~(np.abs(labels) < 2**31) | (labels != np.round(labels)))
        if wrong.size:
            raise InputError(
                f"{self.path} must hold integers, got {labels[wrong[0]]} at position {wrong[0]}; number the classes"
            )
        return labels.astype(np.int64)


UNREADABLE = (
    OSError, EOFError, TypeError, ValueError, RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What damaged files make NumPy and zipfile raise."""


def read_numbers(path: Path, key: str, *more: str) -> dict[str, np.ndarray]:
    """Read numbers from .npz (`key`, and what it holds of `more`), or `key` alone from .npy or text; no pickle."""
    _check_path(path)
    held: list[str] = []
    try:
        if path.suffix == ".npz":
            held, arrays = _read_archive(path, (key, *more))
        elif path.suffix == ".npy":
            with open(path, "rb") as file:
                arrays = {key: _read_array(key, file, path.stat().st_size)}
        else:
            text = path.read_text()
            if not text.strip():
                raise ValueError("the file is empty")
            arrays = {key: np.loadtxt(text.splitlines(), delimiter="," if "," in text else None, ndmin=1)}
    except UNREADABLE as error:
        raise InputError(f"{path} could not be read as numbers ({error}); save it with numpy.save") from None
    if key not in arrays:
        raise InputError(
            f"{path} must hold an array {key!r}, got {', '.join(held)}; save it under that name, or for labels write "
            f"file:{path}:NAME"
        )
    return arrays


def _check_path(path: Path) -> None:
    """Refuse what is no file; to open a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # absent, or no path at all
        raise InputError(f"no file at {path}; give the path of an existing .npy, .npz or text file") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise InputError(f"{path} must be a .npy, .npz or text file, got {what}; give the path of one")


INFLATION = 1032
"""How many times as large as its compressed form an entry of an .npz file can be, by the deflate format."""


def _read_archive(path: Path, names: Collection[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Names of all arrays of an .npz file, and the arrays of `names` that it holds."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        for name in entries.keys() & set(names):
            entry = entries[name]
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed as NumPy never does")
            room = min(entry.file_size, INFLATION * path.stat().st_size)  # the directory may claim any size, too
            with archive.open(entry) as file:
                arrays[name] = _read_array(name, file, room)
    return list(entries), arrays


def _read_array(name: str, file: IO[bytes], room: int) -> np.ndarray:
    """An .npy array of numbers: floats as they are, others as float64.

    NumPy allocates what a header claims, so the claim is compared with `room` first, the most bytes that it can have.
    """
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if header is None:
        raise ValueError("a newer version of the .npy format")
    shape, _, dtype = header(file)
    claimed, room = math.prod(shape) * dtype.itemsize, max(room - file.tell(), 0)
    if dtype.kind not in "biufUS":
        raise ValueError(f"{name} is of type {dtype}")
    if min(shape, default=0) < 0 or claimed > room:
        raise ValueError(f"{name} claims {claimed:,} bytes, but the file holds at most {room:,}")
    file.seek(0)
    array = npy.read_array(file, allow_pickle=False)
    return array if dtype.kind == "f" else array.astype(float)
