"""What an engine is, and which there are: the compiled and the array engine in coefficient space, and the dense one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from labelnoise.errors import InputError, did_you_mean
from labelnoise.record.stages import separation
from labelnoise.theory import compiled, dense, span
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import TRACKED, View, tracked
from labelnoise.theory.optimizers import LEAVES_SPAN, Adam

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class Training(Generic[State]):
    """R networks in training."""

    now: State
    best: State
    """The networks at the best separation of clean and noisy samples so far, which is T1 if it separates them."""
    gap: Float[np.ndarray, " R"]
    """(R,) that separation; -inf before the first step."""
    whole: Bool[np.ndarray, " R"]
    """(R,) which runs have been finite so far."""
    staged: bool = True
    """Whether somebody reads series and best networks; if not, an engine may leave both as they are."""


class Engine(Protocol[State]):
    """How a batch of draws is trained."""

    def init(
        self, draws: tuple[Draw, ...], rates: np.ndarray, config: SimulateConfig, device: str | None, dtype: str
    ) -> State:
        """Return the state before training, at learning rates (R,)."""

    def advance(self, training: Training[State], steps: int) -> tuple[Training[State], np.ndarray, np.ndarray]:
        """Train by so many steps; return also the series `TRACKED` (4, R, steps) after each, and which are finite."""

    def view(self, state: State) -> View:
        """Show the networks to the observables."""


class Steps(Protocol[State]):
    """An engine that knows a single step; a module with these four functions is one."""

    def init(
        self, draws: tuple[Draw, ...], rates: np.ndarray, config: SimulateConfig, device: str | None, dtype: str
    ) -> State:
        """Return the state before training, at learning rates (R,)."""

    def step(self, state: State) -> State:
        """Return the state one step later; the state given is left as it is."""

    def view(self, state: State) -> View:
        """Show the networks to the observables."""

    def merge(self, before: State, state: State, runs: Bool[np.ndarray, " R"]) -> State:
        """Return the networks of `state` for these runs, those of `before` for the others; to be looked at only."""


class Stepwise(Generic[State]):
    """The engine that takes one step after the other and looks at each."""

    def __init__(self, single: Steps[State]) -> None:
        self.single, self.init, self.view = single, single.init, single.view

    def advance(self, training: Training[State], steps: int) -> tuple[Training[State], np.ndarray, np.ndarray]:
        """Train by so many steps."""
        runs = training.gap.size
        series, finite = np.full((len(TRACKED), runs, steps), np.nan), np.zeros((runs, steps), bool)
        for at in range(steps):
            if not training.whole.any():
                break
            now = self.single.step(training.now)
            series[..., at], finite[:, at] = tracked(self.view(now))
            training = self._look(training, now, series[..., at], finite[:, at])
        return training, series, finite

    def _look(self, training: Training[State], now: State, series: np.ndarray, finite: np.ndarray) -> Training[State]:
        """The training with its next state: the first of equal separations is the best."""
        whole, gap = training.whole & finite, separation(*series[:2])
        better = whole & np.isfinite(gap) & (gap > training.gap)
        best = self.single.merge(training.best, now, better) if better.any() else training.best
        return replace(training, now=now, best=best, gap=np.where(better, gap, training.gap), whole=whole)


_COMPILED: Engine[span.State] = compiled
_SPAN: Engine[span.State] = Stepwise(span)
_DENSE: Engine[dense.State] = Stepwise(dense)

ENGINES: dict[str, Engine[Any]] = {"compiled": _COMPILED, "span": _SPAN, "dense": _DENSE}
"""Each engine by name."""


def find_engine(
    name: str, draws: tuple[Draw, ...], config: SimulateConfig, device: str | None, dtype: str
) -> Engine[Any]:
    """Return the engine of this name; for "auto" the compiled one where it covers what is asked, else the array one.

    Raises:
        InputError: there is none of this name, or it does not cover what is asked.
    """
    options = ("auto", *ENGINES)
    if name not in options:
        raise InputError(f"`engine` knows no {name!r}{did_you_mean(str(name), options)}")
    if isinstance(config.dynamics.optimizer, Adam) and name != "dense":
        vectors = "" if all(draw.vectors for draw in draws) else "draw with sample(seed, vectors=True) and "
        raise InputError(f"{LEAVES_SPAN}; {vectors}use simulate(..., engine='dense')")
    reason = compiled.not_covered(draws, config, device, dtype) if name in ("auto", "compiled") else ""
    if name == "compiled" and reason:
        raise InputError(f"`engine='compiled'` does not cover this: {reason}; leave `engine` out")
    return ENGINES[("span" if reason else "compiled") if name == "auto" else name]
