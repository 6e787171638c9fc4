"""Figures of run directories: the stages of the paper's model, and of real training."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from labelnoise.errors import InputError
from labelnoise.record.stages import oracle_stop
from labelnoise.runs.reading import RunRecord
from labelnoise.training.attribution import Attribution

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
    """One column of a figure."""

    title: str
    history: pd.DataFrame
    """A row a record, told apart by `seed`."""
    stops: pd.DataFrame
    """The stopping points: rule, seed, at, reason, and what the network is worth there."""
    runs: tuple[RunRecord, ...] = ()
    """Where these come from: one run for each seed, or one for all."""


def column_of(title: str, runs: Sequence[RunRecord]) -> Column:
    """Return the column of these runs of one command."""
    frames = [
        run.history if "seed" in run.history else run.history.assign(seed=run.settings["training"]["seed"])
        for run in runs
    ]
    rows = [row for run in runs for row in run.summary["stops"]]
    stops = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["rule", "seed", "at", "reason"])
    return Column(title, pd.concat(frames, ignore_index=True), stops, tuple(runs))


RELEASED = {
    "epoch": "epoch",
    "train_loss": "train_loss",
    "train_acc": "train_accuracy",
    "train_acc_clean": "train_accuracy_clean",
    "train_acc_flip": "train_accuracy_noisy",
    "test_loss": "test_loss",
    "test_acc": "test_accuracy",
}
"""Columns of a train.csv of the paper's released code, and ours."""


def read_released(path: Path) -> Column:
    """Read a train.csv of the paper's released code; accuracies above 1 are percent.

    Raises:
        InputError: no table, a column that is missing or holds text, or an accuracy out of range.
    """
    try:
        raw = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no table ({reason}); give a train.csv of the released code, or a run") from None
    absent = [name for name in RELEASED if name not in raw]
    if absent or raw.empty:
        what = f"has no column {', '.join(absent)}" if absent else "holds no epoch"
        raise InputError(f"{path} {what}; give a train.csv of the released code, or the folder of a run")
    raw = raw[list(RELEASED)]
    table = raw.apply(pd.to_numeric, errors="coerce").astype(float)
    wrong = table.isna() & raw.notna()
    wrong["epoch"] |= ~np.isfinite(table["epoch"])
    if wrong.any(axis=None):
        name = wrong.any().idxmax()
        row = int(wrong[name].to_numpy().argmax())
        raise InputError(
            f"`{name}` in {path} must hold numbers, got {str(raw[name][row])!r} in row {row + 1}; mend the file"
        )
    table = table.rename(columns=RELEASED)
    accuracies = [name for name in table if "accuracy" in name]
    if table[accuracies].max(axis=None) > 1:
        table[accuracies] /= 100
    for name, ours in RELEASED.items():
        if ours in accuracies and not table[ours].dropna().between(0, 1).all():
            raise InputError(f"`{name}` in {path} must lie between 0 and 1, or 0 and 100 in percent; mend the file")
    absent = ["held_out_accuracy", "selection_precision", "selection_recall"]
    return Column(path.name, table.assign(seed=0, **dict.fromkeys(absent, np.nan)), _released_stops(table))


def _released_stops(table: pd.DataFrame) -> pd.DataFrame:
    """T1 and the last epoch."""
    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    found = table.rename(columns={"epoch": "at"})
    found["gain_test_accuracy"] = found["test_accuracy"] - found["test_accuracy"].iloc[-1]
    reason = "there are no noisy samples" if t1 is None else "the truth known"
    rows = found.reindex([-1 if t1 is None else t1, len(table) - 1])  # no row -1: NaN
    return rows.assign(rule=["oracle", "last"], seed=0, reason=[reason, "the last epoch"])


def simulation_figure(columns: Sequence[Column]) -> Figure:
    """The paper's synthetic figure: coefficients (top) and accuracies against iteration, and the three test errors."""
    figure, axes = _grid(columns, height=7.6, ratios=(3, 3, 2))
    for (top, middle, bottom), column in zip(axes.T, columns, strict=True):
        history = column.history[column.history["step"] > 0]
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


