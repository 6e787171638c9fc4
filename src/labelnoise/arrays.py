"""What every module needs of arrays: NumPy or torch behind one name, independent random streams, room in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from labelnoise.errors import InputError

Array = Any
"""A NumPy array or a torch tensor."""

STREAMS = (
    "data", "labels", "flips", "init", "batches", "evaluation", "split", "held_out",
    "subset", "augment", "explain", "patches", "bias", "fresh_flips", "scores",
    "bootstrap", "audit", "planted",
)  # fmt: skip
"""The named random streams of one seed. Append only: a name's position fixes its numbers."""


def stream(seed: int, name: str, *part: int) -> np.random.Generator:
    """Return the generator of the stream `name` of `seed`; streams are independent of each other.

    Args:
        seed: an integer in [0, 2^63).
        name: one of `STREAMS`; drawing from one stream moves no number of another.
        part: a part of the stream, such as an epoch, with numbers of its own.

    Raises:
        InputError: the seed is out of that range or not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"`seed` must be an integer >= 0, got {seed!r}; use for example seed=0")
    if seed >= 2**63:
        raise InputError(
            f"`seed` must be below 2^63, which every file holds exactly, got {seed}; use for example seed=0"
        )
    sequence = np.random.SeedSequence(int(seed), spawn_key=(STREAMS.index(name), *part))
    return np.random.Generator(np.random.PCG64(sequence))


@contextmanager
def torch_stream(seed: int, name: str) -> Iterator[None]:
    """Seed torch's global generator from a named stream inside the block and restore it afterwards."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # named, or it warns where there are several
        seed_torch(seed, name)
        yield


def seed_torch(seed: int, name: str, *part: int) -> None:
    """Seed torch's global generator from a named stream, or a part of it; for use inside `torch_stream`."""
    import torch

    torch.manual_seed(int(stream(seed, name, *part).integers(2**62)))


MEMORY_INFO = Path("/proc/meminfo")
"""Where Linux says how much memory is free."""


def check_memory(needed: float, remedy: str, what: str = "this") -> None:
    """Refuse work that needs more bytes than this machine has to spare, before it starts.

    Raises:
        InputError: it needs more.
    """
    free = free_memory()
    if needed > free:
        raise InputError(
            f"{what} needs about {amount(needed)} of memory, but the machine has {amount(free)} free; {remedy}"
        )


def free_memory() -> int:
    """Return the bytes of memory that this machine has to spare; all that it has where it does not say (not Linux)."""
    try:
        line = re.search(r"^MemAvailable:\s+(\d+) kB", MEMORY_INFO.read_text(), re.MULTILINE)
    except OSError:
        line = None
    return 1024 * int(line[1]) if line else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def amount(size: float) -> str:
    """Return a number of bytes in words."""
    power = min((len(str(int(size))) - 1) // 3, 4)
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def to_device(array: np.ndarray, device: str | None, dtype: str | None = None) -> Array:
    """Return `array` as NumPy (`device=None`) or as a torch tensor on `device`."""
    array = np.asarray(array, dtype=dtype)
    if device is None:
        return array
    import torch

    return torch.as_tensor(np.ascontiguousarray(array), device=device)


def to_numpy(array: Array) -> np.ndarray:
    """Return a NumPy view or copy of a NumPy array or of a torch tensor on any device."""
    if isinstance(array, np.ndarray):
        return array
    return np.asarray(array.detach().cpu()) if hasattr(array, "detach") else np.asarray(array)


__all__ = [
    "STREAMS", "Array", "amount", "array_namespace", "check_memory", "free_memory", "stream", "to_device", "to_numpy",
    "torch_stream",
]  # fmt: skip
