"""The quantities of the paper's conditions, and the scale of T1 (Han et al. 2025, Theorem 4.1)."""

from __future__ import annotations

import numpy as np

from labelnoise.errors import InputError
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.problem import SignalNoise


def stage_one_scale(problem: SignalNoise, lr: float) -> float:
    """Scale of T1 in steps: n m / (eta sigma_xi^2 d) (Thm 4.1)."""
    _check(problem, lr)
    with np.errstate(over="ignore", divide="ignore"):
        return float(problem.n * problem.m / (np.float64(lr) * problem.noise_std**2 * problem.d))


def conditions(problem: SignalNoise, lr: float) -> dict[str, float]:
    """Return the quantities of the paper's conditions as numbers; their constants are unspecified, so none is a pass.

    `REGIME` says what each is in the paper's regime.
    """
    _check(problem, lr)
    p = problem
    numbers = (
        p.n_snr2,
        p.d / p.n**2,
        p.d * p.noise_std / (p.n * p.mu_norm) if p.mu_norm else np.inf,
        p.m / np.log(p.n) if p.n > 1 else np.inf,
        p.n / np.log(p.m) if p.m > 1 else np.inf,
        p.init_std * p.noise_std * np.sqrt(p.d),
        p.init_std * p.mu_norm,
        lr * p.noise_std**2 * p.d / (p.n * p.m),
        lr * p.mu_norm**2 / p.m,
    )
    return dict(zip(REGIME, map(float, numbers), strict=True))


REGIME = {
    "n SNR^2": "of order one",
    "d / n^2": "large",
    "d sigma_xi / (n ||mu||)": "large",
    "m / log n": "at least of order one",
    "n / log m": "at least of order one",
    "sigma_0 sigma_xi sqrt(d)": "small",
    "sigma_0 ||mu||": "small",
    "eta sigma_xi^2 d / (n m)": "small",
    "eta ||mu||^2 / m": "small",
}
"""The quantities of the paper's conditions, and what they are in its regime."""


def _check(problem: SignalNoise, lr: float) -> None:
    if not isinstance(problem, SignalNoise):
        raise InputError(f"`problem` must be a SignalNoise, got {type(problem).__name__}; give the problem itself")
    SimulateConfig(lr=lr)  # refuses a learning rate that is none
