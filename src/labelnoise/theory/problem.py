"""The paper's data model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.errors import check_boolean, check_integer
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.theory.draws import Draw, signals_of
from labelnoise.theory.flips import flip_probability
from labelnoise.theory.limits import check_problem, of_all_classes
from labelnoise.theory.sampling import sample_runs


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
    """How labels are flipped; class + is y = +1. With more than two classes one rate of both is that of all."""
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
        object.__setattr__(self, "label_noise", of_all_classes(self.label_noise, self.n_classes))
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
        transition = self.transition
        return float(transition[0, 1]), float(transition[1, 0])

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
        """First coordinates with a meaning: one a signal, and one for v where flips depend on the patch."""
        return self.signals + (self.flip_dependence > 0)

    @property
    def snr(self) -> float:
        """SNR = ||mu|| / (sigma_xi sqrt(d))."""
        return float(self.mu_norm / (self.noise_std * np.sqrt(self.d)))

    @property
    def n_snr2(self) -> float:
        """The n SNR^2 that is of order one in the paper's regime."""
        return self.n * (self.snr * self.snr)  # a power would raise where the product is infinite

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
        check_boolean("vectors", vectors)
        return sample_runs([self], [seed], vectors=vectors, n_holdout=n_holdout)[0]

    def flip_rates(self, y_true: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Return the rate (n,) at which each label is flipped, of patches with these products <xi, v> (n,)."""
        return flip_probability(along / self.noise_std, np.where(y_true > 0, *self.taus), self.flip_dependence)
