"""One training by the processes that torchrun started: the first one writes the folder, the others compute with it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.devices import find_device
from labelnoise.errors import InputError
from labelnoise.runs.folders import delete_transient, open_run
from labelnoise.runs.kinds import Outcome, Progress
from labelnoise.runs.launch import Launch
from labelnoise.training.processes import by_first, joined

if TYPE_CHECKING:
    from labelnoise.training.experiment import TrainRun


def run_together(
    config: TrainRun, out: str | Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Train into a run directory; each of the processes makes this call.

    Raises:
        InputError: as `run_experiment`; several seeds, or a device other than the CPU.
    """
    if config.seeds:
        raise InputError(
            f"`seeds` starts processes of its own, got {config.seeds} under torchrun; leave one of the two out"
        )
    if (device := find_device(config.training.device)) != "cpu":
        raise InputError(f"`device` must be cpu for a training of several processes, got {device!r}; use one process")
    with joined() as group:
        try:
            return _run(config, out, overwrite, progress, group)
        except RuntimeError as error:
            if group.rank == 0:
                raise
            raise InputError(f"the first process has ended ({error}); see what it says") from None


def _run(
    config: TrainRun, out: str | Path | None, overwrite: bool, progress: Progress | None, group: Launch
) -> Outcome:
    with ExitStack() as held:
        folder = by_first(lambda: held.enter_context(open_run(out, config, overwrite)), group)
        if not folder.finished:
            config.run(folder, progress)
        if group.rank == 0:
            delete_transient(folder.path, config.command)
        status = by_first(lambda: folder.read_summary()["status"], group)
        return Outcome(folder.path, status, folder.finished)
