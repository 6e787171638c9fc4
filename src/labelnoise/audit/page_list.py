"""The list on an audit's page: what its ranking begins with, what is known of each sample, and cells of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelnoise.audit.chances import MOST
from labelnoise.audit.labels import shown
from labelnoise.report.tables import NOTHING
from labelnoise.runs.files import read_json
from labelnoise.runs.pages import Cell, Table
from labelnoise.runs.reading import Run


def list_tables(run: Run) -> list[Table]:
    """The most suspicious samples, what is known of each, and its neighbours."""
    run.verify("suspects.csv", "worst.json")
    worst = read_json(run.path / "worst.json")
    rows, (named, name) = worst["rows"], _named(worst)
    looks = [part for part in LOOKS if any(part in row for row in rows)]
    head = (name, "given", "suggested", "confidence", *(LOOKS[part] for part in looks), "flagged")
    text = (
        f"The {len(rows)} most suspicious of {run.summary['samples']:,} samples; suspects.csv holds all, its index "
        f"counts from 0. {_ask(run)}{_alike(rows)} Click a heading to sort."
    )
    first, rest = (tuple(_row(row, named, looks) for row in part) for part in (rows[:UNFOLDED], rows[UNFOLDED:]))
    tables = [Table("What to review first", head, first, text, sortable=True, stacked=True)]
    return tables + [Table(f"The next {len(rest)}", head, rest, folded=True, sortable=True, stacked=True)] * bool(rest)


def ranking_tables(run: Run) -> list[Table]:
    """Return the first samples where nothing could be decided: their order alone, folded."""
    run.verify("suspects.csv", "worst.json")
    worst = read_json(run.path / "worst.json")
    if not (rows := worst["rows"]):
        return []
    named, name = _named(worst)
    looks = [part for part in ("image", "fields") if any(part in row for row in rows)]
    head = (name, "given", "predicted", *(LOOKS[part] for part in looks))
    cells = tuple(
        (str(row[named]), class_cell(row["given"]), class_cell(row["suggested"]), *_looks(row, looks)) for row in rows
    )
    title = f"The ranking alone: its first {len(rows)} of {run.summary['samples']:,} samples; their order may be chance"
    return [Table(title, head, cells, folded=True, sortable=True, stacked=True)]


LOOKS = {"image": "image", "fields": "sample", "neighbours": "nearest samples"}
"""What may be shown of a sample beside its classes, and the headings."""


def _named(worst: dict[str, Any]) -> tuple[str, str]:
    """What names the samples, and its heading: a column of the table, their files, else their place in the data."""
    if "id" in worst:
        return "id", worst["id"]
    return ("file", "file") if "file" in worst["rows"][0] else ("index", "index")


def _alike(rows: Sequence[dict[str, Any]]) -> str:
    """What to know of the largest chance, where several samples have it."""
    alike = sum(row["confidence"] >= MOST for row in rows) > 1
    words = f" No chance above {100 * MOST:.0f}% is given; of the samples that have it the first are the surest."
    return words * alike


def _ask(run: Run) -> str:
    """What to do with the list."""
    if run.summary["flagged"]:
        return "Review them from the top: is the given label right, the suggested one, or neither?"
    if run.summary["rate"] is None:
        return "Where nothing is known of the number of wrong labels, their order may be chance."
    return "None of them is a suspect."


UNFOLDED = 20
"""Samples that are shown at once; the others are folded."""


def _row(row: dict[str, Any], named: str, looks: Sequence[str]) -> tuple[str | Cell, ...]:
    return (
        str(row[named]), class_cell(row["given"]), suggestion_cell(row["given"], row["suggested"]),
        Cell(_percent(row["confidence"]), mark="number"), *_looks(row, looks), "yes" if row["flagged"] else "no",
    )  # fmt: skip


def _looks(row: dict[str, Any], looks: Sequence[str]) -> list[str | Cell]:
    """What is shown of a sample beside its classes."""
    cells: list[str | Cell] = []
    for name in looks:
        value = row.get(name)
        if value is None:
            cells.append("")
        elif name == "image":
            cells.append(Cell("", image=value))
        elif name == "fields":
            words = value[0][1] if len(value) == 1 else ", ".join(f"{key} {text or NOTHING}" for key, text in value)
            cells.append(Cell("", (words,)))
        else:
            cells.append(_neighbours(value, row["given"] == row["suggested"]))
    return cells


def suggestion_cell(given: str, suggested: str) -> Cell:
    """The suggested class, if it is another one than the given."""
    return Cell("none", ("the model accepts the label",)) if given == suggested else class_cell(suggested)


def class_cell(name: str) -> Cell:
    """The name of a class."""
    return Cell(shown(name), mark="name")


def _percent(share: float) -> str:
    """A chance in words: never nothing by rounding."""
    return "< 1%" if share < 0.005 else f"{share:.0%}"


def _neighbours(near: dict[str, Any], same: bool) -> Cell:
    counts = f"{near['suggested']} of {near['number']} bear the suggested label, {near['given']} the given one"
    counts = f"{near['given']} of {near['number']} bear this label" if same else counts
    which = near.get("nearest_id", f"index {near['nearest']}")
    nearest = f"nearest with another label: {which} ({shown(near['nearest_label'])})"
    return Cell(counts, (nearest, near.get("text", "")))
