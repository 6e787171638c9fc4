"""What a sweep consists of: cells, the seed of each run, and the chunks in which they are run.

All of it follows from the settings alone, whoever runs the chunks and in whatever order.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.sweeps.grid import Axis, rounded
from labelnoise.sweeps.parameters import Parameter, Setup, parameters_of, plain, set_up
from labelnoise.theory.cells import check_cell, drawn_memory_of, engine_of, memory_of, work_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

MIB = 2**20
WORK = 1e10
"""Floating-point operations of a chunk: about a second's."""
MOST_RUNS = 4096
"""Most runs of a chunk."""
CHECKED = 2_000
"""Cells that are checked before the first run, all or those at the ends of most axes."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Runs that are trained as one batch: everything that a worker needs to know."""

    base: Setup
    names: tuple[str, ...]
    """Of the parameters that the cells set."""
    values: Float[np.ndarray, "R k"]
    """(R, k) their values."""
    seeds: Int[np.ndarray, " R"]
    """(R,) the seed of each run."""
    evaluation: Int[np.ndarray, " R"]
    """(R,) the seed of its test noise."""
    wanted: frozenset[str]
    """The columns that are kept; all if empty."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Cells, each with so many seeds, cut into chunks."""

    base: Setup
    names: tuple[str, ...]
    cells: Float[np.ndarray, "C k"]
    """(C, k) values of the parameters, a row a cell."""
    seeds: int
    """Runs of each cell."""
    seed: int
    """The sweep's."""
    order: Int[np.ndarray, " C"]
    """(C,) the cells in the order in which they are run: those that fit into one batch side by side."""
    wanted: frozenset[str]
    """The columns that are kept; all if empty."""
    bounds: Int[np.ndarray, " chunks+1"]
    """(chunks + 1,) where each chunk begins, in runs: position p is seed p mod S of the cell at p // S of the order."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.cells) * self.seeds

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.bounds) - 1

    @property
    def engines(self) -> list[str]:
        """Names of the engines by which a machine like this one trains the runs."""
        parameters = [parameters_of(self.base)[name] for name in self.names]
        ends = np.unique(np.concatenate([self.cells.argmin(0), self.cells.argmax(0)]))
        setups = [set_up(self.base, dict(zip(parameters, self.cells[at], strict=True))) for at in ends]
        return sorted({engine_of(*setup) for setup in setups})

    def chunk(self, at: int) -> Chunk:
        """Return the chunk at a position."""
        runs = np.arange(self.bounds[at], self.bounds[at + 1])
        values, index = self.cells[self.order[runs // self.seeds]], runs % self.seeds
        seeds, evaluation = self._run_seeds(values, index), self._evaluation_seeds()[index]
        return Chunk(self.base, self.names, values, seeds, evaluation, self.wanted)

    def _evaluation_seeds(self) -> np.ndarray:
        """Seeds (S,) of the test noise: shared by the cells, not by the runs of a cell.

        So each cell's mean error is as sure as with noise of its own, but cells err together: a map looks smoother.
        """
        words = json.dumps([self.seed, "evaluation"]).encode()
        return np.array([_seed_of(words, index) for index in range(self.seeds)], dtype=np.int64)

    def _run_seeds(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Seeds (R,) of runs: from the sweep's seed, the cell's parameters and which of its seeds it is."""
        parameters = [parameters_of(self.base)[name] for name in self.names]
        seeds, words, others = [], b"", np.append(True, (values[1:] != values[:-1]).any(1))
        for row, index, other in zip(values, indices.tolist(), others.tolist(), strict=True):
            if other:
                cell = {p.name: plain(p, value) for p, value in zip(parameters, row, strict=True)}
                words = json.dumps([self.seed, cell], sort_keys=True).encode()
            seeds.append(_seed_of(words, index))
        return np.array(seeds, dtype=np.int64)


def _seed_of(words: bytes, index: int) -> int:
    """A seed of 63 bits from what it is for."""
    return int.from_bytes(hashlib.sha256(words + b" %d" % index).digest()[:8]) >> 1


def lay_grid(axes: Sequence[Axis]) -> Float[np.ndarray, "C k"]:
    """Return the cells (C, k) of a grid, the last axis fastest."""
    columns = np.meshgrid(*(axis.values for axis in axes), indexing="ij")
    return np.stack([column.ravel() for column in columns], axis=1)


