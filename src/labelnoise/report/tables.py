"""The table of stopping points of a section, and numbers over seeds, for runs of any kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from labelnoise.record.stopping_points import OPTIONAL, RULES
from labelnoise.runs.pages import Cell, Panel, Section, Table
from labelnoise.runs.reading import Run

NO_BREAK = "\N{NO-BREAK SPACE}"
NOTHING = "–"
"""What stands where there is no number."""


def spread(values: pd.Series, form: str = ".3f") -> tuple[str, str]:
    """Mean over the seeds, and their range in brackets, empty where they do not differ; a dash without any number."""
    known = values.dropna().astype(float)
    if known.empty:
        return NOTHING, ""
    mean, low, high = (f"{value:z{form}}" for value in (known.mean(), known.min(), known.max()))
    return mean, "" if low == high else f"[{low}, {high}]"


def averages(columns: Sequence[pd.Series], form: str) -> tuple[list[str], str]:
    """The mean of each quantity over the seeds, and in words how many seeds that are and how far they range."""
    spreads = [spread(values, form) for values in columns]
    seeds = max(int(values.notna().sum()) for values in columns)
    words = f"mean of {seeds} seeds" if seeds > 1 else "one seed" if seeds else "no seed"
    if any(between for _, between in spreads):
        words += ", range " + " and ".join(between.replace(" ", NO_BREAK) or mean for mean, between in spreads)
    return [mean for mean, _ in spreads], words


def values_at(panel: Panel, rule: str, name: str) -> pd.Series:
    """What the stopping points of a rule say of one quantity, a number a seed; empty where they say nothing."""
    if name not in panel.stops:
        return pd.Series(dtype=float)
    return panel.stops.loc[panel.stops["rule"] == rule, name].dropna().astype(float)


def values_at_end(panel: Panel, name: str) -> pd.Series:
    """The last known number of a column of the history, a number a seed; empty where there is none."""
    if name not in panel.history:
        return pd.Series(dtype=float)
    return panel.history.groupby("seed")[name].last().dropna().astype(float)


def stops_table(section: Section) -> Table:
    """Where each rule would end the runs, and what that gains: mean and range over seeds."""
    known = {name for panel in section.panels for name in panel.stops.columns[panel.stops.notna().any()]}
    columns = {name: words for name, words in section.page.stops.items() if name in known or name == "at"}
    rows = tuple(row for panel in section.panels for row in _rows(panel, columns, len(section.panels) > 1))
    return Table("Where to stop, and what it gains over training to the end", ("stop", *columns.values()), rows)


def _rows(panel: Panel, columns: Mapping[str, str], titled: bool) -> Iterator[tuple[str | Cell, ...]]:
    """A row for each rule, below the title of the panel where there are several."""
    if titled:
        yield (panel.title,)
    for rule, (name, sees) in RULES.items():
        chosen, words = panel.stops[panel.stops["rule"] == rule], f"{name} ({sees})" if sees else name
        if chosen.empty and rule in OPTIONAL:
            continue
        if chosen.empty or chosen["at"].isna().all():
            reason = chosen["reason"].iloc[0] if len(chosen) else "not used"
            yield Cell(words, (reason,)), *(NOTHING for _ in columns)
        else:
            yield Cell(words, _reasons(chosen)), *(_number(chosen, name) for name in columns)


def _reasons(chosen: pd.DataFrame) -> tuple[str, ...]:
    """For how many seeds the held-out rule saw a fall, and how in the first; and for how many seeds nothing is said."""
    known = chosen[chosen["at"].notna()]
    words, lost = [], len(chosen) - len(known)
    if known["rule"].iloc[0] not in ("oracle", "last"):
        if len(known) > 1 and "falls" in known:
            words.append(f"a fall is seen in {known['falls'].eq(True).sum()} of {len(known)} seeds")
        of_seed = f"seed {known['seed'].iloc[0]}: " if len(chosen) > 1 else ""
        words.append(of_seed + known["reason"].iloc[0])
        if "paired" not in known or not known["paired"].eq(True).all():
            words.append("two accuracies were compared: which held-out samples were fitted is not known of this run")
    if lost:
        words.append(f"undefined for {lost} of {len(chosen)} seeds")
    return tuple(words)


def _number(chosen: pd.DataFrame, name: str) -> Cell:
    """Mean and range over seeds, and what the stop gains; no error among the sampled draws is an upper bound."""
    known, gain = chosen[name].dropna().astype(float), f"gain_{name}"
    notes: tuple[str, ...] = ()
    if gain in chosen and chosen["rule"].iloc[0] != "last" and chosen[gain].notna().any():
        mean, between = spread(chosen[gain])
        notes = (f"gain {mean}", between)
    if f"{name}_upper" in chosen and not known.empty and not known.any():
        return Cell(f"< {chosen[f'{name}_upper'].max():.2g}", notes, "number")
    mean, between = spread(known, ".0f" if name == "at" else ".3f")
    return Cell(mean, (between, *notes), "number")


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
