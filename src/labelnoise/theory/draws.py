"""One random draw of the paper's model, held as inner products.

Training sees the signal mu, the n noise patches xi_i and the 2m initial filters w_{j,r}(0) only through their inner
products, so a draw stores those, whatever the dimension d is (Han et al. 2025, Section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.arrays import to_numpy
from labelnoise.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from numpy.typing import ArrayLike

    from labelnoise.theory.problem import SignalNoise


@dataclass(frozen=True, eq=False)
class Vectors:
    """Explicit vectors, or rows that have the same inner products: each field is (its number, dimension)."""

    xi: Float[np.ndarray, "n d"]
    """(n, d) noise patches."""
    mu: Float[np.ndarray, "signals d"]
    """(1, d) signal mu of two classes; (K, d) signals of K classes."""
    w0: Float[np.ndarray, "filters d"]
    """(2m, d) initial filters, j = +1 first; (K m, d), those of each class together."""
    held_out: Float[np.ndarray, "h d"]
    """(h, d) noise patches of the held-out samples."""
    probe: Float[np.ndarray, " d"] | None = None
    """(d,) the direction v of flips that depend on the noise patch; None without such flips."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One random draw of the model: labels and all inner products; the noise vectors themselves are optional.

    `inner` is the Gram matrix of the rows [xi_1..xi_n, mu, w_1..w_2m (j = +1 first), held-out patches]; of K > 2
    classes [xi_1..xi_n, mu_1..mu_K, w_1..w_Km (class by class), held-out patches], and labels are 0..K-1.
    """

    inner: Float[np.ndarray, "N N"] = field(repr=False)
    """(N, N) with N = n + 1 + 2m + h, float64; n + K + K m + h of K classes."""
    m: int
    """Filters per sign, or per class."""
    y_true: Float[np.ndarray, " n"] = field(repr=False)
    """(n,) true labels in {-1, +1}."""
    y_given: Float[np.ndarray, " n"] = field(repr=False)
    """(n,) given labels in {-1, +1}."""
    held_out_true: Float[np.ndarray, " h"] = field(repr=False, default_factory=lambda: np.zeros(0))
    """(h,) true labels of the held-out samples."""
    held_out_given: Float[np.ndarray, " h"] = field(repr=False, default_factory=lambda: np.zeros(0))
    """(h,) given labels of the held-out samples."""
    bias0: Float[np.ndarray, " filters"] | None = field(default=None, repr=False)
    """(2m,) initial bias of each filter; None without a bias."""
    problem: SignalNoise | None = None
    """The distribution; without it, what needs it is NaN or *not measured*."""
    seed: int | None = None
    """The seed it was drawn from, if any."""
    vectors: Vectors | None = field(default=None, repr=False)
    """The explicit vectors, if asked for."""
    n_classes: int = 2
    """Classes; more than two have a signal and an output each."""
    one_patch: bool = False
    """Whether a sample shows its signal and its noise summed in one patch."""
    probe: Float[np.ndarray, " N"] | None = field(default=None, repr=False)
    """(N,) inner products of the rows with v, by which the noise patches decide on flips; None where they do not."""

    @classmethod
    def from_vectors(
        cls,
        mu: Float[ArrayLike, "*signals d"],
        xi: Float[ArrayLike, "n d"],
        w0: Float[ArrayLike, "filters d"],
        y_true: Float[ArrayLike, " n"],
        y_given: Float[ArrayLike, " n"],
        problem: SignalNoise | None = None,
    ) -> Draw:
        """Build a draw from explicit vectors.

        Args:
            mu: (d,) signal of two classes; (K, d) orthogonal signals of equal norm of K > 2 classes.
            xi: (n, d) noise patches.
            w0: (2m, d) initial filters, the m of j = +1 first; of K classes (K m, d), class by class.
            y_true: (n,) true labels in {-1, +1}; of K classes in 0..K-1.
            y_given: (n,) given labels, likewise.
            problem: the distribution that the vectors come from, where known; without it no claim holds or fails.

        Raises:
            InputError: shapes do not fit, an entry is not finite, a label names no class, all filters are 0, or signals
                are not orthogonal or not of equal norm.
        """
        mu, xi, w0 = (_finite(name, value) for name, value in (("mu", mu), ("xi", xi), ("w0", w0)))
        n_classes = len(mu) if mu.ndim == 2 else 2
        _check_vectors(mu, xi, w0, n_classes)
        classes = classes_of(n_classes)
        y_true, y_given = (
            _labels_of(name, labels, len(xi), classes) for name, labels in (("y_true", y_true), ("y_given", y_given))
        )
        m = len(w0) // n_classes
        _check_same(problem, (len(xi), mu.shape[-1], m, n_classes))
        rows = Vectors(xi, mu.reshape(-1, mu.shape[-1]), w0, np.zeros((0, mu.shape[-1])))
        one_patch = problem is not None and problem.one_patch
        return cls(
            inner_products(rows),
            m,
            y_true,
            y_given,
            problem=problem,
            vectors=rows,
            n_classes=n_classes,
            one_patch=one_patch,
        )

    @property
    def n(self) -> int:
        """Training samples."""
        return self.y_true.size

    @property
    def n_holdout(self) -> int:
        """Held-out samples."""
        return self.held_out_true.size

    @property
    def noisy(self) -> Bool[np.ndarray, " n"]:
        """Boolean mask (n,) of the samples whose given label is wrong."""
        return self.y_true != self.y_given

    @property
    def gram(self) -> Float[np.ndarray, "n n"]:
        """G = Xi Xi^T (n, n)."""
        return self.inner[: self.n, : self.n]

    @property
    def xi_mu(self) -> Float[np.ndarray, " n"]:
        """Xi mu (n,)."""
        return self.inner[: self.n, self.n]

    @property
    def mu_sq(self) -> float:
        """||mu||^2."""
        return float(self.inner[self.n, self.n])

    @property
    def w0_xi(self) -> Float[np.ndarray, "filters n"]:
        """W0 Xi^T (2m, n)."""
        return self.inner[self._filters, : self.n]

    @property
    def w0_mu(self) -> Float[np.ndarray, " filters"]:
        """W0 mu (2m,)."""
        return self.inner[self._filters, self.n]

    @property
    def w0_w0(self) -> Float[np.ndarray, "filters filters"]:
        """W0 W0^T (2m, 2m)."""
        return self.inner[self._filters, self._filters]

    @property
    def held_out_rows(self) -> Float[np.ndarray, "h N"]:
        """Inner products (h, N) of the held-out patches with all rows."""
        return self.inner[self._filters.stop :]

    @property
    def filters(self) -> int:
        """Filters: m for each sign or class."""
        return self.n_classes * self.m

    @property
    def signals(self) -> int:
        """Signal vectors: mu alone, or one for each of K classes."""
        return signals_of(self.n_classes)

    @property
    def classes(self) -> tuple[float, ...]:
        """The labels: +1 and -1, or 0..K-1."""
        return classes_of(self.n_classes)

    @property
    def departures(self) -> tuple[str, ...]:
        """What of data and network differs from the paper's, in words; its claims are proved for none of these."""
        words = ["a bias per filter"] if self.bias0 is not None else []
        words += [f"{self.n_classes} classes"] if self.n_classes > 2 else []
        words += ["signal and noise in one patch"] if self.one_patch else []
        dependent = self.probe is not None or (self.problem is not None and self.problem.flip_dependence > 0)
        return (*words, *(["flips that depend on the noise patch"] if dependent else []))

    @property
    def _filters(self) -> slice:
        first = self.n + self.signals
        return slice(first, first + self.filters)


