"""The three test errors of the paper's model, exact or sampled in R^(2m), and the margins of held-out samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.arrays import stream, to_numpy
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View


def held_out_margin(view: View, y_true: np.ndarray, y_given: np.ndarray) -> np.ndarray:
    """Margins (R, h) of the held-out samples by their *given* labels; y_true only builds their signal patch.

    Args:
        view: the networks.
        y_true: (R, h) true labels in {-1, +1}.
        y_given: (R, h) given labels in {-1, +1}.
    """
    signal, noise = _signal_outputs(to_numpy(view.w_mu)), _readout(to_numpy(view.w_held_out()))
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
        normal = stream(seed, "evaluation").standard_normal((draws, 2 * draw.m)).T.copy()
        return cls(normal, stream(seed, "patches").integers(draw.n, size=draws))


def seen_errors(view: View) -> np.ndarray:
    """Exact test error (R,) on training patches with a fresh fair coin for y: the mean over all 2n cases."""
    return _errors(_signal_outputs(to_numpy(view.w_mu)), _readout(to_numpy(view.w_xi))).mean((1, 2))


def sampled_errors(view: View, draws: tuple[Draw, ...], noise: list[EvaluationNoise], zeta_std: list[float]) -> dict:
    """Return the two sampled test errors against true labels, with standard error and 95 % upper bound, each (R,).

    *fresh*: a new patch, <W, xi> ~ N(0, sigma_xi^2 W W^T). *perturbed*: a training patch plus N(0, zeta_std^2 I), the
    paper's own test distribution. Both are sampled in R^(2m). *given_fresh* is the fresh error against flipped test
    labels, sum_y P(y) [(1 - tau_y) err_y + tau_y (1 - err_y)]. NaN where the distribution is not
    known (fresh: without a problem; perturbed: without zeta_std) and for broken weights.
    """
    table = {name: np.full(len(draws), np.nan) for name in SAMPLED}
    signal, w_xi = _signal_outputs(to_numpy(view.w_mu)), to_numpy(view.w_xi)
    roots = {off: _root(to_numpy(view.weight_gram(off))) for off in {False, *map(_orthogonal, draws)}}
    for run, draw in enumerate(draws):
        if not np.isfinite(roots[False][run]).all():
            continue
        perturbed = (zeta_std[run] * roots[False][run]) @ noise[run].normal
        perturbed += w_xi[run].take(noise[run].patch, axis=1)
        kinds = {"perturbed": perturbed} if np.isfinite(zeta_std[run]) else {}
        if draw.problem is not None:
            root = roots[draw.problem.orthogonal_noise][run]
            kinds["fresh"] = (draw.problem.noise_std * root) @ noise[run].normal
        for name, products in kinds.items():
            wrong = _errors(signal[run][None], _readout(products[None]))[0]
            stem = f"test_error_{name}"
            table[stem][run], table[f"{stem}_se"][run], table[f"{stem}_upper"][run] = _estimate(wrong.mean(0))
            if name == "fresh" and draw.problem is not None:
                tau, error = np.array(draw.problem.taus), wrong.mean(1)
                table["test_error_given_fresh"][run] = ((1 - tau) * error + tau * (1 - error)).mean()
    return table


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


def _root(gram: np.ndarray) -> np.ndarray:
    """Symmetric square root of each W W^T; negative eigenvalues are rounding, and Cholesky fails for 2m > d."""
    finite = np.isfinite(gram).all((1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], gram, 0.0))
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :] @ vectors.swapaxes(1, 2)
    return np.where(finite[:, None, None], root, np.nan)


def _estimate(pair_means: np.ndarray) -> tuple[float, float, float]:
    """Mean error, its standard error over pairs (y = +1, y = -1) and 95 % upper bound; 3/N where all pairs agree."""
    mean, draws = pair_means.mean(), pair_means.size
    error = pair_means.std(ddof=1) / np.sqrt(draws) if draws > 1 else 0.0
    if error == 0:
        return mean, np.nan, min(1.0, mean + 3 / draws)
    return mean, error, min(1.0, max(mean + 1.645 * error, 3 / draws))


def _errors(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Mistakes (R, 2, N) of noise parts (R, N) with the signal of y = +1 and of y = -1 (R, 2); f = 0 is a mistake."""
    return np.array([1.0, -1.0])[:, None] * (signal[:, :, None] + noise[:, None, :]) <= 0


def _readout(products: np.ndarray) -> np.ndarray:
    """Second layer: (1/m) sum_{j,r} j ReLU(products), (R, 2m, N) -> (R, N)."""
    m = products.shape[1] // 2
    return np.repeat([1 / m, -1 / m], m) @ np.maximum(products, 0)


def _signal_outputs(w_mu: np.ndarray) -> np.ndarray:
    """Output (R, 2) of the signal patch for y = +1 and y = -1."""
    return _readout(np.stack([w_mu, -w_mu], axis=-1))
