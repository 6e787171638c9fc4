"""Activations s of a filter, with their slopes s'; the first of the five pieces that a training is made of.

At the kink the slope is torch's: 0 for ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelnoise.arrays import Array
from labelnoise.errors import InputError, check_integer, check_positive, is_number


@dataclass(frozen=True)
class ReLU:
    """s(u) = max(u, 0), s'(0) = 0; the paper's."""

    def value(self, xp: Any, u: Array) -> Array:
        """Return s(u)."""
        return u * (u > 0)

    def slope(self, xp: Any, u: Array) -> Array:
        """Return s'(u), as numbers or truth values."""
        return u > 0


@dataclass(frozen=True)
class LeakyReLU:
    """s(u) = u above 0, leak u below; s'(0) = leak."""

    leak: float = 0.1
    """Slope below 0, in (0, 1)."""

    def __post_init__(self) -> None:
        if not is_number(self.leak) or not 0 < self.leak < 1:
            raise InputError(f"`leak` must lie between 0 and 1, got {self.leak!r}; use for example leak=0.1")

    def value(self, xp: Any, u: Array) -> Array:
        """Return s(u)."""
        return xp.where(u > 0, u, self.leak * u)

    def slope(self, xp: Any, u: Array) -> Array:
        """Return s'(u)."""
        return xp.where(u > 0, 0 * u + 1, self.leak)


@dataclass(frozen=True)
class PowerReLU:
    """s(u) = max(u, 0)^power; grows slowly from a small start, and diverges fast where lr is too large."""

    power: int = 2
    """Degree q >= 2."""

    def __post_init__(self) -> None:
        check_integer("power", self.power, 2, 2)
        if self.power > 9:
            raise InputError(f"`power` must be at most 9, got {self.power}; use for example power=2")

    def value(self, xp: Any, u: Array) -> Array:
        """Return s(u)."""
        return _power(u * (u > 0), self.power)

    def slope(self, xp: Any, u: Array) -> Array:
        """Return s'(u)."""
        return self.power * _power(u * (u > 0), self.power - 1)


@dataclass(frozen=True)
class Softplus:
    """s(u) = width log(1 + exp(u / width)): a ReLU without kink, s'(u) = 1 / (1 + exp(-u / width))."""

    width: float = 1.0
    """Width of the bend."""

    def __post_init__(self) -> None:
        check_positive("width", self.width, 1.0)

    def value(self, xp: Any, u: Array) -> Array:
        """Return s(u)."""
        return self.width * xp.logaddexp(0 * u, u / self.width)

    def slope(self, xp: Any, u: Array) -> Array:
        """Return s'(u)."""
        return xp.exp(-xp.logaddexp(0 * u, -u / self.width))


Activation = ReLU | LeakyReLU | PowerReLU | Softplus


def _power(u: Array, q: int) -> Array:
    """u^q by repeated multiplication."""
    product = u
    for _ in range(q - 1):
        product = product * u
    return product
