"""Arrays from .npz and .npy files, whatever these claim to hold: no pickle, and no more memory than there is."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from labelnoise.arrays import amount, check_memory
from labelnoise.errors import InputError, check_regular

DEFLATED = 1032
"""Bytes that one byte of a zip archive can stand for, by the format of deflate."""


def load_arrays(path: Path, names: Collection[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of all arrays of an .npz file, and the arrays of `names` that it holds.

    Raises:
        InputError: no such file, a damaged one, one with objects, or arrays larger than their file or the memory.
    """
    with _reading(path) as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        wanted = {name: entries[name] for name in names if name in entries}
        needed = 0
        for name, entry in wanted.items():
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed as NumPy never does")
            room = min(entry.file_size, DEFLATED * path.stat().st_size)  # the directory may claim any size, too
            with archive.open(entry) as member:
                needed += _claimed(name, member, room)
        _check_room(path, needed)
        arrays = {}
        for name, entry in wanted.items():
            with archive.open(entry) as member:
                arrays[name] = npy.read_array(member, allow_pickle=False)
    return list(entries), arrays


def load_array(path: Path) -> np.ndarray:
    """Return the array of an .npy file.

    Raises:
        InputError: no such file, a damaged one, one of objects, or an array larger than its file or the memory.
    """
    with _reading(path) as file:
        _check_room(path, _claimed("it", file, path.stat().st_size))
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    check_regular(path)
    try:
        with open(path, "rb") as file:
            yield file
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"{path} could not be read ({error.strerror}); check its permissions") from None
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"{path} is damaged, or no file of plain arrays ({error}); save it with numpy.save or numpy.savez"
        ) from None


def _claimed(name: str, file: IO[bytes], room: int) -> int:
    """Bytes that the header of an array claims, which NumPy allocates; refused where there is no room for them."""
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if header is None:
        raise ValueError("a newer version of the .npy format")
    shape, _, dtype = header(file)
    claimed, room = math.prod(shape) * dtype.itemsize, max(room - file.tell(), 0)
    if min(shape, default=0) < 0 or claimed > room:
        raise ValueError(f"{name} claims {amount(claimed)}, but the file holds at most {amount(room)}")
    return claimed


def _check_room(path: Path, needed: int) -> None:
    check_memory(needed, "make it smaller, or take a larger machine", str(path))
