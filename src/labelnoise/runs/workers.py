"""Processes of one thread each, for work side by side on this machine; they end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, TypeVar

from labelnoise.errors import InputError

Result = TypeVar("Result")


def side_by_side(
    work: Callable[..., Result],
    arguments: Mapping[str, tuple[Any, ...]],
    workers: int,
    done: Callable[[str, Result], object],
) -> None:
    """Do some work for each name, as many at a time as there are workers, in the order of the names.

    Args:
        work: a function of this package.
        arguments: what it is given, by name.
        workers: processes at most.
        done: called with the name and the result of each, as they end.

    Raises:
        InputError: a process was killed. What `work` raises is raised here, and ends the other processes.
    """
    if not arguments:
        return
    with worker_pool(min(len(arguments), workers)) as pool:
        running = {pool.submit(work, *given): name for name, given in arguments.items()}
        try:
            for future in as_completed(running):
                done(running[future], future.result())
        except BrokenProcessPool:
            raise InputError(
                "a process of this run was killed, perhaps for want of memory; the same command, without --overwrite, "
                "keeps what is finished and does the rest"
            ) from None


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes inside the block; an exception in it ends them at once and drops what waits.

    What is submitted must be a function of this package: the main script is not run again in the processes, so it needs
    no `if __name__ == "__main__"`.
    """
    context = multiprocessing.get_context("spawn")
    alive, end = context.Pipe(duplex=False)  # what arrives there ends the workers
    with _one_thread_each(), _Pool(workers, context, end_with_parent, (alive,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end.close()
            raise


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent(alive: Connection) -> None:
    """End this worker when the main process is killed or gives up: else it would write into a run that is resumed."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            alive.recv()  # nothing is ever sent: it ends when the other end is closed, by hand or by death
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Pool(ProcessPoolExecutor):
    """The pool starts a process when something is submitted, and a process would begin by running the main script."""

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **settings: Any) -> Future[Any]:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return super().submit(task, *arguments, **settings)
        finally:
            sys.modules["__main__"] = main


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
