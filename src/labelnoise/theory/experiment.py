"""An experiment of the model world: one config in, one run directory out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer
from labelnoise.record.selection import SELECTION
from labelnoise.record.stopping import HeldOut
from labelnoise.runs.folders import Progress, RunFolder
from labelnoise.theory.claims import TEST_ERRORS, checks
from labelnoise.theory.draws import stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.scales import conditions, stage_one_scale
from labelnoise.theory.simulation import Schedule, Trajectory, simulate, zeta_std


@dataclass(frozen=True)
class SimulateRun:
    """Train the paper's two-layer network on signal-noise data, exactly, for several seeds."""

    command: ClassVar[str] = "simulate"

    problem: SignalNoise = field(default_factory=SignalNoise)
    schedule: Schedule = field(default_factory=Schedule)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, one run each."""
    n_holdout: int = 200
    """Extra samples with given labels, not trained on, that the held-out stop rule sees."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"`seeds` must be one or more different integers, got {self.seeds}; use for example 0 1 2")
        for seed in self.seeds:
            stream(seed, "data")  # refuses a seed that is none
        check_integer("n_holdout", self.n_holdout, 0, 200)

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Simulate all seeds as one batch and write history.csv, samples.npz and summary.json."""
        draws = stack([self.problem.sample(seed=seed, n_holdout=self.n_holdout) for seed in self.seeds])
        runs = simulate(draws, **asdict(self.schedule), record=("margin", "margin_predicted"), progress=progress)
        summary = self._summary(runs)
        folder.begin()
        folder.write_history(runs.to_frame())
        whole = runs if len(draws) > 1 else runs[0]  # one seed: margin (records, n), labels (n,)
        folder.write_samples(
            margin=whole.values["margin"].astype(np.float32),
            seeds=np.array(self.seeds),
            y_true=np.squeeze([draw.y_true for draw in draws]).astype(np.int8),
            y_given=np.squeeze([draw.y_given for draw in draws]).astype(np.int8),
        )
        folder.finish(summary)

    def _summary(self, runs: Trajectory) -> dict[str, Any]:
        failed = [status for status in runs.status if status != "ok"]
        return {
            "status": failed[0] if failed else "ok",
            "snr": self.problem.snr,
            "zeta_std": zeta_std(runs.draws[0], self.schedule),
            "stage_one_scale": stage_one_scale(self.problem, self.schedule.lr),
            "conditions": conditions(self.problem, self.schedule.lr),
            "noise": [{"seed": draw.seed, "count": draw.noisy.sum(), "rate": draw.noisy.mean()} for draw in runs.draws],
            "stages": [{"seed": run.draws[0].seed, **asdict(run.stages)} for run in runs.runs],
            "checks": [asdict(check) for check in checks(runs)],
            "stops": [row for run in runs.runs for row in _stops(run)],
        }


def _stops(run: Trajectory) -> list[dict[str, Any]]:
    """Where each rule would end the run (in steps), and what the network is worth there."""
    errors = tuple(f"test_error_{kind}" for kind in TEST_ERRORS)
    bounds = ("test_error_perturbed_upper", "test_error_fresh_upper")
    names = ("accuracy_clean", "accuracy_noisy", *SELECTION, *errors, *bounds)
    table, draw = pd.DataFrame(run.table), run.draws[0]
    last = table.iloc[-1]

    def row(
        rule: str, step: int | None, values: Mapping[str, Any] | pd.Series | None, reason: str, **more: Any
    ) -> dict:
        found = {name: np.nan if values is None else values.get(name, np.nan) for name in names}
        gains = {f"gain_{name}": last.get(name, np.nan) - found[name] for name in errors}
        return {"rule": rule, "seed": draw.seed, "at": step, "reason": reason, **more, **found, **gains}

    t1 = run.stages.t1
    rows = [row("oracle", t1, None if t1 is None else run.at_t1, run.stages.reason or "the truth known")]
    if draw.n_holdout and run.status == "ok":
        stop = HeldOut(draw.n_holdout)(table["held_out_accuracy"].to_numpy())
        ended = None if stop.stopped is None else int(run.steps[stop.stopped])
        more = {"ended": ended, "falls": stop.falls}
        rows.append(row("held_out", int(run.steps[stop.chosen]), table.iloc[stop.chosen], stop.reason, **more))
    rows.append(row("last", int(run.steps[-1]), last, "the last step"))
    return rows
