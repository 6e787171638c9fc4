"""Where to stop training, from given labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError, check_integer, counted
from labelnoise.record.inputs import as_mask, as_series

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Fall:
    """How far held-out accuracy lies below its best at the end of a run, and what chance alone would do."""

    high: float
    """Accuracy at the stop; the mean that chose it where accuracies alone are known."""
    low: float
    """The same at the end."""
    error: float
    """One standard error of what is compared."""
    n: int
    """Held-out samples."""
    paired: bool
    """Whether the same samples were compared one by one; else two accuracies, as if of different samples."""

    @property
    def seen(self) -> bool:
        """Whether the fall exceeds two standard errors."""
        return bool(self.high - self.low > 2 * self.error)

    @property
    def reason(self) -> str:
        """What was seen, in words."""
        seen = f"held-out accuracy {self.high:.3f}, at the end {self.low:.3f}"
        errors = "paired standard errors" if self.paired else "standard errors"
        limit = f"two {errors} ({2 * self.error:.3f}) of {counted(self.n, 'sample')}"
        verdict = f"a fall of more than {limit}" if self.seen else f"within {limit}, no reason to stop is seen"
        return f"{seen}: {verdict}"


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
    fall: Fall | None
    """By how much held-out accuracy fell, and the error of that; None where it was not observed."""
    between: tuple[int, int] | None = None
    """First and last record around the chosen one that the held-out samples cannot tell from it (two paired standard
    errors of their loss): how sure the choice is. None where single samples are not known."""
    applicable: bool = True
    """Whether the rule has anything to go by; where not, the last record is kept and the run never ended."""


def paired_fall(stop: Bool[np.ndarray, " h"], end: Bool[np.ndarray, " h"]) -> Fall:
    """Compare the same h held-out samples at the stop and at the end: how hard a sample is cancels.

    d_i = c_i(stop) - c_i(end) with c_i = 1 where sample i is fitted to its given label, else 0; the fall is mean(d),
    its standard error se = std(d) / sqrt(h), and it is seen where mean(d) > 2 se. A variance of d below 1 / h, which
    one changed sample gives, counts as that.

    Args:
        stop: (h,) which samples are fitted at the stop.
        end: (h,) which samples are fitted at the end.
    """
    h, difference = stop.size, stop.astype(float) - end
    error = np.sqrt(max(difference.var(), 1 / h) / h)
    return Fall(float(stop.mean()), float(end.mean()), float(error), h, paired=True)


@dataclass(frozen=True)
class HeldOut:
    """Stop by accuracy on held-out samples against their *given* labels; the truth is never seen.

    Wrong labels are as frequent in the held-out part, so its accuracy peaks where the network is closest to the true
    labels (rate tau, K classes: near 1 - tau) and falls as the wrong labels are memorised. One accuracy is noisy, so
    the rule looks for the largest mean of `smooth` records, the last one on ties (a flat series gives no reason to
    stop), and keeps the best record among them: the one of least loss where losses are given, since accuracies of
    neighbours differ by little more than chance, else the most accurate one, the last on ties. Fewer records
    have one mean, that of all: of means of one or two, which chance moves more, the largest would win.

    *Falls* says whether accuracy fell from there to the last record by more than chance. Where the samples are given
    (`fitted`), the same ones are compared at both records: d_i = c_i(stop) - c_i(end), and mean(d) > 2 std(d) / sqrt(n)
    is a fall (`paired_fall`). Where only accuracies are known, the mean that chose is compared with that of the last
    records, and a fall exceeds two standard errors of one accuracy.

    The stop was chosen for its accuracy, so without any trend a fall is seen in more than one case in forty (n = 200,
    accuracy 0.8, 200 records). Where two samples in a hundred change from record to record, as they do in training:
    in 8% of the cases, 6% where the loss chooses, and 19% from accuracies alone. Where all records are independent:
    in 21, 6 and 2%.
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
        self,
        accuracy: Float[ArrayLike, " records"],
        loss: Float[ArrayLike, " records"] | None = None,
        fitted: Bool[ArrayLike, "records n"] | None = None,
    ) -> Stop:
        """Decide from the records so far; serves a finished run and a running one.

        Args:
            accuracy: (records,) share of held-out samples fitted to their given labels, in [0, 1].
            loss: (records,) their mean cross-entropy; None lets accuracy decide alone.
            fitted: (records, n) which of them are fitted; it moves no stop, but sees a smaller fall than accuracy.

        Raises:
            InputError: what is no series of numbers, no accuracy, one outside [0, 1], or another number of losses or
                of samples.
        """
        accuracy, judged = self._checked(accuracy, loss)
        mean = self._means(accuracy)
        end, stopped = self._best_mean(mean)
        chosen = self._best_record(accuracy, judged, end)
        if fitted is None:
            fall = self._unpaired_fall(float(mean[end]), float(mean[np.flatnonzero(mean > -np.inf)[-1]]))
        else:
            fall = self._paired_fall(fitted, chosen, accuracy)
        return Stop(chosen, stopped, fall.seen, fall.reason, fall)

    def _checked(self, accuracy: Any, loss: Any) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies, and what chooses among neighbours, the larger the better."""
        accuracy = as_series("accuracy", accuracy).astype(float)
        known = accuracy[~np.isnan(accuracy)]
        if not known.size:
            raise InputError("`accuracy` must hold at least one number, got none; hold samples out of the training")
        if known.min() < 0 or known.max() > 1:
            outside = known.max() if known.max() > 1 else known.min()
            raise InputError(f"`accuracy` must hold shares in [0, 1], got {outside:g}; 78% is 0.78")
        judged = accuracy if loss is None else -as_series("loss", loss).astype(float)
        if judged.shape != accuracy.shape:
            raise InputError(f"`loss` must have a value a record {accuracy.shape}, got {judged.shape}; use one run's")
        return accuracy, judged

    def _means(self, accuracy: np.ndarray) -> np.ndarray:
        """Mean of the last `smooth` records up to each one; -inf where there are fewer, unless it is that of all."""
        mean = _running_mean(accuracy, self.smooth)
        first = int(np.isfinite(mean).argmax())
        mean[: first + min(self.smooth, mean.size - first) - 1] = -np.inf
        return mean

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

    def _unpaired_fall(self, high: float, low: float) -> Fall:
        return Fall(high, low, float(np.sqrt(max(high * (1 - high), 1 / self.n) / self.n)), self.n, paired=False)

    def _paired_fall(self, fitted: Any, chosen: int, accuracy: np.ndarray) -> Fall:
        """The samples at the chosen record and at the last known one."""
        mask = as_mask("fitted", fitted, "give margin > 0 of the held-out samples")
        shape = (accuracy.size, self.n)
        if mask.shape != shape:
            raise InputError(
                f"`fitted` must have a row a record and a column a sample {shape}, got {mask.shape}; use one run's"
            )
        return paired_fall(mask[chosen], mask[np.flatnonzero(~np.isnan(accuracy))[-1]])


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last `width` known records up to each one; -inf before the first known."""
    known = ~np.isnan(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    total, count = (np.concatenate([np.zeros(width), series]) for series in (total, count))
    sums, records = total[width:] - total[:-width], count[width:] - count[:-width]
    return np.divide(sums, records, out=np.full(values.shape, -np.inf), where=records > 0)
