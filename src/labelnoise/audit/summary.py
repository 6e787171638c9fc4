"""What an audit found, as its summary holds it and in the words of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from labelnoise.audit.judging import Verdict
    from labelnoise.audit.rates import Rates
    from labelnoise.runs.reading import Run

MATRIX = 12
"""Classes up to which the page shows the whole matrix; of more, the most frequent pairs."""


def summarise(verdict: Verdict, names: list[str], model: str, notes: tuple[str, ...]) -> dict[str, Any]:
    """Return what `summary.json` holds: the estimates, and counts by class."""
    rates, flagged, seen = verdict.rates, verdict.flagged, verdict.given >= 0
    k = len(names)
    pairs = pd.DataFrame({"given": verdict.given[flagged], "suggested": verdict.suggested[flagged]})
    counted = pairs.value_counts().reset_index(name="count")
    n = int(seen.sum())
    ranked = np.sort(verdict.confidence[seen])[::-1]
    return {
        "status": "ok",
        "text": _lead(rates, n, int(flagged.sum()), not verdict.decided) + _undoing(notes) * verdict.decided,
        "samples": n,
        "flagged": int(flagged.sum()),
        "rate": rates.rate,
        "rate_interval": [rates.low, rates.high],
        "wrong": rates.rate * n,
        "wrong_interval": [rates.low * n, rates.high * n],
        "rate_reason": rates.reason,
        "transition": rates.transition if k <= MATRIX else None,
        "transition_interval": [rates.transition_low, rates.transition_high] if k <= MATRIX else None,
        "classes": names,
        "class_counts": np.bincount(verdict.given[seen], minlength=k),
        "class_flagged": np.bincount(verdict.given[flagged], minlength=k),
        "class_wrong": [float(verdict.confidence[seen & (verdict.given == c)].sum()) for c in range(k)],
        "pairs": [
            {"given": names[given], "suggested": names[suggested], "count": int(count)}
            for given, suggested, count in counted.head(MATRIX * MATRIX).itertuples(index=False)
        ],
        "yield": [
            {"first": at + 1, "last": min(at + 100, n), "expected": float(ranked[at : at + 100].mean())}
            for at in range(0, min(n, 1000), 100)
        ],
        "stop_epochs": list(verdict.stops),
        "stop_reason": verdict.reason,
        "model": model,
        "notes": list(notes),
    }


def _lead(rates: Rates, n: int, flagged: int, undecided: bool) -> str:
    """The first sentence of the page."""
    if undecided:
        return f"Nothing can be decided about these {n:,} labels; the notes say why."
    if not rates.known:
        return f"{flagged:,} of {n:,} labels look wrong; how many are is not estimated: {rates.reason}."
    wrong, low, high = (round(rate * n) for rate in (rates.rate, rates.low, rates.high))
    interval = f"90% interval {low:,} to {high:,}" + ", so perhaps none" * (wrong > 0 and low == 0)
    none = "Probably none" if rates.high < OPEN else "Perhaps none, perhaps many"
    lead = (
        f"About {wrong:,} of {n:,} labels {'is' if wrong == 1 else 'are'} wrong ({rates.rate:.1%}; {interval})"
        if wrong
        else f"{none} of {n:,} labels {'is' if rates.high < OPEN else 'are'} wrong ({interval})"
    )
    return f"{lead}; flagged as suspects: {flagged:,}."


def _undoing(notes: Sequence[str]) -> str:
    """A sentence for each note that may undo the estimate: classes spelt in two ways, columns in another order."""
    named = (note.partition(end)[0] for note in notes for start, end in UNDOING.items() if note.startswith(start))
    return "".join(f" Note that {what}; see the notes." for what in named)


OPEN = 0.1
"""An upper end of the interval from which on an estimate of none says little."""
UNDOING = {
    "classes that differ only in spaces or case": "; where they mean the same",
    "the columns of the outputs seem to stand in another order": ": taken for",
}
"""How notes begin that may undo the estimate, and where what they say ends."""


def is_undecided(summary: Mapping[str, Any]) -> bool:
    """Whether an audit could decide nothing, so that no sample has a chance to be wrong."""
    return all(entry["expected"] is None for entry in summary["yield"])


def describe_audit(run: Run) -> list[str]:
    """Return what the command says in the end: the estimate, what a reader must know, and where the list is."""
    tested = run.summary.get("self_test")
    notes = [f"note: {note}" for note in run.summary["notes"]]
    where = f"list: {run.path / 'suspects.csv'}" + "; a ranking alone, whose order may be chance" * is_undecided(
        run.summary
    )
    return [run.summary["text"], *([tested["text"]] if tested else []), *notes, where]
