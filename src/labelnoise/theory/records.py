"""What a record of a batch holds: a row of the table and named arrays, and nothing that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from labelnoise.arrays import to_numpy
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import ARRAYS, SUMMARY, View, summary
from labelnoise.theory.test_errors import KINDS, SAMPLED, EvaluationNoise, held_out_margin, sampled_errors, seen_errors

Columns = dict[str, np.ndarray]

HELD_OUT = "held_out_margin"
"""The array that `record` may name beside those of a `View`, which does not know the labels of held-out samples."""


@dataclass(frozen=True, eq=False)
class Observer:
    """Looks at the networks of R draws; the test noise is drawn once, so rows differ by the network alone."""

    draws: tuple[Draw, ...]
    config: SimulateConfig
    record: tuple[str, ...] = ()
    """The arrays to keep."""
    wanted: frozenset[str] | None = None
    """The columns of the table that somebody reads; None for all."""
    evaluation: Sequence[int] | None = None
    """Seeds of the test noise of each run; those of the draws if not given."""
    noise: list[EvaluationNoise] = field(init=False)

    def __post_init__(self) -> None:
        seeds = self.evaluation if self.evaluation is not None else [draw.seed or 0 for draw in self.draws]
        if not self._wants(*SAMPLED):
            seeds = []
        sizes = self.config.test_draws, self.draws[0].filters, self.draws[0].n
        drawn = [EvaluationNoise.draw(seed, *sizes) for seed in seeds]
        object.__setattr__(self, "noise", drawn)

    def row(self, view: View) -> Columns:
        """Return the columns (R,) of one record."""
        row: Columns = {}
        if self._wants(*SUMMARY):
            row |= summary(view)
        if self._wants("test_error_seen"):
            row["test_error_seen"] = seen_errors(view)
        if self.config.test_draws and self._wants(*SAMPLED):
            stems = {kind: f"test_error_{kind}" for kind in KINDS}
            kinds = [kind for kind, stem in stems.items() if self._wants(*(n for n in SAMPLED if n.startswith(stem)))]
            zetas = [zeta_std(draw, self.config) for draw in self.draws]
            row |= sampled_errors(view, self.draws, self.noise, zetas, kinds)
        if self.draws[0].n_holdout and self._wants("held_out_accuracy"):
            row["held_out_accuracy"] = (self._held_out(view) > 0).mean(-1)
        return row

    def arrays(self, view: View) -> Columns:
        """Return the arrays (R, ...) that `record` names."""
        return {
            name: self._held_out(view) if name == HELD_OUT else to_numpy(ARRAYS[name](view)) for name in self.record
        }

    def _held_out(self, view: View) -> np.ndarray:
        y_true = np.stack([draw.held_out_true for draw in self.draws])
        y_given = np.stack([draw.held_out_given for draw in self.draws])
        return held_out_margin(view, y_true, y_given)

    def _wants(self, *names: str) -> bool:
        return self.wanted is None or not self.wanted.isdisjoint(names)


def zeta_std(draw: Draw, config: SimulateConfig) -> float:
    """Return the standard deviation that perturbs a training patch: as given, else sigma_xi / 2; NaN if unknown."""
    if config.zeta_std is not None:
        return config.zeta_std
    return draw.problem.noise_std / 2 if draw.problem else np.nan
