"""Data to be audited, from a path: tables, image folders, arrays, outputs of a training, runs of `labelnoise train`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.audit.labels import read_labels
from labelnoise.audit.picture_folders import read_pictures
from labelnoise.audit.recorded import RecordedTraining, read_training
from labelnoise.errors import InputError, check_regular, did_you_mean
from labelnoise.npz import load_array, load_arrays
from labelnoise.record.recorder import Recorder
from labelnoise.runs.reading import read_run
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
    notes: tuple[str, ...] = ()
    model: str = ""
    """Of a record, what was trained, in words."""


def read_source(config: AuditRun) -> AuditSource:
    """Read what `config.data` names.

    Raises:
        InputError: no such data, or data that are damaged or unsuitable.
    """
    if not config.data:
        raise InputError(
            "`audit` needs data first: labelnoise audit PATH --label COLUMN; PATH is a table, a folder of images, "
            "arrays or a training run"
        )
    path = Path(config.data)
    if not path.exists():
        near = sorted(str(other) for other in path.parent.glob("*")) if path.parent.is_dir() else []
        raise InputError(f"there is no {path}{did_you_mean(str(path), near[:1000]) if near else '; check the path'}")
    if path.is_dir():
        reader: Callable[[Path, AuditRun], AuditSource] = _run if (path / "config.json").exists() else _folder
        return reader(path, config)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path} must be one of {', '.join(READERS)} or a folder, got {suffix!r}; convert it first")
    source = READERS[suffix](path, config)
    return replace(source, notes=(*source.notes, *_path_notes(path)))


def _path_notes(path: Path) -> list[str]:
    """What the name of the data says: the output of an audit, or a test split."""
    notes = []
    made = path.parent / "config.json"
    if path.name == "cleaned.csv" or (made.is_file() and (path.parent / "suspects.csv").is_file()):
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
    check_regular(path)
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",", low_memory=False)
    except ImportError:
        raise InputError(f"{path} needs pyarrow to be read; pip install pyarrow, or save it as CSV") from None
    except Exception as error:  # a damaged file may raise anything
        why = " ".join(f"{error}".split())
        raise InputError(
            f"{path} could not be read as a table ({why}); save it as UTF-8 CSV with a line of names"
        ) from None
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if not config.label:
        raise InputError(f"`label` must name the column of the labels; {path} has {', '.join(frame.columns[:20])}")
    for flag, names in (
        ("label", [config.label]),
        ("text", [config.text] * bool(config.text)),
        ("ignore", config.ignore),
    ):
        for name in names:
            if name not in frame.columns:
                raise InputError(
                    f"`{flag}` must name a column of {path}, got {name!r}{did_you_mean(name, frame.columns)}"
                )
    rest = frame.drop(columns=[config.label, *(name for name in config.ignore if name != config.label)])
    if config.text:
        if pd.api.types.is_numeric_dtype(frame[config.text]):
            raise InputError(f"`text` must name a column of texts, got numbers in {config.text!r}; leave it out")
        return AuditSource(frame[config.label], frame[config.text], rows=frame[[config.text]])
    names = [str(name) for name in rest if _is_name(rest[name])]
    notes = (
        (f"columns whose every value differs are taken for names and left out: {', '.join(names)}",) if names else ()
    )
    rest = rest.drop(columns=names)
    if not rest.shape[1]:
        raise InputError(f"{path} must have a column beside {config.label!r}; for a column of texts give --text")
    return AuditSource(frame[config.label], rest, rows=rest, notes=notes)


def _is_name(column: pd.Series) -> bool:
    """Whether a column of words only tells rows apart."""
    return not pd.api.types.is_numeric_dtype(column) and len(column) >= 20 and column.nunique() == len(column)


def _npz(path: Path, config: AuditRun) -> AuditSource:
    names, _ = load_arrays(path, ())
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
    if key in OUTPUT_KEYS:
        return _outputs(arrays[key], arrays[label], key == "logits", arrays.get("held_out"))
    return _arrays(arrays[key], arrays[label])


LABEL_KEYS = ("labels", "y", "y_given", "y_train", "given")
SAMPLE_KEYS = ("x", "X", "x_train", "embeddings", "images")
OUTPUT_KEYS = ("logits", "probabilities")
"""Names of arrays in an .npz file: of labels, of samples, of what a training gave out."""


def _npy(path: Path, config: AuditRun) -> AuditSource:
    if not config.labels:
        raise InputError(f"`labels` must name the file of the labels of {path}: .npy, .csv or .txt, one label a line")
    labels = _label_file(Path(config.labels), config.label)
    values = load_array(path)
    if config.outputs == "none":
        return _arrays(values, labels)
    return _outputs(values, labels, config.outputs == "logits", None)


def _label_file(path: Path, column: str) -> Any:
    check_regular(path)
    if path.suffix.lower() == ".npy":
        return load_array(path)
    try:
        if path.suffix.lower() == ".txt":
            return np.array(path.read_text().removesuffix("\n").split("\n"))
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:  # also of an encoding, and what pandas raises of a file without columns
        why = " ".join(f"{error}".split())
        raise InputError(f"{path} could not be read as labels ({why}); save it in UTF-8, one label a line") from None
    name = column or str(frame.columns[-1])
    if name not in frame.columns:
        raise InputError(f"`label` must name a column of {path}, got {name!r}{did_you_mean(name, frame.columns)}")
    return frame[name]


def _arrays(values: np.ndarray, labels: Any) -> AuditSource:
    if values.ndim in (3, 4) and values.dtype == np.uint8:
        return AuditSource(labels, values, images=values)
    rows = pd.DataFrame(values) if values.ndim == 2 and values.shape[1] <= 16 else None
    return AuditSource(labels, values, rows=rows)


def _outputs(values: np.ndarray, labels: Any, logits: bool, held_out: np.ndarray | None) -> AuditSource:
    """What a training of the user's own gave out: per epoch (epochs, n, K), or once and out of sample (n, K)."""
    given = read_labels("label", labels)
    rows = values[None] if values.ndim == 2 else values
    if rows.ndim != 3 or rows.shape[1] != given.positions.size or rows.dtype.kind != "f":
        raise InputError(
            f"outputs must be floats of shape (epochs, n, K) or (n, K) for the {given.positions.size} labels, got "
            f"{values.dtype} {values.shape}; a record of other data does not fit"
        )
    if rows.shape[2] != len(given.classes):
        raise InputError(
            f"outputs must have one column a class ({len(given.classes)} among the labels, ascending), got "
            f"{rows.shape[2]}; leave out columns of classes that no label names"
        )
    once = values.ndim == 2
    mask = np.ones(given.positions.size, bool) if once else held_out
    recorder = Recorder(given.positions.size, len(given.classes))
    everyone = np.arange(given.positions.size)
    for row in rows:
        if logits:
            recorder.update(everyone, row, given.positions)
        else:
            recorder.update_proba(everyone, row, given.positions)
        recorder.end_epoch()
    words = "out-of-sample outputs, as given" if once else f"outputs of {len(rows)} epochs, as given"
    return AuditSource(None, trainings=(read_training(recorder, mask),), class_names=tuple(given.names), model=words)


