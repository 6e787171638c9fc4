"""What the records of a run show without the truth: all that a stop rule looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, described
from labelnoise.record.inputs import as_mask, as_numbers
from labelnoise.record.means import MixedLoss, mean_known

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class Evidence:
    """Loss and fit of the same h held-out samples at each record, and how many training predictions changed."""

    loss: Float[np.ndarray, "records h"]
    """Cross-entropy of the given label of each held-out sample, NaN where it was not seen; (records, 0) where none are
    given."""
    fitted: Bool[np.ndarray, "records h"]
    """Which of them are fitted to their given label; (records, 0) where that is not given."""
    changes: Float[np.ndarray, " records"]
    """Share of the training samples whose prediction is not that of the record before; NaN where that is not known."""
    mean_loss: Float[np.ndarray, " records"]
    """Mean held-out loss, of the samples that were seen; NaN where none was."""
    accuracy: Float[np.ndarray, " records"]
    """Held-out accuracy, of the samples that were seen; NaN where none was."""
    mixed_loss: Float[np.ndarray, " records"]
    """Held-out loss of the mean of all predictions up to each record; NaN where no sample was seen in it."""
    n: int
    """Training samples whose predictions are compared."""

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.changes)

    def seen(self, *records: int) -> Bool[np.ndarray, " h"]:
        """Which held-out samples were seen in each of these records: those whose loss is no NaN."""
        if not self.loss.shape[1]:
            return np.ones(self.fitted.shape[1], bool)
        return ~np.isnan(self.loss[list(records)]).any(axis=0)

    def last_known(self, end: int) -> int:
        """The last record up to `end` in which a held-out sample was seen; `end` itself where none was."""
        known = ~np.isnan(self.mean_loss if self.loss.shape[1] else self.accuracy)[: end + 1]
        return int(np.flatnonzero(known)[-1]) if known.any() else end


@dataclass(frozen=True, eq=False)
class Observation:
    """What one record shows; None for what was not given."""

    loss: Float[np.ndarray, " h"] | None
    fitted: Bool[np.ndarray, " h"] | None
    changes: float
    """Share of changed predictions; NaN without predictions, and at the first record."""


class Observations:
    """Records as they come: each costs what its own samples cost, however many there were before."""

    def __init__(self, rows: Sequence[Observation] = ()) -> None:
        self.first: Observation | None = None
        """The first record, which the others are like."""
        self.records = 0
        """Number of records."""
        self._arrays: dict[str, np.ndarray] = {}
        self._mixed = MixedLoss()
        for row in rows:
            self.append(row)

    def append(self, row: Observation) -> None:
        """Take a record of the same quantities and samples as the first."""
        self.first = self.first or row
        loss, fitted = row.loss, row.fitted
        values = {
            "loss": np.zeros(0, np.float32) if loss is None else loss,
            "fitted": np.zeros(0, bool) if fitted is None else fitted,
            "changes": row.changes,
            "mean_loss": np.nan if loss is None else mean_known(loss),
            "accuracy": np.nan if fitted is None else mean_known(fitted if loss is None else fitted[~np.isnan(loss)]),
            "mixed_loss": np.nan if loss is None else self._mixed.add(loss),
        }
        for name, value in values.items():
            self._put(name, np.asarray(value))
        self.records += 1

    def _put(self, name: str, value: np.ndarray) -> None:
        """Write a row, into twice the room where there is none left."""
        room = self._arrays.get(name)
        if room is None or len(room) == self.records:
            wider = np.empty((max(2 * self.records, 16), *value.shape), value.dtype)
            if room is not None:
                wider[: self.records] = room
            self._arrays[name] = room = wider
        room[self.records] = value

    def evidence(self, n: int) -> Evidence:
        """All records so far, as views."""
        if self.first is None:
            none = np.zeros(0)
            return Evidence(np.zeros((0, 0), np.float32), np.zeros((0, 0), bool), none, none, none, none, n)
        return Evidence(**{name: room[: self.records] for name, room in self._arrays.items()}, n=n)


def read_observation(
    loss: Any, fitted: Any, prediction: Any, previous: Int[np.ndarray, " n"] | None
) -> tuple[Observation, Int[np.ndarray, " n"] | None]:
    """Return one record out of what a caller gives of it, and its predictions.

    Raises:
        InputError: losses that are no numbers, a mask that is none, predictions that are no integers or not as many as
            before.
    """
    losses = None if loss is None else np.atleast_1d(as_numbers("loss", loss)).astype(np.float32)
    fits = None if fitted is None else as_mask("fitted", fitted, "give prediction == label of the held-out samples")
    for name, values in (("loss", losses), ("fitted", fits)):
        if values is not None and (values.ndim != 1 or not values.size):
            raise InputError(f"`{name}` must hold a value a held-out sample, got shape {values.shape}; give a vector")
    if losses is not None and fits is not None and losses.shape != fits.shape:
        raise InputError(
            f"`fitted` must hold as many samples as `loss` ({losses.size}), got {fits.size}; give the same ones"
        )
    if prediction is None:
        return Observation(losses, fits, np.nan), None
    classes = on_host(prediction)
    if classes.dtype.kind not in "iu" or classes.ndim != 1 or not classes.size:
        raise InputError(
            f"`prediction` must be a vector of integers, got {described(prediction)}; give a class a training sample"
        )
    classes = classes.astype(np.int32)
    if previous is not None and previous.shape != classes.shape:
        raise InputError(
            f"`prediction` must hold the samples of the record before ({previous.size}), got {classes.size}; give the "
            "same ones in the same order"
        )
    return Observation(losses, fits, _changed(classes, previous)), classes


def _changed(classes: np.ndarray, previous: np.ndarray | None) -> float:
    """Share of the samples seen in both records that are predicted otherwise; a sample not seen has -1."""
    if previous is None:
        return np.nan
    seen = (classes >= 0) & (previous >= 0)
    return float((classes != previous)[seen].mean()) if seen.any() else np.nan


def check_alike(row: Observation, first: Observation) -> None:
    """Refuse a record of other quantities or other samples than the first one."""
    for name in ("loss", "fitted"):
        now, then = (getattr(record, name) for record in (row, first))
        if (now is None) != (then is None):
            words = ("not given", "given") if then is None else ("given", "not given")
            raise InputError(f"`{name}` must be {words[0]} at every record or at none, got it {words[1]}; do as before")
        if now is not None and now.shape != then.shape:
            raise InputError(
                f"`{name}` must hold the {then.size} held-out samples of the first record, got {now.size}; keep them"
            )


def checked_evidence(state: Any) -> tuple[list[Observation], np.ndarray | None, int]:
    """Observations, last predictions and number of training samples out of a state.

    Raises:
        InputError: it is no such state.
    """
    names = ("loss", "fitted", "changes", "prediction", "n")
    if not isinstance(state, Mapping) or any(name not in state for name in names):
        raise InputError(f"the state must be what `state_dict` returned ({', '.join(names)}), got {described(state)}")
    loss, changes, prediction = (on_host(state[name]) for name in ("loss", "changes", "prediction"))
    fitted = as_mask("fitted", state["fitted"], "take it from `state_dict`")
    alike = loss.ndim == fitted.ndim == 2 and changes.ndim == prediction.ndim == 1
    if not alike or not len(loss) == len(fitted) == len(changes) or {loss.dtype.kind, changes.dtype.kind} != {"f"}:
        raise InputError("the state must hold a row of loss, fitted and changes a record, got others; save it again")
    if prediction.dtype.kind not in "iu" or not str(state["n"]).isdigit():
        raise InputError("the state must hold integers as `prediction` and `n`, got others; save it again")
    rows = [
        Observation(losses if losses.size else None, fits if fits.size else None, float(share))
        for losses, fits, share in zip(loss.astype(np.float32), fitted, changes, strict=True)
    ]
    return rows, prediction.astype(np.int32) if prediction.size else None, int(state["n"])
