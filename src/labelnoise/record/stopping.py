"""Where to stop training, from given labels alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError, check_integer


@dataclass(frozen=True)
class Stop:
    """What a stop rule decided."""

    chosen: int
    """The record to keep."""
    stopped: int | None
    """The record at which the rule ends the run; None if it never does."""
    falls: bool
    """Whether what the rule watches fell, after the chosen record, by more than chance: whether stopping pays."""
    reason: str
    """Why, in words."""


@dataclass(frozen=True)
class HeldOut:
    """Stop by accuracy on held-out samples against their *given* labels; the truth is never seen.

    Wrong labels are as frequent in the held-out part, so its accuracy peaks where the network is closest to the true
    labels (rate tau, K classes: near 1 - tau) and falls as the wrong labels are memorised. One accuracy is noisy, so
    the rule looks for the largest mean of `smooth` records, the last one on ties (a flat series gives no reason to
    stop), and keeps the best record among them: the one of least loss where losses are given, since accuracies of
    neighbours differ by little more than chance, else the most accurate one, the last on ties. *Falls* compares that
    mean with the mean of the last records: with independent errors and no trend (n = 200, accuracy 0.8, patience
    20, 200 records) it exceeds two standard errors of one accuracy in about 7 % of the cases.
    """

    n: int
    """Number of held-out samples; it fixes how large a fall must be to count."""
    patience: int = 20
    """Records without a new best mean after which the run is ended."""
    smooth: int = 5
    """Records of one mean."""

    def __post_init__(self) -> None:
        check_integer("n", self.n, 1, 100)
        check_integer("patience", self.patience, 1, 20)
        check_integer("smooth", self.smooth, 1, 5)

    def __call__(self, accuracy: np.ndarray, loss: np.ndarray | None = None) -> Stop:
        """Decide from the records so far; serves a finished run and a running one.

        Args:
            accuracy: (records,) share of held-out samples fitted to their given labels, in [0, 1].
            loss: (records,) their mean cross-entropy; None lets accuracy decide alone.
        """
        accuracy = np.asarray(accuracy, dtype=float)
        known = ~np.isnan(accuracy)
        if not known.any():
            raise InputError("`accuracy` must hold at least one number, got none; hold samples out of the training")
        if accuracy[known].min() < 0 or accuracy[known].max() > 1:
            raise InputError(f"`accuracy` must hold shares in [0, 1], got {accuracy[known].max():g}; 78 % is 0.78")
        mean = _running_mean(accuracy, self.smooth)
        best = np.maximum.accumulate(mean)
        leader = np.maximum.accumulate(np.where(mean >= best - 1e-12, np.arange(mean.size), 0))  # the last best so far
        waited = np.flatnonzero((np.arange(mean.size) - leader >= self.patience) & (best > -np.inf))
        stopped = int(waited[0]) if waited.size else None
        end = int(leader[-1 if stopped is None else stopped])
        start = max(end + 1 - self.smooth, 0)
        judged = accuracy if loss is None else -np.asarray(loss, dtype=float)
        if judged.shape != accuracy.shape:
            raise InputError(f"`loss` must have a value a record {accuracy.shape}, got {judged.shape}; use one run's")
        window = np.where(known & ~np.isnan(judged), judged, -np.inf)[start : end + 1]
        chosen = start + int(np.flatnonzero(window == window.max())[-1])
        high, low = float(mean[end]), float(mean[np.flatnonzero(mean > -np.inf)[-1]])
        chance = 2 * np.sqrt(max(high * (1 - high), 1 / self.n) / self.n)
        falls = bool(high - low > chance)
        what = f"held-out accuracy {high:.3f}, at the end {low:.3f}"
        limit = f"two standard errors ({chance:.3f}) of {self.n} samples"
        reason = (
            f"{what}: a fall of more than {limit}" if falls else f"{what}: within {limit}, no reason to stop is seen"
        )
        return Stop(chosen, stopped, falls, reason)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last `width` known records up to each one; -inf before the first known."""
    known = ~np.isnan(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    total, count = (np.concatenate([np.zeros(width), sums]) for sums in (total, count))
    found, records = total[width:] - total[:-width], count[width:] - count[:-width]
    return np.divide(found, records, out=np.full(values.shape, -np.inf), where=records > 0)
