"""Losses l(z) of the margin z = y~ f, with their slopes l'(z); the second of the five pieces.

Each says below which mean loss a run that fits every given label counts as converged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from labelnoise.arrays import Array
from labelnoise.record.stages import CONVERGED_LOSS


@dataclass(frozen=True)
class Logistic:
    """l(z) = log(1 + exp(-z)); the paper's."""

    converged: ClassVar[float] = CONVERGED_LOSS
    """Mean loss at which a run counts as converged."""

    def value(self, xp: Any, z: Array) -> Array:
        """Return l(z), stable for any margin."""
        return xp.logaddexp(-z, 0 * z)

    def slope(self, xp: Any, z: Array) -> Array:
        """Return l'(z) = -1 / (1 + exp(z))."""
        return -xp.exp(-xp.logaddexp(0 * z, z))


@dataclass(frozen=True)
class Exponential:
    """l(z) = exp(-z)."""

    converged: ClassVar[float] = CONVERGED_LOSS

    def value(self, xp: Any, z: Array) -> Array:
        """Return l(z)."""
        return xp.exp(-z)

    def slope(self, xp: Any, z: Array) -> Array:
        """Return l'(z)."""
        return -xp.exp(-z)


@dataclass(frozen=True)
class Squared:
    """l(z) = (1 - z)^2 / 2; its slope changes sign at z = 1."""

    converged: ClassVar[float] = CONVERGED_LOSS

    def value(self, xp: Any, z: Array) -> Array:
        """Return l(z)."""
        return (1 - z) ** 2 / 2

    def slope(self, xp: Any, z: Array) -> Array:
        """Return l'(z)."""
        return z - 1


@dataclass(frozen=True)
class Hinge:
    """l(z) = max(1 - z, 0), l'(1) = 0: nothing moves any more once every margin is 1."""

    converged: ClassVar[float] = 0.0

    def value(self, xp: Any, z: Array) -> Array:
        """Return l(z)."""
        return (1 - z) * (z < 1)

    def slope(self, xp: Any, z: Array) -> Array:
        """Return l'(z)."""
        return -1.0 * (z < 1)


Loss = Logistic | Exponential | Squared | Hinge
