"""The list of an audit's page: the samples that its ranking begins with, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelnoise.audit.labels import shown
from labelnoise.report.tables import NOTHING
from labelnoise.runs.files import read_json
from labelnoise.runs.pages import Cell, Table
from labelnoise.runs.reading import Run


def list_tables(run: Run) -> list[Table]:
    """The most suspicious samples, what is known of each, and its neighbours."""
    run.verify("suspects.csv", "worst.json")
    worst = read_json(run.path / "worst.json")
    if not (rows := worst["rows"]):
        return []
    shown = [name for name in ("file", "image", "fields", "neighbours") if any(name in row for row in rows)]
    words = {"file": "file", "image": "image", "fields": "sample", "neighbours": "nearest samples"}
    head = (
        worst.get("id", "index (from 0)"),
        "given",
        "suggested",
        "wrong with",
        *(words[name] for name in shown),
        "flagged",
    )
    text = (
        f"The {len(rows)} most suspicious of {run.summary['samples']:,} samples; suspects.csv holds all, its index "
        f"counts from 0. {_ask(run)} Click a heading to sort."
    )
    first, rest = (tuple(_row(row, shown) for row in part) for part in (rows[:UNFOLDED], rows[UNFOLDED:]))
    tables = [Table("What to review first", head, first, text, sortable=True, stacked=True)]
    return tables + [Table(f"The next {len(rest)}", head, rest, folded=True, sortable=True, stacked=True)] * bool(rest)


def ranking_tables(run: Run) -> list[Table]:
    """Return the first samples where nothing could be decided: their order alone, folded."""
    run.verify("suspects.csv", "worst.json")
    worst = read_json(run.path / "worst.json")
    if not (rows := worst["rows"]):
        return []
    shown = [name for name in ("file", "image", "fields") if any(name in row for row in rows)]
    words = {"file": "file", "image": "image", "fields": "sample"}
    head = (worst.get("id", "index (from 0)"), "given", "predicted", *(words[name] for name in shown))
    cells = tuple(
        (row.get("id", str(row["index"])), class_cell(row["given"]), class_cell(row["suggested"]), *_looks(row, shown))
        for row in rows
    )
    title = f"The ranking alone: its first {len(rows)} of {run.summary['samples']:,} samples; their order may be chance"
    return [Table(title, head, cells, folded=True, sortable=True, stacked=True)]


def _ask(run: Run) -> str:
    """What to do with the list."""
    if run.summary["flagged"]:
        return "Review them from the top: is the given label right, the suggested one, or neither?"
    if run.summary["rate"] is None:
        return "Where nothing is known of the number of wrong labels, their order may be chance."
    return "None of them is a suspect."


UNFOLDED = 20
"""Samples that are shown at once; the others are folded."""


def _row(row: dict[str, Any], shown: Sequence[str]) -> tuple[str | Cell, ...]:
    return (
        row.get("id", str(row["index"])), class_cell(row["given"]), suggestion_cell(row["given"], row["suggested"]),
        Cell(_percent(row["confidence"]), mark="number"), *_looks(row, shown), "yes" if row["flagged"] else "no",
    )  # fmt: skip


def _looks(row: dict[str, Any], shown: Sequence[str]) -> list[str | Cell]:
    """What is shown of a sample beside its classes."""
    cells: list[str | Cell] = []
    for name in shown:
        value = row.get(name)
        if value is None:
            cells.append("")
        elif name == "image":
            cells.append(Cell("", image=value))
        elif name == "fields":
            words = value[0][1] if len(value) == 1 else ", ".join(f"{key} {text or NOTHING}" for key, text in value)
            cells.append(Cell("", (words,)))
        elif name == "neighbours":
            cells.append(_neighbours(value, row["given"] == row["suggested"]))
        else:
            cells.append(str(value))
    return cells


def suggestion_cell(given: str, suggested: str) -> Cell:
    """The suggested class, if it is another one than the given."""
    return Cell("none", ("the model accepts the label",)) if given == suggested else class_cell(suggested)


def class_cell(name: str) -> Cell:
    """The name of a class."""
    return Cell(shown(name), mark="name")


def _percent(share: float | None) -> str:
    """A chance in words: never all or nothing by rounding."""
    if share is None:
        return NOTHING
    return "> 99%" if share > 0.995 else "< 1%" if share < 0.005 else f"{share:.0%}"


def _neighbours(near: dict[str, Any], same: bool) -> Cell:
    counts = f"{near['suggested']} of {near['number']} bear the suggested label, {near['given']} the given one"
    counts = f"{near['given']} of {near['number']} bear this label" if same else counts
    which = near.get("nearest_id", f"index {near['nearest']}")
    nearest = f"nearest with another label: {which} ({shown(near['nearest_label'])})"
    return Cell(counts, (nearest, near.get("text", "")))
