"""Which weights of a training run lie on the disk: those that a rule chose or may still choose, and checkpoints."""

from __future__ import annotations

from pathlib import Path

from labelnoise.record.stopping import HeldOut
from labelnoise.training import checkpoints
from labelnoise.training.state import TrainingState


def resume(run: TrainingState, folder: Path) -> None:
    """Go on from the state in a folder, if there is one."""
    state = checkpoints.read_state(folder)
    if state:
        run.load_state_dict(state, folder)
        run.saved = needed_epochs(run, ended=False)


def keep(run: TrainingState, folder: Path, ended: bool = False) -> None:
    """Write this epoch's weights and, every so often, the state; delete the weights that nobody will ask for.

    The rules may still choose any of the last records, and a run that goes on from the state needs those that
    they could choose when it was written.
    """
    checkpoint = run.epoch % run.config.checkpoint_every == 0 or ended
    needed = needed_epochs(run, ended)
    if checkpoint or run.records:
        checkpoints.write_weights(folder, run.epoch, run.model)
    if checkpoint:
        checkpoints.write_state(folder, run.state_dict())
        run.saved = needed
    checkpoints.keep_weights(folder, needed | run.saved)


def tidy(run: TrainingState, folder: Path) -> None:
    """Keep the weights that a finished run keeps, and no others."""
    checkpoints.keep_weights(folder, needed_epochs(run, ended=True))


def needed_epochs(run: TrainingState, ended: bool) -> set[int]:
    """Epochs whose weights are kept: stopping points, checkpoints, the last, and what may still be chosen."""
    t1, stop = run.stops()
    recorded = [int(row["epoch"]) for row in run.rows]
    chosen = {recorded[at] for at in (t1, stop.chosen if stop else None) if at is not None}
    regular = set(range(run.config.checkpoint_every, run.epoch + 1, run.config.checkpoint_every))
    return chosen | regular | {run.epoch} | (set() if ended else set(recorded[-HeldOut.smooth :]))
