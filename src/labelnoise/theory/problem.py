"""The paper's data model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError, check_integer, check_positive, is_number
from labelnoise.noise.models import TRANSITIONS, ClassConditional, Matrix, Pair, Symmetric
from labelnoise.theory.draws import Draw
from labelnoise.theory.sampling import sample_runs

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
        return sample_runs([self], [seed], vectors=vectors, n_holdout=n_holdout)[0]
