"""A training loop of one's own in torch: each epoch is recorded, a rule ends the training, weights are averaged.

No index travels with the batches: a sample's index is its position in the data set, and the monitor goes through that
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.adapters.evaluation import (
    absent_library,
    as_tensors,
    caller,
    calling,
    check_recorder,
    check_size,
    evaluating,
    in_order,
    logits_of,
    mixed,
    to_device,
)
from labelnoise.errors import InputError, check_integer, described
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutLoss, RunningMean, StopRule

try:
    from torch import Generator, nn
    from torch.utils.data import DataLoader, IterableDataset
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

from labelnoise.adapters.stopping import Stoppable, Stopping, check_rule, warn_of_average

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from labelnoise.training.config import Average

DEFAULT = HeldOutLoss()
"""The rule of a monitor that is given none, which is known by being this very value."""


class Monitor(Stoppable):
    """Record, stop and average in a training loop of one's own: one call after each epoch.

    Args:
        model: from a batch of inputs to logits (b, K), or one logit a sample of two classes; the loop trains it.
        recorder: of as many samples as the data set has; its held-out ones are not trained on.
        dataset: gives (input, label) at each position, or (input, another, label), without augmentation; the last is
            the given label.
        rule: says where to stop; by default HeldOutLoss(), with average="all" RunningMean(). None records only.
        average: of which epochs the weights are averaged, as in `KeptWeights`; of "all" with another rule that is given
            there is a warning.
        batch_size: samples that are evaluated at once.
        call: from the inputs of a batch, a list where a sample has several, to what the model returns. None calls the
            model with them: by name for a dict of its parameters' names, in their order for several, else as they are.

    Raises:
        InputError: an argument of another kind, a data set of another size than the recorder or of anything else than
            inputs with labels, a rule that looks at held-out samples where there are none, or a recorder that holds
            epochs already.

    Example:
        ``monitor = Monitor(model, Recorder(len(data), n_classes, held_out=mask), data)``, after each epoch
        ``if monitor.end_epoch(): break``, and after the loop ``monitor.load_average()``.
    """

    def __init__(
        self,
        model: nn.Module,
        recorder: Recorder,
        dataset: Dataset[tuple[Any, Any]],
        rule: StopRule | None = DEFAULT,
        average: Average = "onward",
        *,
        batch_size: int = 512,
        call: Callable[[Any], object] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"`model` must be a torch module, got {described(model)}; give the one of your loop")
        self.model, self.recorder, self.dataset = model, check_recorder(recorder), dataset
        parts = _check_dataset(dataset)
        check_size(recorder, dataset)
        if rule is DEFAULT and isinstance(average, str) and average == "all":
            rule = RunningMean()
        check_rule(rule, average, recorder)
        warn_of_average(rule, average)
        check_integer("batch_size", batch_size, 1, 512)
        if call is not None and not callable(call):
            raise InputError(f"`call` must be a function of a batch's inputs, got {described(call)}; or leave it out")
        self.batch_size = int(batch_size)
        self._several, self._given_call = parts > 2, call
        self._call = caller(model, self._several) if call is None else call
        self.rule, self.average = rule, average
        self._stopping = self._begin()

    def end_epoch(self) -> bool:
        """Evaluate all samples in eval mode, record them as an epoch, and return whether the training should end.

        Raises:
            InputError: the data set or the model gives anything else than inputs with labels, and logits.
        """
        parts = in_order(self.recorder.n_samples, self.batch_size)
        with evaluating(self.model):
            for index, (inputs, labels) in zip(parts, self._batches(parts), strict=True):
                with calling(self._given_call, inputs):
                    outputs = self._call(inputs)
                self.recorder.update(index, logits_of(outputs), labels)
        epoch = self.recorder.end_epoch()
        return self._stopping is not None and self._stopping.observe(epoch)

    def load_average(self) -> list[int]:
        """Put the average of the weights around the stop into the network, in eval mode; return its epochs, from 0.

        The statistics of batch norm are estimated anew on the samples that were trained on.

        Raises:
            InputError: there is no rule, no epoch yet, or batch norm and no sample that is not held out.
        """
        if self._stopping is None:
            raise InputError("`load_average` needs a rule, got None; give for example rule=HeldOutLoss()")
        if self.stop is None:
            raise InputError("`load_average` needs an epoch, got none; call `end_epoch` after each")
        parts = mixed(~self._stopping.held_out, self.batch_size)
        return self._stopping.load_average((inputs for inputs, _ in self._batches(parts)), self._call)

    def state_dict(self) -> dict[str, Any]:
        """Return the record, what the rule has seen and the weights that it may choose: for checkpoints."""
        return {
            "recorder": as_tensors(self.recorder.state_dict()),
            "stopping": self._stopping.state_dict() if self._stopping else None,
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned, in a new monitor.

        Raises:
            InputError: it is anything else, or of other data, another network, rule or average. Nothing is changed
                then.
        """
        if not isinstance(state, Mapping) or not {"recorder", "stopping"} <= state.keys():
            raise InputError(f"the state must be that of a Monitor, got {described(state)}; save its state_dict()")
        stopping = self._begin()
        if stopping:
            stopping.load_state_dict(state["stopping"])
        self.recorder.load_state_dict(state["recorder"])
        self._stopping = stopping

    def _begin(self) -> Stopping | None:
        """The rule before the first epoch, if there is one."""
        return None if self.rule is None else Stopping(self.model, self.recorder, self.rule, self.average)

    def _batches(self, parts: Iterable[np.ndarray]) -> Iterator[tuple[Any, Any]]:
        """Inputs and labels at these positions, inputs on the network's device."""
        device = next((tensor.device for tensor in self.model.parameters()), "cpu")
        places = [part.tolist() for part in parts]
        own = Generator()  # a loader without one draws a number of the loop's
        for *inputs, labels in DataLoader(self.dataset, batch_sampler=places, generator=own):
            yield to_device(inputs if self._several else inputs[0], device), labels


def _check_dataset(dataset: Any) -> int:
    """Return how many parts a sample has, its label the last; refuse what does not give (input, label) by position."""
    remedy = "use for example torch.utils.data.TensorDataset(x, y) with all samples, held-out ones included"
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not sized or isinstance(dataset, IterableDataset | DataLoader) or not len(dataset):
        raise InputError(f"`dataset` must give samples by position, got {described(dataset)}; {remedy}")
    try:
        sample = dataset[0]
    except (KeyError, IndexError, TypeError):  # a table, whose columns have names
        raise InputError(f"`dataset` must give samples by position, got {described(dataset)}; {remedy}") from None
    if not isinstance(sample, list | tuple) or len(sample) < 2:
        raise InputError(f"`dataset` must give (input, label), got {described(sample)} at position 0; {remedy}")
    label = sample[-1]
    if isinstance(label, str | Mapping | list | tuple) or np.ndim(label):
        raise InputError(
            f"`dataset` must give (input, label) with an integer as label, the last part, got {described(label)} as "
            f"label of the sample at position 0; {remedy}"
        )
    return len(sample)
