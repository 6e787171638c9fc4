"""What the samples are: a table, texts, dense vectors or images, made ready for the model of their kind."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd

from labelnoise.arrays import on_host
from labelnoise.audit.columns import as_dates, as_numbers, is_constant, key_notes, without_names
from labelnoise.audit.encoding import tfidf
from labelnoise.audit.labels import check_size
from labelnoise.audit.pictures import IMAGE_FILES, are_pictures, read_picture_array
from labelnoise.errors import InputError, described, first_few

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    Samples = pd.DataFrame | pd.Series[Any] | ArrayLike | torch.Tensor
    Labels = pd.Series[Any] | pd.Categorical | ArrayLike
    Model: TypeAlias = "Classifier | torch.nn.Module | None"


class Classifier(Protocol):
    """What of a classifier of scikit-learn an audit needs; clones are fitted."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from samples and their classes."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings, to clone by."""


MaterialKind = Literal["table", "text", "dense", "image"]

WIDE = 64
"""Columns of numbers from which on a row is a dense vector, such as an embedding, and not a table."""
MOST_CATEGORIES = 254
"""Categories that boosting tells apart in one column; a column of more counts by the order of its values."""


@dataclass(frozen=True, eq=False)
class Material:
    """Samples, and what was noticed about them."""

    kind: MaterialKind
    samples: Any
    """A DataFrame of numbers and categories, a list of texts, vectors (n, d) float32 or images (n, C, H, W) uint8."""
    notes: tuple[str, ...] = ()
    """A sentence each: what was left out, and what leaks."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @cached_property
    def tfidf(self) -> Any:
        """TF-IDF matrix (n, words) of texts: made once for all trainings and for the neighbours."""
        return tfidf(self.samples)


def as_pandas(X: Any) -> Any:
    """Return a data frame of polars, Arrow or cuDF as one of pandas: as an array it would lose names and types.

    Raises:
        InputError: what this needs is not installed.
    """
    if isinstance(X, pd.DataFrame) or not hasattr(X, "to_pandas"):
        return X
    if not (hasattr(X, "columns") or hasattr(X, "column_names")):
        return X
    try:
        return X.to_pandas()
    except ImportError as absent:
        raise InputError(
            f"`X` must become a pandas DataFrame, but its `to_pandas` fails ({absent}); install it"
        ) from None


def read_material(X: Any) -> Material:
    """Read samples of any kind.

    Args:
        X: a DataFrame, of which columns that only tell rows apart are left out; texts (a list, a Series or an array of
            them); numbers (n, d), from 64 columns on taken for dense vectors; or images (n, H, W), (n, C, H, W) or
            (n, H, W, C) with C = 1, 3 or 4, uint8 or floats in [0, 1].

    Raises:
        InputError: anything else, no columns, or infinite values.
    """
    if isinstance(X, pd.DataFrame):
        return _table(X, named=True)
    if hasattr(X, "toarray"):  # a sparse matrix
        raise InputError("`X` must be dense, got a sparse matrix; give `X.toarray()`, or the texts that it was made of")
    if isinstance(X, pd.Series) or (isinstance(X, list | tuple) and any(isinstance(value, str) for value in X)):
        return _texts(list(X))
    array = on_host(X)
    if array.ndim == 1 and array.dtype.kind in "OU" and any(isinstance(value, str) for value in array):
        return _texts(array.tolist())
    if array.dtype.kind == "c":
        raise InputError("`X` must hold real numbers, got complex ones (Complex data not supported); give real parts")
    if are_pictures(array):
        check_size(len(array))
        images, said = read_picture_array(array, "`X`")
        return Material("image", images, (*said,))
    if array.ndim == 2 and array.dtype.kind == "O":
        try:
            array = array.astype(float)
        except (TypeError, ValueError):
            wrong = [value for value in array.flat if not isinstance(value, str | int | float | type(None))]
            if wrong:  # in the words that scikit-learn asks of its estimators
                raise TypeError(f"argument must be a string or a number, got {described(wrong[0])} in `X`") from None
            return _table(pd.DataFrame(array))
    if array.ndim != 2 or array.dtype.kind not in "iufb":
        raise InputError(
            f"`X` must be a table, texts, vectors (n, d) or images, got {described(X)}. Reshape your data: "
            "one row a sample, as by X.reshape(n, -1)"
        )
    if array.shape[1] < WIDE:
        return _table(pd.DataFrame(array))
    return _dense(array)


def _table(frame: pd.DataFrame, named: bool = False) -> Material:
    """Numbers as floats and everything else as categories, without constant columns.

    Where columns have names, those that only tell rows apart are left out, too.
    """
    if frame.shape[1] == 0:
        raise InputError(
            f"`X` must have a column, got 0 feature(s) (shape={frame.shape}) while a minimum of 1 is required; add some"
        )
    check_size(len(frame))
    _check_names(frame.columns)
    if frame.columns.has_duplicates:
        frame = frame.set_axis(range(frame.shape[1]), axis=1)
    notes: list[str] = []
    if named:
        frame, left_out = without_names(frame)
        notes += [*left_out, *key_notes(frame)]
    read = [_column(str(name), frame[name]) for name in frame.columns]
    if all(column.values is None for column in read):
        if read:  # else all were left out
            notes.append(f"columns of one value: {', '.join(column.name for column in read)}")
        raise InputError(
            f"`X` must have a column that is not constant, got none ({'; '.join(notes)}); no label can be told from "
            "such data"
        )
    for kind, words in KINDS.items():
        if names := [column.words or column.name for column in read if column.kind == kind]:
            notes.append(words.format(count=len(names), all=frame.shape[1], which=first_few(names)))
    kept = {column.name: column.values for column in read if column.values is not None}
    return Material("table", pd.DataFrame(kept), (*notes,))


