"""Several seeds of one training, side by side: a folder of runs, each as it is when its seed is trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.runs.folders import RunFolder, run_experiment
from labelnoise.runs.members import Members
from labelnoise.runs.reading import Run, read_run
from labelnoise.runs.workers import cores, side_by_side

if TYPE_CHECKING:
    from labelnoise.runs.kinds import Progress
    from labelnoise.training.experiment import TrainRun


OF_EACH_SEED = ("seed-*/config.json", "seed-*/history.csv", "seed-*/samples.npz", "seed-*/summary.json")
"""Patterns of what a run of several seeds rests on."""


def seed_name(seed: int) -> str:
    """Return the name of the folder of a seed within a run of several."""
    return f"seed-{seed}"


def check_seeds(seeds: tuple[int, ...], seed: int) -> None:
    """Refuse what is no list of seeds, and one beside a seed of its own."""
    for value in seeds:
        stream(value, "init")  # refuses a seed that is none
    if len(set(seeds)) < len(seeds):
        raise InputError(f"`seeds` must be different integers, got {seeds}; name each once")
    if seeds and seed:
        raise InputError(f"`seed` and `seeds` must not both be given, got {seed} and {seeds}; leave one of them out")


def of_each_seed(config: TrainRun) -> dict[str, TrainRun]:
    """Return the training of each seed, by the name of its folder."""
    return {
        seed_name(seed): replace(config, seeds=(), training=replace(config.training, seed=seed))
        for seed in config.seeds
    }


def run_seeds(config: TrainRun, folder: RunFolder, progress: Progress | None = None) -> None:
    """Train each seed that is not finished, side by side on the cores, and write what they have in common.

    `seed-0/` and so on are run directories; `history.csv` holds all their histories, `summary.json` all their stopping
    points.
    """
    runs = of_each_seed(config)
    next(iter(runs.values())).check()
    folder.begin()
    members = Members(runs, progress)
    arguments = {name: (run, folder.path / name) for name, run in runs.items()}
    side_by_side(run_experiment, arguments, max(cores() // config.threads, 1), members.done)
    finished = [read_run(folder.path / name) for name in runs]
    histories = [run.history.assign(seed=seed) for seed, run in zip(config.seeds, finished, strict=True)]
    folder.write_history(pd.concat(histories, ignore_index=True))
    folder.finish({
        "status": members.status,
        "runs": members.statuses,
        "noise": [run.summary["noise"] for run in finished],
        "stops": [row for run in finished for row in run.summary["stops"]],
    })  # fmt: skip


def read_members(run: Run) -> Sequence[Run]:
    """Return the run of each seed of a run of several; of any other the run itself.

    Raises:
        InputError: one of them is not the run that it was.
    """
    run.verify(*OF_EACH_SEED)
    return [read_run(run.path / seed_name(seed)) for seed in run.settings.get("seeds", ())] or [run]


def check_one_seed(run: Run) -> None:
    """Refuse a run of several seeds where the samples of one are asked for."""
    if seeds := run.settings.get("seeds"):
        one = run.path / seed_name(seeds[0])
        raise InputError(f"{run.path} must be a run of one seed, got those of {len(seeds)}; give one, such as {one}")