def signals_of(n_classes: int) -> int:
    """Return the number of signal vectors: two classes share one and its negative."""
    return 1 if n_classes == 2 else n_classes


def classes_of(n_classes: int) -> tuple[float, ...]:
    """Return the labels of the classes: +1 and -1 of two, 0..K-1 of more."""
    return (1.0, -1.0) if n_classes == 2 else tuple(map(float, range(n_classes)))


def stack(draws: Sequence[Draw]) -> tuple[Draw, ...]:
    """Return draws as one batch that `simulate` trains together; each run comes out as it would alone.

    Raises:
        InputError: no draw, or draws that differ in n, m, the number of held-out samples or of classes, or in whether
            there is a bias, one patch, or flips that depend on the patch.
    """
    draws = tuple(draws) if isinstance(draws, Iterable) else ()
    if not draws or not all(isinstance(draw, Draw) for draw in draws):
        raise InputError("`draws` must be a list of at least one draw; use stack([problem.sample(seed=0)])")
    sizes = {
        (draw.n, draw.m, draw.n_holdout, draw.bias0 is not None, draw.n_classes, draw.one_patch, draw.probe is not None)
        for draw in draws
    }
    if len(sizes) > 1:
        names = "(n, m, n_holdout, bias, n_classes, one_patch, flip_dependence > 0)"
        raise InputError(f"`draws` must agree in {names} to run as one batch, got {sorted(sizes)}")
    return draws


