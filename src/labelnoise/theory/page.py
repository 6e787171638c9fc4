"""What the page shows of runs of the paper's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from labelnoise.runs.pages import Cell, Page, Panel, Picture, Table
from labelnoise.theory.figures import simulation_figure
from labelnoise.theory.scales import REGIME

STOPS = {
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
}

LOOK = (
    "What to look for: does signal lead at first, and do the noise patches of noisy samples overtake it after T1? "
    "Does the accuracy on noisy samples, against their wrong labels, stay at 0 until then?"
)

WORDS = {
    "Seen noise": "a training noise patch with a fresh true label; the error is exact.",
    "Perturbed noise": "the same plus Gaussian noise, the paper's test distribution.",
    "Fresh noise": (
        "a new noise patch. Perturbed and fresh errors are sampled; where no draw was wrong the table gives the 95 % "
        "upper bound, 3 over the number of draws."
    ),
}


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    return [Picture("curves", partial(simulation_figure, panels))]


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
        for stage in panel.runs[0].summary["stages"]
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
        ("", "in the paper's regime", *(panel.runs[0].path.name for panel in panels)),
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
        ("claim", *(panel.runs[0].path.name for panel in panels)),
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
    mark = check["verdict"] if check["verdict"] in ("holds", "fails") else "not"
    return Cell(check["verdict"], (", ".join(numbers), check["reason"]), mark)


PAGE = Page(
    look=LOOK,
    pictures=_pictures,
    stops=STOPS,
    section_tables=_stages,
    page_tables=lambda panels: [_conditions(panels), _claims(panels)],
    words=WORDS,
)
