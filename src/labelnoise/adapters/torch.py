"""A training loop of one's own in torch: each epoch is recorded, a rule ends the training, weights are averaged.

No index travels with the batches: a sample's index is its position in the data set, and the monitor goes through that
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.adapters.evaluation import (
    absent_library,
    as_tensors,
    check_recorder,
    check_size,
    evaluating,
    in_order,
    mixed,
    to_device,
)
from labelnoise.errors import InputError, check_integer, described
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutLoss, StopRule
from labelnoise.record.stopping import Stop

try:
    from torch import Generator, nn
    from torch.utils.data import DataLoader
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

from labelnoise.adapters.stopping import Stopping, check_rule

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from labelnoise.training.config import Average

DEFAULT = HeldOutLoss()
"""The rule of a monitor."""


class Monitor:
    """Record, stop and average in a training loop of one's own: one call after each epoch.

    Args:
        model: from a batch of inputs to logits (b, K), or one logit a sample of two classes; the loop trains it.
        recorder: of as many samples as the data set has; its held-out ones are not trained on.
        dataset: gives (input, label) at each position, without augmentation; labels are the given ones.
        rule: says where to stop, as `HeldOutLoss(patience=20)` does; None records only.
        average: records around the chosen one whose weights are averaged, an odd number; 1 for that one alone, "all"
            for all up to it, with the rule `RunningMean`.
        batch_size: samples that are evaluated at once.

    Raises:
        InputError: an argument of another kind, a data set of another size than the recorder, or a rule that looks at
            held-out samples where there are none.

    Example:
        ``monitor = Monitor(model, Recorder(len(data), n_classes, held_out=mask), data)``, after each epoch
        ``if monitor.end_epoch(): break``, and after the loop ``monitor.load_average()``.
    """

    def __init__(
        self,
        model: nn.Module,
        recorder: Recorder,
        dataset: Dataset[tuple[Any, Any]],
        *,
        rule: StopRule | None = DEFAULT,
        average: Average = 5,
        batch_size: int = 512,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"`model` must be a torch module, got {described(model)}; give the one of your loop")
        self.model, self.recorder, self.dataset = model, check_recorder(recorder), dataset
        check_rule(rule, average, recorder)
        check_integer("batch_size", batch_size, 1, 512)
        self.batch_size = int(batch_size)
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise InputError(
                f"`dataset` must have a length and positions, got {described(dataset)}; use for example "
                "torch.utils.data.TensorDataset(x, y)"
            )
        check_size(recorder, dataset)
        self._stopping = None if rule is None else Stopping(model, recorder, rule, average)

    @property
    def stop(self) -> Stop | None:
        """What the rule says of the epochs so far; None before the first, and without a rule."""
        return self._stopping.watch.stop if self._stopping else None

    def end_epoch(self) -> bool:
        """Evaluate all samples in eval mode, record them as an epoch, and return whether the training should end.

        Raises:
            InputError: the data set or the model gives anything else than inputs with labels, and logits.
        """
        parts = in_order(self.recorder.n_samples, self.batch_size)
        with evaluating(self.model):
            for index, (inputs, labels) in zip(parts, self._batches(parts), strict=True):
                self.recorder.update(index, self.model(inputs), labels)
        epoch = self.recorder.end_epoch()
        return self._stopping is not None and self._stopping.observe(epoch)

    def load_average(self) -> list[int]:
        """Put the average of the weights around the stop into the network, in eval mode; return its epochs, from 0.

        The statistics of batch norm are estimated anew on the samples that were trained on.

        Raises:
            InputError: there is no rule, or no epoch yet.
        """
        if self._stopping is None:
            raise InputError("`load_average` needs a rule, got None; give for example rule=HeldOutLoss()")
        parts = mixed(~self._stopping.held_out, self.batch_size)
        return self._stopping.load_average(inputs for inputs, _ in self._batches(parts))

    def state_dict(self) -> dict[str, Any]:
        """Return the record, what the rule has seen and the weights that it may choose: for checkpoints."""
        return {
            "recorder": as_tensors(self.recorder.state_dict()),
            "stopping": self._stopping.state_dict() if self._stopping else None,
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            InputError: it is anything else, or of other data or of another network.
        """
        if not isinstance(state, Mapping) or not {"recorder", "stopping"} <= state.keys():
            raise InputError(f"the state must be that of a Monitor, got {described(state)}; save its state_dict()")
        self.recorder.load_state_dict(state["recorder"])
        if self._stopping:
            self._stopping.load_state_dict(state["stopping"])

    def _batches(self, parts: Iterable[np.ndarray]) -> Iterator[tuple[Any, Any]]:
        """Inputs and labels at these positions, on the network's device."""
        device = next((tensor.device for tensor in self.model.parameters()), "cpu")
        places = [part.tolist() for part in parts]
        for batch in DataLoader(
            self.dataset, batch_sampler=places, generator=Generator()
        ):  # not the loop's own numbers
            if not isinstance(batch, list | tuple) or len(batch) != 2:
                raise InputError(
                    f"`dataset` must give (input, label), got {described(batch)}; wrap it in one that does"
                )
            yield to_device(batch[0], device), batch[1]
