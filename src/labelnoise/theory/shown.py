"""Which samples a step shows, and under which label; the third of the five pieces.

What is random is drawn on the CPU from a run's own streams, block by block of steps, so a run is shown the same alone,
in any batch, by any engine and on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer, is_number

BLOCK = 64
"""Steps whose fresh flips are drawn at once."""
KEPT_BLOCKS = 1024
"""Blocks whose uniform numbers are kept for the steps to come: one a run of a batch that goes step by step."""


@dataclass(frozen=True)
class Shown:
    """Who is shown at a step: all samples by default, as in the paper."""

    batch_size: int | None = None
    """Samples of a minibatch, without replacement within an epoch, its last batch what is left; all if not given, or
    if there are no more."""
    fresh_flips: float = 0.0
    """Probability with which each step flips each given label anew: label-noise gradient descent."""
    selection_from: int | None = None
    """From this step on, only samples with a margin >= 0 are shown: small-loss selection (Prop. 4.3) in training."""

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1, 20)
        if self.selection_from is not None:
            check_integer("selection_from", self.selection_from, 0, 50)
        if not is_number(self.fresh_flips) or not 0 <= self.fresh_flips < 0.5:
            raise InputError(f"`fresh_flips` must lie in [0, 0.5), got {self.fresh_flips!r}; use for example 0.1")

    def is_full(self, n: int) -> bool:
        """Whether a batch holds all n samples."""
        return self.batch_size is None or self.batch_size >= n

    def weights(self, seed: int, steps: range, n: int) -> np.ndarray:
        """Return the weight (steps, n) of each sample in the mean loss of each step: 1 / n, or 1 / |batch| in it."""
        if self.batch_size is None or self.is_full(n):
            return np.full((len(steps), n), 1 / n)
        weights, batches = np.zeros((len(steps), n)), -(-n // self.batch_size)
        for row, step in enumerate(steps):
            epoch, at = divmod(step, batches)
            batch = _order(seed, epoch, n)[at * self.batch_size : (at + 1) * self.batch_size]
            weights[row, batch] = 1 / batch.size
        return weights

    def flips(self, seed: int, steps: range, n: int) -> np.ndarray:
        """Return where (steps, n) each step flips a given label."""
        blocks = [_uniform(seed, block, n) for block in range(steps.start // BLOCK, -(-steps.stop // BLOCK))]
        first = steps.start // BLOCK * BLOCK
        return np.concatenate(blocks)[steps.start - first : steps.stop - first] < self.fresh_flips


@lru_cache(maxsize=4096)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order (n,) of the samples in an epoch."""
    return stream(seed, "batches", epoch).permutation(n)


@lru_cache(maxsize=KEPT_BLOCKS)
def _uniform(seed: int, block: int, n: int) -> np.ndarray:
    """Uniform numbers (BLOCK, n) of a block of steps."""
    return stream(seed, "fresh_flips", block).random((BLOCK, n))
