"""What several trainings together predict, and what a reader must know before he believes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelnoise.audit.contradiction import Predictions
from labelnoise.audit.memory import left_out_predictions
from labelnoise.audit.rates import Rates
from labelnoise.audit.recorded import RecordedTraining, mean_seen


@dataclass(frozen=True, eq=False)
class Basis:
    """What several trainings together predict, each (n,): around their stops, and up to them."""

    suggested: np.ndarray
    margins: np.ndarray
    predicted: np.ndarray
    """Of a sample that a training held out, the prediction of that training."""
    sure: np.ndarray
    held_out: np.ndarray
    early: tuple[Predictions, ...]
    """What each training says up to its stop; none where the held-out samples say enough: at least half of those that
    were seen, or where a stop is not known."""
    left_out: tuple[Predictions, ...]
    """What each would say up to twice its stop, had a sample been left out; none where the others are none."""


def pool(trainings: Sequence[RecordedTraining]) -> Basis:
    """Bring the predictions of several trainings together."""
    predictions = [one.predicted() for one in trainings]
    predicted, sure = (np.array(part) for part in zip(*predictions, strict=True))
    outside = np.array([one.held_out for one in trainings])
    seen = predicted >= 0
    first = (seen * (1 + outside)).argmax(axis=0)  # the first training that held it out and saw it; else that saw it
    everyone = np.arange(first.size)
    votes = [np.where(row >= 0, (predicted == row).sum(axis=0), 0) for row in predicted]
    suggested = predicted[np.argmax(votes, axis=0), everyone]
    margins = mean_seen(np.array([one.margins() for one in trainings]))
    pooled = predicted[first, everyone]
    held_out = np.any(outside & seen, axis=0)
    few = 2 * np.count_nonzero(held_out & (pooled >= 0)) < np.count_nonzero(pooled >= 0)
    usable = trainings if few and all(one.stop_known for one in trainings) else ()
    sources = [one for one in usable if (one.prediction[: one.stop] >= 0).any()]  # some diverge at once
    early = tuple(_early_view(one) for one in sources)
    left_out = tuple(left_out_predictions(one) for one in sources)
    return Basis(suggested, margins, pooled, sure[first, everyone], held_out, early, left_out)


def _early_view(training: RecordedTraining) -> Predictions:
    """What a training says up to its stop."""
    return Predictions.of(*training.predicted(slice(0, training.stop)), training.given)


def caveats_of(
    trainings: Sequence[RecordedTraining], given: np.ndarray, rates: Rates, undecided: str, doubt: str
) -> list[str]:
    """Return what a reader must know, a sentence each."""
    notes = [sentence for sentence in (undecided, doubt) if sentence]
    if not any(one.held_out.any() for one in trainings):
        given_stop = all(one.stop_known for one in trainings)
        lost = "nothing tells whether the stop is right" if given_stop else "there is no stop, no estimate of the rate"
        notes.append(
            f"no samples were held out, so {lost}, and memorised wrong labels are missed: hold about 10% out and give "
            "their mask as `held_out`"
        )
    elif not rates.known and not undecided:
        notes.append(f"the rate is not estimated: {rates.reason}")
    notes += [
        f"in the last {one.lost} of {len(one.margin)} epochs no sample has an output that is a number, as where a "
        "training diverges: nothing here rests on them; if it did, lower the learning rate, and train again"
        for one in trainings
        if one.lost
    ][:1]
    if trainings[0].of_sums:
        score = ", and the score is `given-probability`, which ranks worse than the default"
        notes.append(
            "the recorder kept running sums and no history: there are no margins along training"
            f"{score * trainings[0].stop_known}; record with history=True to have more"
        )
    unseen = int((given < 0).sum())
    if unseen:
        notes.append(f"samples without a recorded output (none was given, or NaN alone), which are left out: {unseen}")
    return notes
