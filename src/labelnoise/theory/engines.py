"""What an engine is, and which there are: the array engine in coefficient space, and the dense one as its oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from labelnoise.theory import dense, span
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View

if TYPE_CHECKING:
    from jaxtyping import Bool

State = TypeVar("State")


class Engine(Protocol[State]):
    """Gradient descent on a batch of draws; a module with these four functions is one."""

    def init(self, draws: tuple[Draw, ...], lr: float, device: str | None = None, dtype: str = "float64") -> State:
        """Return the state before training."""

    def step(self, state: State) -> State:
        """Return the state one step later; the state given is left as it is."""

    def view(self, state: State) -> View:
        """Show the networks to the observables."""

    def merge(self, kept: State, state: State, runs: Bool[np.ndarray, " R"]) -> State:
        """Return the networks of `state` for these runs, those of `kept` for the others."""


_SPAN: Engine[span.State] = span
_DENSE: Engine[dense.State] = dense

ENGINES: dict[str, Engine[Any]] = {"span": _SPAN, "dense": _DENSE}
"""Each engine by name."""
