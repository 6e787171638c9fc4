"""Chunks: run by whoever gets one, written whole, read back in the order of the cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import labelnoise
from labelnoise.errors import InputError
from labelnoise.runs.files import read_arrays, write_text, write_whole
from labelnoise.sweeps.parameters import parameters_of, set_up
from labelnoise.sweeps.plan import Chunk, Plan
from labelnoise.theory.cells import Cell, Columns, run_cells
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.scales import stage_one_scale

FOLDER = "chunks"
"""Where the chunks lie in the run's folder until the sweep is whole."""


@dataclass(frozen=True, eq=False)
class Finished:
    """What became of a chunk."""

    columns: Columns
    seeds: np.ndarray
    """(R,) the seed of each run."""
    seconds: float
    """Time that it took where it ran."""


def run_chunk(chunk: Chunk, version: str) -> Finished:
    """Run a chunk; a function of its arguments alone.

    Args:
        chunk: the runs.
        version: of the labelnoise that planned them; another one here is refused.

    Raises:
        InputError: another version, or a setting that the engine cannot hold.
    """
    if version != labelnoise.__version__:
        raise InputError(
            f"a worker has labelnoise {labelnoise.__version__}, this sweep is of {version}; install {version} there"
        )
    start = time.perf_counter()
    parameters = [parameters_of(chunk.base)[name] for name in chunk.names]
    rows, at = np.unique(chunk.values, axis=0, return_inverse=True)
    setups, at = [set_up(chunk.base, dict(zip(parameters, row, strict=True))) for row in rows], at.reshape(-1)
    runs = [setups[row] for row in at]
    seeds = zip(chunk.seeds.tolist(), chunk.evaluation.tolist(), strict=True)
    columns = run_cells([Cell(*setup, *pair) for setup, pair in zip(runs, seeds, strict=True)], chunk.wanted)
    columns |= {name: np.array([float(of(*setup)) for setup in setups])[at] for name, of in FACTS.items()}
    return Finished(columns, chunk.seeds, time.perf_counter() - start)


FACTS: Mapping[str, Callable[[SignalNoise, SimulateConfig], float]] = {
    "n": lambda problem, _: problem.n,
    "d": lambda problem, _: problem.d,
    "m": lambda problem, _: problem.m,
    "mu_norm": lambda problem, _: problem.mu_norm,
    "noise_std": lambda problem, _: problem.noise_std,
    "init_std": lambda problem, _: problem.init_std,
    "tau_plus": lambda problem, _: problem.taus[0],
    "tau_minus": lambda problem, _: problem.taus[1],
    "lr": lambda _, simulation: simulation.lr,
    "steps": lambda _, simulation: simulation.steps,
    "n_snr2": lambda problem, _: problem.n_snr2,
    "stage_one_scale": lambda problem, simulation: stage_one_scale(problem, simulation.lr),
}
"""Columns that say what a cell is, whichever parameters were swept; equal for all its seeds."""


class Store:
    """The finished chunks of a sweep, a file each; those of another version of this package are deleted."""

    def __init__(self, folder: Path) -> None:
        self.path, version = folder / FOLDER, folder / FOLDER / "version.txt"
        if not version.exists() or version.read_text(errors="replace") != labelnoise.__version__:
            for file in self.path.glob("*.npz"):
                file.unlink()
            write_text(version, labelnoise.__version__)
        self.finished = {int(file.stem) for file in self.path.glob("[0-9]*.npz")}

    def write(self, at: int, result: Finished) -> None:
        """Write the chunk at a position, whole or not at all."""
        names, rows = np.array(list(result.columns)), np.array(list(result.columns.values()))
        arrays = {"names": names, "values": rows, "seeds": result.seeds, "seconds": np.array(result.seconds)}
        write_whole(self._file(at), lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        self.finished.add(at)

    def read(self, at: int) -> Finished:
        """Read the chunk at a position; a damaged one is deleted.

        Raises:
            InputError: it is damaged.
        """
        file = self._file(at)
        try:
            held = read_arrays(file, "give the same command again: it makes this chunk anew and keeps the others")
        except InputError:
            file.unlink(missing_ok=True)
            raise
        columns = dict(zip(held["names"].tolist(), held["values"], strict=True))
        return Finished(columns, held["seeds"], float(held["seconds"]))

    def _file(self, at: int) -> Path:
        return self.path / f"{at:06d}.npz"


def gather(plan: Plan, store: Store, first: int = 0) -> Finished:
    """Return all runs of a plan side by side, (C, S) by cell and seed, from its chunks, which begin at `first`."""
    places = (plan.order[:, None] * plan.seeds + np.arange(plan.seeds)).ravel()  # of each position, by cell and seed
    columns: Columns = {}
    seeds, seconds = np.zeros(plan.runs, np.int64), 0.0
    for at in range(plan.chunks):
        chunk, held = places[plan.bounds[at] : plan.bounds[at + 1]], store.read(first + at)
        for name, values in held.columns.items():
            if name not in columns:
                columns[name] = np.full(plan.runs, np.nan)
            columns[name][chunk] = values
        seeds[chunk] = held.seeds
        seconds += held.seconds
    shape = len(plan.cells), plan.seeds
    return Finished({name: values.reshape(shape) for name, values in columns.items()}, seeds.reshape(shape), seconds)


def join(results: Sequence[Finished]) -> Finished:
    """Put results (C, S) one below the other; NaN where one lacks a column."""
    names = dict.fromkeys(name for result in results for name in result.columns)
    columns = {
        name: np.concatenate([result.columns.get(name, np.full(result.seeds.shape, np.nan)) for result in results])
        for name in names
    }
    return Finished(columns, np.concatenate([r.seeds for r in results]), sum(r.seconds for r in results))
