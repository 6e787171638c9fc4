"""The axes of a map: where its cells lie, where they end, and how their values are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from xarray import DataArray, Dataset

from labelnoise.sweeps.dataset import POINT
from labelnoise.sweeps.grid import is_geometric

LATE = ("selection_from", "every")
"""Parameters that say from which step on something happens: never, at as many steps as a run has or more."""
RANGES = {"flip_dependence": (0.0, 1.0), "momentum": (0.0, 1.0), "flip_cosine": (-1.0, 1.0)}
"""What a parameter that has a largest value may be; a cell does not reach beyond. All others are sizes from 0 on."""
TICKS = 6
"""Most values that are written on a short axis."""


@dataclass(frozen=True, eq=False)
class Side:
    """One axis of a map of k cells; what never happens lies apart, at its end."""

    label: str
    scale: str
    """"log" or "linear"."""
    values: np.ndarray
    """(k,)"""
    places: np.ndarray
    """(k,) where the cells lie: at their values, or apart."""
    borders: np.ndarray
    """(k + 1,) where they end."""
    late: int = 0
    """How many cells, the last ones, are of what never happens."""

    @property
    def gap(self) -> tuple[float, float] | None:
        """The ends of the empty strip before what lies apart."""
        if not self.late:
            return None
        low, high = self.borders[-self.late - 1], self.borders[-self.late]
        return float(low), float(self._between(low, high, 1 / 3))

    def finer(self) -> np.ndarray:
        """Return the places and those in between (8 (k - 1) + 1,), as the axis is spaced."""
        return np.exp(between(np.log(self.places))) if self.scale == "log" else between(self.places)

    def _between(self, low: float, high: float, share: float) -> float:
        return low * (high / low) ** share if self.scale == "log" else low + share * (high - low)

    def write(self, axis: Any) -> None:
        """Write the values on an axis of a panel: each by itself where a logarithmic axis has less than two decades."""
        log, usual = self.scale == "log", self.values[: self.values.size - self.late]
        if log:
            axis.set_minor_formatter(NullFormatter())
        if self.late or (log and usual.max() < 100 * usual.min()):
            some = self.places[: usual.size : -(-usual.size // TICKS)]
            apart = self.places[usual.size :]
            axis.set_major_locator(FixedLocator([*some.tolist(), *apart.tolist()]))
            axis.set_major_formatter(FuncFormatter(lambda at, _: "never" if at in apart else f"{at:.3g}"))
        if self.late:
            axis.set_minor_locator(NullLocator())


def side_of(dataset: Dataset, name: str) -> Side:
    """Return the axis of a map that shows a parameter."""
    values = dataset[name].values.astype(float)
    late = int((values >= float(dataset.steps.max())).sum()) if name in LATE else 0
    usual = values[: values.size - late] if late < values.size else values
    late = values.size - usual.size
    log = is_geometric(usual)
    points = np.log(usual) if log else usual
    borders = edges(points)
    if late:
        width = borders[-1] - borders[-2]
        ends = borders[-1] + width * np.append(0, 1.5 + np.arange(late))
        points = np.append(points, ends[1:] - width / 2)
        borders = np.append(borders, ends[1:])
    places, borders = (np.exp(points), np.exp(borders)) if log else (points, borders)
    places[: usual.size] = usual
    least = 0.0 if dataset[name].dtype.kind == "f" else -0.5  # a truth value's cell is as wide on both sides
    borders = np.clip(borders, *RANGES.get(name, (least, np.inf)))
    return Side(label_of(dataset[name]), "log" if log else "linear", values, places, borders, late)


def edges(points: np.ndarray) -> np.ndarray:
    """Return the borders (k + 1,) of the cells around k points, half-way between them; of one, a unit apart."""
    if points.size == 1:
        return points[0] + np.array([-0.5, 0.5])
    middle = (points[1:] + points[:-1]) / 2
    return np.concatenate([[2 * points[0] - middle[0]], middle, [2 * points[-1] - middle[-1]]])


def write_axes(panel: Axes, x: Side, y: Side) -> None:
    """Write the values on the axes of a panel, and leave a gap before what lies apart."""
    for side, span in ((x, panel.axvspan), (y, panel.axhspan)):
        if side.gap:
            span(*side.gap, color="white", linewidth=0, zorder=1.5)  # over cells, below lines
    x.write(panel.xaxis)
    y.write(panel.yaxis)


def between(values: np.ndarray) -> np.ndarray:
    """Return values (k,) and those in between (8 (k - 1) + 1,)."""
    at = np.arange(8 * (values.size - 1) + 1) / 8
    return np.interp(at, np.arange(values.size), values)


def scale_of(values: DataArray) -> str:
    """Whether an axis is better drawn "log" or "linear"."""
    ordered = np.unique(values.values)
    if POINT in values.dims:  # drawn in between: those of a logarithmic interval fill their decades evenly
        ordered = np.quantile(values.values, np.linspace(0, 1, 9))
    return "log" if is_geometric(ordered) else "linear"


def label_of(values: DataArray) -> str:
    """What stands beside an axis: the symbol of its parameter, or the name, and the unit."""
    symbol, unit = values.attrs.get("symbol"), values.attrs.get("units", "1")
    words = f"${symbol}$" if symbol else str(values.name).replace("_", " ")
    return words if unit == "1" else f"{words} ({unit}s)"
