"""The paper's data model, and how it is sampled: as explicit vectors, or few with the same inner products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labelnoise.arrays import check_memory, stream
from labelnoise.errors import InputError, check_integer, check_positive, is_number
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import TRANSITIONS, ClassConditional, Matrix, Pair, Symmetric
from labelnoise.theory.draws import Draw, Vectors, inner_products

LITTLE = 2**26
"""Bytes that every machine has: to ask for what is free takes longer than a small draw."""
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
    bias: bool = False
    """Train a bias per filter, too, b_{j,r}(0) ~ N(0, init_std^2); the paper's network has none."""

    def __post_init__(self) -> None:
        for name, example in (("n", 200), ("d", 40_000), ("m", 20)):
            check_integer(name, getattr(self, name), 1, example)
        if self.d > MAX_D:
            raise InputError(f"`d` must be at most 10^15, got {self.d:g}; lower it: float64 loses the overlaps")
        if is_number(self.init_std) and self.init_std == 0:
            raise InputError(
                "`init_std` must be a finite number > 0, got 0: all activations would start at 0, where the ReLU has "
                "no slope, so nothing would ever train; use 0.001"
            )
        for name, scale in (("mu_norm", 40.0), ("noise_std", 1.0), ("init_std", 0.001)):
            value = getattr(self, name)
            if name == "mu_norm" and is_number(value) and value == 0:
                continue  # without a signal nothing is learnt, which a map may show
            check_positive(name, value, scale)
            if not 1e-150 < float(value) < 1e150:
                raise InputError(
                    f"`{name}` must lie between 1e-150 and 1e150, or its square leaves float64, got {value!r}; use for "
                    f"example {name}={scale}"
                )
        if not isinstance(self.label_noise, TRANSITIONS):
            raise InputError(
                f"`label_noise` must be a model such as ClassConditional(0.2, 0.2), got {self.label_noise!r}; "
                "for labels of your own use Draw.from_vectors"
            )
        for name in ("orthogonal_noise", "bias"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"`{name}` must be True or False, got {getattr(self, name)!r}; leave it out")
        for tau, name in zip(self.taus, ("tau_plus", "tau_minus"), strict=True):
            if not tau < 0.5:
                raise InputError(
                    f"`{name}` must lie in [0, 0.5), got {tau:g}; lower it: from one half on labels are mostly wrong"
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
        if not isinstance(vectors, bool):
            raise InputError(f"`vectors` must be True or False, got {vectors!r}; leave it out")
        rows = self.n + 1 + 2 * self.m + n_holdout
        width = self.d if vectors else min(rows, self.d)
        needed = 8.0 * rows * (3 * width + 2 * rows)
        if needed > LITTLE:
            check_memory(needed, "lower n, m, n_holdout, or d where vectors are kept")
        y_true, y_given = self._labels(self.n, stream(seed, "labels"), stream(seed, "flips"))
        extra = stream(seed, "held_out") if n_holdout else None
        held_out_true, held_out_given = self._labels(n_holdout, extra, extra) if extra else np.zeros((2, 0))
        route = _explicit_rows if vectors else _bartlett_rows
        explicit = route(self, stream(seed, "data"), stream(seed, "init"), extra, n_holdout)
        return Draw(
            inner=inner_products(explicit),
            m=self.m,
            y_true=y_true,
            y_given=y_given,
            held_out_true=held_out_true,
            held_out_given=held_out_given,
            bias0=self.init_std * stream(seed, "bias").standard_normal(2 * self.m) if self.bias else None,
            problem=self,
            seed=seed,
            vectors=explicit if vectors else None,
        )

    def _labels(self, n: int, labels: np.random.Generator, flips: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """True and given labels (n,) in {-1, +1}."""
        drawn = flip_labels(labels.integers(2, size=n), self.label_noise, 2, flips)
        return 1.0 - 2.0 * drawn.y_true, 1.0 - 2.0 * drawn.y_given


Generator = np.random.Generator


def _explicit_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator | None, h: int) -> Vectors:
    """Vectors in R^d with mu along the first axis."""
    mu = np.zeros((1, p.d))
    mu[0, 0] = p.mu_norm
    xi, w0, held_out = (
        scale * rng.standard_normal((count, p.d)) if rng else np.zeros((0, p.d))
        for rng, count, scale in (
            (data, p.n, p.noise_std),
            (init, 2 * p.m, p.init_std),
            (extra, h, p.noise_std),
        )
    )
    if p.orthogonal_noise:
        xi[:, 0] = held_out[:, 0] = 0
    return Vectors(xi, mu, w0, held_out)


def _bartlett_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator | None, h: int) -> Vectors:
    """Rows in R^min(N, d) with the inner products of Gaussian vectors in R^d (spec: Bartlett decomposition).

    Rotated so that mu lies along the first axis, the first coordinates are N(0, 1) and the Gram matrix of the other
    d - 1 is Wishart(d - 1, I) = L L^T: L lower triangular, L_kk^2 ~ chi^2(d - 1 - k), N(0, 1) below the diagonal.
    """
    width = 1 + min(p.n + 2 * p.m + h, p.d - 1)
    blocks, start = [], 0
    for rng, count, scale in ((data, p.n, p.noise_std), (init, 2 * p.m, p.init_std), (extra, h, p.noise_std)):
        block = np.zeros((count, width))
        if rng is None:
            blocks.append(block)
            continue
        block[:, 0] = rng.standard_normal(count)
        filled = min(start + count, p.d - 1)
        below, row = _triangle(start, count, filled)
        block[:, 1 : 1 + filled] = np.where(below, rng.standard_normal((count, filled)), 0)
        block[row, 1 + start + row] = np.sqrt(rng.chisquare(p.d - 1 - (start + row)))
        blocks.append(scale * block)
        start += count
    xi, w0, held_out = blocks
    if p.orthogonal_noise:
        xi[:, 0] = held_out[:, 0] = 0
    mu = np.zeros((1, width))
    mu[0, 0] = p.mu_norm
    return Vectors(xi, mu, w0, held_out)


@lru_cache(maxsize=64)
def _triangle(start: int, count: int, filled: int) -> tuple[np.ndarray, np.ndarray]:
    """Of rows `start` to `start + count` of L: what lies below the diagonal, and the rows that reach it."""
    rows = np.arange(count)
    return np.tri(count, filled, start - 1, dtype=bool), rows[start + rows < filled]
