"""Experiments side by side, in processes of one thread each that end with their parent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from labelnoise.runs.folders import open_run, run_experiment
from labelnoise.runs.kinds import Experiment, Outcome
from labelnoise.runs.workers import cores, side_by_side
from labelnoise.sweeps.experiment import SweepRun, run_here
from labelnoise.training.attribution import FACTS
from labelnoise.training.config import ExplainConfig


def run_all(
    experiments: Mapping[str, Experiment],
    explained: Mapping[str, ExplainConfig],
    folder: Path,
    done: Callable[[str, Outcome], object],
) -> None:
    """Run each experiment into the folder of its name; what is finished is not run again.

    Args:
        experiments: by name, the longest first, so that no process is left alone with a long one.
        explained: experiments whose samples are explained, and how.
        folder: where their folders are made.
        done: called with the name and the outcome of each, as they end.

    Raises:
        InputError: a folder holds another run, or a process was killed.
    """
    waiting = {}
    for name, experiment in experiments.items():
        path, explain = folder / name, explained.get(name)
        if is_done(experiment, path, explain):
            done(name, run_experiment(experiment, path))
        else:
            waiting[name] = (experiment, path, explain)
    side_by_side(run_one, waiting, cores(), done)


def is_done(experiment: Experiment, path: Path, explain: ExplainConfig | None) -> bool:
    """Whether a folder holds the finished run and, if its samples are to be explained, that too."""
    with open_run(path, experiment) as folder:
        return folder.finished and (explain is None or (path / FACTS).is_file())


def run_one(experiment: Experiment, path: Path, explain: ExplainConfig | None) -> Outcome:
    """Run an experiment and, if its samples are to be explained, explain them once."""
    outcome = run_here(experiment, path) if isinstance(experiment, SweepRun) else run_experiment(experiment, path)
    if explain and outcome.status == "ok" and not (path / FACTS).is_file():
        from labelnoise.training.explain import explain_run

        explain_run(path, explain)
    return outcome
