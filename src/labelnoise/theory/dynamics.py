"""How a network is trained: the pieces put together, which of them the paper's theorems cover, and their words."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labelnoise.errors import InputError, check_positive, is_number
from labelnoise.runs.settings import words_of
from labelnoise.theory.activations import Activation, ReLU
from labelnoise.theory.losses import Logistic, Loss
from labelnoise.theory.optimizers import Constant, GradientDescent, GradientFlow, Optimizer, Schedule
from labelnoise.theory.shown import Shown


@dataclass(frozen=True)
class Dynamics:
    """Activation, loss, who is shown, optimiser; by default the paper's. The bank of patches is the problem's.

    All of them share one gradient (spec: G = [(A^T g S^T) o s'(H)]), so any may go with any but where the reason says
    why not.

    Raises:
        InputError: a piece of another type, or pieces that do not go together.
    """

    activation: Activation = ReLU()
    """Activation of the filters."""
    loss: Loss = Logistic()
    """Loss of a sample's margin."""
    shown: Shown = Shown()
    optimizer: Optimizer = GradientDescent()
    """How the weights follow the gradient."""
    schedule: Schedule = Constant()
    """The learning rate over the steps."""
    weight_decay: float = 0.0
    """Coupled decay: its multiple of the weights is added to the gradient, for SharpnessAware to that of the step."""
    second_layer: float | None = None
    """Size of the fixed second layer's weights; 1/m if not given."""

    def __post_init__(self) -> None:
        for name, kind in PIECES.items():
            if not isinstance(getattr(self, name), kind):
                first, *others = (f"{member.__name__}()" for member in getattr(kind, "__args__", (kind,)))
                listed, given = ", ".join([first, *others]), getattr(self, name)
                raise InputError(f"`{name}` must be one of {listed}, got {given!r}; use for example {first}")
        if not is_number(self.weight_decay) or not math.isfinite(self.weight_decay) or self.weight_decay < 0:
            raise InputError(f"`weight_decay` must be a finite number >= 0, got {self.weight_decay!r}; leave it out")
        if self.second_layer is not None:
            check_positive("second_layer", self.second_layer, 0.5)
        self._check_together()

    def _check_together(self) -> None:
        if self.shown.fresh_flips and not isinstance(self.loss, Logistic):
            raise InputError(
                f"`fresh_flips` needs the logistic loss, got {words_of(self.loss)}; there a flip adds 1 to the slope "
                "whatever the margin"
            )
        if isinstance(self.optimizer, GradientFlow) and (
            self.weight_decay or self.shown != Shown() or self.schedule != Constant()
        ):
            raise InputError(
                "GradientFlow integrates the full gradient; leave out batch_size, fresh_flips, selection_from, "
                "schedule and weight_decay"
            )

    @property
    def departures(self) -> tuple[str, ...]:
        """What differs from the paper's dynamics, in words; a run knows whether a batch holds all of its samples."""
        return tuple(_words(self, Dynamics()))


PIECES: dict[str, Any] = {
    "activation": Activation,
    "loss": Loss,
    "shown": Shown,
    "optimizer": Optimizer,
    "schedule": Schedule,
}
"""The pieces that are configs of their own, and what each may be."""


def _words(config: Any, plain: Any) -> Iterator[str]:
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), getattr(plain, field.name, None)
        if value == usual:
            continue
        if isinstance(value, Shown):
            yield from _words(value, usual)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            settings = ", ".join(f"{name} {setting}" for name, setting in dataclasses.asdict(value).items())
            yield spaced(type(value).__name__) + (f" ({settings})" if settings else "")
        else:
            yield f"{field.name.replace('_', ' ')} {value}"


def spaced(name: str) -> str:
    """A class name in words: SharpnessAware -> sharpness aware; abbreviations stay."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name).lower().replace("relu", "ReLU")
