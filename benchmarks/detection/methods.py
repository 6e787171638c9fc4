"""The candidates: scores, decisions and estimates of the rate from one training, and stops, each by name.

Those of the package stand beside simpler and older ones. None sees the truth; which are best is decided on the choosing
seeds (`grid.CHOOSING`) and reported on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from seen import Seen

from labelnoise.audit import scores as package
from labelnoise.audit.contradiction import Predictions, fifths, places, wilson
from labelnoise.audit.memory import left_out_predictions
from labelnoise.record.stop_rules import STOP_RULES, named_rule
from labelnoise.record.watching import find_stop

# --------------------------------------------------------------------------------------------------------------- scores


def share_rejected(seen: Seen, epochs: slice) -> np.ndarray:
    """Share of epochs whose prediction is not the given label; its probability decides ties."""
    return seen.wrong[epochs].mean(axis=0) + 1e-6 * (1 - seen.probability[epochs].mean(axis=0))


def relative_probability(seen: Seen) -> np.ndarray:
    """Minus the mean probability of the given label up to twice the stop, as a multiple of its mean in the class."""
    mean = seen.probability[seen.to_twice].mean(axis=0)
    size = np.maximum(np.bincount(seen.given), 1)
    return -mean / (np.bincount(seen.given, mean) / size)[seen.given]


def margin_to_twice(seen: Seen) -> np.ndarray:
    """Minus the mean margin up to twice the stop."""
    return -seen.margin[seen.to_twice].mean(axis=0)


def audited(seen: Seen) -> np.ndarray:
    """The score of the package's audit: the left-out margin to twice the stop, corrected by class."""
    return np.nan_to_num(seen.verdict.score)


def corrected_probability(seen: Seen) -> np.ndarray:
    """1 - the given label's mean probability to twice the stop, its odds corrected by class as the audit does."""
    share, factor = 1 - seen.probability[seen.to_twice].mean(axis=0), seen.verdict.rates.factors[seen.given]
    return factor * share / (factor * share + 1 - share)


def mean_rank(seen: Seen) -> np.ndarray:
    """Mean of the ranks by margin and by corrected probability, both up to twice the stop, in [0, 1]."""
    ranks = [np.argsort(np.argsort(score(seen), kind="stable")) for score in (margin_to_twice, corrected_probability)]
    return np.mean(ranks, axis=0) / max(seen.given.size - 1, 1)


PROBABILITY, RELATIVE = "`given-probability`", "relative probability, to twice the stop"
SUSPECTS = "`suspects`, the package's default"
MARGIN, MEAN_RANK = "`margin-to-twice`", "mean rank of margin and corrected probability"
CORRECTED = "corrected probability, to twice the stop"


def _of_package(name: str) -> Callable[[Seen], np.ndarray]:
    """A score of the package."""
    return lambda s: package.SCORES[name](s.training)


SCORES: dict[str, Callable[[Seen], np.ndarray]] = {
    SUSPECTS: audited,
    MEAN_RANK: mean_rank,
    CORRECTED: corrected_probability,
    RELATIVE: relative_probability,
    "probability, around the stop": lambda s: 1 - s.probability[s.around].mean(axis=0),
    "probability, to the stop": lambda s: 1 - s.probability[s.to_stop].mean(axis=0),
    "share rejected, to twice the stop": lambda s: share_rejected(s, s.to_twice),
    **{f"`{name}`": _of_package(name) for name in package.SCORES},
}
"""Each score (n,) by name; larger is more suspicious. The first is proposed; those in backticks are the package's."""


# ---------------------------------------------------------------------------------------------------------------- rates


