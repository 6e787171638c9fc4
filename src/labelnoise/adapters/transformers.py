"""A callback of the Trainer of Hugging Face: after each epoch the model is evaluated on the data, in their order.

A rule may end the training then. No index travels with the batches: a sample's index is its position in the data set,
and the callback goes through that itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.adapters.evaluation import (
    absent_library,
    check_recorder,
    check_size,
    evaluating,
    in_order,
    logits_of,
    mixed,
    to_device,
)
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import StopRule
from labelnoise.runs.files import read_arrays, write_arrays

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

from labelnoise.adapters.stopping import Stoppable, Stopping, check_rule, warn_of_average
from labelnoise.training.checkpoints import read_tensors, write_tensors

if TYPE_CHECKING:
    from labelnoise.training.config import Average

FILE, STOPPING = "recorder.npz", "stopping.pt"
"""The record beside each checkpoint, and what a rule has seen with the weights that it may choose."""


class RecorderCallback(Stoppable, TrainerCallback):
    """Record every epoch, in eval mode; with a rule, stop in time and leave the averaged weights in the model.

    Args:
        recorder: of as many samples as the data set has.
        dataset: every sample that is recorded, also those that are held out; None takes the Trainer's `train_dataset`.
        collator: makes a batch with `labels` of a list of samples; None takes the Trainer's own.
        rule: as in `Monitor`.
        average: as in `Monitor`; the model holds it in the end. The Trainer's checkpoints hold the weights of their own
            epoch.

    Raises:
        InputError: an argument of another kind, or a rule that looks at held-out samples where there are none.

    Example:
        ``Trainer(model, args, train_dataset=data, callbacks=[RecorderCallback(Recorder(len(data), n_classes))])``
    """

    def __init__(
        self,
        recorder: Recorder,
        dataset: Sequence[Any] | None = None,
        collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        rule: StopRule | None = None,
        average: Average = "onward",
    ) -> None:
        self.recorder, self.dataset, self.collator = check_recorder(recorder), dataset, collator
        check_rule(rule, average, recorder)
        warn_of_average(rule, average)
        self.rule, self.average = rule, average
        self._recorded = 0
        """The step after which the last epoch was recorded."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the data, and go on from the record beside the checkpoint that the Trainer goes on from.

        Raises:
            InputError: data that are none or of another size than the recorder, or an `output_dir` that holds no record
                of that checkpoint, or of another rule.
        """
        check_size(self.recorder, self._data(kwargs["train_dataloader"]))
        self._recorded = state.global_step
        model, folder, stopping = kwargs["model"], _folder(args, state), self._stopping
        if self.rule is not None and (stopping is None or stopping.model is not model):
            self._stopping = Stopping(model, self.recorder, self.rule, self.average)
        if not state.global_step:
            return
        if not (folder / FILE).is_file():
            raise InputError(
                f"`output_dir` must hold the record of step {state.global_step}, from which the Trainer goes on, got "
                f"none at {folder / FILE}; go on in the folder in which the training was begun with this callback"
            )
        if self._stopping:
            self._stopping.load_state_dict(read_tensors(folder / STOPPING) if (folder / STOPPING).is_file() else None)
        self.recorder.load_state_dict(read_arrays(folder / FILE, "resume from another checkpoint"))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate, record, and end the training where the rule says so."""
        if self._recorded != state.global_step:
            self._record(args, state, control, kwargs["model"], kwargs["train_dataloader"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the average of the weights around the stop into the model."""
        if self._stopping and self.stop:
            parts = mixed(~self._stopping.held_out, args.eval_batch_size)
            batches = self._batches(kwargs["train_dataloader"], parts, args.device)
            self._stopping.load_average((inputs for inputs, _ in batches), partial(_outputs, kwargs["model"]))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the record, and what the rule goes by, beside the checkpoint; that of a last step holds its epoch."""
        if float(state.epoch or 0).is_integer() and self._recorded != state.global_step:
            self._record(args, state, control, kwargs["model"], kwargs["train_dataloader"])
        if state.is_world_process_zero:
            folder = _folder(args, state)
            write_arrays(folder / FILE, self.recorder.state_dict())
            if self._stopping:
                write_tensors(folder / STOPPING, self._stopping.state_dict())

    def _record(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any, loader: Any
    ) -> None:
        """Evaluate all samples as an epoch, and let the rule see it."""
        parts = in_order(self.recorder.n_samples, args.eval_batch_size)
        with evaluating(model):
            for index, (inputs, labels) in zip(parts, self._batches(loader, parts, args.device), strict=True):
                self.recorder.update(index, logits_of(_outputs(model, inputs)), labels)
        epoch = self.recorder.end_epoch()
        self._recorded = state.global_step
        if self._stopping and self._stopping.observe(epoch):
            control.should_training_stop = True

    def _data(self, loader: Any) -> Any:
        """Every sample that is recorded, with the columns that the Trainer has left to the model."""
        if self.dataset is None:
            return loader.dataset
        kept = getattr(loader.dataset, "column_names", None)
        return self.dataset.select_columns(kept) if kept and hasattr(self.dataset, "select_columns") else self.dataset

    def _batches(self, loader: Any, parts: Iterable[np.ndarray], device: Any) -> Iterator[tuple[dict[str, Any], Any]]:
        """What the model is given of the samples at these positions, and their labels."""
        dataset, collate = self._data(loader), self.collator or loader.collate_fn
        for part in parts:
            batch = dict(collate([dataset[int(at)] for at in part]))
            if "labels" not in batch:
                raise InputError(
                    f"the batches must hold `labels`, got {', '.join(batch)}; name the column so or give `collator`"
                )
            labels = batch.pop("labels")
            yield to_device(batch, device), labels


def _outputs(model: Any, inputs: dict[str, Any]) -> Any:
    """What a model makes of the inputs that it takes; a loss of one's own may take others, such as weights."""
    taken = inspect.signature(model.forward).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    return model(**{name: value for name, value in inputs.items() if every or name in taken})


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
