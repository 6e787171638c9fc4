"""What `simulate` returns: the trajectory of one run, or of a batch."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelnoise.errors import check_path
from labelnoise.record.stages import Stages, find_stages
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One run of the paper's model."""

    draw: Draw
    config: SimulateConfig
    values: Mapping[str, Float[np.ndarray, "k ..."]] = field(repr=False)
    """The arrays that `record` named, (k, ...) each."""
    track: Mapping[str, Float[np.ndarray, " steps+1"]] = field(repr=False)
    """margin_clean_min, margin_noisy_max, gamma_min, rho_bar_max at every step."""
    table: Mapping[str, Float[np.ndarray, " k"]] = field(repr=False)
    """The columns of `to_frame`."""
    status: str
    """`ok`, or why the run ended early."""
    at_t1: Mapping[str, float] = field(repr=False, default_factory=dict)
    """The columns of `table` at T1; NaN without a Stage I."""

    @property
    def steps(self) -> Int[np.ndarray, " k"]:
        """Recorded steps."""
        return self.config.recorded

    @property
    def seed(self) -> int | None:
        """The seed of its draw, if any."""
        return self.draw.seed

    @property
    def departures(self) -> tuple[str, ...]:
        """What of training, data and network differs from the paper's, in words; its claims cover none of these."""
        dynamics = self.config.dynamics
        if dynamics.shown.is_full(self.draw.n):  # batches of all samples are full-batch gradient descent
            dynamics = replace(dynamics, shown=replace(dynamics.shown, batch_size=None))
        return (*dynamics.departures, *self.draw.departures)

    @cached_property
    def stages(self) -> Stages:
        """Window, T1, lead, onset of Stage II, convergence."""
        converged = (self.table["loss"] <= self.config.dynamics.loss.converged) & (self.table["accuracy"] == 1)
        convergence = int(self.steps[converged.argmax()]) if converged.any() else None
        return find_stages(**self.track, convergence=convergence)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per record: step, time (= lr step) and the table."""
        with np.errstate(over="ignore"):
            return pd.DataFrame({"step": self.steps, "time": self.config.lr * self.steps, **self.table})

    def save(self, path: str | Path) -> None:
        """Write the trajectory and its draw into one .npz file, whole or not at all; `read` brings it back.

        Raises:
            InputError: the file cannot be written.
        """
        from labelnoise.theory.saving import write_trajectory

        check_path("path", path)
        write_trajectory(self, Path(path))

    @classmethod
    def read(cls, path: str | Path) -> Trajectory:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, a damaged one, or one of something else.
        """
        from labelnoise.theory.saving import read_trajectory

        check_path("path", path)
        return read_trajectory(Path(path))


@dataclass(frozen=True, eq=False)
class TrajectoryBatch:
    """Runs that were trained together: `len`, iteration and `batch[r]` give each `Trajectory`, in order."""

    draws: tuple[Draw, ...]
    configs: tuple[SimulateConfig, ...]
    """Of each run; they differ in the learning rate at most."""
    values: Mapping[str, Float[np.ndarray, "R k ..."]]
    """The arrays that `record` named, (R, k, ...) each."""
    track: Mapping[str, Float[np.ndarray, "R steps+1"]]
    """margin_clean_min, margin_noisy_max, gamma_min, rho_bar_max at every step."""
    table: Mapping[str, Float[np.ndarray, "R k"]]
    """The columns of `to_frame`."""
    status: tuple[str, ...]
    """Of each run: `ok`, or why it ended early."""
    at_t1: Mapping[str, Float[np.ndarray, " R"]] = field(default_factory=dict)
    """The columns of `table` at T1; NaN without a Stage I."""

    @property
    def steps(self) -> Int[np.ndarray, " k"]:
        """Recorded steps."""
        return self.configs[0].recorded

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each run; its position where the draw has none."""
        return tuple(at if draw.seed is None else draw.seed for at, draw in enumerate(self.draws))

    @property
    def stages(self) -> tuple[Stages, ...]:
        """Stages of each run."""
        return tuple(run.stages for run in self)

    @cached_property
    def _runs(self) -> tuple[Trajectory, ...]:
        def pick(columns: Mapping[str, np.ndarray], r: int) -> dict[str, np.ndarray]:
            return {name: array[r] for name, array in columns.items()}

        return tuple(
            Trajectory(
                draw,
                self.configs[r],
                values=pick(self.values, r),
                track=pick(self.track, r),
                table=pick(self.table, r),
                status=self.status[r],
                at_t1={name: float(value[r]) for name, value in self.at_t1.items()},
            )
            for r, draw in enumerate(self.draws)
        )

    def __repr__(self) -> str:
        return f"TrajectoryBatch of {len(self)} runs, {self.status.count('ok')} ok"

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, r: int) -> Trajectory:
        return self._runs[operator.index(r)]  # one run, not a slice

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self._runs)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per run and record: seed, step, time (= lr step) and the table.

        Where runs share a seed, as those of several problems do, the position of the run stands before it.
        """
        labels = [{"run": r, "seed": seed} for r, seed in enumerate(self.seeds)]
        frames = [run.to_frame().assign(**label) for label, run in zip(labels, self, strict=True)]
        frame = pd.concat(frames, ignore_index=True)
        first = ["seed"] if len(set(self.seeds)) == len(self) else ["run", "seed"]
        return frame[[*first, *frame.columns.drop(["run", "seed"])]]
