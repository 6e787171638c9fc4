"""How to train in the model world, and what to record."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError, check_integer, check_positive, is_number
from labelnoise.theory.dynamics import Dynamics


@dataclass(frozen=True)
class SimulateConfig:
    """Learning rate, length and record of a run; the arguments of `simulate`."""

    lr: float = 0.005
    """Learning rate eta."""
    steps: int = 2_000
    """Gradient steps."""
    record_every: int = 10
    """Steps from one record to the next; step 0 and the last step are always recorded."""
    test_draws: int = 2_000
    """Draws for each sampled test error; 0 leaves them out."""
    zeta_std: float | None = None
    """Standard deviation of the noise that perturbs a training patch; noise_std / 2 if not given."""
    dynamics: Dynamics = Dynamics()
    """Activation, loss, who is shown, optimiser; the paper's if not given."""

    def __post_init__(self) -> None:
        check_positive("lr", self.lr, SimulateConfig.lr)
        for name, least, example in (("steps", 0, 2_000), ("record_every", 1, 10), ("test_draws", 0, 2_000)):
            check_integer(name, getattr(self, name), least, example)
        zeta = self.zeta_std
        if zeta is not None and not (is_number(zeta) and math.isfinite(zeta) and zeta >= 0):
            raise InputError(f"`zeta_std` must be a finite number >= 0, got {self.zeta_std!r}; leave it out")
        if not isinstance(self.dynamics, Dynamics):
            raise InputError(f"`dynamics` must be a Dynamics(...), got {self.dynamics!r}; leave it out")

    @property
    def recorded(self) -> np.ndarray:
        """Recorded steps (k,)."""
        return np.unique(np.append(np.arange(0, self.steps + 1, self.record_every), self.steps))
