"""What the page shows of an audit: how many labels are wrong, what to review first, and what it cannot see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from labelnoise.audit.experiment import MATRIX
from labelnoise.audit.figures import suspects_figure
from labelnoise.audit.labels import shown
from labelnoise.report.tables import NOTHING
from labelnoise.runs.files import read_json
from labelnoise.runs.pages import Cell, Page, Panel, Picture, Quote, Table
from labelnoise.runs.reading import Run

MARGINS = (
    "What to look for: before the stop the suspects lie below 0, where the model rejects their given label, and the "
    "rest above; suspects that rise later are memorised, and those that were held out stay below. "
)

HELD = (
    "held the true number in 89 to 99 % of audits where that is known, in fewer where a model errs a lot: "
    "docs/detection.md"
)
"""How often the interval holds what it should: the least and the largest share of two halves of 72 audits."""

CANNOT = (
    ("Wrong labels that are the rule in a part of a class", "The model learns them as if they were right: no label "
     "there looks wrong. Look at some samples of each class yourself."),
    ("Wrong labels that are learnt early", "Errors that follow a pattern that it finds easy (a watermark, a word, "
     "a source) are fitted before the stop."),
    ("Right labels of rare or hard samples", "The model errs on them, and some are flagged: a suspect is to be "
     "reviewed, not deleted."),
    ("Classes that overlap", "Where the samples do not tell the classes apart, right labels contradict the model, too, "
     "and count as wrong: where much is contradicted the interval begins at none, and the number may be too high."),
    ("More wrong labels than right ones", "Then the model learns the wrong ones, and wrong and right look alike."),
    ("Samples that belong to no class, or to several", "One of the classes is suggested all the same."),
)  # fmt: skip
"""What an audit does not see, and why."""


def _quotes(panel: Panel) -> list[Quote]:
    summary = panel.runs[0].summary
    n = summary["samples"]
    if summary["rate"] is None:
        wrong = Quote("Estimated wrong labels", NOTHING, "nothing can be said of their number; see the notes")
    else:
        count, low, high = (round(value) for value in summary["wrong"])
        interval = f"90 % interval {low:,} to {high:,} ({HELD})"
        words = f"{summary['rate']:.1%} of {n:,}, from {summary['rate_reason']}; {interval}"
        wrong = Quote("Estimated wrong labels", f"{count:,}", words)
    undecided = summary["rate"] is None and not summary["flagged"]
    share = f"{summary['flagged'] / max(n, 1):.1%} of the samples"
    flagged = Quote("Suspects", f"{summary['flagged']:,}", "none where nothing is known" if undecided else share)
    first = summary["yield"][0] if summary["yield"] else {"first": 1, "last": 100, "expected": None}
    review = Quote(
        f"Expected to be wrong among the first {first['last']}", _expected(first), "if you review the list from its top"
    )
    stops = ", ".join(map(str, sorted(set(summary["stop_epochs"])))) or NOTHING
    stop = Quote("The stop", stops, f"what comes later may be memorised; {summary['model']}")
    return [wrong, flagged, review, stop, *_tested(summary.get("self_test"))]


def _expected(entry: dict[str, Any]) -> str:
    """How many of a part of the list are expected to be wrong."""
    count = entry["last"] - entry["first"] + 1
    return NOTHING if entry["expected"] is None else f"{count * entry['expected']:.0f} of {count}"


def _tested(test: dict[str, Any] | None) -> list[Quote]:
    """What the self-test found, where there was one."""
    if test is None:
        return []
    if test["recall"] is None:
        return [Quote("Planted flips found", NOTHING, test["text"])]
    words = (
        f"{test['flagged']:,} of {test['planted']:,} labels flipped on purpose were flagged, average precision "
        f"{test['average_precision']:.2f}: an optimistic bound, since random flips are easier to find than real "
        "mistakes"
    )
    return [Quote("Planted flips found", f"{test['recall']:.0%}", words)]


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    summary = panels[0].runs[0].summary
    which = "The stop of the first training: " if len(summary["stop_epochs"]) > 1 else "The stop: "
    reason = which + summary["stop_reason"]
    return [
        Picture(
            "margins", partial(suspects_figure, panels), "Suspects along training", MARGINS + reason + ".", below=True
        )
    ]


def _tables(panels: Sequence[Panel]) -> list[Table]:
    tables = []
    for run in (run for panel in panels for run in panel.runs):
        tables += [*_notes(run), *_worst(run), *_yield(run), *_pairs(run), _classes(run), _basis(run)]
    return [*tables, Table("What this cannot see", ("not seen", "why"), CANNOT)]


def _notes(run: Run) -> list[Table]:
    notes = run.summary["notes"]
    if not notes:
        return []
    rows = tuple((str(at + 1), re.sub("`([^`]*)`", r"“\1”", note)) for at, note in enumerate(notes))
    return [Table("Read this first", ("", "note"), rows)]


def _worst(run: Run) -> list[Table]:
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
    cells: list[str | Cell] = [
        row.get("id", str(row["index"])), _class(row["given"]), _suggestion(row["given"], row["suggested"]),
        Cell(_percent(row["confidence"]), mark="number"),
    ]  # fmt: skip
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
    return (*cells, "yes" if row["flagged"] else "no")


def _suggestion(given: str, suggested: str) -> Cell:
    """The suggested class, if it is another one than the given."""
    return Cell("none", ("the model accepts the label",)) if given == suggested else _class(suggested)


def _class(name: str) -> Cell:
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


def _yield(run: Run) -> list[Table]:
    """What is expected of each hundred of the list, up to the first of which nothing is."""
    rows: list[tuple[str | Cell, ...]] = []
    for entry in run.summary["yield"]:
        if entry["expected"] is None:
            return []
        expected = _expected(entry)
        rows.append((f"{entry['first']} to {entry['last']}", expected))
        if expected.startswith("0 "):
            break
    text = "From the top of suspects.csv: stop reviewing where it no longer pays."
    return [Table("What a review yields", ("place in the list", "expected to be wrong"), tuple(rows), text)]


def _pairs(run: Run) -> list[Table]:
    """Suspects by given and suggested label: the whole matrix of few classes, the most frequent pairs of many."""
    if not run.summary["flagged"]:
        return []
    names, pairs = run.summary["classes"], run.summary["pairs"]
    title = "Suspects by given and suggested label"
    if len(names) <= MATRIX:
        counts = {(pair["given"], pair["suggested"]): pair["count"] for pair in pairs}
        matrix: list[tuple[str | Cell, ...]] = [
            (_class(given), *(str(counts.get((given, other), "")) for other in names)) for given in names
        ]
        text = (
            "A row a given label, a column a suggested one; where both are the same, the model accepts the "
            "label, and nothing is suggested: look, and decide yourself."
        )
        return [Table(title, ("given \\ suggested", *map(shown, names)), tuple(matrix), text)]
    rows = tuple(
        (_class(pair["given"]), _suggestion(pair["given"], pair["suggested"]), str(pair["count"]))
        for pair in pairs[:20]
    )
    return [Table(title, ("given", "suggested", "suspects"), rows, "The most frequent pairs.", sortable=True)]


def _classes(run: Run) -> Table:
    summary = run.summary
    rows = tuple(
        (_class(name), str(count), str(flagged), NOTHING if wrong is None else f"{wrong:.0f}")
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
    stops = ", ".join(map(str, summary["stop_epochs"]))
    rows = (
        ("trained", summary["model"]),
        ("the stop", summary["stop_reason"] + f"; of each training: {stops}" * (len(summary["stop_epochs"]) > 1)),
        ("the number of wrong labels", summary["rate_reason"]),
        *([("the self-test", summary["self_test"]["text"])] if "self_test" in summary else []),
    )
    return Table("What this is based on", ("", ""), rows)


WORDS = {
    "Suspect": "a flagged sample: one of the most suspicious, as many as labels are estimated to be wrong, unless "
    "another decision was asked for.",
    "Wrong with": "the estimated chance that the given label is wrong; over all samples they add up to the estimated "
    "number of wrong labels.",
    "Held out": "not trained on, so that a wrong label cannot have been memorised.",
    "The stop": "the epoch (the stage of boosting, else the pass over the data) at which the loss of held-out samples "
    "is least: what is learnt later may be memorised.",
    "Margin": "how far the given label leads before the best other class, in log-odds; below 0 the model predicts that "
    "one.",
}
SUSPECTS = {
    "": "a row a sample, the most suspicious first",
    "index": "its position in the data, from 0",
    "given, suggested": "its label, and the class that the model predicts around the stop: the same where it accepts "
    "the label",
    "score": "larger is more suspicious",
    "confidence": "the estimated chance that the given label is wrong",
    "flagged": "whether it is a suspect",
    "file": "its file, where there is one",
    "the last": "what names it, where a column of the table does, under the name of that column (and with _in_data "
    "behind it where one above has this name)",
}
HISTORY = {
    "": "a row an epoch, pass or stage",
    "suspects_low, suspects_median, suspects_high": "5 %, 50 % and 95 % quantile of the suspects' margins",
    "rest_low, rest_median, rest_high": "the same of all others",
}
PAGE = Page(
    title="Which labels are probably wrong",
    look="Labels that a model rejects before it memorises them are probably wrong.",
    pictures=_pictures,
    quotes=_quotes,
    section_tables=_tables,
    truth=False,
    words=WORDS,
    files={"suspects.csv": SUSPECTS, "history.csv": HISTORY},
)
