"""Draw given labels: a label-noise model applied to true labels, and what was realised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import on_host, stream
from labelnoise.errors import InputError, check_integer, described
from labelnoise.noise.features import FEATURE_MODELS, FeatureNoise, Features
from labelnoise.noise.files import FromFile
from labelnoise.noise.models import TRANSITIONS, LabelNoise, Pair, Symmetric

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Real
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
    noise: LabelNoise | FeatureNoise | FromFile | None,
    n_classes: int,
    seed: int | np.random.Generator = 0,
    features: Real[ArrayLike, "n ..."] | None = None,
) -> NoisyLabels:
    """Draw given labels for `y_true` under `noise` (None leaves them as they are).

    Independent flips: sample i is flipped where u_i < 1 - T[y_i, y_i], so with one seed the samples flipped at a
    low rate are among those flipped at a higher rate. `exact` takes the samples with the smallest u instead. Memory
    is O(n + K^2), and one class of `features` where these are used.

    Args:
        y_true: (n,) integers in 0..K-1: an array, a list or a tensor.
        noise: a model of `models` or of `features`, or `FromFile`.
        n_classes: K, two or more where labels are to be flipped.
        seed: of the stream `flips`, which moves nothing else; or a generator of your own.
        features: (n, ...) numbers, for noise that depends on the sample; other models leave them alone.

    Raises:
        InputError: labels, a model, a number of classes or a seed that is none or does not fit.
    """
    check_integer("n_classes", n_classes, 1, 2)
    n_classes = int(n_classes)
    y_true = _positions(y_true, n_classes)
    rng = seed if isinstance(seed, np.random.Generator) else stream(seed, "flips")
    if noise is None:
        return NoisyLabels(y_true, y_true.copy(), n_classes)
    if isinstance(noise, FromFile):
        return NoisyLabels(y_true, _read_positions(noise, y_true.size, n_classes), n_classes)
    if isinstance(noise, FEATURE_MODELS):
        return NoisyLabels(y_true, _flip_by_features(y_true, noise, n_classes, rng, features), n_classes)
    if not isinstance(noise, TRANSITIONS):
        raise InputError(f"`label_noise` must be a model such as Symmetric(0.2), got {noise!r}; parse_noise reads text")
    return NoisyLabels(y_true, given_labels(y_true, noise, n_classes, *rng.random((2, y_true.size))), n_classes)


def given_labels(
    y_true: Int[np.ndarray, "*runs n"],
    noise: LabelNoise,
    n_classes: int,
    whether: Float[np.ndarray, "*runs n"],
    where: Float[np.ndarray, "*runs n"],
) -> Int[np.ndarray, "*runs n"]:
    """Given labels of true ones from uniform numbers: whether each is flipped, and where to; see `flip_labels`."""
    transition = noise.matrix(n_classes)
    to_others = transition.copy()
    np.fill_diagonal(to_others, 0)
    if noise.exact:
        flip = _exact_flips(y_true, noise, to_others, whether)
    else:  # a row may miss 1 by rounding and lead to no other class
        flip = whether < np.where(to_others.any(axis=1), 1 - np.diag(transition), 0)[y_true]
    return _targets(y_true, flip, to_others, where)


def _positions(y_true: Any, n_classes: int) -> np.ndarray:
    """True labels (n,) as int64."""
    labels = on_host(y_true)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.size == 0:
        raise InputError(
            f"`y_true` must be a non-empty vector of integers, got {described(y_true)}; give a class position a sample"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise InputError(f"`y_true` must lie in 0..{n_classes - 1}, got {labels.min()}..{labels.max()}; remap it")
    return labels.astype(np.int64)


def _read_positions(noise: FromFile, n: int, n_classes: int) -> np.ndarray:
    labels, _ = noise.read(n)
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise InputError(
            f"{noise.path} must hold class positions 0..{n_classes - 1}, got {labels[wrong[0]]} at position "
            f"{wrong[0]}; map the labels to positions first"
        )
    return labels


def _targets(y_true: np.ndarray, flip: np.ndarray, to_others: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Given labels: those to be flipped go where `where` falls in the cumulative sums of their class."""
    if len(to_others) == 2:  # there is but one other class
        return np.where(flip, 1 - y_true, y_true)
    y_given = y_true.copy()
    flipped = np.flatnonzero(flip)
    cumulative = np.cumsum(to_others, axis=1)
    for label, members in _by_class(y_true, flipped):  # a row of sums a class, not a sample: memory n + K^2
        row = cumulative[label]
        y_given[members] = np.searchsorted(row, where[members] * row[-1], side="right")
    return y_given


ROUNDING = 1e-9
"""Share of the samples that may be lacking to one more flip: 0.29 of 100 samples is 28.999999999999996."""


def _exact_flips(y_true: np.ndarray, noise: LabelNoise, to_others: np.ndarray, whether: np.ndarray) -> np.ndarray:
    """Mask of the int(rate n) samples with the smallest draw: of all samples for one rate, else of each class."""
    everyone = np.arange(y_true.size)
    if isinstance(noise, Symmetric | Pair):
        groups = [(everyone, noise.rate)]
    else:
        leave = to_others.sum(axis=1)
        groups = [(members, leave[label]) for label, members in _by_class(y_true, everyone)]
    flip = np.zeros(y_true.size, dtype=bool)
    for members, rate in groups:
        flip[members[_smallest(whether[members], rate)]] = True
    return flip


def _smallest(draws: np.ndarray, rate: float) -> np.ndarray:
    """Positions of the int(rate n) smallest of n draws."""
    return np.argsort(draws, kind="stable")[: int((rate + ROUNDING) * draws.size)]


def _flip_by_features(
    y_true: np.ndarray, noise: FeatureNoise, n_classes: int, rng: np.random.Generator, features: Any
) -> np.ndarray:
    """Given labels (n,) under noise that depends on the sample: flipped where u_i < its own rate."""
    whether = rng.random(y_true.size)
    leave, target = noise.draw(Features.read(features, y_true), n_classes, rng)
    if noise.exact:
        against = np.divide(whether, leave, out=np.full(y_true.size, np.inf), where=leave > 0)
        flip = np.zeros(y_true.size, dtype=bool)
        flip[_smallest(against, noise.rate)] = True
    else:
        flip = whether < leave
    return np.where(flip, target, y_true)


def _by_class(y_true: np.ndarray, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Those of the ascending `samples` that are of each class, ascending."""
    order = samples[np.argsort(y_true[samples], kind="stable")]
    classes, starts = np.unique(y_true[order], return_index=True)
    return zip(classes.tolist(), np.split(order, starts[1:]), strict=False)  # without samples, one empty part
