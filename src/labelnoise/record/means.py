"""Means of held-out samples and of neighbouring records, in which what was not seen is a gap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mean_known(values: np.ndarray) -> float:
    """Mean of the values (h,) that are no NaN, in float64; NaN where there are none."""
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        values = values if known.all() else values[known]
    return float(values.mean(dtype=float)) if values.size else math.nan


def centred_mean(series: Sequence[float], at: int, half: int, last: int) -> float:
    """Mean of the values around a record that are known at record `last`; infinite where its own is no number.

    Args:
        series: a value a record.
        at: the record.
        half: as many before it and after it.
        last: what comes later does not count.
    """
    if math.isnan(series[at]):
        return math.inf
    window = [value for value in series[max(at - half, 0) : min(at + half, last) + 1] if not math.isnan(value)]
    return sum(window) / len(window)


class MixedLoss:
    """Loss of the mean of all predictions so far, L_t = -mean_i log(mean_{s <= t} p_s,i), record by record.

    With p_s,i the probability of the given label of held-out sample i at record s; the mean of a sample is over the
    records in which it was seen.
    """

    def __init__(self) -> None:
        self._total: np.ndarray | None = None
        self._seen: np.ndarray | None = None

    def add(self, loss: np.ndarray) -> float:
        """Take the losses (h,) of a record, and return L_t; NaN where none is known."""
        if self._total is None or self._seen is None:
            self._total, self._seen = np.full(loss.shape, -np.inf), np.zeros(loss.shape, np.int64)
        known = ~np.isnan(loss)
        with np.errstate(invalid="ignore"):  # NaN
            self._total = np.where(known, np.logaddexp(self._total, -loss.astype(float)), self._total)
        self._seen = self._seen + known
        ever = self._seen > 0
        return float((np.log(self._seen[ever]) - self._total[ever]).mean()) if known.any() else math.nan
