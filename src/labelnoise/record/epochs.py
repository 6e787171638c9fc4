"""The epoch under way: what its batches have left so far, on their device."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from labelnoise.arrays import Array, array_namespace, to_numpy
from labelnoise.errors import InputError
from labelnoise.record.history import COLUMNS, EpochRecord
from labelnoise.record.measures import Measures

UNTOUCHED = -2
"""The prediction of a sample that no batch of the open epoch has named: -1 is one whose output is no number."""


class OpenEpoch:
    """Margins, losses and predictions of n samples, and their given labels, where the first batch lies.

    On the host the labels are those of the recorder themselves; on a device they are a copy until the epoch is closed.

    Args:
        given: (n,) given labels so far, -1 where there is none.
        n_classes: number of classes.
        like: outputs of the first batch.
    """

    def __init__(self, given: np.ndarray, n_classes: int, like: Array) -> None:
        xp, self.device = array_namespace(like), like.device
        self.n_classes, self._host = n_classes, given
        self._seen = self._lost = -1
        self._given = given if isinstance(like, np.ndarray) else xp.asarray(given, dtype=xp.int64, device=self.device)
        fills = {np.float32: np.nan, np.int32: UNTOUCHED}
        self._columns = tuple(
            xp.full(given.shape, fills[dtype], dtype=getattr(xp, dtype.__name__), device=self.device)
            for dtype in COLUMNS.values()
        )

    @property
    def nbytes(self) -> int:
        """Bytes of memory, the given labels not counted."""
        return sum(column.nbytes for column in self._columns)

    def check_device(self, like: Array) -> None:
        """Refuse a batch of another device than the first."""
        if like.device != self.device:
            raise InputError(
                f"`logits` must stay on one device within an epoch, got {like.device} after {self.device}; "
                "move them there"
            )

    def write(self, index: Array, measures: Measures) -> None:
        """Keep what was measured of a batch."""
        for column, values in zip(self._columns, measures, strict=True):
            column[index] = values

    def close(self) -> EpochRecord:
        """Bring all to the host."""
        self.keep_labels()
        record = EpochRecord(*map(to_numpy, self._columns))
        if self._seen < 0:  # an epoch that a stop rule refused is closed again
            self._seen = int(np.count_nonzero(record.prediction != UNTOUCHED))
            self._lost = int(np.count_nonzero(record.prediction == -1))
            record.prediction[record.prediction == UNTOUCHED] = -1
        return record

    def fault(self) -> str:
        """What is wrong with the outputs of a closed epoch, and what to do; nothing where all are numbers."""
        if self._lost < 1:
            return ""
        if self._lost == self._seen:
            return (
                f"the outputs of all {self._seen} samples are NaN; the training has diverged: end it, lower the "
                "learning rate or clip the gradients, and begin again"
            )
        return (
            f"the outputs of {self._lost} of {self._seen} samples are NaN; they are taken for samples that were not "
            "seen: check their inputs for NaN and infinity, and lower the learning rate if they become more"
        )

    def keep_labels(self) -> None:
        """Bring the given labels to the host."""
        if self._given is not self._host:
            self._host[:] = to_numpy(self._given)

    def take(self, index: Array, labels: Array) -> None:
        """Take the given labels over; refuse what is out of range and a second label: one synchronisation for all."""
        if isinstance(index, np.ndarray) and self._taken(index, labels):
            return
        xp, given = array_namespace(labels), self._given
        outside = (index < 0) | (index >= given.shape[0])
        no_class = (labels < 0) | (labels >= self.n_classes)
        at = xp.where(outside, 0, index)
        known = given[at]
        given[at] = labels  # of two labels of one sample only one can be read back; one out of range is none
        wrong = outside | no_class | ((known >= 0) & (known != labels)) | (given[at] != labels)
        if bool(xp.any(wrong)):
            given[at] = known
            self._refuse(*map(to_numpy, (index, labels, known, outside, no_class)))

    def _taken(self, index: np.ndarray, labels: np.ndarray) -> bool:
        """The same on the host, by fewer operations: whether there was nothing to refuse; else nothing is changed."""
        given = self._given
        if not index.size:
            return True
        if index.min() < 0 or index.max() >= given.size or labels.min() < 0 or labels.max() >= self.n_classes:
            return False
        known = given[index]
        given[index] = labels
        right = (given[index] == labels) & ((known == labels) | (known < 0))
        if right.all():
            return True
        given[index] = known
        return False

    def _refuse(
        self, index: np.ndarray, labels: np.ndarray, known: np.ndarray, outside: np.ndarray, no_class: np.ndarray
    ) -> NoReturn:
        """Say what is wrong with a batch."""
        if outside.any():
            at, last = index[outside][0], len(self._host) - 1
            raise InputError(f"`index` must lie in 0..{last}, got {at}; number the samples of the data set")
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
