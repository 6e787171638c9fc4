"""The table of stopping points of a section, for runs of any kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from labelnoise.runs.pages import Cell, Panel, Section, Table
from labelnoise.runs.reading import Run

RULES = {"oracle": "T1 (truth known)", "held_out": "held-out (given labels only)", "last": "the end"}
"""Each stop rule, and how the page calls it."""


def stops_table(section: Section) -> Table:
    """Where each rule would end the runs, and what that gains: mean and range over seeds."""
    known = {name for panel in section.panels for name in panel.stops.columns[panel.stops.notna().any()]}
    columns = {name: words for name, words in section.page.stops.items() if name in known or name == "at"}
    rows = tuple(_row(panel, rule, columns) for panel in section.panels for rule in RULES)
    return Table("Where to stop, and what it gains over training to the end", ("run", "stop", *columns.values()), rows)


def _row(panel: Panel, rule: str, columns: Mapping[str, str]) -> tuple[str | Cell, ...]:
    chosen = panel.stops[panel.stops["rule"] == rule]
    if chosen.empty or chosen["at"].isna().all():
        reason = chosen["reason"].iloc[0] if len(chosen) else "not used"
        return panel.title, Cell(RULES[rule], (reason,)), *("–" for _ in columns)
    return panel.title, Cell(RULES[rule], (_reason(chosen),)), *(_number(chosen, name) for name in columns)


def _reason(chosen: pd.DataFrame) -> str:
    """What the first seed's rule said, where it says more than its name, and for how many seeds it said nothing."""
    lost = int(chosen["at"].isna().sum())
    first = chosen[chosen["at"].notna()].iloc[0]
    words = [f"seed {first['seed']}: {first['reason']}"] if first["rule"] == "held_out" else []
    return "; ".join(words + [f"undefined for {lost} of {len(chosen)} seeds"] * (lost > 0))


def _number(chosen: pd.DataFrame, name: str) -> str:
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


def realised_noise(runs: tuple[Run, ...]) -> str:
    """Realised share of wrong labels, with its range over the seeds; empty where the runs do not say."""
    noise = [run.summary["noise"] for run in runs if "noise" in run.summary]
    rates = [entry["rate"] for item in noise for entry in (item if isinstance(item, list) else [item])]
    if not rates:
        return ""
    if not max(rates):
        return "no label is wrong"
    text = f"{np.mean(rates):.1%} of the labels wrong"
    return text if min(rates) == max(rates) else f"{text} [{min(rates):.1%}, {max(rates):.1%}]"
