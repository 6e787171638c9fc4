"""Data to be audited, from a path: tables, image folders, arrays, outputs of a training, runs of `labelnoise train`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.audit.labels import spelling_notes
from labelnoise.audit.outputs import read_outputs
from labelnoise.audit.pictures import are_pictures, read_picture_array, read_picture_folder
from labelnoise.audit.recorded import RecordedTraining, read_training
from labelnoise.audit.running import read_sums
from labelnoise.audit.table_files import TABLES, form_of
from labelnoise.audit.tables import read_label_file, read_labelled
from labelnoise.errors import InputError, check_regular, did_you_mean
from labelnoise.npz import load_array, load_arrays
from labelnoise.record.recorder import Recorder
from labelnoise.record.saving import is_saved_recorder, read_recorder
from labelnoise.runs.files import shown_name
from labelnoise.runs.reading import Run, read_run
from labelnoise.training.seeds import check_one_seed

if TYPE_CHECKING:
    from labelnoise.audit.experiment import AuditRun


@dataclass(frozen=True, eq=False)
class AuditSource:
    """Samples or the record of a training, and given labels."""

    labels: Any
    """Given labels as the data hold them; None with a record of class positions."""
    samples: Any = None
    """What the auditor takes; None where there is a record instead."""
    trainings: tuple[RecordedTraining, ...] = ()
    class_names: tuple[str, ...] = ()
    """Of a record, names of its classes."""
    rows: pd.DataFrame | None = None
    """What a person sees of each sample: columns of the table, or its text."""
    images: np.ndarray | None = None
    """(n, C, H, W) uint8."""
    files: Sequence[str] | None = None
    """Name of each sample's file."""
    index: np.ndarray | None = None
    """Position of each sample in the data; None for 0..n-1."""
    ids: pd.Series[Any] | None = None
    """What names each sample, under the name of its column; None without such a column."""
    notes: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    """Notes that go before all others, since they may undo what is judged; of a record each begins with its cause."""
    model: str = ""
    """Of a record, what was trained, in words."""
    arguments: Mapping[str, str] = field(default_factory=lambda: {"`X`": "the data", "`y`": "the labels"})
    """How a user calls what the auditor calls `X` and `y`."""


def read_source(config: AuditRun) -> AuditSource:
    """Read what `config.data` names.

    Raises:
        InputError: no such data, or data that are damaged or unsuitable.
    """
    if not config.data:
        raise InputError(
            "`audit` needs data first: labelnoise audit DATA --label COLUMN; DATA is a table, a folder of images, "
            "arrays or a training run"
        )
    path = Path(config.data)
    if not path.exists():
        if path.is_symlink():
            check_regular(path)  # a link to nothing, or to itself
        others = path.parent.glob("*") if path.parent.is_dir() else ()
        near = sorted(str(other) for other in others if form_of(other) in READERS or next(other.glob("[!.]*"), None))
        raise InputError(f"there is no {path}{did_you_mean(str(path), near[:1000]) if near else '; check the path'}")
    if path.is_dir():
        reader = RUN if (path / "config.json").exists() else FOLDER
    elif (form := form_of(path)) in READERS:
        reader = READERS[form]
    else:
        raise InputError(f"{path} must be one of {', '.join(READERS)} or a folder, got {form!r}; convert it first")
    _check_settings(config, reader)
    source = reader.read(path, config)
    return source if reader is RUN else replace(source, notes=(*source.notes, *_path_notes(path)))


def _check_settings(config: AuditRun, reader: Reader) -> None:
    """Refuse settings that say nothing of such data."""
    of_any_data = dict.fromkeys(name for other in READERS.values() for name in other.settings)
    for name in of_any_data:
        value = getattr(config, name)
        if value != getattr(type(config), name) and name not in reader.settings:  # not left at its default
            given = " ".join(value) if isinstance(value, tuple) else value
            if name == "id":
                raise InputError(
                    f"`id` must name a column of a table, got {given!r} for {reader.words}, which has no columns; "
                    f"leave it out: suspects are listed by {reader.named}"
                )
            raise InputError(f"`{name}` says nothing of {reader.words}, got {given!r}; leave it out")


