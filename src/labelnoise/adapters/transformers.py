"""A callback of the Trainer of Hugging Face: after each epoch the model is evaluated on the data, in their order.

No index travels with the batches: a sample's index is its position in the data set, and the callback goes through
that itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.adapters.evaluation import absent_library, check_recorder, evaluating
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.runs.files import read_arrays, write_arrays

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

FILE = "recorder.npz"
"""The record beside each checkpoint."""


class RecorderCallback(TrainerCallback):
    """Record every epoch, in eval mode.

    Args:
        recorder: of as many samples as the data set has.
        dataset: every sample that is recorded, also those that are held out; None takes the Trainer's `train_dataset`.
        collator: makes a batch with `labels` of a list of samples; None takes the Trainer's own.

    Example:
        ``Trainer(model, args, train_dataset=data, callbacks=[RecorderCallback(Recorder(len(data), n_classes))])``
    """

    def __init__(
        self,
        recorder: Recorder,
        dataset: Sequence[Any] | None = None,
        collator: Callable[[list[Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.recorder, self.dataset, self.collator = check_recorder(recorder), dataset, collator

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the record beside the checkpoint that the Trainer goes on from."""
        path = _path(args, state)
        if state.global_step and path.is_file():
            self.recorder.load_state_dict(read_arrays(path, "resume from another checkpoint"))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate, and record."""
        model, loader = kwargs["model"], kwargs["train_dataloader"]
        dataset = loader.dataset if self.dataset is None else self.dataset
        collate = self.collator or loader.collate_fn
        if (n := len(dataset)) != self.recorder.n_samples:
            raise InputError(
                f"`recorder` must have a place for each of the {n} samples, got {self.recorder.n_samples}; "
                f"make Recorder({n}, ...)"
            )
        with evaluating(model):
            for start in range(0, n, args.eval_batch_size):
                index = np.arange(start, min(start + args.eval_batch_size, n))
                batch = dict(collate([dataset[int(at)] for at in index]))
                if "labels" not in batch:
                    raise InputError(
                        f"the batches must hold `labels`, got {', '.join(batch)}; name the column so or give `collator`"
                    )
                labels = batch.pop("labels")
                outputs = model(**{name: value.to(args.device) for name, value in batch.items()})
                self.recorder.update(index, outputs.logits, labels)
        self.recorder.end_epoch()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the record beside the checkpoint."""
        if state.is_world_process_zero:
            write_arrays(_path(args, state), self.recorder.state_dict())


def _path(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / FILE
