"""Many runs at once, of different problems, learning rates and seeds, as columns over runs: what a sweep is made of."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from labelnoise.errors import InputError
from labelnoise.record.stages import stage_columns
from labelnoise.theory.compiled import BUDGET, not_covered
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.loop import History, train
from labelnoise.theory.optimizers import check_in_span
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.records import Observer
from labelnoise.theory.sampling import sample_runs
from labelnoise.theory.shown import BLOCK, KEPT_BLOCKS

Columns = dict[str, np.ndarray]
"""Values (R,) over runs, by name."""

STAGES = ("stage_one", "window_start", "window_end", "t1", "onset", "converged", "ok")
"""The columns that are not those of a record."""

READ_OFF_SERIES = frozenset(STAGES) - {"converged", "ok"}
"""Those of them for which every step is looked at."""

OWN_WORK = 1e7
"""What a run costs whatever its size: its random streams, its stages."""


class Cell(NamedTuple):
    """One run."""

    problem: SignalNoise
    config: SimulateConfig
    seed: int
    evaluation: int
    """Seed of the test noise, which runs may share: then their errors are correlated, and a map of them is smoother."""


def run_cells(cells: Sequence[Cell], wanted: Collection[str] = ()) -> Columns:
    """Train these runs as one batch and return what is left of each; a function of its arguments alone.

    Nothing is recorded on the way: the last step is the only record, so convergence is known there only.

    Args:
        cells: R runs that agree in `group_of`.
        wanted: the columns to return; all of them if empty. What nobody wants is not computed.

    Returns:
        Columns (R,) of float64. The table of `to_frame` at the last step, NaN for a run that diverged; the same with
        the suffix `_at_T1`, NaN without a Stage I; `STAGES`: whether there is a Stage I (1 or 0; NaN without clean or
        without noisy samples), steps of its window, of T1 and of the onset of Stage II, NaN where there is none, and
        whether the run had converged at the last step, and whether it stayed finite (1 or 0).

    Raises:
        InputError: runs that cannot be trained together, or a setting that the engine cannot hold.
    """
    setups = {(id(cell.problem), id(cell.config)): (cell.problem, cell.config) for cell in cells}  # runs share them
    if len({group_of(*setup) for setup in setups.values()}) != 1:
        raise InputError(
            "`cells` must agree in n, m, bias, kind of problem and all settings but lr to run as one batch; split them"
        )
    config = cells[0].config
    draws = sample_runs([cell.problem for cell in cells], [cell.seed for cell in cells])
    at_t1 = {name.removesuffix(AT_T1) for name in wanted if name.endswith(AT_T1)}
    at_end = {*wanted, *(CONVERGENCE if not wanted or "converged" in wanted else ())}
    observer = Observer(
        draws,
        config,
        wanted=frozenset(at_t1 | at_end) if wanted else None,
        evaluation=[cell.evaluation for cell in cells],
    )
    rates = np.array([cell.config.lr for cell in cells])
    at_best = not wanted or bool(at_t1)
    staged = at_best or not READ_OFF_SERIES.isdisjoint(wanted)
    history = train(observer, rates, np.array([config.steps]), at_best=at_best, staged=staged)
    noisy = np.stack([draw.noisy for draw in draws])
    columns = {name: values[:, 0] for name, values in history.table.items()}
    stages = _stages(history, noisy, config, columns)
    without = np.isnan(stages["t1"])
    columns |= {f"{name}{AT_T1}": np.where(without, np.nan, values) for name, values in history.at_best.items()}
    columns |= stages
    return {name: values for name, values in columns.items() if not wanted or name in wanted}


AT_T1 = "_at_T1"
"""Suffix of the columns at T1."""
CONVERGENCE = ("loss", "accuracy")
"""The columns that say whether a run has converged."""


def _stages(history: History, noisy: np.ndarray, config: SimulateConfig, last: Columns) -> Columns:
    """The columns `STAGES`."""
    stages = stage_columns(**history.track)
    undecided = noisy.all(-1) | ~noisy.any(-1)
    stages["stage_one"] = np.where(undecided, np.nan, ~np.isnan(stages["t1"]))
    stages["ok"] = (history.broken < 0).astype(float)
    if set(CONVERGENCE) <= last.keys():
        bar = config.dynamics.loss.converged
        stages["converged"] = ((last["loss"] <= bar) & (last["accuracy"] == 1)).astype(float)
    return {name: stages[name] for name in STAGES if name in stages}


def group_of(problem: SignalNoise, config: SimulateConfig) -> Hashable:
    """Return what runs of one batch have in common; d, signal, noise, initialisation, flips and lr may differ."""
    kind = problem.bias, problem.n_classes, problem.one_patch, problem.flip_dependence > 0
    settings = tuple(value for name, value in vars(config).items() if name != "lr")
    return problem.n, problem.m, kind, settings


def memory_of(problem: SignalNoise, config: SimulateConfig) -> float:
    """Bytes that one run takes in a batch: its inner products, state, test draws and the series of every step."""
    n, q, filters = problem.n, problem.n + problem.n_classes, problem.filters
    inner = (n + problem.signals + filters) ** 2 + q**2 + 2 * filters**2
    return 8.0 * (inner + 10 * filters * q + 4 * filters * config.test_draws + 8 * (config.steps + 1))


def drawn_memory_of(problem: SignalNoise, config: SimulateConfig, runs: int) -> float:
    """Bytes that a batch of so many runs takes for the minibatches and fresh flips that are drawn ahead and kept."""
    shown, n = config.dynamics.shown, problem.n
    numbers = float(runs * n * config.steps)
    ahead = min(numbers, BUDGET)
    weights = 2 * 8 * ahead if shown.batch_size is not None else 0.0  # drawn, and packed for the kernels
    flips = 2 * ahead + 8 * min(numbers, KEPT_BLOCKS * BLOCK * n) if shown.fresh_flips else 0.0
    return weights + flips


def work_of(problem: SignalNoise, config: SimulateConfig) -> float:
    """Floating-point operations that cost as much as one run, to a factor of three: draw, steps and test errors."""
    q, filters = problem.n + problem.n_classes, problem.filters
    rows = problem.n + problem.signals + filters
    step, draw = 2.0 * filters * q * (q + 30), rows**2 * (rows + 100.0)  # 30, 100: what is not a product counts, too
    return OWN_WORK + draw + config.steps * step + 2.0 * config.test_draws * filters * (4 * filters + 200)


def check_cell(problem: SignalNoise, config: SimulateConfig) -> None:
    """Refuse dynamics that the engine cannot hold, before any run, on a problem of almost no size."""
    from labelnoise.theory.simulation import simulate  # loads pandas, which no worker of a sweep needs

    check_in_span(config.dynamics.optimizer)
    simulate(_tiny(problem), lr=config.lr, steps=0, test_draws=0, zeta_std=config.zeta_std, dynamics=config.dynamics)


def engine_of(problem: SignalNoise, config: SimulateConfig) -> str:
    """Return the name of the engine by which `run_cells` trains such a run on this machine."""
    return "span" if not_covered((_tiny(problem),), config, None, "float64") else "compiled"


def _tiny(problem: SignalNoise) -> Draw:
    """A draw of the same kind of problem, of almost no size."""
    return replace(problem, n=2, d=2 + problem.n_classes, m=1).sample(seed=0)
