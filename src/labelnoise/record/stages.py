"""Where Stage I ends, with the truth known; from plain arrays over time, so that both worlds use it.

The margin of a sample is its given label's advantage: y~ f(W, x) for two classes, the given label's logit minus the
best other one for K. Above 0 the network has *fitted* the given label, below 0 it disagrees with it.

Where to stop from given labels alone says `stopping`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError
from labelnoise.record.inputs import as_long_series

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import ArrayLike


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
    margin_clean_min: Float[ArrayLike, " steps+1"],
    margin_noisy_max: Float[ArrayLike, " steps+1"],
    gamma_min: Float[ArrayLike, " steps+1"],
    rho_bar_max: Float[ArrayLike, " steps+1"],
    convergence: int | None = None,
) -> Stages:
    """Find window, T1, lead, onset from the four series tracked at every step (Thm 4.1, Prop. 4.3).

    Args:
        margin_clean_min: (steps + 1,) smallest margin of a clean sample; NaN without clean samples.
        margin_noisy_max: (steps + 1,) largest margin of a noisy sample; NaN without noisy samples.
        gamma_min: (steps + 1,) smallest signal coefficient.
        rho_bar_max: (steps + 1,) largest noise coefficient of a filter with the sign of the given label.
        convergence: passed on.

    Raises:
        InputError: what is no series of numbers, or series of different lengths.
    """
    clean, noisy, gamma, rho_bar = as_long_series(
        margin_clean_min=margin_clean_min,
        margin_noisy_max=margin_noisy_max,
        gamma_min=gamma_min,
        rho_bar_max=rho_bar_max,
    )
    if not clean.size:
        raise InputError("`margin_clean_min` must hold step 0, got no value; give the series from the start")
    if reason := _why_none(clean, noisy):
        return Stages(None, None, None, None, convergence, reason)
    columns = stage_columns(clean[None], noisy[None], gamma[None], rho_bar[None])
    step = {name: int(values[0]) for name, values in columns.items() if not np.isnan(values[0])}
    lead = (step["lead_start"], step["lead_end"]) if "lead_start" in step else None
    window = step["window_start"], step["window_end"]
    return Stages(window, step["t1"], lead, step.get("onset"), convergence, "")


def _why_none(clean: np.ndarray, noisy: np.ndarray) -> str:
    """Why the margins (steps + 1,) have no Stage I, in words; empty where they have one."""
    absent = [name for name, series in (("clean", clean), ("noisy", noisy)) if np.isnan(series[0])]
    if absent:
        return f"there are no {absent[0]} samples" if len(absent) < 2 else "the run is not finite from the start"
    gap = separation(clean, noisy)
    if np.isnan(gap[1:]).all():
        return "no step was made" if gap.size < 2 else "the run is not finite from step 1 on"
    best = 1 + int(np.nanargmax(gap[1:]))
    if gap[best] > 0:
        return ""
    short = f"misses by {-gap[best]:.3g}" if gap[best] else "leaves a margin of 0"
    return f"no step separates clean from noisy samples (the best, step {best}, {short})"


def stage_columns(
    margin_clean_min: Float[np.ndarray, "R steps+1"],
    margin_noisy_max: Float[np.ndarray, "R steps+1"],
    gamma_min: Float[np.ndarray, "R steps+1"],
    rho_bar_max: Float[np.ndarray, "R steps+1"],
) -> dict[str, Float[np.ndarray, " R"]]:
    """Return the stages of R runs as columns (R,): T1, ends of window and lead, onset; NaN where there is none.

    The definitions are those of `Stages`; the series are checked by `find_stages`.
    """
    gap, step = np.minimum(margin_clean_min, -margin_noisy_max), np.arange(margin_clean_min.shape[1])
    apart = np.where(np.isnan(gap) | (step < 1), -np.inf, gap)
    t1 = apart.argmax(-1)[:, None]
    exists = apart.max(-1) > 0
    mixed = ~(apart > 0)
    start = np.where(mixed & (step < t1), step + 1, 1).max(-1)  # step 0 is before any training and not counted
    end = np.where(mixed & (step > t1), step - 1, step[-1]).min(-1)
    leads = (gamma_min > rho_bar_max) & (step >= start[:, None]) & (step <= end[:, None])
    columns = {
        "t1": t1[:, 0], "window_start": start, "window_end": end,
        "lead_start": _first(leads), "lead_end": step[-1] - _first(leads[:, ::-1]),
        "onset": _first((margin_noisy_max > 0) & (step > t1)),
    }  # fmt: skip
    return {name: np.where(exists, values, np.nan) for name, values in columns.items()}


def _first(true: np.ndarray) -> np.ndarray:
    """The first position (R,) of True in each row; NaN without one."""
    return np.where(true.any(-1), true.argmax(-1), np.nan)


def separation(
    margin_clean_min: Float[ArrayLike, " steps+1"], margin_noisy_max: Float[ArrayLike, " steps+1"]
) -> Float[np.ndarray, " steps+1"]:
    """Return min(smallest clean margin, -largest noisy margin): above 0, the margin rule separates perfectly."""
    clean, noisy = as_long_series(margin_clean_min=margin_clean_min, margin_noisy_max=margin_noisy_max)
    return np.minimum(clean, -noisy)


def oracle_stop(
    accuracy_clean: Float[ArrayLike, " records"], accuracy_noisy: Float[ArrayLike, " records"]
) -> int | None:
    """Return T1 on real data, where no window is perfect: the record with the largest (clean + 1 - noisy) / 2.

    The first on ties; None without noisy (or without clean) samples.

    Args:
        accuracy_clean: (records,) share of clean samples that are fitted.
        accuracy_noisy: (records,) share of noisy samples fitted to their given label; NaN without any.

    Raises:
        InputError: what is no series of numbers, or series of different lengths.
    """
    clean, noisy = as_long_series(accuracy_clean=accuracy_clean, accuracy_noisy=accuracy_noisy)
    balance = (clean + 1 - noisy) / 2
    if np.isnan(balance).all():
        return None
    return int(np.flatnonzero(balance >= np.nanmax(balance) - 1e-12)[0])  # rounding breaks no tie
