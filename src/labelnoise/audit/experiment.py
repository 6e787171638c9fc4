"""The audit as a run: data in, one run directory with every label judged; and what such runs are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd

from labelnoise.arrays import stream
from labelnoise.audit.kept_trainings import FILES, KeptTrainings
from labelnoise.audit.scores import SCORES
from labelnoise.audit.summary import describe_audit, summarise
from labelnoise.audit.table_files import TABLES, form_of, read_spelt
from labelnoise.errors import InputError, check_integer, check_path, did_you_mean
from labelnoise.runs.files import write_json, write_whole
from labelnoise.runs.folders import RunFolder
from labelnoise.runs.kinds import Kind, Progress
from labelnoise.runs.pages import Page
from labelnoise.runs.setting_types import check_types

if TYPE_CHECKING:
    from labelnoise.audit.judging import Verdict
    from labelnoise.audit.materials import Material
    from labelnoise.audit.self_test import SelfTest
    from labelnoise.audit.sources import AuditSource


@dataclass(frozen=True)
class AuditRun:
    """Find wrong labels in data of your own: labelnoise audit DATA --label COLUMN."""

    command: ClassVar[str] = "audit"

    data: str = ""
    """What to audit: a table (.csv, .tsv, either also as .gz, .parquet), a folder with a folder of images for each
    class, arrays (.npz with x and y, or .npy with --labels), the file of `Recorder.save`, or the folder of a finished
    training run."""
    label: str = ""
    """Column (of an .npz file, array) of the given labels."""
    text: str = ""
    """Column of texts to learn from; without it, all columns of a table but the label."""
    id: str = ""
    """Column that names the rows, such as the number of a ticket: not learnt from, it stands beside each suspect.
    Without it, the one column that only tells rows apart, if there is one."""
    ignore: tuple[str, ...] = ()
    """Columns to leave out, such as identifiers."""
    labels: str = ""
    """File of the labels of an .npy file: .npy, .csv or .txt."""
    outputs: Literal["none", "probabilities", "logits"] = "none"
    """Whether an .npy file holds what a training of your own gave out, (epochs, n, K) or out of sample (n, K)."""
    folds: int = 0
    """Trainings, each sample held out of one; 0 for the default of the kind of data."""
    score: str = ""
    """How suspicion is measured, such as margin-to-twice, aum or share-rejected; empty for the default."""
    decision: Literal["counted", "capped", "rejected", "mixture"] = "counted"
    """How many are flagged: as many as the rate says, as the network rejects and the rate allows, all rejected, or the
    upper of two heaps of scores."""
    self_test: bool = False
    """Flip a twentieth of the labels at random after the audit and audit again, which takes as long once more: how many
    of them are flagged is an optimistic bound on how many real mistakes are."""
    cleaned: bool = False
    """Write cleaned.csv, too: the data with the suggested label in place of each flagged one; nothing is reviewed."""
    top: int = 100
    """Suspects that the report shows."""
    seed: int = 0
    """Seed of folds, weights and batches."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("data", "labels"):
            if path := getattr(self, name):
                check_path(name, path)
        object.__setattr__(self, "ignore", tuple(self.ignore))
        check_integer("folds", self.folds, 0, 5)
        check_integer("top", self.top, 1, 100)
        stream(self.seed, "audit")  # refuses a seed that is none
        if self.score and self.score not in SCORES:
            raise InputError(f"`score` must name a score, got {self.score!r}{did_you_mean(self.score, SCORES)}")

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Read, train if need be, judge, and write `suspects.csv` and what the page shows."""
        from labelnoise.audit.sources import read_source

        source = read_source(self)
        if self.cleaned and form_of(Path(self.data)) not in TABLES:
            raise InputError("`cleaned` needs a table to write the suggested labels into; leave it out for other data")
        kept = KeptTrainings(folder)
        judged = _judge(self, source, progress, kept)
        kept.begin()
        _write(self, folder, source, judged)


class _Judged(NamedTuple):
    """What an audit says of its data."""

    verdict: Verdict
    class_names: list[str]
    model: str
    """What was trained, in words."""
    self_test: SelfTest | None = None
    material: Material | None = None
    """The samples; None where there is a record instead."""


def _judge(config: AuditRun, source: AuditSource, progress: Progress | None, kept: KeptTrainings) -> _Judged:
    """Judge the labels by the record that the source holds; without one, by trainings on its samples."""
    from labelnoise.audit.auditor import audit_samples
    from labelnoise.audit.judging import judge
    from labelnoise.audit.sources import in_words

    score = config.score or None
    if source.trainings:
        for name in ("self_test", "folds"):
            if getattr(config, name):
                raise InputError(
                    f"`{name}` needs data to train on, got the record of a training; leave it out, or audit the data "
                    "themselves"
                )
        verdict = _doubted(judge(source.trainings, score, config.decision, config.seed), source.first)
        return _Judged(verdict, list(source.class_names), source.model)
    how = (None, config.folds or None, score, config.decision, config.seed, progress, config.self_test, kept)
    names = next((list(named) for named in (source.files, source.ids, source.index) if named is not None), None)
    with in_words(source.arguments):
        audit = audit_samples(source.samples, source.labels, *how, names=names)
    verdict = replace(audit.verdict, notes=(*source.first, *audit.verdict.notes))
    return _Judged(verdict, audit.labels.names, audit.model, audit.self_test, audit.material)


def _doubted(verdict: Verdict, first: tuple[str, ...]) -> Verdict:
    """A verdict with the notes that may undo it in front; where nothing is decided, the first is the likely cause."""
    cause = f"; likelier here: {first[0].partition(':')[0]}" if first else ""
    notes = (note + cause if note == verdict.rates.reason else note for note in verdict.notes)
    return replace(verdict, notes=(*first, *notes))


def _write(config: AuditRun, folder: RunFolder, source: AuditSource, judged: _Judged) -> None:
    """Write the files of an audit; the summary last."""
    from labelnoise.audit.worst import describe_worst

    verdict, names, tested = judged.verdict, judged.class_names, judged.self_test
    _write_table(folder.path / "suspects.csv", _suspects(verdict, names, source))
    if config.cleaned:
        _write_table(folder.path / "cleaned.csv", _cleaned(config, verdict, names, source.index))
    folder.write_history(margin_table(verdict))
    worst = describe_worst(source, judged.material, verdict, names, config.top)
    write_json(folder.path / "worst.json", worst)
    summary = summarise(verdict, names, judged.model, (*verdict.notes, *source.notes))
    if tested:
        summary["self_test"] = {**asdict(tested), "text": f"{tested}"}
    folder.finish(summary)


def _suspects(verdict: Verdict, names: list[str], source: AuditSource) -> pd.DataFrame:
    """A row a sample, the most suspicious first: its place in the data, its classes by name, its file or name."""
    frame = verdict.to_frame()
    positions = frame["index"].to_numpy()
    for column in ("given", "suggested"):
        frame[column] = np.array(names, dtype=object)[frame[column].to_numpy()]
    if source.index is not None:
        frame["index"] = source.index[positions]
    if source.files is not None:
        frame["file"] = np.array(source.files, dtype=object)[positions]
    if source.ids is not None:
        frame[name_of_ids(source.ids, frame.columns)] = source.ids.to_numpy()[positions]
    return frame


def name_of_ids(ids: pd.Series[Any], taken: Iterable[str]) -> str:
    """Return the name under which a list of suspects holds what names its rows: another one where that is taken."""
    name = str(ids.name)
    while name in taken:
        name += "_in_data"
    return name


def _cleaned(config: AuditRun, verdict: Verdict, names: list[str], index: np.ndarray | None) -> pd.DataFrame:
    """The table as it was, with the suggested label where one is flagged."""
    spelt, frame = np.array(names, dtype=object), read_spelt(Path(config.data))
    column = frame[config.label].to_numpy(dtype=object, copy=True)
    at = np.arange(len(frame)) if index is None else index
    if not all(isinstance(value, str) for value in column):  # of a Parquet file: spelt like the suggestions
        column[at] = spelt[verdict.given]
    column[at[verdict.flagged]] = spelt[verdict.suggested[verdict.flagged]]
    return frame.assign(**{config.label: column})


def _write_table(path: Path, frame: pd.DataFrame) -> None:
    write_whole(path, lambda file: file.write(frame.to_csv(index=False).encode()))


QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}
"""Of the margins in an epoch."""


def margin_table(verdict: Verdict) -> pd.DataFrame:
    """Return a row an epoch: quantiles of the mean margin of the suspects and of the rest, those seen in it."""
    table: dict[str, Any] = {"epoch": np.arange(1, len(verdict.margin) + 1)}
    for name, members in (("suspects", verdict.flagged), ("rest", ~verdict.flagged)):
        values = verdict.margin[:, members & (verdict.given >= 0)]
        seen = (row[np.isfinite(row)] for row in values)
        rows = [np.quantile(row, tuple(QUANTILES.values())) if row.size else np.full(3, np.nan) for row in seen]
        columns = np.reshape(rows, (-1, 3)).T
        table.update({f"{name}_{word}": column for word, column in zip(QUANTILES, columns, strict=True)})
    return pd.DataFrame(table)


def _inputs(config: AuditRun) -> Mapping[str, Path]:
    paths = {"data": config.data, "labels": config.labels}
    return {name: Path(path) for name, path in paths.items() if path}


def _page() -> Page:
    from labelnoise.audit.page import PAGE

    return PAGE


KIND = Kind(
    AuditRun,
    page=_page,
    summary=("rate", "flagged", "notes"),
    files=("suspects.csv", "cleaned.csv", "worst.json"),
    results=("history.csv", "suspects.csv", "worst.json", "cleaned.csv"),
    transient=FILES,
    inputs=_inputs,
    leading="data",
    findings=describe_audit,
)