def draw_points(axes: Sequence[Axis], points: int, sobol: bool, seed: int) -> Float[np.ndarray, "C k"]:
    """Return points (C, k) within the axes, random or from a scrambled Sobol sequence; fewer are the first of more.

    An axis of values gives one of them, an interval anything between its ends.
    """
    rng = stream(seed, "subset")
    if sobol:
        from scipy.stats import qmc

        unit = qmc.Sobol(len(axes), rng=rng).random_base2(math.ceil(math.log2(points)))[:points]
    else:
        unit = rng.random((points, len(axes)))
    return np.stack([_at(axis, share) for axis, share in zip(axes, unit.T, strict=True)], axis=1)


def _at(axis: Axis, share: np.ndarray) -> np.ndarray:
    """Values (points,) at these shares of an axis."""
    if not axis.interval:
        return np.array(axis.values)[(share * len(axis.values)).astype(int)]
    low, high = axis.values
    if axis.parameter.whole:
        low, high = low - 0.5, high + 0.5  # each whole number as likely
    values = low * (high / low) ** share if axis.log else low + share * (high - low)
    return np.rint(values).clip(axis.values[0], axis.values[1]) if axis.parameter.whole else rounded(values)


def make_plan(
    base: Setup,
    names: Sequence[str],
    cells: np.ndarray,
    seeds: int,
    seed: int,
    chunk: int | None,
    memory: float,
    wanted: frozenset[str],
) -> Plan:
    """Cut cells into chunks.

    Args:
        base: what the cells have in common.
        names: (k,) the parameters that they set.
        cells: (C, k) their values.
        seeds: runs of each cell.
        seed: the sweep's.
        chunk: runs of a chunk at most; about a second's work if None.
        memory: MiB that a chunk may take; what takes more in a single run is refused.
        wanted: the columns that are kept; all if empty.

    Raises:
        InputError: a cell that cannot be, dynamics that the engine cannot hold, or a run beyond the memory.
    """
    parameters = [parameters_of(base)[name] for name in names]
    _check_cells(base, parameters, cells)
    apart = [at for at, parameter in enumerate(parameters) if not parameter.mixes]
    _, group = np.unique(cells[:, apart], axis=0, return_inverse=True) if apart else (None, np.zeros(len(cells), int))
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order], append=-1)) + 1
    bounds = [0]
    for end in ends:
        setup = set_up(base, dict(zip(parameters, cells[order[end - 1]], strict=True)))
        check_cell(*setup)
        size = _chunk_size(setup, chunk, memory)
        pieces = math.ceil((end * seeds - bounds[-1]) / size)
        bounds += np.linspace(bounds[-1], end * seeds, pieces + 1).astype(int)[1:].tolist()
    return Plan(base, tuple(names), cells, seeds, seed, order, wanted, np.array(bounds))


def _chunk_size(setup: Setup, chunk: int | None, memory: float) -> int:
    """The most runs of a batch that fit into so many MiB."""

    def needed(runs: int) -> float:
        """MiB of a batch."""
        return (runs * memory_of(*setup) + drawn_memory_of(*setup, runs)) / MIB

    most = chunk or max(min(int(WORK / work_of(*setup)), MOST_RUNS), 1)
    size = bisect_right(range(1, most + 1), memory, key=needed)
    if not size:
        problem, config = setup
        sizes = {"n": problem.n, "m": problem.m}
        sizes |= {"n_classes": problem.n_classes} if problem.n_classes > 2 else {}
        sizes |= {"steps": config.steps, "test_draws": config.test_draws}
        at = ", ".join(f"{name}={size:,}" for name, size in sizes.items())
        raise InputError(
            f"`memory` must hold at least one run, but one at {at} takes {math.ceil(needed(1)):,} MiB, "
            f"got {memory:g} MiB; raise it, or lower {', '.join(list(sizes)[:-1])} or test_draws"
        )
    return size


def _check_cells(base: Setup, parameters: Sequence[Parameter], cells: np.ndarray) -> None:
    """Refuse cells that cannot be."""
    if len(cells) > CHECKED:
        ends = ((cells == cells.min(0)) | (cells == cells.max(0))).sum(1)
        cells = cells[np.argsort(-ends, kind="stable")[:CHECKED]]
    for values in cells:
        set_up(base, dict(zip(parameters, values, strict=True)))
