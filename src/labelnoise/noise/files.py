"""Given labels, and transition matrices, read from files: .npz, .npy or text, never a pickle."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
        wrong = np.flatnonzero(~(np.abs(labels) < 2**31) | (labels != np.round(labels)))
        if wrong.size:
            raise InputError(
                f"{self.path} must hold integers, got {labels[wrong[0]]} at position {wrong[0]}; number the classes"
            )
        return labels.astype(np.int64)


def read_numbers(path: Path, key: str, *more: str) -> dict[str, np.ndarray]:
    """Read numbers from .npz (`key`, and what is there of `more`), or `key` alone from .npy or text; no pickle."""
    if not path.is_file():
        raise InputError(f"no file at {path}; give the path of an existing .npy, .npz or text file")
    try:
        if path.suffix == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                held = list(archive.files)
                arrays = {name: np.asarray(archive[name], dtype=float) for name in (key, *more) if name in held}
        elif path.suffix == ".npy":
            arrays = {key: np.asarray(np.load(path, allow_pickle=False), dtype=float)}
        else:
            text = path.read_text()
            if not text.strip():
                raise ValueError("the file is empty")
            arrays = {key: np.loadtxt(text.splitlines(), delimiter="," if "," in text else None, ndmin=1)}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} could not be read as numbers ({error}); save it with numpy.save") from None
    if key not in arrays:
        raise InputError(
            f"{path} must hold an array {key!r}, got {', '.join(held)}; save it under that name, or for labels write "
            f"file:{path}:NAME"
        )
    return arrays
