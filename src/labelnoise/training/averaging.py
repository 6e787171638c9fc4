"""The average of the weights of the records around a stop: what a stopped training returns.

Neighbouring epochs differ by points of test accuracy, and so does the one that a rule chooses; the average of their
weights is better than each. The average may also be of all records up to the chosen one, which is kept as a running
mean. Batch norm's statistics are no average of anything, so they are estimated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.errors import InputError, described
from labelnoise.record.watching import Watch
from labelnoise.training.config import Average, check_average

Weights = Mapping[str, Any]
"""What a network's `state_dict` returns."""


def window(chosen: int, average: Average, records: int) -> list[int]:
    """The records around a chosen one, of so many, fewer at either end; or all up to it."""
    if average == "all":
        return list(range(chosen + 1))
    return list(range(max(chosen - average // 2, 0), min(chosen + average // 2 + 1, records)))


def wanted(watch: Watch, average: Average) -> set[int]:
    """Records so far whose weights the average may still need: around those that may be chosen, or come next.

    Where all are averaged, the mean so far is kept beside them, and they are those that may be chosen.
    """
    if average == "all":
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
        if _is_averaged(value):
            mean[name] = sum(state[name].double() for state in states).div(len(states)).to(value.dtype)
    return mean


def _is_averaged(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class MeanSoFar:
    """The mean of a network's weights over all records so far, and what it was at each record that may be chosen.

    While the last record is the one to be chosen, that is one copy of the weights, as soon as it is not, two.
    """

    def __init__(self) -> None:
        self.records = 0
        """Number of records so far."""
        self.mean: dict[str, Any] = {}
        self.at: dict[int, dict[str, Any]] = {}
        """The mean up to a record, with it."""

    def take(self, weights: Weights, candidates: set[int]) -> None:
        """Let the weights of a record into the mean.

        Args:
            weights: what `state_dict` returns; what is no floating-point tensor is taken from the last.
            candidates: records that may be chosen, this one perhaps among them; other means are forgotten.
        """
        new, seen = copy_of(weights), self.records
        if seen:
            for name, value in new.items():
                if _is_averaged(value):
                    total = self.mean[name].double() * seen + value.double()
                    new[name] = total.div(seen + 1).to(value.dtype)
        self.mean, self.records = new, seen + 1
        self.at = {at: mean for at, mean in {**self.at, seen: new}.items() if at in candidates}

    def state_dict(self) -> dict[str, Any]:
        """Return all of it: for checkpoints."""
        return {"records": self.records, "mean": self.mean, "at": {str(at): mean for at, mean in self.at.items()}}

    def load_state_dict(self, state: Any, names: Iterable[str]) -> None:
        """Take over what `state_dict` returned, of a network with weights of these names.

        Raises:
            InputError: it is anything else. Nothing is changed then.
        """
        parts: Any = state if isinstance(state, Mapping) else {}
        names = set(names)
        records, mean, at = (parts.get(name) for name in ("records", "mean", "at"))
        sound = isinstance(records, int) and isinstance(mean, Mapping) and _are_copies(at, names)
        if not sound or (records and set(mean) != names):
            raise InputError(
                f"the state must hold the mean of this network's weights so far, got {described(state)}; save it"
            )
        self.records, self.mean = records, dict(mean)
        self.at = {int(record): dict(weights) for record, weights in at.items()}


def _are_copies(state: Any, names: set[str]) -> bool:
    """Whether a state holds weights of these names by record."""
    return isinstance(state, Mapping) and all(
        str(at).isdigit() and isinstance(weights, Mapping) and set(weights) == names for at, weights in state.items()
    )


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Estimate the running statistics of batch norm anew, as means over these batches; nothing else is changed.

    Only batch norm is put into train mode, so no dropout is drawn. The network is left in eval mode. A network without
    such statistics is not run.

    Args:
        model: the network.
        batches: inputs of the network, each as for a training batch of two or more, in an order that mixes the classes.
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
            model(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()


class KeptWeights:
    """Copies of a network's weights around the records that a watch may choose: for a training loop of one's own.

    It holds about as many copies as the average has records, and some more while several records may be chosen. `fit`
    does the same by itself.

    Args:
        model: the network, which goes on being trained.
        watch: observes a record before each `take`.
        average: records of the average, an odd number; 1 keeps the single one, "all" the mean of all up to the chosen
            one, which goes with the rule `RunningMean`.
    """

    def __init__(self, model: nn.Module, watch: Watch, average: Average = 5) -> None:
        for name, value, kind, words in (
            ("model", model, nn.Module, "a torch module"),
            ("watch", watch, Watch, "a Watch; write for example Watch(HeldOutLoss())"),
        ):
            if not isinstance(value, kind):
                raise InputError(f"`{name}` must be {words}, got {described(value)}; give the one of your loop")
        check_average(average)
        self.model, self.watch, self.average = model, watch, average
        self._copies: dict[int, dict[str, Any]] = {}
        self._so_far = MeanSoFar() if average == "all" else None

    def take(self) -> None:
        """Copy the weights as those of the last record that the watch observed; forget those of no further use."""
        if not self.watch.records:
            raise InputError("`take` needs an observed record, got none; call the watch's `observe` first")
        if self._so_far:
            self._so_far.take(self.model.state_dict(), self.watch.candidates())
            return
        self._copies[self.watch.records - 1] = copy_of(self.model.state_dict())
        needed = wanted(self.watch, self.average)
        self._copies = {at: weights for at, weights in self._copies.items() if at in needed}

    def load_average(self, batches: Iterable[Any] = ()) -> list[int]:
        """Put the average around the chosen record into the network, in eval mode; return its records, from 0.

        Args:
            batches: inputs by which `refresh_batch_norm` estimates the statistics of batch norm, if there is any.

        Raises:
            InputError: nothing was taken at the chosen record, or there are no batches for batch norm.
        """
        stop, kept = self.watch.stop, self._so_far.at if self._so_far else self._copies
        if stop is None or stop.chosen not in kept:
            raise InputError("`load_average` needs the chosen record, got none; call `take` after each `observe`")
        around = window(stop.chosen, self.average, self.watch.records)
        records = around if self._so_far else [at for at in around if at in kept]
        inputs = list(batches) if len(records) > 1 else []
        if len(records) > 1 and not inputs and any(isinstance(layer, _BatchNorm) for layer in self.model.modules()):
            raise InputError("`batches` must hold inputs for batch norm, got none; give those of the training")
        weights = kept[stop.chosen] if self._so_far else average_weights([kept[at] for at in records])
        self.model.load_state_dict(weights)
        if len(records) > 1:
            refresh_batch_norm(self.model, inputs)
        self.model.eval()
        return records

    def state_dict(self) -> dict[str, Any]:
        """Return the copies by record: for checkpoints, beside the watch's own state."""
        if self._so_far:
            return self._so_far.state_dict()
        return {str(at): weights for at, weights in self._copies.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over copies that `state_dict` returned.

        Raises:
            InputError: it holds anything else.
        """
        names = set(self.model.state_dict())
        if self._so_far:
            self._so_far.load_state_dict(state, names)
            return
        if not _are_copies(state, names):
            raise InputError(f"the state must hold weights of this network by record, got {described(state)}; save it")
        self._copies = {int(at): dict(weights) for at, weights in state.items()}
