"""A callback of skorch: each epoch of `fit` is an epoch of a record, over all samples that `fit` was given."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelnoise.adapters.evaluation import absent_library
from labelnoise.record.recorder import BUDGET, Recorder

try:
    import torch
    from skorch.callbacks import Callback
    from skorch.dataset import unpack_data
    from torch import nn
    from torch.utils.data import Subset
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None


class RecorderCallback(Callback):
    """Record every epoch, in eval mode, in the order of the data that `fit` was given.

    After `fit`, `recorder_` is the record. Its held-out samples are those that the net's `train_split` kept for
    validation, a fifth by skorch's default. A net with `NLLLoss`, skorch's default, gives probabilities, one with
    another criterion logits. A net that goes on (`warm_start`, `partial_fit`) goes on in the same record.

    Args:
        n_classes: number of classes; None counts the net's `classes_`.
        history: whether every epoch is kept, as in `Recorder`.
        budget: bytes of history in memory, as in `Recorder`.

    Example:
        ``NeuralNetClassifier(Net, callbacks=[("recorder", RecorderCallback())])``
    """

    def __init__(self, n_classes: int | None = None, history: bool = True, budget: int = BUDGET) -> None:
        self.n_classes, self.history, self.budget = n_classes, history, budget

    def initialize(self) -> RecorderCallback:
        """Forget the record of a net that starts again."""
        self.recorder_: Recorder | None = None
        return self

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Evaluate, and record."""
        whole: Any = dataset_train.dataset if isinstance(dataset_train, Subset) else dataset_train
        recorder = self.recorder_ = self.recorder_ or self._start(net, dataset_train, len(whole))
        start = 0
        for batch in net.get_iterator(whole, training=False):
            labels, outputs = unpack_data(batch)[1], net.evaluation_step(batch, training=False)
            logits = outputs[0] if isinstance(outputs, tuple) else outputs
            index = np.arange(start, start := start + len(labels))
            update = recorder.update_proba if isinstance(net.criterion_, nn.NLLLoss) else recorder.update
            update(index, logits, labels.to(torch.int64))
        recorder.end_epoch()

    def _start(self, net: Any, trained: Any, n: int) -> Recorder:
        """A recorder of all samples; those that are not trained on are held out."""
        held_out = None
        if isinstance(trained, Subset):
            held_out = np.ones(n, bool)
            held_out[np.asarray(trained.indices)] = False
        n_classes = len(net.classes_) if self.n_classes is None else self.n_classes
        return Recorder(n, n_classes, held_out=held_out, history=self.history, budget=self.budget)
