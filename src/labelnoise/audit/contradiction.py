"""The rate of wrong labels from what is contradicted in five equal parts of the samples, the surest first.

Where a network errs it contradicts right labels, most where it is least sure; where it has begun to memorise, it
accepts wrong ones, most where it is surest. Label noise alone is the same everywhere.

Two views of a training are averaged, whose biases are opposite: what it predicts up to the stop, of which some wrong
labels are memorised, and what it would predict up to twice the stop of a sample that it had not trained on, which errs
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class Predictions(NamedTuple):
    """What a network says of each sample and its given label."""

    predicted: Int[np.ndarray, " n"]
    """Class; -1 where the sample was not seen."""
    sure: Float[np.ndarray, " n"]
    """Its probability."""
    contradicted: Bool[np.ndarray, " n"]
    """Whether another class than the given one is more likely."""

    @classmethod
    def of(cls, predicted: np.ndarray, sure: np.ndarray, given: np.ndarray) -> Predictions:
        """Those of a network that contradicts each label that it does not predict."""
        return cls(predicted, sure, predicted != given)


PARTS = 5
"""Parts of each predicted class, from the surest to the least sure."""
FITTED = 3
"""Parts, from the surest on, that a straight line is fitted to."""
QUANTILES = (0.2, 0.4, 0.6)
"""Of the parts' shares of contradicted labels: lower end, rate and upper end, where the network errs little."""


class Errors(NamedTuple):
    """What of the contradicted labels is taken for errors of the network."""

    little: float
    """Share of contradicted labels up to which none is."""
    much: float
    """Share from which on all is but what the line leaves."""
    beyond: float
    """Parts that the straight line goes on beyond the surest."""


OF_ALL, OF_HELD_OUT = Errors(0.2, 0.7, 2.0), Errors(0.25, 0.5, 1.5)
"""Of all samples by two views, and of held-out ones, whose errors are more frequent."""
Z = 1.645
"""Standard errors on each side of a 90% interval."""


def fifths(views: Sequence[Predictions]) -> tuple[float, float, float]:
    """Return the rate, and the ends of its 90% interval.

    Let c_1 to c_5 be the shares of contradicted labels of the five parts, c their mean and q their quantiles. Where
    little is contradicted the network errs little, and the rate is q(0.4): c_1 is too low, since wrong labels are
    memorised there. Where much is, most of it is its errors, fewer from part to part towards the surest; the rate is
    what is left two parts before the surest on the straight line through the three surest ones,
    l = max((c_1 + c_2 + c_3) / 3 - 1.5 (c_3 - c_1), 0). In between both have a say:

        rate = (1 - w) q(0.4) + w min(l, q(0.4)),    w = (c - 0.2) / 0.5 within [0, 1].

    The interval reaches up to (1 - w) q(0.6) + w max(m, c_2) and down to the least of q(0.2), m = min(l, q(0.4)) and
    what the surest fifth of all samples shows, see `surest`, each with the error of its samples. Of several views the
    shares are averaged.
    """
    every = [contradicted_shares(view) for view in views]
    of_views = np.array([share for share, _ in every])
    filled = np.isfinite(of_views).any(axis=0)  # classes of two samples leave parts empty
    shares = np.nanmean(of_views[:, filled], axis=0)
    number = max(count for _, count in every)
    low, middle, high = np.quantile(shares, QUANTILES)
    errs, line = errors_of(shares, OF_ALL)
    line = min(line, middle)
    rate, upper = (1 - errs) * middle + errs * line, (1 - errs) * high + errs * max(line, shares[:2][-1])
    most, one = max(round(3 / PARTS * number), 1), max(round(number / PARTS), 1)
    least = min(_ends(low, most)[0], _ends(line, one)[0], surest(views))
    return float(rate), least, _ends(upper, most)[1]


def errors_of(shares: Float[np.ndarray, " parts"], errors: Errors) -> tuple[float, float]:
    """Return how far contradicted labels are to be taken for the network's errors, w of `fifths`, and the line l.

    The line is fitted to the three surest parts by least squares: of few samples two of them alone say little.

    Args:
        shares: of contradicted labels, the surest part first.
        errors: what is taken for errors.
    """
    errs = np.clip((shares.mean() - errors.little) / (errors.much - errors.little), 0, 1)
    first = shares[:FITTED]
    slope = np.polyfit(np.arange(first.size), first, 1)[0] if first.size > 1 else 0.0
    return float(errs), max(float(first.mean() - slope * ((first.size - 1) / 2 + errors.beyond)), 0.0)


def surest(views: Sequence[Predictions]) -> float:
    """Return the lower end of the 90% interval of the share of contradicted labels in the surest fifth of all samples.

    The estimates look at each predicted class by itself, so that wrong labels of one class are not missed; but a class
    that the network takes for another errs among its surest samples, too. Over all classes together the surest samples
    are those of the classes that it knows: what is contradicted there is hardly its error, and the rate may be as low.
    """
    shares, count = [], 1
    for view in views:
        seen = np.flatnonzero(view.predicted >= 0)
        count = max(-(-seen.size // PARTS), 1)
        first = seen[np.argsort(-view.sure[seen], kind="stable")[:count]]
        shares.append(float(view.contradicted[first].mean()))
    return _ends(float(np.mean(shares)), count)[0]


def places(predicted: Int[np.ndarray, " n"], sure: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return where each sample stands in its predicted class: near 0 the surest, near 1 the least sure."""
    rank, size = ranks(predicted, sure)
    return (rank + 0.5) / size


def ranks(
    predicted: Int[np.ndarray, " n"], sure: Float[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return how many samples of its predicted class are surer than each, first of equal ones, and its size."""
    order, sizes = np.lexsort((-sure, predicted)), np.bincount(predicted)
    rank = np.empty(predicted.size, int)
    rank[order] = np.arange(predicted.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank, sizes[predicted]


def wilson(count: int, n: int) -> tuple[float, float]:
    """Ends of the 90% interval of a share count / n."""
    share = count / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n)) / (1 + Z**2 / n)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)  # beyond by rounding alone


def _ends(share: float, n: int) -> tuple[float, float]:
    return wilson(round(float(share) * n), n)


def contradicted_shares(view: Predictions) -> tuple[Float[np.ndarray, " parts"], int]:
    """Return the shares of contradicted labels of the five parts, NaN of an empty one, and the number of samples."""
    seen = view.predicted >= 0
    part = np.minimum((PARTS * places(view.predicted[seen], view.sure[seen])).astype(int), PARTS - 1)
    size = np.bincount(part, minlength=PARTS)
    sums = np.bincount(part, view.contradicted[seen], minlength=PARTS)
    return np.divide(sums, size, out=np.full(PARTS, np.nan), where=size > 0), int(seen.sum())
