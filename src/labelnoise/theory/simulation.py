"""The driver: `simulate` trains one draw or a batch with either engine and records what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from labelnoise.arrays import stream, to_numpy
from labelnoise.errors import InputError, check_integer, did_you_mean, is_number
from labelnoise.record.stages import CONVERGED_LOSS, Stages, find_stages
from labelnoise.runs.folders import Progress
from labelnoise.theory import dense, span
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.observables import ARRAYS, TRACKED, View, summary, tracked
from labelnoise.theory.test_errors import EvaluationNoise, held_out_accuracy, sampled_errors, seen_errors

ENGINES = {"span": span, "dense": dense}
"""Modules with `init(draws, lr, device, dtype) -> state`, `step(state) -> state` and `view(state) -> View`."""


@dataclass(frozen=True)
class Schedule:
    """How long a run is and what is kept of it."""

    lr: float = 0.005
    """Learning rate eta."""
    steps: int = 2_000
    """Gradient steps."""
    record_every: int = 10
    """Steps from one record to the next; step 0 and the last step are always recorded."""
    test_draws: int = 2_000
    """Draws for each sampled test error; 0 leaves them out."""
    zeta_std: float | None = None
    """Standard deviation of the noise that perturbs a training patch; noise_std / 2 if not given."""

    def __post_init__(self) -> None:
        if not is_number(self.lr) or not np.isfinite(self.lr) or self.lr <= 0:
            raise InputError(f"`lr` must be a finite number > 0, got {self.lr!r}; use for example lr=0.005")
        for name, least, example in (("steps", 0, 2_000), ("record_every", 1, 10), ("test_draws", 0, 2_000)):
            check_integer(name, getattr(self, name), least, example)
        zeta = self.zeta_std
        if zeta is not None and not (is_number(zeta) and np.isfinite(zeta) and zeta >= 0):
            raise InputError(f"`zeta_std` must be a finite number >= 0, got {self.zeta_std!r}; leave it out")

    @property
    def recorded(self) -> np.ndarray:
        """Recorded steps (k,)."""
        return np.unique(np.append(np.arange(0, self.steps + 1, self.record_every), self.steps))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What `simulate` returns: one run, or a batch, whose arrays then have a leading axis R."""

    draws: tuple[Draw, ...]
    schedule: Schedule
    batched: bool
    values: Mapping[str, np.ndarray]
    """The arrays that `record` named: ([R,] k, ...)."""
    track: Mapping[str, np.ndarray]
    """margin_clean_min, margin_noisy_max, gamma_min, rho_bar_max at every step: ([R,] steps + 1)."""
    table: Mapping[str, np.ndarray]
    """The columns of `to_frame`: ([R,] k)."""
    status: Any
    """`ok`, or why the run ended early; a tuple of these for a batch."""
    at_t1: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The columns of `table` at T1: ([R]); NaN without a Stage I."""

    @property
    def steps(self) -> np.ndarray:
        """Recorded steps (k,)."""
        return self.schedule.recorded

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each run; its position where the draw has none."""
        return tuple(at if draw.seed is None else draw.seed for at, draw in enumerate(self.draws))

    @cached_property
    def stages(self) -> Any:
        """`Stages` of the run; a tuple of them for a batch."""
        return tuple(run.stages for run in self.runs) if self.batched else _stages_of(self)

    @cached_property
    def runs(self) -> tuple[Trajectory, ...]:
        """The single runs of a batch, in order."""
        return tuple(self[r] for r in range(len(self.draws))) if self.batched else (self,)

    def __getitem__(self, r: int) -> Trajectory:
        """Return run `r` of a batch."""
        if not self.batched:
            raise TypeError("a single run has no runs to choose from; use it as it is")

        def pick(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: array[r] for name, array in columns.items()}

        return Trajectory(
            (self.draws[r],),
            self.schedule,
            False,
            values=pick(self.values),
            track=pick(self.track),
            table=pick(self.table),
            status=self.status[r],
            at_t1=pick(self.at_t1),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a row per record: step, time (= lr step) and the table; for a batch with `seed` first."""
        frames = []
        for seed, run in zip(self.seeds, self.runs, strict=True):
            label = {"seed": seed} if self.batched else {}
            with np.errstate(over="ignore"):
                clock = {"step": self.steps, "time": self.schedule.lr * self.steps}
            frames.append(pd.DataFrame({**clock, **run.table}).assign(**label))
        frame = pd.concat(frames, ignore_index=True)
        return frame[["seed", *frame.columns.drop("seed")]] if self.batched else frame


def simulate(
    draw: Draw | Sequence[Draw],
    *,
    lr: float = Schedule.lr,
    steps: int = Schedule.steps,
    record_every: int = Schedule.record_every,
    record: Sequence[str] = (),
    test_draws: int = Schedule.test_draws,
    zeta_std: float | None = Schedule.zeta_std,
    engine: Literal["span", "dense"] = "span",
    device: str | None = None,
    dtype: str = "float64",
    progress: Progress | None = None,
) -> Trajectory:
    """Train the two-layer network on a draw by full-batch gradient descent (Han et al. 2025, Section 3).

    Args:
        draw: one draw, or a batch from `stack`.
        lr: learning rate eta.
        steps: gradient steps.
        record_every: steps between records.
        record: arrays to keep at each record, of "output", "margin", "margin_predicted", "loss" (n numbers each),
            "gamma" (2m) and "rho" (2m n: 64 kB a record at n=200, m=20, so 128 MB for 2,000 steps recorded each).
        test_draws: draws for each sampled test error at each record; 0 leaves them out.
        zeta_std: noise that perturbs a training patch in the paper's test distribution; noise_std / 2 by default.
        engine: "span" (exact, any dimension) or "dense" (explicit vectors and autograd: the oracle).
        device: a torch device such as "cuda"; None runs on NumPy.
        dtype: "float64", or "float32" for statistics only: outputs move by up to 2e-4.
        progress: called as progress(step, steps).

    Returns:
        A `Trajectory`. A run that meets a non-finite value is returned with a status that says so; the other runs of
        its batch are not touched.

    Raises:
        InputError: an argument is out of its range or a name unknown.
    """
    schedule = Schedule(lr, steps, record_every, test_draws, zeta_std)
    if not isinstance(draw, Draw | tuple | list):
        raise InputError(f"`draw` must come from sample(...) or stack(...), got {type(draw).__name__}; draw one first")
    draws = (draw,) if isinstance(draw, Draw) else stack(draw)
    _check_names("record", record, ARRAYS)
    _check_names("engine", [engine], ENGINES)
    _check_names("dtype", [dtype], ("float64", "float32"))
    module, observe = ENGINES[engine], _observer(draws, schedule)
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is reported by its status
        start = module.init(draws, lr, device, dtype)
        history = _train(module, start, len(draws), schedule, observe, tuple(record), progress)
        whole = Trajectory(draws, schedule, True, **history)
        at_t1 = _replay(module, start, observe, [run.stages.t1 for run in whole.runs])
    whole = replace(whole, at_t1=at_t1)
    return whole[0] if isinstance(draw, Draw) else whole


Columns = dict[str, np.ndarray]
Observe = Callable[[View], Columns]


def _train(
    module: Any,
    state: Any,
    runs: int,
    schedule: Schedule,
    observe: Observe,
    record: tuple[str, ...],
    progress: Progress | None,
) -> dict[str, Any]:
    """The loop: step, track, record; returns the fields of `Trajectory` that come of it."""
    recorded = set(schedule.recorded.tolist())
    track, rows, arrays = [], [], []
    broken = np.full(runs, -1)
    for t in range(schedule.steps + 1):
        state = module.step(state) if t else state
        view = module.view(state)
        series, finite = tracked(view)
        track.append(series)
        if not (all_finite := finite.all()):
            broken[(broken < 0) & ~finite] = t
        if t in recorded:
            rows.append(_blank(observe(view), finite))
            arrays.append(_blank({name: to_numpy(ARRAYS[name](view)) for name in record}, finite))
            if progress:
                progress(t, schedule.steps)
        if not all_finite and not finite.any():
            break
    return {
        "values": _joined(arrays, len(recorded)),
        "track": _tracked_series(np.stack(track, axis=-1), broken, schedule.steps),
        "table": _joined(rows, len(recorded)),
        "status": tuple(_status(step, schedule.lr) for step in broken),
    }


def _tracked_series(series: np.ndarray, broken: np.ndarray, steps: int) -> Columns:
    """Series (4, R, steps made) by name, each (R, steps + 1): NaN where nothing can be said."""
    whole = np.pad(series, [(0, 0), (0, 0), (0, steps + 1 - series.shape[-1])], constant_values=np.nan)
    whole[:, (broken[:, None] >= 0) & (np.arange(steps + 1) >= broken[:, None])] = np.nan
    return dict(zip(TRACKED, np.where(np.isfinite(whole), whole, np.nan), strict=True))


def _replay(module: Any, state: Any, observe: Observe, at: list[int | None]) -> Columns:
    """Repeat the run as far as its latest T1 and observe each run at its own: T1 is known only afterwards."""
    columns = {name: np.full(len(at), np.nan) for name in observe(module.view(state))}
    for t in range(1, max((step for step in at if step is not None), default=0) + 1):
        state = module.step(state)
        here = np.array([step == t for step in at])
        if here.any():
            for name, value in observe(module.view(state)).items():
                columns[name][here] = value[here]
    return columns


def _observer(draws: tuple[Draw, ...], schedule: Schedule) -> Observe:
    """Return what computes one row of the table; the test noise is drawn once, so rows differ by the network alone."""
    noise = [EvaluationNoise.draw(stream(draw.seed or 0, "evaluation"), schedule.test_draws, draw) for draw in draws]
    zetas = [zeta_std(draw, schedule) for draw in draws]
    held_out = np.stack([draw.held_out_true for draw in draws]), np.stack([draw.held_out_given for draw in draws])

    def observe(view: View) -> Columns:
        row = {**summary(view), "test_error_seen": seen_errors(view)}
        if schedule.test_draws:
            row |= sampled_errors(view, draws, noise, zetas)
        if draws[0].n_holdout:
            row["held_out_accuracy"] = held_out_accuracy(view, *held_out)
        return row

    return observe


def zeta_std(draw: Draw, schedule: Schedule) -> float:
    """Return the standard deviation that perturbs a training patch: as given, else sigma_xi / 2; NaN if unknown."""
    if schedule.zeta_std is not None:
        return schedule.zeta_std
    return draw.problem.noise_std / 2 if draw.problem else np.nan


def _stages_of(run: Trajectory) -> Stages:
    converged = (run.table["loss"] <= CONVERGED_LOSS) & (run.table["accuracy"] == 1)
    convergence = int(run.steps[converged.argmax()]) if converged.any() else None
    return find_stages(**run.track, convergence=convergence)


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
        if name not in options:
            raise InputError(f"`{argument}` knows no {name!r}{did_you_mean(name, options)}")
