"""Label-noise models, for synthetic and real data alike.

A model says with which probability a label is replaced by which other one; `flip_labels` applies it. Classes are
0..K-1; the two-class world of the paper counts y = +1 as class 0 and y = -1 as class 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, check_integer, described, is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    class SupportsArray(Protocol):
        """An array, a tensor or a data frame."""

        def __array__(self) -> np.ndarray: ...


class LabelNoise(Protocol):
    """What `flip_labels` needs of a model: its transition matrix, and whether the number of flips is fixed."""

    @property
    def exact(self) -> bool:
        """Whether exactly int(rate n) labels are flipped instead of each independently.

        Rounding costs no flip: 0.29 of 100 samples are 29, and 1/3 of three is one.
        """

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
        keep_rates(self, "rate")
        if self.exact and self.include_true:
            raise InputError(
                "`exact` counts wrong labels and `include_true` lets a redrawn label stay right, got both; drop one"
            )

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (K, K): 1 - rate on the diagonal (include_true: + rate/K), the rest spread evenly."""
        check_classes("Symmetric", self.rate, n_classes)
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
        keep_rates(self, "tau_plus", "tau_minus")

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
        keep_rates(self, "rate")

    def matrix(self, n_classes: int) -> Float[np.ndarray, "K K"]:
        """T (K, K): 1 - rate on the diagonal, rate on the next class."""
        check_classes("Pair", self.rate, n_classes)
        eye = np.eye(n_classes)
        return (1 - self.rate) * eye + self.rate * np.roll(eye, 1, axis=1)


@dataclass(frozen=True)
class Matrix:
    """Any row-stochastic transition matrix: row a holds the probabilities of each given label of true class a."""

    rows: tuple[tuple[float, ...], ...]
    """K rows of K probabilities, each summing to 1 within 1e-9.

    They are given as nested sequences, an array or a tensor, and kept as tuples.

    float32 and float16 count as their decimals say, and their rows are divided by sums that miss 1 by rounding.
    """
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(r_a n_a) labels of each class a, r_a the sum of the row's entries off the diagonal."""

    if TYPE_CHECKING:  # it takes more than it holds

        def __init__(self, rows: Sequence[Sequence[float]] | SupportsArray, *, exact: bool = False) -> None: ...

    def __post_init__(self) -> None:
        given = _numbers(self.rows)
        if given.ndim != 2 or given.shape[0] != given.shape[1] or given.size == 0:
            raise InputError(f"`rows` must be a square table of numbers, got shape {given.shape}; give K rows of K")
        # the shortest decimals of a narrow float are what was meant: 0.7, not 0.699999988
        narrow = given.dtype.kind == "f" and given.dtype.itemsize < 8
        table = (given.astype(str) if narrow else given).astype(float)
        if not (np.isfinite(table).all() and (table >= 0).all()):
            raise InputError("`rows` must hold probabilities >= 0, got a negative or non-finite entry; correct it")
        total = table.sum(axis=1)
        off = np.abs(total - 1)
        # the roundings of K entries add up like sqrt(K)
        if off.max() > (4 * np.finfo(given.dtype).eps * np.sqrt(len(table)) if narrow else 1e-9):
            row = int(off.argmax())
            raise InputError(
                f"each row of `rows` must sum to 1, got {total[row]:.6g} in row {row}; divide it by its sum"
            )
        if narrow:
            table /= np.where(off > 1e-12, total, 1)[:, None]
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


def _numbers(rows: Any) -> np.ndarray:
    """Rows as an array of real numbers; text is none, though NumPy would read it."""
    given = on_host(rows)
    if given.dtype.kind not in "biuf" and not (given.ndim == 2 and all(map(is_number, given.flat))):
        raise InputError(f"`rows` must be a square table of numbers, got {described(rows)}; give K rows of K")
    return given


def check_classes(name: str, rate: float, n_classes: int) -> None:
    """Refuse fewer than two classes where labels are to be flipped."""
    check_integer("n_classes", n_classes, 1, 2)
    if n_classes < 2 and rate > 0:
        raise InputError(f"`{name}` needs two classes or more at a rate of {rate}, got 1; choose more classes")


def keep_rates(model: Any, *names: str) -> None:
    """Refuse what is no probability, and keep each as a float; a narrow one means its decimals, as 0.7."""
    for name in names:
        rate = getattr(model, name)
        if not is_number(rate) or not 0 <= rate <= 1:
            raise InputError(f"`{name}` must be a probability in [0, 1], got {rate!r}; for 20% write 0.2")
        object.__setattr__(model, name, float(str(rate) if isinstance(rate, np.floating) else rate))
