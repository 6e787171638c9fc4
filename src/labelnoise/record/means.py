"""Means of held-out samples and of neighbouring records, in which what was not seen is a gap."""

from __future__ import annotations

import math

import numpy as np

from labelnoise.record.measures import LARGEST


def mean_known(values: np.ndarray) -> float:
    """Mean of the values (h,) that are no NaN, in float64; NaN where there are none."""
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        values = values if known.all() else values[known]
    return float(values.mean(dtype=float)) if values.size else math.nan


def bounded_loss(loss: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Losses of any shape, none of which counts as more than `LARGEST` in a mean, unless the output is no number.

    A label that is masked has a loss of 1e30, or infinity, in every record, beside which all others would not count.
    """
    return np.where(prediction >= 0, np.minimum(loss, LARGEST), loss)


def centred_means(series: np.ndarray, before: int, after: int) -> np.ndarray:
    """Mean (records,) of the values around each record that are known; infinite where its own is no finite number.

    Added up one by one, so that means of the same values are equal to the last bit, wherever their record lies.

    Args:
        series: (records,) a value a record.
        before: records before it; fewer at the start.
        after: records after it; fewer at the end.
    """
    padded = np.pad(series.astype(float), (before, after), constant_values=np.nan)
    total, count = np.zeros(series.size), np.zeros(series.size, int)
    for start in range(before + 1 + after):
        values = padded[start : start + series.size]
        known = ~np.isnan(values)
        total += np.where(known, values, 0.0)
        count += known
    return np.where(np.isfinite(series), total / np.maximum(count, 1), np.inf)


def last_least(values: np.ndarray) -> int:
    """The record of the least value, the last one on ties: what does not rise gives no reason to stop."""
    return values.size - 1 - int(np.argmin(values[::-1]))


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
