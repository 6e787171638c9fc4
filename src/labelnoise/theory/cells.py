"""Many runs at once, of different problems, learning rates and seeds, as columns over runs: what a sweep is made of."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from labelnoise.errors import InputError
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate
from labelnoise.theory.trajectory import Trajectory

Columns = dict[str, np.ndarray]
"""Values (R,) over runs, by name."""

STAGES = ("stage_one", "window_start", "window_end", "t1", "onset", "convergence", "ok")
"""The columns that are not those of a record."""

OWN_WORK = 1e7
"""What a run costs whatever its size: its random streams, its stages."""


class Cell(NamedTuple):
    """One run."""

    problem: SignalNoise
    config: SimulateConfig
    seed: int


def run_cells(cells: Sequence[Cell]) -> Columns:
    """Train these runs as one batch and return what is left of each; a function of its argument alone.

    Nothing is recorded on the way: the first and the last step are the only records.

    Args:
        cells: R runs that agree in `group_of`.

    Returns:
        Columns (R,) of float64. The table of `to_frame` at the last step, NaN for a run that diverged; the same with
        the suffix `_at_T1`, NaN without a Stage I; `STAGES`: whether there is a Stage I (1 or 0; NaN without clean or
        without noisy samples), steps of its window, of T1, of the onset of Stage II and of the first record at which
        the run had converged, NaN where there is none, and whether the run stayed finite (1 or 0).

    Raises:
        InputError: runs that cannot be trained together, or a setting that the engine cannot hold.
    """
    if len({group_of(problem, config) for problem, config, _ in cells}) != 1:
        raise InputError("`cells` must agree in n, m, bias and all settings but lr to run as one batch; split them")
    config = cells[0].config
    draws = stack([cell.problem.sample(seed=cell.seed) for cell in cells])
    settings = {name: value for name, value in vars(config).items() if name not in ("lr", "record_every")}
    rates = [cell.config.lr for cell in cells]
    runs = simulate(draws, lr=rates, record_every=max(config.steps, 1), **settings)
    columns = {name: values[:, -1] for name, values in runs.table.items()}
    columns |= {f"{name}_at_T1": values for name, values in runs.at_t1.items()}
    rows = [_stages(run) for run in runs]
    return columns | dict(zip(STAGES, np.array(rows, dtype=float).T, strict=True))


def group_of(problem: SignalNoise, config: SimulateConfig) -> Hashable:
    """Return what runs of one batch have in common; d, signal, noise, initialisation, flips and lr may differ."""
    return problem.n, problem.m, problem.bias, replace(config, lr=1.0)


def memory_of(problem: SignalNoise, config: SimulateConfig) -> float:
    """Bytes that one run takes in a batch: its inner products, state, test draws and the series of every step."""
    n, filters = problem.n, 2 * problem.m
    inner = (n + 1 + filters) ** 2 + (n + 2) ** 2 + 2 * filters**2
    return 8.0 * (inner + 10 * filters * (n + 2) + 4 * filters * config.test_draws + 8 * (config.steps + 1))


def work_of(problem: SignalNoise, config: SimulateConfig) -> float:
    """Floating-point operations that cost as much as one run, to a factor of three: draw, steps and test errors."""
    q, filters, rows = problem.n + 2, 2 * problem.m, problem.n + 1 + 2 * problem.m
    step, draw = 2.0 * filters * q * (q + 30), rows**2 * (rows + 100.0)  # 30, 100: what is not a product counts, too
    return OWN_WORK + draw + config.steps * step + 2.0 * config.test_draws * filters * (4 * filters + 200)


def check_cell(problem: SignalNoise, config: SimulateConfig) -> None:
    """Refuse dynamics that the engine cannot hold, before any run, on a problem of almost no size."""
    tiny = replace(problem, n=2, d=4, m=1).sample(seed=0)
    simulate(tiny, lr=config.lr, steps=0, test_draws=0, zeta_std=config.zeta_std, dynamics=config.dynamics)


def _stages(run: Trajectory) -> tuple[float, ...]:
    stages, noisy = run.stages, run.draw.noisy
    reached = float(stages.window is not None) if 0 < noisy.sum() < noisy.size else np.nan
    steps = (*(stages.window or (None, None)), stages.t1, stages.onset, stages.convergence)
    return reached, *(np.nan if step is None else float(step) for step in steps), float(run.status == "ok")
