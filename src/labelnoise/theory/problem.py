"""The paper's data model, and how it is sampled: as explicit vectors, or few with the same inner products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labelnoise.arrays import check_memory, stream
from labelnoise.errors import InputError, check_integer
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.theory.draws import Draw, Vectors, all_rows, classes_of, inner_products, signals_of
from labelnoise.theory.flips import flip_probability
from labelnoise.theory.limits import check_problem

LITTLE = 2**26
"""Bytes that every machine has: to ask for what is free takes longer than a small draw."""


@dataclass(frozen=True)
class SignalNoise:
    """Parameters of the signal-noise model and of the two-layer network's initialisation.

    x = [y mu, xi] with y uniform on {-1, +1} and xi ~ N(0, noise_std^2 I_d); the given label flips y with
    probability tau_+ or tau_-; w_{j,r}(0) ~ N(0, init_std^2 I_d), m filters for each sign j. The last fields leave the
    paper's model: a bias, K classes, one patch, flips that depend on the noise patch.

    Raises:
        InputError: a size is not a positive integer, a scale not positive, a flip rate not in [0, 1/2), settings that
            do not go together.
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
    n_classes: int = 2
    """Classes; two are the paper's, with mu and -mu and one output, more have an orthogonal signal of norm mu_norm, m
    filters and an output each, and cross-entropy."""
    one_patch: bool = False
    """Show signal and noise summed in one patch, x = y mu + xi, a mixture of Gaussians; the paper shows two patches."""
    flip_dependence: float = 0.0
    """Correlation r in [0, 1] of flips with the noise patch; P(flip | xi) = Phi((Phi^-1(tau) + r s) / sqrt(1 - r^2)),
    s = <xi, v> / noise_std, has the mean tau, but single rates may exceed one half; 0 is the paper's."""
    flip_cosine: float = 0.0
    """Cosine of the angle between mu and v, the direction in which the noise patch decides on flips."""

    def __post_init__(self) -> None:
        check_problem(self)

    @property
    def transition(self) -> np.ndarray:
        """T (K, K) with T[a, b] = P(given class b | true class a); y = +1 is class 0 of two."""
        return self.label_noise.matrix(self.n_classes)

    @property
    def taus(self) -> tuple[float, float]:
        """(tau_+, tau_-); NaN with more than two classes."""
        if self.n_classes > 2:
            return float("nan"), float("nan")
        return float(self.transition[0, 1]), float(self.transition[1, 0])

    @property
    def filters(self) -> int:
        """Filters: m for each sign or class."""
        return self.n_classes * self.m

    @property
    def signals(self) -> int:
        """Signal vectors: mu alone, or one for each of K classes."""
        return signals_of(self.n_classes)

    @property
    def axes(self) -> int:
        """Coordinates that are told apart: of the signals, and of v where it is no multiple of mu."""
        return self.signals + (self.flip_dependence > 0 and abs(self.flip_cosine) < 1)

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
            seed: fixes labels and flips on both routes; the vectors of the two routes are equal in distribution only,
                and so are flips that depend on them.
            vectors: also keep mu, xi and the initial weights (memory (n + 2m) d), as the dense engine needs.
            n_holdout: extra samples that join the inner products but not the training.
        """
        check_integer("n_holdout", n_holdout, 0, 200)
        if not isinstance(vectors, bool):
            raise InputError(f"`vectors` must be True or False, got {vectors!r}; leave it out")
        rows = self.n + self.signals + self.filters + n_holdout
        width = self.d if vectors else min(rows, self.d)
        needed = 8.0 * rows * (3 * width + 2 * rows)
        if needed > LITTLE:
            check_memory(needed, "lower n, m, n_holdout, or d where vectors are kept")
        y_true, y_given = self._labels(self.n, stream(seed, "labels"), stream(seed, "flips"))
        extra = stream(seed, "held_out") if n_holdout else None
        held_out_true, held_out_given = self._labels(n_holdout, extra, extra) if extra else np.zeros((2, 0))
        route = _explicit_rows if vectors else _bartlett_rows
        explicit = route(self, stream(seed, "data"), stream(seed, "init"), extra, n_holdout)
        if explicit.probe is not None:
            y_given = self._flipped(y_true, explicit.xi @ explicit.probe, stream(seed, "flips"))
            if extra:
                held_out_given = self._flipped(held_out_true, explicit.held_out @ explicit.probe, extra)
        return Draw(
            inner=inner_products(explicit),
            m=self.m,
            y_true=y_true,
            y_given=y_given,
            held_out_true=held_out_true,
            held_out_given=held_out_given,
            bias0=self.init_std * stream(seed, "bias").standard_normal(self.filters) if self.bias else None,
            problem=self,
            seed=seed,
            vectors=explicit if vectors else None,
            n_classes=self.n_classes,
            one_patch=self.one_patch,
            probe=None if explicit.probe is None else all_rows(explicit) @ explicit.probe,
        )

    def _labels(self, n: int, labels: np.random.Generator, flips: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """True and given labels (n,), flipped whatever the patch."""
        drawn = flip_labels(labels.integers(self.n_classes, size=n), self.label_noise, self.n_classes, flips)
        names = np.array(classes_of(self.n_classes))
        return names[drawn.y_true], names[drawn.y_given]

    def flip_rates(self, y_true: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Return the rate (n,) at which each label is flipped, of patches with these products <xi, v> (n,)."""
        return flip_probability(along / self.noise_std, np.where(y_true > 0, *self.taus), self.flip_dependence)

    def _flipped(self, y_true: np.ndarray, along: np.ndarray, flips: np.random.Generator) -> np.ndarray:
        """Given labels (n,) of patches with these products <xi, v> (n,)."""
        whether, _ = flips.random((2, y_true.size))  # the numbers by which `flip_labels` decides
        return np.where(whether < self.flip_rates(y_true, along), -y_true, y_true)


