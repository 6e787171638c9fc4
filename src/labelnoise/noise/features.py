"""Label noise that depends on the sample itself: which labels are wrong, and what they say, follows from features.

A model here has no transition matrix. It says of each sample with which probability its label is replaced, and by
which class; `flip_labels` draws. Features are standardised: each one has mean 0 and standard deviation 1 over the
samples, a constant one is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, check_positive, described
from labelnoise.noise.models import check_classes, keep_rates

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class FeatureNoise(Protocol):
    """What `flip_labels` needs of a model that looks at the samples."""

    @property
    def rate(self) -> float:
        """Mean probability of a wrong label."""

    @property
    def exact(self) -> bool:
        """Whether exactly int(rate n) labels are flipped instead of each independently."""

    def draw(
        self, features: Features, n_classes: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Return each sample's probability of a wrong label (n,), and the class (n,) that it would be given."""


@dataclass(frozen=True)
class InstanceDependent:
    """Each sample has a rate of its own, and its features say which wrong class it is given (Xia et al. 2020).

    The rate q_i of sample i is normal around `rate` with standard deviation `spread`, cut off at the ends of the
    widest interval in [0, 1] that is symmetric around `rate`, so that its mean is `rate`. A wrong label is drawn from
    softmax(x_i W_y) over the other classes, y the true class, x_i (d,) the features, W_y (d, K) standard normal. Scores
    have standard deviation |x_i|, about sqrt(d): with many features the class of the largest score is nearly certain.
    Of two classes there is but one other, so that q_i alone sets it apart from `Symmetric`.

    Reference: Xia et al., Part-dependent label noise, NeurIPS 2020, Algorithm 2.
    """

    rate: float
    """Mean probability of a wrong label, in [0, 1]."""
    spread: float = 0.1
    """Standard deviation of the rates before they are cut off, in (0, 1]."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels: those whose draw is smallest against their own rate."""

    def __post_init__(self) -> None:
        keep_rates(self, "rate", "spread")
        check_positive("spread", self.spread, InstanceDependent.spread)

    def draw(
        self, features: Features, n_classes: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Rates q_i (n,), and the class (n,) drawn from the scores of each sample."""
        check_classes("InstanceDependent", self.rate, n_classes)
        share, where = rng.random((2, features.y_true.size))
        target = features.y_true.copy()
        for label, members in features.classes(n_classes):
            weights = rng.standard_normal((features.width, n_classes))
            if members.size and n_classes > 1:
                target[members] = _drawn(features.of(members) @ weights, label, where[members])
        return self._rates(share), target

    def _rates(self, share: np.ndarray) -> np.ndarray:
        """Quantiles (n,) of the rates at `share` in [0, 1)."""
        rate, unit = self.rate, NormalDist()
        width = min(rate, 1 - rate)
        tail = unit.cdf(-width / self.spread)
        levels = np.clip(tail + share * (1 - 2 * tail), 1e-300, 1 - 1e-16)
        quantiles = np.fromiter(map(unit.inv_cdf, levels.tolist()), float, share.size)
        return np.clip(rate + self.spread * quantiles, rate - width, rate + width)


@dataclass(frozen=True)
class SubclassDominant:
    """The wrong labels of a class lie in one cluster of it, where they are the majority and all say the same.

    For each class a, a sample of it is drawn and the share rate / within of its samples that are nearest to it is the
    cluster; there, a label is replaced with probability `within` by one other class, drawn for class a. Outside no
    label is wrong. A network learns such a cluster as early as the classes themselves: stopping in time does not help
    (Bai et al., Subclass-dominant label noise, NeurIPS 2023).
    """

    rate: float
    """Mean probability of a wrong label, in [0, within]."""
    within: float = 0.8
    """Probability of a wrong label inside the cluster, in (0, 1]."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels: those whose draw is smallest against their own rate."""

    def __post_init__(self) -> None:
        keep_rates(self, "rate", "within")
        if not self.within > 0 or self.rate > self.within:
            raise InputError(
                f"`within` must lie above 0 and be at least the rate {self.rate}, got {self.within}; use for example "
                f"{max(self.rate, 0.8)}"
            )

    def draw(
        self, features: Features, n_classes: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """`within` (n,) in the clusters and 0 elsewhere, and the class (n,) that its class is given there."""
        check_classes("SubclassDominant", self.rate, n_classes)
        leave, target = np.zeros(features.y_true.size), features.y_true.copy()
        for label, members in features.classes(n_classes):
            step, centre = rng.integers(1, max(n_classes, 2)), rng.random()
            if not members.size:
                continue
            values = features.of(members)
            distance = np.square(values - values[int(centre * members.size)]).sum(axis=1)
            wanted = self.rate / self.within * members.size
            ranked = members[np.argsort(distance, kind="stable")][: int(np.ceil(wanted))]
            leave[ranked] = self.within
            if ranked.size:  # the farthest one makes the mean of the class its rate
                leave[ranked[-1]] *= 1 - (ranked.size - wanted)
            target[members] = (label + step) % n_classes
        return leave, target


FEATURE_MODELS = (InstanceDependent, SubclassDominant)
"""The models that need features."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features and true labels of the samples, standardised a class at a time: memory of one class, not of all."""

    values: Any
    """(n, width) numbers as they were given."""
    y_true: Int[np.ndarray, " n"]
    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]
    """Standard deviations; infinite for a constant feature, which is 0 then."""

    @classmethod
    def read(cls, features: Any, y_true: np.ndarray) -> Features:
        """Take features (n, ...) of any real type: images are flattened.

        Raises:
            InputError: none, not one row a sample, or what is no finite number.
        """
        n = y_true.size
        if features is None:
            raise InputError("noise that depends on the sample needs `features`, got None; give one row a sample")
        values = on_host(features)
        if values.dtype.kind not in "biuf" or values.ndim < 2 or len(values) != n or values.size == 0:
            raise InputError(
                f"`features` must be a table of numbers with one row for each of the {n} samples, got "
                f"{described(features)}; encode texts and categories first"
            )
        values = values.reshape(n, -1)
        total, squares = np.zeros((2, values.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            for block in np.array_split(values, max(1, values.size // 10**5)):
                numbers = block.astype(float)
                total += numbers.sum(axis=0)
                squares += np.square(numbers).sum(axis=0)
        if not np.isfinite(squares).all():
            raise InputError("`features` must be finite, got NaN or infinity in them; fill what is missing first")
        mean = total / n
        spread = np.sqrt(np.maximum(squares / n - mean**2, 0))
        constant = spread <= 1e-7 * np.sqrt(squares / n)  # the rounding of the two sums
        return cls(values, y_true, mean, np.where(constant, np.inf, spread))

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.values.shape[1])

    def of(self, members: np.ndarray) -> Float[np.ndarray, "members width"]:
        """Standardised features of some samples."""
        standardised: np.ndarray = (self.values[members].astype(float) - self.mean) / self.scale
        return standardised

    def classes(self, n_classes: int) -> Iterator[tuple[int, np.ndarray]]:
        """Each class with the positions of its samples, ascending."""
        for label in range(n_classes):
            yield label, np.flatnonzero(self.y_true == label)


def _drawn(scores: np.ndarray, label: int, where: np.ndarray) -> np.ndarray:
    """A class (m,) from the softmax of scores (m, K) without the true one, at quantile `where` (m,) in [0, 1)."""
    scores[:, label] = -np.inf
    cumulative = np.cumsum(np.exp(scores - scores.max(axis=1, keepdims=True)), axis=1)
    drawn: np.ndarray = (cumulative <= (where * cumulative[:, -1])[:, None]).sum(axis=1)
    return drawn
