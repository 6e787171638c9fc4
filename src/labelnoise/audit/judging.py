"""From the records of one or several trainings to a verdict on every label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.audit.chances import chances_of, confidence
from labelnoise.audit.decisions import DECISIONS
from labelnoise.audit.learning import learning_of, undecided_rates
from labelnoise.audit.pooling import Basis, caveats_of, pool
from labelnoise.audit.rates import Rates, estimate_rates
from labelnoise.audit.recorded import RecordedTraining, mean_seen, read_training
from labelnoise.audit.running import read_sums
from labelnoise.audit.scores import SCORES
from labelnoise.errors import InputError, described, did_you_mean
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Verdict:
    """What an audit says of every sample, in the order of the data."""

    given: Int[np.ndarray, " n"]
    """Given labels; -1 for a sample that was never seen."""
    suggested: Int[np.ndarray, " n"]
    """The class that most trainings predict around the stop, the given one where they accept it; -1 for a sample that
    was never seen."""
    score: Float[np.ndarray, " n"]
    """Larger is more suspicious; NaN for a sample that was never seen."""
    confidence: Float[np.ndarray, " n"]
    """Estimated probability that the given label is wrong, in [0, 1]; they add up to the estimated number of them."""
    flagged: Bool[np.ndarray, " n"]
    rates: Rates
    margin: Float[np.ndarray, "epochs n"]
    """Mean margin over the trainings, as many epochs as the shortest has; none of running sums."""
    stops: tuple[int, ...]
    """Epochs of Stage I of each training of which they are known."""
    reason: str
    """What the stop of the first training is based on."""
    notes: tuple[str, ...]
    """What a reader must know of this audit, a sentence each."""

    @property
    def decided(self) -> bool:
        """Whether chances are given: not where nothing can be decided, or no sample was seen."""
        return bool(np.isfinite(self.confidence).any())

    def to_frame(self) -> pd.DataFrame:
        """A row a sample that was seen, the most suspicious first; the columns are those of `suspects`."""
        order = np.argsort(-self.score, kind="stable")
        order = order[np.isfinite(self.score[order])]
        columns = {
            name: getattr(self, name)[order] for name in ("given", "suggested", "score", "confidence", "flagged")
        }
        return pd.DataFrame({"index": order, **columns})


def judge(
    trainings: Sequence[RecordedTraining], score: str | None = None, decision: str = "counted", seed: int = 0
) -> Verdict:
    """Judge every given label by the records of one or several trainings on it.

    Scores are means over the trainings. A training that holds a sample out says of it what it never memorised; where
    each sample is held out once, the rates rest on all of them.

    Args:
        trainings: one or more trainings on the same given labels.
        score: a key of `SCORES`; None takes the first, or `share-rejected` where no stop is known. Running sums have
            `given-probability` alone.
        decision: a key of `DECISIONS`.
        seed: of the bootstrap.

    Raises:
        InputError: a name that is no score or decision, a score of running sums, or trainings on other labels.
    """
    name = _score_name(trainings[0], score)
    check_name("decision", decision, DECISIONS)
    given = _common_labels(trainings)
    basis = pool(trainings)
    rejected = (basis.margins < 0) & (basis.suggested != given)
    columns = basis.predicted, basis.sure, given, basis.held_out
    rates = estimate_rates(*columns, trainings[0].n_classes, basis.early, basis.left_out, seed)
    learning = learning_of(basis, given, trainings[0].n_classes)
    rates, undecided = undecided_rates(rates, learning)
    values = mean_seen(np.array([SCORES[name](one) for one in trainings]))
    if name in SHARES:
        values = _corrected(values, rates.factors[given])
    elif name in LOG_ODDS:
        values = values + np.log(rates.factors)[given]
    values = np.where(given < 0, np.nan, values)
    if (known := np.isfinite(values)).any():
        given = np.where(known, given, -1)  # recorded with NaN alone is as good as never seen
    flagged = np.zeros(given.size, bool) if undecided else DECISIONS[decision](values, rejected, given, rates)
    return Verdict(
        given=given,
        suggested=basis.suggested,
        score=values,
        confidence=np.full(given.size, np.nan) if undecided else _confidence(values, flagged, rates, basis, given),
        flagged=flagged,
        rates=rates,
        margin=_mean_margin(trainings),
        stops=tuple(one.known_stop for one in trainings if one.known_stop is not None),
        reason=trainings[0].reason,
        notes=(
            *caveats_of(trainings, given, rates, undecided, "" if undecided else learning.doubt(rates.rate)),
            *_accepted(flagged, basis.suggested == given),
        ),
    )


def _score_name(training: RecordedTraining, score: Any) -> str:
    """The name of the score, or a refusal."""
    if score is None:
        return OF_SUMS if training.of_sums else DEFAULT if training.stop_known else "share-rejected"
    check_name("score", score, SCORES)
    if training.of_sums:
        raise InputError(f"`score` needs a history, got {score!r} for {SUMS_ALONE}")
    return str(score)


def suspects(
    recorder: Recorder | list[Recorder] | tuple[Recorder, ...],
    *,
    held_out: ArrayLike | Sequence[ArrayLike | None] | None = None,
    stop: int | None = None,
    score: str | None = None,
    decision: str = "counted",
) -> pd.DataFrame:
    """List the samples of a recorded training, the most suspicious first.

    The default score is minus the mean margin up to twice the end of Stage I, which the held-out samples tell, without
    what the network has memorised of the sample itself, plus how much more often labels of the class are wrong. Without
    such samples it is the share of epochs in which another class was predicted. The most suspicious ones are flagged,
    as many as are estimated to be wrong.

    Args:
        recorder: a `Recorder`, or a list of those of several trainings on the same labels.
        held_out: (n,) mask of the samples that were recorded and not trained on, or a list of such masks.
        stop: epochs of Stage I, counted from 1; None finds them.
        score: a key of `labelnoise.audit.scores.SCORES`; None for the default.
        decision: `counted`, `capped`, `rejected` or `mixture`.

    Returns:
        A row a sample with columns index (its position), given, suggested, score (larger is more suspicious),
        confidence (that the label is wrong, in [0, 1]) and flagged. `attrs` holds `rate`, `interval`, `stop` (None
        where none is known), `reason` and `notes`: what a reader must know. A sample that was never seen is left out,
        and a note says so.

    Raises:
        InputError: no recorder, an empty one, or one of other data than the mask or the other recorders.

    Example:
        >>> recorder = Recorder(n_samples=3, n_classes=2)
        >>> recorder.update([0, 1, 2], [[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]], [0, 1, 1])
        >>> _ = recorder.end_epoch()
        >>> suspects(recorder)["index"].tolist()
        [1, 0, 2]
    """
    recorders = list(recorder) if isinstance(recorder, list | tuple) else [recorder]
    several = held_out is not None and isinstance(recorder, list | tuple)
    masks: Any = held_out if several else [held_out] * len(recorders)
    if not recorders:
        raise InputError("`recorder` must be a Recorder or a list of them, got an empty list; record a training first")
    if not isinstance(masks, list | tuple) or len(masks) != len(recorders):
        raise InputError(
            f"`held_out` must be a list of a mask a recorder ({len(recorders)}), got {described(held_out)}; give as "
            "many of both"
        )
    if any(isinstance(one, Recorder) and one.epochs and not one.history for one in recorders):
        trainings = _of_sums(recorders, held_out, stop)
    else:
        trainings = [read_training(one, mask, stop) for one, mask in zip(recorders, masks, strict=True)]
    verdict = judge(trainings, score, decision)
    frame = verdict.to_frame()
    frame.attrs.update(
        rate=verdict.rates.rate,
        interval=(verdict.rates.low, verdict.rates.high),
        stop=trainings[0].known_stop,
        reason=verdict.reason,
        notes=list(verdict.notes),
    )
    return frame


def _of_sums(recorders: list[Any], held_out: Any, stop: Any) -> list[RecordedTraining]:
    """Trainings of recorders that keep no history, which know their own masks and stops."""
    if not all(isinstance(one, Recorder) and one.epochs and not one.history for one in recorders):
        raise InputError("`recorder` must be all with a history or all without, got both; record them alike")
    for name, value in (("held_out", held_out), ("stop", stop)):
        if value is not None:
            raise InputError(f"`{name}` needs a history, got {described(value)} for {SUMS_ALONE}")
    return [read_sums(one) for one in recorders]


DEFAULT = next(iter(SCORES))
"""The default score."""
LOG_ODDS = ("left-out-margin", "margin-to-twice")
"""Scores that are log-odds, to which those of the class are added."""
OF_SUMS = "given-probability"
"""The score of running sums, which hold no margin up to twice the stop."""
SUMS_ALONE = "a recorder of running sums; make it with history=True, or leave this out"
"""What has no history, and the remedy."""
SHARES = ("given-probability", "share-rejected")
"""Scores that are 1 minus a probability, whose odds are corrected by class."""


def _accepted(flagged: np.ndarray, same: np.ndarray) -> list[str]:
    """What is to be said of suspects for which no other class is suggested."""
    count = int((flagged & same).sum())
    words = (
        f"suspects whose label the model accepts, though it is suspicious: {count:,} of {flagged.sum():,}; no other "
        "class is suggested for these (`suggested` is the given label, which cleaning keeps): look, and decide yourself"
    )
    return [words] * bool(count)


def _common_labels(trainings: Sequence[RecordedTraining]) -> np.ndarray:
    """The given labels; refused where trainings are of other samples, classes or labels."""
    first = trainings[0]
    given = first.given.copy()
    for one in trainings[1:]:
        if one.given.shape != given.shape or one.n_classes != first.n_classes:
            raise InputError(
                f"records must be of the same data, got {given.size} samples of {first.n_classes} classes beside "
                f"{one.given.size} of {one.n_classes}; give those of one data set"
            )
        both = (given >= 0) & (one.given >= 0)
        if (given[both] != one.given[both]).any():
            at = int(np.flatnonzero(both & (given != one.given))[0])
            raise InputError(
                f"records must be of the same labels, got {given[at]} and {one.given[at]} for sample {at}; give "
                "records of one data set before any relabelling"
            )
        given = np.where(given < 0, one.given, given)
    return given


def _corrected(score: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A share whose odds are multiplied by a factor."""
    with np.errstate(invalid="ignore"):
        return factor * score / (factor * score + (1 - score))