Generator = np.random.Generator


def _probe(p: SignalNoise, width: int) -> np.ndarray | None:
    """V (width,) = cos e_1 + sin e_2, mu along e_1; None where flips do not depend on the patch."""
    if not p.flip_dependence:
        return None
    v = np.zeros(width)
    v[0] = p.flip_cosine
    if p.axes > 1:
        v[1] = np.sqrt(1 - p.flip_cosine**2)
    return v


def _signals(p: SignalNoise, width: int) -> np.ndarray:
    """The signals (signals, width), each along an axis of its own."""
    return p.mu_norm * np.eye(p.signals, width)


def _explicit_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator | None, h: int) -> Vectors:
    """Vectors in R^d with mu along the first axis, further signals along the next ones."""
    xi, w0, held_out = (
        scale * rng.standard_normal((count, p.d)) if rng else np.zeros((0, p.d))
        for rng, count, scale in (
            (data, p.n, p.noise_std),
            (init, p.filters, p.init_std),
            (extra, h, p.noise_std),
        )
    )
    if p.orthogonal_noise:
        xi[:, : p.signals] = held_out[:, : p.signals] = 0
    return Vectors(xi, _signals(p, p.d), w0, held_out, _probe(p, p.d))


def _bartlett_rows(p: SignalNoise, data: Generator, init: Generator, extra: Generator | None, h: int) -> Vectors:
    """Rows in R^min(N, d) with the inner products of Gaussian vectors in R^d (spec: Bartlett decomposition).

    Rotated so that mu lies along the first axis, the first coordinates are N(0, 1) and the Gram matrix of the other
    d - 1 is Wishart(d - 1, I) = L L^T: L lower triangular, L_kk^2 ~ chi^2(d - 1 - k), N(0, 1) below the diagonal. Each
    further direction that matters, a signal or v, takes one more coordinate N(0, 1) and one off d.
    """
    axes, rest = p.axes, p.d - p.axes
    width = axes + min(p.n + p.filters + h, rest)
    blocks, start = [], 0
    for rng, count, scale in ((data, p.n, p.noise_std), (init, p.filters, p.init_std), (extra, h, p.noise_std)):
        block = np.zeros((count, width))
        if rng is None:
            blocks.append(block)
            continue
        block[:, :axes] = rng.standard_normal((count, axes))
        filled = min(start + count, rest)
        below, row = _triangle(start, count, filled)
        block[:, axes : axes + filled] = np.where(below, rng.standard_normal((count, filled)), 0)
        block[row, axes + start + row] = np.sqrt(rng.chisquare(rest - (start + row)))
        blocks.append(scale * block)
        start += count
    xi, w0, held_out = blocks
    if p.orthogonal_noise:
        xi[:, : p.signals] = held_out[:, : p.signals] = 0
    return Vectors(xi, _signals(p, width), w0, held_out, _probe(p, width))


@lru_cache(maxsize=64)
def _triangle(start: int, count: int, filled: int) -> tuple[np.ndarray, np.ndarray]:
    """Of rows `start` to `start + count` of L: what lies below the diagonal, and the rows that reach it."""
    rows = np.arange(count)
    return np.tri(count, filled, start - 1, dtype=bool), rows[start + rows < filled]
