"""`simulate`: one draw or a batch trained by any engine, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

import numpy as np

from labelnoise.arrays import amount
from labelnoise.devices import find_device
from labelnoise.errors import InputError, check_progress, did_you_mean
from labelnoise.runs.kinds import Progress
from labelnoise.runs.settings import words_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.keeping import find_folder
from labelnoise.theory.loop import train
from labelnoise.theory.losses import Logistic
from labelnoise.theory.observables import ARRAYS
from labelnoise.theory.records import HELD_OUT, Observer
from labelnoise.theory.trajectory import Trajectory, TrajectoryBatch


@overload
def simulate(
    draw: Draw,
    *,
    lr: float = ...,
    steps: int = ...,
    record_every: int = ...,
    record: Sequence[str] = ...,
    record_in: str | Path | None = ...,
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
    record_in: str | Path | None = ...,
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
    record_in: str | Path | None = None,
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
            "gamma" (2m), "rho" (2m n: 64 kB a record at n=200, m=20, so 128 MB for 2,000 steps recorded each) and
            "held_out_margin" (a number a held-out sample). What does not fit in memory is kept on the disk.
        record_in: a folder in which to keep these arrays while they are read; by default TMPDIR or /var/tmp, and only
            where memory has no room. They are files without a name, which go with the result.
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
    _check_names("record", record, (*ARRAYS, HELD_OUT))
    _check_names("dtype", [dtype], ("float64", "float32"))
    device = None if device is None else find_device(device)
    _check_classes(draws[0], dynamics)
    folder = _folder(draws, configs[0], record, record_in)
    observer = Observer(draws, configs[0], tuple(record))
    rates, recorded = np.array([config.lr for config in configs]), configs[0].recorded
    history = train(observer, rates, recorded, engine, device, dtype, folder=folder, progress=progress)
    status = tuple(_status(step, run.lr) for step, run in zip(history.broken, configs, strict=True))
    batch = TrajectoryBatch(draws, configs, history.values, history.track, history.table, status)
    without = np.array([stages.t1 is None for stages in batch.stages])
    batch = replace(batch, at_t1={name: np.where(without, np.nan, value) for name, value in history.at_best.items()})
    return batch[0] if isinstance(draw, Draw) else batch


def _folder(
    draws: tuple[Draw, ...], config: SimulateConfig, record: Sequence[str], record_in: str | Path | None
) -> Path | None:
    """Where recorded arrays are kept, None for memory; refuses a batch for which there is no room."""
    n, filters, runs = draws[0].n, draws[0].filters, len(draws)
    records = config.steps / config.record_every + 2
    outputs = 1 if draws[0].n_classes == 2 else draws[0].n_classes
    sizes = {"output": outputs * n, "rho": filters * n, "gamma": filters, HELD_OUT: draws[0].n_holdout}
    kept = 8.0 * runs * records * sum(sizes.get(name, n) for name in record)
    q = n + draws[0].n_classes
    batch = q**2 + 8 * filters * q + 3 * filters * config.test_draws
    table = 8.0 * runs * records * 30
    others = 8.0 * runs * (batch + 4 * config.steps) + table
    remedy = "lower n, m, steps, test_draws or the number of runs"
    if table > others / 2:
        remedy += (
            f"; {amount(table)} of it are {int(records):,} records a run: raise record_every, now {config.record_every}"
        )
    return find_folder(kept, others, remedy, record_in)


def _check_classes(draw: Draw, dynamics: Dynamics) -> None:
    """Refuse what has no form for more than two classes."""
    if draw.n_classes > 2 and (not isinstance(dynamics.loss, Logistic) or dynamics.shown.fresh_flips):
        raise InputError(
            f"{draw.n_classes} classes are trained by cross-entropy, the logistic loss, and without fresh_flips, got "
            f"{words_of(dynamics.loss)} and fresh_flips={dynamics.shown.fresh_flips:g}; leave both as they are"
        )


def _rates(lr: float | Sequence[float], runs: int) -> Sequence[float]:
    """A learning rate for each run."""
    rates = np.asarray(lr, dtype=object).tolist()
    if not isinstance(rates, list):
        return [rates] * runs
    if len(rates) != runs:
        raise InputError(f"`lr` must be a number or {runs} of them, one for each draw, got {len(rates)}; give one each")
    return rates


def _status(broken: int, lr: float) -> str:
    if broken < 0:
        return "ok"
    remedy = f"; lower `lr` (now {lr:g})"
    if broken == 0:
        remedy = ", before `lr` has acted; lower `init_std`, `mu_norm` or `noise_std`"
    return f"diverged: an output is not finite at step {broken}{remedy}"


def _check_names(argument: str, names: Sequence[str], options: Sequence[str]) -> None:
    for name in names:
        if not isinstance(name, str) or name not in options:
            raise InputError(f"`{argument}` knows no {name!r}{did_you_mean(str(name), options)}")
