"""Figures and one self-contained HTML page, from run directories alone: nothing is run again for them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labelnoise.errors import InputError
from labelnoise.runs import RunFolder, RunRecord, read_run

SIGNAL, CLEAN, NOISY, ALL, TEST = "#0072b2", "#009e73", "#d55e00", "#333333", "#cc79a7"
"""One colour a quantity in every figure (Okabe and Ito, told apart by the colour-blind)."""

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

RULES = {"oracle": "T1 (truth known)", "held_out": "held-out (given labels only)", "last": "the end"}


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


@dataclass(frozen=True)
class Group:
    """One figure: a title, what to see in it, and its columns, all of one command."""

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]


def write_report(path: Path) -> Path:
    """Write figures and report.html of a run directory, or of all runs of `labelnoise reproduce`.

    Raises:
        InputError: the folder holds no finished run, or a damaged one.
    """
    record = read_run(path)
    groups = _groups(record)
    folder = RunFolder(record.path, finished=True, config={})
    pictures = {group.name: _write_figure(folder, group) for group in groups}
    template = files("labelnoise").joinpath("report.html.j2").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(template).render(
        title="Signal first, wrong labels later",
        lead=record.summary.get("text", ""),
        groups=[
            {
                "title": group.title,
                "text": group.text,
                "picture": pictures[group.name],
                "runs": [_facts(column) for column in group.columns],
                "stops": _stops_table(group),
            }
            for group in groups
        ],
        claims=_claims_table([c for group in groups for c in group.columns if c.command == "simulate"]),
        settings=[
            {"name": run.path.name, "text": json.dumps(run.settings, indent=1)}
            for group in groups
            for column in group.columns
            for run in column.runs
        ],
        versions=record.versions,
        commit=record.git_commit,
    )
    folder.write_text("report.html", page)
    return record.path / "report.html"


def _groups(record: RunRecord) -> list[Group]:
    """The figures of a page: those that the main job lists, or the one of a single run."""
    if record.command == "reproduce":
        return [
            Group(
                group["name"],
                group["title"],
                group["text"],
                tuple(
                    Column(column["title"], tuple(read_run(record.path / name) for name in column["runs"]))
                    for column in group["columns"]
                ),
            )
            for group in record.summary["groups"]
        ]
    if record.command not in FIGURES:
        raise InputError(
            f"{record.path} is a run of {record.command!r}, which has no report; make it with this version"
        )
    text = "Lines are means over seeds, bands their range." if record.command == "simulate" else ""
    return [Group("curves", record.path.name, text, (Column(_noise_of([record]), (record,)),))]


def _noise_of(runs: Sequence[RunRecord]) -> str:
    """Realised share of wrong labels, with its range over the seeds."""
    noise = [run.summary["noise"] for run in runs]
    rates = [entry["rate"] for item in noise for entry in (item if isinstance(item, list) else [item])]
    text = f"{np.mean(rates):.1%} of the labels wrong"
    return text if min(rates) == max(rates) else f"{text} [{min(rates):.1%}, {max(rates):.1%}]"


def _write_figure(folder: RunFolder, group: Group) -> str:
    """Draw a group, write PNG and SVG, and return the SVG as a data address."""
    with matplotlib.rc_context(STYLE):
        figure = FIGURES[group.columns[0].command](group.columns)
        pictures = {}
        for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            pictures[kind] = buffer.getvalue()
            folder.write_figure(f"{group.name}.{kind}", pictures[kind])
    return "data:image/svg+xml;base64," + base64.b64encode(pictures["svg"]).decode()


def simulation_figure(columns: Sequence[Column]) -> Figure:
    """The paper's synthetic figure: coefficients (top) and accuracies (bottom) against iteration, a column a run."""
    figure = Figure(figsize=(5.2 * len(columns), 7.6), layout="constrained")
    axes = figure.subplots(3, len(columns), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 3, 2))
    for top, middle, bottom, column in zip(*axes, columns, strict=True):
        history = column.history()
        history = history[history["step"] > 0]
        noisy = history["accuracy_noisy"].notna().any()
        _band(top, history, "step", "gamma_max", SIGNAL, r"signal: max $\gamma_{j,r}$")
        _band(top, history, "step", "rho_clean_max", CLEAN, r"noise patches of clean samples: max $\rho$")
        _band(middle, history, "step", "accuracy_clean", CLEAN, "clean samples")
        if noisy:
            _band(top, history, "step", "rho_noisy_max", NOISY, r"noise patches of noisy samples: max $\rho$")
            _band(middle, history, "step", "accuracy_noisy", NOISY, "noisy samples (given label)")
        _band(middle, history, "step", "accuracy", ALL, "all samples", dash="--")
        for kind, colour in (("seen", CLEAN), ("perturbed", TEST), ("fresh", SIGNAL)):
            name = f"test_error_{kind}"
            if name in history:
                _band(bottom, history, "step", name, colour, f"{kind} noise")
        for axis in (top, middle, bottom):
            _mark_stages(axis, column, labelled=axis is top)
        top.set(title=column.title, xscale="log", yscale="log")
        bottom.set(xlabel="gradient step", ylim=(0, None))
        middle.set(ylim=(-0.03, 1.03))
        for axis in (top, middle, bottom):
            axis.legend()
    axes[0, 0].set_ylabel("coefficient")
    axes[1, 0].set_ylabel("training accuracy")
    axes[2, 0].set_ylabel("test error")
    return figure


