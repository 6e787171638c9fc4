"""An experiment: one config in, one run directory out. The commands and the main job both run these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.arrays import stream
from labelnoise.data import Data, load_data
from labelnoise.errors import InputError, did_you_mean
from labelnoise.models import MODELS, build_model
from labelnoise.noise import parse_noise
from labelnoise.problem import SignalNoise, stack
from labelnoise.runs import RunFolder, default_path, open_run, settings_of
from labelnoise.simulation import Progress, Schedule, Trajectory, simulate
from labelnoise.stages import HeldOut, oracle_stop
from labelnoise.theory import TEST_ERRORS, checks, conditions, stage_one_scale
from labelnoise.train import TrainConfig, TrainLog, fit

SELECTION = ("selection_precision", "selection_recall", "selection_f1")


@dataclass(frozen=True)
class SimulateRun:
    """Train the paper's two-layer network on signal-noise data, exactly, for several seeds."""

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
        if self.n_holdout < 0:
            raise InputError(f"`n_holdout` must be an integer >= 0, got {self.n_holdout}; 0 holds nothing out")


@dataclass(frozen=True)
class TrainRun:
    """Train a network on real data with flipped labels and follow every sample."""

    data: str = "digits"
    """Data set by name, or the path of an .npz file."""
    classes: tuple[int, ...] = ()
    """Original class ids to use, in order; none for all."""
    noise: str = "symmetric:0.2"
    """Label noise of the training set, as kind:values."""
    model: str = "small-cnn"
    """Network."""
    root: str = "data"
    """Folder in which data files are looked for."""
    threads: int = 1
    """CPU threads; the last digits of a result depend on their number."""
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"`threads` must be an integer >= 1, got {self.threads!r}; use for example 1")
        if self.model not in MODELS:
            raise InputError(f"`model` must name a network, got {self.model!r}{did_you_mean(self.model, MODELS)}")
        parse_noise(self.noise)


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment."""

    path: Path
    """Its run directory."""
    status: str
    """`ok`, or why a run ended early."""
    reused: bool
    """Whether the folder already held the finished run."""


def run_experiment(
    config: SimulateRun | TrainRun, out: Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run a config into a run directory; the same config again is not run twice.

    Args:
        config: every setting.
        out: the folder; runs/<command>-<hash of the config> by default.
        overwrite: delete the run that the folder holds first.
        progress: called as progress(done, total).

    Raises:
        InputError: the folder holds something else, or a setting is refused.
    """
    command, run = COMMANDS[type(config)]
    settings = settings_of(config)
    folder = open_run(out or default_path(command, settings), command, settings, overwrite)
    if not folder.finished:
        run(config, folder, progress)
    return Outcome(folder.path, folder.read_summary()["status"], folder.finished)


def run_simulation(config: SimulateRun, folder: RunFolder, progress: Progress | None = None) -> None:
    """Simulate all seeds as one batch and write history.csv, samples.npz and summary.json."""
    draws = stack([config.problem.sample(seed=seed, n_holdout=config.n_holdout) for seed in config.seeds])
    folder.begin()
    runs = simulate(draws, **asdict(config.schedule), record=("margin", "margin_predicted"), progress=progress)
    folder.write_history(runs.to_frame())
    folder.write_samples(
        margin=np.squeeze(runs.values["margin"].astype(np.float32), 0 if len(draws) == 1 else ()),
        seeds=np.array(config.seeds),
        y_true=np.stack([draw.y_true for draw in draws]).astype(np.int8),
        y_given=np.stack([draw.y_given for draw in draws]).astype(np.int8),
    )
    failed = [status for status in runs.status if status != "ok"]
    folder.finish(
        {
            "status": failed[0] if failed else "ok",
            "snr": config.problem.snr,
            "stage_one_scale": stage_one_scale(config.problem, config.schedule.lr),
            "conditions": conditions(config.problem, config.schedule.lr),
            "noise": [{"seed": draw.seed, "count": draw.noisy.sum(), "rate": draw.noisy.mean()} for draw in draws],
            "stages": [{"seed": draw.seed, **asdict(found)} for draw, found in zip(draws, runs.stages, strict=True)],
            "checks": [asdict(check) for check in checks(runs)],
            "stops": [row for run in runs.runs for row in _simulation_stops(run)],
        }
    )


def run_training(config: TrainRun, folder: RunFolder, progress: Progress | None = None) -> None:
    """Load the data, train, and write history.csv, samples.npz and summary.json (which holds no time)."""
    seed = config.training.seed
    data = load_data(
        config.data,
        root=config.root,
        classes=config.classes or None,
        label_noise=parse_noise(config.noise),
        seed=seed,
    )
    with _threads(config.threads):
        model = build_model(config.model, n_classes=data.n_classes, in_channels=data.in_channels, seed=seed)
        folder.begin()
        log = fit(model, data, config.training, progress=progress)
    folder.write_history(log.to_frame())
    folder.write_samples(
        margin=log.recorder.margin, y_true=data.y_true, y_given=data.y_given, held_out=log.held_out, index=data.index
    )
    folder.finish(
        {
            "status": log.status,
            "classes": data.classes,
            "sizes": _sizes(data, log),
            "noise": {
                "count": data.noisy.sum(),
                "rate": data.noise.rate,
                "rate_by_class": data.noise.rate_by_class,
                "text": str(data.noise),
            },
            "stops": _training_stops(log, seed),
        }
    )


COMMANDS: dict[type, tuple[str, Callable[..., None]]] = {
    SimulateRun: ("simulate", run_simulation),
    TrainRun: ("train", run_training),
}
"""Each kind of experiment: its command and what runs it."""


def _simulation_stops(run: Trajectory) -> list[dict[str, Any]]:
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


def _training_stops(log: TrainLog, seed: int) -> list[dict[str, Any]]:
    """Where each rule would end the run (in epochs), and what the network is worth there."""
    table = log.to_frame()
    names = ("test_accuracy", "train_accuracy_clean", "train_accuracy_noisy", *SELECTION)
    if table.empty:
        return []

    def row(rule: str, record: int | None, reason: str, **more: Any) -> dict:
        found = {name: np.nan if record is None else float(table[name][record]) for name in names}
        gain = {"gain_test_accuracy": found["test_accuracy"] - float(table["test_accuracy"].iloc[-1])}
        epoch = None if record is None else int(table["epoch"][record])
        return {"rule": rule, "seed": seed, "at": epoch, "reason": reason, **more, **found, **gain}

    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    rows = [row("oracle", t1, "the truth known" if t1 is not None else "there are no noisy samples")]
    if log.held_out.any():
        stop = HeldOut(int(log.held_out.sum()))(table["held_out_accuracy"].to_numpy())
        ended = None if stop.stopped is None else int(table["epoch"][stop.stopped])
        rows.append(row("held_out", stop.chosen, stop.reason, ended=ended, falls=stop.falls))
    rows.append(row("last", len(table) - 1, "the last epoch"))
    return rows


def _sizes(data: Data, log: TrainLog) -> dict[str, Any]:
    return {
        "train": len(data.y_given),
        "held_out": int(log.held_out.sum()),
        "test": len(data.y_test),
        "image": list(data.x_train.shape[1:]),
    }


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
