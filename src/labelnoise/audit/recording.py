"""The trainings that are recorded to be audited: which samples each holds out, and what it says of all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import stream
from labelnoise.audit.labels import GivenLabels
from labelnoise.audit.materials import Material
from labelnoise.audit.recorded import RecordedTraining, read_training
from labelnoise.audit.trainers import find_trainer
from labelnoise.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool

    from labelnoise.audit.kept_trainings import KeptTrainings
    from labelnoise.runs.kinds import Progress

HELD_OUT = 0.1
"""Share held out of a single training."""


def held_out_masks(labels: GivenLabels, folds: int, seed: int) -> list[Bool[np.ndarray, " n"]]:
    """Return the samples that each training holds out, evenly from all classes.

    With one fold, a tenth; with more, each sample is held out once. A class of one sample is never held out, since
    without it no training would know of the class.
    """
    generator = stream(seed, "audit")
    n, counts = labels.positions.size, labels.counts
    order = generator.permutation(n)
    order = order[np.argsort(labels.positions[order], kind="stable")]  # by class, in random order within
    start = np.cumsum(counts) - counts
    rank = np.empty(n, int)
    rank[order] = np.arange(n) - np.repeat(start, counts)
    single = counts[labels.positions] == 1
    if folds == 1:
        turn = (rank + 0.5) * HELD_OUT + generator.random(counts.size)[labels.positions]
        mask = (np.floor(turn + HELD_OUT) > np.floor(turn)) & ~single
        return [mask if mask.any() else ~single & (rank == 0)]
    part = (rank + generator.integers(folds, size=counts.size)[labels.positions]) % folds
    return [(part == fold) & ~single for fold in range(folds)]


def record_trainings(
    material: Material,
    labels: GivenLabels,
    model: Any,
    folds: int | None,
    seed: int,
    progress: Progress | None = None,
    kept: KeptTrainings | None = None,
    name: str = "training",
) -> tuple[list[RecordedTraining], str]:
    """Train once a fold, and return what each training says, and in words what was trained.

    Args:
        material: the samples.
        labels: their given labels.
        model: None for the default of the kind; a classifier of scikit-learn, of which clones are fitted; or a torch
            module, of which copies are trained.
        folds: trainings, each sample held out in one; 1 holds a tenth out of one training; None for the default.
        seed: of folds, weights and batches.
        progress: called as progress(done, total, name) after each training; after each epoch of a network without
            a name.
        kept: where trainings lie that an interrupted run had finished or begun; None keeps none.
        name: of these trainings, for `progress` and `kept`.

    Raises:
        InputError: a model that is none, or that fails on these data.
    """
    trainer = find_trainer(material, labels, model)
    count = trainer.folds if folds is None else folds
    least = int(labels.counts.max())
    if count > least:
        raise InputError(f"`folds` must be at most the size of the largest class ({least}), got {count}; lower it")
    trainings = []
    for fold, mask in enumerate(held_out_masks(labels, count, seed)):
        epochs = partial(_tell_epoch, progress, fold, count) if progress else None
        train = partial(trainer.train, mask, training_seed(seed, fold), epochs)
        if kept:
            recorder, said = kept.record(f"{name}-{fold + 1}", train, labels, mask, trainer.words)
        else:
            recorder, said = train(), ""
        trainings.append(read_training(recorder, mask))
        if progress:
            progress(fold + 1, count, f"{name} {fold + 1} of {count}" + (f": {said}" if said else ""))
    return trainings, f"{trainer.words}; " + (
        f"{count} trainings, each sample held out of one"
        if count > 1
        else "one training, a tenth of the samples held out"
    )


def _tell_epoch(progress: Progress, training: int, trainings: int, epoch: int, epochs: int) -> None:
    """Call `progress` with the epochs that are done of all trainings."""
    progress(training * epochs + epoch, trainings * epochs)


def training_seed(seed: int, fold: int) -> int:
    """Return the seed of a fold's weights and batches: no fold of one audit trains as another one of the next seed."""
    return int(stream(seed, "audit", fold).integers(2**63))