def inner_products(rows: Vectors) -> Float[np.ndarray, "N N"]:
    """Gram matrix (N, N) of all rows, in the order of `Draw.inner`."""
    every = np.concatenate([rows.xi, rows.mu, rows.w0, rows.held_out])
    return every @ every.T


def _finite(name: str, value: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(to_numpy(value), dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"`{name}` must be an array of numbers, got {type(value).__name__}; convert it first"
        ) from None
    if not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"`{name}` must be finite, got {array[at]} at {at}; remove or replace it")
    return array


ORTHOGONAL = 1e-9
"""Share of a squared norm by which inner products of signals may be off."""


def _check_vectors(mu: np.ndarray, xi: np.ndarray, w0: np.ndarray, n_classes: int) -> None:
    if mu.ndim not in (1, 2) or xi.ndim != 2 or w0.ndim != 2 or not xi.shape[1] == w0.shape[1] == mu.shape[-1]:
        raise InputError(
            f"`mu`, `xi`, `w0` must have shapes (d,), (n, d), (2m, d), or (K, d), (n, d), (K m, d), got {mu.shape}, "
            f"{xi.shape}, {w0.shape}; give all three the same d"
        )
    if n_classes < 3 and mu.ndim == 2:
        raise InputError(
            f"`mu` must have three or more rows, got {n_classes}; two classes share one signal, of shape (d,)"
        )
    if len(w0) == 0 or len(w0) % n_classes or len(xi) == 0:
        multiple = "an even number" if n_classes == 2 else f"a multiple of {n_classes} as number"
        raise InputError(f"`w0` needs {multiple} of rows and `xi` at least one, got {len(w0)} and {len(xi)}")
    if not np.atleast_2d(mu).any(axis=1).all() or not xi.any(axis=1).all() or not w0.any():
        raise InputError("`mu`, every row of `xi` and some row of `w0` must be non-zero; a zero vector never trains")
    if mu.ndim == 2 and np.abs(mu @ mu.T - mu[0] @ mu[0] * np.eye(n_classes)).max() > ORTHOGONAL * (mu[0] @ mu[0]):
        raise InputError(
            "the rows of `mu` must be orthogonal and of equal norm; take for example those of mu_norm * eye"
        )


def _check_same(problem: SignalNoise | None, sizes: tuple[int, int, int, int]) -> None:
    """Refuse a problem that is not of these vectors."""
    if problem is None:
        return
    if not hasattr(problem, "mu_norm"):
        raise InputError(f"`problem` must be a SignalNoise, got {type(problem).__name__}; leave it out")
    its = problem.n, problem.d, problem.m, problem.n_classes
    if its != sizes:
        raise InputError(
            f"`problem` must have n, d, m, n_classes = {', '.join(map(str, sizes))} as the vectors do, got "
            f"{', '.join(map(str, its))}; leave it out or correct it"
        )


def _labels_of(name: str, value: ArrayLike, n: int, classes: Sequence[float]) -> np.ndarray:
    labels = _finite(name, value)
    if labels.shape != (n,) or not np.isin(labels, classes).all():
        what = "each -1 or +1" if len(classes) == 2 else f"each of 0..{len(classes) - 1}"
        raise InputError(
            f"`{name}` must hold {n} labels, {what}, got shape {labels.shape} with values "
            f"{np.unique(labels)[:5].tolist()}; map the classes to these"
        )
    return labels
