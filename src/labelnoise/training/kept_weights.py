"""Weights kept while a network is trained in a loop of one's own, and their average put into it in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.errors import InputError, described
from labelnoise.record.watching import Watch
from labelnoise.training.averaging import are_finite, refresh_batch_norm
from labelnoise.training.config import Average, check_average
from labelnoise.training.weight_stores import weight_store


class KeptWeights:
    """A network's weights at and after the records that a watch may choose: for a training loop of one's own.

    It holds about five copies; with a number as the average as many as that, and some more while several records may be
    chosen. `fit` does the same by itself.

    Args:
        model: the network, which goes on being trained.
        watch: observes a record before each `take`.
        average: of which records: "onward" for nine, the first of them two before the chosen one; an odd number for so
            many around it, 1 for that one alone; "all" for all up to it, which goes with the rule `RunningMean`.
    """

    def __init__(self, model: nn.Module, watch: Watch, average: Average = "onward") -> None:
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
        """Take the weights as those of the last record that the watch observed; forget what is of no further use.

        Weights that are not finite are passed over: they would spoil any average, and no rule chooses them.
        """
        if not self.watch.records:
            raise InputError("`take` needs an observed record, got none; call the watch's `observe` first")
        if are_finite(self.model):
            self._store.take(self.model.state_dict(), self.watch)

    def load_average(self, batches: Iterable[Any] = (), call: Callable[[Any], object] | None = None) -> list[int]:
        """Put the average of the chosen record into the network, in eval mode; return its records, from 0.

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
