"""The paper's data model (`SignalNoise`) and one random draw of it (`Draw`), held as inner products.

Training sees the signal mu, the n noise patches xi_i and the 2m initial filters w_{j,r}(0) only through their inner
products, so a draw stores those, whatever the dimension d is (Han et al. 2025, Section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer, check_positive
from labelnoise.noise import MODELS, ClassConditional, Matrix, Pair, Symmetric, flip_labels

MAX_D = 10**15
"""Largest dimension at which the inner products of noise patches keep full relative precision in float64."""


@dataclass(frozen=True)
class SignalNoise:
    """Parameters of the signal-noise model and of the two-layer network's initialisation.

    x = [y mu, xi] with y uniform on {-1, +1} and xi ~ N(0, noise_std^2 I_d); the given label flips y with
    probability tau_+ or tau_-; w_{j,r}(0) ~ N(0, init_std^2 I_d), m filters for each sign j.

    Raises:
        InputError: a size is not a positive integer, a scale not positive, a flip rate not in [0, 1/2).
    """

    n: int = 200
    """Training samples."""
    d: int = 40_000
    """Dimension of one patch."""
    m: int = 20
    """Filters per sign; there are 2m filters."""
    mu_norm: float = 40.0
    """Norm of the signal vector mu."""
    noise_std: float = 1.0
    """Standard deviation sigma_xi of a noise patch's entries."""
    init_std: float = 0.001
    """Standard deviation sigma_0 of the initial weights."""
    label_noise: ClassConditional | Symmetric | Pair | Matrix = ClassConditional(0.2, 0.2)
    """How labels are flipped; class + is y = +1."""
    orthogonal_noise: bool = False
    """Project the noise patches off mu: xi ~ N(0, noise_std^2 (I - mu mu^T / ||mu||^2))."""

    def __post_init__(self) -> None:
        for name, example in (("n", 200), ("d", 40_000), ("m", 20)):
            check_integer(name, getattr(self, name), 1, example)
        if self.d > MAX_D:
            raise InputError(f"`d` must be at most 10^15, got {self.d:g}; beyond, float64 loses the patches' overlaps")
        no_slope = "all activations start at 0, where the ReLU's slope is 0, so nothing would ever train; use 0.001"
        check_positive("mu_norm", self.mu_norm, 40.0)
        check_positive("noise_std", self.noise_std, 1.0)
        check_positive("init_std", self.init_std, 0.001, no_slope)
        if not isinstance(self.label_noise, MODELS):
            raise InputError(
                f"`label_noise` must be a model such as ClassConditional(0.2, 0.2), got {self.label_noise!r}; "
                "for labels of your own use Draw.from_vectors"
            )
        if not isinstance(self.orthogonal_noise, bool):
            raise InputError(f"`orthogonal_noise` must be True or False, got {self.orthogonal_noise!r}; leave it out")
        for tau, name in zip(self.taus, ("tau_plus", "tau_minus"), strict=True):
            if not tau < 0.5:
                raise InputError(
                    f"`{name}` must lie in [0, 0.5), got {tau:g}; from one half on the labels are mostly wrong"
                )
        if self.orthogonal_noise and self.d < 2:
            raise InputError("`d` must be >= 2 with orthogonal_noise, got 1; one dimension is all signal")

    @property
    def taus(self) -> tuple[float, float]:
        """(tau_+, tau_-)."""
        transition = self.label_noise.matrix(2)
        return float(transition[0, 1]), float(transition[1, 0])

    @property
    def snr(self) -> float:
        """SNR = ||mu|| / (sigma_xi sqrt(d))."""
        return float(self.mu_norm / (self.noise_std * np.sqrt(self.d)))

    @property
    def n_snr2(self) -> float:
        """N SNR^2, of order one in the paper's regime."""
        return self.n * self.snr**2

    def sample(self, seed: int = 0, *, vectors: bool = False, n_holdout: int = 0) -> Draw:
        """Draw labels, noise patches and initial weights.

        Without vectors the inner products come from a Bartlett decomposition, exact in distribution for every d >= 1,
        in time O((n + 2m)^3) and memory O((n + 2m)^2) independent of d.

        Args:
            seed: fixes labels and flips on both routes; the vectors of the two routes are equal in distribution only.
            vectors: also keep mu, xi and the initial weights (memory (n + 2m) d), as the dense engine needs.
            n_holdout: extra samples that join the inner products but not the training.
        """
        check_integer("n_holdout", n_holdout, 0, 200)
        y_true, y_given = self._labels(self.n, stream(seed, "labels"), stream(seed, "flips"))
        extra = stream(seed, "held_out")
        held_out_true, held_out_given = self._labels(n_holdout, extra, extra)
        route = _explicit_rows if vectors else _bartlett_rows
        rows = route(self, stream(seed, "data"), stream(seed, "init"), extra, n_holdout)
        return Draw(
            inner=_inner_products(rows),
            m=self.m,
            y_true=y_true,
            y_given=y_given,
            held_out_true=held_out_true,
            held_out_given=held_out_given,
            problem=self,
            seed=seed,
            vectors=rows if vectors else None,
        )

    def _labels(self, n: int, labels: np.random.Generator, flips: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """True and given labels (n,) in {-1, +1}."""
        if n == 0:
            return np.zeros(0), np.zeros(0)
        drawn = flip_labels(labels.integers(2, size=n), self.label_noise, 2, flips)
        return 1.0 - 2.0 * drawn.y_true, 1.0 - 2.0 * drawn.y_given


@dataclass(frozen=True, eq=False)
class Vectors:
    """Explicit vectors, or rows that have the same inner products: each field is (its number, dimension)."""

    xi: np.ndarray
    """(n, d) noise patches."""
    mu: np.ndarray
    """(1, d) signal."""
    w0: np.ndarray
    """(2m, d) initial filters, j = +1 first."""
    held_out: np.ndarray
    """(h, d) noise patches of the held-out samples."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One random draw of the model: labels and all inner products; the noise vectors themselves are optional.

    `inner` is the Gram matrix of the rows [xi_1..xi_n, mu, w_1..w_2m (j = +1 first), held-out patches].
    """

    inner: np.ndarray
    """(N, N) with N = n + 1 + 2m + h, float64."""
    m: int
    """Filters per sign."""
    y_true: np.ndarray
    """(n,) true labels in {-1, +1}."""
    y_given: np.ndarray
    """(n,) given labels in {-1, +1}."""
    held_out_true: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(h,) true labels of the held-out samples."""
    held_out_given: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(h,) given labels of the held-out samples."""
    problem: SignalNoise | None = None
    """The distribution; without it, what needs it is NaN or *not applicable*."""
    seed: int | None = None
    """The seed it was drawn from, if any."""
    vectors: Vectors | None = None
    """The explicit vectors, if asked for."""

    @classmethod
    def from_vectors(
        cls,
        mu: np.ndarray,
        xi: np.ndarray,
        w0: np.ndarray,
        y_true: np.ndarray,
        y_given: np.ndarray,
        problem: SignalNoise | None = None,
    ) -> Draw:
        """Build a draw from explicit vectors.

        Args:
            mu: (d,) signal.
            xi: (n, d) noise patches.
            w0: (2m, d) initial filters, the m of j = +1 first.
            y_true: (n,) true labels in {-1, +1}.
            y_given: (n,) given labels in {-1, +1}.
            problem: the distribution that the vectors come from, where known.

        Raises:
            InputError: shapes do not fit, an entry is not finite, a label is not -1 or +1, or all filters are 0.
        """
        mu, xi, w0 = (_finite(name, value) for name, value in (("mu", mu), ("xi", xi), ("w0", w0)))
        if mu.ndim != 1 or xi.ndim != 2 or w0.ndim != 2 or not xi.shape[1] == w0.shape[1] == mu.size:
            raise InputError(
                f"`mu`, `xi`, `w0` must have shapes (d,), (n, d), (2m, d), got {mu.shape}, {xi.shape}, {w0.shape}; "
                "give all three the same d"
            )
        if len(w0) == 0 or len(w0) % 2 or len(xi) == 0:
            raise InputError(f"`w0` needs an even number of rows and `xi` at least one, got {len(w0)} and {len(xi)}")
        if not mu.any() or not xi.any(axis=1).all() or not w0.any():
            raise InputError(
                "`mu`, every row of `xi` and some row of `w0` must be non-zero; a zero vector never trains"
            )
        y_true, y_given = _labels_of("y_true", y_true, len(xi)), _labels_of("y_given", y_given, len(xi))
        if problem is not None and (problem.n, problem.d, problem.m) != (len(xi), mu.size, len(w0) // 2):
            raise InputError(
                f"`problem` must have n, d, m = {len(xi)}, {mu.size}, {len(w0) // 2} as the vectors do, "
                f"got {problem.n}, {problem.d}, {problem.m}; leave it out or correct it"
            )
        rows = Vectors(xi, mu[None], w0, np.zeros((0, mu.size)))
        return cls(_inner_products(rows), len(w0) // 2, y_true, y_given, problem=problem, vectors=rows)

    @property
    def n(self) -> int:
        """Training samples."""
        return self.y_true.size

    @property
    def n_holdout(self) -> int:
        """Held-out samples."""
        return self.held_out_true.size

    @property
    def noisy(self) -> np.ndarray:
        """Boolean mask (n,) of the samples whose given label is wrong."""
        return self.y_true != self.y_given

    @property
    def gram(self) -> np.ndarray:
        """G = Xi Xi^T (n, n)."""
        return self.inner[: self.n, : self.n]

    @property
    def xi_mu(self) -> np.ndarray:
        """Xi mu (n,)."""
        return self.inner[: self.n, self.n]

    @property
    def mu_sq(self) -> float:
        """||mu||^2."""
        return float(self.inner[self.n, self.n])

    @property
    def w0_xi(self) -> np.ndarray:
        """W0 Xi^T (2m, n)."""
        return self.inner[self._filters, : self.n]

    @property
    def w0_mu(self) -> np.ndarray:
        """W0 mu (2m,)."""
        return self.inner[self._filters, self.n]

    @property
    def w0_w0(self) -> np.ndarray:
        """W0 W0^T (2m, 2m)."""
        return self.inner[self._filters, self._filters]

    @property
    def held_out_rows(self) -> np.ndarray:
        """Inner products (h, N) of the held-out patches with all rows."""
        return self.inner[self._filters.stop :]

    @property
    def _filters(self) -> slice:
        return slice(self.n + 1, self.n + 1 + 2 * self.m)


def stack(draws: Sequence[Draw]) -> tuple[Draw, ...]:
    """Return draws as one batch that `simulate` trains together; each run comes out as it would alone.

    Raises:
        InputError: no draw, or draws that differ in n, m or the number of held-out samples.
    """
    draws = () if isinstance(draws, Draw) else tuple(draws)
    if not draws or not all(isinstance(draw, Draw) for draw in draws):
        raise InputError("`draws` must be a list of at least one draw; use stack([problem.sample(seed=0)])")
    sizes = {(draw.n, draw.m, draw.n_holdout) for draw in draws}
    if len(sizes) > 1:
        raise InputError(f"`draws` must agree in (n, m, n_holdout) to run as one batch, got {sorted(sizes)}")
    return draws


def _inner_products(rows: Vectors) -> np.ndarray:
    every = np.concatenate([rows.xi, rows.mu, rows.w0, rows.held_out])
    return every @ every.T


Generator = np.random.Generator


def _explicit_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator, h: int) -> Vectors:
    """Vectors in R^d with mu along the first axis."""
    mu = np.zeros((1, p.d))
    mu[0, 0] = p.mu_norm
    xi, w0, held_out = (
        scale * rng.standard_normal((count, p.d))
        for rng, count, scale in (
            (data, p.n, p.noise_std),
            (init, 2 * p.m, p.init_std),
            (extra, h, p.noise_std),
        )
    )
    if p.orthogonal_noise:
        xi[:, 0] = held_out[:, 0] = 0
    return Vectors(xi, mu, w0, held_out)


def _bartlett_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator, h: int) -> Vectors:
    """Rows in R^min(N, d) with the inner products of Gaussian vectors in R^d (spec: Bartlett decomposition).

    Rotated so that mu lies along the first axis, the first coordinates are N(0, 1) and the Gram matrix of the other
    d - 1 is Wishart(d - 1, I) = L L^T: L lower triangular, L_kk^2 ~ chi^2(d - 1 - k), N(0, 1) below the diagonal.
    """
    width = 1 + min(p.n + 2 * p.m + h, p.d - 1)
    blocks, start = [], 0
    for rng, count, scale in ((data, p.n, p.noise_std), (init, 2 * p.m, p.init_std), (extra, h, p.noise_std)):
        block = np.zeros((count, width))
        block[:, 0] = rng.standard_normal(count)
        filled = min(start + count, p.d - 1)
        below = np.tril(rng.standard_normal((count, filled)), k=start - 1)
        row = np.arange(count)[start + np.arange(count) < p.d - 1]
        below[row, start + row] = np.sqrt(rng.chisquare(p.d - 1 - (start + row)))
        block[:, 1 : 1 + filled] = below
        blocks.append(scale * block)
        start += count
    xi, w0, held_out = blocks
    if p.orthogonal_noise:
        xi[:, 0] = held_out[:, 0] = 0
    mu = np.zeros((1, width))
    mu[0, 0] = p.mu_norm
    return Vectors(xi, mu, w0, held_out)


def _finite(name: str, value: np.ndarray) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"`{name}` must be an array of numbers, got {type(value).__name__}; convert it first"
        ) from None
    if not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"`{name}` must be finite, got {array[at]} at {at}; remove or replace it")
    return array


def _labels_of(name: str, value: np.ndarray, n: int) -> np.ndarray:
    labels = _finite(name, value)
    if labels.shape != (n,) or not np.isin(labels, (-1.0, 1.0)).all():
        raise InputError(
            f"`{name}` must hold {n} labels, each -1 or +1, got shape {labels.shape} with values "
            f"{np.unique(labels)[:5].tolist()}; map the two classes to -1 and +1"
        )
    return labels
