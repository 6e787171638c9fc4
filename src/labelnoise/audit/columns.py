"""What a column is: a name of the rows, dates, texts, or numbers with a few words among them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.audit.labels import FEWEST_SAMPLES
from labelnoise.errors import first_few

IDENTIFIER = re.compile(r"(?i:(^|[\W_])(id|index|idx)($|[\W_])|^unnamed: \d+$)|[a-z]I[dD]$")
"""Names of columns that only tell rows apart: id, row_index, userId, and what an unnamed index is read as."""
NUMBER = re.compile(
    r"(?i:(^|[\W_])(no|nr|num|number|key|code|serial|account|ticket|invoice)($|[\W_]))|[a-z](No|Nr|Number|Key)$"
)
"""Names of columns whose whole numbers name rows, where nearly all of them differ: customer_no, ticketNumber."""
TEXT = 4
"""Words of a value, in the mean, from which on a column of words is one of texts."""
NEARLY_ALL = 0.95
"""Share of the values that are numbers (dates), from which on a column is one of numbers (dates)."""
REPEATED = 0.02
"""Share of the values that stand above already, up to which (and up to one) whole numbers may name rows."""
FEWEST_EVEN = 200
"""Values below which nothing is said of how evenly they lie."""
EVEN, UNEVEN = 0.05, 1.2
"""Values lie evenly where the distance of Kolmogorov and Smirnov from a uniform distribution is at most the first, plus
the second over the square root of how many they are: of uniform ones more than 99 in 100 times."""
LOOKED_AT = 1_000
"""First rows that say whether a column is one of texts."""


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


def key_notes(frame: pd.DataFrame) -> list[str]:
    """Return a note on columns of whole numbers that may name rows, though they were not left out for it.

    Nearly every value differs in them (`REPEATED`), and the name is that of an identifier (`NUMBER`), or the values
    fill half of their range, as 1 to n in any order do, or 200 values or more lie evenly in it (`EVEN`), as numbers of
    customers do. Fractions are measured, and so are whole numbers that repeat, or that lie closer together in some
    places than in others, as prices do.
    """
    if len(frame) < FEWEST_SAMPLES:
        return []
    names = [str(name) for name in frame if _may_be_key(frame[name])]
    if not names:
        return []
    which = first_few(names, most=3)
    return [
        f"columns of whole numbers, nearly all different, that may only name the rows ({len(names)} of "
        f"{frame.shape[1]}), and are learnt from: {which}; where one names the rows, show it with each suspect "
        f"(--id {names[0]}) or leave it out (--ignore {names[0]}; in Python drop it from `X`); what is measured or "
        "counted may stay"
    ]


def _may_be_key(column: pd.Series[Any]) -> bool:
    """Whether a column of numbers names rows by its values, see `key_notes`."""
    numbers = as_numbers(column)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        values = column.dropna().to_numpy()
    elif numbers:
        values = numbers[0][np.isfinite(numbers[0])]
    else:
        return False
    if values.size < FEWEST_SAMPLES or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return False  # infinities are refused later
    if (values % 1 != 0).any():
        return False
    distinct = np.unique(values).astype(float)
    if values.size - distinct.size > max(REPEATED * values.size, 1):
        return False
    span = distinct[-1] - distinct[0] + 1
    if any(kind.search(str(column.name)) for kind in (IDENTIFIER, NUMBER)) or 2 * distinct.size >= span:
        return True
    even = np.abs((distinct - distinct[0]) / span - np.arange(distinct.size) / distinct.size).max()
    return values.size >= FEWEST_EVEN and bool(even <= EVEN + UNEVEN / np.sqrt(values.size))


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


def as_dates(column: pd.Series[Any]) -> tuple[pd.Series[Any], str] | None:
    """Return a column of texts of which nearly all are dates as times, NaT elsewhere, and in words what stands there.

    Of 3/4/2020 the day comes first where a value of the column says so, and where it is written with dots; else the
    month. What looks like a date that no calendar has, such as 0000-00-00, is a word. An empty cell counts for neither.

    Returns:
        None for any other column. The words are empty where all are dates.
    """
    if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    known = np.array([not (value is None or value is pd.NA or value != value) for value in column], dtype=bool)
    texts = column[known]
    matches = [DATE.fullmatch(value) if isinstance(value, str) else None for value in texts]
    dates = np.array([match is not None for match in matches], dtype=bool)
    if not dates.size or dates.mean() < NEARLY_ALL:
        return None
    parts = [(int(match[2]), match[3], int(match[4])) for match in matches if match and match[2]]
    days = [any(part[at] > 12 for part in parts) for at in (0, 2)]  # type: ignore[operator]
    if all(days) or len(parts) not in (0, dates.sum()):  # years first and last: no column of one form
        return None
    day_first = bool(parts) and (days[0] or (not days[1] and all(part[1] == "." for part in parts)))
    spelt = texts.where(dates)
    times = pd.to_datetime(spelt, dayfirst=day_first, utc=True, format="mixed", errors="coerce").dt.tz_localize(None)
    dates = times.notna().to_numpy()
    if dates.mean() < NEARLY_ALL:
        return None
    every = np.full(len(column), np.datetime64("NaT", "us"))
    every[known] = times.to_numpy(dtype="datetime64[us]")
    return pd.Series(every, column.index), _others(texts, dates)


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
    if not are.size or not NEARLY_ALL <= are.mean() < 1:
        return None
    values = np.full(len(column), np.nan)
    values[known] = np.where(are, numbers, np.nan)
    return values, _others(words, are)


def _others(values: pd.Series[Any], are: np.ndarray) -> str:
    """How many of some values are not what nearly all are, and which; empty where all are."""
    if are.all():
        return ""
    counts = values[~are].astype(str).value_counts()
    which = first_few([*map(repr, counts.index)], most=3)
    return f"{np.count_nonzero(~are):,} of {are.size:,}: {which}"
