"""The experiment of a sweep: one config in, one run directory with `sweep.nc` out; and what such runs are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer, check_progress, counted, described, is_number
from labelnoise.runs.folders import RunFolder, delete_transient, open_run
from labelnoise.runs.kinds import Kind, Outcome, Progress
from labelnoise.runs.pages import Page
from labelnoise.runs.places import flags_of, read_settings
from labelnoise.runs.reading import Run, read_run
from labelnoise.runs.setting_types import check_types
from labelnoise.sweeps.chunks import FOLDER, Finished, Store
from labelnoise.sweeps.execution import Execution, Work, workers_of
from labelnoise.sweeps.grid import Axis, read_grid, words_of
from labelnoise.sweeps.parameters import Setup, parameters_of
from labelnoise.sweeps.plan import Plan, draw_points, lay_grid, make_plan
from labelnoise.sweeps.refinement import count_stage_one, refine
from labelnoise.sweeps.variables import check_once, check_variables
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.problem import SignalNoise

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class SweepRun:
    """Map the paper's model: a grid or points of parameters, several seeds each, into one xarray dataset."""

    command: ClassVar[str] = "sweep"

    problem: SignalNoise = field(default_factory=SignalNoise)
    simulation: SimulateConfig = field(default_factory=lambda: SimulateConfig(steps=500))
    grid: tuple[str, ...] = ("n_snr2=log:1:32:6", "tau=0.05:0.4:0.05")
    """What is swept: d=100,200 or d=100:1000:50 (LOW:HIGH:STEP) or n_snr2=log:1:128:8 (8 values); of points, d=9:99."""
    variables: tuple[str, ...] = ()
    """What is kept of each run, such as stage_one t1 test_error_fresh_at_T1, and alone computed; all if not given."""
    seeds: int = 5
    """Runs of each cell."""
    seed: int = 0
    """Seed of the sweep, from which those of its runs follow."""
    design: Literal["grid", "random", "sobol"] = "grid"
    """All combinations of the values, or so many points between them, random or evenly spread."""
    points: int | None = None
    """Number of random or Sobol points."""
    refine: int = 0
    """Rounds in which the spacing is halved where 0.1 to 0.9 of the seeds have a Stage I."""
    chunk: int | None = None
    """Runs that are trained as one batch at most; about a second's work if not given."""
    memory: float = 512.0
    """MiB that a batch may take, in each worker."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("grid", "variables"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_variables(self.variables)
        check_integer("seeds", self.seeds, 1, 5)
        check_integer("refine", self.refine, 0, 1)
        stream(self.seed, "data")  # refuses a seed that is none
        if self.chunk is not None:
            check_integer("chunk", self.chunk, 1, 100)
        if not is_number(self.memory) or not 0 < self.memory < np.inf:
            raise InputError(f"`memory` must be a number of MiB > 0, got {self.memory!r}; use for example 512")
        self._check_design()

    def _check_design(self) -> None:
        axes = self.axes  # refuses words that are no grid, for points too
        if self.design == "grid":
            for axis in axes:
                if axis.interval:
                    raise InputError(
                        f"`grid` must say which values of {axis.name!r} to take, got only its ends; add a step or a "
                        "count, or draw points with --design sobol --points 100"
                    )
            if self.refine and self.variables and "stage_one" not in self.variables:
                raise InputError("`refine` needs the variable stage_one; add it to `variables`")
            if self.points is not None:
                raise InputError("`points` needs the design random or sobol, got grid; leave points out")
        else:
            if self.points is None:
                raise InputError(f"`points` must say how many {self.design} points to draw; use for example points=100")
            check_integer("points", self.points, 1, 100)
            if self.refine:
                raise InputError(f"`refine` needs a grid, got {self.design} points; leave refine out")

    @property
    def base(self) -> Setup:
        """What all cells have in common."""
        return Setup(self.problem, self.simulation)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The parameters that are swept."""
        return read_grid(self.grid, parameters_of(self.base), lambda: flags_of(self))

    @property
    def cells(self) -> int:
        """Number of cells before any refinement."""
        return self.points or math.prod(len(axis.values) for axis in self.axes)

    def plan(self, cells: np.ndarray | None = None) -> Plan:
        """Return what is run: of these cells (C, k), by default those of the grid, or the points."""
        axes = self.axes
        if cells is None and self.points is None:
            cells = lay_grid(axes)
        elif cells is None:
            cells = draw_points(axes, self.cells, self.design == "sobol", self.seed)
        names = [axis.name for axis in axes]
        kept = frozenset({*self.variables, "ok"}) if self.variables else frozenset()
        return make_plan(self.base, names, cells, self.seeds, self.seed, self.chunk, self.memory, kept)

    def run(self, folder: RunFolder, progress: Progress | None = None, how: Execution | None = None) -> None:
        """Run what is missing, chunk by chunk, then write sweep.nc and summary.json; on all cores by default."""
        how = how or Execution()
        check_once(self.variables)  # here, so that a folder that names one twice can still be read
        how.check_size(self.cells, self.seeds)
        axes, plan = self.axes, self.plan()
        from labelnoise.sweeps import dataset  # loads xarray: a sweep fails for its absence before, not after its runs

        with workers_of(how) as workers:
            folder.begin()
            work = Work(Store(folder.path), workers, how, progress)
            result = work.complete(plan)
            refined = refine(axes, result, self.refine, lambda cells: work.complete(self.plan(cells)))
        if self.points is None:
            main = dataset.grid_dataset(self.base, axes, result)
        else:
            main = dataset.point_dataset(self.base, axes, plan.cells, result)
        main.attrs = dataset.provenance(folder.config, axes, plan.engines)
        inner = dataset.point_dataset(self.base, axes, *refined) if refined else None
        dataset.write_dataset(folder.path / dataset.FILE, main, inner)
        folder.finish(_summary(result, refined[1] if refined else None))


