"""Tables of somebody's files: which column is the label, which ones are learnt from, and which names the rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.audit.columns import is_constant, names_of_rows, without_names
from labelnoise.audit.table_files import file_notes, nameless_hint, read_frame, read_spelt, spelling_of
from labelnoise.errors import InputError, check_regular, did_you_mean
from labelnoise.npz import load_array


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """A table of somebody's, its label apart."""

    labels: pd.Series[Any]
    samples: pd.DataFrame
    index: np.ndarray | None
    """Row of each sample in the file, where rows without a label were left out."""
    ids: pd.Series[Any] | None
    """What names each sample: a column that is not learnt from, as it is spelt in the file; None without one."""
    notes: tuple[str, ...]
    first: tuple[str, ...] = ()
    """Notes that go before all others, since what was asked for is not what was meant."""


def read_labelled(path: Path, label: str, text: str, ignore: Sequence[str], identifier: str = "") -> LabelledTable:
    """Read a table, and take its label apart.

    Args:
        path: a CSV, TSV or Parquet file.
        label: name of the column of the labels.
        text: name of a column of texts, which then is the only one; empty for all columns.
        ignore: names of columns that are left out.
        identifier: name of a column that names the rows, and is left out, too; empty for the one that seems to.

    Raises:
        InputError: the file cannot be read, a column is not there, or none is left to learn from.
    """
    frame = read_frame(path, *(name for name in (label, text, identifier) if name))
    if not label:
        raise InputError(
            f"`label` must name the column of the labels; {path} has {', '.join(frame.columns[:20])}"
            f"{nameless_hint(path, frame)}"
        )
    _check_parts(path, frame, label, text, ignore, identifier)
    said = file_notes(path, frame)
    labels, frame, index, notes = _labelled(path, as_labels(frame[label]), frame)
    left_out: tuple[str, ...] = ()
    if text:
        if _are_numbers(frame[text]):
            raise InputError(f"`text` must name a column of texts, got numbers in {text!r}; leave it out")
        samples = frame[[text]]
    else:
        apart = [name for name in dict.fromkeys((label, identifier, *ignore)) if name]
        samples, left_out = without_names(frame.drop(columns=apart))
        _check_learnable(path, label, samples, left_out)
    ids, named = _ids(path, frame.drop(columns=[label, *samples]), index, identifier)
    first = _few_names(identifier, ids)
    return LabelledTable(labels, samples, index, ids, (*said, *notes, *left_out, *(() if first else named)), first)


def _check_parts(
    path: Path, frame: pd.DataFrame, label: str, text: str, ignore: Sequence[str], identifier: str
) -> None:
    """Refuse names of columns that are none, and a column of two parts."""
    parts = (("label", label), ("text", text), ("id", identifier), *(("ignore", name) for name in ignore))
    for flag, name in parts:
        if name and name not in frame.columns:
            near = did_you_mean(name, frame.columns) + nameless_hint(path, frame)
            raise InputError(f"`{flag}` must name a column of {path}, got {name!r}{near}")
    for flag, name in parts[1:]:
        if name and name == label:
            raise InputError(f"`{flag}` must name another column than the label, got {name!r}; correct one of them")
    for flag, names in (("ignore", ignore), ("id", (identifier,))):
        if text and text in names:
            raise InputError(f"`{flag}` must not name the column of texts, got {text!r}; correct one of them")


def _check_learnable(path: Path, label: str, samples: pd.DataFrame, left_out: Sequence[str]) -> None:
    """Refuse a table without a column to learn from, and say what became of those that it has."""
    try:
        constant = [str(name) for name in samples if is_constant(samples[name])]
    except TypeError:  # lists and the like, which are refused later
        return
    if len(constant) < samples.shape[1]:
        return
    why = [*left_out, *[f"columns of one value, which say nothing: {', '.join(constant)}"] * bool(constant)]
    hint = "" if "--text" in "".join(left_out) else "; for a column of texts give --text"
    reason = "; ".join(why) or "it has no other"
    raise InputError(f"{path} must have a column to learn from beside {label!r}, got none: {reason}{hint}")


