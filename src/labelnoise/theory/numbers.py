"""Random numbers of many runs, each from streams of its own: by NumPy's generators, of many small runs compiled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Protocol

import numpy as np

from labelnoise.arrays import streams

MANY = 64
"""Runs from which on it pays to load the compiled numbers; what is drawn does not depend on it."""


class Numbers(Protocol):
    """Numbers of R runs, from the stream of each that has a name."""

    def classes(self, name: str, size: int, n_classes: int) -> np.ndarray:
        """Return (R, size) `integers(n_classes, size=size)` of each stream."""

    def uniforms(self, name: str, size: int) -> np.ndarray:
        """Return (R, size) `random(size)` of each stream."""

    def normals(self, name: str, size: int) -> np.ndarray:
        """Return (R, size) `standard_normal(size)` of each stream."""

    def fill_triangles(self, name: str, rests: np.ndarray, axes: int, start: int, out: np.ndarray) -> None:
        """Draw rows of the triangles of R Bartlett decompositions, see `sampling`.

        Args:
            name: of the stream.
            rests: (R,) dimensions beyond the axes.
            axes: coordinates before the triangle, N(0, 1) each.
            start: which of its rows comes first.
            out: (R, count, width) zeros, which are filled in.
        """


class CalledNumbers:
    """By NumPy, a call a run. A stream goes on where it was left."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self._begun: dict[str, list[np.random.Generator]] = {}

    def generators(self, name: str) -> list[np.random.Generator]:
        """Return the generator of each run."""
        if name not in self._begun:
            self._begun[name] = list(streams(self.seeds, name))
        return self._begun[name]

    def classes(self, name: str, size: int, n_classes: int) -> np.ndarray:
        """As `Numbers` says."""
        return np.stack([rng.integers(n_classes, size=size) for rng in self.generators(name)])

    def uniforms(self, name: str, size: int) -> np.ndarray:
        """As `Numbers` says."""
        return np.stack([rng.random(size) for rng in self.generators(name)])

    def normals(self, name: str, size: int) -> np.ndarray:
        """As `Numbers` says."""
        return np.stack([rng.standard_normal(size) for rng in self.generators(name)])

    def fill_triangles(self, name: str, rests: np.ndarray, axes: int, start: int, out: np.ndarray) -> None:
        """As `Numbers` says."""
        count, others = out.shape[1], out.shape[2] - axes
        row, above = np.arange(count), _above(start, count, others)
        freedom = (rests[:, None] - np.arange(start, start + count)).astype(float)  # at once: a row takes microseconds
        widths = np.minimum(rests, start + count).tolist()
        for run, (rng, width) in enumerate(zip(self.generators(name), widths, strict=True)):
            squares, chi = np.zeros(count), max(width - start, 0)
            out[run, :, :axes] = rng.standard_normal((count, axes))
            out[run, :, axes : axes + width] = rng.standard_normal((count, width))
            squares[:chi] = rng.chisquare(freedom[run, :chi])
            np.copyto(out[run, :, axes:], 0.0, where=above)
            out[run, row, axes + start + row] = np.sqrt(squares)


@lru_cache(maxsize=64)
def _above(start: int, count: int, width: int) -> np.ndarray:
    """Of rows `start` to `start + count` of a square of this width: what lies on the diagonal or above it."""
    return ~np.tri(count, width, start - 1, dtype=bool)


def numbers_of(seeds: Sequence[int]) -> Numbers:
    """Return the numbers of these seeds, of two classes, each stream used once: compiled where that pays."""
    if len(seeds) >= MANY and _compiled():
        from labelnoise.theory.compiled_numbers import CompiledNumbers

        return CompiledNumbers(seeds)
    return CalledNumbers(seeds)


@cache
def _compiled() -> bool:
    """Whether the compiled numbers are there, and are NumPy's to the bit."""
    try:
        from labelnoise.theory.compiled_numbers import CompiledNumbers
    except ImportError:
        return False
    seeds, count = range(8), 30
    rests, both = np.full(len(seeds), count), np.zeros((2, len(seeds), count, 1 + count))
    of_seeds: tuple[Numbers, Numbers] = CompiledNumbers(seeds), CalledNumbers(seeds)
    for drawn, out in zip(of_seeds, both, strict=True):
        drawn.fill_triangles("data", rests, 1, 0, out)
    return np.array_equal(*both)  # a compiler may round a product and a sum at once
