"""The record that everything later reads: margin, loss and predicted class of each sample in each epoch.

One pass over the outputs gives all three. On a GPU the cost of an update is the launch of some thirty small kernels
and one synchronisation, which the checks need, so large batches are cheap and many small ones are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import Array, check_memory
from labelnoise.errors import InputError, described, is_number
from labelnoise.record import merging, states
from labelnoise.record.epochs import OpenEpoch
from labelnoise.record.history import BYTES, EpochRecord, EpochSeries, History
from labelnoise.record.inputs import check_settings, read_held_out
from labelnoise.record.measures import (
    Measures,
    check_probabilities,
    measure_logits,
    measure_probabilities,
    read_batch,
    read_outputs,
)
from labelnoise.record.sums import Accumulator, LeastLoss, Rule, RunningSums, class_type

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Int, Integer, Real
    from numpy.typing import ArrayLike

    Values = np.ndarray | torch.Tensor

BUDGET = 2**30
"""Bytes of history in memory; what exceeds them lies in files."""


class Recorder:
    """Record margin, loss and prediction of each sample in each epoch, from any training loop.

    Call `update` for each batch, in any order, and `end_epoch` after the last one. A sample that was not seen in an
    epoch has margin and loss NaN and prediction -1 there; so has one whose logits are not numbers, because a run
    that diverges is worth recording too (its loss may be infinite); the first such epoch is warned of.

    Args:
        n_samples: number of samples; each has a position in 0..n_samples-1.
        n_classes: number of classes, at least 2.
        held_out: (n,) true for the samples that are recorded and not trained on: their loss tells where to stop.
        history: whether every epoch is kept, at 12 bytes a sample and epoch; else `sums` alone are, in at most 40 bytes
            a sample up to 255 epochs and 32,768 classes.
        budget: bytes of history in memory; epochs beyond it lie in a temporary folder, deleted with the recorder.
        stop: where `sums` stop, from the held-out losses so far; None for the least mean of three, `LeastLoss()`.

    Example:
        >>> recorder = Recorder(n_samples=3, n_classes=2)
        >>> recorder.update(np.array([2, 0]), np.array([[1.0, 3.0], [0.5, 0.0]]), np.array([1, 1]))
        >>> recorder.end_epoch().margin
        array([-0.5,  nan,  2. ], dtype=float32)
    """

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        *,
        held_out: Bool[ArrayLike, " n"] | None = None,
        history: bool = True,
        budget: int = BUDGET,
        stop: Rule | None = None,
    ) -> None:
        check_settings(n_samples, n_classes, history, budget, stop)
        self.n_samples, self.n_classes = int(n_samples), int(n_classes)
        check_memory(40 * self.n_samples, "record fewer samples, or parts of them by several recorders", "the record")
        self._rule = LeastLoss() if stop is None else stop
        self._history = History(self.n_samples, int(budget)) if history else None
        self._given: np.ndarray = np.full(self.n_samples, -1, dtype=class_type(self.n_classes))
        mask = read_held_out(held_out, self.n_samples)
        self._sums = Accumulator(self.n_samples, self.n_classes, mask if mask.any() else None, self._rule)
        self._epoch: OpenEpoch | None = None
        self._warned = False

    @property
    def epochs(self) -> int:
        """Number of epochs that were ended."""
        return self._sums.epochs

    @property
    def history(self) -> bool:
        """Whether every epoch is kept."""
        return self._history is not None

    @property
    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """Mask (n,) of the samples that are recorded and not trained on; None where there are none."""
        mask = self._sums.held_out
        return None if mask is None else mask.copy()

    @property
    def margin(self) -> EpochSeries:
        """Margins (epochs, n) float32, read where they are indexed: `margin[-1]` copies one epoch."""
        return self._series("margin")

    @property
    def loss(self) -> EpochSeries:
        """Losses (epochs, n) float32, read where they are indexed."""
        return self._series("loss")

    @property
    def prediction(self) -> EpochSeries:
        """Predicted classes (epochs, n) int32, read where they are indexed."""
        return self._series("prediction")

    @property
    def sums(self) -> RunningSums:
        """Sums over the epochs so far, kept whether there is a history or not."""
        return self._sums.sums()

    @property
    def given(self) -> Int[np.ndarray, " n"]:
        """Given labels (n,) int64; -1 for a sample that was never seen."""
        if self._epoch:
            self._epoch.keep_labels()
        return self._given.astype(np.int64)

    @property
    def bytes_a_sample(self) -> float:
        """Bytes of memory a sample while an epoch is under way, without the history."""
        return (self._given.nbytes + self._sums.nbytes) / self.n_samples + BYTES

    def update(
        self, index: Integer[Values, " b"], logits: Real[Values, "b n_classes"], labels: Integer[Values, " b"]
    ) -> None:
        """Record one batch; NumPy arrays or torch tensors, the values stay on the device of `logits`.

        Args:
            index: (b,) positions of the samples, integers in 0..n_samples-1.
            logits: (b, n_classes) outputs of the network before the softmax; of two classes also (b,) or (b, 1), that
                of the second one against 0.
            labels: (b,) given labels, integers in 0..n_classes-1; the same in each epoch.

        A logit may be -inf, as masks make it: a given label that is the only one left has margin inf and loss 0, one
        that is masked itself margin -inf and loss inf. Of a sample that a batch names twice the last row is kept; on
        a GPU, any of its rows.

        Raises:
            InputError: a wrong shape or type, a position or label out of range, or two labels of one sample. Nothing
                of the batch is recorded then.
        """
        outputs = read_outputs("logits", logits, "give the outputs of the network")
        index, labels, outputs = read_batch("logits", index, outputs, labels, self.n_classes)
        self._write(index, outputs, labels, measure_logits)

    def update_proba(
        self, index: Integer[Values, " b"], proba: Real[Values, "b n_classes"], labels: Integer[Values, " b"]
    ) -> None:
        """Record one batch of a model that gives probabilities.

        The margin is log p_given - log(best other p), the loss -log p_given; a probability below 1.2e-38 counts as
        that, so both are finite.

        Args:
            index: as in `update`.
            proba: (b, n_classes) probabilities; of two classes also (b,) or (b, 1), that of the second one.
            labels: as in `update`.

        Raises:
            InputError: as in `update`, or what is no probability or sums to another number than 1.
        """
        outputs = read_outputs("proba", proba, "give the probabilities of the classes")
        index, labels, outputs = read_batch("proba", index, outputs, labels, self.n_classes)
        check_probabilities("proba", outputs, "give one a class, or logits to `update`")
        self._write(index, outputs, labels, measure_probabilities)

    def end_epoch(self, held_out_loss: float | None = None) -> EpochRecord:
        """Close the epoch: bring its record to the host, add it to the sums and the history, and return it.

        Args:
            held_out_loss: the mean over all processes, where several record parts of the held-out samples; None takes
                that of the held-out samples recorded here.

        Raises:
            InputError: nothing was recorded since the last call, or a loss that is no number.
        """
        if self._epoch is None:
            raise InputError("`end_epoch` needs a recorded batch, got none since the last epoch; call `update` first")
        if held_out_loss is not None and not is_number(held_out_loss):
            raise InputError(f"`held_out_loss` must be a number, got {described(held_out_loss)}; leave it out")
        record = self._epoch.close()
        if self._history is not None:
            self._history.append(record)
        try:
            self._sums.add(record, None if held_out_loss is None else float(held_out_loss))
        except InputError:  # of a stop rule
            if self._history is not None:
                self._history.drop_last()
            raise
        if (fault := self._epoch.fault()) and not self._warned:
            warnings.warn(f"in epoch {self.epochs} (counted from 1) {fault}", RuntimeWarning, stacklevel=2)
            self._warned = True
        self._epoch = None
        return record

    def merge(self, other: Recorder, index: Integer[ArrayLike, " m"] | None = None) -> None:
        """Take over what another process recorded of other samples in the same epochs.

        With the history, samples may change places between the processes from epoch to epoch, and the stop is found
        again from the held-out samples of all. Without, sums are added: each process must have given `end_epoch` the
        same held-out loss.

        Args:
            other: a recorder of the same classes and as many epochs; both have ended their last one. A recorder that
                has none yet takes over the other's.
            index: (m,) positions here of the m samples of `other`; None if both count the samples alike.

        Raises:
            InputError: they do not fit together, or disagree about a sample that both saw. Nothing is changed then.
        """
        if not isinstance(other, Recorder):
            raise InputError(f"`other` must be a Recorder, got {described(other)}; load its state into one")
        epochs = (self.epochs or other.epochs, other.epochs)
        history = (self.history, other.history)
        merging.check_alike(n_classes=(self.n_classes, other.n_classes), history=history, epochs=epochs)
        if self._epoch or other._epoch:
            raise InputError("`merge` needs ended epochs, got one under way; call `end_epoch` in each process first")
        at = merging.read_positions(index, self.n_samples, other.n_samples)
        given = merging.merge_labels(self._given, other._given, at)
        merging.check_masks(self._sums.held_out, other._sums.held_out, at, other.n_samples)
        if not self.epochs:
            self._sums.begin_like(other._sums)
            if self._history is not None:
                self._history.append_empty(other.epochs)
        if self._history is None or other._history is None:
            merging.merge_sums(self._sums, other._sums, at)
        else:
            loss = self._sums.loss if merging.same_loss(self._sums, other._sums) else None
            self._history = merging.merge_histories(self._history, other._history, at)
            self._sums = Accumulator(self.n_samples, self.n_classes, self._sums.held_out, self._rule)
            self._sums.add_all(map(self._history.read, range(len(self._history))), loss)
        self._given[at] = given

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the ended epochs as arrays, from which `load_state_dict` goes on: for checkpoints."""
        given = self.given if self._history is not None else self.given.astype(self._given.dtype)
        return states.pack_state(given, self._sums, self._history)

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over the ended epochs of another recorder of the same samples and classes.

        Args:
            state: what `state_dict` returned, as arrays or tensors. One with history serves a recorder without.

        Raises:
            InputError: it lacks an array, or one has another shape, type or range than this recorder's. Nothing is
                changed then.
        """
        mask = states.read_mask(state, self._sums.held_out, self.n_samples)
        sums = Accumulator(self.n_samples, self.n_classes, mask, self._rule)
        history = None if self._history is None else History(self.n_samples, self._history.budget)
        self._given[:] = states.load_state(state, sums, history, self.n_classes)
        self._sums, self._history, self._epoch = sums, history, None

    def save(self, path: str | Path, class_names: Sequence[str] | None = None) -> None:
        """Write the ended epochs into one .npz file, whole or not at all; `read` brings them back.

        `labelnoise audit FILE` judges the labels by it, and calls the classes by their names where these are given.

        Raises:
            InputError: a name that does not end in .npz, other names than one a class, or no room for the file.
        """
        from labelnoise.record.saving import write_recorder

        write_recorder(self, path, class_names)

    @classmethod
    def read(cls, path: str | Path) -> Recorder:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, a damaged one, or one of something else.
        """
        from labelnoise.record.saving import read_recorder

        return read_recorder(path)[0]

    def _series(self, name: str) -> EpochSeries:
        if self._history is None:
            raise InputError(f"`{name}` needs the history, got a Recorder with history=False; read its `sums`")
        return EpochSeries(self._history, name)

    def _write(self, index: Array, outputs: Array, labels: Array, measure: Callable[[Array, Array], Measures]) -> None:
        epoch = self._epoch or OpenEpoch(self._given, self.n_classes, outputs)
        epoch.check_device(outputs)
        epoch.take(index, labels)
        epoch.write(index, measure(outputs, labels))
        self._epoch = epoch
