"""Where Stage I ends, and what the margin rule selects; from plain arrays over time, so that both worlds use it.

The margin of a sample is its given label's advantage: y~ f(W, x) for two classes, the given label's logit minus the
best other one for K. Above 0 the network has *fitted* the given label, below 0 it disagrees with it.

Two ways to stop: with the truth known (`find_stages`, `oracle_stop`), and from given labels alone (`HeldOut`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError, check_integer


@dataclass(frozen=True)
class Stages:
    """The stages of one run of the paper's model; a step that does not exist is None, and `reason` says why."""

    window: tuple[int, int] | None
    """First and last step of the window around T1: every clean sample fitted, no noisy one."""
    t1: int | None
    """The step >= 1 that maximises min(smallest clean margin, -largest noisy margin): the end of Stage I."""
    lead: tuple[int, int] | None
    """First and last step in the window at which the signal leads: min gamma > max rho-bar."""
    onset: int | None
    """Onset of Stage II: the first step after T1 at which a noisy sample is fitted."""
    convergence: int | None
    """First recorded step at which every sample is fitted to its given label and the loss is <= 0.05."""
    reason: str
    """Why there is no Stage I; empty if there is one."""


CONVERGED_LOSS = 0.05


def find_stages(
    *,
    margin_clean_min: np.ndarray,
    margin_noisy_max: np.ndarray,
    gamma_min: np.ndarray,
    rho_bar_max: np.ndarray,
    convergence: int | None = None,
) -> Stages:
    """Find window, T1, lead, onset from the four series tracked at every step (Thm 4.1, Prop. 4.3).

    Args:
        margin_clean_min: (steps + 1,) smallest margin of a clean sample; NaN without clean samples.
        margin_noisy_max: (steps + 1,) largest margin of a noisy sample; NaN without noisy samples.
        gamma_min: (steps + 1,) smallest signal coefficient.
        rho_bar_max: (steps + 1,) largest noise coefficient of a filter with the sign of the given label.
        convergence: passed on.
    """
    if np.isnan(margin_clean_min[0]) and np.isnan(margin_noisy_max[0]):
        return Stages(None, None, None, None, convergence, "the run is not finite from the start")
    if np.isnan(margin_clean_min[0]) or np.isnan(margin_noisy_max[0]):
        absent = "clean" if np.isnan(margin_clean_min[0]) else "noisy"
        return Stages(None, None, None, None, convergence, f"there are no {absent} samples")
    gap = separation(margin_clean_min, margin_noisy_max)
    if gap.size < 2 or np.isnan(gap[1:]).all():
        return Stages(None, None, None, None, convergence, "no step was made")
    t1 = 1 + int(np.nanargmax(gap[1:]))
    if not gap[t1] > 0:
        reason = f"no step separates clean from noisy samples (the best, step {t1}, misses by {-gap[t1]:.3g})"
        return Stages(None, None, None, None, convergence, reason)
    window = _interval(gap > 0, t1)
    leads = np.flatnonzero((gamma_min > rho_bar_max)[window[0] : window[1] + 1]) + window[0]
    lead = (int(leads[0]), int(leads[-1])) if leads.size else None
    fitted = np.flatnonzero(margin_noisy_max[t1 + 1 :] > 0)
    onset = t1 + 1 + int(fitted[0]) if fitted.size else None
    return Stages(window, t1, lead, onset, convergence, "")


def separation(margin_clean_min: np.ndarray, margin_noisy_max: np.ndarray) -> np.ndarray:
    """Return min(smallest clean margin, -largest noisy margin): above 0, the margin rule separates perfectly."""
    return np.minimum(margin_clean_min, -margin_noisy_max)


def _interval(true: np.ndarray, at: int) -> tuple[int, int]:
    """Ends of the unbroken interval of True around position `at`; step 0 is before any training and not counted."""
    false = np.flatnonzero(~true)
    before, after = false[false < at], false[false > at]
    return max(int(before[-1]) + 1 if before.size else 0, 1), int(after[0]) - 1 if after.size else true.size - 1


def oracle_stop(accuracy_clean: np.ndarray, accuracy_noisy: np.ndarray) -> int | None:
    """Return T1 on real data, where no window is perfect: the record with the largest (clean + 1 - noisy) / 2.

    The first on ties; None without noisy (or without clean) samples.

    Args:
        accuracy_clean: (records,) share of clean samples that are fitted.
        accuracy_noisy: (records,) share of noisy samples fitted to their given label; NaN without any.
    """
    balance = (np.asarray(accuracy_clean) + 1 - np.asarray(accuracy_noisy)) / 2
    if np.isnan(balance).all():
        return None
    return int(np.flatnonzero(balance >= np.nanmax(balance) - 1e-12)[0])  # rounding breaks no tie


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


SELECTION = ("selection_precision", "selection_recall", "selection_f1")
"""Columns of a history that hold the fields of `Selection`."""


@dataclass(frozen=True)
class Selection:
    """How well the margin rule (suspect: margin < 0) finds the noisy samples, along training."""

    precision: np.ndarray
    """Share of the suspects that are noisy; NaN without suspects or without noisy samples."""
    recall: np.ndarray
    """Share of the noisy samples that are suspects; NaN without noisy samples."""
    f1: np.ndarray
    """Harmonic mean of the two; NaN without noisy samples."""


def select_by_margin(margin: np.ndarray, noisy: np.ndarray) -> Selection:
    """Compare the margin rule's suspects with the truth; loss > log 2 is margin < 0 for two classes (Prop. 4.3).

    Args:
        margin: (..., n); a NaN margin (never seen) is no suspect.
        noisy: (..., n) true mask, broadcast against `margin`.
    """
    suspect = margin < 0
    hits = (suspect & noisy).sum(-1).astype(float)
    suspects, wrong = suspect.sum(-1), np.broadcast_to(noisy, suspect.shape).sum(-1)
    hits = np.where(wrong, hits, np.nan)
    return Selection(_ratio(hits, suspects), _ratio(hits, wrong), _ratio(2 * hits, suspects + wrong))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
