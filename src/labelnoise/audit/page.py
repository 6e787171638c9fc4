"""What the page shows of an audit, of one that decides and of one that does not: numbers, pictures and tables.

The list of samples and its cells are those of `page_list`, words that are the same for every audit those of
`page_words`; a caption stands beside its table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from labelnoise.audit.figures import suspects_figure
from labelnoise.audit.labels import shown
from labelnoise.audit.page_list import class_cell, list_tables, ranking_tables, suggestion_cell
from labelnoise.audit.page_words import (
    CANNOT,
    HELD,
    HISTORY,
    LOOK,
    MARGINS,
    SUSPECTS,
    TITLE,
    UNDECIDED_LOOK,
    UNDECIDED_MARGINS,
    UNDECIDED_SUSPECTS,
    UNDECIDED_TITLE,
    UNDECIDED_WORDS,
    WORDS,
)
from labelnoise.audit.summary import MATRIX, is_undecided
from labelnoise.report.tables import NOTHING
from labelnoise.runs.pages import Cell, Page, Panel, Picture, Quote, Section, Table, panel_of
from labelnoise.runs.reading import Run


def _quotes(panel: Panel) -> list[Quote]:
    summary = panel.runs[0].summary
    n = summary["samples"]
    if summary["rate"] is None:
        wrong = Quote("Estimated wrong labels", NOTHING, "nothing can be said of their number; see the notes")
    else:
        # of the shares: the summaries of older folders hold no numbers by these names
        count, low, high = (round(share * n) for share in (summary["rate"], *summary["rate_interval"]))
        interval = f"90% interval {low:,} to {high:,} ({HELD})"
        words = f"{summary['rate']:.1%} of {n:,}, from {summary['rate_reason']}; {interval}"
        wrong = Quote("Estimated wrong labels", f"{count:,}", words)
    flagged = Quote("Suspects", f"{summary['flagged']:,}", f"{summary['flagged'] / n:.1%} of the samples")
    first = summary["yield"][0]
    review = Quote(
        f"Expected to be wrong among the first {first['last']}", _expected(first), "if you review the list from its top"
    )
    return [wrong, flagged, review, _stop(summary), *_tested(summary.get("self_test"))]


def _stop(summary: dict[str, Any]) -> Quote:
    stops = _epochs(sorted(set(summary["stop_epochs"]))) or NOTHING
    return Quote("The stop", stops, f"what comes later may be memorised; {summary['model']}")


def _epochs(stops: Sequence[int]) -> str:
    """Stops with their unit; empty where there is none."""
    return f"epoch{'s' * (len(stops) > 1)} {', '.join(map(str, stops))}" if stops else ""


def _undecided_quotes(panel: Panel) -> list[Quote]:
    summary = panel.runs[0].summary
    decided = Quote("Labels of which something is decided", f"0 of {summary['samples']:,}", summary["rate_reason"])
    return [decided, _stop(summary)]


def _expected(entry: dict[str, Any]) -> str:
    """How many of a part of the list are expected to be wrong."""
    count = entry["last"] - entry["first"] + 1
    return f"{count * entry['expected']:.0f} of {count}"


def _tested(test: dict[str, Any] | None) -> list[Quote]:
    """What the self-test found, where there was one."""
    if test is None:
        return []
    share = NOTHING if test["recall"] is None else f"{test['recall']:.0%}"
    return [Quote("Planted flips found", share, test["text"].removeprefix("self-test: "))]


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    return _margins(panels, "Suspects along training", MARGINS)


def _undecided_pictures(panels: Sequence[Panel]) -> list[Picture]:
    return _margins(panels, "Margins along training", UNDECIDED_MARGINS)


def _margins(panels: Sequence[Panel], title: str, look: str) -> list[Picture]:
    """The margins along training; of running sums there are none."""
    if panels[0].history.empty:
        return []
    summary = panels[0].runs[0].summary
    which = "The stop of the first training: " if len(summary["stop_epochs"]) > 1 else "The stop: "
    text = f"{look}{which}{summary['stop_reason']}."
    return [Picture("margins", partial(suspects_figure, panels), title, text, below=True)]


def _tables(panels: Sequence[Panel]) -> list[Table]:
    tables = []
    for run in (run for panel in panels for run in panel.runs):
        tables += [*_notes(run), *list_tables(run), _yield(run), *_pairs(run), _classes(run), _basis(run)]
    return [*tables, Table("What this cannot see", ("not seen", "why"), CANNOT)]


def _undecided_tables(panels: Sequence[Panel]) -> list[Table]:
    tables = []
    for run in (run for panel in panels for run in panel.runs):
        tables += [*_notes(run), _basis(run), *ranking_tables(run)]
    return tables


def _notes(run: Run) -> list[Table]:
    notes = run.summary["notes"]
    if not notes:
        return []
    rows = tuple((str(at + 1), re.sub("`([^`]*)`", r"“\1”", note)) for at, note in enumerate(notes))
    return [Table("Read this first", (), rows)]


def _yield(run: Run) -> Table:
    """What is expected of each hundred of the list, up to the first of which nothing is."""
    rows: list[tuple[str | Cell, ...]] = []
    for entry in run.summary["yield"]:
        expected = _expected(entry)
        rows.append((f"{entry['first']} to {entry['last']}", expected))
        if expected.startswith("0 "):
            break
    text = "From the top of suspects.csv: stop reviewing where it no longer pays."
    return Table("What a review yields", ("place in the list", "expected to be wrong"), tuple(rows), text)


def _pairs(run: Run) -> list[Table]:
    """Suspects by given and suggested label: the whole matrix of few classes, the most frequent pairs of many."""
    if not run.summary["flagged"]:
        return []
    names, pairs = run.summary["classes"], run.summary["pairs"]
    title = "Suspects by given and suggested label"
    if len(names) <= MATRIX:
        counts = {(pair["given"], pair["suggested"]): pair["count"] for pair in pairs}
        matrix: list[tuple[str | Cell, ...]] = [
            (class_cell(given), *(str(counts.get((given, other), "")) for other in names)) for given in names
        ]
        text = (
            "A row a given label, a column a suggested one; where both are the same, the model accepts the "
            "label, and nothing is suggested: look, and decide yourself."
        )
        return [Table(title, ("given \\ suggested", *map(shown, names)), tuple(matrix), text)]
    rows = tuple(
        (class_cell(pair["given"]), suggestion_cell(pair["given"], pair["suggested"]), str(pair["count"]))
        for pair in pairs[:20]
    )
    return [Table(title, ("given", "suggested", "suspects"), rows, "The most frequent pairs.", sortable=True)]


def _classes(run: Run) -> Table:
    summary = run.summary
    rows = tuple(
        (class_cell(name), str(count), str(flagged), f"{wrong:.0f}")
        for name, count, flagged, wrong in zip(
            summary["classes"], summary["class_counts"], summary["class_flagged"], summary["class_wrong"], strict=True
        )
    )
    head = ("given label", "samples", "suspects", "estimated wrong")
    text = "Estimated wrong: the chances of all samples with this label, added up."
    return Table("By given label", head, rows, text, sortable=True)


def _basis(run: Run) -> Table:
    """What was trained, where it stopped, and what the number of wrong labels rests on."""
    summary = run.summary
    stops = summary["stop_epochs"]
    rows = (
        ("trained", summary["model"]),
        ("the stop", summary["stop_reason"] + f"; of the trainings in turn: {_epochs(stops)}" * (len(stops) > 1)),
        ("the number of wrong labels", summary["rate_reason"]),
        *([("the self-test", summary["self_test"]["text"])] if "self_test" in summary else []),
    )
    return Table("What this is based on", (), rows)


DECIDED = Page(
    title=TITLE,
    look=LOOK,
    pictures=_pictures,
    quotes=_quotes,
    section_tables=_tables,
    truth=False,
    words=WORDS,
    files={"suspects.csv": SUSPECTS, "history.csv": HISTORY},
)
NOT_DECIDED = Page(
    title=UNDECIDED_TITLE,
    look=UNDECIDED_LOOK,
    pictures=_undecided_pictures,
    quotes=_undecided_quotes,
    section_tables=_undecided_tables,
    truth=False,
    words=UNDECIDED_WORDS,
    files={"suspects.csv": UNDECIDED_SUSPECTS, "history.csv": HISTORY},
)


def _sections(run: Run) -> list[Section]:
    """The one section of an audit, by whether it could decide anything."""
    page = NOT_DECIDED if is_undecided(run.summary) else DECIDED
    return [Section("", run.name, page.look, page, (panel_of(run.name, [run]),))]


PAGE = replace(DECIDED, sections=_sections)
