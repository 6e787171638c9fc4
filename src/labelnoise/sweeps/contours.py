"""Lines of equal theory on a map, each with its value where it has most room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.path import Path
from matplotlib.patheffects import AbstractPathEffect, withStroke

from labelnoise.sweeps.axes import Side, between

if TYPE_CHECKING:
    from jaxtyping import Float

    Points = Float[np.ndarray, "points 2"]

DASHES: tuple[Literal["solid", "dashed"], ...] = ("solid", "dashed")
"""Of the lines of each quantity of theory."""
FONT_SIZE = 7
"""Of the values on the lines, in points."""
LONGEST = 3 * FONT_SIZE
"""Of the values, in points; a line that is shorter, or whose value would cover another or the edge, is not drawn."""
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.4, foreground="w")]
"""Shows lines and values on any colour."""
NO_LINE = Path(np.zeros((0, 2)), np.zeros(0, Path.code_type))


def draw_lines(
    panel: Axes, x: Side, y: Side, lines: Iterable[tuple[Float[np.ndarray, "y x"], Float[np.ndarray, " levels"]]]
) -> None:
    """Draw lines of equal value of one or two quantities, each with its value where it is farthest from the others.

    Between the cells the logarithm of a quantity is taken to be linear, as the axes are spaced.

    Args:
        panel: with its final scales, limits and place in the figure.
        x: the horizontal axis.
        y: the vertical axis.
        lines: of each quantity its values in the cells, and the levels.
    """
    families = [_contour(panel, x, y, *each, dash) for dash, each in zip(DASHES, lines, strict=False)]
    panel.autoscale_view()  # places are measured on it
    pieces = [(drawn, piece) for drawn in families for piece in _pieces(drawn)]
    least, high = (points * panel.figure.dpi / 72 for points in (LONGEST, FONT_SIZE))  # in pixels
    to_data = panel.transData.inverted()
    values: list[np.ndarray] = []
    places: dict[ContourSet, list[tuple[float, float]]] = {drawn: [] for drawn in families}
    for at, (drawn, piece) in enumerate(pieces):
        others = [other for number, (_, other) in enumerate(pieces) if number != at]
        free = piece[(_distance(piece, values) > least) & (_to_edge(piece, panel) > high)]
        if len(free) and np.ptp(piece, axis=0).max() > least:
            values.append(_roomiest(panel, free, others, values))
            places[drawn].append(tuple(to_data.transform(values[-1])))
    for drawn in families:
        _write(drawn, places[drawn])


def _contour(
    panel: Axes, x: Side, y: Side, values: np.ndarray, levels: np.ndarray, dash: Literal["solid", "dashed"]
) -> ContourSet:
    """Lines without their values."""
    known = np.ma.log10(np.ma.masked_less_equal(values, 0)).filled(np.nan)
    for axis in (0, 1):
        known = np.apply_along_axis(between, axis, known)
    drawn = panel.contour(
        x.finer(),
        y.finer(),
        np.ma.masked_invalid(known),
        levels=np.log10(levels),
        colors="k",
        linestyles=dash,
        linewidths=0.9,
    )
    drawn.set_path_effects(HALO)
    return drawn


def _pieces(drawn: ContourSet) -> list[Points]:
    """Unbroken lines, in pixels."""
    pieces = [piece for path in drawn.get_paths() for piece in path.to_polygons(closed_only=False)]
    return [drawn.get_transform().transform(np.asarray(piece)) for piece in pieces]


def _roomiest(panel: Axes, points: Points, others: Sequence[Points], values: Sequence[np.ndarray]) -> np.ndarray:
    """The point that is farthest from other lines, from the edge of the panel and, twice as far, from other values."""
    room = _to_edge(points, panel)
    for other in others:
        room = np.minimum(room, _distance(points, other))
    return points[np.minimum(room, _distance(points, values) / 2).argmax()]


def _to_edge(points: Points, panel: Axes) -> Float[np.ndarray, " points"]:
    """From each point to the nearest edge of the panel."""
    return np.abs(points[:, None] - np.reshape(panel.bbox.extents, (2, 2))).min(axis=(1, 2))


def _distance(points: Points, others: Points | Sequence[np.ndarray]) -> Float[np.ndarray, " points"]:
    """From each point to the nearest of others, infinite without any."""
    return np.linalg.norm(points[:, None] - np.reshape(others, (-1, 2)), axis=2).min(axis=1, initial=np.inf)


def _write(drawn: ContourSet, places: Iterable[tuple[float, float]]) -> None:
    """Write the values at these places; lines of values that are nowhere go."""
    labels = drawn.clabel(fmt=words_of_level, fontsize=FONT_SIZE, manual=places)
    for label in labels:
        label.set_path_effects(HALO)
    borne, paths = {label.get_text() for label in labels}, zip(drawn.levels, drawn.get_paths(), strict=True)
    drawn.set_paths([path if words_of_level(level) in borne else NO_LINE for level, path in paths])


def words_of_level(logarithm: float) -> str:
    """Return a level, given by its logarithm, as its line bears it: as a power of ten where it has many digits."""
    power = round(logarithm)
    return f"$10^{{{power}}}$" if abs(power) > 2 and abs(logarithm - power) < 1e-9 else f"{10**logarithm:g}"
