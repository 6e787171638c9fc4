"""What cannot be trained is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.devices import find_device
from labelnoise.errors import InputError, described
from labelnoise.images.data import Data
from labelnoise.record.inputs import read_held_out
from labelnoise.record.stop_rules import HeldOutLoss, RunningMean, StopRule
from labelnoise.training.config import Average, TrainConfig


def check_training(
    model: nn.Module,
    data: Data,
    config: TrainConfig,
    stop: bool | StopRule = False,
    held_out: Any = None,
) -> int:
    """Refuse what cannot be trained, before anything is written; return the number of outputs of the network.

    The model is left on the device and in the mode that it had.

    Raises:
        InputError: see `fit`.
    """
    for name, value, kind, rule, remedy in (
        ("model", model, nn.Module, "a torch module", "use for example build_model"),
        ("data", data, Data, "what load_data returns", "use for example load_data('digits')"),
        ("config", config, TrainConfig, "a TrainConfig or None", "use for example TrainConfig(epochs=30)"),
        ("stop", stop, (bool, StopRule), "True, False or a stop rule", "leave it out for a run of all epochs"),
    ):
        if not isinstance(value, kind):
            raise InputError(f"`{name}` must be {rule}, got {described(value)}; {remedy}")
    _check_held_out(config, data, find_rule(stop, config), held_out)
    if len(data.y_given) < 3:
        raise InputError(f"there must be three training images or more, got {len(data.y_given)}; add images")
    if config.augment and data.x_train.ndim != 4:
        raise InputError(f"`augment` shifts images (n, C, H, W), got data of shape {data.x_train.shape}; leave it out")
    _check_values(data)
    _check_weights(model, config)
    return _check_outputs(_first_outputs(model, data, find_device(config.device)), data.n_classes)


def find_rule(stop: bool | StopRule, config: TrainConfig, average: Average = 5) -> StopRule | None:
    """The rule that ends a run: for True the default one, or the one that goes with a mean of all; none for False."""
    if isinstance(stop, StopRule):
        return stop
    return (RunningMean if average == "all" else HeldOutLoss)(config.patience) if stop else None


def _check_held_out(config: TrainConfig, data: Data, rule: StopRule | None, held_out: Any) -> None:
    """Refuse a mask that does not fit the data, and a rule that lacks held-out images."""
    n = len(data.y_given)
    needed = rule is not None and rule.needs_held_out
    if held_out is None:
        if needed and round(config.held_out * n) < 1:
            raise InputError(
                f"`stop` needs held-out images, got none with held_out={config.held_out} of {n} images; use for "
                f"example {max(0.1, 1 / max(n, 1)):.2g}"
            )
        return
    mask = read_held_out(held_out, n)
    if n - mask.sum() < 2:
        raise InputError(f"`held_out` must leave two images to train on, got {n - mask.sum()}; hold fewer out")
    if needed and not mask.any():
        raise InputError("`stop` needs held-out images, got a mask `held_out` without any; hold some out")


def _check_values(data: Data) -> None:
    """Refuse data that somebody has put together himself and that nobody has checked."""
    for x, y in (("x_train", "y_given"), ("x_test", "y_test")):
        samples, labels = getattr(data, x), getattr(data, y)
        if not np.isfinite(samples).all():
            raise InputError(f"`data.{x}` must hold finite numbers, got NaN or infinity; fill missing values first")
        fits = labels.shape == (len(samples),) and labels.dtype.kind in "iu"
        if not (fits and np.isin(labels, range(data.n_classes)).all()):
            got = f"{labels.min()}..{labels.max()}" if fits else described(labels)
            raise InputError(
                f"`data.{y}` must hold a class 0..{data.n_classes - 1} for each of {len(samples)} images, got {got}; "
                "number the classes in their order"
            )


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
    if config.batch_size == 1 and any(isinstance(layer, _BatchNorm) for layer in model.modules()):
        raise InputError("`batch_size` must be 2 or more for batch norm, got 1; use for example 32")


def _first_outputs(model: nn.Module, data: Data, device: str) -> Any:
    """What the network returns in eval mode for the first two images; it is left where and as it was."""
    two = replace(data, **{name: getattr(data, name)[:2] for name in ("x_train", "x_test", "y_given", "y_test")})
    images, shape = two.on(device), tuple(data.x_train.shape[1:])
    modes, place = [(layer, layer.training) for layer in model.modules()], next(model.parameters()).device
    try:
        with torch.no_grad():
            return model.to(device).eval()(images.normalise(images.x_train))
    except InputError:  # of our own networks
        raise
    except Exception as error:  # somebody's network may raise anything
        samples, why = "images" if len(shape) == 3 else "samples", f"{type(error).__name__}: {error}"
        raise InputError(f"`model` must take {samples} {shape}, but fails: {why}; {_remedy(shape)}") from None
    finally:
        model.to(place)
        for layer, mode in modes:
            layer.training = mode


def _check_outputs(logits: Any, n_classes: int) -> int:
    """Refuse what is no finite logit a class of two images; return the number of outputs."""
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"`model` must return a tensor of logits, got a {type(logits).__name__} for two images; return the logits "
            "alone"
        )
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != 2 or shape[1] < n_classes:
        raise InputError(
            f"`model` must return at least {n_classes} logits an image, got outputs of shape {shape} for "
            f"two images; build it with n_classes={n_classes}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError(
            "`model` must return finite logits, got NaN or infinity for two images before any training; check its "
            "initial weights"
        )
    return shape[1]


def _remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return f"build it with in_channels={shape[0]} and image_size={shape[1:]}"
    return f"its first layer must take {shape[0]} features" if len(shape) == 1 else "build it for that shape"


def describe_divergence(where: str, config: TrainConfig, untrained: bool) -> str:
    """Why a run ends whose loss is not finite, and what to do.

    Args:
        where: at which batch, or after which epoch.
        config: its learning rate.
        untrained: whether the loss broke before any step was made, which no learning rate is to blame for.
    """
    if not untrained:
        return f"the loss is not finite {where}; lower `lr` (now {config.lr:g})"
    return (
        f"the loss is not finite {where}, before any step was made; the learning rate is not the cause: check the "
        "values of the images for NaN and infinity, and what the network computes of them in train mode"
    )
