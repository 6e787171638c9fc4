"""The record that everything later reads: margin, loss and predicted class of each sample in each epoch.

One pass over the logits gives all three. On a GPU the cost of an update is the launch of some thirty small kernels
and one synchronisation, which the checks need, so large batches are cheap and many small ones are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from labelnoise.arrays import Array, array_namespace, to_numpy
from labelnoise.errors import InputError, described
from labelnoise.record.inputs import checked_state, plain

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Int, Integer, Real

    Values = np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """What one epoch recorded, each (n,); NaN and -1 for a sample that was not seen."""

    margin: Float[np.ndarray, " n"]
    """Given label's logit minus the best other one, float32; above 0 the sample is fitted to its given label."""
    loss: Float[np.ndarray, " n"]
    """Cross-entropy of the given label, float32."""
    prediction: Int[np.ndarray, " n"]
    """Predicted class, int32; it equals the given label exactly where the margin is above 0."""


class Recorder:
    """Record margin, loss and prediction of each sample in each epoch, from any training loop.

    Call `update` for each batch, in any order, and `end_epoch` after the last one. A sample that was not seen in an
    epoch has margin and loss NaN and prediction -1 there; so has one whose logits are not numbers, because a run
    that diverges is worth recording too (its loss may be infinite).

    Args:
        n_samples: number of samples; each has a position in 0..n_samples-1.
        n_classes: number of logits a sample, at least 2.

    Example:
        >>> recorder = Recorder(n_samples=3, n_classes=2)
        >>> recorder.update(np.array([2, 0]), np.array([[1.0, 3.0], [0.5, 0.0]]), np.array([1, 1]))
        >>> recorder.end_epoch().margin
        array([-0.5,  nan,  2. ], dtype=float32)
    """

    def __init__(self, n_samples: int, n_classes: int) -> None:
        for name, value, least in (("n_samples", n_samples, 1), ("n_classes", n_classes, 2)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"`{name}` must be an integer >= {least}, got {value!r}; count them in the data")
        self.n_samples, self.n_classes = int(n_samples), int(n_classes)
        self._rows: list[EpochRecord] = []
        self._given: Array = np.full(self.n_samples, -1, dtype=np.int64)
        self._buffers: tuple[Array, Array, Array] | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs that were ended."""
        return len(self._rows)

    @property
    def margin(self) -> Float[np.ndarray, "epochs n"]:
        """Margins (epochs, n) float32, stacked at each access."""
        return self._stack([row.margin for row in self._rows], np.float32)

    @property
    def loss(self) -> Float[np.ndarray, "epochs n"]:
        """Losses (epochs, n) float32, stacked at each access."""
        return self._stack([row.loss for row in self._rows], np.float32)

    @property
    def prediction(self) -> Int[np.ndarray, "epochs n"]:
        """Predicted classes (epochs, n) int32, stacked at each access."""
        return self._stack([row.prediction for row in self._rows], np.int32)

    @property
    def given(self) -> Int[np.ndarray, " n"]:
        """Given labels (n,) int64; -1 for a sample that was never seen."""
        return to_numpy(self._given).copy()

    def update(
        self, index: Integer[Values, " b"], logits: Real[Values, "b n_classes"], labels: Integer[Values, " b"]
    ) -> None:
        """Record one batch; NumPy arrays or torch tensors, the values stay on the device of `logits`.

        Args:
            index: (b,) positions of the samples, integers in 0..n_samples-1.
            logits: (b, n_classes) outputs of the network before the softmax.
            labels: (b,) given labels, integers in 0..n_classes-1; the same in each epoch.

        A logit may be -inf, as masks make it: a given label that is the only one left has margin inf and loss 0, one
        that is masked itself margin -inf and loss inf. Of a sample that a batch names twice the last row is kept; on
        a GPU, any of its rows.

        Raises:
            InputError: a wrong shape or type, a position or label out of range, or two labels of one sample. Nothing
                of the batch is recorded then.
        """
        logits = _plain(logits)
        index, labels = (_integers(name, item, logits) for name, item in (("index", index), ("labels", labels)))
        if logits.ndim != 2 or logits.shape[1] != self.n_classes:
            raise InputError(
                f"`logits` must have shape (batch, {self.n_classes}), got {tuple(logits.shape)}; give one row a sample"
            )
        if not index.shape == labels.shape == logits.shape[:1]:
            raise InputError(
                f"`index` and `labels` must have one entry a row of `logits` ({logits.shape[0]}), got shapes "
                f"{tuple(index.shape)} and {tuple(labels.shape)}; make them vectors of that length"
            )
        buffers = self._open(logits)
        self._take(index, labels)
        for buffer, values in zip(buffers, _measure(logits, labels), strict=True):
            buffer[index] = values
        self._buffers = buffers

    def end_epoch(self) -> EpochRecord:
        """Close the epoch: bring its record to the host, keep it, and return it.

        Raises:
            InputError: nothing was recorded since the last call.
        """
        if self._buffers is None:
            raise InputError("`end_epoch` needs a recorded batch, got none since the last epoch; call `update` first")
        row = EpochRecord(*(np.array(to_numpy(buffer)) for buffer in self._buffers))
        self._rows.append(row)
        self._buffers = None
        return row

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the ended epochs as arrays, from which `load_state_dict` goes on: for checkpoints."""
        return {"margin": self.margin, "loss": self.loss, "prediction": self.prediction, "given": self.given}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over the ended epochs of another recorder of the same samples and classes.

        Args:
            state: what `state_dict` returned, as arrays or tensors.

        Raises:
            InputError: it lacks an array, or one has another shape, type or range than this recorder's. Nothing is
                changed then.
        """
        arrays = checked_state(state, self.n_samples, self.n_classes)
        self._given, self._buffers = arrays["given"], None
        self._rows = list(map(EpochRecord, arrays["margin"], arrays["loss"], arrays["prediction"]))

    def _stack(self, rows: list[np.ndarray], dtype: type) -> np.ndarray:
        return np.array(rows, dtype=dtype).reshape(len(rows), self.n_samples)

    def _open(self, logits: Array) -> tuple[Array, Array, Array]:
        """Buffers of this epoch, made on the device of its first batch."""
        xp, device = array_namespace(logits), logits.device
        if self._buffers is None:
            self._given = xp.asarray(self.given, device=device)
            fill = ((np.nan, xp.float32), (np.nan, xp.float32), (-1, xp.int32))
            margin, loss, prediction = (
                xp.full((self.n_samples,), value, dtype=dtype, device=device) for value, dtype in fill
            )
            return margin, loss, prediction
        if type(self._given) is not type(logits) or self._given.device != device:
            raise InputError(
                f"`logits` must stay on one device within an epoch, got {device} after {self._given.device}; "
                "move them there"
            )
        return self._buffers

    def _take(self, index: Array, labels: Array) -> None:
        """Take the given labels over; refuse what is out of range and a second label: one synchronisation for all."""
        xp = array_namespace(labels)
        outside = (index < 0) | (index >= self.n_samples)
        at = xp.where(outside, 0, index)
        known = self._given[at]
        self._given[at] = labels  # of two labels of one sample only one can be read back
        no_class = (labels < 0) | (labels >= self.n_classes)
        wrong = outside | no_class | ((known >= 0) & (known != labels)) | (self._given[at] != labels)
        if bool(xp.any(wrong)):
            self._given[at] = known
            self._refuse(*map(to_numpy, (index, labels, known, outside, no_class)))

    def _refuse(
        self, index: np.ndarray, labels: np.ndarray, known: np.ndarray, outside: np.ndarray, no_class: np.ndarray
    ) -> NoReturn:
        """Say what is wrong with a batch."""
        if outside.any():
            at = index[outside][0]
            raise InputError(
                f"`index` must lie in 0..{self.n_samples - 1}, got {at}; number the samples of the data set"
            )
        if no_class.any():
            label = labels[no_class][0]
            raise InputError(f"`labels` must lie in 0..{self.n_classes - 1}, got {label}; map the classes to positions")
        changed = np.flatnonzero((known >= 0) & (known != labels))
        if changed.size:
            at = changed[0]
            raise InputError(
                f"`labels` must not change, got {labels[at]} after {known[at]} for sample {index[at]}; "
                "record given labels, and make a new Recorder after relabelling"
            )
        order = np.argsort(index, kind="stable")
        index, labels = index[order], labels[order]
        at = np.flatnonzero((np.diff(index) == 0) & (np.diff(labels) != 0))[0]
        raise InputError(
            f"`labels` must be one a sample, got {labels[at]} and {labels[at + 1]} for sample {index[at]} in one "
            "batch; give its given label each time"
        )


def _measure(logits: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Margin, loss and prediction (b,) each.

    With the margin m and s = log sum over the other classes of exp(logit - best other logit), the cross-entropy is
    log(1 + exp(s - m)): no overflow, and a tiny loss keeps its digits, which log-sum-exp minus logit would not.
    """
    xp = array_namespace(logits)
    rows = xp.arange(logits.shape[0], device=logits.device)
    is_given = xp.arange(logits.shape[1], device=logits.device)[None, :] == labels[:, None]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        others = xp.where(is_given, xp.asarray(-np.inf, dtype=logits.dtype, device=logits.device), logits)
        rival = xp.argmax(others, axis=1)
        best_other = others[rows, rival]
        margin = logits[rows, labels] - best_other
        # -inf - -inf is no number: where every other class is masked, s is -inf, the log of an empty sum
        shift = xp.where(best_other == -np.inf, xp.zeros_like(best_other), best_other)
        spread = xp.log(xp.sum(xp.exp(others - shift[:, None]), axis=1))
        loss = xp.logaddexp(xp.zeros_like(margin), spread - margin)
        prediction = xp.where(margin > 0, labels, rival)
        prediction = xp.where(xp.isnan(margin), xp.full_like(prediction, -1), prediction)
        return xp.astype(margin, xp.float32), xp.astype(loss, xp.float32), xp.astype(prediction, xp.int32)


def _plain(logits: Any) -> Array:
    """Logits as float32 or float64 outside any gradient; half precision would lose the digits of a small margin."""
    values = plain(logits)
    xp = array_namespace(values)
    if not xp.isdtype(values.dtype, ("integral", "real floating")):
        raise InputError(f"`logits` must be real numbers, got {described(logits)}; give the outputs of the network")
    return values if values.dtype == xp.float64 else xp.astype(values, xp.float32)


def _integers(name: str, values: Any, logits: Array) -> Array:
    """`values` as int64 where `logits` live."""
    integers = plain(values)
    if not array_namespace(integers).isdtype(integers.dtype, "integral"):
        raise InputError(f"`{name}` must be integers, got {described(values)}; convert them first")
    if isinstance(logits, np.ndarray):
        return to_numpy(integers).astype(np.int64)
    xp = array_namespace(logits)
    return xp.asarray(integers, dtype=xp.int64, device=logits.device)
