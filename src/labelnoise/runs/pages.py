"""What a kind of run says of its page: pictures, tables and words. `report/` draws it, whatever the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from labelnoise.runs.settings import leaves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labelnoise.runs.reading import Run


@dataclass(frozen=True)
class Panel:
    """Runs of one setting: a column of a figure, a row of a table."""

    title: str
    history: pd.DataFrame
    """A row a record, told apart by `seed`."""
    stops: pd.DataFrame
    """The stopping points: rule, seed, at, reason, and what the network is worth there."""
    runs: tuple[Run, ...] = ()
    """Where these come from: one run for each seed, or one for all."""


def panel_of(title: str, runs: Sequence[Run]) -> Panel:
    """Return the panel of these runs of one kind; one that is made of runs of its own kind counts as those."""
    runs = [member for run in runs for member in run.kind.page().members(run)]
    histories = pd.concat([_history(run) for run in runs], ignore_index=True)
    rows = [row for run in runs for row in run.kind.page().stopping(run)]
    stops = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["rule", "seed", "at", "reason"])
    return Panel(title, histories, stops, tuple(runs))


def _history(run: Run) -> pd.DataFrame:
    """The history of a run, with its seed as a column; empty of a kind without one."""
    history = run.history if "history.csv" in run.kind.results else pd.DataFrame()
    return history if "seed" in history else history.assign(seed=dict(leaves(run.settings)).get("seed", 0))


@dataclass(frozen=True)
class Picture:
    """One picture of a section; without a title of its own the section's serves."""

    name: str
    draw: Callable[[], Figure]
    title: str = ""
    text: str = ""
    """What to look for."""
    below: bool = False
    """Whether it stands below the table of stopping points."""


@dataclass(frozen=True)
class Quote:
    """One number of a panel that a person can quote, for the top of the page."""

    label: str
    """What it is the number of."""
    value: str
    """With its range over the seeds; a dash where the runs do not hold it."""
    gloss: str
    """What it means, or why it is not there."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    notes: tuple[str, ...] = ()
    """Small print below it."""
    mark: str = ""
    """A class of the page's style: `holds`, `fails`, `not`, `name`; `number` for what is not broken into lines."""
    image: str = ""
    """Data address of a picture above the text."""


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    title: str
    head: tuple[str, ...]
    """The headings; empty where it has none."""
    rows: tuple[tuple[str | Cell, ...], ...]
    """A row shorter than the head is a heading of those below it."""
    text: str = ""
    folded: bool = False
    """Whether only the title shows until it is opened."""
    sortable: bool = False
    """Whether a click on a heading sorts the rows."""
    stacked: bool = False
    """Whether a row becomes a card on a narrow screen, each cell under its heading, instead of being scrolled."""


@dataclass(frozen=True)
class Section:
    """A section of the page: panels of one kind, side by side."""

    name: str
    """What the names of its figures begin with."""
    title: str
    text: str
    page: Page
    panels: tuple[Panel, ...]


def _none(panels: Any) -> Sequence[Any]:
    return ()


def _alone(run: Run) -> Sequence[Run]:
    return (run,)


def _written(run: Run) -> Sequence[Mapping[str, Any]]:
    return run.summary.get("stops", [])


@dataclass(frozen=True)
class Page:
    """What the page shows of one kind of run."""

    title: str = ""
    """Of the page of one run of this kind; empty for that of the project."""
    look: str = ""
    """What to look for in its pictures."""
    pictures: Callable[[Sequence[Panel]], Sequence[Picture]] = _none
    """The pictures of a section."""
    quotes: Callable[[Panel], Sequence[Quote]] = _none
    """Numbers of a panel for the top of the page, the most telling first, the same for each panel; five are shown."""
    stops: Mapping[str, str] = field(default_factory=dict)
    """What the table of stopping points shows: name in `summary.json`, and heading; gains stand below."""
    stopping: Callable[[Run], Sequence[Mapping[str, Any]]] = _written
    """The stopping points of a run: those of its summary, or better ones."""
    members: Callable[[Run], Sequence[Run]] = _alone
    """The runs of a panel: the run itself, or one for each of its seeds."""
    section_tables: Callable[[Sequence[Panel]], Sequence[Table]] = _none
    """Further tables of a section."""
    page_tables: Callable[[Sequence[Panel]], Sequence[Table]] = _none
    """Tables over all panels of this kind on the page."""
    truth: bool = True
    """Whether such runs know the true labels: the page then explains the words of what is said of these."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Terms and what they mean."""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """File of the run, and what each of its columns or arrays holds; under the empty name, of the file itself."""
    sections: Callable[[Run], Sequence[Section]] | None = None
    """The sections of a run that is made of runs, or whose page depends on what was found; None for the one section of
    a run of its own, with this page."""
