"""Chunks on a Dask cluster, whoever started it: all that is needed is the address of its scheduler."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import labelnoise
from labelnoise.errors import InputError
from labelnoise.sweeps.chunks import Finished, run_chunk
from labelnoise.sweeps.execution import Results
from labelnoise.sweeps.plan import Plan

TIMEOUT = 10
"""Seconds after which a scheduler counts as unreachable."""
RETRIES = 2
"""How often a chunk that raised is tried again; one whose worker died goes to another without being counted."""
WAITING = 4
"""Chunks that wait or run at a time, for each thread of the cluster: the scheduler holds no more."""


def run_on_cluster(plan: Plan, missing: list[int], address: str) -> Results:
    """Run chunks of a plan on the workers of a scheduler; yield each that is done, once.

    Raises:
        InputError: the scheduler cannot be reached or is lost, a worker has another version of this package, or a chunk
            ended several workers; what was yielded is kept.
    """
    from distributed import KilledWorker, as_completed

    client = _connect(address)
    try:
        _check_versions(client)
        left = iter(missing)
        places: dict[Any, int] = {}

        def submit() -> list[Any]:
            most = WAITING * max(sum(client.nthreads().values()), 16)
            new = []
            while len(places) < most and (at := next(left, None)) is not None:
                future = client.submit(
                    run_chunk, plan.chunk(at), labelnoise.__version__, retries=RETRIES, pure=False, priority=-at
                )
                places[future] = at
                new.append(future)
            return new

        done = as_completed(submit(), loop=client.loop)
        for future in done:
            result: Finished = future.result()
            yield places.pop(future), result
            done.update(submit())
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


def _connect(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"`scheduler` must be the address of a running Dask scheduler such as tcp://host:8786, but {address!r} "
            f"cannot be reached ({error}); start one or correct it"
        ) from None


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
