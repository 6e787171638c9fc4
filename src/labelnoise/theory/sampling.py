"""Random draws of many runs at once: each run's numbers come from streams of its own, the algebra is that of a batch.

A run is drawn the same alone and among others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import check_memory
from labelnoise.noise.flipping import given_labels
from labelnoise.theory.draws import Draw, Vectors, classes_of
from labelnoise.theory.numbers import CalledNumbers, Numbers, numbers_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from labelnoise.theory.problem import SignalNoise

    Block = tuple[slice, str, Sequence[float]]
    """Rows, the stream that they come from, and the standard deviation of each run."""

LITTLE = 2**26
"""Bytes that every machine has: to ask for what is free takes longer than a small draw."""


def sample_runs(
    problems: Sequence[SignalNoise], seeds: Sequence[int], *, vectors: bool = False, n_holdout: int = 0
) -> tuple[Draw, ...]:
    """Draw labels, noise patches and initial weights of R runs; see `SignalNoise.sample`.

    Args:
        problems: R problems that agree in n, m, whether there is a bias, K, the number of patches, whether flips
            depend on the patch and, with vectors, in d.
        seeds: R seeds.
        vectors: also keep the explicit vectors.
        n_holdout: extra samples that join the inner products but not the training.

    Raises:
        InputError: a seed that is none, or more memory than there is.
    """
    p = problems[0]
    first, last = p.n + p.signals, p.n + p.signals + p.filters
    size = last + n_holdout
    needed = 8.0 * len(seeds) * size * (3 * (p.d if vectors else size) + 2 * size)
    if needed > LITTLE:
        classes = "n_classes, " if p.n_classes > 2 else ""
        check_memory(needed, f"lower n, m, {classes}n_holdout, or d where vectors are kept")
    numbers = CalledNumbers(seeds) if vectors or n_holdout or p.n_classes > 2 else numbers_of(seeds)
    labels = _labels(problems, numbers, ("labels", "flips"), p.n)
    of_held_out = _labels(problems, numbers, ("held_out", "held_out"), n_holdout)
    blocks = [
        (slice(0, p.n), "data", [problem.noise_std for problem in problems]),
        (slice(first, last), "init", [problem.init_std for problem in problems]),
        (slice(last, size), "held_out", [problem.noise_std for problem in problems]),
    ][: 3 if n_holdout else 2]
    if isinstance(numbers, CalledNumbers) and vectors:
        rows = _explicit_rows(problems, size, blocks, numbers)
    else:
        rows = _bartlett_rows(problems, size, blocks, numbers)
    _turn_to_signal(rows, problems)
    inner, probes, biases = rows @ rows.swapaxes(1, 2), _probes(problems, rows.shape[2]), _biases(problems, numbers)
    if probes is not None:
        along = (rows @ probes[..., None])[..., 0]
        labels = _flipped_by_patch(problems, labels, along[:, : p.n])
        of_held_out = _flipped_by_patch(problems, of_held_out, along[:, last:])
    return tuple(
        Draw(
            inner=inner[run],
            m=p.m,
            y_true=labels[0][run],
            y_given=labels[1][run],
            held_out_true=of_held_out[0][run],
            held_out_given=of_held_out[1][run],
            bias0=biases[run],
            problem=problem,
            seed=seed,
            vectors=_vectors(rows[run], problem, None if probes is None else probes[run]) if vectors else None,
            n_classes=p.n_classes,
            one_patch=p.one_patch,
            probe=None if probes is None else along[run],
        )
        for run, (problem, seed) in enumerate(zip(problems, seeds, strict=True))
    )


def _labels(problems: Sequence[SignalNoise], numbers: Numbers, names: tuple[str, str], n: int) -> np.ndarray:
    """True labels, given ones flipped whatever the patch, and the numbers by which it was decided whether (3, R, n)."""
    if n == 0:
        return np.zeros((3, len(problems), 0))
    k, values = problems[0].n_classes, np.array(classes_of(problems[0].n_classes))
    y_true = numbers.classes(names[0], n, k)
    draws = numbers.uniforms(names[1], 2 * n).reshape(-1, 2, n).swapaxes(0, 1)
    y_given = np.empty_like(y_true)
    for noise, group in groupby(range(len(problems)), lambda run: problems[run].label_noise):
        runs = list(group)
        for some in runs if noise.exact or k > 2 else [runs]:  # independent flips of two may be drawn side by side
            y_given[some] = given_labels(y_true[some], noise, k, *draws[:, some])
    return np.stack([values[y_true], values[y_given], draws[0]])


def _flipped_by_patch(problems: Sequence[SignalNoise], labels: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The same (3, R, n) with given labels that the products <xi, v> (R, n) of the patches decide on."""
    y_true, _, whether = labels
    rates = [problem.flip_rates(*row) for problem, *row in zip(problems, y_true, along, strict=True)]
    return np.stack([y_true, np.where(whether < np.stack(rates), -y_true, y_true), whether])


