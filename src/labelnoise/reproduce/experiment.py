"""The main job: the experiments that make the report, run side by side, and the page that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labelnoise.reproduce.plan import AuditOf, SectionPlan, plan_sections
from labelnoise.reproduce.workers import run_all
from labelnoise.runs.folders import RunFolder, open_run, run_experiment
from labelnoise.runs.kinds import Kind, Outcome, Progress
from labelnoise.runs.members import Members
from labelnoise.runs.pages import Page, Section, panel_of
from labelnoise.runs.reading import Run, read_run
from labelnoise.training.experiment import TrainRun

LEAD = (
    "A network trained on partly wrong labels first learns what the samples of a class have in common: it fits the "
    "correctly labelled ones and rejects the wrong labels (Stage I). Only later does it memorise the wrong labels, and "
    "its test accuracy falls (Stage II). This page shows both stages in the two-layer model of Han et al. "
    "(ICML 2025), where they are proved, and on real images; where each claim of the paper holds; and what stopping in "
    "time gains."
)


@dataclass(frozen=True)
class Reproduce:
    """Run the experiments of the report: both stages in the paper's model and on real images, and where to stop."""

    command: ClassVar[str] = "reproduce"

    quick: bool = False
    """A smaller version, to see that everything works: fewer seeds, steps and epochs."""

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Run every experiment that is not finished yet, and write the summary; each is a run directory inside."""
        sections = plan_sections(self.quick)
        explained = {name: how for section in sections for name, how in section.explained.items()}
        experiments = {
            name: run for section in sections for part in section.settings for name, run in part.experiments.items()
        }
        audits = {name: run for name, run in experiments.items() if isinstance(run, AuditOf)}
        own = {name: run for name, run in experiments.items() if not isinstance(run, AuditOf)}
        longest_first = sorted(own, key=lambda name: (name not in explained, not isinstance(own[name], TrainRun)))
        members = Members(experiments, progress)
        if not folder.finished:
            folder.begin()
        run_all({name: own[name] for name in longest_first}, explained, folder.path, members.done)
        for name, audit in audits.items():  # made anew each time: it takes a second, and the folder may have moved
            members.done(name, run_experiment(audit.within(folder.path), folder.path / name, overwrite=True))
        folder.finish({
            "status": members.status,
            "text": LEAD,
            "experiments": members.statuses,
            "groups": [_describe(section) for section in sections],
        })  # fmt: skip


def run_reproduce(
    config: Reproduce, out: Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run the experiments of the report and write it; those that are finished are not run again.

    A finished folder is gone through, too: an experiment that this version makes in another way is refused there.

    Args:
        config: how much to run.
        out: the folder; each experiment is a run directory in it.
        overwrite: start from nothing.
        progress: called as progress(finished, total, name and status) after each experiment.

    Raises:
        InputError: the folder holds something else, or another version's experiments.
    """
    from labelnoise.report.page import write_report

    with open_run(out, config, overwrite) as folder:
        config.run(folder, progress)
        page = write_report(folder.path)
        return Outcome(folder.path, folder.read_summary()["status"], folder.finished, page)


def _describe(section: SectionPlan) -> dict[str, Any]:
    """What the page needs to know of a section."""
    return {
        "name": section.name,
        "title": section.title,
        "text": section.text,
        "columns": [{"title": setting.title, "runs": list(setting.experiments)} for setting in section.settings],
    }


def _sections(run: Run) -> list[Section]:
    """The sections that the summary lists, from the runs in the folder."""
    return [_section(run.path, group) for group in run.summary["groups"]]


def _section(path: Path, group: dict[str, Any]) -> Section:
    panels = tuple(
        panel_of(column["title"], [read_run(path / name) for name in column["runs"]]) for column in group["columns"]
    )
    run = panels[0].runs[0]
    page = run.kind.page()
    if page.sections:  # what it shows depends on what it holds
        page = page.sections(run)[0].page
    return Section(group["name"], group["title"], group["text"], page, panels)


def _upgrade(settings: dict[str, Any], schema: int) -> dict[str, Any]:
    """Before schema 1 the settings held those of the experiments, which their own folders hold."""
    return {name: value for name, value in settings.items() if schema > 0 or name != "experiments"}


KIND = Kind(
    Reproduce,
    page=lambda: Page(sections=_sections),
    summary=("groups",),
    upgrade=_upgrade,
    execute=run_reproduce,
)
