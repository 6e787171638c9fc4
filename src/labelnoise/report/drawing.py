"""What the figures of every kind share: colours, style, the grid of panels, bands over seeds, stopping points."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labelnoise.record.stopping_points import RULES
from labelnoise.runs.pages import Panel

SIGNAL, CLEAN, NOISY, ALL, TEST = "#0072b2", "#009e73", "#d55e00", "#333333", "#cc79a7"
SEEN, PERTURBED, FRESH = "#56b4e9", "#cc79a7", "#8c6d1f"
"""One colour a quantity in every figure (after Okabe and Ito, told apart by the colour-blind)."""

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "labelnoise",  # equal runs give equal files
}


def grid(panels: Sequence[Panel], height: float, ratios: Sequence[float]) -> tuple[Figure, Any]:
    """A figure with a row for each ratio, a titled column for each panel, and room for legends on the right."""
    figure = Figure(figsize=(4.6 * len(panels) + 2.4, height), layout="constrained")
    axes = figure.subplots(len(ratios), len(panels), sharex="col", sharey="row", squeeze=False, height_ratios=ratios)
    for axis, panel in zip(axes[0], panels, strict=True):
        axis.set_title(panel.title, parse_math=False)  # a folder may have any name
    return figure, axes


def finish(figure: Figure, axes: Any, labels: tuple[str, ...]) -> Figure:
    """Name the rows, and put one legend for all its columns beside each."""
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
        lines = {name: handle for axis in row for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
        if lines:
            row[-1].legend(lines.values(), lines.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def band(axis: Axes, history: pd.DataFrame, x: str, y: str, colour: str, label: str, dash: str = "-") -> None:
    """Mean over seeds as a line, their range as a band; nothing where there is no number."""
    by_step = history.groupby(x)[y]
    mean = by_step.mean()
    if mean.isna().all():
        return
    axis.plot(mean.index, mean, dash, color=colour, label=label, linewidth=1.6, marker=dots(mean))
    if history["seed"].nunique() > 1:
        axis.fill_between(mean.index, by_step.min(), by_step.max(), color=colour, alpha=0.18, linewidth=0)


def dots(records: Sized) -> str:
    """Mark the records where they are few."""
    return "." if len(records) <= 20 else ""


def mark_stages(axis: Axes, panel: Panel, labelled: bool) -> None:
    """T1 over the seeds (median and range), and the held-out rule's stop where it saw a reason to stop."""
    stops = panel.stops
    marks = [("#777777", ":", "oracle", stops["rule"] == "oracle")]
    if "falls" in stops:
        rule = "rule" if (stops["rule"] == "rule").any() else "held_out"
        seen = (stops["rule"] == rule) & stops["falls"].eq(True)
        marks.append(("#000000", "-.", rule, seen))
    for colour, dash, rule, chosen in marks:
        label = fill(", ".join(RULES[rule]), 20)
        at = stops.loc[chosen, "at"].dropna().astype(float)
        if len(at) > 1:
            label += "\n(median, range)"
        if not at.empty:
            axis.axvspan(at.min(), at.max(), color=colour, alpha=0.13, linewidth=0)
            axis.axvline(at.median(), color=colour, linewidth=1.3, linestyle=dash, label=label if labelled else None)
