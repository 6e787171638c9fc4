"""The figure of an audit: margins of the suspects against the rest along training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from labelnoise.report.drawing import CLEAN, NOISY, dots, finish, grid
from labelnoise.runs.pages import Panel


def suspects_figure(panels: Sequence[Panel]) -> Figure:
    """Median and middle 90% of the mean margins of suspects and of the rest against epoch, and the stop."""
    figure, axes = grid(panels, height=3.6, ratios=(1,))
    for axis, panel in zip(axes[0], panels, strict=True):
        table, summary = panel.history, panel.runs[0].summary
        everyone = "rest" if summary["flagged"] else "all samples"
        for name, words, colour in (("rest", everyone, CLEAN), ("suspects", "suspects", NOISY)):
            low, median, high = (table[f"{name}_{word}"] for word in ("low", "median", "high"))
            if median.notna().any():
                axis.fill_between(table["epoch"], low, high, color=colour, alpha=0.2, linewidth=0)
                axis.plot(
                    table["epoch"], median, color=colour, label=f"{words}\n(median, middle 90%)", marker=dots(table)
                )
        axis.axhline(0, color="#000000", linewidth=1)
        for at, stop in enumerate(summary["stop_epochs"]):
            axis.axvline(stop, color="#777777", linestyle="-.", linewidth=1.3, label="the stop" if not at else None)
        axis.set_xlabel("epoch, pass or stage")
    return finish(figure, axes, ("margin (above 0: fitted)",))
