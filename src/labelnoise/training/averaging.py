"""The average of the weights of the records around a stop: what a stopped training returns.

Neighbouring epochs differ by points of test accuracy, and so does the one that a rule chooses; the average of their
weights is better than each. What comes after a stop is of more use than what comes before it, where the network still
learns: by default the average goes onward from the second record before the chosen one. It may also be of all records
up to that. Batch norm's statistics are no average of anything, so they are estimated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.record.watching import Watch
from labelnoise.training.config import Average

Weights = Mapping[str, Any]
"""What a network's `state_dict` returns."""
BEFORE, ONWARD = 2, 9
"""Records before the chosen one at which the average onward begins, and how many it has."""


def window(chosen: int, average: Average, records: int) -> list[int]:
    """Return the records, of so many, whose weights are averaged for a chosen one; fewer where they end.

    all: 0 to the chosen one; onward: `ONWARD` of them, the first one `BEFORE` before it; a number: so many around it.
    """
    if average == "all":
        return list(range(chosen + 1))
    if average == "onward":
        first = max(chosen - BEFORE, 0)
        return list(range(first, min(first + ONWARD, records)))
    return list(range(max(chosen - average // 2, 0), min(chosen + average // 2 + 1, records)))


def wanted(watch: Watch, average: Average) -> set[int]:
    """Records whose weights must be kept for the average of one that may be chosen, or of the one that comes next.

    Of an average that is a word a sum is kept beside them: then they are those that may be chosen, alone.
    """
    if isinstance(average, str):
        return watch.candidates()
    records = watch.records
    near = watch.candidates() | ({records} if not watch.ended else set())
    return {at for chosen in near for at in window(chosen, average, records)}


def copy_of(weights: Weights) -> dict[str, Any]:
    """A copy on the CPU, where memory is less scarce; a state may hold more than tensors."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else deepcopy(value)
        for name, value in weights.items()
    }


def average_weights(states: Sequence[Weights]) -> dict[str, Any]:
    """Return the mean of the weights of one network at several times, computed in float64.

    What is not a floating-point tensor (a count of batches) is taken from the state in the middle.

    Args:
        states: one `state_dict` or more, in the order of time.
    """
    mean = dict(states[len(states) // 2])
    for name, value in mean.items():
        if is_averaged(value):
            mean[name] = sum(state[name].double() for state in states).div(len(states)).to(value.dtype)
    return mean


def add_weights(states: Sequence[Weights], own: Weights | None = None) -> dict[str, Any]:
    """Return the sum of the weights of one network at several times, in float32 or finer.

    What is not a floating-point tensor (a count of batches) is that of `own`, by default of the first state.
    """
    total = dict(states[0] if own is None else own)
    for name, value in total.items():
        if is_averaged(value):
            finer = torch.promote_types(value.dtype, torch.float32)
            total[name] = sum(state[name].to(finer) for state in states)
    return total


def is_averaged(value: Any) -> bool:
    """Whether a part of a network's state is a number to be averaged, and no count."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def are_finite(model: nn.Module) -> bool:
    """Whether all parameters are finite, as after a divergence they are not; a buffer, such as a mask, need not be."""
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def are_alike(weights: Weights, own: Weights) -> bool:
    """Whether weights have the names and shapes that a network's own have."""
    return weights.keys() == own.keys() and all(
        getattr(weights[name], "shape", None) == getattr(value, "shape", None) for name, value in own.items()
    )


def are_copies(state: Any, own: Weights) -> bool:
    """Whether a state holds, by record, weights as a network has them."""
    return isinstance(state, Mapping) and all(
        str(at).isdigit() and isinstance(weights, Mapping) and are_alike(weights, own) for at, weights in state.items()
    )


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, batches: Iterable[Any], call: Callable[[Any], object] | None = None) -> None:
    """Estimate the running statistics of batch norm anew, as means over these batches; nothing else is changed.

    Only batch norm is put into train mode, so no dropout is drawn. The network is left in eval mode. A network without
    such statistics is not run.

    Args:
        model: the network.
        batches: inputs of the network, each as for a training batch of two or more, in an order that mixes the classes.
        call: how the network is given a batch; None calls it with the batch alone.
    """
    model.eval()
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a mean over the batches, each counted once
        layer.train()
    try:
        for batch in batches:
            (call or model)(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()
