"""What is held in memory of a network's weights while it is trained, for the average that a stopped training returns.

Copies alone would do, but as many as records are averaged. So only the few records around a choice are copied; of all
records up to it there is a running mean, and of those from before it onward a running sum for each record that may be
chosen.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Protocol, TypeVar

from labelnoise.errors import InputError, described
from labelnoise.record.watching import Watch
from labelnoise.training.averaging import (
    BEFORE,
    ONWARD,
    Weights,
    add_weights,
    are_alike,
    are_copies,
    average_weights,
    copy_of,
    is_averaged,
    wanted,
    window,
)
from labelnoise.training.config import Average

Part = TypeVar("Part")


class WeightStore(Protocol):
    """What is held in memory of the weights so far, so that the average of the chosen record can be had."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Take the weights at the last record that the watch observed; forget what is of no further use."""

    def averaged(self, chosen: int) -> list[int]:
        """Return the records in the average of a chosen one; none where nothing was taken at that."""

    def average(self, chosen: int) -> dict[str, Any]:
        """Return that average."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is held: for checkpoints."""

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over what `state_dict` returned, of a network with weights of the same names and shapes.

        Raises:
            InputError: it is anything else. Nothing is changed then.
        """


def weight_store(average: Average) -> WeightStore:
    """Return the empty store from which such an average can be had."""
    if isinstance(average, str):
        return MeanSoFar() if average == "all" else SumsOnward()
    return CopiesAround(average)


class CopiesAround:
    """Copies of the weights at the records around those that may be chosen.

    Args:
        records: how many of them are averaged, an odd number.
    """

    def __init__(self, records: int) -> None:
        self.records = records
        self.copies: dict[int, dict[str, Any]] = {}
        """By record."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Copy the weights; forget those around which none may be chosen any more."""
        self.copies[watch.records - 1] = copy_of(weights)
        self.copies = _only(self.copies, wanted(watch, self.records))

    def averaged(self, chosen: int) -> list[int]:
        """Return the records around the chosen one, fewer at either end."""
        if chosen not in self.copies:
            return []
        return [at for at in window(chosen, self.records, max(self.copies) + 1) if at in self.copies]

    def average(self, chosen: int) -> dict[str, Any]:
        """Return the mean of their weights."""
        return average_weights([self.copies[at] for at in self.averaged(chosen)])

    def state_dict(self) -> dict[str, Any]:
        """Return the copies by record."""
        return _named(self.copies)

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over copies, or refuse what is none."""
        if not are_copies(state, own):
            raise InputError(f"the state must hold weights of this network by record, got {described(state)}; save it")
        self.copies = _by_record(state)


class MeanSoFar:
    """The mean of the weights over all records so far, and what it was at each record that may be chosen.

    While the last record is the one to be chosen, that is one copy of the weights, as soon as it is not, two.
    """

    def __init__(self) -> None:
        self.records = 0
        """Number of records so far."""
        self.mean: dict[str, Any] = {}
        self.at: dict[int, dict[str, Any]] = {}
        """The mean up to a record, with it."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Let the weights into the mean: (records * mean + weights) / (records + 1); a count is that of the last."""
        new, seen = copy_of(weights), self.records
        if seen:
            for name, value in new.items():
                if is_averaged(value):
                    total = self.mean[name].double() * seen + value.double()
                    new[name] = total.div(seen + 1).to(value.dtype)
        self.mean, self.records = new, seen + 1
        self.at = _only({**self.at, watch.records - 1: new}, watch.candidates())

    def averaged(self, chosen: int) -> list[int]:
        """Return all records up to the chosen one."""
        return list(range(chosen + 1)) if chosen in self.at else []

    def average(self, chosen: int) -> dict[str, Any]:
        """Return the mean as it was at the chosen record."""
        return self.at[chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {"records": self.records, "mean": self.mean, "at": _named(self.at)}

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over a mean, or refuse what is none."""
        parts: Any = state if isinstance(state, Mapping) else {}
        records, mean, at = (parts.get(name) for name in ("records", "mean", "at"))
        sound = isinstance(records, int) and isinstance(mean, Mapping) and are_copies(at, own)
        if not sound or (records and not are_alike(mean, own)):
            raise InputError(
                f"the state must hold the mean of this network's weights so far, got {described(state)}; save it"
            )
        self.records, self.mean, self.at = records, dict(mean), _by_record(at)


class SumsOnward:
    """For each record that may be chosen the sum of the weights of the records in its average, so far.

    Beside it the last records are copied, with which the sum of the next one begins: about five copies in all, however
    many are averaged. Sums are in float32 or finer, whatever the weights are in.
    """

    def __init__(self) -> None:
        self.copies: dict[int, dict[str, Any]] = {}
        """The last records."""
        self.sums: dict[int, dict[str, Any]] = {}
        """By the record that may be chosen, whose own is what is no floating-point tensor."""
        self.summed: dict[int, list[int]] = {}
        """The records in each sum."""

    def take(self, weights: Weights, watch: Watch) -> None:
        """Add the weights to the sums that reach so far, and begin that of the last record."""
        last = watch.records - 1
        new = self.copies[last] = copy_of(weights)
        for chosen, summed in self.summed.items():
            if last in window(chosen, "onward", watch.records):
                self.sums[chosen] = add_weights([self.sums[chosen], new])
                summed.append(last)
        members = [at for at in window(last, "onward", watch.records) if at in self.copies]
        self.sums[last], self.summed[last] = add_weights([self.copies[at] for at in members], new), members
        self.copies = _only(self.copies, range(last - BEFORE + 1, last + 1))
        candidates = watch.candidates()
        self.sums, self.summed = _only(self.sums, candidates), _only(self.summed, candidates)

    def averaged(self, chosen: int) -> list[int]:
        """Return the records from before the chosen one onward."""
        return list(self.summed.get(chosen, []))

    def average(self, chosen: int) -> dict[str, Any]:
        """Return the mean of their weights, in float32 or finer."""
        count = len(self.summed[chosen])
        return {name: value / count if is_averaged(value) else value for name, value in self.sums[chosen].items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {"copies": _named(self.copies), "sums": _named(self.sums), "summed": _named(self.summed)}

    def load_state_dict(self, state: Any, own: Weights) -> None:
        """Take over sums, or refuse what is none."""
        parts: Any = state if isinstance(state, Mapping) else {}
        copies, sums, summed = (parts.get(name) for name in ("copies", "sums", "summed"))
        sound = are_copies(copies, own) and are_copies(sums, own) and isinstance(summed, Mapping)
        if not sound or summed.keys() != sums.keys() or not all(_are_records(summed[at], int(at)) for at in sums):
            raise InputError(
                f"the state must hold sums of this network's weights, got {described(state)}; save it, or name the "
                "average with which it was saved: before there were sums, 5"
            )
        self.copies, self.sums = _by_record(copies), _by_record(sums)
        self.summed = {int(at): list(members) for at, members in summed.items()}


def _only(parts: Mapping[int, Part], records: Container[int]) -> dict[int, Part]:
    """Those of these records."""
    return {at: part for at, part in parts.items() if at in records}


def _named(parts: Mapping[int, Part]) -> dict[str, Part]:
    """Parts under the names that their records have in a state."""
    return {str(at): part for at, part in parts.items()}


def _by_record(state: Mapping[str, Weights]) -> dict[int, dict[str, Any]]:
    """Weights of a state by record."""
    return {int(at): dict(weights) for at, weights in state.items()}


def _are_records(members: Any, chosen: int) -> bool:
    """Whether these are the records in the sum of a chosen one, or those of them whose weights were finite."""
    records = window(chosen, "onward", chosen + ONWARD)
    return isinstance(members, list) and chosen in members and all(at in records for at in members)
