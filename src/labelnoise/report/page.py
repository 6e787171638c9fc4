"""One self-contained HTML page, and its figures, from run directories alone: nothing is run again for them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labelnoise.errors import InputError
from labelnoise.report.figures import (
    STYLE,
    Column,
    attribution_figure,
    column_of,
    margins_figure,
    read_released,
    similarity_figure,
    simulation_figure,
    training_figure,
)
from labelnoise.runs.folders import RunFolder
from labelnoise.runs.reading import RunRecord, read_run
from labelnoise.theory.scales import REGIME
from labelnoise.training.attribution import FACTS, read_attribution

RULES = {"oracle": "T1 (truth known)", "held_out": "held-out (given labels only)", "last": "the end"}


LOOK = {
    "simulate": (
        "What to look for: does signal lead at first, and do the noise patches of noisy samples overtake it after T1? "
        "Does the accuracy on noisy samples, against their wrong labels, stay at 0 until then?"
    ),
    "train": (
        "What to look for: does the network fit the clean samples while it still rejects the wrong labels, and does "
        "the test accuracy fall when it memorises them? Bottom: how well the samples with a negative margin, the "
        "suspects, are the noisy ones."
    ),
}
"""What to look for in the curves of each command."""

MARGINS = (
    "What to look for: in Stage I clean samples lie above 0 (fitted) and noisy ones below, so that the sign tells them "
    "apart; in Stage II the noisy ones cross the line. Held-out samples are left out. The axis is linear between -1 "
    "and 1, logarithmic beyond."
)

PIXELS = (
    "Which pixels speak for a class. What to look for: early, the pixels that speak for the true class should carry a "
    "noisy image; at the end pixels of its own should hold it to the given class."
)

ALIKE = (
    "The cosine of an image's attribution and the mean attribution of the other clean images of the class, at each "
    "epoch whose weights were kept. What to look for: toward the true class, a noisy image near the clean ones is "
    "carried by what its class has in common; toward the given class, one far below them is held by pixels of its own."
)


@dataclass(frozen=True)
class Group:
    """A section of the page: runs of one command, side by side."""

    name: str
    """What the names of its figures begin with."""
    title: str
    text: str
    command: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Picture:
    """One picture of a section; without a title of its own the section's serves."""

    name: str
    draw: Callable[[], Figure]
    title: str = ""
    text: str = ""
    """What to look for."""


def write_report(path: Path) -> Path:
    """Write figures and report.html of a run directory, of `labelnoise reproduce`, or of a released train.csv.

    Args:
        path: a finished run; or a train.csv of the paper's released code, or the folder that holds one.

    Raises:
        InputError: the folder holds neither, or a damaged one.
    """
    path = Path(path)
    if path.is_file():
        return _released_page(path)
    if (path / "train.csv").is_file() and not (path / "config.json").exists():
        return _released_page(path / "train.csv")
    record = read_run(path)
    return _write_page(path, record.summary.get("text", ""), _groups(record), record.versions, record.git_commit)


def _write_page(path: Path, lead: str, groups: Sequence[Group], versions: dict[str, Any], commit: str | None) -> Path:
    folder = RunFolder(path, finished=True, config={})
    simulated = [column for group in groups for column in group.columns if group.command == "simulate"]
    runs = [run for group in groups for column in group.columns for run in column.runs]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(files("labelnoise.report").joinpath("report.html.j2").read_text()).render(
        title="Signal first, wrong labels later",
        lead=lead,
        groups=[
            {
                "title": group.title,
                "text": group.text,
                "pictures": [_shown(folder, group, picture) for picture in _pictures(group)],
                "explained": [_shown(folder, group, picture) for picture in _explained(group)],
                "runs": [_facts(column) for column in group.columns if column.runs],
                "stops": _stops_table(group),
                "stages": _stages_table(group),
            }
            for group in groups
        ],
        claims=_claims_table(simulated),
        conditions=_conditions_table(simulated),
        trained=any(run.command == "train" for run in runs),
        settings=[{"name": run.path.name, "text": json.dumps(run.settings, indent=1)} for run in runs],
        versions=versions,
        commit=commit,
    )
    folder.write_text("report.html", page)
    return path / "report.html"


