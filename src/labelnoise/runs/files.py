"""Files of run directories: written whole or not at all, read without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from labelnoise.errors import InputError, check_regular, wants_room
from labelnoise.runs.locks import check_lock


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write under a temporary name, then rename: a kill or a full disk leaves the old file or the new one.

    Raises:
        InputError: the file cannot be written; what was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        check_lock(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt, too, leaves nothing half-written
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        remedy = "make room, then give the same command again" if wants_room(error) else "choose another place"
        raise InputError(
            f"{path} could not be written ({error.strerror or error}), what was there is unharmed; {remedy}"
        ) from None


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_bytes(path, text.encode())


def delete(path: Path) -> None:
    """Delete a file, if it is there.

    Raises:
        InputError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} could not be deleted ({error.strerror}); delete it by hand, then give the same command again"
        ) from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz file, whole or not at all."""
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def read_arrays(path: Path, remedy: str = "make the run again with --overwrite") -> dict[str, np.ndarray]:
    """Read an .npz file.

    Raises:
        InputError: the file is absent or damaged.
    """
    check_regular(path, remedy)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        why = "it holds other things than numbers" if "pickle" in str(error) else error  # NumPy would have it unpickled
        raise InputError(f"{path} is damaged ({why}); {remedy}") from None


AGAIN = "remove the folder and make the run again"
"""What helps where it is not known any more of what run a folder is."""
CHECKSUMS = "checksums.json"
"""The file of a run that holds the checksums of what it was made for."""
DIGEST = "sha256"
"""The key under which a JSON file holds the checksum of the rest."""


def digest(content: bytes | memoryview) -> str:
    """Return the sha256 of a content."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}); check its permissions") from None


def digest_input(path: Path) -> str | None:
    """Return the sha256 of a file, or of all files of a folder and their names; None where there is neither.

    Of a run that is that of its checksums: its page may be made at any time, and its checkpoints be deleted.
    """
    if (path / "config.json").is_file() and (path / CHECKSUMS).is_file():
        path = path / CHECKSUMS
    if path.is_file():
        return digest_file(path)
    if not path.is_dir():
        return None
    names = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    # a Mac writes hidden files into each folder that somebody looks at
    shown = sorted(name for name in names if not any(part.startswith(".") for part in name.parts))
    return digest(b"".join(os.fsencode(f"{name} {digest_file(path / name)}\n") for name in shown))


def shown_name(path: Path) -> str:
    """Return the name of a file or folder as pages show it; that of `.` is the folder's own."""
    return as_utf8(os.path.basename(os.path.abspath(path)))


def as_utf8(name: str) -> str:
    """Return a name of a file system as any file can hold it: of a byte that is no UTF-8 its number."""
    return os.fsencode(name).decode(errors="backslashreplace")


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a table with its checksum, whole or not at all."""
    write_bytes(path, sealed_json(table))


def sealed_json(table: Mapping[str, Any]) -> bytes:
    """Return a table and its checksum as the content of a JSON file."""
    return to_json({**table, DIGEST: digest(to_json(table).encode())}).encode()


def read_json(path: Path, sealed: bool = False) -> dict[str, Any]:
    """Read a JSON table; its checksum must fit, and is left out.

    Args:
        path: the file.
        sealed: whether a table without a checksum is refused; those of runs before schema 1 have none.

    Raises:
        InputError: the file is absent, damaged or changed, or holds no table.
    """
    check_regular(path, AGAIN)
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); {AGAIN}") from None
    if not isinstance(table, dict):
        raise InputError(f"{path} is damaged (no table); {AGAIN}")
    checksum = table.pop(DIGEST, None)
    if (sealed or checksum is not None) and checksum != digest(to_json(table).encode()):
        raise InputError(f"{path} was changed or is damaged (its checksum does not fit); {AGAIN}")
    return table


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, NumPy values as plain ones, a non-finite number as null."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(key): plain(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [plain(entry) for entry in item]
        if isinstance(item, np.ndarray | np.generic):
            return plain(item.tolist())
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n"
