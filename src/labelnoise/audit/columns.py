"""What a column is: a name of the rows, dates, texts, or numbers with a few words among them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.audit.labels import FEWEST_SAMPLES

IDENTIFIER = re.compile(r"(?i:(^|[\W_])(id|index|idx)($|[\W_])|^unnamed: \d+$)|[a-z]I[dD]$")
"""Names of columns that only tell rows apart: id, row_index, userId, and what an unnamed index is read as."""
TEXT = 4
"""Words of a value, in the mean, from which on a column of words is one of texts."""
NUMBERS = 0.95
"""Share of the values that are numbers, from which on a column is one of numbers."""
LOOKED_AT = 1_000
"""First rows that say whether a column is one of texts."""
LISTED = 3
"""Values that a note names."""


def without_names(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table without the columns that only tell rows apart, and notes on them.

    Those of fewer rows than an audit takes are kept: some may differ in all by chance.
    """
    kinds = (
        (_is_name, "columns whose every value differs are taken for names and left out"),
        (_is_number_of_row, "columns of whole numbers that only count the rows or identify them are left out"),
    )
    whole, notes = frame, []
    for is_kind, words in kinds if len(frame) >= FEWEST_SAMPLES else ():
        names = [name for name in frame if is_kind(frame[name])]
        frame = frame.drop(columns=names)
        if names:
            texts = [str(name) for name, are in zip(names, texts_among(whole, names), strict=True) if are]
            hint = f"; to learn from texts, give their column alone (--text {texts[0]})" if texts else ""
            notes.append(f"{words}: {', '.join(map(str, names))}{hint}")
    return frame, tuple(notes)


def names_of_rows(frame: pd.DataFrame) -> list[str]:
    """Return the columns that may name the rows: those of words that all differ and are no texts, else of numbers."""
    for is_kind in (_is_name, _is_number_of_row):
        names = [str(name) for name in frame if is_kind(frame[name])]
        if names := [name for name, are in zip(names, texts_among(frame, names), strict=True) if not are]:
            return names
    return []


def texts_among(frame: pd.DataFrame, names: Iterable[Hashable]) -> list[bool]:
    """Return which of some columns hold texts of several words."""
    heads = (frame[name].head(LOOKED_AT).dropna() for name in names)
    return [bool(len(head)) and float(np.mean([len(f"{value}".split()) for value in head])) >= TEXT for head in heads]


def is_constant(column: pd.Series[Any]) -> bool:
    """Whether all values are the same, a missing one being one.

    Raises:
        TypeError: its values are lists and the like, which cannot be compared.
    """
    return column.nunique(dropna=False) <= 1


def _is_name(column: pd.Series[Any]) -> bool:
    """Whether a column of words only tells rows apart; dates and fractions, which may all differ, do not."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    if not _distinct(column) or as_dates(column) is not None:
        return False
    numbers = as_numbers(column)
    return numbers is None or not (numbers[0] % 1 > 0).any()


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


def as_numbers(column: pd.Series[Any]) -> tuple[np.ndarray, str] | None:
    """Return a column of words of which nearly all are numbers as such, NaN elsewhere, and in words what stands there.

    With empty cells in place of such words the column would be numbers; as words, 10 comes before 9. An empty cell
    counts for neither. Texts that all are numbers are left words: somebody made texts of them.

    Returns:
        None for any other column, also for one of categories.
    """
    if not pd.api.types.is_object_dtype(column.dtype) and not pd.api.types.is_string_dtype(column.dtype):
        return None
    known = column.notna().to_numpy()
    words = column[known].astype(str)
    numbers = pd.to_numeric(words, errors="coerce").to_numpy(dtype=float)
    are = np.isfinite(numbers)
    if not are.size or not NUMBERS <= are.mean() < 1:
        return None
    values = np.full(len(column), np.nan)
    values[known] = np.where(are, numbers, np.nan)
    counts = words[~are].value_counts()
    which = ", ".join(map(repr, counts.index[:LISTED])) + ", ..." * (len(counts) > LISTED)
    return values, f"{np.count_nonzero(~are):,} of {are.size:,}: {which}"
