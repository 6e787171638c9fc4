"""Random draws of many runs at once: each run's numbers come from streams of its own, the algebra is that of a batch.

A run is drawn the same alone and among others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import check_memory, stream
from labelnoise.noise.flipping import given_labels
from labelnoise.theory.draws import Draw, Vectors

if TYPE_CHECKING:
    from jaxtyping import Float

    from labelnoise.theory.problem import SignalNoise

    Generators = Sequence[np.random.Generator]
    Block = tuple[slice, Generators, Sequence[float]]

LITTLE = 2**26
"""Bytes that every machine has: to ask for what is free takes longer than a small draw."""


def sample_runs(
    problems: Sequence[SignalNoise], seeds: Sequence[int], *, vectors: bool = False, n_holdout: int = 0
) -> tuple[Draw, ...]:
    """Draw labels, noise patches and initial weights of R runs; see `SignalNoise.sample`.

    Args:
        problems: R problems that agree in n, m, bias and, with vectors, in d.
        seeds: R seeds.
        vectors: also keep the explicit vectors.
        n_holdout: extra samples that join the inner products but not the training.

    Raises:
        InputError: a seed that is none, or more memory than there is.
    """
    p, held_out = problems[0], [stream(seed, "held_out") for seed in seeds] if n_holdout else []
    size = p.n + 1 + 2 * p.m + n_holdout
    needed = 8.0 * len(seeds) * size * (3 * (p.d if vectors else size) + 2 * size)
    if needed > LITTLE:
        check_memory(needed, "lower n, m, n_holdout, or d where vectors are kept")
    y_true, y_given = _labels(problems, _streams(seeds, "labels"), _streams(seeds, "flips"), p.n)
    held_out_true, held_out_given = _labels(problems, held_out, held_out, n_holdout)
    route = _explicit_rows if vectors else _bartlett_rows
    blocks = (
        (slice(0, p.n), _streams(seeds, "data"), [problem.noise_std for problem in problems]),
        (slice(p.n + 1, p.n + 1 + 2 * p.m), _streams(seeds, "init"), [problem.init_std for problem in problems]),
        (slice(p.n + 1 + 2 * p.m, size), held_out, [problem.noise_std for problem in problems]),
    )
    rows = route(problems, size, [block for block in blocks if block[1]])
    _turn_to_signal(rows, problems)
    inner = rows @ rows.swapaxes(1, 2)
    return tuple(
        Draw(
            inner=inner[run],
            m=p.m,
            y_true=y_true[run],
            y_given=y_given[run],
            held_out_true=held_out_true[run],
            held_out_given=held_out_given[run],
            bias0=problem.init_std * stream(seed, "bias").standard_normal(2 * p.m) if p.bias else None,
            problem=problem,
            seed=seed,
            vectors=_vectors(rows[run], p.n, p.m) if vectors else None,
        )
        for run, (problem, seed) in enumerate(zip(problems, seeds, strict=True))
    )


def _streams(seeds: Sequence[int], name: str) -> Generators:
    return [stream(seed, name) for seed in seeds]


def _labels(problems: Sequence[SignalNoise], labels: Generators, flips: Generators, n: int) -> np.ndarray:
    """True and given labels (2, R, n) in {-1, +1}."""
    if n == 0:
        return np.zeros((2, len(problems), 0))
    y_true, draws = np.empty((len(problems), n), np.int64), np.empty((2, len(problems), n))
    for run, (of_label, of_flip) in enumerate(zip(labels, flips, strict=True)):
        y_true[run] = of_label.integers(2, size=n)
        draws[:, run] = of_flip.random((2, n))
    y_given = np.empty_like(y_true)
    for noise, group in groupby(range(len(problems)), lambda run: problems[run].label_noise):
        runs = list(group)
        for some in runs if noise.exact else [runs]:  # independent flips may be drawn side by side
            y_given[some] = given_labels(y_true[some], noise, 2, *draws[:, some])
    return 1.0 - 2.0 * np.stack([y_true, y_given])


def _explicit_rows(problems: Sequence[SignalNoise], size: int, blocks: Sequence[Block]) -> Float[np.ndarray, "R N d"]:
    """Vectors in R^d, mu along the first axis."""
    rows = np.zeros((len(problems), size, problems[0].d))
    for where, streams, scales in blocks:
        for run, rng in enumerate(streams):
            rows[run, where] = scales[run] * rng.standard_normal((where.stop - where.start, problems[0].d))
    return rows


def _bartlett_rows(problems: Sequence[SignalNoise], size: int, blocks: Sequence[Block]) -> Float[np.ndarray, "R N N"]:
    """Rows in R^N with the inner products of Gaussian vectors in R^d (spec: Bartlett decomposition).

    Rotated so that mu lies along the first axis, the first coordinates are N(0, 1) and the Gram matrix of the other
    d - 1 is Wishart(d - 1, I) = L L^T: L lower triangular, L_kk^2 ~ chi^2(d - 1 - k), N(0, 1) below the diagonal; no
    row reaches beyond column d - 1.
    """
    rows = np.zeros((len(problems), size, size))
    start = 0
    for where, streams, scales in blocks:
        block = rows[:, where]
        count = block.shape[1]
        squares, above = np.zeros(block.shape[:2]), _above(start, count, size - 1)
        for run, (rng, problem) in enumerate(zip(streams, problems, strict=True)):
            width = min(start + count, problem.d - 1)
            block[run, :, 0] = rng.standard_normal(count)
            block[run, :, 1 : 1 + width] = rng.standard_normal((count, width))
            squares[run, : max(width - start, 0)] = rng.chisquare(problem.d - 1 - np.arange(start, width))
        np.copyto(block[..., 1:], 0.0, where=above)
        row = np.arange(count)
        block[:, row, 1 + start + row] = np.sqrt(squares)
        block *= np.array(scales)[:, None, None]
        start += count
    return rows


@lru_cache(maxsize=64)
def _above(start: int, count: int, width: int) -> np.ndarray:
    """Of rows `start` to `start + count` of a square of this width: what lies on the diagonal or above it."""
    return ~np.tri(count, width, start - 1, dtype=bool)


def _turn_to_signal(rows: np.ndarray, problems: Sequence[SignalNoise]) -> None:
    """Lay mu along the first axis, in place; orthogonal patches have no part of it."""
    n, m = problems[0].n, problems[0].m
    rows[:, n, 0] = [problem.mu_norm for problem in problems]
    if orthogonal := [run for run, problem in enumerate(problems) if problem.orthogonal_noise]:
        rows[orthogonal, :n, 0] = 0
        rows[orthogonal, n + 1 + 2 * m :, 0] = 0


def _vectors(rows: np.ndarray, n: int, m: int) -> Vectors:
    """The rows of one run by what they are."""
    filters = n + 1 + 2 * m
    return Vectors(rows[:n], rows[n : n + 1], rows[n + 1 : filters], rows[filters:])
