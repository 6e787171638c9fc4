"""Small rules that say where to stop from given labels alone; each is a value, and they combine.

A rule is asked after every record (`watching.Watch`) or of a finished run (`watching.find_stop`), and says the same.
`a | b` ends the run when the first of them does, `a & b` when the last does; `Combined((a, b, c), "median")` takes the
one in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from labelnoise.errors import InputError, check_integer, did_you_mean, is_number
from labelnoise.record.evidence import Evidence
from labelnoise.record.means import centred_means
from labelnoise.record.stopping import HeldOut, Stop
from labelnoise.record.sureness import not_applicable, stop_at
from labelnoise.runs.setting_types import check_types


class StopRule:
    """What all rules have in common."""

    needs: ClassVar[tuple[str, ...]]
    """What must be observed at each record: `loss`, `fitted`, `prediction`."""

    @property
    def needs_held_out(self) -> bool:
        """Whether it looks at held-out samples: at their loss, or at which of them are fitted."""
        return "loss" in self.needs or "fitted" in self.needs

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, of one or more, and at which the run ends."""
        raise NotImplementedError

    def candidates(self, evidence: Evidence) -> set[int]:
        """Records among those seen that it chooses now or may choose later: their weights must be kept."""
        raise NotImplementedError

    def __or__(self, other: StopRule) -> Combined:
        return Combined((self, other), "first")

    def __and__(self, other: StopRule) -> Combined:
        return Combined((self, other), "last")


@dataclass(frozen=True)
class HeldOutLoss(StopRule):
    """Keep the record with the least held-out loss, in the mean of `smooth` records around it.

    Held-out samples have wrong labels as often as the others. While the network learns what the samples of a class have
    in common, their mean cross-entropy against the given labels falls; it rises when the network becomes sure of wrong
    labels. At the first and the last records the mean has fewer members. The last record on ties: a loss that does not
    change gives no reason to stop.
    """

    patience: int = 20
    """Records without a new least mean after which the run is ended."""
    smooth: int = 3
    """Records of one mean, an odd number."""
    needs: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_integer("patience", self.patience, 1, 20)
        check_integer("smooth", self.smooth, 1, 3)
        if self.smooth % 2 == 0:
            raise InputError(f"`smooth` must be odd, as many records before as after, got {self.smooth}; use 3")

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, and at which the run ends."""
        loss = evidence.mean_loss
        if not np.isfinite(loss).any():
            return not_applicable(evidence, "no held-out loss is a finite number")
        chosen, stopped, _ = _least(loss, self.smooth // 2, self.patience)
        return stop_at(evidence, chosen, stopped)

    def candidates(self, evidence: Evidence) -> set[int]:
        """The least mean that no later record changes, and the records whose mean is not whole yet."""
        loss, half = evidence.mean_loss, self.smooth // 2
        chosen, stopped, settled = _least(loss, half, self.patience)
        if stopped is not None:
            return {chosen}
        return {chosen, settled, *range(max(evidence.records - half, 0), evidence.records)}


def _least(values: np.ndarray, half: int, patience: int) -> tuple[int, int | None, int]:
    """The record of the least centred mean, the one at which patience is over, and the least among the whole means.

    Each record is looked at as it was when it was the last one: up to `half` records before it the means were whole,
    those after had the members that there were. The last record on ties.
    """
    records = np.arange(values.size)
    whole = centred_means(values, half, half)
    least = np.minimum.accumulate(whole)
    place = np.maximum.accumulate(np.where(whole == least, records, 0))
    mean, at = _delayed(least, half, math.inf), _delayed(place, half, 0)
    settled = int(at[-1])
    for after in range(half - 1, -1, -1):
        now = _delayed(centred_means(values, half, after), after, math.inf)
        mean, at = np.where(now <= mean, now, mean), np.where(now <= mean, records - after, at)
    over = np.flatnonzero((records - at >= patience) & (mean < math.inf))
    if over.size:
        return int(at[over[0]]), int(over[0]), int(at[over[0]])
    return int(at[-1]), None, settled


def _delayed(values: np.ndarray, by: int, fill: float) -> np.ndarray:
    """A series as it was so many records before each one."""
    return np.concatenate([np.full(by, fill, values.dtype), values])[: values.size]


@dataclass(frozen=True)
class HeldOutAccuracy(StopRule):
    """Keep the record of the best held-out accuracy: `HeldOut` as a rule that combines.

    The largest mean of `smooth` records decides where, the last on ties; among them the least loss, where losses are
    observed. Its fall is judged by the same samples at both records.
    """

    patience: int = 20
    """Records without a new best mean after which the run is ended."""
    smooth: int = 5
    """Records of one mean."""
    needs: ClassVar[tuple[str, ...]] = ("fitted",)

    def __post_init__(self) -> None:
        HeldOut(1, self.patience, self.smooth)  # refuses what it refuses

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, and at which the run ends."""
        if np.isnan(evidence.accuracy).all():
            return not_applicable(evidence, "no held-out accuracy is known")
        loss = evidence.mean_loss if evidence.loss.shape[1] else None
        stop = HeldOut(evidence.fitted.shape[1], self.patience, self.smooth)(evidence.accuracy, loss)
        return stop_at(evidence, stop.chosen, stop.stopped)

    def candidates(self, evidence: Evidence) -> set[int]:
        """The choice, and the records of the means that are not whole yet."""
        stop = self.decide(evidence)
        late = range(max(evidence.records - self.smooth, 0), evidence.records)
        return {stop.chosen} if stop.stopped is not None else {stop.chosen, *late}


