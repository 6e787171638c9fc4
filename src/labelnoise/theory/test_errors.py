"""The three test errors of the paper's model, exact or sampled in R^(2m), and the margins of held-out samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from labelnoise.arrays import Array, stream, to_numpy
from labelnoise.theory import outputs
from labelnoise.theory.draws import Draw
from labelnoise.theory.flips import flip_probability
from labelnoise.theory.observables import View

BUDGET = 2**19
"""Products with test patches that are held at once: 4 MB."""

KINDS = ("perturbed", "fresh", "given_fresh")
"""What `sampled_errors` estimates."""

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


def held_out_margin(view: View, y_true: np.ndarray, y_given: np.ndarray) -> np.ndarray:
    """Margins (R, h) of the held-out samples by their *given* labels; y_true only builds their signal patch.

    Args:
        view: the networks.
        y_true: (R, h) true labels in {-1, +1}; of K classes 0..K-1.
        y_given: (R, h) given labels.
    """
    of_class = _test_outputs(view, to_numpy(view.h_signals), to_numpy(view.h_held_out()))
    column = np.where(y_true > 0, 0, 1) if view.n_classes == 2 else y_true.astype(int)
    column = column.reshape(len(y_true), *[1] * (of_class.ndim - 2), y_true.shape[1])
    return outputs.margin(np, np.take_along_axis(of_class, column, axis=-2)[..., 0, :], y_given)


@dataclass(frozen=True, eq=False)
class EvaluationNoise:
    """One run's test noise, the same at every record; more draws begin with those of fewer."""

    normal: np.ndarray
    """(2m, N) for the products of the filters with a fresh or perturbing patch."""
    patch: np.ndarray
    """(N,) which training patch is perturbed."""
    score: np.ndarray
    """(N,) normals for the products of fresh patches with v, where flips depend on the patch."""

    @classmethod
    @lru_cache(maxsize=16)
    def draw(cls, seed: int, draws: int, filters: int, n: int) -> EvaluationNoise:
        """Draw N = `draws` test patches from the streams of a seed; runs of a sweep share the noise of a seed."""
        normal = stream(seed, "evaluation").standard_normal((draws, filters)).T.copy()
        patch, score = stream(seed, "patches").integers(n, size=draws), stream(seed, "scores").standard_normal(draws)
        return cls(normal, patch, score)


def seen_errors(view: View) -> np.ndarray:
    """Exact test error (R,) on training patches with a fresh fair coin for y: the mean over all 2n (or K n) cases."""
    return outputs.mistakes(_test_outputs(view, to_numpy(view.h_signals), to_numpy(view.h_xi))).mean((1, 2))


def sampled_errors(
    view: View,
    draws: tuple[Draw, ...],
    noise: Sequence[EvaluationNoise],
    zeta_std: Sequence[float],
    kinds: Sequence[str] = KINDS,
) -> dict[str, np.ndarray]:
    """Return the sampled test errors (R,), those against true labels with standard error and 95% upper bound.

    *fresh*: a new patch, <W, xi> ~ N(0, sigma_xi^2 W W^T). *perturbed*: a training patch plus N(0, zeta_std^2 I), the
    paper's own test distribution. Both are sampled in R^(2m). *given_fresh* is the fresh error against flipped test
    labels, sum_y P(y) [(1 - tau_y) err_y + tau_y (1 - err_y)]; where flips depend on the patch, of the pairs (W xi,
    <xi, v>), each flipped at its own rate. NaN where the distribution is not known (fresh: without a problem;
    perturbed: without zeta_std) and for broken weights.
    """
    noise_std, orthogonal, taus = (_of_problems(fact, draws) for fact in (_noise_std, _orthogonal, _taus))
    gram, along = to_numpy(view.weight_gram(False)), None if view.h_probe is None else to_numpy(view.h_probe())
    of_fresh = gram
    if orthogonal.any():
        of_fresh = np.where(orthogonal[:, None, None], to_numpy(view.weight_gram(True)), gram)
    if along is not None:  # the rest of <W, xi> is independent of <xi, v>
        of_fresh = of_fresh - along[:, :, None] * along[:, None]
    root = _root(gram)
    rest = root if of_fresh is gram else _root(of_fresh)
    table: dict[str, np.ndarray] = {}
    for some in _parts(noise):
        normal, patch, score = _stacked([noise[run] for run in some])
        signals = to_numpy(view.h_signals)[some]
        columns: dict[str, np.ndarray] = {}
        if "perturbed" in kinds:
            own = root[some] * np.asarray(zeta_std, dtype=float)[some, None, None]
            perturbed = own @ normal + np.take_along_axis(to_numpy(view.h_xi)[some], patch[:, None], axis=2)
            columns |= _estimates("perturbed", _mistakes(_test_outputs(view, signals, perturbed)))
        if "fresh" in kinds or "given_fresh" in kinds:
            factors, patches = [rest[some] * noise_std[some, None, None]], [normal]
            if view.bias is not None:
                factors.append(to_numpy(view.bias)[some, :, None])
                patches.append(np.ones((len(normal), 1, normal.shape[2])))
            if along is not None:  # what the patch has along v, by which its label is flipped
                factors.append((noise_std[some, None] * along[some])[..., None])
                patches.append(score[:, None])
            output = _patch_outputs(view, signals, np.concatenate(factors, axis=2), np.concatenate(patches, axis=1))
            wrong = _mistakes(output)
            columns |= _estimates("fresh", wrong) if "fresh" in kinds else {}
            columns["test_error_given_fresh"] = _given(output, wrong, [draws[run] for run in some], taus[some], score)
        for name, values in columns.items():
            table.setdefault(name, np.empty(len(draws)))[some] = values
    return table