def training_figure(columns: Sequence[Column]) -> Figure:
    """Loss, accuracies, and held-out accuracy with the selection, against epoch; a row without data is left out."""
    tables = [
        column.history.assign(
            trusted_precision=column.history["selection_precision"].where(column.history["selection_recall"] >= 0.1)
        )
        for column in columns
    ]
    rows = [row for row in CURVES if any(table[line[0]].notna().any() for table in tables for line in row[2])] or CURVES
    figure, axes = _grid(columns, sum(row[1] for row in rows) + 0.8, tuple(row[1] for row in rows))
    for at, (column, table) in enumerate(zip(columns, tables, strict=True)):
        for axis, (name, _, lines) in zip(axes[:, at], rows, strict=True):
            for y, colour, dash, label in lines:
                _band(axis, table, "epoch", y, colour, label, dash)
            _mark_stages(axis, column, labelled=axis is axes[0, at])
            axis.set_ylim((0, None) if name == "loss" else (-0.03, 1.03))
        axes[0, at].set_title(column.title)
        axes[-1, at].set_xlabel("epoch")
    return _finished(figure, axes, tuple(row[0] for row in rows))


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def margins_figure(columns: Sequence[Column]) -> Figure:
    """Quantiles of the margins of clean and of noisy samples against epoch, for the first run of each column."""
    figure, axes = _grid(columns, height=4.0, ratios=(1,))
    for axis, column in zip(axes[0], columns, strict=True):
        epoch, groups = margin_quantiles(column.runs[0])
        for (low, lower, median, upper, high), colour, name in zip(
            groups, (CLEAN, NOISY), ("clean", "noisy"), strict=True
        ):
            if np.isfinite(median).any():
                axis.fill_between(epoch, low, high, color=colour, alpha=0.15, linewidth=0, label=f"{name}: middle 90 %")
                axis.fill_between(
                    epoch, lower, upper, color=colour, alpha=0.3, linewidth=0, label=f"{name}: middle half"
                )
                axis.plot(epoch, median, color=colour, label=f"{name}: median", linewidth=1.6, marker=_dots(epoch))
        axis.axhline(0, color="#000000", linewidth=1)
        _mark_stages(axis, column_of(column.title, column.runs[:1]), labelled=True)
        axis.set_yscale("symlog", linthresh=1, subs=(3,))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set(title=column.title, xlabel="epoch")
    return _finished(figure, axes, ("margin (above 0: fitted)",))


def margin_quantiles(run: RunRecord) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
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
        found = np.full((len(QUANTILES), len(epoch)), np.nan)
        if known.any():
            found[:, known] = np.quantile(values[known], QUANTILES, axis=1)
        return found

    return epoch, (quantiles(~noisy & ~held_out), quantiles(noisy & ~held_out))


def _grid(columns: Sequence[Column], height: float, ratios: Sequence[float]) -> tuple[Figure, Any]:
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
    axis.plot(mean.index, mean, dash, color=colour, label=label, linewidth=1.6, marker=_dots(mean))
    if history["seed"].nunique() > 1:
        axis.fill_between(mean.index, by_step.min(), by_step.max(), color=colour, alpha=0.18, linewidth=0)


def _dots(records: Sized) -> str:
    """Mark the records where they are few."""
    return "." if len(records) <= 20 else ""


def _mark_stages(axis: Axes, column: Column, labelled: bool) -> None:
    """T1 over the seeds (median and range), and the held-out rule's stop where it saw a reason to stop."""
    stops = column.stops
    marks = [("#777777", ":", "T1, truth known", stops["rule"] == "oracle")]
    if "falls" in stops:
        seen = (stops["rule"] == "held_out") & stops["falls"].eq(True)
        marks.append(("#000000", "-.", "held-out stop,\ngiven labels only", seen))
    for colour, dash, label, chosen in marks:
        at = stops.loc[chosen, "at"].dropna().astype(float)
        if len(at) > 1:
            label += "\n(median, range)"
        if not at.empty:
            axis.axvspan(at.min(), at.max(), color=colour, alpha=0.13, linewidth=0)
            axis.axvline(at.median(), color=colour, linewidth=1.3, linestyle=dash, label=label if labelled else None)


SHOWN = {"oracle": "T1, truth known", "held_out": "held-out stop", "last": "last epoch"}
PER_KIND = {"clean": 4, "noisy": 6}
"""Samples that the attribution figure shows: the first ones drawn."""


