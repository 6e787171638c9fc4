"""Who runs the chunks: this process, processes of this machine, or a Dask cluster; and how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

import labelnoise
from labelnoise.arrays import free_memory
from labelnoise.errors import InputError, check_integer, counted
from labelnoise.runs.kinds import Progress
from labelnoise.runs.setting_types import check_types
from labelnoise.runs.workers import cores, worker_pool
from labelnoise.sweeps.chunks import Finished, Store, gather, run_chunk
from labelnoise.sweeps.plan import Plan

MOST_RUNS = 1_000_000
"""Runs beyond which a sweep asks for --yes."""
COLUMNS = 65
"""Numbers that are kept of a run, at most."""

Results = Generator[tuple[int, Finished], None, None]
"""Position and result of each chunk, as it is done."""
Tell = Callable[[str], object]
"""Takes words for who waits."""
Run = Callable[[Plan, Sequence[int], Tell], Results]
"""Runs the chunks of a plan at these positions."""


@dataclass(frozen=True)
class Execution:
    """Who runs a sweep; its numbers do not depend on it."""

    workers: int | None = None
    """Processes on this machine, one thread each; all cores if not given, 1 computes in the command itself."""
    scheduler: str | None = None
    """Address of a Dask scheduler, such as tcp://host:8786, whose workers run the sweep instead."""
    yes: bool = False
    """Run a sweep of more than a million runs, or whose results take more than half of the free memory."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.workers is not None:
            check_integer("workers", self.workers, 1, 2)

    def check_size(self, cells: int, seeds: int) -> None:
        """Refuse a sweep beyond the limits, unless it was said that it is meant."""
        runs = cells * seeds
        gib, has = 2 * 8 * COLUMNS * runs / 2**30, free_memory() / 2**30
        if not self.yes and (runs > MOST_RUNS or gib > has / 2):
            half = f"more than half of the {has:.3g} GiB free"
            limits = f"more than {MOST_RUNS:,} runs" if runs > MOST_RUNS else half
            raise InputError(
                f"this sweep has {runs:,} runs ({cells:,} cells of {seeds:,} seeds), whose results take {gib:.3g} GiB "
                f"of memory: {limits}; pass --yes (yes=True) if that is meant"
            )


class Meter:
    """Tells how many runs are done, how fast, and how long the rest takes; a line in words every ten seconds."""

    EVERY = 10.0

    def __init__(self, progress: Progress | None, total: int, kept: int) -> None:
        self.progress, self.total, self.done, self.made = progress, total, kept, 0
        self.start = self.shown = time.monotonic()
        if progress and kept:
            progress(kept, total, f"already there: {counted(kept, 'run')}")

    def tell(self, words: str) -> None:
        """Say something in words."""
        if self.progress:
            self.progress(self.done, self.total, words)

    def add(self, runs: int) -> None:
        """Count runs that are done."""
        self.done, self.made = self.done + runs, self.made + runs
        if not self.progress:
            return
        now = time.monotonic()
        words = ""
        if now - self.shown >= self.EVERY or self.done == self.total:
            self.shown, rate = now, self.made / max(now - self.start, 1e-9)
            words = f"{rate:,.3g} runs a second"
            if self.done < self.total:
                words += f", {duration((self.total - self.done) / rate)} left"
        self.progress(self.done, self.total, words)


def duration(seconds: float) -> str:
    """A time in its two largest units: 1 h 5 min, 2 min 3 s, 4 s; <1 s of no whole second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s" if rest else "<1 s"


class Work:
    """A sweep under way: the plans that are made one after the other share its store and its workers."""

    def __init__(self, store: Store, run: Run, how: Execution, progress: Progress | None) -> None:
        self.store, self.run, self.how, self.progress = store, run, how, progress
        self.chunks = self.runs = 0

    def complete(self, plan: Plan) -> Finished:
        """Run the chunks of the next plan that are not in the store yet, each written when it is done, and return all.

        Raises:
            InputError: a worker ended or has another version, the scheduler is lost, or it would be too many runs; what
                is done is kept.
        """
        first, self.chunks, self.runs = self.chunks, self.chunks + plan.chunks, self.runs + plan.runs
        self.how.check_size(self.runs // plan.seeds, plan.seeds)
        missing = [at for at in range(plan.chunks) if first + at not in self.store.finished]
        kept = plan.runs - int(np.diff(plan.bounds)[missing].sum())
        meter = Meter(self.progress, plan.runs, kept)
        with closing(self.run(plan, missing, meter.tell)) as results:
            for at, result in results:
                self.store.write(first + at, result)
                meter.add(len(result.seeds))
        return gather(plan, self.store, first)


@contextmanager
def workers_of(how: Execution) -> Iterator[Run]:
    """Give what runs chunks of a plan, here or elsewhere, inside the block.

    Raises:
        InputError: the scheduler cannot be reached, or a worker process was ended.
    """
    processes = how.workers or cores()
    if how.scheduler is not None:
        from labelnoise.sweeps.cluster import connect, run_on_cluster

        with connect(how.scheduler) as client:
            yield partial(run_on_cluster, client)
    elif processes > 1:
        try:
            with worker_pool(processes) as pool:
                yield partial(_run_in_pool, pool, processes)
        except BrokenProcessPool:
            raise InputError(
                "a worker process was ended from outside, perhaps for its memory; give the same command again, which "
                "keeps what is done, with fewer --workers or a lower --memory"
            ) from None
    else:
        yield _run_here


def _run_here(plan: Plan, missing: Sequence[int], tell: Tell) -> Results:
    for at in missing:
        yield at, run_chunk(plan.chunk(at), labelnoise.__version__)


def _run_in_pool(pool: Executor, processes: int, plan: Plan, missing: Sequence[int], tell: Tell) -> Results:
    """Run chunks in processes of this machine; few of them wait at a time, since a plan may have very many."""
    if len(missing) == 1:  # a process takes a second to start
        yield from _run_here(plan, missing, tell)
        return
    left, running = iter(missing), dict[Future[Finished], int]()
    while True:
        while len(running) < 2 * processes and (at := next(left, None)) is not None:
            running[pool.submit(run_chunk, plan.chunk(at), labelnoise.__version__)] = at
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()