def _confidence(values: np.ndarray, flagged: np.ndarray, rates: Rates, basis: Basis, given: np.ndarray) -> np.ndarray:
    """Chances (n,) that a label is wrong; without an estimate of the rate they add up to the number that is flagged."""
    known = np.isfinite(values)
    if not rates.known:
        return confidence(values, float(flagged[known].mean()) if known.any() else 0.0)
    views = [(view.predicted, view.sure) for view in basis.early]
    views = views or [(np.where(basis.held_out, basis.predicted, -1), basis.sure)]
    chances = [chances_of(*view, given, rates.rate, len(rates.transition)) for view in views]
    return confidence(values, rates.rate, mean_seen(np.array(chances)))


def _mean_margin(trainings: Sequence[RecordedTraining]) -> np.ndarray:
    if trainings[0].of_sums:  # one epoch stands for all
        return trainings[0].margin[:0]
    if len(trainings) == 1:
        return trainings[0].margin
    shortest = min(len(one.margin) for one in trainings)
    total = np.zeros((shortest, trainings[0].given.size), np.float32)
    count = np.zeros_like(total)
    for one in trainings:
        seen = np.isfinite(one.margin[:shortest])
        total += np.where(seen, one.margin[:shortest], 0)
        count += seen
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def check_name(name: str, value: Any, options: Iterable[str]) -> None:
    """Refuse what is none of the names.

    Raises:
        InputError: it suggests the nearest.
    """
    options = list(options)
    if not isinstance(value, str) or value not in options:
        near = did_you_mean(value, options, listed=True) if isinstance(value, str) else "; choose one of these"
        raise InputError(f"`{name}` must be one of {', '.join(options)}, got {described(value)}{near}")