def training_figure(columns: Sequence[Column]) -> Figure:
    """Accuracies (top), held-out accuracy and selection (bottom) against epoch, a column a data set and noise."""
    figure = Figure(figsize=(5.2 * len(columns), 6.4), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False)
    for top, bottom, column in zip(*axes, columns, strict=True):
        history = column.history()
        _band(top, history, "epoch", "train_accuracy_clean", CLEAN, "clean samples")
        noisy = history["train_accuracy_noisy"].notna().any()
        if noisy:
            _band(top, history, "epoch", "train_accuracy_noisy", NOISY, "noisy samples (given label)")
            many = history.assign(precision=history["selection_precision"].where(history["selection_recall"] >= 0.05))
            _band(bottom, many, "epoch", "precision", SIGNAL, "suspects: precision (where recall >= 0.05)")
            _band(bottom, history, "epoch", "selection_recall", NOISY, "suspects: recall")
        _band(top, history, "epoch", "test_accuracy", TEST, "test samples (true label)")
        _band(bottom, history, "epoch", "held_out_accuracy", ALL, "held out (given label)")
        for axis in (top, bottom):
            _mark_stages(axis, column, labelled=axis is top)
            axis.set(ylim=(-0.03, 1.03))
            if axis.lines:
                axis.legend(loc="center right")
        top.set(title=column.title)
        bottom.set(xlabel="epoch")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("share")
    return figure


FIGURES = {"simulate": simulation_figure, "train": training_figure}
"""The figure of each command."""


def _band(axis: Axes, history: pd.DataFrame, x: str, y: str, colour: str, label: str, dash: str = "-") -> None:
    """Mean over seeds as a line, their range as a band."""
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
    marks = {"oracle": ("#777777", "T1 (truth known)", stops["rule"] == "oracle")}
    if "falls" in stops:
        marks["held_out"] = ("#000000", "stop by held-out labels", stops["falls"].eq(True))
    for colour, label, chosen in marks.values():
        at = stops.loc[chosen, "at"].dropna().astype(float)
        if at.empty:
            continue
        axis.axvspan(at.min(), at.max(), color=colour, alpha=0.1, linewidth=0)
        axis.axvline(at.median(), color=colour, linewidth=1.2, linestyle=":", label=label if labelled else None)


def _facts(column: Column) -> dict[str, Any]:
    return {
        "title": column.title,
        "names": ", ".join(run.path.name for run in column.runs),
        "noise": _noise_of(column.runs),
        "status": "; ".join(sorted({run.summary["status"] for run in column.runs})),
    }


