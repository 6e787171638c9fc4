"""The driver: `simulate` trains one draw or a batch with either engine and records what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np

from labelnoise.arrays import check_memory, to_numpy
from labelnoise.devices import find_device, repeatable
from labelnoise.errors import InputError, check_progress, did_you_mean
from labelnoise.record.stages import separation
from labelnoise.runs.kinds import Progress
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.engines import ENGINES, Engine, State
from labelnoise.theory.observables import ARRAYS, TRACKED, View, summary, tracked
from labelnoise.theory.test_errors import EvaluationNoise, held_out_margin, sampled_errors, seen_errors
from labelnoise.theory.trajectory import Trajectory, TrajectoryBatch


@overload
def simulate(
    draw: Draw,
    *,
    lr: float = ...,
    steps: int = ...,
    record_every: int = ...,
    record: Sequence[str] = ...,
    test_draws: int = ...,
    zeta_std: float | None = ...,
    engine: Literal["span", "dense"] = ...,
    device: str | None = ...,
    dtype: Literal["float64", "float32"] = ...,
    progress: Progress | None = ...,
) -> Trajectory: ...


@overload
def simulate(
    draw: Sequence[Draw],
    *,
    lr: float = ...,
    steps: int = ...,
    record_every: int = ...,
    record: Sequence[str] = ...,
    test_draws: int = ...,
    zeta_std: float | None = ...,
    engine: Literal["span", "dense"] = ...,
    device: str | None = ...,
    dtype: Literal["float64", "float32"] = ...,
    progress: Progress | None = ...,
) -> TrajectoryBatch: ...


def simulate(
    draw: Draw | Sequence[Draw],
    *,
    lr: float = SimulateConfig.lr,
    steps: int = SimulateConfig.steps,
    record_every: int = SimulateConfig.record_every,
    record: Sequence[str] = (),
    test_draws: int = SimulateConfig.test_draws,
    zeta_std: float | None = SimulateConfig.zeta_std,
    engine: Literal["span", "dense"] = "span",
    device: str | None = None,
    dtype: Literal["float64", "float32"] = "float64",
    progress: Progress | None = None,
) -> Trajectory | TrajectoryBatch:
    """Train the two-layer network on a draw by full-batch gradient descent (Han et al. 2025, Section 3).

    Args:
        draw: one draw, or a batch from `stack`.
        lr: learning rate eta.
        steps: gradient steps.
        record_every: steps between records.
        record: arrays to keep at each record, of "output", "margin", "margin_predicted", "loss" (n numbers each),
            "gamma" (2m), "rho" (2m n: 64 kB a record at n=200, m=20, so 128 MB for 2,000 steps recorded each) and
            "held_out_margin" (a number a held-out sample).
        test_draws: draws for each sampled test error at each record; 0 leaves them out.
        zeta_std: noise that perturbs a training patch in the paper's test distribution; noise_std / 2 by default.
        engine: "span" (exact, any dimension) or "dense" (explicit vectors and autograd: the oracle).
        device: a torch device such as "cuda"; None runs on NumPy.
        dtype: "float64", or "float32" for statistics only: outputs move by up to 2e-4.
        progress: called as progress(step, steps).

    Returns:
        A `Trajectory` of one draw, a `TrajectoryBatch` of a batch. A run that meets a non-finite value is returned with
        a status that says so; the other runs of its batch are not touched.

    Raises:
        InputError: an argument is out of its range or a name unknown.
    """
    config = SimulateConfig(lr, steps, record_every, test_draws, zeta_std)
    if not isinstance(draw, Draw | tuple | list):
        raise InputError(f"`draw` must come from sample(...) or stack(...), got {type(draw).__name__}; draw one first")
    draws = (draw,) if isinstance(draw, Draw) else stack(draw)
    if isinstance(record, str) or not isinstance(record, Sequence):
        raise InputError(f"`record` must be a list of names, got {record!r}; write for example record=('gamma',)")
    check_progress(progress)
    _check_names("record", record, (*ARRAYS, HELD_OUT))
    _check_names("engine", [engine], ENGINES)
    _check_names("dtype", [dtype], ("float64", "float32"))
    device = None if device is None else find_device(device)
    _check_size(draws, config, record)
    chosen, observe = ENGINES[engine], _observer(draws, config, record)
    exact = repeatable() if device or engine == "dense" else nullcontext()  # float32 is not TF32
    with exact, np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is reported by its status
        start = chosen.init(draws, lr, device, dtype)
        history, at_best = _train(chosen, start, len(draws), config, observe, progress)
    batch = TrajectoryBatch(draws, config, **history)
    without = np.array([stages.t1 is None for stages in batch.stages])
    batch = replace(batch, at_t1={name: np.where(without, np.nan, values) for name, values in at_best.items()})
    return batch[0] if isinstance(draw, Draw) else batch


def _check_size(draws: tuple[Draw, ...], config: SimulateConfig, record: Sequence[str]) -> None:
    """Refuse a batch whose series, records, test draws or patches exceed the memory."""
    n, filters, runs = draws[0].n, 2 * draws[0].m, len(draws)
    records = config.steps / config.record_every + 2
    sizes = {"rho": filters * n, "gamma": filters, HELD_OUT: draws[0].n_holdout}
    recorded = sum(sizes.get(name, n) for name in record) + 30
    batch = (n + 2) ** 2 + 8 * filters * (n + 2) + 3 * filters * config.test_draws
    needed = 8.0 * runs * (batch + 4 * config.steps + records * recorded)
    check_memory(needed, "lower n, m, steps, test_draws or the number of runs, or record less")


HELD_OUT = "held_out_margin"
"""The array that `record` may name beside those of a `View`, which does not know the labels of held-out samples."""

Columns = dict[str, np.ndarray]
Observe = Callable[[View], tuple[Columns, Columns]]
"""A row of the table, and the arrays that `record` names."""


def _train(
    engine: Engine[State],
    state: State,
    runs: int,
    config: SimulateConfig,
    observe: Observe,
    progress: Progress | None,
) -> tuple[dict[str, Any], Columns]:
    """The loop: step, track, record.

    Returns the fields of `TrajectoryBatch` that come of it, and a row of the table at each run's best separation so
    far, which is T1 if it separates: the networks there are kept on the way.
    """
    recorded = set(config.recorded.tolist())
    track, rows, arrays = [], [], []
    best, kept = _Best(), state
    broken = np.full(runs, -1)
    for t in range(config.steps + 1):
        state = engine.step(state) if t else state
        view = engine.view(state)
        series, finite = tracked(view)
        track.append(series)
        if not (all_finite := finite.all()):
            broken[(broken < 0) & ~finite] = t
        if t and (better := best.improves(series, broken < 0)).any():
            kept = engine.merge(kept, state, better)
        if t in recorded:
            row, named = observe(view)
            rows.append(_blank(row, finite))
            arrays.append(_blank(named, finite))
            if progress:
                progress(t, config.steps)
        if not all_finite and not finite.any():
            break
    history = {
        "values": _joined(arrays, len(recorded)),
        "track": _tracked_series(np.stack(track, axis=-1), broken, config.steps),
        "table": _joined(rows, len(recorded)),
        "status": tuple(_status(step, config.lr) for step in broken),
    }
    return history, observe(engine.view(kept))[0]


class _Best:
    """The best separation of clean and noisy samples so far, of each run (R,)."""

    def __init__(self) -> None:
        self.gap: np.ndarray | float = -np.inf

    def improves(self, series: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Whether this step separates better than all before, of the runs that are still `whole`; the first on ties."""
        gap = separation(*series[:2])
        better = whole & np.isfinite(gap) & (gap > self.gap)
        self.gap = np.where(better, gap, self.gap)
        return better


