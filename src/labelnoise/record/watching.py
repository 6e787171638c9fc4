"""A stop rule at work: record by record in any training loop, or on the record of a finished one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError, described
from labelnoise.record.evidence import Evidence, Observations, check_alike, checked_evidence, read_observation
from labelnoise.record.inputs import read_held_out
from labelnoise.record.means import bounded_loss
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import StopRule
from labelnoise.record.stopping import Stop

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import ArrayLike


class Watch:
    """A rule and what it has observed so far.

    It takes 5 to 10 bytes a held-out sample and record (room for records doubles where there is none left), and 16 a
    held-out sample and 4 a training sample, however many records there are.

    Args:
        rule: such as `HeldOutLoss()`.

    Example:
        >>> watch = Watch(HeldOutLoss(patience=2, smooth=1))
        >>> for loss in ([0.9, 0.7], [0.5, 0.3], [0.6, 0.4], [0.8, 0.7]):
        ...     stop = watch.observe(loss=loss)
        >>> stop.chosen, stop.stopped
        (1, 3)
    """

    def __init__(self, rule: StopRule) -> None:
        if not isinstance(rule, StopRule):
            raise InputError(f"`rule` must be a stop rule, got {described(rule)}; use for example HeldOutLoss()")
        self.rule = rule
        self.stop: Stop | None = None
        """What the rule says of the records so far; None before the first."""
        self._rows = Observations()
        self._prediction: np.ndarray | None = None
        self._n = 0

    @property
    def evidence(self) -> Evidence:
        """All records so far."""
        return self._rows.evidence(self._n)

    @property
    def records(self) -> int:
        """Number of records so far."""
        return self._rows.records

    @property
    def ended(self) -> bool:
        """Whether the rule has ended the run."""
        return self.stop is not None and self.stop.stopped is not None

    def observe(
        self,
        *,
        loss: Float[ArrayLike, " h"] | None = None,
        fitted: Bool[ArrayLike, " h"] | None = None,
        prediction: Int[ArrayLike, " n"] | None = None,
    ) -> Stop:
        """Take one record, usually an epoch, all measured in eval mode, and say what the rule says now.

        Args:
            loss: (h,) cross-entropy of each held-out sample against its given label, NaN for one that was not seen; or
                their mean alone, which has no standard error.
            fitted: (h,) whether the prediction of each of them is its given label.
            prediction: (n,) predicted class of each training sample; -1 for one that was not seen.

        Raises:
            InputError: the rule needs what is not given, or it is not of the samples of the records before. Nothing is
                taken then.
        """
        given = {"loss": loss, "fitted": fitted, "prediction": prediction}
        absent = [name for name in self.rule.needs if given[name] is None]
        if absent:
            raise InputError(f"`{absent[0]}` must be given at each record, got None; {self.rule!r} looks at it")
        row, classes = read_observation(loss, fitted, prediction, self._prediction)
        if self._rows.first:
            check_alike(row, self._rows.first)
        self._rows.append(row)
        if classes is not None:
            self._prediction, self._n = classes, classes.size
        self.stop = self.rule.decide(self.evidence)
        return self.stop

    def candidates(self) -> set[int]:
        """Records that the rule chooses now or may choose later, among those so far."""
        return self.rule.candidates(self.evidence) if self.records else set()

    def state_dict(self) -> dict[str, Any]:
        """Return the records so far as arrays, from which `load_state_dict` goes on: for checkpoints."""
        evidence = self.evidence
        last = np.zeros(0, np.int32) if self._prediction is None else self._prediction
        arrays = {"loss": evidence.loss, "fitted": evidence.fitted, "changes": evidence.changes, "prediction": last}
        return {**{name: array.copy() for name, array in arrays.items()}, "n": self._n}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the records of another watch of the same samples.

        Raises:
            InputError: the state is none, or lacks what the rule needs. Nothing is changed then.
        """
        rows, prediction, n = checked_evidence(state)
        known = {"loss": rows and rows[0].loss is not None, "fitted": rows and rows[0].fitted is not None}
        absent = [name for name in self.rule.needs if rows and not known.get(name, prediction is not None)]
        if absent:
            raise InputError(f"the state must hold `{absent[0]}`, got none; {self.rule!r} looks at it")
        self._rows, self._prediction, self._n = Observations(rows), prediction, n
        self.stop = self.rule.decide(self.evidence) if rows else None


def find_stop(rule: StopRule, recorder: Recorder, held_out: Bool[ArrayLike, " n"] | None = None) -> Stop:
    """Say where a rule stops on a record, as it would have said while the run went on.

    Records count from 0, and the reason names the epoch that is kept, counted from 1 as tables do.

    Args:
        rule: such as `HeldOutLoss()`.
        recorder: with one ended epoch or more.
        held_out: (n,) mask of the samples that were not trained on; None takes the recorder's own, if it has one.

    Raises:
        InputError: what is no rule or no recorder, an empty one, a mask that does not fit, or no held-out samples for a
            rule that needs them.
    """
    watch = watch_recorder(rule, recorder, held_out)
    assert watch.stop is not None  # there is an epoch
    return with_epoch(watch.stop, watch.records)


def with_epoch(stop: Stop, epochs: int) -> Stop:
    """Return a stop whose reason names the epoch that it keeps of so many, where each record is one."""
    return replace(stop, reason=f"epoch {stop.chosen + 1} of {epochs} (counted from 1) is kept: {stop.reason}")


def watch_recorder(rule: StopRule, recorder: Recorder, held_out: Bool[ArrayLike, " n"] | None = None) -> Watch:
    """Return the watch of a rule that has observed a record up to where the rule ends it; see `find_stop`."""
    watch = Watch(rule)
    if not isinstance(recorder, Recorder) or not recorder.epochs:
        raise InputError(f"`recorder` must hold an ended epoch, got {described(recorder)}; call `end_epoch` after each")
    mask = read_held_out(recorder.held_out if held_out is None else held_out, recorder.n_samples)
    if rule.needs_held_out and not mask.any():
        raise InputError(f"`held_out` must hold samples, got none; {rule!r} looks at their loss or accuracy")
    given = recorder.given
    for loss, prediction in zip(recorder.loss, recorder.prediction, strict=True):
        observe_record(watch, loss, prediction, given, mask)
        if watch.ended:
            break
    return watch


def observe_record(
    watch: Watch,
    loss: Float[np.ndarray, " n"],
    prediction: Int[np.ndarray, " n"],
    given: Int[np.ndarray, " n"],
    held_out: Bool[np.ndarray, " n"],
) -> Stop:
    """Let a watch observe one record of all samples, of which some are held out."""
    some, trained = held_out.any(), not held_out.all()
    return watch.observe(
        loss=bounded_loss(loss, prediction)[held_out] if some else None,
        fitted=(prediction == given)[held_out] if some else None,
        prediction=prediction[~held_out] if trained else None,
    )