def _ids(
    path: Path, left_out: pd.DataFrame, index: np.ndarray | None, identifier: str
) -> tuple[pd.Series[Any] | None, tuple[str, ...]]:
    """The column that names the rows among those that are not learnt from, and what is to be said of it."""
    if identifier:
        ids = left_out[identifier]
        repeated = int(ids.duplicated().sum())
        return ids, (f"rows whose {identifier!r} stands in a row above, too: {repeated:,}",) * bool(repeated)
    names = names_of_rows(left_out)
    if not names:
        return None, ()
    if len(names) > 1:
        return None, (f"columns that may name the rows: {', '.join(names)}; --id shows one of them with each suspect",)
    (name,) = names
    ids = read_spelt(path, name)[name]
    ids = ids if index is None else ids.iloc[index].reset_index(drop=True)
    return ids, (f"each suspect is shown with its {name!r}, by which rows are told apart; --id names another column",)


def _few_names(identifier: str, ids: pd.Series[Any] | None) -> tuple[str, ...]:
    """What is to be said of a column that was given to name the rows and tells less than half of them apart."""
    if not identifier or ids is None or 2 * (different := ids.nunique()) >= len(ids):
        return ()
    return (
        f"`id` names {identifier!r}, which has {different:,} different values in {len(ids):,} rows and so tells few of "
        "them apart; it is left out of the learning all the same: give --id the column that names each row; to learn "
        f"from {identifier!r}, leave it out of --id",
    )


def _labelled(
    path: Path, labels: pd.Series[Any], frame: pd.DataFrame
) -> tuple[pd.Series[Any], pd.DataFrame, np.ndarray | None, tuple[str, ...]]:
    """Labels and rows without those that have no label, the rows that are left, and a note on the others."""
    known = labels.notna().to_numpy()
    if known.any() and known.all():
        return labels, frame, None, ()
    if not known.any():
        raise InputError(f"`label` must name a column of labels, got {labels.name!r} of {path}, which is empty")
    words = f"rows without a label, which are left out: {np.count_nonzero(~known):,} of {known.size:,}"
    return labels[known].reset_index(drop=True), frame[known].reset_index(drop=True), np.flatnonzero(known), (words,)


def read_label_file(path: Path, column: str) -> tuple[Any, str]:
    """Read the labels of a file: .npy, .txt with one a line, or a column of a .csv.

    Args:
        path: the file.
        column: name of the column; empty where there is one alone.

    Returns:
        The labels, and how a user calls them.

    Raises:
        InputError: the file cannot be read, has no such column, or several of which none is named.
    """
    check_regular(path)
    if path.suffix.lower() == ".npy":
        return load_array(path), path.name
    try:
        if path.suffix.lower() == ".txt":
            lines = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
            return as_labels(pd.Series(lines, dtype=object)), path.name
        frame = pd.read_csv(path, sep=spelling_of(path).mark, dtype=str, keep_default_na=False)
    except (OSError, ValueError, csv.Error) as error:  # also of an encoding, and of a file without columns
        why = " ".join(f"{error}".split())
        raise InputError(f"{path} could not be read as labels ({why}); save it in UTF-8, one label a line") from None
    if not column and frame.shape[1] > 1:
        raise InputError(f"`label` must name the column of the labels; {path} has {', '.join(frame.columns[:20])}")
    name = column or str(frame.columns[0])
    if name not in frame.columns:
        raise InputError(f"`label` must name a column of {path}, got {name!r}{did_you_mean(name, frame.columns)}")
    return as_labels(frame[name]), f"the column {name!r} of {path.name}"


def as_labels(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return the labels of a file, an empty one missing.

    Texts that all are whole numbers are spelt as the first of each number is, since 1 and 1.0 are one class, and
    ordered as the numbers are: 02 comes before 10, and stays 02.
    """
    if not all(isinstance(value, str) for value in column):
        return column
    column = column.where(column.str.strip() != "")
    if not _are_numbers(column):
        return column
    numbers, filled = pd.to_numeric(column), column.notna()
    known = numbers[filled].to_numpy()
    if (known != np.round(known)).any():
        return numbers  # no classes, and refused as such
    _, first, code = np.unique(known, return_index=True, return_inverse=True)
    codes = np.full(len(column), -1)
    codes[filled] = code
    return pd.Series(
        pd.Categorical.from_codes(codes, pd.Index(column[filled].to_numpy()[first]), ordered=True), column.index
    )


def _are_numbers(column: pd.Series[Any]) -> bool:
    """Whether all values of a column that are not empty are numbers, or texts of finite ones."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True
    texts = [value for value in column if isinstance(value, str) and value.strip()]
    return bool(texts) and bool(np.isfinite(pd.to_numeric(pd.Series(texts), errors="coerce")).all())
