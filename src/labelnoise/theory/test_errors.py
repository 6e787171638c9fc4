"""The three test errors of the paper's model, exact or sampled in R^(2m), and the margins of held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labelnoise.arrays import Array, stream, to_numpy
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View


def held_out_margin(view: View, y_true: np.ndarray, y_given: np.ndarray) -> np.ndarray:
    """Margins (R, h) of the held-out samples by their *given* labels; y_true only builds their signal patch.

    Args:
        view: the networks.
        y_true: (R, h) true labels in {-1, +1}.
        y_given: (R, h) given labels in {-1, +1}.
    """
    signal, noise = _readout(view, view.h_signals), _readout(view, view.h_held_out())
    return y_given * (noise + np.where(y_true > 0, signal[:, :1], signal[:, 1:]))


@dataclass(frozen=True, eq=False)
class EvaluationNoise:
    """One run's test noise, the same at every record; more draws begin with those of fewer."""

    normal: np.ndarray
    """(2m, N) for the products of the filters with a fresh or perturbing patch."""
    patch: np.ndarray
    """(N,) which training patch is perturbed."""

    @classmethod
    def draw(cls, seed: int, draws: int, draw: Draw) -> EvaluationNoise:
        """Draw N = `draws` test patches for one run, from the streams `evaluation` and `patches` of a seed."""
        return _draw_noise(seed, draws, 2 * draw.m, draw.n)


@lru_cache(maxsize=16)
def _draw_noise(seed: int, draws: int, filters: int, n: int) -> EvaluationNoise:
    """Noise of one seed, which runs of a sweep share."""
    normal = stream(seed, "evaluation").standard_normal((draws, filters)).T.copy()
    return EvaluationNoise(normal, stream(seed, "patches").integers(n, size=draws))


def seen_errors(view: View) -> np.ndarray:
    """Exact test error (R,) on training patches with a fresh fair coin for y: the mean over all 2n cases."""
    return _errors(_readout(view, view.h_signals), _readout(view, view.h_xi)).mean((1, 2))


def sampled_errors(
    view: View,
    draws: tuple[Draw, ...],
    noise: Sequence[EvaluationNoise],
    zeta_std: Sequence[float],
    kinds: Sequence[str] = ("perturbed", "fresh"),
) -> dict[str, np.ndarray]:
    """Return the two sampled test errors against true labels, with standard error and 95 % upper bound, each (R,).

    *fresh*: a new patch, <W, xi> ~ N(0, sigma_xi^2 W W^T). *perturbed*: a training patch plus N(0, zeta_std^2 I), the
    paper's own test distribution. Both are sampled in R^(2m). *given_fresh* is the fresh error against flipped test
    labels, sum_y P(y) [(1 - tau_y) err_y + tau_y (1 - err_y)]. NaN where the distribution is not
    known (fresh: without a problem; perturbed: without zeta_std) and for broken weights.
    """
    at_once = max(1, BUDGET // noise[0].normal.size)
    parts = [range(first, min(first + at_once, len(draws))) for first in range(0, len(draws), at_once)]
    gram = {off: _root(to_numpy(view.weight_gram(off))) for off in {False, *map(_orthogonal, draws)}}
    tables = []
    for runs in parts:
        some = slice(runs.start, runs.stop)
        normal, patch = _stacked([noise[run] for run in runs])
        signal = _readout(view, view.h_signals[some])
        table: dict[str, np.ndarray] = {}
        if "perturbed" in kinds:
            own = gram[False][some] * np.asarray(zeta_std, dtype=float)[some, None, None]
            perturbed = own @ normal + np.take_along_axis(to_numpy(view.h_xi[some]), patch[:, None], axis=2)
            table |= _estimates("perturbed", _mistakes(view, signal, perturbed))
        if "fresh" in kinds:
            own = np.stack([gram[_orthogonal(draws[run])][run] * _noise_std(draws[run]) for run in runs])
            fresh = own @ normal + (0.0 if view.bias is None else to_numpy(view.bias)[some, :, None])
            table |= _fresh(_mistakes(view, signal, fresh), np.array([_taus(draws[run]) for run in runs]))
        tables.append(table)
    return {name: np.concatenate([table[name] for table in tables]) for name in SAMPLED if name in tables[0]}


def _stacked(noise: list[EvaluationNoise]) -> tuple[np.ndarray, np.ndarray]:
    """Normals (R, 2m, N) and patches (R, N); a single one where all runs share it."""
    if all(one is noise[0] for one in noise):
        noise = noise[:1]
    return np.stack([one.normal for one in noise]), np.stack([one.patch for one in noise])


BUDGET = 2**21
"""Products with test patches that are held at once: 16 MB."""

SAMPLED = (
    "test_error_perturbed",
    "test_error_perturbed_se",
    "test_error_perturbed_upper",
    "test_error_fresh",
    "test_error_fresh_se",
    "test_error_fresh_upper",
    "test_error_given_fresh",
)
"""Columns that `sampled_errors` fills."""


def _orthogonal(draw: Draw) -> bool:
    return draw.problem is not None and draw.problem.orthogonal_noise


def _noise_std(draw: Draw) -> float:
    return draw.problem.noise_std if draw.problem else np.nan


def _taus(draw: Draw) -> tuple[float, float]:
    return draw.problem.taus if draw.problem else (np.nan, np.nan)


def _root(gram: np.ndarray) -> np.ndarray:
    """Symmetric square root of each W W^T; negative eigenvalues are rounding, and Cholesky fails for 2m > d."""
    finite = np.isfinite(gram).all((1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], gram, 0.0))
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :] @ vectors.swapaxes(1, 2)
    return np.where(finite[:, None, None], root, np.nan)


def _mistakes(view: View, signal: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Mistakes (R, 2, N) on N patches with these products (R, 2m, N); NaN where a run has none."""
    output = _readout(view, products)
    wrong = _errors(signal, output).astype(float)
    wrong[~np.isfinite(output).all(-1)] = np.nan
    return wrong


def _fresh(wrong: np.ndarray, tau: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the fresh error, also against flipped labels: wrong (R, 2, N), tau (R, 2)."""
    error = wrong.mean(-1)
    return {**_estimates("fresh", wrong), "test_error_given_fresh": ((1 - tau) * error + tau * (1 - error)).mean(-1)}


def _estimates(kind: str, wrong: np.ndarray) -> dict[str, np.ndarray]:
    """Mean error (R,), its standard error over pairs (y = +1, y = -1), 95 % upper bound; 3/N where all pairs agree."""
    pairs, draws = wrong.mean(1), wrong.shape[-1]
    mean = pairs.mean(-1)
    error = pairs.std(-1, ddof=1) / np.sqrt(draws) if draws > 1 else 0 * mean
    upper = np.where(error == 0, mean + 3 / draws, np.maximum(mean + 1.645 * error, 3 / draws))
    error = np.where(error == 0, np.nan, error)
    stem = f"test_error_{kind}"
    return {stem: mean, f"{stem}_se": error, f"{stem}_upper": np.minimum(1.0, upper)}


def _errors(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Mistakes (R, 2, N) of noise parts (R, N) with the signal of y = +1 and of y = -1 (R, 2); f = 0 is a mistake."""
    return np.array([1.0, -1.0])[:, None] * (signal[:, :, None] + noise[:, None, :]) <= 0


def _readout(view: View, products: Array) -> np.ndarray:
    """Output A s(products) of patches, (R, 2m, N) -> (R, N)."""
    return to_numpy(view.readout) @ view.dynamics.activation.value(np, to_numpy(products))