@dataclass(frozen=True)
class LabelWave(StopRule):
    """Keep the record at which the predictions on training samples change least (Yuan et al., ICLR 2024).

    c_t is the share of training samples whose prediction at record t is not that at t - 1, C_t the mean of the last
    `k` of them. The run is ended at the first record with C_t > C_{t-1}, and t - 1 is kept. It needs no held-out
    samples. Minima below `least` do not count: where labels hardly change, their minimum is chance, and the rule is not
    applicable.
    """

    k: int = 3
    """Records of one mean."""
    least: float = 0.01
    """Share of changed predictions below which a minimum says nothing."""
    needs: ClassVar[tuple[str, ...]] = ("prediction",)

    def __post_init__(self) -> None:
        check_integer("k", self.k, 1, 3)
        if not is_number(self.least) or not 0 <= self.least <= 1:
            raise InputError(f"`least` must lie in [0, 1], got {self.least!r}; use for example 0.01")

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, and at which the run ends."""
        mean = self._means(evidence)
        rises = np.flatnonzero((mean[1:] > mean[:-1]) & (mean[:-1] >= self.least)) + 1
        if not rises.size:
            known = mean[~np.isnan(mean)]
            if known.size and known[-1] >= self.least:
                return stop_at(evidence, evidence.records - 1, None, f"{known[-1]:.1%} of the predictions change")
            said = f"{known[-1]:.1%}" if known.size else "an unknown share"
            return not_applicable(evidence, f"{said} of the predictions change, below {self.least:.1%} is chance")
        at = int(rises[0])
        words = f"{mean[at - 1]:.1%} of the predictions change, then {mean[at]:.1%}, {self._errors(evidence, at)}"
        return stop_at(evidence, at - 1, at, words)

    def candidates(self, evidence: Evidence) -> set[int]:
        """The choice; before the first minimum, the last record."""
        return {self.decide(evidence).chosen}

    def _means(self, evidence: Evidence) -> np.ndarray:
        """C_t; NaN before k shares are known."""
        padded = np.concatenate([np.full(self.k - 1, np.nan), evidence.changes])
        return np.lib.stride_tricks.sliding_window_view(padded, self.k).mean(axis=1)

    def _errors(self, evidence: Evidence, at: int) -> str:
        """The rise in standard errors: as counts, c_t enters the mean and c_{t-k} leaves it."""
        new, old = evidence.n * evidence.changes[at], evidence.n * evidence.changes[at - self.k]
        return f"a rise of {(new - old) / math.sqrt(max(new + old, 1)):.1f} standard errors"


@dataclass(frozen=True)
class RunningMean(StopRule):
    """Keep the record up to which the mean of all predictions so far has the least held-out loss.

    With p_t,i the probability of the given label of held-out sample i at record t, the loss is that of the mean
    prediction, L_t = -mean_i log(mean_{s <= t} p_s,i). It says when to end a mean that is kept from the first record
    on: of predictions, or of weights; as the choice of a single record it is late.
    """

    patience: int = 20
    """Records without a new least loss after which the run is ended."""
    needs: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_integer("patience", self.patience, 1, 20)

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, and at which the run ends."""
        loss = evidence.mixed_loss
        if not np.isfinite(loss).any():
            return not_applicable(evidence, "no held-out loss is a finite number")
        chosen, stopped, _ = _least(loss, 0, self.patience)
        return stop_at(evidence, chosen, stopped, "of the mean of all predictions up to each record")

    def candidates(self, evidence: Evidence) -> set[int]:
        """The choice: a later one lies among later records."""
        return {self.decide(evidence).chosen}


