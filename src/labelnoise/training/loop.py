"""Train a network on noisy labels, record every sample, keep what a kill would lose, and say where to stop.

One loop, on a CPU or a GPU. After an epoch the network reads all training images in eval mode, so that clean, noisy
and held-out samples are measured with the same weights.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import torch_stream
from labelnoise.devices import find_device, repeatable
from labelnoise.errors import InputError
from labelnoise.images.data import Data
from labelnoise.runs.kinds import Progress
from labelnoise.training import retention
from labelnoise.training.config import TrainConfig, learning_rate
from labelnoise.training.log import TrainLog, describe_epoch
from labelnoise.training.passes import batches, eval_pass, outputs, train_pass
from labelnoise.training.state import TrainingState


def fit(
    model: nn.Module,
    data: Data,
    config: TrainConfig | None = None,
    *,
    stop: bool = False,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> TrainLog:
    """Train `model` on the given labels of `data` and record every training image.

    Batches, shifts and held-out images come from streams of `config.seed` that nothing else moves: label noise changes
    none of them. The model is trained in place and left in eval mode with its last weights. A loss that is not finite
    ends the run; what was recorded before is returned, and the log's `status` says so.

    With a `folder`, the same call goes on from the last checkpoint that it finds there, and comes to the numbers of a
    run that was never interrupted (to the bit on a CPU with one thread).

    Args:
        model: a network from normalised images (b, C, H, W) to logits (b, outputs), outputs >= K.
        data: what `load_data` returns.
        config: how to train; None takes the defaults.
        stop: end the run when the held-out accuracy has had no new best for a while (`stopping.HeldOut`).
        folder: where `checkpoints/` is made; None keeps none.
        progress: called as progress(epoch, epochs, accuracies) after each epoch; without a record, no accuracies.

    Raises:
        InputError: a device that is not there, outputs of the wrong shape, no held-out images to stop by, a
            checkpoint of another run, or one that cannot be written.
    """
    config = config or TrainConfig()
    n_outputs = check_training(model, data, config, stop)
    kept = None if folder is None else Path(folder)
    with torch_stream(config.seed, "batches"), repeatable():
        run = TrainingState.start(model, data, config, n_outputs)
        if kept:
            retention.resume(run, kept)
        status = "ok"
        while run.epoch < config.epochs and not (stop and run.stopped()):
            status = train_epoch(run)
            if status != "ok":
                break
            if kept:
                retention.keep(run, kept, ended=run.epoch == config.epochs or (stop and run.stopped()))
            if progress:
                progress(run.epoch, config.epochs, _accuracies(run))
        if kept:
            retention.tidy(run, kept)
    return TrainLog(
        config, data.y_true, data.y_given, run.held_out, run.recorder, run.batches, run.table(), status, run.precision
    )


def check_training(model: nn.Module, data: Data, config: TrainConfig, stop: bool = False) -> int:
    """Refuse what cannot be trained, before anything is written; return the number of outputs of the network.

    Raises:
        InputError: see `fit`.
    """
    if stop and not config.held_out:
        raise InputError(f"`stop` needs held-out images, got none with held_out={config.held_out}; use for example 0.1")
    if len(data.y_given) < 3:
        raise InputError(f"there must be three training images or more, got {len(data.y_given)}; add images")
    if config.batch_size == 1 and any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()):
        raise InputError("`batch_size` must be 2 or more for batch norm, got 1; use for example 32")
    device = find_device(config.device)
    two = replace(data, **{name: getattr(data, name)[:2] for name in ("x_train", "x_test", "y_given", "y_test")})
    images, shape = two.on(device), tuple(data.x_test.shape[1:])
    try:
        shape_out = tuple(outputs(model.to(device), images, images.x_train).shape)
    except RuntimeError as error:
        raise InputError(
            f"`model` must take images {shape}, but fails: {error}; build it with in_channels={shape[0]} and "
            f"image_size={shape[1:]}"
        ) from None
    if len(shape_out) != 2 or shape_out[1] < data.n_classes:
        raise InputError(
            f"`model` must return at least {data.n_classes} logits an image, got outputs of shape {shape_out} for "
            f"two images; build it with n_classes={data.n_classes}"
        )
    return shape_out[1]


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
        return _diverged(f"at epoch {run.epoch + 1}, batch {bad} (step {step})", run.config)
    finite = all(bool(torch.isfinite(weight).all()) for weight in run.model.parameters())
    if finite and run.records:
        logits, test_logits = (eval_pass(run, pixels) for pixels in (run.images.x_train, run.images.x_test))
        finite = bool(torch.isfinite(logits).all())
    if not finite:
        run.epoch -= 1
        return _diverged(f"after epoch {run.epoch + 1}", run.config)
    if run.records:
        run.recorder.update(np.arange(len(logits)), logits, run.images.y_given)
        row = describe_epoch(run.recorder.end_epoch(), run.data, run.held_out, test_logits, run.images.y_test)
        now = time.perf_counter()
        clock = {"seconds": run.seconds, "train_seconds": trained - start, "eval_seconds": now - trained}
        run.rows.append({"epoch": run.epoch, "lr": learning_rate(run.config, run.epoch), **clock, **row})
    run.batches.end_epoch()
    return "ok"


def _accuracies(run: TrainingState) -> str:
    """The accuracies of this epoch's record, in words; empty without a record."""
    if not run.records:
        return ""
    names = ("train_accuracy_clean", "train_accuracy_noisy", "test_accuracy", "held_out_accuracy")
    known = {name: run.rows[-1][name] for name in names if not np.isnan(run.rows[-1][name])}
    words = {name: name.removeprefix("train_accuracy_").removesuffix("_accuracy") for name in known}
    return "accuracy " + ", ".join(f"{words[name].replace('_', '-')} {known[name]:.3f}" for name in known)


def _diverged(where: str, config: TrainConfig) -> str:
    return f"the loss is not finite {where}; lower `lr` (now {config.lr:g})"