KINDS = {
    "constant": "constant columns, which say nothing ({count} of {all}): {which}",
    "dates": "columns read as dates ({count} of {all}): {which}",
    "gaps": "columns of dates, whose few other values count as empty ({count} of {all}): {which}",
    "numbers": "columns of numbers, whose few other values count as empty ({count} of {all}): {which}",
    "ranks": f"columns of more than {MOST_CATEGORIES} different words, which count by their alphabetical order alone "
    "({count} of {all}): {which}; if these are numbers or dates, write them plainly (1234.5, 2024-12-31), else leave "
    "such a column out or give it alone as texts",
}
"""What is said of columns that are not simply numbers or categories."""


class _Column(NamedTuple):
    name: str
    values: np.ndarray | pd.Series[Any] | None
    """None of a column that says nothing."""
    kind: str = ""
    """A key of `KINDS`."""
    words: str = ""
    """What a note says of it; empty for its name."""


def _check_names(names: pd.Index[Any]) -> None:
    """Refuse names that differ, but not as texts."""
    first: dict[str, Any] = {}
    for name in names:
        other = first.setdefault(str(name), name)
        if type(other) is not type(name):
            raise InputError(
                f"`X` must have columns whose names differ as texts, got {other!r} and {name!r}; rename one of them"
            )


def _column(name: str, column: pd.Series[Any]) -> _Column:
    """The values of a column as numbers or categories, and what is to be said of it."""
    try:
        constant = is_constant(column)
    except TypeError:
        wrong = next(value for value in column if not isinstance(value, Hashable))
        raise InputError(
            f"`X` must hold numbers, texts, dates or truth values, got a {type(wrong).__name__} in column {name!r}; "
            "make columns of its parts, or leave it out"
        ) from None
    if constant:
        return _Column(name, None, "constant")
    if pd.api.types.is_complex_dtype(column.dtype):
        raise InputError(f"`X` must hold real numbers, got complex ones (Complex data not supported) in {name!r}")
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        return _Column(name, _as_numbers(column))
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=float, na_value=np.nan)
        if np.isinf(values).any():
            raise InputError(f"`X` must hold no infinity, got one in column {name!r}; leave such values empty")
        return _Column(name, values)
    if (dates := as_dates(column)) is not None:
        times, others = dates
        return _Column(name, _as_numbers(times), "gaps" if others else "dates", f"{name} ({others})" if others else "")
    if (numbers := as_numbers(column)) is not None:
        return _Column(name, numbers[0], "numbers", f"{name} ({numbers[1]})")
    codes, words = pd.factorize(column.astype(object).map(str, na_action="ignore"), sort=True)
    if len(words) > MOST_CATEGORIES:
        return _Column(
            name, np.where(codes < 0, np.nan, codes.astype(float)), "ranks", f"{name} ({described(words[0])})"
        )
    return _Column(name, pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(words, dtype=object))))


def _as_numbers(times: pd.Series[Any]) -> np.ndarray:
    """Times as numbers, NaN where there is none."""
    return np.where(times.isna(), np.nan, times.astype("int64").to_numpy(dtype=float))


PICTURE = re.compile(rf"(?i:\s*\S.*({'|'.join(map(re.escape, IMAGE_FILES))})\s*)")
"""A text that names an image."""


def _texts(texts: Sequence[Any]) -> Material:
    check_size(len(texts))
    missing = sum(not isinstance(text, str) for text in texts)
    texts = [text if isinstance(text, str) else "" for text in texts]
    if not any(text.strip() for text in texts):
        raise InputError("`X` must hold texts, got none that is not empty; give the column of the texts")
    if all(PICTURE.fullmatch(text) for text in texts):
        raise InputError(
            f"`X` must hold texts, got names of images such as {texts[0]}; sort these into a folder a class and audit "
            "that folder, or give an array of the images"
        )
    notes = (f"samples without a text, judged by nothing but their class: {missing}",) if missing else ()
    return Material("text", texts, notes)


def _dense(array: np.ndarray) -> Material:
    """Vectors (n, d) as float32; columns that are constant say nothing and do no harm."""
    check_size(len(array))
    values = array if array.dtype == np.float32 else array.astype(np.float32)
    for start in range(0, len(values), 8192):  # no copy of the whole
        part = values[start : start + 8192]
        if not np.isfinite(part).all():
            at = start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise InputError(f"`X` must hold finite numbers, got NaN or infinity in row {at}; fill or drop such rows")
    constant = int((values.min(axis=0) == values.max(axis=0)).sum())
    notes = (f"constant columns, which say nothing: {constant} of {values.shape[1]}",) if constant else ()
    if constant == values.shape[1]:
        raise InputError("`X` must have a column that is not constant, got none; no label can be told from such data")
    return Material("dense", values, notes)