def _parts(noise: Sequence[EvaluationNoise]) -> Iterator[list[int]]:
    """The runs in parts, as many as are held at once; runs that share their noise go together."""
    at_once = max(1, BUDGET // noise[0].normal.size)
    sharing: dict[int, list[int]] = {}
    for run, one in enumerate(noise):
        sharing.setdefault(id(one), []).append(run)
    if len(sharing) == len(noise):
        sharing = {0: list(range(len(noise)))}
    for runs in sharing.values():
        yield from (runs[first : first + at_once] for first in range(0, len(runs), at_once))


def _stacked(noise: list[EvaluationNoise]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals (R, 2m, N), patches (R, N) and scores (R, N); a single one where all runs share it."""
    if all(one is noise[0] for one in noise):
        noise = noise[:1]
    normal, patch = np.stack([one.normal for one in noise]), np.stack([one.patch for one in noise])
    return normal, patch, np.stack([one.score for one in noise])


def _of_problems(fact: Callable[[Draw], Any], draws: Sequence[Draw]) -> np.ndarray:
    """A fact of every run (R, ...), asked once of the runs of a problem."""
    known = {id(draw.problem): draw for draw in draws}
    facts = {at: fact(draw) for at, draw in known.items()}
    return np.array([facts[id(draw.problem)] for draw in draws])


def _orthogonal(draw: Draw) -> bool:
    return draw.problem is not None and draw.problem.orthogonal_noise


def _noise_std(draw: Draw) -> float:
    return draw.problem.noise_std if draw.problem else np.nan


def _taus(draw: Draw) -> tuple[float, float]:
    """NaN where they are not known, or not enough: flips depend on the patch, and v is not known."""
    known = draw.problem is not None and (draw.probe is not None or not draw.problem.flip_dependence)
    return draw.problem.taus if draw.problem and known else (np.nan, np.nan)


def _root(gram: np.ndarray) -> np.ndarray:
    """Symmetric square root of each W W^T; negative eigenvalues are rounding, and Cholesky fails for 2m > d."""
    finite = np.isfinite(gram).all((1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], gram, 0.0))
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :] @ vectors.swapaxes(1, 2)
    return np.where(finite[:, None, None], root, np.nan)


def _mistakes(output: np.ndarray) -> np.ndarray:
    """Mistakes (R, C, N) on N patches with each of C signals; NaN where a run has no outputs (R, [K,] C, N)."""
    wrong = outputs.mistakes(output).astype(float)
    wrong[~np.isfinite(output).reshape(len(output), -1).all(-1)] = np.nan
    return wrong


def _given(output: np.ndarray, wrong: np.ndarray, draws: list[Draw], tau: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The fresh error against flipped labels (R,).

    Of outputs (R, [K,] C, N), mistakes (R, C, N), flip rates (R, 2) of two classes and scores (R or 1, N).
    """
    if output.ndim == 4:
        right = (outputs.margins_of_classes(output) > 0).mean(-1)
        unknown = np.full((output.shape[1],) * 2, np.nan)
        known = np.stack([draw.problem.transition if draw.problem else unknown for draw in draws])
        return 1 - np.einsum("rck,rkc->r", known, right) / output.shape[1] + 0 * wrong[:, 0, 0]
    if draws[0].probe is not None:
        dependence = [draw.problem.flip_dependence if draw.problem else np.nan for draw in draws]
        scores = np.broadcast_to(score, (len(draws), score.shape[1]))
        rates = zip(scores, tau[..., None], dependence, strict=True)
        flipped = np.stack([flip_probability(*row) for row in rates])
        return (wrong + flipped * (1 - 2 * wrong)).mean((1, 2))
    error = wrong.mean(-1)
    return ((1 - tau) * error + tau * (1 - error)).mean(-1)


def _estimates(kind: str, wrong: np.ndarray) -> dict[str, np.ndarray]:
    """Mean error (R,), its standard error over pairs (y = +1, y = -1), 95% upper bound; 3/N where all pairs agree."""
    pairs, draws = wrong.mean(1), wrong.shape[-1]
    mean, agree = pairs.mean(-1), np.ptp(pairs, axis=-1) == 0  # not by the deviation: that of thirds is no exact 0
    error = np.where(agree, np.nan, pairs.std(-1, ddof=min(draws - 1, 1)) / np.sqrt(draws))
    upper = np.where(agree, mean + 3 / draws, np.maximum(mean + 1.645 * error, 3 / draws))
    stem = f"test_error_{kind}"
    return {stem: mean, f"{stem}_se": error, f"{stem}_upper": np.minimum(1.0, upper)}


def _patch_outputs(view: View, signals: np.ndarray, factors: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Outputs as of `_test_outputs`, of noise whose products with the filters are F P: (R, 2m, r), (R or 1, r, N)."""
    if view.read_patches is None:
        return _test_outputs(view, signals, factors @ patches)
    noise = view.read_patches(factors, patches)
    noise[~np.isfinite(factors).all((1, 2))] = np.nan
    return _readout(view, signals)[..., :, None] + noise[:, None]


def _test_outputs(view: View, signals: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Outputs (R, [K,] C, N) of every signal patch with every noise patch: products (R, 2m, C) and (R, 2m, N)."""
    if not view.one_patch:
        return _readout(view, signals)[..., :, None] + _readout(view, noise)[..., None, :]
    both = signals[..., :, None] + noise[..., None, :]
    of_pairs = _readout(view, both.reshape(*both.shape[:2], -1))
    return of_pairs.reshape(*of_pairs.shape[:-1], *both.shape[2:])


def _readout(view: View, products: Array) -> np.ndarray:
    """Output A s(products) of patches, (R, 2m, N) -> (R, N), or (R, K, N) of K classes."""
    return to_numpy(view.readout) @ view.dynamics.activation.value(np, to_numpy(products))
