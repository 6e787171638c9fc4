"""Figures of run directories: the stages of the paper's model, and of real training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labelnoise.runs import RunRecord

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


@dataclass(frozen=True)
class Column:
    """One column of a figure: the runs (one for each seed, or one for all) that it shows."""

    title: str
    runs: tuple[RunRecord, ...]

    @property
    def command(self) -> str:
        """What made the runs."""
        return self.runs[0].command

    @property
    def stops(self) -> pd.DataFrame:
        """The stopping points of all runs."""
        rows = [row for run in self.runs for row in run.summary["stops"]]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["rule", "seed", "at", "reason"])

    def history(self) -> pd.DataFrame:
        """Histories of all runs, told apart by `seed`."""
        frames = [
            run.history if "seed" in run.history else run.history.assign(seed=run.settings["training"]["seed"])
            for run in self.runs
        ]
        return pd.concat(frames, ignore_index=True)


def simulation_figure(columns: Sequence[Column]) -> Figure:
    """The paper's synthetic figure: coefficients (top) and accuracies against iteration, and the three test errors."""
    figure, axes = _grid(columns, height=7.6, ratios=(3, 3, 2))
    for (top, middle, bottom), column in zip(axes.T, columns, strict=True):
        history = column.history()
        history = history[history["step"] > 0]
        _band(top, history, "step", "gamma_max", SIGNAL, r"signal: max $\gamma_{j,r}$")
        _band(top, history, "step", "rho_noisy_max", NOISY, "noise patches of\nnoisy samples: max $\\rho$")
        _band(top, history, "step", "rho_clean_max", CLEAN, "noise patches of\nclean samples: max $\\rho$")
        _band(middle, history, "step", "accuracy_clean", CLEAN, "clean samples")
        _band(middle, history, "step", "accuracy_noisy", NOISY, "noisy samples\n(given label)")
        _band(middle, history, "step", "accuracy", ALL, "all samples", dash="--")
        for kind, colour, dash in (("seen", SEEN, "-"), ("perturbed", PERTURBED, "--"), ("fresh", FRESH, "-")):
            if f"test_error_{kind}" in history:
                _band(bottom, history, "step", f"test_error_{kind}", colour, f"{kind} noise", dash)
        for axis in (top, middle, bottom):
            _mark_stages(axis, column, labelled=axis is top)
        top.set(title=column.title, xscale="log", yscale="log")
        middle.set(ylim=(-0.03, 1.03))
        bottom.set(xlabel="gradient step")
        bottom.set_ylim(-0.06 * max(bottom.get_ylim()[1], 0.05), max(bottom.get_ylim()[1], 0.05))  # shows a line at 0
    return _finished(figure, axes, ("coefficient", "training accuracy", "test error"))


def training_figure(columns: Sequence[Column]) -> Figure:
    """Accuracies (top), held-out accuracy and selection (bottom) against epoch, a column a data set and noise."""
    figure, axes = _grid(columns, height=6.4, ratios=(1, 1))
    for (top, bottom), column in zip(axes.T, columns, strict=True):
        history = column.history()
        many = history.assign(precision=history["selection_precision"].where(history["selection_recall"] >= 0.1))
        _band(top, history, "epoch", "train_accuracy_clean", CLEAN, "clean samples")
        _band(top, history, "epoch", "train_accuracy_noisy", NOISY, "noisy samples\n(given label)")
        _band(top, history, "epoch", "test_accuracy", TEST, "test samples\n(true label)")
        _band(bottom, history, "epoch", "held_out_accuracy", ALL, "held-out accuracy\n(given label)")
        _band(bottom, history, "epoch", "selection_recall", NOISY, "suspects: recall")
        _band(bottom, many, "epoch", "precision", SIGNAL, "suspects: precision\n(where recall >= 0.1)")
        for axis in (top, bottom):
            _mark_stages(axis, column, labelled=axis is top)
            axis.set(ylim=(-0.03, 1.03))
        top.set(title=column.title)
        bottom.set(xlabel="epoch")
    return _finished(figure, axes, ("accuracy", "share"))


FIGURES = {"simulate": simulation_figure, "train": training_figure}
"""The figure of each command."""


def _grid(columns: Sequence[Column], height: float, ratios: tuple[int, ...]) -> tuple[Figure, Any]:
    """A figure with a row for each ratio and a column for each run, and room for legends on the right."""
    figure = Figure(figsize=(4.6 * len(columns) + 2.4, height), layout="constrained")
    return figure, figure.subplots(
        len(ratios), len(columns), sharex="col", sharey="row", squeeze=False, height_ratios=ratios
    )


def _finished(figure: Figure, axes: Any, labels: tuple[str, ...]) -> Figure:
    """Name the rows, and put one legend for all its columns beside each."""
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
        found = {name: handle for axis in row for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
        if found:
            row[-1].legend(found.values(), found.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _band(axis: Axes, history: pd.DataFrame, x: str, y: str, colour: str, label: str, dash: str = "-") -> None:
    """Mean over seeds as a line, their range as a band; nothing where there is no number."""
    by_step = history.groupby(x)[y]
    mean = by_step.mean()
    if mean.isna().all():
        return
    axis.plot(mean.index, mean, dash, color=colour, label=label, linewidth=1.6)
    if history["seed"].nunique() > 1:
        axis.fill_between(mean.index, by_step.min(), by_step.max(), color=colour, alpha=0.18, linewidth=0)


def _mark_stages(axis: Axes, column: Column, labelled: bool) -> None:
    """T1 over the seeds (median and range), and the held-out rule's stop where it saw a reason to stop."""
    stops = column.stops
    marks = [("#777777", ":", "T1, truth known\n(median, range)", stops["rule"] == "oracle")]
    if "falls" in stops:
        marks.append(("#000000", "-.", "held-out stop,\ngiven labels only", stops["falls"].eq(True)))
    for colour, dash, label, chosen in marks:
        at = stops.loc[chosen, "at"].dropna().astype(float)
        if not at.empty:
            axis.axvspan(at.min(), at.max(), color=colour, alpha=0.13, linewidth=0)
            axis.axvline(at.median(), color=colour, linewidth=1.3, linestyle=dash, label=label if labelled else None)
