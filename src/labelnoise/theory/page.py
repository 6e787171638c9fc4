"""What the page shows of runs of the paper's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from labelnoise.record.stages import CONVERGED_LOSS
from labelnoise.report.tables import NOTHING, averages, values_at, values_at_end
from labelnoise.runs.pages import Cell, Page, Panel, Picture, Quote, Table
from labelnoise.theory.figures import simulation_figure
from labelnoise.theory.findings import FAILS, HOLDS, count_verdicts
from labelnoise.theory.scales import REGIME

STOPS = {
    "at": "step",
    "test_error_seen": "seen-noise error",
    "test_error_perturbed": "perturbed-noise error",
    "test_error_fresh": "fresh-noise error",
    "accuracy_clean": "clean fitted",
    "accuracy_noisy": "noisy fitted",
    "selection_precision": "precision",
    "selection_recall": "recall",
    "selection_f1": "F1",
}

LOOK = (
    "What to look for: does signal lead at first, and do the noise patches of noisy samples overtake it after T1? "
    "Does the accuracy on noisy samples, against their wrong labels, stay at 0 until then?"
)

WORDS = {
    "Window": (
        "the steps around T1 at which every clean sample is fitted and every noisy one rejected. T1 is the step among "
        "them at which both are clearest, by the sample that is least so; the window goes on after it."
    ),
    "Seen noise": "a training noise patch with a fresh true label; the error is exact.",
    "Perturbed noise": "the same plus Gaussian noise, the paper's test distribution.",
    "Fresh noise": (
        "a new noise patch. Perturbed and fresh errors are sampled; where no draw was wrong the table gives the 95% "
        "upper bound, 3 over the number of draws."
    ),
    "Held-out samples": "have noise patches of their own, so that the held-out rule watches the error on fresh noise.",
}


def _quotes(panel: Panel) -> list[Quote]:
    """What Stage I is and is worth, and the claims; the rest is for runs that lack some of it."""
    first = [_t1(panel), _errors(panel), _decided(panel), _found(panel), _window(panel)]
    return [*first, _convergence(panel), _held_out(panel), _coefficients(panel)]


def _t1(panel: Panel) -> Quote:
    label, at = "T1, where Stage I ends", values_at(panel, "oracle", "at")
    rows = panel.stops[panel.stops["rule"] == "oracle"]
    if at.empty:
        return Quote(label, NOTHING, rows["reason"].iloc[0])
    (step,), seeds = averages([at], ".0f")
    lost = len(rows) - len(at)
    return Quote(label, f"step {step}", seeds + f"; {lost} of {len(rows)} seeds have no Stage I" * (lost > 0))


def _errors(panel: Panel) -> Quote:
    """At T1 and at the end, of the seeds that have a T1."""
    stops = panel.stops
    with_t1 = stops.loc[(stops["rule"] == "oracle") & stops["at"].notna(), "seed"]
    same = replace(panel, stops=stops[stops["seed"].isin(with_t1)]) if len(with_t1) else panel
    (before, after), seeds = averages([values_at(same, at, "test_error_seen") for at in ("oracle", "last")], ".1%")
    (fresh,), _ = averages([values_at(same, "last", "test_error_fresh")], ".1%")
    on_fresh = f"; on fresh noise {fresh} at the end" if fresh != NOTHING else ""
    value = f"{before} → {after}" if before != NOTHING else f"{after} at the end" if after != NOTHING else NOTHING
    return Quote("Test error at T1 and at the end", value, f"on seen noise, {seeds}{on_fresh}")


def _decided(panel: Panel) -> Quote:
    """How many of the claims that hold or fail hold."""
    counts = count_verdicts([check["verdict"] for check in panel.runs[0].summary["checks"]])
    value = f"{counts.holds} of {counts.decided}" if counts.decided else NOTHING
    others = f"{counts.undecided} more cannot be decided (an unknown constant, a premise that fails)"
    return Quote("Claims of the paper that hold", value, f"of those that hold or fail here; {others}")


def _found(panel: Panel) -> Quote:
    label = "Wrong labels a negative margin finds at T1"
    at_t1 = [values_at(panel, "oracle", f"selection_{name}") for name in ("recall", "precision")]
    if at_t1[0].empty:
        return Quote(label, NOTHING, "there is no T1")
    (recall, precision), seeds = averages(at_t1, ".1%")
    (left,), _ = averages([values_at(panel, "last", "selection_recall")], ".1%")
    words = f"recall and precision, {seeds}; recall at the end {left}"
    return Quote(label, f"{recall} found, {precision} right", words)


def _window(panel: Panel) -> Quote:
    label, windows = "Window of Stage I", [stage["window"] for stage in _stages_of(panel) if stage["window"]]
    if not windows:
        return Quote(label, NOTHING, "there is no Stage I")
    (first, last), seeds = averages([pd.Series(ends, dtype=float) for ends in zip(*windows, strict=True)], ".0f")
    return Quote(label, f"steps {first} to {last}", f"every clean sample fitted, every noisy one rejected; {seeds}")


def _convergence(panel: Panel) -> Quote:
    steps = pd.Series([stage["convergence"] for stage in _stages_of(panel)], dtype=float)
    (step,), seeds = averages([steps], ".0f")
    value = NOTHING if step == NOTHING else f"step {step}"
    return Quote("Convergence", value, f"loss at most {CONVERGED_LOSS} (hinge: 0), every given label fitted; {seeds}")


def _held_out(panel: Panel) -> Quote:
    (accuracy,), seeds = averages([values_at_end(panel, "held_out_accuracy")], ".1%")
    return Quote("Held-out accuracy at the end", accuracy, f"given labels, fresh noise; {seeds}")


def _coefficients(panel: Panel) -> Quote:
    (signal, noise), seeds = averages([values_at_end(panel, name) for name in ("gamma_max", "rho_clean_max")], ".2f")
    return Quote("Largest signal coefficient at the end", signal, f"of noise patches of clean samples {noise}; {seeds}")


def _stages_of(panel: Panel) -> Sequence[Mapping[str, Any]]:
    return panel.runs[0].summary["stages"]


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    others = {panel.title: panel.runs[0].summary.get("departures", ()) for panel in panels if panel.runs}
    texts = [f"{title} departs from the paper by: {'; '.join(words)}." for title, words in others.items() if words]
    title = "Beyond the paper" if texts else ""
    return [Picture("curves", partial(simulation_figure, panels), title, " ".join(texts))]


def _stages(panels: Sequence[Panel]) -> list[Table]:
    """For each panel and seed: window, T1, where signal leads, onset, convergence."""
    head = ("run", "seed", "window of Stage I", "T1", "signal leads", "onset of Stage II", "convergence", "")
    rows = [
        (
            panel.title,
            str(stage["seed"]),
            *(_span(stage[name]) for name in ("window", "t1", "lead", "onset", "convergence")),
            stage["reason"],
        )
        for panel in panels
        for stage in _stages_of(panel)
    ]
    return [Table("The stages of each seed", head, tuple(rows), folded=True)]


def _span(steps: int | Sequence[int] | None) -> str:
    """A step, or the first and the last one."""
    if steps is None:
        return "–"
    return str(steps) if isinstance(steps, int) else f"{steps[0]} to {steps[1]}"


def _conditions(panels: Sequence[Panel]) -> Table:
    """The quantities of the paper's conditions as numbers, a column a run."""
    summaries = [panel.runs[0].summary for panel in panels]
    rows = [(name, regime, *(_short(s["conditions"][name]) for s in summaries)) for name, regime in REGIME.items()]
    for name, key in (("n m / (eta sigma_xi^2 d), the scale of T1", "stage_one_scale"), ("zeta_std", "zeta_std")):
        rows.append((name, "", *(_short(summary[key]) for summary in summaries)))
    return Table(
        "The paper's conditions, as numbers",
        ("", "in the paper's regime", *(panel.runs[0].name for panel in panels)),
        tuple(rows),
        "Their constants are unspecified, so none of these is a pass. zeta_std is the noise added to a "
        "perturbed patch.",
    )


