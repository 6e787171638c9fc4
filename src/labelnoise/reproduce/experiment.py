"""The main job: the experiments that make the report, run side by side, and the page that shows them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labelnoise.noise.models import ClassConditional
from labelnoise.report.page import write_report
from labelnoise.runs.folders import Outcome, RunFolder, default_path, open_run, run_experiment
from labelnoise.runs.settings import settings_of
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import Schedule
from labelnoise.training.attribution import FACTS
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.explain import ExplainConfig, explain_run


@dataclass(frozen=True)
class Reproduce:
    """Run the experiments of the report: both stages in the paper's model and on real images, and where to stop."""

    quick: bool = False
    """A smaller version, to see that everything works: fewer seeds, steps and epochs."""


@dataclass(frozen=True)
class Panel:
    """A column of a figure: its title and its experiments by name."""

    title: str
    experiments: dict[str, SimulateRun | TrainRun]


@dataclass(frozen=True)
class Figure:
    """A figure of the report."""

    name: str
    title: str
    text: str
    panels: tuple[Panel, ...]
    explained: Mapping[str, ExplainConfig] = field(default_factory=dict)
    """Experiments whose samples are attributed to their pixels, too, and how."""


LEAD = (
    "A network trained on partly wrong labels first learns what the classes have in common: it fits the correctly "
    "labelled samples and ignores the wrong labels (Stage I). Only later does it memorise the wrong labels, one by "
    "one, and its test accuracy falls (Stage II). This page shows both stages in the two-layer model of Han et al. "
    "(ICML 2025), where they are proved, and on real images; where each claim of the paper holds; and what stopping in "
    "time gains."
)

BANDS = "Lines are means over the seeds, bands their range."


WITH, WITHOUT = "labels flipped with probability 0.2", "no label noise"


def figures(quick: bool = False) -> tuple[Figure, ...]:
    """Return every figure with the experiments that it needs."""
    return *_synthetic_figures(quick), _digits_figure(quick)


def _synthetic_figures(quick: bool) -> tuple[Figure, Figure]:
    """The paper's synthetic figure, where both stages are clearest and where stopping pays."""
    seeds = tuple(range(2 if quick else 5))
    fine = {"steps": 600, "record_every": 6, "test_draws": 500} if quick else {"steps": 2_000, "record_every": 4}
    few_dimensions = SignalNoise(d=400, mu_norm=5.66, init_std=0.01)
    return (
        Figure(
            "synthetic-a",
            "The paper's model, d = 40,000: the clean picture of both stages",
            "What to look for. Top, the largest signal coefficient and the largest noise coefficients: does "
            "signal lead at first, and do the noise patches of wrongly labelled samples overtake it after T1? "
            "Middle: does the accuracy on noisy samples, against their wrong labels, stay at 0 until then? "
            "Bottom, the test error against true labels: at d far above n only test patches that recur from the "
            "training set should suffer. "
            f"{BANDS}",
            _with_and_without_noise("a", SimulateRun(SignalNoise(), Schedule(lr=0.005, **fine), seeds)),
        ),
        Figure(
            "synthetic-b",
            "The same model at d = 400: where stopping in time pays",
            "Only twice as many dimensions as samples. What to look for: memorised noise reaches fresh test patches "
            f"as well, and the fresh-noise error should rise in Stage II. {BANDS}",
            _with_and_without_noise("b", SimulateRun(few_dimensions, Schedule(lr=0.3, **fine), seeds, n_holdout=1_000)),
        ),
    )


def _with_and_without_noise(name: str, run: SimulateRun) -> tuple[Panel, ...]:
    without = replace(run, problem=replace(run.problem, label_noise=ClassConditional(0.0, 0.0)))
    return Panel(WITH, {f"{name}-noise": run}), Panel(WITHOUT, {f"{name}-clean": without})


