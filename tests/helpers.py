"""Shared by the tests."""

import contextlib
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np


def assert_close(actual, expected, rtol=1e-12, atol=0.0):
    """Equal shapes, finite values, and |actual - expected| <= atol + rtol |expected| everywhere."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape} differ"
    assert actual.dtype.kind == expected.dtype.kind, f"dtypes {actual.dtype} and {expected.dtype} differ"
    assert np.isfinite(expected).all(), "the expected values are not finite"
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def evidence_of(loss, fitted, changes, n=0):
    """What a stop rule looks at, of tables (records, h), empty where nothing is given, and a share a record."""
    from labelnoise.record.evidence import Observation, Observations

    rows = zip(loss, fitted, changes, strict=True)
    return Observations([
        Observation(values if values.size else None, fits if fits.size else None, share) for values, fits, share in rows
    ]).evidence(n)  # fmt: skip


def contents(folder):
    """Every file below a folder, and what is in it; of an empty folder, that it is there."""
    paths = sorted(Path(folder).rglob("*"))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    return files | {f"{path.relative_to(folder)}/": b"" for path in paths if path.is_dir() and not any(path.iterdir())}


def killed(work, folder, at=None, by=signal.SIGKILL):
    """Run `work` in a forked process that gets a signal at its at-th change of files below `folder`.

    Returns the changes that it came to, the last one not made. A file that is opened to be written is two of them, for
    a kill may leave it empty; one that is synced is cut in half by the kill.
    """
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of processes with threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
            _count_changes(send, str(folder), at, by)
            work()
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(send)
    with open(receive) as pipe:
        changes = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert by == signal.SIGINT or status == (0 if at is None else by), changes[-1:]
    return changes


def _count_changes(send, folder, at, by):
    count, sync = 0, os.fsync

    def change(name, path, last=lambda: None):
        nonlocal count
        inside = os.path.abspath(str(path)).startswith(folder)
        if inside and (at is None or count < at):  # what comes after the signal is no point any more
            count += 1
            os.write(send, f"{name} {os.path.relpath(path, folder)}\n".replace(f".{os.getpid()}", "").encode())
            if count == at:
                with contextlib.suppress(OSError):
                    last()
                os.kill(os.getpid(), by)

    def audit(event, arguments):
        if event in ("os.rename", "os.remove", "os.rmdir") or (event == "os.mkdir" and not Path(arguments[0]).exists()):
            change(event.removeprefix("os."), arguments[0])
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path, _, flags = arguments
            change("open", path)
            change("empty", path, lambda: os.open(path, flags, 0o600))

    def fsync(handle):
        size = os.fstat(handle).st_size
        change("cut", os.readlink(f"/proc/self/fd/{handle}"), lambda: os.ftruncate(handle, size // 2))
        sync(handle)

    sys.addaudithook(audit)
    os.fsync = fsync
