"""One writer a run directory: a lock that lives no longer than its process, and says who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from labelnoise.errors import InputError

LOCK = ".lock"
"""The file that is locked; it holds who holds it, and is deleted when it is given back."""

_HELD: dict[tuple[Path, int], int] = {}
"""Folders that a thread of this process holds, and the inodes of their lock files."""


@contextmanager
def lock_run(path: Path, doing: str) -> Iterator[None]:
    """Hold a run directory inside the block; a folder that is made for it and stays empty is deleted again.

    A thread may enter a folder that it holds. What a killed writer left half-written is deleted.

    Args:
        path: the folder; made if absent.
        doing: what for, in a word, for whoever comes meanwhile.

    Raises:
        InputError: another process or thread holds the folder, or it cannot be written.
    """
    key = (Path(os.path.abspath(path)), threading.get_ident())
    if key in _HELD:
        yield
        return
    made, lock = _acquire(path)
    try:
        _HELD[key] = (path / LOCK).stat().st_ino
        _sign(path, doing)
        delete_leftovers(path)
        yield
    finally:
        if key in _HELD and _inode(path) == _HELD.pop(key):
            (path / LOCK).unlink()  # while it is held: who waits for it opens a new one
        lock.release()
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def delete_leftovers(path: Path) -> None:
    """Delete what a killed writer left half-written or half-deleted in a run directory."""
    inside = [left for left in path.glob("*/.*.tmp") if not (left.parent / LOCK).exists()]  # else it is in the making
    for left in [*path.glob(".*.tmp"), *inside]:
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def check_lock(path: Path) -> None:
    """Refuse to write below a folder that this thread held and that was deleted meanwhile.

    Raises:
        InputError: the folder is gone, or another run has taken its place.
    """
    own = threading.get_ident()
    for (folder, thread), inode in list(_HELD.items()):
        below = thread == own and Path(os.path.abspath(path)).is_relative_to(folder)
        if below and _inode(folder) != inode:
            raise InputError(f"{folder} was deleted while a run was written into it; give the same command again")


def _acquire(path: Path) -> tuple[list[Path], FileLock]:
    """The folders that were made, innermost first, and the lock on the first of them."""
    made: list[Path] = []
    for _ in range(100):  # who is refused deletes the folder that it made: it may go between two lines of ours
        try:
            made += [folder for folder in (path, *path.parents) if not folder.exists() and folder not in made]
            path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path / LOCK, thread_local=False)
            lock.acquire(blocking=False)
            return made, lock
        except Timeout:
            raise InputError(f"{path} is in use by {_holder(path)}; wait until it has ended") from None
        except FileNotFoundError:
            continue
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{path} must be a folder that can be written, got none ({why}); choose another") from None
    raise InputError(f"{path} must be a folder that can be written, but it vanishes at once; choose another")


def _sign(path: Path, doing: str) -> None:
    """Write into the lock who holds it."""
    holder = {"pid": os.getpid(), "doing": doing, "since": time.strftime("%H:%M:%S")}
    try:
        (path / LOCK).write_text(json.dumps(holder))
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another place"
        ) from None


def _holder(path: Path) -> str:
    for _ in range(20):  # who has just got the lock has yet to say so
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads((path / LOCK).read_text())
            return f"process {holder['pid']} ({holder['doing']}, since {holder['since']})"
        time.sleep(0.01)
    return "another process"


def _inode(path: Path) -> int | None:
    try:
        return (path / LOCK).stat().st_ino
    except OSError:
        return None
