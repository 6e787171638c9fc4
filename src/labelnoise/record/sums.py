"""Sums over the epochs of a record, kept on the way: the memory that they take does not grow with the epochs.

Scores that find wrong labels need sums over all epochs, up to the stop, and up to twice the stop. Where the stop is, is
known only later, so a copy of the sums is kept at the best stop so far; twice the stop lies ahead whenever the stop
moves, so the running sum serves until it is reached, and is copied there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from labelnoise.errors import InputError, check_integer
from labelnoise.record.history import EpochRecord
from labelnoise.record.means import bounded_loss, centred_means, last_least, mean_known

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CHUNK = 2**16
"""Samples that are added at once."""
RUNNING = ("seen", "margin", "probability", "rejected", "rival", "votes")
"""What is summed."""
TO_STOP = {"seen": "seen_to_stop", "margin": "margin_to_stop"}
TO_TWICE = {"seen": "seen_to_twice", "probability": "probability_to_twice"}
"""What is copied on the way, and the copy."""


@dataclass(frozen=True, eq=False)
class RunningSums:
    """Sums over the epochs in which a sample was seen, each (n,); float32, counts and classes int32.

    The stop is the epoch of the best held-out loss so far; without held-out samples, both ends are the last epoch.
    """

    seen: Int[np.ndarray, " n"]
    """Epochs in which the sample was seen."""
    margin: Float[np.ndarray, " n"]
    """Sum of the margins."""
    probability: Float[np.ndarray, " n"]
    """Sum of the probabilities of the given label, exp(-loss)."""
    rejected: Int[np.ndarray, " n"]
    """Epochs whose prediction is not the given label."""
    rival: Int[np.ndarray, " n"]
    """Most frequent of the predictions that are not the given label, by the vote of Boyer and Moore: a class that more
    than half of them name is found, else it is one of them; -1 if there is none."""
    stop: int | None
    """Record of the best held-out loss so far, from 0; None where none is known."""
    seen_to_stop: Int[np.ndarray, " n"]
    """Epochs up to the stop, with it, in which the sample was seen."""
    margin_to_stop: Float[np.ndarray, " n"]
    """Sum of the margins in them."""
    seen_to_twice: Int[np.ndarray, " n"]
    """The same among twice as many epochs, or all so far."""
    probability_to_twice: Float[np.ndarray, " n"]
    """Sum of the probabilities of the given label in them."""


class Choice(NamedTuple):
    """What a rule says of the held-out losses so far."""

    chosen: int | None
    """The record to stop at: the settled one or the last; None if it finds none."""
    settled: int | None
    """The record that it would fall back to: as before, or one of the last two."""


Rule = Callable[[np.ndarray], Choice]
"""From the held-out losses (records,) so far to a choice; losses that are not known are NaN."""


@dataclass(frozen=True)
class LeastLoss:
    """Stop at the least held-out loss, in the mean of three records: the one before, the record, the one after.

    At the first and the last record the mean has two members. The last record on ties.
    """

    smooth: int = 3
    """Records of one mean: 1 or 3."""

    def __post_init__(self) -> None:
        check_integer("smooth", self.smooth, 1, 3)
        if self.smooth not in (1, 3):
            raise InputError(f"`smooth` must be 1 or 3, got {self.smooth}; a mean of more needs the whole record")

    def __call__(self, loss: Float[np.ndarray, " records"]) -> Choice:
        """Return the choice."""
        half, series = self.smooth // 2, np.asarray(loss, float)
        mean = centred_means(series, half, half)
        return Choice(_least(mean), _least(mean[: len(mean) - half]))


def _least(values: np.ndarray) -> int | None:
    return last_least(values) if (values < np.inf).any() else None


class Accumulator:
    """The sums of n samples, epoch by epoch.

    Args:
        n: samples.
        n_classes: classes; few of them take 2 bytes.
        held_out: (n,) mask of the samples that tell where to stop, or None.
        rule: what decides that.
    """

    def __init__(self, n: int, n_classes: int, held_out: np.ndarray | None, rule: Rule) -> None:
        self.held_out, self.rule, self.loss = held_out, rule, np.zeros(0)
        self.settled: int | None = None
        self.arrays: dict[str, np.ndarray] = {
            "seen": np.zeros(n, np.uint8),
            "margin": np.zeros(n, np.float32),
            "probability": np.zeros(n, np.float32),
            "rejected": np.zeros(n, np.uint8),
            "rival": np.full(n, -1, class_type(n_classes)),
            "votes": np.zeros(n, np.uint8),
        }

    @property
    def epochs(self) -> int:
        """Number of epochs that were added."""
        return len(self.loss)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, the mask's included."""
        mask = 0 if self.held_out is None else self.held_out.nbytes
        return mask + sum(array.nbytes for array in self.arrays.values())

    def add(self, record: EpochRecord, held_out_loss: float | None = None) -> None:
        """Add an epoch.

        Args:
            record: of all samples.
            held_out_loss: instead of that of the held-out samples that were recorded.

        Raises:
            InputError: the rule falls back to a record of which no sums are kept. Nothing is added then.
        """
        if held_out_loss is None:
            held_out_loss = self._held_out_loss(record)
        loss = np.append(self.loss, held_out_loss)
        settled, moved = self._settled(loss)
        self.loss, self.settled, now = loss, settled, len(loss) - 1
        if moved and settled == now - 1:
            self._copy(TO_STOP)
        self._widen()
        for start in range(0, len(record.margin), CHUNK):
            self._add_part(slice(start, start + CHUNK), record)
        if moved and settled == now:
            self._copy(TO_STOP)
        if settled is not None and now + 1 == 2 * (settled + 1):
            self._copy(TO_TWICE)

    def add_all(self, records: Iterable[EpochRecord], held_out_loss: np.ndarray | None) -> None:
        """Add epochs in their order, with the held-out loss of each, or with that which they recorded."""
        for at, record in enumerate(records):
            self.add(record, None if held_out_loss is None else float(held_out_loss[at]))

    def begin_like(self, other: Accumulator) -> None:
        """After as many epochs as another one, with its stop, and no sample seen."""
        self.loss, self.settled = other.loss.copy(), other.settled
        self.arrays = {name: np.zeros(len(self.arrays["seen"]), array.dtype) for name, array in other.arrays.items()}
        self.arrays["rival"] -= 1

    def load(self, arrays: dict[str, np.ndarray], loss: np.ndarray, settled: int) -> None:
        """Take over sums after so many epochs; `settled` is -1 for none."""
        self.loss, self.settled = loss, None if settled < 0 else settled
        self._widen()
        kinds = {copy: self.arrays[name].dtype for names in (TO_STOP, TO_TWICE) for name, copy in names.items()}
        kinds |= {name: array.dtype for name, array in self.arrays.items()}
        self.arrays = {name: array.astype(kinds[name]) for name, array in arrays.items()}

    def sums(self) -> RunningSums:
        """Copies of the sums so far."""
        chosen = self.rule(self.loss).chosen if self.epochs else None
        stopped = chosen is not None and chosen == self.settled
        past = stopped and self.epochs >= 2 * (self.settled + 1)  # type: ignore[operator]
        return RunningSums(
            **{name: self._wide(name) for name in RUNNING if name != "votes"},
            stop=chosen,
            **{copy: self._wide(copy if stopped else name) for name, copy in TO_STOP.items()},
            **{copy: self._wide(copy if past else name) for name, copy in TO_TWICE.items()},
        )

    def _wide(self, name: str) -> np.ndarray:
        array = self.arrays[name]
        return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)

    def _held_out_loss(self, record: EpochRecord) -> float:
        """Mean loss of the held-out samples that were seen; NaN where there are none."""
        if self.held_out is None:
            return np.nan
        return mean_known(bounded_loss(record.loss[self.held_out], record.prediction[self.held_out]))

    def _settled(self, loss: np.ndarray) -> tuple[int | None, bool]:
        """The record whose sums are kept from now on, and whether it is another one than before."""
        choice, now = self.rule(loss), len(loss) - 1
        if not isinstance(choice, Choice):
            raise InputError(f"`stop` must return a Choice, got {choice!r}; use for example LeastLoss()")
        moved = choice.settled != self.settled
        known = choice.settled in (now - 1, now) if moved else True
        if not known or choice.chosen not in (None, now, choice.settled):
            raise InputError(
                f"`stop` must choose the last record or the one that it settled on, and settle on one of the last two, "
                f"got {choice} at record {now}; use LeastLoss, or keep the history and choose from it"
            )
        return choice.settled, moved

    def _copy(self, names: dict[str, str]) -> None:
        for name, kept in names.items():
            if kept in self.arrays and self.arrays[kept].dtype == self.arrays[name].dtype:
                np.copyto(self.arrays[kept], self.arrays[name])
            else:
                self.arrays[kept] = self.arrays[name].copy()

    def _widen(self) -> None:
        """Make room for counts up to the number of epochs."""
        dtype = np.min_scalar_type(self.epochs)
        for name in ("seen", "rejected", "votes"):
            if self.arrays[name].dtype.itemsize < dtype.itemsize:
                self.arrays[name] = self.arrays[name].astype(dtype)

    def _add_part(self, part: slice, record: EpochRecord) -> None:
        seen, margin, probability, rejected, rival, votes = (self.arrays[name][part] for name in RUNNING)
        values, loss, prediction = record.margin[part], record.loss[part], record.prediction[part]
        known = ~np.isnan(values)
        refused = known & ~(values > 0)
        seen += known
        rejected += refused
        with np.errstate(invalid="ignore", over="ignore"):  # infinite margins of both signs
            np.add(margin, values, out=margin, where=known)
            np.add(probability, np.exp(-loss), out=probability, where=known)
        fresh = refused & (votes == 0)
        rival[fresh] = prediction[fresh]
        for_it = refused & (rival == prediction)
        votes += for_it
        votes -= refused & ~for_it


def class_type(n_classes: int) -> type:
    """The smallest signed type that holds every class and -1."""
    return np.int16 if n_classes <= 2**15 else np.int32