def _short(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"


def _claims(panels: Sequence[Panel]) -> Table:
    """The claims, a column a run."""
    runs = [{check["claim"]: check for check in panel.runs[0].summary["checks"]} for panel in panels]
    rows = tuple(
        (Cell(claim, (first["statement"],), "name"), *(_verdict(checks[claim]) for checks in runs))
        for claim, first in runs[0].items()
    )
    return Table(
        "The paper's claims",
        ("claim", *(panel.runs[0].name for panel in panels)),
        rows,
        "A verdict covers only what has no unknown constant. Where a claim has one, the verdict is “constant only” and "
        "the table gives the constant that the run implies. “Premise fails” says that the claim does not speak of "
        "this case, “not measured” that what it compares is not known, or not well enough. Numbers are medians "
        "over seeds.",
    )


NUMBERS = {"measured": "measured", "bound": "against", "constant": "implied constant"}
"""The numbers of a check, and how the table calls them."""


def _verdict(check: Mapping[str, Any]) -> Cell:
    numbers = [
        f"{label} {check[name]:.3g}"
        for name, label in NUMBERS.items()
        if check[name] is not None and not (name == "measured" and check[name] == check["constant"])
    ]
    mark = check["verdict"] if check["verdict"] in (HOLDS, FAILS) else "not"
    return Cell(check["verdict"], (", ".join(numbers), check["reason"]), mark)


PAGE = Page(
    title="The paper's model: its stages, and which claims hold",
    look=LOOK,
    pictures=_pictures,
    quotes=_quotes,
    stops=STOPS,
    section_tables=_stages,
    page_tables=lambda panels: [_conditions(panels), _claims(panels)],
    words=WORDS,
)