@dataclass(frozen=True)
class Combined(StopRule):
    """Several rules as one: the first, the last, or the one in the middle decides, of those that are applicable.

    It keeps the first (last, middle) of the records that they keep, and ends the run when the first (last, middle) of
    them would. Of an even number the earlier of the two in the middle counts.
    """

    rules: tuple[StopRule, ...]
    """Two rules or more."""
    how: Literal["first", "last", "median"] = "median"
    """Which of them decides."""

    def __post_init__(self) -> None:
        rules = tuple(self.rules) if isinstance(self.rules, tuple | list) else ()
        if len(rules) < 2 or not all(isinstance(rule, StopRule) for rule in rules):
            raise InputError(f"`rules` must be two stop rules or more, got {self.rules!r}; write (HeldOutLoss(), ...)")
        object.__setattr__(self, "rules", rules)
        check_types(self)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What its rules need."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.needs))

    def decide(self, evidence: Evidence) -> Stop:
        """Say which record to keep, and at which the run ends."""
        every = [rule.decide(evidence) for rule in self.rules]
        stops = [stop for stop in every if stop.applicable]
        if not stops:
            return not_applicable(evidence, "none of the rules is")
        middle = {"first": 0, "last": len(stops) - 1, "median": (len(stops) - 1) // 2}[self.how]
        chosen = sorted(stop.chosen for stop in stops)[middle]
        ends = sorted(math.inf if stop.stopped is None else stop.stopped for stop in stops)[middle]
        stopped = None if ends == math.inf else int(ends)
        out = f", {len(every) - len(stops)} not applicable" if len(stops) < len(every) else ""
        return stop_at(evidence, chosen, stopped, f"the {self.how} of {len(every)} rules{out}")

    def candidates(self, evidence: Evidence) -> set[int]:
        """Those of all its rules, and the last record."""
        own = set[int]().union(*(rule.candidates(evidence) for rule in self.rules))
        return own | {self.decide(evidence).chosen, evidence.records - 1}


STOP_RULES: dict[str, Callable[[int], StopRule]] = {
    "loss": HeldOutLoss,
    "accuracy": HeldOutAccuracy,
    "label-wave": lambda patience: LabelWave(),
    "running-mean": RunningMean,
    "median": lambda patience: Combined((HeldOutLoss(patience), HeldOutAccuracy(patience), LabelWave()), "median"),
}
"""Each rule by its word on the command line, made with a patience."""


def named_rule(name: str, patience: int) -> StopRule:
    """Return a rule by its word.

    Raises:
        InputError: there is none of that name.
    """
    if name not in STOP_RULES:
        raise InputError(f"`rule` must name a stop rule, got {name!r}{did_you_mean(str(name), STOP_RULES)}")
    return STOP_RULES[name](patience)