def _summary(grid: Finished, refined: Finished | None) -> dict[str, Any]:
    results = [grid] if refined is None else [grid, refined]
    ok = [result.columns["ok"] for result in results]
    return {
        "status": "ok",
        "cells": [len(table) for table in ok],
        "runs": sum(table.size for table in ok),
        "diverged": sum(int((table == 0).sum()) for table in ok),
        "stage_one": count_stage_one(results),
        "seconds": sum(result.seconds for result in results),
    }


def _findings(run: Run) -> list[str]:
    """What the command says in the end: what was run, and how much of it has a Stage I."""
    summary = run.summary
    with_stage, known = summary.get("stage_one") or (0, 0)
    words = f"{counted(summary['runs'], 'run')} in {counted(sum(summary['cells']), 'cell')}"
    if known:
        words += f"; Stage I in {with_stage:,} of {known:,} that can have one"
    if summary["diverged"]:
        words += f"; {summary['diverged']:,} diverged"
    return [words]


def run_sweep(
    config: SweepRun,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    how: Execution | None = None,
) -> Outcome:
    """Run a sweep into a run directory and draw its maps; what is finished is not run again.

    Args:
        config: what is swept.
        out: the folder; by default the one in `runs/` that holds this config, else runs/sweep-<hash of it>.
        overwrite: delete the run that the folder holds.
        progress: called as progress(done, total, words) with numbers of runs.
        how: who runs it.

    Raises:
        InputError: the folder holds something else, or a setting is refused.
    """
    outcome = _run(config, out, overwrite, progress, how)
    page = outcome.path / "report.html"
    if outcome.reused and page.exists():
        return replace(outcome, page=page)
    with suppress(ModuleNotFoundError):  # the maps need the extra `report`; the sweep does not
        from labelnoise.report.page import write_report

        return replace(outcome, page=write_report(outcome.path))
    return outcome


def sweep(
    config: SweepRun | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    yes: bool = False,
    progress: Progress | None = None,
) -> xarray.Dataset:
    """Run a sweep of the paper's model and return its results; a finished one is read, an interrupted one goes on.

    Args:
        config: a `SweepRun`, a TOML file, or a table of the same form, such as
            `{"n": 100, "steps": 200, "grid": {"n_snr2": [1, 2, 4, 8], "tau": "0.1:0.4:0.1"}, "seeds": 10}`.
        out: the folder, which then holds `sweep.nc`; by default the one in `runs/` that holds this config, else
            runs/sweep-<hash of it>.
        overwrite: delete the run that the folder holds.
        workers: processes on this machine; all cores if None.
        scheduler: address of a Dask scheduler whose workers run the sweep instead.
        yes: run it even if it is larger than the limits.
        progress: called as progress(done, total, words) with numbers of runs.

    Returns:
        A dataset whose dimensions are the parameters of several values and `seed`, or `point` and `seed`. Variables
        are the columns of `to_frame()` at the last step, the same at T1 with the suffix `_at_T1`, and the stages. Cells
        of a refinement are in the group `refined` of the file.

    Raises:
        InputError: the folder holds another run, or a setting is refused.
    """
    config, how = _read(config)
    how = Execution(
        how.workers if workers is None else workers, how.scheduler if scheduler is None else scheduler, yes or how.yes
    )
    outcome = _run(config, out, overwrite, progress, how)
    from labelnoise.sweeps.dataset import FILE, read_dataset

    return read_dataset(read_run(outcome.path).result(FILE))


def _read(source: Any) -> tuple[SweepRun, Execution]:
    """The sweep that a TOML file or a table describes, and who runs it; in a table, the grid has no default."""
    if isinstance(source, SweepRun):
        return source, Execution()
    if isinstance(source, Mapping):
        source = {**source, "grid": list(words_of(source.get("grid", ())))}
    elif not isinstance(source, str | Path):
        raise InputError(f"`config` must be a SweepRun, a TOML file or a table, got {described(source)}; correct it")
    config, how = read_settings(source, (SweepRun, Execution))
    return config, how


def run_here(config: SweepRun, out: Path) -> Outcome:
    """Run a sweep in this process alone, without a page of its own.

    Raises:
        InputError: the folder holds something else, or a setting is refused.
    """
    return _run(config, out, False, None, Execution(workers=1))


def _run(
    config: SweepRun, out: str | Path | None, overwrite: bool, progress: Progress | None, how: Execution | None
) -> Outcome:
    """As `run_experiment`, by whom `how` says."""
    check_progress(progress)
    with open_run(out, config, overwrite) as folder:
        if not folder.finished:
            config.run(folder, progress, how)
        delete_transient(folder.path, config.command)
        return Outcome(folder.path, folder.read_summary()["status"], folder.finished)


def _page() -> Page:
    from labelnoise.sweeps.page import PAGE

    return PAGE


KIND = Kind(
    SweepRun,
    page=_page,
    summary=("cells", "runs", "diverged", "seconds"),
    files=("sweep.nc",),
    results=("sweep.nc",),
    transient=(f"{FOLDER}/*",),
    execute=run_sweep,
    options=Execution,
    findings=_findings,
)
