"""The figures of a training run: losses, accuracies and suspects against epoch, and the margins of its samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from labelnoise.errors import InputError
from labelnoise.report.drawing import ALL, CLEAN, NOISY, SIGNAL, TEST, band, dots, finish, grid, mark_stages
from labelnoise.runs.pages import Panel, panel_of
from labelnoise.runs.reading import Run

CURVES = (
    ("loss", 2.2, (
        ("train_loss", ALL, "--", "training samples\n(given label)"),
        ("test_loss", TEST, "-", "test samples\n(true label)"),
    )),
    ("accuracy", 3.0, (
        ("train_accuracy", ALL, "--", "training samples\n(given label)"),
        ("train_accuracy_clean", CLEAN, "-", "clean samples"),
        ("train_accuracy_noisy", NOISY, "-", "noisy samples\n(given label)"),
        ("test_accuracy", TEST, "-", "test samples\n(true label)"),
    )),
    ("share", 2.6, (
        ("held_out_accuracy", ALL, "-", "held-out accuracy\n(given label)"),
        ("selection_recall", NOISY, "-", "suspects: recall"),
        ("trusted_precision", SIGNAL, "-", "suspects: precision\n(where recall >= 0.1)"),
    )),
)  # fmt: skip
"""Rows of the training figure: name, height, and column of the history, colour, dash and name of each line."""


def training_figure(panels: Sequence[Panel]) -> Figure:
    """Loss, accuracies, and held-out accuracy with the selection, against epoch; a row without data is left out."""
    tables = [
        panel.history.assign(
            trusted_precision=panel.history["selection_precision"].where(panel.history["selection_recall"] >= 0.1)
        )
        for panel in panels
    ]
    shown = {name for table in tables for name in table.columns[table.notna().any()]}
    rows = [row for row in CURVES if any(column in shown for column, *_ in row[2])] or CURVES
    names, heights, curves = zip(*rows, strict=True)
    figure, axes = grid(panels, sum(heights) + 0.8, heights)
    for at, (panel, table) in enumerate(zip(panels, tables, strict=True)):
        for axis, name, lines in zip(axes[:, at], names, curves, strict=True):
            for y, colour, dash, label in lines:
                band(axis, table, "epoch", y, colour, label, dash)
            mark_stages(axis, panel, labelled=axis is axes[0, at])
            axis.set_ylim((0, None) if name == "loss" else (-0.03, 1.03))
        axes[-1, at].set_xlabel("epoch")
    return finish(figure, axes, names)


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def margins_figure(panels: Sequence[Panel]) -> Figure:
    """Quantiles of the margins of clean and of noisy samples against epoch, for the first run of each panel."""
    figure, axes = grid(panels, height=4.0, ratios=(1,))
    for axis, panel in zip(axes[0], panels, strict=True):
        epoch, groups = margin_quantiles(panel.runs[0])
        for (low, lower, median, upper, high), colour, name in zip(
            groups, (CLEAN, NOISY), ("clean", "noisy"), strict=True
        ):
            if np.isfinite(median).any():
                axis.fill_between(epoch, low, high, color=colour, alpha=0.15, linewidth=0, label=f"{name}: middle 90%")
                axis.fill_between(
                    epoch, lower, upper, color=colour, alpha=0.3, linewidth=0, label=f"{name}: middle half"
                )
                axis.plot(epoch, median, color=colour, label=f"{name}: median", linewidth=1.6, marker=dots(epoch))
        axis.axhline(0, color="#000000", linewidth=1)
        mark_stages(axis, panel_of(panel.title, panel.runs[:1]), labelled=True)
        axis.set_yscale("symlog", linthresh=1, subs=(3,))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set_xlabel("epoch")
    return finish(figure, axes, ("margin (above 0: fitted)",))


def margin_quantiles(run: Run) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Epochs (records,) of a training run, and `QUANTILES` (5, records) of the margins of clean and of noisy samples.

    Held-out samples are left out; NaN where there is no sample, or a margin that is not finite.
    """
    names = ("epoch", "margin", "y_true", "y_given", "held_out")
    if not all(name in run.samples for name in names):
        raise InputError(
            f"{run.path / 'samples.npz'} must hold {', '.join(names)}; make the run again with --overwrite"
        )
    epoch, margin, y_true, y_given, held_out = (run.samples[name] for name in names)
    noisy = y_true != y_given

    def quantiles(chosen: np.ndarray) -> np.ndarray:
        values = margin[:, chosen]
        known = np.isfinite(values).all(axis=1) & chosen.any()
        result = np.full((len(QUANTILES), len(epoch)), np.nan)
        if known.any():
            result[:, known] = np.quantile(values[known], QUANTILES, axis=1)
        return result

    return epoch, (quantiles(~noisy & ~held_out), quantiles(noisy & ~held_out))
