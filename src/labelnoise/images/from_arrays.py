"""Data out of arrays and tables that somebody holds, with labels of any kind and with or without a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, check_boolean, described
from labelnoise.images.data import Data
from labelnoise.record.inputs import as_labels

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from numpy.typing import ArrayLike


def data_from_arrays(
    x: Shaped[ArrayLike, "n ..."],
    y: Shaped[ArrayLike, " n"],
    *,
    x_test: Shaped[ArrayLike, "n_test ..."] | None = None,
    y_test: Shaped[ArrayLike, " n_test"] | None = None,
    y_true: Shaped[ArrayLike, " n"] | None = None,
    normalise: bool = True,
    name: str = "arrays",
) -> Data:
    """Make data for `fit` out of arrays: a table (n, d), images (n, C, H, W), or samples of any other shape.

    Nothing is drawn and no label is flipped: `y` are the given labels. A network sees float32 values with mean 0 and
    standard deviation 1 over the training samples, in each feature of a table (each channel of images): along the
    second axis.

    Args:
        x: training samples, numbers: an array, a tensor, a data frame of numbers. Images of uint8 stay as they are.
        y: their given labels: integers, texts or truth values; the classes are their values, ascending.
        x_test: test samples of the same shape; None for none.
        y_test: their true labels, among the classes; given with `x_test`.
        y_true: true labels of the training samples, for experiments; None where they are not known.
        normalise: whether the network sees normalised values; else the values themselves (of uint8, divided by 255).
        name: how the data are called.

    Raises:
        InputError: what are no numbers, missing or infinite values, labels that are floats, missing or all the same, or
            parts that do not fit each other.

    Example:
        >>> data = data_from_arrays([[0.0, 1.0], [2.0, 3.0], [4.0, 5.5]], ["dog", "cat", "dog"])
        >>> data.class_names, data.y_given, data.truth_known, len(data.x_test)
        (('cat', 'dog'), array([1, 0, 1]), False, 0)
    """
    if not isinstance(name, str):
        raise InputError(f"`name` must be a text, got {name!r}; leave it out")
    check_boolean("normalise", normalise)
    train, labels = _samples("x", x), _labels("y", y)
    _check_length("y", labels, "x", train)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(f"`y` must hold two classes or more, got {classes.item(0)!r} alone; there is nothing to learn")
    if (x_test is None) != (y_test is None):
        raise InputError("`x_test` and `y_test` must be given together, got one of them; leave both out for no test")
    test = train[:0] if x_test is None else _samples("x_test", x_test)
    if test.shape[1:] != train.shape[1:] or test.dtype != train.dtype:
        raise InputError(
            f"`x_test` must hold samples like those of `x` ({train.dtype} {train.shape[1:]}), got {test.dtype} "
            f"{test.shape[1:]}; prepare both alike"
        )
    answers = np.zeros(0, np.int64) if y_test is None else _positions("y_test", y_test, classes)
    _check_length("y_test", answers, "x_test", test)
    truth = np.full(len(labels), -1) if y_true is None else _positions("y_true", y_true, classes)
    _check_length("y_true", truth, "x", train)
    mean, std = _scale(train) if normalise else (np.zeros(train.shape[1]), np.ones(train.shape[1]))
    whole = classes.dtype.kind in "iu"
    return Data(
        name=name,
        x_train=train,
        y_true=truth.astype(np.int64),
        y_given=np.searchsorted(classes, labels),
        x_test=test,
        y_test=answers,
        classes=tuple(classes.tolist()) if whole else tuple(range(len(classes))),
        class_names=tuple(str(value) for value in classes),
        index=np.arange(len(labels)),
        mean=mean,
        std=std,
    )


def _samples(name: str, values: Any) -> np.ndarray:
    """Samples (n, ...) with one feature or more: uint8 images as they are, everything else as float32."""
    if isinstance(values, pd.DataFrame):
        words = [str(column) for column, kind in values.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        if words:
            raise InputError(
                f"`{name}` must hold numbers, got the column {words[0]!r} of another type ({len(words)} in all); "
                "encode such columns first"
            )
        values = values.to_numpy(dtype=float, na_value=np.nan)
    array = on_host(values)
    if array.dtype.kind not in "iufb":
        raise InputError(f"`{name}` must hold numbers, got {described(values)}; encode texts and categories first")
    if array.ndim < 2 or not array.size:
        raise InputError(f"`{name}` must have a row a sample and one feature or more, got shape {array.shape}; reshape")
    if array.dtype == np.uint8 and array.ndim == 4:
        return array
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(floats))
    if len(wrong):
        at, value = tuple(wrong[0].tolist()), array[tuple(wrong[0])]
        raise InputError(
            f"`{name}` must hold finite numbers in the range of float32, got {value} at {at} ({len(wrong)} in all); "
            "fill missing values first"
        )
    return floats


def _labels(name: str, values: Any) -> np.ndarray:
    """Labels (n,) as integers or texts."""
    labels = as_labels(name, on_host(values))
    if labels.dtype.kind == "f":  # also whole ones: unlike an audit, nothing here refuses many classes
        raise InputError(f"`{name}` must be integers or texts, got floats; classes have no fractions: convert them")
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels


def _positions(name: str, values: Any, classes: np.ndarray) -> np.ndarray:
    """Labels as positions among the classes."""
    labels = _labels(name, values)
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise InputError(f"`{name}` must be labels like those of `y`, got {described(values)}; use the same names")
    absent = labels[~np.isin(labels, classes)]
    if absent.size:
        raise InputError(
            f"`{name}` must lie among the classes of `y`, got {absent.item(0)!r} ({absent.size} in all); leave them out"
        )
    return np.searchsorted(classes, labels)


def _check_length(name: str, labels: np.ndarray, samples: str, values: np.ndarray) -> None:
    if len(labels) != len(values):
        raise InputError(
            f"`{name}` must hold a label a row of `{samples}` ({len(values)}), got {len(labels)}; give one for each"
        )


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along the second axis, of images divided by 255; 1 for what is constant.

    Floats have no exact sums, unlike the pixels of `data._channel_scale`.
    """
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    mean, std = values.mean(axis=axes, dtype=float), values.std(axis=axes, dtype=float)
    unit = 255 if values.dtype == np.uint8 else 1
    return mean / unit, np.where(std > 1e-12 * np.abs(mean), std / unit, 1.0)
