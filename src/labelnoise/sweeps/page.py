"""What the page shows of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from xarray import DataArray, Dataset

from labelnoise.errors import counted
from labelnoise.runs.pages import Page, Picture, Section, Table, panel_of
from labelnoise.runs.reading import Run
from labelnoise.sweeps.axes import side_of
from labelnoise.sweeps.contours import DASHES
from labelnoise.sweeps.dataset import FILE, POINT, REFINED, SEED, read_dataset
from labelnoise.sweeps.execution import duration
from labelnoise.sweeps.figures import errors_map, points_figure, seeds_of, stages_curve, stages_map
from labelnoise.sweeps.quantities import (
    ERRORS,
    SHARE,
    STAGES,
    THEORY,
    TIMES,
    completed,
    error_quantities,
    known_errors,
    power_law,
    theory_lines,
)
from labelnoise.theory.cells import AT_T1

MOST_MAPS = 6
"""Most pairs of axes of which maps are drawn."""

STAGES_TEXT = (
    "Where is there a Stage I, and how does T1 compare with its scale n m / (eta sigma_xi^2 d)? Numbers are means over "
    "the seeds that have one; a window that the run's end cuts short counts as it is."
)
ERRORS_TEXT = (
    "What is the network worth at T1, and after training to the last step? The gain is the mean of the difference over "
    "the seeds with a Stage I; the last step counts all seeds."
)
CURVES_TEXT = (
    "Lines are means over the seeds, bands hold the middle 80% of them; the band of the share is its 95% interval. "
    "At T1 and for the stages only seeds with a Stage I count."
)
WORDS = {
    "Stage I": (
        "there is a step at which every clean sample is fitted and every noisy one is classified by its true label; T1 "
        "is the step at which this holds by the largest margin."
    ),
    "Test errors": (
        "seen noise: a training noise patch with a fresh true label; perturbed: the same plus Gaussian noise; fresh: a "
        "new noise patch; all against the true label, or against a label flipped like those of training."
    ),
}


def _sections(run: Run) -> Sequence[Section]:
    kept = read_dataset(run.result(FILE))
    dataset = completed(kept)
    refined = completed(read_dataset(run.path / FILE, REFINED)) if len(run.summary["cells"]) > 1 else None
    page = Page(
        title="The paper's model: where there is a Stage I, and what it is worth",
        pictures=lambda panels: pictures_of(dataset, refined),
        section_tables=lambda panels: [*_laws(dataset), _swept(dataset)],
        words=WORDS,
        files={FILE: _contents(kept)},
    )
    return [Section("", run.name, _summary(run), page, (panel_of(run.name, [run]),))]


def pictures_of(dataset: Dataset, refined: Dataset | None) -> list[Picture]:
    """Return maps of two axes, cuts through more, curves of one, points as they lie."""
    kinds = known_errors(dataset)
    if POINT in dataset.dims:
        return _scattered(dataset, kinds)
    axes = [str(name) for name in dataset.dims if name != SEED]
    if len(axes) < 2:
        if not axes:
            return []
        draw = partial(stages_curve, dataset, axes[0], kinds)
        return [Picture("curves", draw, f"Stages and errors against {axes[0]}", CURVES_TEXT)]
    pictures = []
    for x, y in list(combinations(axes, 2))[:MOST_MAPS]:
        others = [axis for axis in axes if axis not in (x, y)]
        cut, words = _cut(dataset, others)
        words = _lines(cut, (x, y)) + _never(cut, (x, y)) + words
        near = _cut_points(refined, cut, others)
        end = "" if len(axes) == 2 else f"-{x}-{y}"
        stages, errors = partial(stages_map, cut, (x, y), near), partial(errors_map, cut, (x, y), kinds)
        if any(quantity.known(cut) for quantity in STAGES):
            pictures.append(Picture(f"stages{end}", stages, f"Stage I over {x} and {y}", STAGES_TEXT + words))
        if kinds:
            pictures.append(Picture(f"errors{end}", errors, f"Test errors over {x} and {y}", ERRORS_TEXT + words))
    return pictures


def _scattered(dataset: Dataset, kinds: Sequence[str]) -> list[Picture]:
    axes = [str(name) for name, values in dataset.coords.items() if values.dims == (POINT,)]
    pairs = list(combinations(axes, min(len(axes), 2)))[:MOST_MAPS]
    errors = [replace(error_quantities(kind)[1], title=f"error, {ERRORS[kind]}, at the last step") for kind in kinds]
    shown, title = [SHARE, *errors[-2:-1]], "Stage I and test error at the points"
    text = f"Each point is one draw of the parameters, with {seeds_of(dataset)}, grey where nothing can be said."
    return [Picture("points", partial(points_figure, dataset, pairs, shown), title, text)]


def _cut(dataset: Dataset, others: Sequence[str]) -> tuple[Dataset, str]:
    """The dataset at the middle value of the other axes, and the words that say so."""
    middle = {axis: dataset.sizes[axis] // 2 for axis in others}
    cut = dataset.isel(middle)
    values = [f"{axis} = {cut[axis].item():g}" for axis in others]
    return cut, f" This is the cut at {', '.join(values)}." if values else ""


def _lines(cut: Dataset, axes: tuple[str, str]) -> str:
    """The words that say which quantities have lines on a map."""
    shown = [f"{THEORY[name][1]} ({dash})" for name, dash in zip(theory_lines(cut, axes), DASHES, strict=False)]
    return f" Lines of equal {' and '.join(shown)} bear its value." if shown else ""


def _never(cut: Dataset, axes: tuple[str, str]) -> str:
    """The words that say what never means on a map."""
    late = [axis for axis in axes if side_of(cut, axis).late]
    return f" Never: {' and '.join(late)} at the last step or later." if late else ""


def _cut_points(refined: Dataset | None, cut: Dataset, others: Sequence[str]) -> Dataset | None:
    """The refined cells that lie in a cut."""
    if refined is None:
        return None
    for axis in others:
        refined = refined.isel({POINT: refined[axis].values == cut[axis].item()})
    return refined if refined.sizes[POINT] else None


def _summary(run: Run) -> str:
    summary, (cells, *added) = run.summary, run.summary["cells"]
    more = f" and {added[0]:,} along the boundary of Stage I" if added else ""
    lost = f"; {summary['diverged']:,} of them diverged" if summary["diverged"] else ""
    runs = f"{counted(summary['runs'], 'run')}{lost}"
    return f"{counted(cells, 'cell')}{more}, {runs}, in {duration(summary['seconds'])} of one core."


def _laws(dataset: Dataset) -> list[Table]:
    """Power laws of the stages in their scale, where that is swept over a decade or more."""
    scale = dataset.stage_one_scale
    if scale.max() < 10 * scale.min() or not any(of(dataset).notnull().any() for _, of in TIMES.values()):
        return []
    rows = []
    for words, of in TIMES.values():
        steps = of(dataset)
        law = power_law(scale.broadcast_like(steps).values.ravel(), steps.values.ravel())
        if law:
            (slope, half), (ratio, factor) = law.slope, law.ratio
            span = f"{ratio:.3g} [{ratio / factor:.3g}, {ratio * factor:.3g}]"
            rows.append((words, f"{slope:.3f} ± {half:.3f}", span, f"{law.runs:,}"))
    head = ("", "slope", "ratio to the scale", "runs")
    about = "Fitted to the logarithms over all runs that have the step; with 95% intervals. The theory has slope 1."
    return [Table("Times against n m / (eta sigma_xi^2 d)", head, tuple(rows), about)]


def _swept(dataset: Dataset) -> Table:
    rows = [(str(name), values.attrs["long_name"], _listed(values)) for name, values in dataset.coords.items()]
    return Table("What was swept", ("parameter", "meaning", "values"), tuple(rows))


def _listed(values: DataArray) -> str:
    numbers = values.values.ravel()
    if numbers.size > 8:
        return f"{numbers.size} from {numbers.min():g} to {numbers.max():g}"
    return ", ".join(f"{number:g}" for number in numbers)


def _contents(dataset: Dataset) -> dict[str, str]:
    """What the file holds, for the page."""
    names = [str(name) for name in dataset.data_vars if not str(name).endswith(AT_T1)]
    meanings = {
        f"{name} ({', '.join(map(str, dataset[name].dims))})": dataset[name].attrs["long_name"] for name in names
    }
    about = f"the results as NetCDF; xarray.open_dataset reads it. A name with the suffix {AT_T1} is the same at T1"
    return {"": about, **meanings}


PAGE = Page(sections=_sections)
