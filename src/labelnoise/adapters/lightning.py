"""A callback of Lightning: each training epoch is an epoch of a record, and checkpoints hold the record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labelnoise.adapters.evaluation import absent_library, check_recorder, evaluating
from labelnoise.errors import InputError, described
from labelnoise.record.recorder import Recorder

try:
    import torch

    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as newer:
        try:
            from pytorch_lightning import Callback  # the same under its older name
        except ModuleNotFoundError:
            raise newer from None
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

KEYS = ("index", "logits", "labels")
"""What a training step returns beside its loss, where there are no batches to evaluate."""


class RecorderCallback(Callback):
    """Record every training epoch.

    Args:
        recorder: of all samples.
        batches: goes through the samples once an epoch, and gives (index, inputs, labels): the network is evaluated on
            them in eval mode after each epoch. None records what the training steps return, in train mode: a dict
            with `index`, `logits` and `labels` beside `loss`.

    Example:
        ``Trainer(callbacks=[RecorderCallback(recorder, DataLoader(indexed, batch_size=512))])``
    """

    def __init__(self, recorder: Recorder, batches: Iterable[tuple[Any, Any, Any]] | None = None) -> None:
        self.recorder, self.batches = check_recorder(recorder), batches
        self._recorded = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record what the training step returned, where there are no batches to evaluate."""
        if self.batches is not None:
            return
        if not isinstance(outputs, dict) or any(key not in outputs for key in KEYS):
            got = sorted(outputs) if isinstance(outputs, dict) else described(outputs)
            raise InputError(
                f"`training_step` must return a dict with {', '.join(KEYS)} beside loss, got {got}; or give `batches`"
            )
        self.recorder.update(*(outputs[key] for key in KEYS))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record before the validation at the end of an epoch: checkpoints may be written after it."""
        if not trainer.sanity_checking and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._record(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        self._record(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the record, for checkpoints."""
        state = {name: torch.from_numpy(array) for name, array in self.recorder.state_dict().items()}
        return {"recorder": state, "recorded": self._recorded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.recorder.load_state_dict(state_dict["recorder"])
        self._recorded = state_dict["recorded"]

    def _record(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once an epoch."""
        if self._recorded == trainer.current_epoch:
            return
        if self.batches is not None:
            with evaluating(pl_module):
                for batch in self.batches:
                    index, inputs, labels = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
                    self.recorder.update(index, pl_module(inputs), labels)
        self.recorder.end_epoch()
        self._recorded = trainer.current_epoch
