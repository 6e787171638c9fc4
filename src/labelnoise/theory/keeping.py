"""Where recorded arrays are kept: in memory, or in files without a name where they would not fit.

A file's name is removed as soon as it is opened: its room is given back with the last array that reads it, and by the
system if the process is killed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from labelnoise import arrays
from labelnoise.arrays import amount
from labelnoise.errors import InputError, check_path

LESS = "name another folder in `record_in`, raise record_every, or name fewer arrays in `record`"
"""What helps where a disk is too small."""


class Records:
    """Arrays (R, k, ...) filled record by record, by name."""

    def __init__(self, length: int, folder: Path | None = None) -> None:
        self.length, self.folder, self.made = length, folder, 0
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, record: Mapping[str, np.ndarray]) -> None:
        """Write the next record, arrays (R, ...).

        Raises:
            InputError: there is no room in the folder.
        """
        for name, value in record.items():
            if name not in self.arrays:
                shape = len(value), self.length, *value.shape[1:]
                self.arrays[name] = np.empty(shape, value.dtype) if self.folder is None else self._mapped(shape, value)
            self.arrays[name][:, self.made] = value
        self.made += 1

    def whole(self) -> dict[str, np.ndarray]:
        """The arrays, NaN where the batch ended early."""
        for array in self.arrays.values():
            array[:, self.made :] = np.nan
        return self.arrays

    def _mapped(self, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
        """An array in a file of the folder, all of whose room is taken now: a write to it cannot fail any more."""
        size = int(np.prod(shape)) * like.itemsize
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                _take_room(file.fileno(), max(size, 1))
                return np.asarray(np.memmap(file, like.dtype, "r+", shape=shape)) if size else np.empty(shape)
        except OSError as error:
            raise InputError(
                f"records of {amount(size)} could not be kept in {self.folder} ({error.strerror or error}); make room "
                f"there, or {LESS}"
            ) from None


def find_folder(kept: float, others: float, remedy: str, record_in: str | Path | None = None) -> Path | None:
    """Return the folder in which records are to be kept, or None for memory, where they fit and no folder is named.

    Args:
        kept: bytes of the recorded arrays.
        others: bytes of everything else, which memory has to hold.
        remedy: what makes less of that.
        record_in: a folder for the records.

    Raises:
        InputError: `record_in` is no folder; or neither memory nor disk has room.
    """
    if record_in is not None:
        check_path("record_in", record_in)
        if not Path(record_in).is_dir():
            raise InputError(f"`record_in` must be a folder, got {str(record_in)!r}; make it, or leave it out")
    free = arrays.free_memory()
    arrays.check_memory(others, remedy)  # records may go to the disk, the rest may not
    if record_in is None and kept + others <= free:
        return None
    folder = _usual_folder() if record_in is None else Path(record_in)
    room = shutil.disk_usage(folder).free
    if kept > room:
        raise InputError(
            f"this needs about {amount(kept + others)}, {amount(kept)} of it for records, but the machine has "
            f"{amount(free)} of memory free and {folder} {amount(room)}; {LESS}"
        )
    return folder


def _take_room(file: int, size: int) -> None:
    """Make a file so large; where the system can, its room is taken, too."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        os.truncate(file, size)


def _usual_folder() -> Path:
    """TMPDIR if it is set, else /var/tmp, which is no memory where /tmp is."""
    named = os.environ.get("TMPDIR")
    return Path(named or "/var/tmp") if os.access(named or "/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