def _groups(record: RunRecord) -> list[Group]:
    """The sections of a page: those that the main job lists, or the one of a single run."""
    if record.command == "reproduce":
        return [_listed(record.path, group) for group in record.summary["groups"]]
    if record.command not in LOOK:
        raise InputError(
            f"{record.path} is a run of {record.command!r}, which has no report; make it with this version"
        )
    several = len(record.settings.get("seeds", [])) > 1
    text = LOOK[record.command] + several * " Lines are means over the seeds, bands their range."
    return [Group("", record.path.name, text, record.command, (column_of(record.path.name, [record]),))]


def _listed(path: Path, group: dict[str, Any]) -> Group:
    columns = tuple(
        column_of(column["title"], [read_run(path / name) for name in column["runs"]]) for column in group["columns"]
    )
    return Group(group["name"], group["title"], group["text"], columns[0].runs[0].command, columns)


def _pictures(group: Group) -> list[Picture]:
    """The pictures above the table of stopping points."""
    if group.command == "simulate":
        return [Picture("curves", partial(simulation_figure, group.columns))]
    curves = Picture("curves", partial(training_figure, group.columns))
    if not group.columns[0].runs:
        return [curves]
    which = " One run a column: " + ", ".join(column.runs[0].path.name for column in group.columns) + "."
    several = any(len(column.runs) > 1 for column in group.columns)
    return [curves, Picture("margins", partial(margins_figure, group.columns), "Margins", MARGINS + several * which)]


def _explained(group: Group) -> list[Picture]:
    """The pictures below the table: what `labelnoise explain` found in the first run that it was asked about."""
    runs = [run for column in group.columns for run in column.runs if (run.path / FACTS).is_file()]
    if not runs:
        return []
    run, attribution = runs[0], read_attribution(runs[0].path)
    text = f"{PIXELS} Of {run.path.name}: {attribution}"
    return [
        Picture("attribution", partial(attribution_figure, run, attribution), "Attribution", text),
        Picture(
            "similarity", partial(similarity_figure, run, attribution), "Carried by the signal, or memorised", ALIKE
        ),
    ]


REM_PER_INCH = 5.5
"""Width on the page of an inch of a figure, so that letters are as large in each."""


def _shown(folder: RunFolder, group: Group, picture: Picture) -> dict[str, str]:
    """Draw a picture, write PNG and SVG, and return what the page needs, the SVG as a data address."""
    name = f"{group.name}-{picture.name}".removeprefix("-")
    with matplotlib.rc_context(STYLE):
        figure = picture.draw()
        drawn = {}
        for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            drawn[kind] = buffer.getvalue()
            folder.write_figure(f"{name}.{kind}", drawn[kind])
    address = "data:image/svg+xml;base64," + base64.b64encode(drawn["svg"]).decode()
    return {
        "title": picture.title,
        "text": picture.text,
        "address": address,
        "alt": picture.title or group.title,
        "width": f"{REM_PER_INCH * figure.get_figwidth():.0f}",
    }


def _released_page(path: Path) -> Path:
    """The page of a train.csv of the paper's released code, beside it."""
    text = LOOK["train"].split(" Bottom:")[0]
    lead = (
        f"Curves of {path.name}, written by the paper's released code. Its accuracy on noisy samples is taken in the "
        "training batches, while the weights move; labelnoise takes it after the epoch, in eval mode."
    )
    title = f"{path.resolve().parent.name}/{path.name}"
    return _write_page(path.parent, lead, [Group("", title, text, "train", (read_released(path),))], {}, None)


def _noise_of(runs: Sequence[RunRecord]) -> str:
    """Realised share of wrong labels, with its range over the seeds."""
    noise = [run.summary["noise"] for run in runs]
    rates = [entry["rate"] for item in noise for entry in (item if isinstance(item, list) else [item])]
    if not max(rates):
        return "no label is wrong"
    text = f"{np.mean(rates):.1%} of the labels wrong"
    return text if min(rates) == max(rates) else f"{text} [{min(rates):.1%}, {max(rates):.1%}]"


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
    known = {name for column in group.columns for name in column.stops.columns[column.stops.notna().any()]}
    names = {name: words for name, words in STOP_COLUMNS[group.command].items() if name in known or name == "at"}
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


def _stages_table(group: Group) -> list[dict[str, Any]]:
    """For each simulated column and seed: window, T1, where signal leads, onset, convergence."""
    return [
        {"run": column.title, **stage}
        for column in group.columns
        if group.command == "simulate"
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