def ranked(seen: Seen, epochs: slice, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which labels the network contradicts, and where each stands in its predicted class: 0 is the surest, 1 the least.

    Args:
        seen: a record.
        epochs: the majority of their predictions counts, and the mean probability of these.
        among: (n,) samples to look at; None for all.
    """
    rows = np.arange(seen.given.size) if among is None else np.flatnonzero(among)
    predicted = seen.predicted(epochs)[rows]
    return predicted != seen.given[rows], places(predicted, seen.sure(epochs)[rows])


def anchored(seen: Seen, epochs: slice, share: float, among: np.ndarray | None = None) -> tuple[int, int]:
    """Labels that the network contradicts among its anchors, and the number of anchors.

    Anchors are the `share` of the samples of each predicted class of which the network is most sure (Patrini et al.
    2017): there it hardly errs, so that a contradicted label is a wrong one. Before Stage II the samples that it trains
    on may be among them: it has not memorised them yet.
    """
    contradicted, place = ranked(seen, epochs, among)
    return int(contradicted[place < share].sum()), int((place < share).sum())


def anchor_rate(seen: Seen, share: float = 0.75) -> tuple[float, float, float]:
    """Rate from the anchors among all samples, up to the stop."""
    wrong, count = anchored(seen, seen.to_stop, share)
    return (wrong / count, *wilson(wrong, count))


def fifths_rate(seen: Seen, epochs: slice | None = None) -> tuple[float, float, float]:
    """Rate from five equal parts of each predicted class, up to the stop, by what is predicted alone."""
    epochs = seen.to_stop if epochs is None else epochs
    return fifths([Predictions.of(seen.predicted(epochs), seen.sure(epochs), seen.given)])


def left_out_rate(seen: Seen) -> tuple[float, float, float]:
    """The same by what would be predicted up to twice the stop of samples that were left out."""
    return fifths([left_out_predictions(seen.training)])


def held_out_anchor_rate(seen: Seen, share: float = 0.5) -> tuple[float, float, float]:
    """Rate from anchors among held-out samples, around the stop."""
    wrong, count = anchored(seen, seen.around, share, seen.held_out)
    return (wrong / count, *wilson(wrong, count))


def _rejection(mask: np.ndarray) -> tuple[float, float, float]:
    return (float(mask.mean()), *wilson(int(mask.sum()), mask.size))


def audited_rate(seen: Seen) -> tuple[float, float, float]:
    """What the package's audit says; all of it is open where nothing can be decided."""
    rates = seen.verdict.rates
    return rates.rate, rates.low, rates.high


def mixture_rate(seen: Seen) -> tuple[float, float, float]:
    """Share of the upper of two normal distributions fitted to the logit of the mean probability to twice the stop."""
    from sklearn.mixture import GaussianMixture

    mean = seen.probability[seen.to_twice].mean(axis=0).clip(1e-4, 1 - 1e-4)
    values = np.log((1 - mean) / mean)[:, None]
    fitted = GaussianMixture(2, random_state=0).fit(values)
    upper = fitted.means_[:, 0].argmax()
    return float((fitted.predict(values) == upper).mean()), np.nan, np.nan


RATES: dict[str, Callable[[Seen], tuple[float, float, float]]] = {
    "`suspects`": audited_rate,
    "fifths, to the stop": fifths_rate,
    "fifths, around the stop": lambda s: fifths_rate(s, s.around),
    "fifths, left out": left_out_rate,
    "anchors, to the stop": anchor_rate,
    "anchors, held out": held_out_anchor_rate,
    "rejected around the stop": lambda s: _rejection(s.rejected),
    "rejected, held out": lambda s: _rejection(s.rejected[s.held_out]),
    "mixture of two": mixture_rate,
}
"""Each estimate by name: the rate and the ends of its 90% interval. The first is proposed."""


# ------------------------------------------------------------------------------------------------------------ decisions


def counted(seen: Seen, score: str, rate: str) -> np.ndarray:
    """The most suspicious samples by a score, as many as an estimated rate says."""
    flagged = np.zeros(seen.given.size, dtype=bool)
    number = round(RATES[rate](seen)[0] * flagged.size)
    flagged[np.argsort(-SCORES[score](seen), kind="stable")[:number]] = True
    return flagged


def _as_counted(score: str, rate: str) -> Callable[[Seen], np.ndarray]:
    return lambda seen: counted(seen, score, rate)


def cautious(seen: Seen) -> np.ndarray:
    """As many as half of the way from the lower end of the audit's interval to its rate, by its score."""
    rates, flagged = seen.verdict.rates, np.zeros(seen.given.size, dtype=bool)
    if seen.verdict.flagged.any():
        order = np.argsort(-audited(seen), kind="stable")
        flagged[order[: round((rates.low + rates.rate) / 2 * flagged.size)]] = True
    return flagged


DECISIONS: dict[str, Callable[[Seen], np.ndarray]] = {
    "`suspects`, counted": lambda s: s.verdict.flagged,
    "`suspects`, capped": lambda s: s.capped,
    "`suspects`, half of the way from the lower end": cautious,
    "mean rank, as many as fifths say": _as_counted(MEAN_RANK, "fifths, to the stop"),
    "`suspects`, as many as fifths say": _as_counted(SUSPECTS, "fifths, to the stop"),
    "margin, as many as fifths say": _as_counted(MARGIN, "fifths, to the stop"),
    "relative probability, as many as fifths say": _as_counted(RELATIVE, "fifths, to the stop"),
    "probability, as many as fifths say": _as_counted(PROBABILITY, "fifths, to the stop"),
    "probability, as many as anchors say": _as_counted(PROBABILITY, "anchors, to the stop"),
    "probability, as many as held-out anchors say": _as_counted(PROBABILITY, "anchors, held out"),
    "probability, as many as a mixture says": _as_counted(PROBABILITY, "mixture of two"),
    "margin < 0 around the stop": lambda s: s.rejected,
    "margin < 0 to the stop": lambda s: s.margin[s.to_stop].mean(axis=0) < 0,
    "margin < 0 to twice the stop": lambda s: s.margin[s.to_twice].mean(axis=0) < 0,
    "margin < 0 at the stop": lambda s: s.margin[s.stop] < 0,
    "margin < 0 at the last epoch": lambda s: s.margin[-1] < 0,
    "rejected in most epochs to twice the stop": lambda s: s.wrong[s.to_twice].mean(axis=0) > 0.5,
    "rejected in most of all epochs": lambda s: s.wrong.mean(axis=0) > 0.5,
}
"""Each decision (n,) by name; True is flagged. The first is proposed."""


# ---------------------------------------------------------------------------------------------------------------- stops


PATIENCE = 20
"""Epochs that a rule waits for a better one."""


def _by_rule(name: str) -> Callable[[Seen], int]:
    return lambda seen: find_stop(named_rule(name, PATIENCE), seen.recorder, seen.held_out).chosen


STOPS: dict[str, Callable[[Seen], int]] = {
    **{f"`{name}`": _by_rule(name) for name in STOP_RULES},
    "least held-out loss of all epochs, mean of 3": lambda s: s.stop,
    "last epoch": lambda s: s.epochs - 1,
}
"""Each stop by name: the epoch, from 0, that it keeps. Those in backticks are the package's."""
