"""One self-contained HTML page, and its figures, from run directories alone: nothing is run again for them."""

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

from labelnoise.errors import InputError
from labelnoise.figures import FIGURES, STYLE, Column
from labelnoise.runs import RunFolder, RunRecord, read_run
from labelnoise.theory import REGIME

RULES = {"oracle": "T1 (truth known)", "held_out": "held-out (given labels only)", "last": "the end"}


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
                "stages": _stages_table(group),
            }
            for group in groups
        ],
        claims=_claims_table(_simulated(groups)),
        conditions=_conditions_table(_simulated(groups)),
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
    several = len(record.settings.get("seeds", [])) > 1
    text = "Lines are means over the seeds, bands their range." if several else ""
    return [Group("curves", record.path.name, text, (Column(record.path.name, (record,)),))]


def _noise_of(runs: Sequence[RunRecord]) -> str:
    """Realised share of wrong labels, with its range over the seeds."""
    noise = [run.summary["noise"] for run in runs]
    rates = [entry["rate"] for item in noise for entry in (item if isinstance(item, list) else [item])]
    if not max(rates):
        return "no label is wrong"
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


def _simulated(groups: Sequence[Group]) -> list[Column]:
    return [column for group in groups for column in group.columns if column.command == "simulate"]


def _stages_table(group: Group) -> list[dict[str, Any]]:
    """For each simulated column and seed: window, T1, where signal leads, onset, convergence."""
    return [
        {"run": column.title, **stage}
        for column in group.columns
        if column.command == "simulate"
        for stage in column.runs[0].summary["stages"]
    ]


def _conditions_table(columns: Sequence[Column]) -> dict[str, Any]:
    """The quantities of the paper's conditions as numbers, a column a simulated run."""
    summaries = [column.runs[0].summary for column in columns]
    rows = [
        {"name": name, "regime": regime, "cells": [_short(summary["conditions"][name]) for summary in summaries]}
        for name, regime in REGIME.items()
    ]
    for name, key in (("n m / (eta sigma_xi^2 d), the scale of T1", "stage_one_scale"), ("zeta_std", "zeta_std")):
        rows.append({"name": name, "regime": "", "cells": [_short(summary[key]) for summary in summaries]})
    return {"head": [column.runs[0].path.name for column in columns], "rows": rows if columns else []}


def _short(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"


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
                if check[name] is not None and not (name == "constant" and check[name] == check["measured"])
            ]
            cells.append({"verdict": check["verdict"], "numbers": ", ".join(numbers), "reason": check["reason"]})
        rows.append({"claim": claim, "statement": first["statement"], "cells": cells})
    return {"head": [column.runs[0].path.name for column in columns], "rows": rows}