def _path_notes(path: Path) -> list[str]:
    """What the name of the data says: the output of an audit, or a test split."""
    notes = []
    if path.name == "cleaned.csv" or all((path.parent / name).is_file() for name in ("config.json", "suspects.csv")):
        notes.append(
            "these data are the output of an audit: a second pass over its own corrections confirms what the first "
            "one believed, and each pass moves the labels further towards the model; audit the original data instead"
        )
    if re.search(r"(?<![a-z])test(?![a-z])", path.stem.lower()):
        notes.append(
            "the name says that this is a test split: correct its labels by hand if at all, never by a model, and do "
            "not train on what this audit says of it, or scores on it mean nothing"
        )
    return notes


def _table(path: Path, config: AuditRun) -> AuditSource:
    table = read_labelled(path, config.label, config.text, config.ignore, config.id)
    samples = table.samples[config.text] if config.text else table.samples
    words = {"`X`": f"the columns of {path.name}", "`y`": f"the column {config.label!r}"}
    return AuditSource(
        table.labels, samples, rows=table.samples, index=table.index, ids=table.ids, notes=table.notes,
        first=table.first, arguments=words,
    )  # fmt: skip


def _npz(path: Path, config: AuditRun) -> AuditSource:
    names, _ = load_arrays(path, ())
    if is_saved_recorder(names):
        return _record(path, config)
    label = config.label or next((name for name in LABEL_KEYS if name in names), "")
    if label not in names:
        raise InputError(f"`label` must name an array of {path}, got {label!r}{did_you_mean(label, names)}")
    key = next((name for name in (*OUTPUT_KEYS, *SAMPLE_KEYS) if name in names), "")
    if not key:
        raise InputError(
            f"{path} must hold samples ({', '.join(SAMPLE_KEYS)}) or outputs ({', '.join(OUTPUT_KEYS)}), got "
            f"{', '.join(names)}; save them under such a name"
        )
    _, arrays = load_arrays(path, (label, key, "held_out"))
    words = {"`X`": f"the array {key!r}", "`y`": f"the array {label!r}"}
    if key in OUTPUT_KEYS:
        with in_words(words):
            return _outputs(arrays[key], arrays[label], key == "logits", arrays.get("held_out"))
    return _arrays(arrays[key], arrays[label], words)


LABEL_KEYS = ("labels", "y", "y_given", "y_train", "given")
SAMPLE_KEYS = ("x", "X", "x_train", "embeddings", "images")
OUTPUT_KEYS = ("logits", "probabilities")
"""Names of arrays in an .npz file: of labels, of samples, of what a training gave out."""


def _record(path: Path, config: AuditRun) -> AuditSource:
    """What `Recorder.save` wrote of a training of the user's own."""
    if config.label:
        raise InputError(f"`label` says nothing of a saved recorder, got {config.label!r}; leave it out")
    recorder, names = read_recorder(path)
    training = read_training(recorder) if recorder.history or not recorder.epochs else read_sums(recorder)
    words = f"a network of your own, whose record is {shown_name(path)}"
    return AuditSource(None, trainings=(training,), class_names=(*names,), model=words)


def _npy(path: Path, config: AuditRun) -> AuditSource:
    if not config.labels:
        raise InputError(f"`labels` must name the file of the labels of {path}: .npy, .csv or .txt, one label a line")
    if config.label and form_of(Path(config.labels)) not in (".csv", ".csv.gz"):
        raise InputError(
            f"`label` must name a column of a .csv file of labels, got {config.label!r} beside {config.labels}; leave "
            "it out"
        )
    labels, name = read_label_file(Path(config.labels), config.label)
    words = {"`X`": path.name, "`y`": name}
    values = load_array(path)
    if form_of(Path(config.labels)) == ".csv" and len(labels) + 1 == len(values):
        raise InputError(
            f"{config.labels} must hold a line of names and one label a sample of {path} ({len(values)}), got "
            f"{len(labels)} labels below {name}; put a line of names above them"
        )
    if config.outputs == "none":
        return replace(_arrays(values, labels, words), first=_outputs_doubt(path, values, labels))
    with in_words(words):
        return _outputs(values, labels, config.outputs == "logits", None)


def _outputs_doubt(path: Path, values: np.ndarray, labels: Any) -> tuple[str, ...]:
    """A sentence where vectors look like probabilities of the classes: a column each, and rows that add up to 1."""
    if values.ndim != 2 or values.dtype.kind != "f" or np.ndim(labels) != 1:
        return ()
    if values.shape[1] != pd.Series(labels).nunique() or not (values >= 0).all():
        return ()
    if not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        return ()
    return (
        f"{path.name} has a column a class, and each row adds up to 1: if these are probabilities that a model of your "
        "own gave out of sample, they were taken for features; say so and audit again (--outputs probabilities)",
    )


