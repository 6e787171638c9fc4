"""Train a network on noisy labels, record every sample, keep what a kill would lose, and say where to stop.

One loop, on a CPU or a GPU. After an epoch the network reads all training images in eval mode, so that clean, noisy
and held-out samples are measured with the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import stream, torch_stream
from labelnoise.devices import repeatable
from labelnoise.errors import InputError, check_path
from labelnoise.images.data import Data
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import StopRule
from labelnoise.training import averaging, checkpoints, processes, retention
from labelnoise.training.checks import check_training, describe_divergence, find_rule
from labelnoise.training.config import Average, TrainConfig, check_average, learning_rate
from labelnoise.training.log import EpochProgress, TrainLog, describe_epoch
from labelnoise.training.passes import EVAL_BATCH, autocast, batches, eval_pass, train_pass
from labelnoise.training.state import TrainingState
from labelnoise.training.weight_stores import weight_store

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy.typing import ArrayLike


def fit(
    model: nn.Module,
    data: Data,
    config: TrainConfig | None = None,
    *,
    stop: bool | StopRule = False,
    average: Average = "onward",
    held_out: Bool[ArrayLike, " n"] | None = None,
    folder: str | Path | None = None,
    progress: Callable[[EpochProgress], object] | None = None,
) -> TrainLog:
    """Train `model` on the given labels of `data` and record every training image.

    Batches, shifts and held-out images come from streams of `config.seed` that nothing else moves: label noise changes
    none of them. A loss that is not finite ends the run; what was recorded before is returned, and the log's `status`
    says so.

    The model is trained in place and left in eval mode, with the last weights; with `stop`, with the average of the
    weights of the records around the one that the rule chose, and statistics of batch norm estimated anew on the
    images trained on. The log's `weights_epochs` says of which epochs, `returned` what that network is worth. One
    that `check_training` refuses is left as it was.

    With a `folder`, the same call goes on from the last checkpoint that it finds there, and comes to the numbers of a
    run that was never interrupted (to the bit on a CPU with one thread).

    In a process group of `torch.distributed` each of its processes must make the same call: they split the batches,
    each normalises by the statistics of its own share where there is batch norm, all return the same log, and the first
    one alone writes into the folder.

    Args:
        model: a network from normalised images (b, C, H, W), or what the data hold, to logits (b, outputs), outputs
            >= K.
        data: what `load_data` or `data_from_arrays` returns.
        config: how to train; None takes the defaults.
        stop: end the run by a rule, such as `HeldOutAccuracy(patience=10)`, and return to the weights around its
            choice; True takes `HeldOutLoss(config.patience)`, with the average of all `RunningMean(config.patience)`.
            That takes the memory of some copies of the weights (`KeptWeights`).
        average: of which records the weights are averaged, as in `KeptWeights`.
        held_out: (n,) mask of the images to keep out of the training, given labels and all; None draws the share
            `config.held_out`.
        folder: where `checkpoints/` is made, the average in `checkpoints/averaged.pt`; None keeps none.
        progress: called with an `EpochProgress` after each epoch.

    Raises:
        InputError: an argument of another type, a device that is not there, a network that has nothing to train, fails
            on two images or returns anything but finite logits, no held-out images to stop by, a checkpoint of another
            run, or one that cannot be written.
    """
    config = TrainConfig() if config is None else config
    if folder is not None:
        check_path("folder", folder)
    if progress is not None and not callable(progress):
        raise InputError(f"`progress` must be a function or None, got {progress!r}; leave it out")
    check_average(average)
    outputs = check_training(model, data, config, stop, held_out)
    group, rule = processes.find_group(), find_rule(stop, config, average)
    processes.check_batch(config.batch_size, group)
    path = None if folder is None or group.rank else Path(folder)
    in_memory = rule is not None and not group.rank and (path is None or isinstance(average, str))
    store = weight_store(average) if in_memory else None
    with torch_stream(config.seed, "batches"), repeatable():
        run = TrainingState.start(model, data, config, outputs, held_out, rule, average, store)
        _resume(run, path)
        status = _advance(run, path, progress)
        if path:
            checkpoints.keep_weights(path, retention.needed_epochs(run, ended=True))
        chosen, around = retention.chosen_epochs(run)
        returned = None if chosen is None else _return_to(run, around, path)
        model.eval()
    if chosen is None and status == "ok":
        chosen, around = run.epoch, [run.epoch]
    return TrainLog(
        config,
        y_true=data.y_true,
        y_given=data.y_given,
        held_out=run.held_out,
        recorder=run.recorder,
        batches=run.batches,
        table=run.table(),
        status=status,
        precision=run.precision,
        weights_epochs=tuple(around),
        weights_epoch=chosen,
        returned=returned,
        rule=rule,
        model=model,
    )


def _resume(run: TrainingState, folder: Path | None) -> None:
    """Go on from the state in a folder, if there is one; every process from what the first one reads."""

    def read() -> dict[str, Any] | None:
        if folder:
            retention.resume(run, folder)
        return run.state_dict() if run.group.size > 1 and run.epoch else None

    state = processes.by_first(read, run.group)
    if run.group.rank and state:
        run.load_state_dict(state, Path())
    if run.group.size > 1:
        run.parallel = processes.in_parallel(run.model)


def _advance(run: TrainingState, folder: Path | None, progress: Callable[[EpochProgress], object] | None) -> str:
    """Train until the run ends; return `ok`, or why it ended early."""
    while not run.ended:
        status = train_epoch(run)
        if status != "ok":
            return status
        if folder:
            retention.keep(run, folder)
        if progress:
            measures = run.rows[-1] if run.is_recorded else {}
            progress(EpochProgress(run.epoch, run.config.epochs, measures, run.rule_stop))
    return "ok"


def _return_to(run: TrainingState, epochs: list[int], folder: Path | None) -> dict[str, float]:
    """Give the network the average of the weights of these epochs, and return what it is worth, by column."""
    if run.group.rank == 0:
        if run.store and run.watch and run.watch.stop:
            weights = run.store.average(run.watch.stop.chosen)
        else:
            assert folder  # without a folder there is a store
            weights = averaging.average_weights([checkpoints.read_weights(folder, epoch) for epoch in epochs])
        run.model.load_state_dict(weights)
        if len(epochs) > 1:
            with autocast(run):
                averaging.refresh_batch_norm(run.model, _mixed_batches(run))
            if folder:
                checkpoints.write_averaged(folder, run.model)
    processes.send_weights(run.model, run.group)
    logits, test_logits = _eval_logits(run)
    recorder = Recorder(len(logits), logits.shape[1])
    recorder.update(np.arange(len(logits)), logits, run.images.y_given)
    return describe_epoch(recorder.end_epoch(), run.data, run.held_out, test_logits, run.images.y_test)


def _mixed_batches(run: TrainingState) -> Iterator[torch.Tensor]:
    """The images trained on, normalised, in large batches of one size or nearly so; many data are sorted by class."""
    order = stream(run.config.seed, "evaluation").permutation(np.flatnonzero(~run.held_out))
    for part in np.array_split(order, -(-len(order) // EVAL_BATCH)):
        yield run.images.normalise(run.images.x_train[torch.as_tensor(part, device=run.device)])


def _eval_logits(run: TrainingState) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits of all training images, and of the test images where there are any."""
    test = run.images.x_test
    return eval_pass(run, run.images.x_train), eval_pass(run, test) if len(test) else None


