"""The driver: `simulate` trains one draw or a batch with either engine and records what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, overload

import numpy as np

from labelnoise.arrays import check_memory, to_numpy
from labelnoise.devices import find_device, repeatable
from labelnoise.errors import InputError, check_progress, did_you_mean
from labelnoise.runs.kinds import Progress
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.engines import Engine, State, Training, find_engine
from labelnoise.theory.observables import ARRAYS, TRACKED, View, summary, tracked
from labelnoise.theory.test_errors import EvaluationNoise, held_out_accuracy, sampled_errors, seen_errors
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
    dynamics: Dynamics = ...,
    engine: Literal["auto", "compiled", "span", "dense"] = ...,
    device: str | None = ...,
    dtype: Literal["float64", "float32"] = ...,
    progress: Progress | None = ...,
) -> Trajectory: ...


@overload
def simulate(
    draw: Sequence[Draw],
    *,
    lr: float | Sequence[float] = ...,
    steps: int = ...,
    record_every: int = ...,
    record: Sequence[str] = ...,
    test_draws: int = ...,
    zeta_std: float | None = ...,
    dynamics: Dynamics = ...,
    engine: Literal["auto", "compiled", "span", "dense"] = ...,
    device: str | None = ...,
    dtype: Literal["float64", "float32"] = ...,
    progress: Progress | None = ...,
) -> TrajectoryBatch: ...


def simulate(
    draw: Draw | Sequence[Draw],
    *,
    lr: float | Sequence[float] = SimulateConfig.lr,
    steps: int = SimulateConfig.steps,
    record_every: int = SimulateConfig.record_every,
    record: Sequence[str] = (),
    test_draws: int = SimulateConfig.test_draws,
    zeta_std: float | None = SimulateConfig.zeta_std,
    dynamics: Dynamics = SimulateConfig.dynamics,
    engine: Literal["auto", "compiled", "span", "dense"] = "auto",
    device: str | None = None,
    dtype: Literal["float64", "float32"] = "float64",
    progress: Progress | None = None,
) -> Trajectory | TrajectoryBatch:
    """Train the two-layer network on a draw, by full-batch gradient descent by default (Han et al. 2025, Section 3).

    Args:
        draw: one draw, or a batch from `stack`.
        lr: learning rate eta; of a batch also one for each draw.
        steps: gradient steps.
        record_every: steps between records.
        record: arrays to keep at each record, of "output", "margin", "margin_predicted", "loss" (n numbers each),
            "gamma" (2m) and "rho" (2m n: 64 kB a record at n=200, m=20, so 128 MB for 2,000 steps recorded each).
        test_draws: draws for each sampled test error at each record; 0 leaves them out.
        zeta_std: noise that perturbs a training patch in the paper's test distribution; noise_std / 2 by default.
        dynamics: activation, loss, who is shown, optimiser, schedule, weight decay; the paper's by default.
        engine: "compiled" (exact, any dimension, on the CPU; needs the extra `fast`), "span" (the same on arrays, and
            on a GPU), "dense" (explicit vectors and autograd: the oracle); "auto" is the first that can do it.
        device: a torch device such as "cuda"; None runs on NumPy.
        dtype: "float64", or "float32" for statistics only: outputs move by up to 2e-4.
        progress: called as progress(step, steps).

    Returns:
        A `Trajectory` of one draw, a `TrajectoryBatch` of a batch. A run that meets a non-finite value is returned with
        a status that says so; the other runs of its batch are not touched.

    Raises:
        InputError: an argument is out of its range or a name unknown.
    """
    if not isinstance(draw, Draw | tuple | list):
        raise InputError(f"`draw` must come from sample(...) or stack(...), got {type(draw).__name__}; draw one first")
    draws = (draw,) if isinstance(draw, Draw) else stack(draw)
    configs = tuple(
        SimulateConfig(rate, steps, record_every, test_draws, zeta_std, dynamics) for rate in _rates(lr, len(draws))
    )
    if isinstance(record, str) or not isinstance(record, Sequence):
        raise InputError(f"`record` must be a list of names, got {record!r}; write for example record=('gamma',)")
    check_progress(progress)
    _check_names("record", record, ARRAYS)
    _check_names("dtype", [dtype], ("float64", "float32"))
    device = None if device is None else find_device(device)
    _check_size(draws, configs[0], record)
    chosen, observe = find_engine(engine, configs[0], device, dtype), _observer(draws, configs[0])
    exact = repeatable() if device or engine == "dense" else nullcontext()  # float32 is not TF32
    with exact, np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is reported by its status
        start = chosen.init(draws, np.array([config.lr for config in configs]), configs[0], device, dtype)
        history, at_best = _train(chosen, start, len(draws), configs[0], observe, record, progress)
    status = tuple(_status(step, run.lr) for step, run in zip(history.pop("broken"), configs, strict=True))
    batch = TrajectoryBatch(draws, configs, **history, status=status)
    without = np.array([stages.t1 is None for stages in batch.stages])
    batch = replace(batch, at_t1={name: np.where(without, np.nan, values) for name, values in at_best.items()})
    return batch[0] if isinstance(draw, Draw) else batch


def _check_size(draws: tuple[Draw, ...], config: SimulateConfig, record: Sequence[str]) -> None:
    """Refuse a batch whose series, records, test draws or patches exceed the memory."""
    n, filters, runs = draws[0].n, 2 * draws[0].m, len(draws)
    records = config.steps / config.record_every + 2
    recorded = sum({"rho": filters * n, "gamma": filters}.get(name, n) for name in record) + 30
    batch = (n + 2) ** 2 + 8 * filters * (n + 2) + 3 * filters * config.test_draws
    needed = 8.0 * runs * (batch + 4 * config.steps + records * recorded)
    check_memory(needed, "lower n, m, steps, test_draws or the number of runs, or record less")


Columns = dict[str, np.ndarray]
Observe = Callable[[View], Columns]


def _train(
    engine: Engine[State],
    start: State,
    runs: int,
    config: SimulateConfig,
    observe: Observe,
    record: Sequence[str],
    progress: Progress | None,
) -> tuple[dict[str, Any], Columns]:
    """The loop: advance from record to record.

    Returns what a `TrajectoryBatch` holds of it, and a row of the table at each run's best separation so
    far, which is T1 if it separates: the networks there are kept on the way.
    """
    series, finite = tracked(engine.view(start))
    track, whole = [series[..., None]], [finite[:, None]]
    training = Training(start, start, np.full(runs, -np.inf), finite)
    rows, arrays = [], []
    for before, step in pairwise([0, *config.recorded]):
        training, series, finite = engine.advance(training, step - before)
        track.append(series)
        whole.append(finite)
        view = engine.view(training.now)
        rows.append(_blank(observe(view), training.whole))
        arrays.append(_blank({name: to_numpy(ARRAYS[name](view)) for name in record}, training.whole))
        if progress:
            progress(step, config.steps)
        if not training.whole.any():
            break
    finite = np.concatenate(whole, axis=-1)
    broken = np.where(finite.all(-1), -1, finite.argmin(-1))
    history = {
        "values": _joined(arrays, config.recorded.size),
        "track": _tracked_series(np.concatenate(track, axis=-1), broken, config.steps),
        "table": _joined(rows, config.recorded.size),
        "broken": broken,
    }
    return history, observe(engine.view(training.best))


def _tracked_series(series: np.ndarray, broken: np.ndarray, steps: int) -> Columns:
    """Series (4, R, steps made) by name, each (R, steps + 1): NaN where nothing can be said."""
    whole = np.pad(series, [(0, 0), (0, 0), (0, steps + 1 - series.shape[-1])], constant_values=np.nan)
    whole[:, (broken[:, None] >= 0) & (np.arange(steps + 1) >= broken[:, None])] = np.nan
    return dict(zip(TRACKED, np.where(np.isfinite(whole), whole, np.nan), strict=True))


def _observer(draws: tuple[Draw, ...], config: SimulateConfig) -> Observe:
    """Return what computes one row of the table; the test noise is drawn once, so rows differ by the network alone."""
    noise = [EvaluationNoise.draw(draw.seed or 0, config.test_draws, draw) for draw in draws]
    zetas = [zeta_std(draw, config) for draw in draws]
    held_out = np.stack([draw.held_out_true for draw in draws]), np.stack([draw.held_out_given for draw in draws])

    def observe(view: View) -> Columns:
        row = {**summary(view), "test_error_seen": seen_errors(view)}
        if config.test_draws:
            row |= sampled_errors(view, draws, noise, zetas)
        if draws[0].n_holdout:
            row["held_out_accuracy"] = held_out_accuracy(view, *held_out)
        return row

    return observe


def _rates(lr: float | Sequence[float], runs: int) -> Sequence[float]:
    """A learning rate for each run."""
    if not isinstance(lr, Sequence | np.ndarray):
        return [lr] * runs
    rates = np.asarray(lr, dtype=object).tolist()
    if len(rates) != runs:
        raise InputError(f"`lr` must be a number or {runs} of them, one for each draw, got {len(rates)}; give one each")
    return rates


def zeta_std(draw: Draw, config: SimulateConfig) -> float:
    """Return the standard deviation that perturbs a training patch: as given, else sigma_xi / 2; NaN if unknown."""
    if config.zeta_std is not None:
        return config.zeta_std
    return draw.problem.noise_std / 2 if draw.problem else np.nan


def _status(broken: int, lr: float) -> str:
    if broken < 0:
        return "ok"
    return f"diverged: an output is not finite at step {broken}; lower `lr` (now {lr:g})"


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
