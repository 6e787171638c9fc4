"""How the weights follow the gradient, and the learning rate over the steps; the fourth of the five pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError, check_boolean, check_integer, check_positive, is_number


@dataclass(frozen=True)
class GradientDescent:
    """W <- W - lr G; the paper's."""


@dataclass(frozen=True)
class Momentum:
    """V <- momentum V + G; W <- W - lr V (heavy ball), or W - lr (G + momentum V) (Nesterov, as torch writes it)."""

    momentum: float = 0.9
    """In (0, 1)."""
    nesterov: bool = False
    """Take the gradient at the look-ahead point."""

    def __post_init__(self) -> None:
        _check_share("momentum", self.momentum)
        check_boolean("nesterov", self.nesterov)


@dataclass(frozen=True)
class SharpnessAware:
    """W <- W - lr G(W + radius G / ||G||): two gradients a step (Foret et al. 2021); without the step where G = 0."""

    radius: float = 0.05
    """Length of the ascent, over all filters together."""

    def __post_init__(self) -> None:
        check_positive("radius", self.radius, 0.05)


@dataclass(frozen=True)
class GradientFlow:
    """dW/dt = -G, time = lr x step, by Runge-Kutta 4(5); of a ReLU the flow slides along its kinks.

    There the error is about 1e-3 of the largest output whatever the tolerance, and the cost grows as 1 / tolerance.
    """

    tolerance: float = 1e-4
    """Relative error of one step of the integration; a tenth of it absolute."""

    def __post_init__(self) -> None:
        if not is_number(self.tolerance) or not 1e-13 <= self.tolerance < 1:
            raise InputError(f"`tolerance` must lie in [1e-13, 1), got {self.tolerance!r}; use for example 1e-4")


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015), as torch computes it: coordinate by coordinate, so on explicit vectors only."""

    beta1: float = 0.9
    """Decay of the mean gradient."""
    beta2: float = 0.999
    """Decay of the mean squared gradient."""

    def __post_init__(self) -> None:
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)


Optimizer = GradientDescent | Momentum | SharpnessAware | GradientFlow | Adam


LEAVES_SPAN = "Adam moves each coordinate by its own size, so weights leave the span of the patches"
"""Why only the dense engine trains by Adam."""


def check_in_span(optimizer: Optimizer) -> None:
    """Refuse, of a command that trains in the span of the patches, an optimiser that leaves it.

    Raises:
        InputError: names those that do not.
    """
    if isinstance(optimizer, Adam):
        raise InputError(
            f"{LEAVES_SPAN}; choose gradient-descent, momentum, sharpness-aware or gradient-flow (from Python, "
            "explicit vectors can be trained by Adam: simulate with engine='dense')"
        )


@dataclass(frozen=True)
class Constant:
    """The learning rate as it is."""

    def share(self, step: np.ndarray, steps: int) -> np.ndarray:
        """Return the share of the learning rate that each step (counted from 0) of `steps` takes."""
        return np.ones(step.shape)


@dataclass(frozen=True)
class Cosine:
    """From the learning rate to `floor` of it along half a cosine."""

    floor: float = 0.0
    """Share of the learning rate at the end, in [0, 1)."""

    def __post_init__(self) -> None:
        if not is_number(self.floor) or not 0 <= self.floor < 1:
            raise InputError(f"`floor` must lie in [0, 1), got {self.floor!r}; use for example floor=0")

    def share(self, step: np.ndarray, steps: int) -> np.ndarray:
        """Return the share of the learning rate that each step (counted from 0) of `steps` takes."""
        return self.floor + (1 - self.floor) * (1 + np.cos(np.pi * step / max(steps, 1))) / 2


@dataclass(frozen=True)
class StepDecay:
    """Times `factor` after every `every` steps."""

    factor: float = 0.1
    """In (0, 1)."""
    every: int = 1_000
    """Steps."""

    def __post_init__(self) -> None:
        _check_share("factor", self.factor)
        check_integer("every", self.every, 1, 1_000)

    def share(self, step: np.ndarray, steps: int) -> np.ndarray:
        """Return the share of the learning rate that each step (counted from 0) of `steps` takes."""
        return np.power(self.factor, step // self.every)


Schedule = Constant | Cosine | StepDecay


def _check_share(name: str, value: float) -> None:
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f"`{name}` must lie between 0 and 1, got {value!r}; use for example {name}=0.9")
