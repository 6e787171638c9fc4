"""Tables of somebody's files: which column is the label, which ones only tell rows apart, and which are dates."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.audit.labels import FEWEST_SAMPLES
from labelnoise.audit.table_files import file_notes, nameless_hint, read_frame, spelling_of
from labelnoise.errors import InputError, check_regular, did_you_mean
from labelnoise.npz import load_array

IDENTIFIER = re.compile(r"(?i:(^|[\W_])(id|index|idx)($|[\W_])|^unnamed: \d+$)|[a-z]I[dD]$")
"""Names of columns that only tell rows apart: id, row_index, userId, and what an unnamed index is read as."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of somebody's, its label apart."""

    labels: pd.Series[Any]
    samples: pd.DataFrame
    index: np.ndarray | None
    """Row of each sample in the file, where rows without a label were left out."""
    notes: tuple[str, ...]


def read_labelled(path: Path, label: str, text: str, ignore: Sequence[str]) -> Table:
    """Read a table, and take its label apart.

    Args:
        path: a CSV, TSV or Parquet file.
        label: name of the column of the labels.
        text: name of a column of texts, which then is the only one; empty for all columns.
        ignore: names of columns that are left out.

    Raises:
        InputError: the file cannot be read, a column is not there, or none is left to learn from.
    """
    frame = read_frame(path, *(name for name in (label, text) if name))
    if not label:
        raise InputError(
            f"`label` must name the column of the labels; {path} has {', '.join(frame.columns[:20])}"
            f"{nameless_hint(path, frame)}"
        )
    for flag, names in (("label", [label]), ("text", [text] * bool(text)), ("ignore", ignore)):
        for name in names:
            if name not in frame.columns:
                near = did_you_mean(name, frame.columns) + nameless_hint(path, frame)
                raise InputError(f"`{flag}` must name a column of {path}, got {name!r}{near}")
    for flag, name in (("text", text), *(("ignore", name) for name in ignore)):
        if name and name == label:
            raise InputError(f"`{flag}` must name another column than the label, got {name!r}; correct one of them")
    if text and text in ignore:
        raise InputError(f"`ignore` must not name the column of texts, got {text!r}; correct one of them")
    said = file_notes(path, frame)
    labels, frame, index, notes = _labelled(path, as_labels(frame[label]), frame)
    notes = (*said, *notes)
    if text:
        if _are_numbers(frame[text]):
            raise InputError(f"`text` must name a column of texts, got numbers in {text!r}; leave it out")
        return Table(labels, frame[[text]], index, notes)
    rest, left_out = without_names(frame.drop(columns=[label, *ignore]))
    if not rest.shape[1]:
        why = f" ({left_out[0]})" if left_out else ""
        raise InputError(f"{path} must have a column beside {label!r}{why}; for a column of texts give --text")
    return Table(labels, rest, index, (*notes, *left_out))


def _labelled(
    path: Path, labels: pd.Series[Any], frame: pd.DataFrame
) -> tuple[pd.Series[Any], pd.DataFrame, np.ndarray | None, tuple[str, ...]]:
    """Labels and rows without those that have no label, the rows that are left, and a note on the others."""
    known = labels.notna().to_numpy()
    if known.all():
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
            return as_labels(pd.Series(path.read_text().removesuffix("\n").split("\n"), dtype=object)), path.name
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


def without_names(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table without the columns that only tell rows apart, and notes on them.

    Those of fewer rows than an audit takes are kept: some may differ in all by chance.
    """
    kinds = (
        (_is_name, "columns whose every value differs are taken for names and left out"),
        (_is_number_of_row, "columns of whole numbers that only count the rows or identify them are left out"),
    )
    notes = []
    for is_kind, words in kinds if len(frame) >= FEWEST_SAMPLES else ():
        names = [name for name in frame if is_kind(frame[name])]
        frame = frame.drop(columns=names)
        if names:
            notes.append(f"{words}: {', '.join(map(str, names))}")
    return frame, tuple(notes)


def _is_name(column: pd.Series[Any]) -> bool:
    """Whether a column of words only tells rows apart; dates, of which each may be another one, do not."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    return _distinct(column) and as_dates(column) is None


def _is_number_of_row(column: pd.Series[Any]) -> bool:
    """Whether whole numbers, all different, come in order or bear the name of an identifier."""
    if not pd.api.types.is_integer_dtype(column) or not _distinct(column):
        return False
    return bool(column.is_monotonic_increasing or column.is_monotonic_decreasing or IDENTIFIER.search(str(column.name)))


def _distinct(column: pd.Series[Any]) -> bool:
    try:
        return column.nunique() == len(column)
    except TypeError:  # lists and the like, which are refused later
        return False


DATE = re.compile(r"\s*(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|(\d{1,2})([-/.])(\d{1,2})\3\d{4})(?:[ T]\d{1,2}:\d{2}.*)?\s*")
"""What a date looks like: the year has four digits, a time may follow."""


def as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column of texts that all are dates as times, NaT where there is none; None for any other column.

    Of 3/4/2020 the day comes first where a value of the column says so, and where it is written with dots; else the
    month.
    """
    if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    texts = [value for value in column if not (value is None or value is pd.NA or value != value)]
    dates = [DATE.fullmatch(value) if isinstance(value, str) else None for value in texts]
    if not texts or None in dates:
        return None
    parts = [(int(match[2]), match[3], int(match[4])) for match in dates if match and match[2]]
    days = [any(part[at] > 12 for part in parts) for at in (0, 2)]  # type: ignore[operator]
    if all(days) or len(parts) not in (0, len(texts)):  # years first and last: no column of one form
        return None
    day_first = bool(parts) and (days[0] or (not days[1] and all(part[1] == "." for part in parts)))
    try:
        return pd.to_datetime(column, dayfirst=day_first, utc=True, format="mixed").dt.tz_localize(None)
    except (ValueError, OverflowError):
        return None
