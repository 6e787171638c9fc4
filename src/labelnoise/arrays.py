"""What every module needs of arrays: NumPy or torch behind one name, independent random streams, room in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace as array_namespace
from numpy.random.bit_generator import ISeedSequence

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
    sequence = np.random.SeedSequence(_checked(seed), spawn_key=(STREAMS.index(name), *part))
    return np.random.Generator(np.random.PCG64(sequence))


def streams(seeds: Sequence[int], name: str) -> Iterator[np.random.Generator]:
    """Give the generators of the stream `name` of many seeds, one after the other.

    The numbers are those of `stream`, in a tenth of its time: all seeds are hashed at once.

    Raises:
        InputError: as `stream`.
    """
    for words in stream_words(seeds, name):
        yield np.random.Generator(np.random.PCG64(_Words(words)))  # type: ignore[arg-type]  # NumPy takes any such class


def stream_words(seeds: Sequence[int], name: str) -> np.ndarray:
    """Return (R, 4) of uint64: what the generators of the stream `name` of R seeds start from.

    Raises:
        InputError: as `stream`.
    """
    return _hashed([_checked(seed) for seed in seeds], STREAMS.index(name))


class _Words(ISeedSequence):
    """A seed sequence whose words are known."""

    def __init__(self, words: np.ndarray) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> np.ndarray:
        """Return the words (4,), which are all that PCG64 asks for."""
        return self.words


def _hashed(seeds: Sequence[int], key: int) -> np.ndarray:
    """Return (R, 4) SeedSequence(seed, spawn_key=(key,)).generate_state(4, np.uint64) of all seeds at once.

    O'Neill's seed_seq_fe with a pool of four words, as NumPy documents it and keeps it. All is modulo 2^32.
    """
    seed: np.ndarray = np.array(seeds, dtype=np.uint64)
    zero = np.zeros(seed.shape, np.uint32)
    words = [seed.astype(np.uint32), (seed >> 32).astype(np.uint32), zero, zero, zero + np.uint32(key)]
    powers = pairwise(_powers(0x43B0D7E5, 0x931E8875))
    pool = [_hash(word, *next(powers)) for word in words[:4]]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = _mix(pool[target], _hash(pool[source], *next(powers)))
    pool = [_mix(word, _hash(words[4], *next(powers))) for word in pool]
    powers = pairwise(_powers(0x8B51F9DD, 0x58F38DED))
    halves = np.stack([_hash(word, *next(powers)) for word in pool * 2], axis=-1).astype(np.uint64)
    return halves[:, ::2] | halves[:, 1::2] << 32


def _powers(start: int, factor: int) -> Iterator[np.uint32]:
    """start, start factor, start factor^2, ... modulo 2^32."""
    while True:
        yield np.uint32(start)
        start = start * factor % 2**32


def _hash(word: np.ndarray, mask: np.uint32, factor: np.uint32) -> np.ndarray:
    scattered = (word ^ mask) * factor
    return scattered ^ scattered >> 16


def _mix(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = np.uint32(0xCA01F9DD) * one - np.uint32(0x4973F715) * other
    return mixed ^ mixed >> 16


def _checked(seed: int) -> int:
    """The seed, if it is one."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"`seed` must be an integer >= 0, got {seed!r}; use for example seed=0")
    if seed >= 2**63:
        raise InputError(
            f"`seed` must be below 2^63, which every file holds exactly, got {seed}; use for example seed=0"
        )
    return int(seed)


@contextmanager
def torch_stream(seed: int, name: str) -> Iterator[None]:
    """Seed torch's global generators from a named stream inside the block and restore them afterwards.

    GPUs that nobody has used yet are left alone: to ask for their state would start CUDA, which takes a second and
    their memory, and cannot be done in a forked process. They get the seed that torch had before.
    """
    import torch

    started, before = torch.cuda.is_initialized(), torch.initial_seed()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if started else ()):
            seed_torch(seed, name)
            yield
    finally:
        if not started:
            torch.cuda.manual_seed_all(before)  # kept for later where CUDA has not been started


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
    unit = 0
    while size >= 999.5 and unit < 4:  # which three digits round to 1000
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"


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


def plain(values: Any) -> Array:
    """Return what a caller gave as a tensor outside any gradient, on its device, or as a NumPy array.

    Lists may hold tensors. Where rows are of different lengths it is an array () that holds None.
    """
    if hasattr(values, "detach"):
        return values.detach()
    if isinstance(values, list | tuple):
        values = [on_host(value) if hasattr(value, "detach") else value for value in values]
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        return np.array(None)


def on_host(values: Any) -> np.ndarray:
    """Return what a caller gave as a NumPy array, floats that NumPy lacks as float32; what fits none holds None."""
    values = plain(values)
    if isinstance(values, np.ndarray):
        return values
    try:
        return values.cpu().numpy()
    except (TypeError, RuntimeError):  # sparse, quantised, or bfloat16
        narrow = values.is_floating_point() and values.element_size() < 4
        return on_host(values.float()) if narrow else np.array(None)