def _biases(problems: Sequence[SignalNoise], numbers: Numbers) -> Sequence[np.ndarray | None]:
    """Initial biases (2m,) of each run; None where there are none."""
    if not problems[0].bias:
        return [None] * len(problems)
    return list(np.array([[p.init_std] for p in problems]) * numbers.normals("bias", problems[0].filters))


def _probes(problems: Sequence[SignalNoise], width: int) -> np.ndarray | None:
    """Rows v = cos e_1 + sin e_2 (R, width), mu along e_1; None where flips do not depend on the patch."""
    if not problems[0].flip_dependence:
        return None
    probes = np.zeros((len(problems), width))
    probes[:, 0] = [problem.flip_cosine for problem in problems]
    probes[:, 1] = np.sqrt(1 - probes[:, 0] ** 2)
    return probes


def _explicit_rows(
    problems: Sequence[SignalNoise], size: int, blocks: Sequence[Block], numbers: CalledNumbers
) -> Float[np.ndarray, "R N d"]:
    """Vectors in R^d, mu along the first axis, further signals along the next ones."""
    rows = np.zeros((len(problems), size, problems[0].d))
    for where, name, scales in blocks:
        for run, rng in enumerate(numbers.generators(name)):
            rows[run, where] = scales[run] * rng.standard_normal((where.stop - where.start, problems[0].d))
    return rows


def _bartlett_rows(
    problems: Sequence[SignalNoise], size: int, blocks: Sequence[Block], numbers: Numbers
) -> Float[np.ndarray, "R N N"]:
    """Rows in R^N with the inner products of Gaussian vectors in R^d (spec: Bartlett decomposition).

    Rotated so that mu lies along the first axis, the first coordinates are N(0, 1) and the Gram matrix of the other
    d - 1 is Wishart(d - 1, I) = L L^T: L lower triangular, L_kk^2 ~ chi^2(d - 1 - k), N(0, 1) below the diagonal; no
    row reaches beyond column d - 1. Each further direction that matters, a signal or v, has one more coordinate N(0, 1)
    and takes one off d.
    """
    axes, others = problems[0].axes, size - problems[0].signals
    rows = np.zeros((len(problems), size, axes + others))
    rests = np.array([problem.d - axes for problem in problems])
    start = 0
    for where, name, scales in blocks:
        block = rows[:, where]
        numbers.fill_triangles(name, rests, axes, start, block)
        block *= np.array(scales)[:, None, None]
        start += block.shape[1]
    return rows


def _turn_to_signal(rows: np.ndarray, problems: Sequence[SignalNoise]) -> None:
    """Lay each signal along an axis of its own, in place; orthogonal patches have no part of them."""
    n, signals = problems[0].n, problems[0].signals
    for axis in range(signals):
        rows[:, n + axis, axis] = [problem.mu_norm for problem in problems]
    if orthogonal := [run for run, problem in enumerate(problems) if problem.orthogonal_noise]:
        rows[orthogonal, :n, :signals] = 0
        rows[orthogonal, n + signals + problems[0].filters :, :signals] = 0


def _vectors(rows: np.ndarray, p: SignalNoise, probe: np.ndarray | None) -> Vectors:
    """The rows of one run by what they are."""
    first = p.n + p.signals
    last = first + p.filters
    return Vectors(rows[: p.n], rows[p.n : first], rows[first:last], rows[last:], probe)
