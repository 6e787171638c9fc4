"""A callback of skorch: an epoch of `fit` is one of a record, over all samples that it was given; a rule may end it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.adapters.evaluation import absent_library, logits_of, mixed
from labelnoise.errors import InputError
from labelnoise.record.recorder import BUDGET, Recorder
from labelnoise.record.stop_rules import StopRule
from labelnoise.record.stopping import Stop

try:
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback
    from skorch.dataset import unpack_data
    from skorch.utils import to_tensor
    from torch import nn
    from torch.utils.data import Subset
except ModuleNotFoundError as absent:
    raise absent_library(__name__, absent) from None

from labelnoise.adapters.stopping import Stopping, check_rule, warn_of_average

if TYPE_CHECKING:
    from jaxtyping import Bool

    from labelnoise.training.config import Average


class RecorderCallback(Callback):
    """Record every epoch, in eval mode, in the order of the data that `fit` was given; with a rule, stop in time.

    After `fit`, `recorder_` is the record, `stop_` what the rule said, `averaged_` the epochs, from 0, of the average
    that the net holds. Held-out samples are those that the net's `train_split` keeps for validation, a fifth by
    default. A `NeuralNetClassifier` with `NLLLoss`, its default, gives probabilities, any other net logits. A net that
    goes on (`warm_start`, `partial_fit`) goes on in the same record.

    Args:
        n_classes: number of classes; None counts the net's `classes_`.
        history: whether every epoch is kept, as in `Recorder`.
        budget: bytes of history in memory, as in `Recorder`.
        rule: as in `Monitor`. It ends an epoch before callbacks that stand behind this one, so let it be the last. Of
            a net that goes on it goes on, too.
        average: as in `Monitor`; the net holds it in the end.

    Example:
        ``NeuralNetClassifier(Net, callbacks=[("recorder", RecorderCallback())])``
    """

    def __init__(
        self,
        n_classes: int | None = None,
        history: bool = True,
        budget: int = BUDGET,
        rule: StopRule | None = None,
        average: Average = "onward",
    ) -> None:
        self.n_classes, self.history, self.budget = n_classes, history, budget
        self.rule, self.average = rule, average

    def initialize(self) -> RecorderCallback:
        """Forget the record of a net that starts again."""
        check_rule(self.rule, self.average)
        warn_of_average(self.rule, self.average)
        self.recorder_: Recorder | None = None
        self.stopping_: Stopping | None = None
        self.stop_: Stop | None = None
        self.averaged_: list[int] | None = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Refuse a rule where nothing is held out."""
        self._given, self._trained = X, None
        if self.rule is not None and self.rule.needs_held_out and net.train_split is None:
            raise _nothing_held_out(self.rule)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Keep what is trained on, for an epoch that does not end; refuse other samples than those of the record."""
        self._trained = dataset_train
        if self.recorder_:
            _check_same(self.recorder_, self._parts(dataset_train)[1])

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Evaluate, record, and end the training where the rule says so, in the way of skorch's own callbacks."""
        whole, held_out = self._parts(dataset_train)
        recorder = self.recorder_ = self.recorder_ or self._start(net, held_out)
        start = 0
        for batch in net.get_iterator(whole, training=False):
            labels, outputs = unpack_data(batch)[1], net.evaluation_step(batch, training=False)
            index = np.arange(start, start := start + len(labels))
            update = recorder.update_proba if _gives_probabilities(net) else recorder.update
            update(index, logits_of(outputs), labels.to(torch.int64))
        epoch = recorder.end_epoch()
        if self.stopping_:
            ended = self.stopping_.observe(epoch)
            self.stop_ = self.stopping_.stop
            if ended:
                raise KeyboardInterrupt

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the average of the weights around the stop into the net."""
        if self.stopping_ and self.stop_ and self._trained is not None:
            self.averaged_ = self.stopping_.load_average(_inputs(net, self._trained))
        self._given = self._trained = None  # no net is written with its data

    def _parts(self, trained: Any) -> tuple[Any, Bool[np.ndarray, " n"]]:
        """All samples that `fit` was given, and which of them the net's split has held out."""
        split = isinstance(trained, Subset) and trained is not self._given
        whole = trained.dataset if split else trained
        held_out = np.ones(len(whole), bool)
        held_out[np.asarray(trained.indices if split else range(len(whole)))] = False
        return whole, held_out

    def _start(self, net: Any, held_out: Bool[np.ndarray, " n"]) -> Recorder:
        """A recorder of all samples."""
        n_classes = len(net.classes_) if self.n_classes is None else self.n_classes
        recorder = Recorder(len(held_out), n_classes, held_out=held_out, history=self.history, budget=self.budget)
        if self.rule is not None:
            if self.rule.needs_held_out and not held_out.any():
                raise _nothing_held_out(self.rule)
            self.stopping_ = Stopping(net.module_, recorder, self.rule, self.average)
        return recorder


def _gives_probabilities(net: Any) -> bool:
    """Whether a net's module ends in a softmax: a classifier of skorch takes the logarithms for this loss itself."""
    return isinstance(net, NeuralNetClassifier) and isinstance(net.criterion_, nn.NLLLoss)


def _check_same(recorder: Recorder, held_out: Bool[np.ndarray, " n"]) -> None:
    """Refuse to go on with other samples, or with samples that were held out before."""
    before = recorder.held_out
    if not np.array_equal(held_out, np.zeros(recorder.n_samples, bool) if before is None else before):
        raise InputError(
            "a net that goes on must be given the same samples and hold the same of them out, got others; make "
            "train_split repeat itself, as ValidSplit(5) does, or start again by `fit`"
        )


def _nothing_held_out(rule: StopRule) -> InputError:
    return InputError(
        f"`train_split` must keep samples of the data for validation, got none; {rule!r} looks at them: give for "
        "example train_split=ValidSplit(10)"
    )


def _inputs(net: Any, trained: Any) -> Iterator[Any]:
    """Inputs of what was trained on, mixed, two or more at once."""
    size = net.batch_size if net.batch_size > 0 else len(trained)  # -1 is all of them at once
    how = net.get_params_for("iterator_valid")
    for part in mixed(np.ones(len(trained), bool), size):
        how["batch_size"] = len(part)
        for batch in net.iterator_valid(Subset(trained, part.tolist()), **how):
            inputs, labels = unpack_data(batch)
            if len(labels) > 1:
                yield to_tensor(inputs, device=net.device)
