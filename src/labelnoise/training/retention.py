"""Which weights of a training run lie in files: those that a rule chose or may still choose, and checkpoints."""

from __future__ import annotations

from pathlib import Path

from labelnoise.errors import InputError
from labelnoise.record.stopping import HeldOut
from labelnoise.runs.locks import delete_leftovers
from labelnoise.training import averaging, checkpoints
from labelnoise.training.state import TrainingState


def resume(run: TrainingState, folder: Path) -> None:
    """Go on from the state in a folder, if there is one; the folder is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} could not be made ({error.strerror}); choose another folder") from None
    delete_leftovers(folder / checkpoints.FOLDER)
    state = checkpoints.read_state(folder)
    if state:
        run.load_state_dict(state, folder)
        checkpoints.check_weights(folder, run.checksums)
        run.saved = needed_epochs(run, ended=False)


def keep(run: TrainingState, folder: Path) -> None:
    """Write this epoch's weights and, every so often, the state; delete the weights that nobody will ask for.

    The rules may still choose any of the last records, and a run that goes on from the state needs those that
    they could choose when it was written.
    """
    checkpoint = run.epoch % run.config.checkpoint_every == 0 or run.ended
    needed = needed_epochs(run, run.ended)
    if checkpoint or run.is_recorded:
        run.checksums[run.epoch] = checkpoints.write_weights(folder, run.epoch, run.model)
    if checkpoint:
        checkpoints.write_state(folder, run.state_dict())
        run.saved = needed
    checkpoints.keep_weights(folder, needed | run.saved)


def chosen_epochs(run: TrainingState) -> tuple[int | None, list[int]]:
    """The epoch that the rule chose, and those of the average around it; None and none without a record or a rule."""
    stop = run.watch.stop if run.watch else None
    if stop is None:
        return None, []
    recorded = run.recorded_epochs
    return recorded[stop.chosen], [recorded[at] for at in averaging.window(stop.chosen, run.average, len(recorded))]


def needed_epochs(run: TrainingState, ended: bool) -> set[int]:
    """Epochs whose weights lie on the disk: stopping points, checkpoints, the last, and what may still be chosen."""
    t1, held_out = run.stops()
    recorded = run.recorded_epochs
    chosen, around = chosen_epochs(run)
    needed = {*range(run.config.checkpoint_every, run.epoch + 1, run.config.checkpoint_every), run.epoch}
    if t1 is not None:
        needed.add(recorded[t1])
    if held_out:
        needed.add(recorded[held_out.chosen])
    if chosen is not None:
        needed.add(chosen)
    if ended:
        return needed if isinstance(run.average, str) else needed | set(around)  # by a word, a sum is kept, not each
    if run.watch:
        needed |= {recorded[at] for at in averaging.wanted(run.watch, run.average)}
    return needed | set(recorded[-HeldOut.smooth :])
