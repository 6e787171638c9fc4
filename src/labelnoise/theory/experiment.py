"""The experiment of the model world: one config in, one run directory out; and what such runs are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer, counted
from labelnoise.noise.models import Symmetric
from labelnoise.noise.words import TRANSITION_FORMS, noise_words, parse_noise
from labelnoise.record.selection import SELECTION
from labelnoise.record.stopping import HeldOut
from labelnoise.record.stopping_points import describe_points, held_out_point, last_point, oracle_point
from labelnoise.runs.folders import RunFolder
from labelnoise.runs.kinds import Kind, Progress
from labelnoise.runs.pages import Page
from labelnoise.runs.reading import Run
from labelnoise.runs.setting_types import check_types
from labelnoise.runs.settings import TAG
from labelnoise.theory.claims import TEST_ERRORS
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.findings import count_verdicts
from labelnoise.theory.limits import of_all_classes
from labelnoise.theory.optimizers import check_in_span
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.records import HELD_OUT, zeta_std
from labelnoise.theory.scales import conditions, stage_one_scale
from labelnoise.theory.simulation import simulate
from labelnoise.theory.trajectory import Trajectory, TrajectoryBatch
from labelnoise.theory.verdicts import checks


@dataclass(frozen=True)
class SimulateRun:
    """Train the paper's two-layer network on signal-noise data, exactly, for several seeds."""

    command: ClassVar[str] = "simulate"

    problem: SignalNoise = field(default_factory=SignalNoise)
    simulation: SimulateConfig = field(default_factory=SimulateConfig)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, one run each: 0 1 2 are three runs, 3 is one."""
    n_holdout: int = 200
    """Extra samples with given labels, not trained on, that the held-out stop rule sees."""
    noise: str = ""
    """Label noise as `train` takes it, kind:values[:exact], in place of tau-plus and tau-minus: none, symmetric:RATE,
    symmetric-including-true:RATE, class-conditional:TAU_PLUS,TAU_MINUS, pair:RATE or matrix:FILE."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.noise:
            object.__setattr__(self, "problem", _with_noise(self.problem, self.noise))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"`seeds` must be one or more different integers, got {self.seeds}; use for example 0 1 2")
        for seed in self.seeds:
            stream(seed, "data")  # refuses a seed that is none
        check_integer("n_holdout", self.n_holdout, 0, 200)
        check_in_span(self.simulation.dynamics.optimizer)

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Simulate all seeds as one batch and write history.csv, samples.npz and summary.json."""
        draws = stack([self.problem.sample(seed=seed, n_holdout=self.n_holdout) for seed in self.seeds])
        record = ("margin", "margin_predicted", HELD_OUT)
        runs = simulate(draws, **vars(self.simulation), record=record, progress=progress)
        summary = self._summary(runs)
        folder.begin()
        folder.write_history(runs.to_frame())
        one = 0 if len(runs) == 1 else slice(None)  # of one seed margin (records, n), labels (n,)
        folder.write_samples(
            margin=runs.values["margin"].astype(np.float32)[one],
            seeds=np.array(self.seeds),
            y_true=np.stack([draw.y_true for draw in draws]).astype(np.int8)[one],
            y_given=np.stack([draw.y_given for draw in draws]).astype(np.int8)[one],
        )
        folder.finish(summary)

    def _summary(self, runs: TrajectoryBatch) -> dict[str, Any]:
        failed = [status for status in runs.status if status != "ok"]
        lr = self.simulation.lr
        return {
            "status": failed[0] if failed else "ok",
            "snr": self.problem.snr,
            "zeta_std": zeta_std(runs.draws[0], self.simulation),
            "stage_one_scale": stage_one_scale(self.problem, lr),
            "conditions": conditions(self.problem, lr),
            "departures": runs[0].departures,
            "noise": [_noise(draw) for draw in runs.draws],
            "stages": [{"seed": run.seed, **asdict(run.stages)} for run in runs],
            "checks": [asdict(check) for check in checks(runs)],
            "stops": [row for run in runs for row in _stops(run)],
        }


def _with_noise(problem: SignalNoise, words: str) -> SignalNoise:
    """The problem with the label noise of the command line, unless it has another one."""
    given, usual = parse_noise(words, TRANSITION_FORMS) or Symmetric(0.0), SignalNoise.label_noise
    noise, usual = (of_all_classes(one, problem.n_classes) for one in (given, usual))
    if problem.label_noise not in (noise, usual):
        raise InputError(
            f"`noise` is {words!r}, but tau_plus, tau_minus or a table label_noise give "
            f"{noise_words(problem.label_noise)}; give one of the two"
        )
    return replace(problem, label_noise=noise)


def _noise(draw: Draw) -> dict[str, Any]:
    """What was realised; where flips depend on the patch, also what the rates of these patches are."""
    row = {"seed": draw.seed, "count": draw.noisy.sum(), "rate": draw.noisy.mean()}
    if draw.problem is None or draw.probe is None:
        return row
    rates = draw.problem.flip_rates(draw.y_true, draw.probe[: draw.n])
    by_class = [draw.noisy[draw.y_true == label] for label in draw.classes]
    return {
        **row,
        "rate_by_class": [flips.mean() if flips.size else None for flips in by_class],
        "expected_rate": rates.mean(),
        "largest_rate": rates.max(),
    }


def _stops(run: Trajectory) -> list[dict[str, Any]]:
    """Where each rule would end the run (in steps), and what the network is worth there."""
    table, stages = run.to_frame(), run.stages
    values = {} if stages.t1 is None else run.at_t1
    points = [oracle_point(stages.t1, stages.reason or "the truth known", values)]
    if run.draw.n_holdout and run.status == "ok":
        stop = HeldOut(run.draw.n_holdout)(table["held_out_accuracy"].to_numpy(), fitted=run.values[HELD_OUT] > 0)
        points.append(held_out_point(stop, table, "step"))
    points.append(last_point(table, "step"))
    errors = tuple(f"test_error_{kind}" for kind in TEST_ERRORS)
    bounds = ("test_error_perturbed_upper", "test_error_fresh_upper")
    columns = ("accuracy_clean", "accuracy_noisy", *SELECTION, *errors, *bounds)
    return describe_points(points, run.seed, columns, gains=dict.fromkeys(errors, -1))


def _findings(run: Run) -> list[str]:
    """What the command says in the end: how many seeds have a Stage I, what it is worth, how many claims hold."""
    stages, rows = run.summary["stages"], run.summary["stops"]
    t1 = [stage["t1"] for stage in stages if stage["t1"] is not None]
    seeds = {stage["seed"] for stage in stages if stage["t1"] is not None} or {stage["seed"] for stage in stages}
    lead = f"Stage I in {len(t1)} of {counted(len(stages), 'seed')}"
    if t1:
        lead += f", T1 at step {np.mean(t1):.0f}" + f" ({min(t1)} to {max(t1)})" * (len(set(t1)) > 1)
    errors = []
    for rule, where in (("oracle", "at T1"), ("last", "at the end")):
        known = [row["test_error_seen"] for row in rows if row["rule"] == rule and row["seed"] in seeds]
        known = [error for error in known if error is not None]
        errors += [f"{np.mean(known):.1%} {where}"] if known else []
    counts = count_verdicts([check["verdict"] for check in run.summary["checks"]])
    claims = f"claims that hold: {counts.holds} of {counts.decided} that hold or fail"
    if counts.undecided:
        premise = f": of {counts.premise_fails} the premise fails" if counts.premise_fails else ""
        claims += f" ({counts.undecided} more cannot be decided{premise})"
    test_errors = [f"test error on seen noise {', '.join(errors)}"] if errors else []
    return ["; ".join([lead, *test_errors, claims])]


def _page() -> Page:
    from labelnoise.theory.page import PAGE

    return PAGE


def _upgrade(settings: dict[str, Any], schema: int) -> dict[str, Any]:
    """Before schema 1, `simulation` was called `schedule`."""
    if schema > 0 or not isinstance(settings.get("schedule"), dict):
        return settings
    renamed = {name: value for name, value in settings.items() if name != "schedule"}
    return {**renamed, "simulation": {**settings["schedule"], TAG: SimulateConfig.__name__}}


KIND = Kind(
    SimulateRun,
    page=_page,
    summary=("noise", "stops", "stages", "checks", "conditions", "stage_one_scale", "zeta_std"),
    upgrade=_upgrade,
    findings=_findings,
)
