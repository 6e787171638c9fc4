"""Draw given labels: a label-noise model applied to true labels, and what was realised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.noise.files import FromFile
from labelnoise.noise.models import TRANSITIONS, LabelNoise, Pair, Symmetric

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Given labels and what is known of them: `y_given`, `y_true` and `noisy` (where they differ), each (n,)."""

    y_true: Int[np.ndarray, " n"]
    y_given: Int[np.ndarray, " n"]
    n_classes: int

    @property
    def noisy(self) -> Bool[np.ndarray, " n"]:
        """Boolean mask (n,) of the samples whose given label is wrong."""
        return self.y_true != self.y_given

    @property
    def rate(self) -> float:
        """Realised share of wrong labels."""
        return float(self.noisy.mean())

    @property
    def rate_by_class(self) -> Float[np.ndarray, " K"]:
        """Realised share of wrong labels in each true class (K,); NaN for a class without samples."""
        counts = np.bincount(self.y_true, minlength=self.n_classes)
        wrong = np.bincount(self.y_true[self.noisy], minlength=self.n_classes)
        return np.divide(wrong, counts, out=np.full(self.n_classes, np.nan), where=counts > 0)

    def __str__(self) -> str:
        by_class = ", ".join(f"{rate:.3f}" for rate in self.rate_by_class)
        return f"{self.noisy.sum()} of {self.noisy.size} labels wrong ({self.rate:.3f}; by true class {by_class})"


def flip_labels(
    y_true: Int[ArrayLike, " n"],
    noise: LabelNoise | FromFile | None,
    n_classes: int,
    seed: int | np.random.Generator = 0,
) -> NoisyLabels:
    """Draw given labels for `y_true` under `noise` (None leaves them as they are).

    Independent flips: sample i is flipped where u_i < 1 - T[y_i, y_i], so with one seed the samples flipped at a
    low rate are among those flipped at a higher rate. `exact` takes the samples with the smallest u instead.

    Args:
        y_true: (n,) integers in 0..K-1.
        noise: a model of this module.
        n_classes: K.
        seed: of the stream `flips`, which moves nothing else; or a generator of your own.
    """
    y_true = np.asarray(y_true)
    if y_true.ndim != 1 or y_true.dtype.kind not in "iu" or y_true.size == 0:
        raise InputError(f"`y_true` must be a non-empty vector of integers, got {y_true.dtype} {y_true.shape}")
    if y_true.min() < 0 or y_true.max() >= n_classes:
        raise InputError(f"`y_true` must lie in 0..{n_classes - 1}, got {y_true.min()}..{y_true.max()}; remap it")
    y_true = y_true.astype(np.int64)
    if noise is None:
        return NoisyLabels(y_true, y_true.copy(), n_classes)
    if isinstance(noise, FromFile):
        return NoisyLabels(y_true, _read_positions(noise, y_true.size, n_classes), n_classes)
    if not isinstance(noise, TRANSITIONS):
        raise InputError(f"`label_noise` must be a model such as Symmetric(0.2), got {noise!r}; parse_noise reads text")
    transition = noise.matrix(n_classes)
    rng = seed if isinstance(seed, np.random.Generator) else stream(seed, "flips")
    whether, where = rng.random((2, y_true.size))
    leave = 1 - np.diag(transition)
    flip = _exact_flips(y_true, noise, leave, whether) if noise.exact else whether < leave[y_true]
    to_others = transition * (1 - np.eye(n_classes))
    cumulative = np.cumsum(to_others, axis=1)[y_true]
    target = (where[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return NoisyLabels(y_true, np.where(flip, target, y_true), n_classes)


def _read_positions(noise: FromFile, n: int, n_classes: int) -> np.ndarray:
    labels, _ = noise.read(n)
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise InputError(
            f"{noise.path} must hold class positions 0..{n_classes - 1}, got {labels[wrong[0]]} at position "
            f"{wrong[0]}; map the labels to positions first"
        )
    return labels


def _exact_flips(y_true: np.ndarray, noise: LabelNoise, leave: np.ndarray, whether: np.ndarray) -> np.ndarray:
    """Mask of the int(rate n) samples with the smallest draw: of all samples for one rate, else of each class."""
    if isinstance(noise, Symmetric | Pair):
        groups = [(np.arange(y_true.size), noise.rate)]
    else:
        groups = [(np.flatnonzero(y_true == label), rate) for label, rate in enumerate(leave)]
    flip = np.zeros(y_true.size, dtype=bool)
    for members, rate in groups:
        flip[members[np.argsort(whether[members])[: int(rate * members.size)]]] = True
    return flip