def train_epoch(run: TrainingState) -> str:
    """Train, record, and return `ok` or why the run ends; an epoch that failed leaves no record."""
    run.epoch += 1
    start = time.perf_counter()
    order = run.orders.permutation(np.flatnonzero(~run.held_out))
    bad = train_pass(run, order)
    trained = time.perf_counter()
    if bad is not None:
        run.epoch -= 1
        step = run.epoch * len(batches(len(order), run.config.batch_size)) + bad
        return describe_divergence(f"at epoch {run.epoch + 1}, batch {bad} (step {step})", run.config, step == 1)
    finite = averaging.are_finite(run.model)
    if finite and run.is_recorded:
        logits, test_logits = _eval_logits(run)
        finite = bool(torch.isfinite(logits).all())
    if not finite:
        run.epoch -= 1
        return describe_divergence(f"after epoch {run.epoch + 1}", run.config, untrained=False)
    if run.is_recorded:
        run.recorder.update(np.arange(len(logits)), logits, run.images.y_given)
        record = run.recorder.end_epoch()
        row = describe_epoch(record, run.data, run.held_out, test_logits, run.images.y_test)
        now = time.perf_counter()
        clock = {"seconds": run.seconds, "train_seconds": trained - start, "eval_seconds": now - trained}
        run.rows.append({"epoch": run.epoch, "lr": learning_rate(run.config, run.epoch), **clock, **row})
        run.observe(record)
        if run.store and run.watch:
            run.store.take(run.model.state_dict(), run.watch)
    run.batches.end_epoch()
    return "ok"
