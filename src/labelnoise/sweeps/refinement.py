"""More cells where a boundary runs: where the share of seeds with a Stage I is neither near 0 nor near 1.

Positions count the steps of the grid along each axis, 1.5 lies half-way between the second and the third value. Each
round halves the spacing, and only along the boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from labelnoise.sweeps.chunks import Finished, join
from labelnoise.sweeps.grid import Axis, is_geometric, rounded

Position = tuple[float, ...]
BETWEEN = 0.1, 0.9
"""Shares of seeds with a Stage I between which a cell lies on the boundary."""


def refine(
    axes: Sequence[Axis], result: Finished, rounds: int, run: Callable[[np.ndarray], Finished]
) -> tuple[np.ndarray, Finished] | None:
    """Add cells along the boundary, round by round.

    Args:
        axes: of the grid.
        result: of its cells, the last axis fastest.
        rounds: how often the spacing is halved.
        run: runs cells (C, k).

    Returns:
        The cells (C, k) that were added and their results; None if there are none.
    """
    if not rounds:
        return None
    sizes = tuple(len(axis.values) for axis in axes)
    positions: list[Position] = [tuple(map(float, at)) for at in np.ndindex(sizes)]
    shares = dict(zip(positions, stage_one_shares(result), strict=True))
    known = {values_at(axes, at) for at in positions}
    added, results = [], []
    for round_ in range(rounds):
        new = {at: values_at(axes, at) for at in next_positions(shares, sizes, 0.5 ** (round_ + 1))}
        new = {at: values for at, values in new.items() if values not in known}  # whole numbers have no half
        if not new:
            break
        known |= set(new.values())
        added.append(np.array(list(new.values())))
        results.append(run(added[-1]))
        shares |= dict(zip(new, stage_one_shares(results[-1]), strict=True))
    return (np.concatenate(added), join(results)) if added else None


def stage_one_shares(result: Finished) -> list[float]:
    """Share of the seeds of each cell that have a Stage I, of those that stayed finite and may have; NaN of none."""
    reached = np.where(result.columns["ok"] == 1, result.columns["stage_one"], np.nan)
    counted = np.isfinite(reached).sum(1)
    return np.where(counted > 0, np.nansum(reached, axis=1) / np.maximum(counted, 1), np.nan).tolist()


def next_positions(shares: Mapping[Position, float], sizes: Sequence[int], spacing: float) -> list[Position]:
    """Return where the next round puts cells, in ascending order.

    A cell on the boundary gets its neighbours at the new spacing on all sides; two neighbours at the old spacing of
    which one lies below and one above get a cell between them.

    Args:
        shares: of each cell so far, the share of its seeds with a Stage I; NaN where nothing can be said.
        sizes: number of values of each axis.
        spacing: of the new cells; those so far are twice as far apart.
    """
    low, high = BETWEEN
    chosen: set[Position] = set()
    steps = [step for step in product((-1, 0, 1), repeat=len(sizes)) if any(step)]
    for at, share in shares.items():
        if low <= share <= high:
            chosen |= {tuple(np.add(at, np.multiply(spacing, step)).tolist()) for step in steps}
            continue
        for axis in range(len(sizes)):
            between, beyond = (
                tuple(value + step * spacing * (axis == along) for along, value in enumerate(at)) for step in (1, 2)
            )
            other = shares.get(beyond, np.nan)
            if min(share, other) < low and max(share, other) > high:
                chosen.add(between)
    inside = {at for at in chosen if all(0 <= value <= size - 1 for value, size in zip(at, sizes, strict=True))}
    return sorted(inside - set(shares))


def values_at(axes: Sequence[Axis], position: Position) -> tuple[float, ...]:
    """Return the values of the parameters at a position; between two values, evenly as the axis is."""
    return tuple(_value(axis, at) for axis, at in zip(axes, position, strict=True))


def _value(axis: Axis, at: float) -> float:
    if at == int(at):
        return axis.values[int(at)]
    values = np.array(axis.values)
    if is_geometric(axis.values):
        between = float(np.exp(np.interp(at, np.arange(values.size), np.log(values))))
    else:
        between = float(np.interp(at, np.arange(values.size), values))
    return float(np.rint(between)) if axis.parameter.whole else float(rounded(between))


def count_stage_one(results: Sequence[Finished]) -> list[int] | None:
    """Return how many runs have a Stage I, and of how many it is known; None where that was not kept."""
    if any("stage_one" not in result.columns for result in results):
        return None
    known = [np.where(result.columns["ok"] == 1, result.columns["stage_one"], np.nan) for result in results]
    return [int(sum(np.nansum(table) for table in known)), sum(int(np.isfinite(table).sum()) for table in known)]
