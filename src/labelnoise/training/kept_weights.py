"""Weights held in memory while a network is trained, for the average that is returned once a rule has stopped it.

Of the records around a choice each is copied; of all records up to it a running mean serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any, Protocol

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.errors import InputError, described
from labelnoise.record.watching import Watch
from labelnoise.training.averaging import (
    Weights,
    are_alike,
    are_finite,
    average_weights,
    copy_of,
    is_averaged,
    refresh_batch_norm,
    wanted,
    window,
)
from labelnoise.training.config import Average, check_average


class WeightStore(Protocol):
    """What is held in memory of the weights so far, so that the average of the chosen record can be had."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Take the weights at the last record that the watch observed; forget what is of no further use.

        Weights that are not finite are passed over: they would spoil any average, and no rule chooses them.
        """

    def averaged(self, chosen: int) -> list[int]:
        """Return the records in the average of a chosen one; none where nothing was taken at that."""

    def average(self, chosen: int) -> dict[str, Any]:
        """Return that average."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is held: for checkpoints."""

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over what `state_dict` returned, of a network with weights of the same names and shapes.

        Raises:
            InputError: it is anything else. Nothing is changed then.
        """


def weight_store(average: Average) -> WeightStore:
    """Return the empty store from which such an average can be had."""
    return MeanSoFar() if average == "all" else CopiesAround(average)


class CopiesAround:
    """Copies of the weights at the records around those that may be chosen.

    Args:
        records: how many of them are averaged, an odd number.
    """

    def __init__(self, records: int) -> None:
        self.records = records
        self.copies: dict[int, dict[str, Any]] = {}
        """By record."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Copy the weights; forget those around which none may be chosen any more."""
        if are_finite(weights):
            self.copies[watch.records - 1] = copy_of(weights)
        needed = wanted(watch, self.records)
        self.copies = {at: copy for at, copy in self.copies.items() if at in needed}

    def averaged(self, chosen: int) -> list[int]:
        """Return the records around the chosen one, fewer at either end."""
        if chosen not in self.copies:
            return []
        return [at for at in window(chosen, self.records, max(self.copies) + 1) if at in self.copies]

    def average(self, chosen: int) -> dict[str, Any]:
        """Return the mean of their weights."""
        return average_weights([self.copies[at] for at in self.averaged(chosen)])

    def state_dict(self) -> dict[str, Any]:
        """Return the copies by record."""
        return {str(at): weights for at, weights in self.copies.items()}

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over copies, or refuse what is none."""
        if not _are_copies(state, own):
            raise InputError(f"the state must hold weights of this network by record, got {described(state)}; save it")
        self.copies = {int(at): dict(weights) for at, weights in state.items()}


class MeanSoFar:
    """The mean of the weights over all records so far, and what it was at each record that may be chosen.

    While the last record is the one to be chosen, that is one copy of the weights, as soon as it is not, two.
    """

    def __init__(self) -> None:
        self.records = 0
        """Number of records so far."""
        self.mean: dict[str, Any] = {}
        self.at: dict[int, dict[str, Any]] = {}
        """The mean up to a record, with it."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Let the weights into the mean; what is no floating-point tensor is taken from the last."""
        if not are_finite(weights):
            return
        new, seen = copy_of(weights), self.records
        if seen:
            for name, value in new.items():
                if is_averaged(value):
                    total = self.mean[name].double() * seen + value.double()
                    new[name] = total.div(seen + 1).to(value.dtype)
        self.mean, self.records = new, seen + 1
        last, candidates = watch.records - 1, watch.candidates()
        self.at = {at: mean for at, mean in {**self.at, last: new}.items() if at in candidates}

    def averaged(self, chosen: int) -> list[int]:
        """Return all records up to the chosen one."""
        return list(range(chosen + 1)) if chosen in self.at else []

    def average(self, chosen: int) -> dict[str, Any]:
        """Return the mean as it was at the chosen record."""
        return self.at[chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {"records": self.records, "mean": self.mean, "at": {str(at): mean for at, mean in self.at.items()}}

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over a mean, or refuse what is none."""
        parts: Any = state if isinstance(state, Mapping) else {}
        records, mean, at = (parts.get(name) for name in ("records", "mean", "at"))
        sound = isinstance(records, int) and isinstance(mean, Mapping) and _are_copies(at, own)
        if not sound or (records and not are_alike(mean, own)):
            raise InputError(
                f"the state must hold the mean of this network's weights so far, got {described(state)}; save it"
            )
        self.records, self.mean = records, dict(mean)
        self.at = {int(record): dict(weights) for record, weights in at.items()}


def _are_copies(state: Any, own: Weights) -> bool:
    """Whether a state holds, by record, weights as a network has them."""
    return isinstance(state, Mapping) and all(
        str(at).isdigit() and isinstance(weights, Mapping) and are_alike(weights, own) for at, weights in state.items()
    )


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
        self._store = weight_store(average)

    def take(self) -> None:
        """Copy the weights as those of the last record that the watch observed; forget those of no further use."""
        if not self.watch.records:
            raise InputError("`take` needs an observed record, got none; call the watch's `observe` first")
        self._store.take(self.model.state_dict(), self.watch)

    def load_average(self, batches: Iterable[Any] = (), call: Callable[[Any], object] | None = None) -> list[int]:
        """Put the average around the chosen record into the network, in eval mode; return its records, from 0.

        Args:
            batches: inputs by which `refresh_batch_norm` estimates the statistics of batch norm; not looked at where
                there is none.
            call: how the network is given one of them; None calls it with the batch alone.

        Raises:
            InputError: nothing was taken at the chosen record, or there are no batches for batch norm.
        """
        stop = self.watch.stop
        if stop is None or not (records := self._store.averaged(stop.chosen)):
            raise InputError("`load_average` needs the chosen record, got none; call `take` after each `observe`")
        refreshed = len(records) > 1 and any(isinstance(layer, _BatchNorm) for layer in self.model.modules())
        inputs = iter(batches if refreshed else ())
        first = list(islice(inputs, 1))
        if refreshed and not first:
            raise InputError("`batches` must hold inputs for batch norm, got none; give those of the training")
        self.model.load_state_dict(self._store.average(stop.chosen))
        if refreshed:
            refresh_batch_norm(self.model, chain(first, inputs), call)
        self.model.eval()
        return records

    def state_dict(self) -> dict[str, Any]:
        """Return what is held of the weights: for checkpoints, beside the watch's own state."""
        return self._store.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            InputError: it holds anything else.
        """
        self._store.load_state_dict(state, self.model.state_dict())
