"""Maps, curves and scattered points of a sweep."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from xarray import DataArray, Dataset

from labelnoise.errors import counted
from labelnoise.report.drawing import ALL, CLEAN, FRESH, NOISY, PERTURBED, SEEN, SIGNAL, dots
from labelnoise.sweeps.axes import label_of, scale_of, side_of, write_axes
from labelnoise.sweeps.contours import DASHES, draw_lines
from labelnoise.sweeps.dataset import SEED
from labelnoise.sweeps.quantities import (
    ERRORS,
    SHARE,
    STAGES,
    THEORY,
    Quantity,
    diverged,
    error_quantities,
    theory_lines,
    why_missing,
    wilson,
)

MISSING = "#d9d9d9"
"""Colour of cells of which nothing can be said."""
HATCH = "////"
"""Over cells of which a seed diverged."""
SEQUENTIAL, DIVERGING = "viridis", "RdBu"
COLOURS = {"seen": SEEN, "perturbed": PERTURBED, "fresh": FRESH, "given_fresh": ALL}


def stages_map(dataset: Dataset, axes: tuple[str, str], refined: Dataset | None) -> Figure:
    """Share of seeds with a Stage I, T1 and the length of its window, over two axes."""
    shown = [quantity for quantity in STAGES if quantity.known(dataset)]
    figure, panels = _panels(1, len(shown))
    for panel, quantity in zip(panels[0], shown, strict=True):
        _colour_bar(figure, panel, _mesh(panel, dataset, axes, quantity))
        panel.set_title(quantity.title)
    if refined is not None:
        share = SHARE.mean(refined)
        x, y = (refined[axis].values for axis in axes)
        norm = Normalize(0, 1)
        panels[0, 0].scatter(
            x, y, c=share, s=13, marker="s", cmap=SEQUENTIAL, norm=norm, edgecolors="k", linewidths=0.5
        )
    _finish(figure, panels, dataset, axes, refined is not None)
    return figure


def errors_map(dataset: Dataset, axes: tuple[str, str], kinds: Sequence[str]) -> Figure:
    """Test errors over two axes: at T1, at the last step, and what stopping at T1 gains."""
    if not any(error_quantities(kind)[0].known(dataset) for kind in kinds):
        return _end_map(dataset, axes, kinds)
    figure, panels = _panels(len(kinds), 3)
    for row, kind in zip(panels, kinds, strict=True):
        quantities = error_quantities(kind)
        at_t1, at_end, gain = (quantity.mean(dataset) for quantity in quantities)
        top = float(np.nanmax([at_t1.max(), at_end.max(), 0.01]))
        for panel, quantity in zip(row[:2], quantities[:2], strict=True):
            _colour_bar(figure, panel, _mesh(panel, dataset, axes, quantity, norm=Normalize(0, top)))
        most = float(np.nanmax([abs(gain).max(), 0.01]))
        norm = TwoSlopeNorm(0, -most, most)
        _colour_bar(figure, row[2], _mesh(row[2], dataset, axes, quantities[2], DIVERGING, norm))
        for panel, quantity in zip(row, quantities, strict=True):
            panel.set_title(f"{ERRORS[kind]}: {quantity.title}", fontsize=9.5)
    _finish(figure, panels, dataset, axes)
    return figure


def _end_map(dataset: Dataset, axes: tuple[str, str], kinds: Sequence[str]) -> Figure:
    """Test errors at the last step, where nothing is known of T1."""
    figure, panels = _panels(1, len(kinds))
    for panel, kind in zip(panels[0], kinds, strict=True):
        quantity = error_quantities(kind)[1]
        _colour_bar(figure, panel, _mesh(panel, dataset, axes, quantity))
        panel.set_title(f"{ERRORS[kind]}: {quantity.title}", fontsize=9.5)
    _finish(figure, panels, dataset, axes)
    return figure


def stages_curve(dataset: Dataset, axis: str, kinds: Sequence[str]) -> Figure:
    """Share of Stage I, the stages over their scale, and the test errors, against one axis."""
    figure = Figure(figsize=(7.6, 8.4 if kinds else 5.4), layout="constrained")
    panels = figure.subplots(3 if kinds else 2, 1, sharex=True, height_ratios=(2, 3, 3) if kinds else (2, 3))
    top, middle, bottom = panels[0], panels[1], panels[-1]
    x = dataset[axis].values
    share, count = SHARE.mean(dataset), SHARE.of(dataset).notnull().sum(SEED)
    low, high = wilson(share.values, np.maximum(count.values, 1))
    top.plot(x, share, color=SIGNAL, marker=dots(x), label="share, 95% interval")
    top.fill_between(x, low, high, where=count.values > 0, color=SIGNAL, alpha=0.18, linewidth=0)
    top.set(ylabel=f"share of {seeds_of(dataset)}\nwith a Stage I", ylim=(-0.03, 1.03))
    steps = (("t1", "T1", CLEAN), ("onset", "onset of Stage II", NOISY), ("window_end", "end of the window", ALL))
    for name, words, colour in steps:
        _band(middle, x, dataset[name] / dataset.stage_one_scale, colour, words)
    middle.set(ylabel=r"step over $nm/(\eta\sigma_\xi^2 d)$")
    for kind in kinds:
        at_t1, at_end, _ = error_quantities(kind)
        _band(bottom, x, at_end.of(dataset), COLOURS[kind], f"{ERRORS[kind]},\nat the last step")
        _band(bottom, x, at_t1.of(dataset), COLOURS[kind], f"{ERRORS[kind]}, at T1", "--")
    if kinds:
        bottom.set(ylabel="test error")
    bottom.set(xlabel=label_of(dataset[axis]), xscale=scale_of(dataset[axis]))
    for panel in panels:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def points_figure(dataset: Dataset, pairs: Sequence[tuple[str, ...]], quantities: Sequence[Quantity]) -> Figure:
    """Random or Sobol points: each quantity over pairs of axes, or against the only one."""
    figure = Figure(figsize=(4.6 * len(quantities), 3.6 * len(pairs)), layout="constrained")
    panels = figure.subplots(len(pairs), len(quantities), squeeze=False)
    for row, pair in zip(panels, pairs, strict=True):
        for panel, quantity in zip(row, quantities, strict=True):
            values = quantity.mean(dataset).values
            known = np.isfinite(values)
            x = dataset[pair[0]].values
            panel.set(xlabel=label_of(dataset[pair[0]]), xscale=scale_of(dataset[pair[0]]), title=quantity.title)
            if len(pair) == 1:
                panel.plot(x, values, ".", color=SIGNAL)
                continue
            y = dataset[pair[1]].values
            panel.scatter(x[~known], y[~known], color=MISSING, s=14)
            low, high = quantity.limits
            cloud = panel.scatter(x[known], y[known], c=values[known], s=18, cmap=SEQUENTIAL, vmin=low, vmax=high)
            figure.colorbar(cloud, ax=panel, pad=0.02)
            panel.set(ylabel=label_of(dataset[pair[1]]), yscale=scale_of(dataset[pair[1]]))
    return figure


LEFT, RIGHT, TOP, BOTTOM, LEGEND = 0.9, 1.0, 0.35, 0.6, 0.4
"""Inches around the panels, and what a legend below them takes."""


def _panels(rows: int, columns: int) -> tuple[Figure, Any]:
    """Panels with room for a colour bar beside each, at fixed places: to find a layout for twelve takes seconds."""
    figure = Figure(figsize=(4.1 * columns + 0.4, 3.1 * rows + 0.75))
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.32, "hspace": 0.18}
    )
    _place(figure)
    return figure, panels


def _place(figure: Figure, legend: float = 0.0) -> None:
    """Put the panels where the margins leave them room; only a legend needs some below them."""
    width, height = figure.get_figwidth(), figure.get_figheight() + legend
    figure.set_figheight(height)
    figure.subplots_adjust(LEFT / width, (BOTTOM + legend) / height, 1 - RIGHT / width, 1 - TOP / height)


def _colour_bar(figure: Figure, panel: Axes, mesh: Any) -> None:
    bar = panel.inset_axes((1.03, 0, 0.05, 1))
    bar.grid(False)
    figure.colorbar(mesh, cax=bar)


def _mesh(
    panel: Axes,
    dataset: Dataset,
    axes: tuple[str, str],
    quantity: Quantity,
    colours: str = SEQUENTIAL,
    norm: Normalize | None = None,
) -> Any:
    """Colour each cell by a quantity, grey where it has none, hatched where a seed diverged."""
    x, y = axes
    borders = [side_of(dataset, axis).borders for axis in axes]
    panel.set_facecolor(MISSING)
    panel.grid(False)
    values = np.ma.masked_invalid(quantity.mean(dataset).transpose(y, x).values)
    mesh = panel.pcolormesh(*borders, values, cmap=colours, norm=norm or _norm(values, quantity), rasterized=True)
    lost = diverged(dataset).transpose(y, x).values > 0
    right, up = (np.diff(border) for border in borders)
    squares = [Rectangle((borders[0][j], borders[1][i]), right[j], up[i]) for i, j in np.argwhere(lost)]
    panel.add_collection(
        PatchCollection(squares, facecolor="none", edgecolor="#555555", linewidth=0, hatch=HATCH), autolim=False
    )
    return mesh


def _norm(values: np.ma.MaskedArray, quantity: Quantity) -> Normalize:
    """The colour scale: logarithmic where positive values span more than two orders of magnitude."""
    known = values.compressed()
    if quantity.limits[1] is None and known.size and 0 < 100 * known.min() < known.max():
        return LogNorm(known.min(), known.max())
    return Normalize(*quantity.limits)


def _finish(figure: Figure, panels: Any, dataset: Dataset, axes: tuple[str, str], refined: bool = False) -> None:
    """Lines of equal theory on every panel, its axes, and what lines, grey and hatches mean."""
    x, y = (side_of(dataset, axis) for axis in axes)
    panels[0, 0].set(xscale=x.scale, yscale=y.scale)  # shared; before lines find their labels
    legend: list[Any] = []
    theory = theory_lines(dataset, axes)
    lines = [(values.transpose(*axes[::-1]).values, levels) for values, levels in theory.values()]
    for panel in panels.flat:
        draw_lines(panel, x, y, lines)
    for dash, name in zip(DASHES, theory, strict=False):
        legend.append(Line2D([], [], color="k", linestyle=dash, linewidth=0.9, label=f"{THEORY[name][0]} = const"))
    if refined:
        legend.append(Line2D([], [], marker="s", color="none", markeredgecolor="k", label="cells of the refinement"))
    if bool((diverged(dataset) > 0).any()):
        legend.append(Patch(facecolor="white", edgecolor="k", hatch=HATCH, label="a seed diverged"))
    meshes = [mesh for panel in panels.flat for mesh in panel.collections if isinstance(mesh, QuadMesh)]
    if any(np.ma.is_masked(mesh.get_array()) for mesh in meshes):
        legend.append(Patch(facecolor=MISSING, label=f"no number: {' or '.join(why_missing(dataset))}"))
    if legend:
        figure.legend(handles=legend, loc="lower center", ncols=len(legend))
        _place(figure, LEGEND)
    below = (0.12 + bool(legend) * LEGEND) / figure.get_figheight()  # left of the label of the first axis
    figure.text(0.08 / figure.get_figwidth(), below, f"{seeds_of(dataset)} a cell", fontsize=8)
    for panel in panels[-1]:
        panel.set(xlabel=x.label)
    for row in panels:
        row[0].set(ylabel=y.label)
    for panel in panels.flat:
        write_axes(panel, x, y)


def seeds_of(dataset: Dataset) -> str:
    """Return in words how many seeds each cell has."""
    return counted(dataset.sizes[SEED], "seed")


def _band(panel: Axes, x: np.ndarray, values: DataArray, colour: str, label: str, dash: str = "-") -> None:
    """Mean over the seeds as a line, the middle 80% of them as a band; nothing where there is no number."""
    if not bool(values.notnull().any()):
        return
    panel.plot(x, values.mean(SEED), dash, color=colour, label=label, marker=dots(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no seed has a number, there is no band
        low, high = (values.quantile(share, SEED) for share in (0.1, 0.9))
    panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
