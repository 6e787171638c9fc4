"""Given labels, and transition matrices, read from files: .npz, .npy or text, never a pickle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelnoise.errors import InputError, check_path, check_regular
from labelnoise.npz import load_array, load_arrays


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
        check_path("path", self.path)
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


def read_numbers(path: Path, key: str, *more: str) -> dict[str, np.ndarray]:
    """Read numbers from .npz (`key`, and what it holds of `more`), or `key` alone from .npy or text; no pickle."""
    if path.suffix == ".npz":
        held, arrays = load_arrays(path, (key, *more))
        if key not in arrays:
            raise InputError(
                f"{path} must hold an array {key!r}, got {', '.join(held) or 'none'}; save it under that name, or for "
                f"labels write file:{path}:NAME"
            )
    else:
        arrays = {key: load_array(path) if path.suffix == ".npy" else _read_text(path)}
    return {name: _as_floats(path, name, array) for name, array in arrays.items()}


def _read_text(path: Path) -> np.ndarray:
    check_regular(path, "give the path of a .npy, .npz or text file")
    try:
        text = path.read_text("utf-8-sig")
        if not text.strip():
            raise ValueError("the file is empty")
        return np.loadtxt(text.splitlines(), delimiter="," if "," in text else None, ndmin=1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} could not be read as numbers ({error}); write a number a field") from None


def _as_floats(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Floats as they are, other numbers as float64."""
    try:
        if array.dtype.kind not in "biufUS":
            raise ValueError(f"they are of type {array.dtype}")
        return array if array.dtype.kind == "f" else array.astype(float)
    except ValueError as error:
        raise InputError(f"{path} must hold numbers in {name!r}, but {error}; save numbers") from None
