"""Experiments side by side, in processes of one thread each that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from labelnoise.errors import InputError
from labelnoise.runs.folders import open_run, run_experiment
from labelnoise.runs.kinds import Experiment, Outcome
from labelnoise.training.attribution import FACTS
from labelnoise.training.config import ExplainConfig

Done = Callable[[str, Outcome], object]
"""Called with the name and the outcome of each experiment."""


def run_all(
    experiments: Mapping[str, Experiment], explained: Mapping[str, ExplainConfig], folder: Path, done: Done
) -> None:
    """Run each experiment into the folder of its name; what is finished is not run again.

    Args:
        experiments: by name, the longest first, so that no process is left alone with a long one.
        explained: experiments whose samples are explained, and how.
        folder: where their folders are made.
        done: called after each.

    Raises:
        InputError: a folder holds another run, or a process was killed.
    """
    waiting = []
    for name, experiment in experiments.items():
        if not is_done(experiment, folder / name, explained.get(name)):
            waiting.append(name)
        else:
            done(name, run_experiment(experiment, folder / name))
    if not waiting:
        return
    workers = min(len(waiting), _cores())
    context = multiprocessing.get_context("spawn")
    alive, end = context.Pipe(duplex=False)  # what arrives there ends the workers
    with _one_thread_each(), ProcessPoolExecutor(workers, context, end_with_parent, (alive,)) as pool:
        running = {
            pool.submit(run_one, experiments[name], folder / name, explained.get(name)): name for name in waiting
        }
        try:
            for future in as_completed(running):
                done(running[future], future.result())
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            end.close()
            if not isinstance(error, BrokenProcessPool):
                raise
            raise InputError(
                "a process of this run was killed, perhaps for want of memory; the same command, without --overwrite, "
                "keeps what is finished and does the rest"
            ) from None


def is_done(experiment: Experiment, path: Path, explain: ExplainConfig | None) -> bool:
    """Whether a folder holds the finished run and, if its samples are to be explained, that too."""
    with open_run(path, experiment) as folder:
        return folder.finished and (explain is None or (path / FACTS).exists())


def run_one(experiment: Experiment, path: Path, explain: ExplainConfig | None) -> Outcome:
    """Run an experiment and, if its samples are to be explained, explain them once."""
    outcome = run_experiment(experiment, path)
    if explain and outcome.status == "ok" and not (path / FACTS).exists():
        from labelnoise.training.explain import explain_run

        explain_run(path, explain)
    return outcome


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent(alive: Connection) -> None:
    """End this worker when the main process is killed or gives up: else it would write into a run that is resumed."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            alive.recv()  # nothing is ever sent: it ends when the other end is closed, by hand or by death
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
