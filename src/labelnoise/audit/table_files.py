"""Tables as somebody's files hold them: what separates their values, whether they have names, how values are spelt."""

from __future__ import annotations

import csv
import gzip
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.errors import InputError, check_regular, first_few

TABLES = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")
"""Files that hold a table."""
MARKS = (",", ";", "\t", "|")
"""What may separate the values of a row of a .csv file."""
LOOKED_AT = 200
"""First lines of a file that say how it is written."""
MOST_ROWS, MOST_COLUMNS = 2_000, 200
"""Values among which a name is looked for, and columns whose names are."""
DECIMAL_COMMA, DECIMAL_POINT = re.compile(r"[-+]?\d+,\d+"), re.compile(r"[-+]?\d*\.\d+")


@dataclass(frozen=True)
class Spelling:
    """How a text file writes a table."""

    mark: str = ","
    """What separates the values of a row."""
    decimal: str = "."
    """What separates the whole of a number from its fraction."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of a .csv file that is no CSV."""
        if self.mark == ",":
            return ()
        comma = ", with decimal commas" * (self.decimal == ",")
        return (f"the values of the file were read as separated by {self.mark!r}{comma}",)


def form_of(path: Path) -> str:
    """Return the suffix of a file in small letters, of a compressed one both: `.csv.gz`."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def spelling_of(path: Path) -> Spelling:
    """Return how a text file writes its table, by its first lines.

    Commas separate values where the line of names has one; else the first other mark does that cuts every line into as
    many values. Where commas separate none, numbers may have them for decimals.
    """
    if form_of(path).startswith(".tsv"):
        return Spelling("\t")
    if len(next(iter(_first_rows(path, ",")), [])) > 1:
        return Spelling()
    for mark in MARKS[1:]:
        rows = _first_rows(path, mark)
        widths = {len(row) for row in rows}
        if len(widths) == 1 and max(widths) > 1:
            values = [value.strip() for row in rows[1:] for value in row]
            comma = any(map(DECIMAL_COMMA.fullmatch, values)) and not any(map(DECIMAL_POINT.fullmatch, values))
            return Spelling(mark, "," if comma else ".")
    return Spelling()


def _first_rows(path: Path, mark: str) -> list[list[str]]:
    """The values of the first lines, names included; lines without any are passed over."""
    unpacked = gzip.open if path.suffix.lower() == ".gz" else open
    with unpacked(path, "rt", newline="", encoding="utf-8-sig") as file:
        return list(islice(filter(None, csv.reader(file, delimiter=mark)), LOOKED_AT))


def read_frame(path: Path, *texts: str) -> pd.DataFrame:
    """Read a table; of a CSV file these columns as texts, where NA may be a class.

    Raises:
        InputError: it cannot be read.
    """
    check_regular(path)
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            how = spelling_of(path)
            _check_width(path, how.mark)
            frame = pd.read_csv(path, sep=how.mark, decimal=how.decimal, low_memory=False)
            known = [name for name in dict.fromkeys(texts) if name in frame]
            if known:  # once more: pandas knows one rule of what is missing for a whole file
                frame[known] = read_spelt(path, *known)[known]
    except ImportError:
        raise InputError(
            f"{path} needs pyarrow to be read; pip install 'labelnoise[tables]', or save it as CSV"
        ) from None
    except Exception as error:  # a damaged file may raise anything
        why = " ".join(f"{error}".split())
        raise InputError(
            f"{path} could not be read as a table ({why}); save it as UTF-8 CSV with a line of names"
        ) from None
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def read_spelt(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table whose file was read before, or these columns, each value of a CSV file as it is spelt there."""
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path, columns=[*columns] or None)
    mark, chosen = spelling_of(path).mark, [*columns] or None
    return pd.read_csv(path, sep=mark, usecols=chosen, dtype=str, keep_default_na=False)


def _check_width(path: Path, mark: str) -> None:
    """Refuse rows of more values than names, whose first pandas takes for names of the rows."""
    names, first = [*_first_rows(path, mark)[:2], [], []][:2]
    if len(first) > len(names):
        raise ValueError(f"its rows hold {len(first)} values, its first line {len(names)} names")


def file_notes(path: Path, frame: pd.DataFrame) -> tuple[str, ...]:
    """Return what is to be said of how a file writes its table: unusual marks, and names that look like values."""
    if path.suffix.lower() == ".parquet":
        return ()
    lacks = (f"{_NAMELESS.format(names=_first_names(frame))}, or the first row is lost",) * _names_are_values(frame)
    return (*spelling_of(path).notes, *lacks)


def nameless_hint(path: Path, frame: pd.DataFrame) -> str:
    """Return words for the end of a refusal of a name, where the names of a file look like values; else none."""
    if path.suffix.lower() == ".parquet" or not _names_are_values(frame):
        return ""
    return f"; {_NAMELESS.format(names=_first_names(frame))}"


_NAMELESS = "its first line looks like values ({names}): put a line of names above it"


def _first_names(frame: pd.DataFrame) -> str:
    return first_few(list(frame.columns), most=3)


def _names_are_values(frame: pd.DataFrame) -> bool:
    """Whether half of the names or more are such as values are: one of their own column, a number with a fraction."""
    head = frame.loc[:, ~frame.columns.duplicated()].iloc[:MOST_ROWS, :MOST_COLUMNS]
    alike = [_is_value(name, head[name]) for name in head.columns]
    return bool(alike) and 2 * sum(alike) >= len(alike)


def _is_value(name: str, column: pd.Series[Any]) -> bool:
    try:
        number = float(name)
    except ValueError:
        plain = re.sub(r"\.\d+$", "", name)  # pandas tells equal names apart by such an ending
        return bool(column.astype(str).str.strip().isin([name.strip(), plain.strip()]).any())
    if not np.isfinite(number):
        return False
    return number != round(number) or bool((pd.to_numeric(column, errors="coerce") == number).any())