STOP_COLUMNS = {
    "simulate": {
        "at": "step",
        "test_error_seen": "seen-noise error",
        "test_error_perturbed": "perturbed-noise error",
        "test_error_fresh": "fresh-noise error",
        "gain_test_error_seen": "gain (seen)",
        "gain_test_error_perturbed": "gain (perturbed)",
        "gain_test_error_fresh": "gain (fresh)",
        "accuracy_clean": "clean fitted",
        "accuracy_noisy": "noisy fitted",
        "selection_precision": "precision",
        "selection_recall": "recall",
        "selection_f1": "F1",
    },
    "train": {
        "at": "epoch",
        "test_accuracy": "test accuracy",
        "gain_test_accuracy": "gain",
        "train_accuracy_clean": "clean fitted",
        "train_accuracy_noisy": "noisy fitted",
        "selection_precision": "precision",
        "selection_recall": "recall",
        "selection_f1": "F1",
    },
}
"""What the table of stopping points shows for each command."""


def _stops_table(group: Group) -> dict[str, Any]:
    """Head and rows of the table of stopping points: mean and range over seeds."""
    names = STOP_COLUMNS[group.columns[0].command]
    rows: list[dict[str, Any]] = []
    for column in group.columns:
        stops = column.stops
        for rule, text in RULES.items():
            chosen = stops[stops["rule"] == rule]
            if chosen.empty or chosen["at"].isna().all():
                reason = chosen["reason"].iloc[0] if len(chosen) else "not used"
                rows.append({"run": column.title, "rule": text, "cells": [], "reason": reason})
                continue
            cells = [_cell(chosen, name) for name in names]
            rows.append({"run": column.title, "rule": text, "cells": cells, "reason": _one_reason(chosen)})
    return {"head": list(names.values()), "rows": rows}


def _one_reason(chosen: pd.DataFrame) -> str:
    """What the first seed's rule said, where it says more than its name, and for how many seeds it said nothing."""
    lost = int(chosen["at"].isna().sum())
    first = chosen[chosen["at"].notna()].iloc[0]
    words = [f"seed {first['seed']}: {first['reason']}"] if first["rule"] == "held_out" else []
    return "; ".join(words + [f"undefined for {lost} of {len(chosen)} seeds"] * (lost > 0))


def _cell(chosen: pd.DataFrame, name: str) -> str:
    """Mean over seeds, with the range where they differ; no error among the sampled draws is an upper bound."""
    known = chosen[name].dropna().astype(float)
    if known.empty:
        return "–"
    if f"{name}_upper" in chosen and not known.any():
        return f"< {chosen[f'{name}_upper'].max():.2g}"
    digits = 0 if name == "at" else 3
    mean, low, high = (
        f"{value + 0.0:.{digits}f}".replace("-0.000", "0.000") for value in (known.mean(), known.min(), known.max())
    )
    return mean if low == high else f"{mean} [{low}, {high}]"


def _claims_table(columns: Sequence[Column]) -> dict[str, Any]:
    """Head and rows of the table of claims: one column a simulated run."""
    if not columns:
        return {"head": [], "rows": []}
    per_run = [{check["claim"]: check for check in column.runs[0].summary["checks"]} for column in columns]
    rows: list[dict[str, Any]] = []
    for claim, first in per_run[0].items():
        cells = []
        for checks in per_run:
            check = checks[claim]
            numbers = [
                f"{label} {check[name]:.3g}"
                for name, label in (("measured", "measured"), ("bound", "against"), ("constant", "implied constant"))
                if check[name] is not None
            ]
            cells.append({"verdict": check["verdict"], "numbers": ", ".join(numbers), "reason": check["reason"]})
        rows.append({"claim": claim, "statement": first["statement"], "cells": cells})
    return {"head": [column.runs[0].path.name for column in columns], "rows": rows}