def _folder(path: Path, config: AuditRun) -> AuditSource:
    notes: list[str] = []
    if (path / "train").is_dir():
        path, notes = path / "train", ["only the folder train was audited, since test labels are corrected by hand"]
    images, labels, files, found = read_pictures(path)
    return AuditSource(labels, images, images=images, files=files, notes=(*notes, *found, *_path_notes(path)))


def _run(path: Path, config: AuditRun) -> AuditSource:
    """A finished run of `labelnoise train`: its record, without training again."""
    run = read_run(path)
    if run.command != "train":
        raise InputError(f"{path} is a run of {run.command!r}, and only one of 'train' can be audited; give its data")
    check_one_seed(run)
    needed = ("margin", "loss", "prediction", "y_given", "held_out", "index")
    absent = [name for name in needed if name not in run.samples]
    if absent:
        raise InputError(f"{path / 'samples.npz'} lacks {absent[0]}; make the run again with this version")
    arrays = {name: run.samples[name] for name in needed}
    names = tuple(str(name) for name in run.summary["class_names"])
    given = arrays["y_given"].astype(np.int64)
    recorder = Recorder(given.size, max(len(names), int(arrays["prediction"].max()) + 1, 2))
    state = {name: arrays[name].astype(np.float32) for name in ("margin", "loss")}
    recorder.load_state_dict(
        {**recorder.state_dict(), **state, "prediction": arrays["prediction"].astype(np.int32), "given": given}
    )
    training = read_training(recorder, arrays["held_out"])
    names = names + tuple(f"output {k}" for k in range(len(names), recorder.n_classes))
    return AuditSource(
        None, trainings=(training,), class_names=names, index=arrays["index"], images=_run_images(run),
        model=f"the network of {path}, as it was trained",
    )  # fmt: skip


def _run_images(run: Any) -> np.ndarray | None:
    """The images of a training run, where its data are still there."""
    try:
        return run.config.load().x_train
    except InputError:
        return None


READERS: dict[str, Callable[[Path, AuditRun], AuditSource]] = {
    ".csv": _table, ".tsv": _table, ".parquet": _table, ".npz": _npz, ".npy": _npy,
}  # fmt: skip
"""Who reads a file, by its suffix."""
