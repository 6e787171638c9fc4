"""A callback of Lightning: an epoch of training is one of a record, a rule may end it, and checkpoints hold both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.adapters.evaluation import (
    absent_library,
    as_tensors,
    check_recorder,
    evaluating,
    logits_of,
    mixed,
    of_each_tensor,
)
from labelnoise.errors import InputError, described
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import StopRule

try:
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as newer:
        try:
            from pytorch_lightning import Callback  # the same under its older name
        except ModuleNotFoundError:
            raise newer from None
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

from labelnoise.adapters.stopping import Stoppable, Stopping, check_rule, warn_of_average

if TYPE_CHECKING:
    from jaxtyping import Bool
    from lightning.pytorch import LightningModule, Trainer

    from labelnoise.training.config import Average

KEYS = ("index", "logits", "labels")
"""What a training step returns beside its loss, where there are no batches to evaluate."""


class RecorderCallback(Stoppable, Callback):
    """Record every training epoch; with a rule, stop in time and leave the averaged weights in the module.

    Args:
        recorder: of all samples.
        batches: goes through the samples once an epoch, and gives (index, inputs, labels): the network is evaluated on
            them in eval mode after each epoch. None records what the training steps return, in train mode: a dict
            with `index`, `logits` and `labels` beside `loss`. With a rule and batch norm a DataLoader of single
            samples is gone through in a mixed order in the end; let anything else mix the classes itself.
        rule: as in `Monitor`.
        average: as in `Monitor`; the module holds it in the end. The checkpoints of Lightning hold the weights of their
            own epoch.

    Raises:
        InputError: an argument of another kind, a rule without `batches`, or without held-out samples that it needs.

    Example:
        ``Trainer(callbacks=[RecorderCallback(recorder, DataLoader(indexed, batch_size=512))])``
    """

    def __init__(
        self,
        recorder: Recorder,
        batches: Iterable[tuple[Any, Any, Any]] | None = None,
        rule: StopRule | None = None,
        average: Average = "onward",
    ) -> None:
        self.recorder, self.batches = check_recorder(recorder), batches
        check_rule(rule, average, recorder)
        warn_of_average(rule, average)
        if rule is not None and batches is None:
            raise InputError("`batches` must be given with a rule, got None; it looks at all samples in eval mode")
        if batches is not None and (not isinstance(batches, Iterable) or iter(batches) is batches):
            raise InputError(
                f"`batches` must be gone through once an epoch, got {described(batches)}; give a DataLoader of (index, "
                "inputs, labels)"
            )
        self.rule, self.average = rule, average
        self._recorded, self._fits = -1, True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the rule begin, before a checkpoint is read; it goes on where the same module is trained on."""
        self._fits = stage == "fit"
        if not self._fits:
            return
        self._recorded = -1
        if self.rule is not None and (self._stopping is None or self._stopping.model is not pl_module):
            self._stopping = Stopping(pl_module, self.recorder, self.rule, self.average)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record what the training step returned, where there are no batches to evaluate; and the epoch after its last.

        Checkpoints may be written then, and after the validation that follows.
        """
        if self.batches is None:
            self._take(outputs)
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._record(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch where it ended before its last batch."""
        self._record(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average of the weights around the stop into the module."""
        if self._stopping and self.stop:
            batches = _on_device(_mixed(self.batches), trainer, pl_module)
            inputs = _trained_inputs(batches, self._stopping.held_out)
            with evaluating(pl_module), trainer.precision_plugin.forward_context():  # the modes are Lightning's
                self._stopping.load_average(inputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the record and what the rule goes by, for checkpoints."""
        stopping = self._stopping.state_dict() if self._stopping else None
        return {
            "recorder": as_tensors(self.recorder.state_dict()), "recorded": self._recorded, "stopping": stopping,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; one whose weights are only evaluated moves no record."""
        if not self._fits:
            return
        if self._stopping:
            self._stopping.load_state_dict(state_dict.get("stopping"))
        self.recorder.load_state_dict(state_dict["recorder"])
        self._recorded = state_dict["recorded"]

    def _take(self, outputs: Any) -> None:
        """What a training step returned."""
        if not isinstance(outputs, dict) or any(key not in outputs for key in KEYS):
            got = sorted(outputs) if isinstance(outputs, dict) else described(outputs)
            raise InputError(
                f"`training_step` must return a dict with {', '.join(KEYS)} beside loss, got {got}; or give `batches`"
            )
        self.recorder.update(*(outputs[key] for key in KEYS))

    def _record(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once an epoch."""
        if self._recorded == trainer.current_epoch:
            return
        if self.batches is not None:
            with evaluating(pl_module), trainer.precision_plugin.forward_context():
                for index, inputs, labels in _on_device(self.batches, trainer, pl_module):
                    self.recorder.update(index, logits_of(pl_module(inputs)), labels)
        epoch = self.recorder.end_epoch()
        self._recorded = trainer.current_epoch
        if self._stopping and self._stopping.observe(epoch):
            trainer.should_stop = True


def _on_device(
    batches: Iterable[tuple[Any, Any, Any]], trainer: Trainer, pl_module: LightningModule
) -> Iterator[tuple[Any, Any, Any]]:
    """The batches where the module lies, inputs in its precision."""
    for batch in batches:
        if not isinstance(batch, list | tuple) or len(batch) != 3:
            raise InputError(
                f"`batches` must give (index, inputs, labels), got {described(batch)}; use for example "
                "DataLoader(TensorDataset(torch.arange(len(x)), x, y), 512)"
            )
        index, inputs, labels = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
        yield index, trainer.precision_plugin.convert_input(inputs), labels


def _mixed(batches: Any) -> Iterable[tuple[Any, Any, Any]]:
    """The samples of a DataLoader in an order that mixes them; what does not take them one by one as it is."""
    if (
        not isinstance(batches, DataLoader)
        or batches.batch_size is None
        or isinstance(batches.dataset, IterableDataset)
    ):
        return batches
    order = np.array([*batches.sampler])
    parts = [order[part].tolist() for part in mixed(np.ones(order.size, bool), batches.batch_size)]
    return DataLoader(batches.dataset, batch_sampler=parts, collate_fn=batches.collate_fn, generator=torch.Generator())


def _trained_inputs(batches: Iterator[tuple[Any, Any, Any]], held_out: Bool[np.ndarray, " n"]) -> Iterator[Any]:
    """Inputs of two or more samples that were trained on."""
    for index, inputs, _ in batches:
        trained = torch.as_tensor(~held_out, device=index.device)[index]
        if trained.sum() > 1:
            yield of_each_tensor(itemgetter(trained), inputs)
