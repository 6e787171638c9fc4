"""What callers hand in, as numbers, series, masks and labels, or a refusal."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, check_boolean, check_integer, described, is_number

REMEDY = "give an array, a list, a pandas column or a tensor of them"


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Real numbers of any shape, as floats."""
    array = on_host(values)
    real = array.dtype.kind in "iuf" or (array.dtype.kind == "O" and all(map(is_number, array.flat)))
    if not real:
        raise InputError(f"`{name}` must be real numbers, got {described(values)}; {REMEDY}")
    return array if array.dtype.kind == "f" else array.astype(float)


def as_series(name: str, values: Any) -> np.ndarray:
    """Real numbers along one axis, as floats."""
    series = as_numbers(name, values)
    if series.ndim != 1:
        raise InputError(
            f"`{name}` must be a series, one number a record, got shape {series.shape}; give that of one run"
        )
    return series


def as_long_series(**series: Any) -> list[np.ndarray]:
    """Series by name, as floats, all as long as the first."""
    arrays = {name: as_series(name, values) for name, values in series.items()}
    first, length = next((name, array.size) for name, array in arrays.items())
    for name, array in arrays.items():
        if array.size != length:
            raise InputError(
                f"`{name}` must be as long as `{first}` ({length}), got {array.size}; give the series of one run"
            )
    return list(arrays.values())


def as_mask(name: str, values: Any, remedy: str = "give y_given != y_true") -> np.ndarray:
    """Truth values of any shape: booleans, or integers that are all 0 or 1."""
    array = on_host(values)
    whole = array.dtype.kind in "iu" and ((array == 0) | (array == 1)).all()
    objects = array.dtype.kind == "O" and all(isinstance(value, bool | np.bool_) for value in array.flat)
    if not (array.dtype.kind == "b" or whole or objects or array.size == 0):
        raise InputError(f"`{name}` must be a mask of truth values, got {described(values)}; {remedy}")
    return array.astype(bool)


def as_labels(name: str, labels: np.ndarray) -> np.ndarray:
    """Labels of one axis: texts, integers, truth values, or floats that are all whole; of objects, what they are."""
    if labels.ndim != 1 or not labels.size:
        raise InputError(f"`{name}` must hold one label a sample, got {described(labels)}; give a vector")
    if labels.dtype.kind == "O":
        labels = _out_of_objects(name, labels)
    if labels.dtype.kind == "f":
        _refuse_missing(name, np.isnan(labels))
        fractions = labels[~np.isfinite(labels) | (labels != np.round(labels))]
        if fractions.size:
            raise InputError(
                f"`{name}` must hold classes, got floats such as {fractions[0]:g} (Unknown label type: continuous); "
                "classes have no fractions: sort the values into classes first"
            )
    elif labels.dtype.kind not in "iubU":
        raise InputError(f"`{name}` must hold texts or integers, got {described(labels)}; convert them first")
    return labels


def _out_of_objects(name: str, labels: np.ndarray) -> np.ndarray:
    """Objects as texts, integers or floats: the narrowest of these that holds them all."""
    import pandas as pd  # takes longer to load than all else here

    _refuse_missing(name, pd.isna(labels))
    whole = bool | int | np.integer | np.bool_
    for kinds, dtype in ((str, str), (whole, np.int64), (whole | float | np.floating, float)):
        if all(isinstance(value, kinds) for value in labels):
            try:
                return labels.astype(dtype)
            except OverflowError:
                raise InputError(f"`{name}` must hold integers below 2^63, got a larger one; give texts") from None
    raise InputError(
        f"`{name}` must hold texts or integers throughout, got {described(list(labels[:3]))}; make them alike"
    )


def _refuse_missing(name: str, missing: np.ndarray) -> None:
    if missing.any():
        raise InputError(
            f"`{name}` must have no missing value, got an empty one (NaN, None) for {missing.sum()} of the samples; "
            "leave these out, or give them a class"
        )


def check_settings(n_samples: Any, n_classes: Any, history: Any, budget: Any, stop: Any) -> None:
    """Refuse what a `Recorder` cannot be made of."""
    for name, value, least in (("n_samples", n_samples, 1), ("n_classes", n_classes, 2), ("budget", budget, 0)):
        check_integer(name, value, least, 2**30 if name == "budget" else 10)
    if not isinstance(history, np.bool_):  # which serves as well: it is written to no file
        check_boolean("history", history)
    if stop is not None and not callable(stop):
        raise InputError(f"`stop` must be callable with losses, got {described(stop)}; use for example LeastLoss()")
    if n_classes > 2**31:
        raise InputError(f"`n_classes` must be at most 2^31, got {n_classes}; count the classes in the data")


def read_held_out(values: Any, n: int) -> np.ndarray:
    """A mask (n,) of the samples that are not trained on, a copy; None holds none out.

    Raises:
        InputError: it is no mask, or one of another length.
    """
    if values is None:
        return np.zeros(n, bool)
    mask = as_mask("held_out", values, "give true for each sample that is not trained on")
    if mask.shape != (n,):
        raise InputError(
            f"`held_out` must hold a truth value a sample ({n}), got shape {mask.shape}; take the mask of these data"
        )
    return mask.copy()