def _digits_figure(quick: bool) -> Figure:
    """The same stages on real images."""
    epochs, seeds = (40, range(1)) if quick else (120, range(3))

    def panel(title: str, name: str, noise: str) -> Panel:
        runs = {seed: TrainRun(noise=noise, training=TrainConfig(epochs=epochs, seed=seed)) for seed in seeds}
        return Panel(title, {f"digits-{name}-seed{seed}": run for seed, run in runs.items()})

    return Figure(
        "digits",
        "Real images: handwritten digits, ten classes, one label in five flipped",
        "What to look for. Middle: does the network fit the clean samples while it still rejects the wrong labels, "
        "and does the accuracy on test images fall when it memorises them? Bottom: samples with a negative margin are "
        "suspects; precision and recall say how well they are the wrong labels. The held-out accuracy sees given "
        f"labels only. {BANDS}",
        (panel(WITH, "noise", "symmetric:0.2"), panel(WITHOUT, "clean", "none")),
        explained={"digits-noise-seed0": ExplainConfig(method="deep" if find_spec("shap") else "expected-gradients")},
    )


def run_reproduce(
    config: Reproduce,
    out: Path | None = None,
    overwrite: bool = False,
    done: Callable[[str, int, int], object] | None = None,
) -> tuple[Path, bool]:
    """Run every experiment that is not finished yet, in parallel processes of one thread each, and write the report.

    Args:
        config: how much to run.
        out: the folder; each experiment is a run directory in it.
        overwrite: start from nothing.
        done: called as done(name and status, finished, total) after each experiment.

    Returns:
        The path of report.html, and whether all experiments had been run before.
    """
    shown = figures(config.quick)
    experiments = {name: run for figure in shown for panel in figure.panels for name, run in panel.experiments.items()}
    settings = {**settings_of(config), "experiments": {name: settings_of(run) for name, run in experiments.items()}}
    folder = open_run(out or default_path("reproduce", settings), "reproduce", settings, overwrite)
    if folder.finished:
        return write_report(folder.path), True
    folder.begin()
    explained = {name: config for figure in shown for name, config in figure.explained.items()}
    statuses = _run_all(experiments, explained, folder, done)
    folder.finish({"status": _overall(statuses), "text": LEAD, "experiments": statuses, "groups": _groups(shown)})
    return write_report(folder.path), False


def _run_all(
    experiments: dict[str, SimulateRun | TrainRun],
    explained: Mapping[str, ExplainConfig],
    folder: RunFolder,
    done: Callable[[str, int, int], object] | None,
) -> dict[str, str]:
    """Status of each experiment by name; longest first, so that no process is left alone with a long one."""
    order = sorted(experiments, key=lambda name: (name not in explained, isinstance(experiments[name], SimulateRun)))
    statuses = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(len(order), cores)
    with (
        _one_thread_each(),
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool,
    ):
        running = {
            pool.submit(_run_one, experiments[name], folder.path / name, explained.get(name)): name for name in order
        }
        try:
            for finished, future in enumerate(as_completed(running), 1):
                name, outcome = running[future], future.result()
                statuses[name] = outcome.status
                if done:
                    done(f"{name}: {'already there' if outcome.reused else outcome.status}", finished, len(order))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: statuses[name] for name in experiments}


def _run_one(experiment: SimulateRun | TrainRun, path: Path, explained: ExplainConfig | None) -> Outcome:
    """Run an experiment and, if its samples are to be explained, explain them once."""
    outcome = run_experiment(experiment, path)
    if explained and outcome.status == "ok" and not (path / FACTS).exists():
        explain_run(path, explained)
    return outcome


def _end_with_parent() -> None:
    """End this worker when the main process is killed: an orphan would go on writing into a run that was resumed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside use one BLAS and one OpenMP thread: two processes would only fight for the cores."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _overall(statuses: dict[str, str]) -> str:
    return next((f"{name}: {status}" for name, status in statuses.items() if status != "ok"), "ok")


def _groups(shown: tuple[Figure, ...]) -> list[dict[str, Any]]:
    """What the report needs to know of the figures."""
    return [
        {
            "name": figure.name,
            "title": figure.title,
            "text": figure.text,
            "columns": [{"title": panel.title, "runs": list(panel.experiments)} for panel in figure.panels],
        }
        for figure in shown
    ]