def _tracked_series(series: np.ndarray, broken: np.ndarray, steps: int) -> Columns:
    """Series (4, R, steps made) by name, each (R, steps + 1): NaN where nothing can be said."""
    whole = np.pad(series, [(0, 0), (0, 0), (0, steps + 1 - series.shape[-1])], constant_values=np.nan)
    whole[:, (broken[:, None] >= 0) & (np.arange(steps + 1) >= broken[:, None])] = np.nan
    return dict(zip(TRACKED, np.where(np.isfinite(whole), whole, np.nan), strict=True))


def _observer(draws: tuple[Draw, ...], config: SimulateConfig, record: Sequence[str]) -> Observe:
    """Return what looks at the networks; the test noise is drawn once, so rows differ by the network alone."""
    noise = [EvaluationNoise.draw(draw.seed or 0, config.test_draws, draw) for draw in draws]
    zetas = [zeta_std(draw, config) for draw in draws]
    held_out = np.stack([draw.held_out_true for draw in draws]), np.stack([draw.held_out_given for draw in draws])

    def observe(view: View) -> tuple[Columns, Columns]:
        row = {**summary(view), "test_error_seen": seen_errors(view)}
        if config.test_draws:
            row |= sampled_errors(view, draws, noise, zetas)
        z = held_out_margin(view, *held_out)
        if draws[0].n_holdout:
            row["held_out_accuracy"] = (z > 0).mean(-1)
        return row, {name: z if name == HELD_OUT else to_numpy(ARRAYS[name](view)) for name in record}

    return observe


def zeta_std(draw: Draw, config: SimulateConfig) -> float:
    """Return the standard deviation that perturbs a training patch: as given, else sigma_xi / 2; NaN if unknown."""
    if config.zeta_std is not None:
        return config.zeta_std
    return draw.problem.noise_std / 2 if draw.problem else np.nan


def _status(broken: int, lr: float) -> str:
    if broken < 0:
        return "ok"
    remedy = f"; lower `lr` (now {lr:g})"
    if broken == 0:
        remedy = ", before `lr` has acted; lower `init_std`, `mu_norm` or `noise_std`"
    return f"diverged: an output is not finite at step {broken}{remedy}"


def _blank(row: Columns, finite: np.ndarray) -> Columns:
    """NaN for the runs that broke."""
    return {name: np.where(finite.reshape(-1, *[1] * (value.ndim - 1)), value, np.nan) for name, value in row.items()}


def _joined(rows: list[Columns], length: int) -> Columns:
    """Records (R, ...) side by side: (R, length, ...), NaN where the batch ended early."""
    columns = {}
    for name in rows[0]:
        values = np.stack([row[name] for row in rows], axis=1)
        missing = [(0, 0), (0, length - len(rows))] + [(0, 0)] * (values.ndim - 2)
        columns[name] = np.pad(values, missing, constant_values=np.nan)
    return columns


def _check_names(argument: str, names: Sequence[str], options: Sequence[str] | Mapping[str, Any]) -> None:
    for name in names:
        if not isinstance(name, str) or name not in options:
            raise InputError(f"`{argument}` knows no {name!r}{did_you_mean(str(name), options)}")
