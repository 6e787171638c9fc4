"""Label-noise models, for synthetic and real data alike.

A model says with which probability a label is replaced by which other one; `flip_labels` applies it. Classes are
0..K-1 here; the two-class world of the paper counts y = +1 as class 0 and y = -1 as class 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labelnoise.errors import InputError, is_number

if TYPE_CHECKING:
    from jaxtyping import Float


class LabelNoise(Protocol):
    """What `flip_labels` needs of a model: its transition matrix, and whether the number of flips is fixed."""

    @property
    def exact(self) -> bool:
        """Whether exactly int(rate n) labels are flipped instead of each independently."""

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """Return T (K, K) with T[a, b] = P(given = b | true = a)."""


@dataclass(frozen=True)
class Symmetric:
    """Each label is replaced with probability `rate` by one drawn evenly from the other classes."""

    rate: float
    """Probability in [0, 1]."""
    include_true: bool = field(default=False, kw_only=True)
    """Draw the new label from all classes, the true one included: only rate (K-1)/K of the labels become wrong."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels, as the paper's release does."""

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)
        if self.exact and self.include_true:
            raise InputError(
                "`exact` counts wrong labels and `include_true` lets a redrawn label stay right, got both; drop one"
            )

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (K, K): 1 - rate on the diagonal (include_true: + rate/K), the rest spread evenly."""
        eye = np.eye(n_classes)
        if self.include_true:
            return (1 - self.rate) * eye + self.rate / n_classes
        return (1 - self.rate) * eye + self.rate * (1 - eye) / max(n_classes - 1, 1)


@dataclass(frozen=True)
class ClassConditional:
    """Two classes with a rate each, the paper's model: tau_+ = P(given - | true +), tau_- = P(given + | true -)."""

    tau_plus: float
    """Probability that a label of the + class (y = +1; the first listed class of real data) is flipped."""
    tau_minus: float
    """Probability that a label of the - class is flipped."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(tau n_class) labels of each class."""

    def __post_init__(self) -> None:
        _check_rate("tau_plus", self.tau_plus)
        _check_rate("tau_minus", self.tau_minus)

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (2, 2) = [[1 - tau_+, tau_+], [tau_-, 1 - tau_-]]."""
        if n_classes != 2:
            raise InputError(
                f"`ClassConditional` needs two classes, got {n_classes}; use `Matrix` for more, or choose two classes"
            )
        return np.array([[1 - self.tau_plus, self.tau_plus], [self.tau_minus, 1 - self.tau_minus]])


@dataclass(frozen=True)
class Pair:
    """Each label is replaced with probability `rate` by the next class (the last by the first)."""

    rate: float
    """Probability in [0, 1]."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels."""

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (K, K): 1 - rate on the diagonal, rate on the next class."""
        eye = np.eye(n_classes)
        return (1 - self.rate) * eye + self.rate * np.roll(eye, 1, axis=1)


@dataclass(frozen=True)
class Matrix:
    """Any row-stochastic transition matrix: row a holds the probabilities of each given label of true class a."""

    rows: tuple[tuple[float, ...], ...]
    """K rows of K probabilities (nested sequences or an array)."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int((1 - T[a, a]) n_a) labels of each class a."""

    def __post_init__(self) -> None:
        try:
            table = np.asarray(self.rows, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"`rows` must be a square table of numbers, got {self.rows!r}") from None
        if table.ndim != 2 or table.shape[0] != table.shape[1] or table.size == 0:
            raise InputError(f"`rows` must be a square table of numbers, got shape {table.shape}; give K rows of K")
        if not (np.isfinite(table).all() and (table >= 0).all()):
            raise InputError("`rows` must hold probabilities >= 0, got a negative or non-finite entry; correct it")
        off = np.abs(table.sum(axis=1) - 1)
        if off.max() > 1e-9:
            row = int(off.argmax())
            raise InputError(
                f"each row of `rows` must sum to 1, got {table[row].sum():.6g} in row {row}; divide it by its sum"
            )
        object.__setattr__(self, "rows", tuple(map(tuple, table.tolist())))

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (K, K) as given."""
        if n_classes != len(self.rows):
            raise InputError(
                f"`Matrix` has {len(self.rows)} rows but the data has {n_classes} classes; give one row a class"
            )
        return np.array(self.rows)


TRANSITIONS = (Symmetric, ClassConditional, Pair, Matrix)
"""The models that are a transition matrix."""


def _check_rate(name: str, rate: float) -> None:
    if not is_number(rate) or not 0 <= rate <= 1:
        raise InputError(f"`{name}` must be a probability in [0, 1], got {rate!r}; for 20 % write 0.2")
