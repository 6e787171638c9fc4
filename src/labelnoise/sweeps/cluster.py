"""Chunks on a Dask cluster, whoever started it: all that is needed is the address of its scheduler."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from typing import Any

import labelnoise
from labelnoise.errors import InputError
from labelnoise.sweeps.chunks import Finished, run_chunk
from labelnoise.sweeps.execution import Results, Tell
from labelnoise.sweeps.plan import Plan

TIMEOUT = 10
"""Seconds after which a scheduler counts as unreachable."""
RETRIES = 2
"""How often a chunk that raised is tried again; one whose worker died goes to another without being counted."""
LOOK = 10
"""Seconds after which the cluster is asked anew how many threads it has; workers come and go."""
PATIENCE = 60
"""Seconds after which it is said again that there is no worker."""
WAITING = 4
"""Chunks that wait or run at a time, for each thread of the cluster: the scheduler holds no more."""


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Give a client of a scheduler inside the block.

    Raises:
        InputError: the scheduler cannot be reached or is lost, a worker has another version of this package, or a chunk
            ended several workers.
    """
    from distributed import Client, KilledWorker

    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"`scheduler` must be the address of a running Dask scheduler such as tcp://host:8786, but {address!r} "
            f"cannot be reached ({error}); start one or correct it"
        ) from None
    try:
        _check_versions(client)
        yield client
    except KilledWorker as killed:
        raise InputError(
            f"a chunk ended {killed.allowed_failures + 1} workers of {address}, perhaps for their memory; give the "
            "same command again, which keeps what is done, with more memory for each worker or a lower --memory"
        ) from None
    except (CancelledError, OSError) as error:
        raise InputError(
            f"the scheduler {address} was lost ({error or type(error).__name__}); give the same command again, which "
            "keeps what is done"
        ) from None
    finally:
        client.close()


def run_on_cluster(client: Any, plan: Plan, missing: Sequence[int], tell: Tell) -> Results:
    """Run chunks of a plan on the workers of a client; yield each that is done, once.

    Raises:
        InputError: a worker lacks what trains the plan's runs here.
    """
    _check_engine(client, plan)
    left, places, done = iter(missing), dict[Any, int](), SimpleQueue[Any]()
    most = looked = 0.0
    while True:
        if time.monotonic() - looked > LOOK:
            most, looked = WAITING * max(sum(client.nthreads().values()), 16), time.monotonic()
        while len(places) < most and (at := next(left, None)) is not None:
            chunk = plan.chunk(at)
            future = client.submit(run_chunk, chunk, labelnoise.__version__, retries=RETRIES, pure=False)
            places[future] = at
            future.add_done_callback(done.put)
        if not places:
            return
        future = _next(client, done, tell)
        result: Finished = future.result()
        yield places.pop(future), result


def _next(client: Any, done: SimpleQueue[Any], tell: Tell) -> Any:
    """The next future that is done; what is submitted to a scheduler that is gone never is."""
    last_said = 0.0
    while True:
        try:
            return done.get(timeout=1)
        except Empty:
            if client.status in ("closing", "closed"):
                raise CancelledError("its connection ended") from None
            if time.monotonic() - last_said > PATIENCE and not client.nthreads():
                last_said = time.monotonic()
                tell(f"waiting for a worker of {client.scheduler.address}")


def _check_versions(client: Any) -> None:
    """Refuse workers with another version before the first chunk; one that joins later is refused at its first."""
    for worker, version in client.run(_version, on_error="return").items():
        if version != labelnoise.__version__:
            held = f"labelnoise {version}" if isinstance(version, str) else f"no labelnoise ({version})"
            raise InputError(
                f"the worker {worker} has {held}, this sweep is of {labelnoise.__version__}; install "
                f"labelnoise=={labelnoise.__version__} there"
            )


def _version() -> str:
    return labelnoise.__version__


def _check_engine(client: Any, plan: Plan) -> None:
    """Refuse workers that would quietly train by the array engine what the compiled one trains here."""
    if "compiled" not in plan.engines:
        return
    for worker, has_numba in client.run(_has_numba).items():
        if not has_numba:
            raise InputError(
                f"the worker {worker} has no numba, so it would train by the array engine, which is slower; "
                "pip install 'labelnoise[fast]' there"
            )


def _has_numba() -> bool:
    return find_spec("numba") is not None
