"""Train a network on noisy labels, record every sample, keep what a kill would lose, and say where to stop.

One loop, on a CPU or a GPU. After an epoch the network reads all training images in eval mode, so that clean, noisy
and held-out samples are measured with the same weights.
"""

from __future__ import annotations

import os
import reprlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import torch_stream
from labelnoise.devices import find_device, repeatable
from labelnoise.errors import InputError
from labelnoise.images.data import Data
from labelnoise.runs.kinds import Progress
from labelnoise.training import checkpoints, retention
from labelnoise.training.config import TrainConfig, learning_rate
from labelnoise.training.log import TrainLog, describe_epoch
from labelnoise.training.passes import batches, eval_pass, train_pass
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
    none of them. A loss that is not finite ends the run; what was recorded before is returned, and the log's `status`
    says so.

    The model is trained in place and left in eval mode: with `stop`, with the weights of the epoch that the held-out
    rule chose (`patience` records before the last where the rule ended the run), otherwise with the last ones. The
    log's `weights_epoch` says which. One that `check_training` refuses is left as it was.

    With a `folder`, the same call goes on from the last checkpoint that it finds there, and comes to the numbers of a
    run that was never interrupted (to the bit on a CPU with one thread).

    Args:
        model: a network from normalised images (b, C, H, W) to logits (b, outputs), outputs >= K.
        data: what `load_data` returns.
        config: how to train; None takes the defaults.
        stop: end the run when the held-out accuracy has had no new best for a while (`stopping.HeldOut`), and return
            to the weights of the chosen epoch. Without a `folder` that takes the memory of six copies of the weights.
        folder: where `checkpoints/` is made; None keeps none.
        progress: called as progress(epoch, epochs, accuracies) after each epoch; without a record, no accuracies.

    Raises:
        InputError: an argument of another type, a device that is not there, a network that has nothing to train, fails
            on two images or returns anything but finite logits, no held-out images to stop by, a checkpoint of another
            run, or one that cannot be written.
    """
    config = TrainConfig() if config is None else config
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise InputError(f"`folder` must be a path or None, got {folder!r}; use for example 'runs/digits'")
    if progress is not None and not callable(progress):
        raise InputError(f"`progress` must be a function or None, got {progress!r}; leave it out")
    n_outputs = check_training(model, data, config, stop)
    kept, copies = None if folder is None else Path(folder), retention.Copies()
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
            elif stop:
                retention.copy_weights(run, copies)
            if progress:
                progress(run.epoch, config.epochs, _accuracies(run))
        if kept:
            retention.tidy(run, kept)
        weights_epoch = run.epoch if status == "ok" else None
        if stop and (chosen := run.chosen_epoch()) is not None:
            model.load_state_dict(checkpoints.read_weights(kept, chosen) if kept else copies[chosen])
            weights_epoch = chosen
        model.eval()
    labels, records = (data.y_true, data.y_given, run.held_out), (run.recorder, run.batches, run.table())
    return TrainLog(config, *labels, *records, status, run.precision, weights_epoch)


def check_training(model: nn.Module, data: Data, config: TrainConfig, stop: bool = False) -> int:
    """Refuse what cannot be trained, before anything is written; return the number of outputs of the network.

    The model is left on the device and in the mode that it had.

    Raises:
        InputError: see `fit`.
    """
    for name, value, kind, words in (
        ("model", model, nn.Module, "a torch module, got {}; use for example build_model"),
        ("data", data, Data, "what load_data returns, got {}; use for example load_data('digits')"),
        ("config", config, TrainConfig, "a TrainConfig or None, got {}; use for example TrainConfig(epochs=30)"),
        ("stop", stop, bool, "True or False, got {}; leave it out for a run of all epochs"),
    ):
        if not isinstance(value, kind):
            raise InputError(f"`{name}` must be " + words.format(_one_line(reprlib.repr(value))))
    if stop and not config.held_out:
        raise InputError(f"`stop` needs held-out images, got none with held_out={config.held_out}; use for example 0.1")
    if len(data.y_given) < 3:
        raise InputError(f"there must be three training images or more, got {len(data.y_given)}; add images")
    _check_weights(model, config)
    logits = _first_outputs(model, data, find_device(config.device))
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"`model` must return a tensor of logits, got a {type(logits).__name__} for two images; return the logits "
            "alone"
        )
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != 2 or shape[1] < data.n_classes:
        raise InputError(
            f"`model` must return at least {data.n_classes} logits an image, got outputs of shape {shape} for "
            f"two images; build it with n_classes={data.n_classes}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError(
            "`model` must return finite logits, got NaN or infinity for two images before any training; check its "
            "initial weights"
        )
    return shape[1]


def _check_weights(model: nn.Module, config: TrainConfig) -> None:
    """Refuse a network without weights that an optimiser could move, or whose batch norm would see single images."""
    weights = list(model.parameters())
    if not weights:
        raise InputError("`model` must have weights to train, got a network without any; build it with build_model")
    if not any(weight.requires_grad for weight in weights):
        raise InputError(
            f"`model` must have weights to train, got {len(weights)} that are all frozen; call "
            "model.requires_grad_(True) on it or on its last layer"
        )
    if config.batch_size == 1 and any(isinstance(layer, BATCH_NORMS) for layer in model.modules()):
        raise InputError("`batch_size` must be 2 or more for batch norm, got 1; use for example 32")


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that cannot be trained on a batch of one image."""


def _first_outputs(model: nn.Module, data: Data, device: str) -> Any:
    """What the network returns in eval mode for the first two images; it is left where and as it was."""
    two = replace(data, **{name: getattr(data, name)[:2] for name in ("x_train", "x_test", "y_given", "y_test")})
    images, shape = two.on(device), tuple(data.x_test.shape[1:])
    modes, place = [(layer, layer.training) for layer in model.modules()], next(model.parameters()).device
    try:
        with torch.no_grad():
            return model.to(device).eval()(images.normalise(images.x_train))
    except InputError:  # of our own networks
        raise
    except Exception as error:  # somebody's network may raise anything
        why = _one_line(f"{type(error).__name__}: {error}")
        raise InputError(
            f"`model` must take images {shape}, but fails: {why}; build it with in_channels={shape[0]} and "
            f"image_size={shape[1:]}"
        ) from None
    finally:
        model.to(place)
        for layer, mode in modes:
            layer.training = mode


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
