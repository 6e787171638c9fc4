"""Where to stop training, from given labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError, check_integer
from labelnoise.record.inputs import as_series

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import ArrayLike


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

    def __call__(
        self, accuracy: Float[ArrayLike, " records"], loss: Float[ArrayLike, " records"] | None = None
    ) -> Stop:
        """Decide from the records so far; serves a finished run and a running one.

        Args:
            accuracy: (records,) share of held-out samples fitted to their given labels, in [0, 1].
            loss: (records,) their mean cross-entropy; None lets accuracy decide alone.

        Raises:
            InputError: what is no series of numbers, no accuracy, one outside [0, 1], or another number of losses.
        """
        accuracy, judged = self._checked(accuracy, loss)
        mean = _running_mean(accuracy, self.smooth)
        end, stopped = self._best_mean(mean)
        chosen = self._best_record(accuracy, judged, end)
        high, low = float(mean[end]), float(mean[np.flatnonzero(mean > -np.inf)[-1]])
        chance = 2 * np.sqrt(max(high * (1 - high), 1 / self.n) / self.n)
        falls = bool(high - low > chance)
        return Stop(chosen, stopped, falls, self._reason(high, low, chance, falls))

    def _checked(self, accuracy: Any, loss: Any) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies, and what chooses among neighbours, the larger the better."""
        accuracy = as_series("accuracy", accuracy).astype(float)
        known = accuracy[~np.isnan(accuracy)]
        if not known.size:
            raise InputError("`accuracy` must hold at least one number, got none; hold samples out of the training")
        if known.min() < 0 or known.max() > 1:
            outside = known.max() if known.max() > 1 else known.min()
            raise InputError(f"`accuracy` must hold shares in [0, 1], got {outside:g}; 78 % is 0.78")
        judged = accuracy if loss is None else -as_series("loss", loss).astype(float)
        if judged.shape != accuracy.shape:
            raise InputError(f"`loss` must have a value a record {accuracy.shape}, got {judged.shape}; use one run's")
        return accuracy, judged

    def _best_mean(self, mean: np.ndarray) -> tuple[int, int | None]:
        """The record at which the best mean ends, and the one at which patience is over, if it is."""
        best = np.maximum.accumulate(mean)
        leader = np.maximum.accumulate(np.where(mean >= best - 1e-12, np.arange(mean.size), 0))  # the last best so far
        waited = np.flatnonzero((np.arange(mean.size) - leader >= self.patience) & (best > -np.inf))
        stopped = int(waited[0]) if waited.size else None
        return int(leader[-1 if stopped is None else stopped]), stopped

    def _best_record(self, accuracy: np.ndarray, judged: np.ndarray, end: int) -> int:
        """The best of the records of the mean that ends at `end`, the last one on ties."""
        start = max(end + 1 - self.smooth, 0)
        known = ~np.isnan(accuracy) & ~np.isnan(judged)
        window = np.where(known, judged, -np.inf)[start : end + 1]
        return start + int(np.flatnonzero(window == window.max())[-1])

    def _reason(self, high: float, low: float, chance: float, falls: bool) -> str:
        seen = f"held-out accuracy {high:.3f}, at the end {low:.3f}"
        limit = f"two standard errors ({chance:.3f}) of {self.n} samples"
        return f"{seen}: a fall of more than {limit}" if falls else f"{seen}: within {limit}, no reason to stop is seen"


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last `width` known records up to each one; -inf before the first known."""
    known = ~np.isnan(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    total, count = (np.concatenate([np.zeros(width), series]) for series in (total, count))
    sums, records = total[width:] - total[:-width], count[width:] - count[:-width]
    return np.divide(sums, records, out=np.full(values.shape, -np.inf), where=records > 0)