def attribution_figure(record: RunRecord, attribution: Attribution) -> Figure:
    """Some clean and some noisy images, and their attributions toward true and given class at each epoch shown.

    Channels are summed. One colour scale, symmetric about 0, for both pictures of an image at an epoch; it ends at the
    99th percentile.
    """
    noisy = attribution.y_true != attribution.y_given
    rows = np.concatenate([np.flatnonzero(~noisy)[: PER_KIND["clean"]], np.flatnonzero(noisy)[: PER_KIND["noisy"]]])
    width = 1 + 2 * len(attribution.shown_epoch)
    figure = Figure(figsize=(1.75 * width + 0.6, 1.72 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), width, squeeze=False)
    names = [str(name) for name in record.summary.get("class_names", record.summary["classes"])]
    for line, i in zip(axes, rows, strict=True):
        true, given = (names[y[i]] for y in (attribution.y_true, attribution.y_given))
        image = attribution.image[i].transpose(1, 2, 0)
        line[0].imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        text = f"noisy: {true}, given {given}" if noisy[i] else f"clean: {true}"
        line[0].set_xlabel(text.replace(", ", ",\n") if len(text) > 22 else text, color=NOISY if noisy[i] else CLEAN)
        for s in range(len(attribution.shown_epoch)):
            picture = _attribution_pair(line[1 + 2 * s : 3 + 2 * s], attribution, s, i)
    titles = ["image"]
    for epoch in attribution.shown_epoch:
        stops = ", ".join(name for rule, name in SHOWN.items() if attribution.facts["stops"].get(rule) == epoch)
        titles += [f"epoch {epoch}\n({stops})\ntoward {kind} class" for kind in ("true", "given")]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes[-1].tolist(), location="bottom", ticks=[], aspect=60, shrink=0.6)
    bar.set_label("speaks against the class (blue)   |   speaks for it (red)")
    bar.outline.set_visible(False)
    return figure


def _attribution_pair(axes: Any, attribution: Attribution, s: int, i: int) -> AxesImage:
    """Draw sample i toward true and given class at the s-th epoch shown, and write the logits below."""
    pair = [values[s, i].sum(axis=0) for values in (attribution.toward_true, attribution.toward_given)]
    limit = max(np.quantile(np.abs(pair), 0.99), np.finfo(np.float32).tiny)
    logits = attribution.logits[attribution.epoch == attribution.shown_epoch[s]][0, i]
    labels = attribution.y_true[i], attribution.y_given[i]
    for axis, values, label in zip(axes, pair, labels, strict=True):
        if axis is axes[1] and labels[0] == labels[1]:
            axis.text(0.5, 0.5, "given = true", ha="center", va="center", color="#777777", transform=axis.transAxes)
            continue
        picture = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_xlabel(f"logit {logits[label]:.1f}" + ", the largest" * bool(logits[label] == logits.max()))
    return picture


def similarity_figure(record: RunRecord, attribution: Attribution) -> Figure:
    """How alike attributions are to the mean of the class: toward the true class, toward the given one."""
    figure = Figure(figsize=(11.6, 4.0), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True, squeeze=False)
    noisy = attribution.y_true != attribution.y_given
    for axis, values, kind in zip(
        axes[0], (attribution.similarity_true, attribution.similarity_given), ("true", "given"), strict=True
    ):
        for chosen, colour, name in ((~noisy, CLEAN, "clean samples"), (noisy, NOISY, "noisy samples")):
            known = np.isfinite(values[:, chosen]).any(axis=1)
            if known.any():
                epoch, part = attribution.epoch[known], values[known][:, chosen]
                low, median, high = np.nanquantile(part, (0.25, 0.5, 0.75), axis=1)
                axis.fill_between(epoch, low, high, color=colour, alpha=0.18, linewidth=0, label=f"{name}: middle half")
                axis.plot(epoch, median, color=colour, label=f"{name}: median", linewidth=1.6, marker=_dots(epoch))
        for rule, at in sorted(attribution.facts["stops"].items(), key=lambda stop: stop[1]):
            dash = "--" if rule == "last" else ":"
            axis.axvline(at, color="#777777", linewidth=1.3, linestyle=dash, label=SHOWN[rule])
        axis.axhline(0, color="#000000", linewidth=1)
        axis.set(title=f"attribution toward the {kind} class", xlabel="epoch")
        axis.locator_params(axis="x", integer=True)
    return _finished(figure, axes, ("cosine similarity to the mean\nof clean samples of that class",))