def _arrays(values: np.ndarray, labels: Any, words: Mapping[str, str]) -> AuditSource:
    if are_pictures(values):
        images, notes = read_picture_array(values, "the data")
        return AuditSource(labels, images, images=images, notes=(*notes,), arguments=words)
    rows = pd.DataFrame(values) if values.ndim == 2 and values.shape[1] <= 16 else None
    return AuditSource(labels, values, rows=rows, arguments=words)


def _outputs(values: np.ndarray, labels: Any, logits: bool, held_out: np.ndarray | None) -> AuditSource:
    training, given, words, doubt = read_outputs(values, labels, logits, held_out)
    first = [doubt] if doubt else []
    first += spelling_notes(given)
    return AuditSource(None, trainings=(training,), class_names=tuple(given.names), model=words, first=tuple(first))


@contextmanager
def in_words(arguments: Mapping[str, str]) -> Iterator[None]:
    """Let a refusal inside the block name what the user gave in place of the arguments of a function."""
    try:
        yield
    except InputError as refusal:
        raise InputError(re.sub("`[Xy]`", lambda name: arguments[name[0]], f"{refusal}")) from None


def _folder(path: Path, config: AuditRun) -> AuditSource:
    notes: list[str] = []
    if (path / "train").is_dir():
        path, notes = path / "train", ["only the folder train was audited, since test labels are corrected by hand"]
    images, labels, files, of_pictures = read_picture_folder(path)
    return AuditSource(labels, images, images=images, files=files, notes=(*notes, *of_pictures), arguments=FOLDERS)


FOLDERS = {"`X`": "the images", "`y`": "the folders of the classes"}
"""How a user of image folders calls samples and labels."""


def _run(path: Path, config: AuditRun) -> AuditSource:
    """A finished run of `labelnoise train`: its record, without training again."""
    run = read_run(path)
    if run.command != "train":
        raise InputError(f"{path} is a run of {run.command!r}, and only one of 'train' can be audited; give its data")
    check_one_seed(run)
    needed = ("margin", "loss", "prediction", "y_given", "held_out", "index")
    if absent := [name for name in needed if name not in run.samples]:
        raise InputError(f"{path / 'samples.npz'} lacks {absent[0]}; make the run again with this version")
    names = tuple(str(name) for name in run.summary["class_names"])
    training = read_training(_recorder_of(run, len(names)), run.samples["held_out"])
    names = names + tuple(f"output {k}" for k in range(len(names), training.n_classes))
    return AuditSource(
        None, trainings=(training,), class_names=names, index=run.samples["index"], images=_run_images(run),
        model=f"the network of {path}, as it was trained",
    )  # fmt: skip


def _recorder_of(run: Run, n_classes: int) -> Recorder:
    """The record of a training run, of more classes where its network has more outputs."""
    given, prediction = run.samples["y_given"].astype(np.int64), run.samples["prediction"].astype(np.int32)
    recorder = Recorder(given.size, max(n_classes, int(prediction.max()) + 1, 2))
    state = {name: run.samples[name].astype(np.float32) for name in ("margin", "loss")}
    recorder.load_state_dict({**recorder.state_dict(), **state, "prediction": prediction, "given": given})
    return recorder


def _run_images(run: Any) -> np.ndarray | None:
    """The images of a training run, where its data are still there."""
    with suppress(InputError):
        return run.config.load().x_train
    return None


@dataclass(frozen=True)
class Reader:
    """Who reads one form of data."""

    read: Callable[[Path, AuditRun], AuditSource]
    words: str
    """What the data are."""
    settings: tuple[str, ...] = ()
    """Settings of `AuditRun` that say how to read them."""
    named: str = "their place in the data, from 0"
    """By what a suspect is found back where no column names it."""


TABLE = Reader(_table, "a table", ("label", "text", "id", "ignore"))
RUN, FOLDER = Reader(_run, "a training run"), Reader(_folder, "a folder of images", named="the names of their files")
READERS = {
    **dict.fromkeys(TABLES, TABLE),
    ".npz": Reader(_npz, "an .npz file", ("label",)),
    ".npy": Reader(_npy, "an .npy file", ("label", "labels", "outputs")),
}
"""Who reads a file, by its suffix."""
