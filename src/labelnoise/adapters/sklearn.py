"""Classifiers of scikit-learn, recorded: the stages of boosting, or passes of `partial_fit`, are the epochs.

Each function fits the model that it is given and returns the record of all samples; of what is held out the model sees
nothing. The record counts classes by their position in `numpy.unique(y)`, whatever the labels are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, check_integer, described
from labelnoise.record.inputs import as_labels, read_held_out
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Bool, Shaped
    from numpy.typing import ArrayLike

CHUNK = 2**22
"""Outputs that are computed at once: a batch has this many numbers over the number of classes."""


def record_stages(
    model: Any,
    X: Any,
    y: Shaped[ArrayLike, " n"],
    *,
    held_out: Bool[ArrayLike, " n"] | None = None,
    history: bool = True,
) -> Recorder:
    """Fit a boosting classifier, and record all samples after each of its stages.

    Boosting memorises samples that it trains on before the stop, so one record with few samples held out tells too
    low a number of wrong labels: for how many and which use `LabelAuditor`, or a list of records in which each sample
    is held out once.

    Args:
        model: a classifier with `staged_predict_proba`, as HistGradientBoostingClassifier and
            GradientBoostingClassifier have, or a Pipeline that ends in one. It is fitted, from scratch.
        X: n rows: an array, a sparse matrix or a DataFrame.
        y: (n,) given labels, numbers or texts.
        held_out: (n,) true for the samples that are recorded and not trained on; None trains on all.
        history: whether every epoch is kept, as in `Recorder`.

    Returns:
        A record with as many epochs as the model has stages, of all n samples.

    Raises:
        InputError: a model without stages, X and y of different lengths, labels of one class or with missing values,
            a mask of another length, or one that leaves fewer than two classes to train on.
    """
    _check_method(model, "staged_predict_proba", "record_passes for models with `partial_fit`")
    labels, classes, trained = _checked(X, y, held_out)
    model.fit(rows_of(X, trained), classes[labels[trained]])
    last, before = last_step(model), _steps_before(model)
    recorder = Recorder(len(labels), len(classes), held_out=held_out, history=history)
    everyone, columns = np.arange(len(labels)), np.searchsorted(classes, last.classes_)
    for probabilities in last.staged_predict_proba(before.transform(X) if before else X):
        recorder.update_proba(everyone, _of_all_classes(probabilities, columns, len(classes)), labels)
        recorder.end_epoch()
    return recorder


def record_passes(
    model: Any,
    X: Any,
    y: Shaped[ArrayLike, " n"],
    passes: int,
    *,
    held_out: Bool[ArrayLike, " n"] | None = None,
    history: bool = True,
) -> Recorder:
    """Train a classifier pass by pass, and record all samples after each.

    Args:
        model: a classifier with `partial_fit`, as MLPClassifier and SGDClassifier have, or a Pipeline that ends in one
            (its first steps are fitted once). A model that has been trained goes on from there.
        X: n rows: an array, a sparse matrix or a DataFrame.
        y: (n,) given labels, numbers or texts.
        passes: how often the training samples are gone through, at least 1.
        held_out: (n,) true for the samples that are recorded and not trained on; None trains on all.
        history: whether every epoch is kept, as in `Recorder`.

    Returns:
        A record with `passes` epochs of all n samples. A model without probabilities, such as a linear one with the
        hinge loss, is recorded by its decision function.

    Raises:
        InputError: as `record_stages`, for a model without `partial_fit`.
    """
    _check_method(model, "partial_fit", "record_stages for models with `staged_predict_proba`")
    check_integer("passes", passes, 1, 20)
    labels, classes, trained = _checked(X, y, held_out)
    rows, given, inputs, last = rows_of(X, trained), classes[labels[trained]], X, last_step(model)
    if before := _steps_before(model):
        rows, inputs = before.fit_transform(rows, given), before.transform(X)
    recorder = Recorder(len(labels), len(classes), held_out=held_out, history=history)
    size = max(1, CHUNK // len(classes))
    for _ in range(passes):
        last.partial_fit(rows, given, classes=classes)
        for start in range(0, len(labels), size):
            part = np.arange(start, min(start + size, len(labels)))
            _record(recorder, last, part, rows_of(inputs, part), labels[part])
        recorder.end_epoch()
    return recorder


def last_step(model: Any) -> Any:
    """Return the classifier itself: the last step of a pipeline."""
    return model[-1] if hasattr(model, "steps") else model


def _steps_before(model: Any) -> Any:
    """A pipeline without its last step, which is the classifier; None where nothing is left."""
    return model[:-1] if len(getattr(model, "steps", ())) > 1 else None


def _check_method(model: Any, method: str, remedy: str) -> None:
    if isinstance(model, type) or not hasattr(last_step(model), method):
        raise InputError(f"`model` must be a classifier with `{method}`, got {described(model)}; use {remedy}")


def _checked(X: Any, y: Any, held_out: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the given labels (n,), the classes, and the positions that are trained on."""
    given = on_host(y)
    if given.ndim != 1 or _length(X) != given.size:
        raise InputError(
            f"`y` must have a label for each row of X ({_length(X)}), got {described(given)}; give one label a row"
        )
    classes, labels = np.unique(as_labels("y", given), return_inverse=True)
    trained = ~read_held_out(held_out, given.size)
    if np.unique(labels[trained]).size < 2:
        raise InputError("`y` must hold two classes to train on, got fewer; hold fewer samples out, or add classes")
    return labels, classes, np.flatnonzero(trained)


def _length(X: Any) -> int | None:
    """Number of rows; None of what has none."""
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        return shape[0] if shape else None
    return len(X) if hasattr(X, "__len__") else None


def rows_of(X: Any, positions: np.ndarray) -> Any:
    """Return rows of an array, a sparse matrix, a DataFrame or a list."""
    if hasattr(X, "iloc"):
        return X.iloc[positions]
    if hasattr(X, "tocsr"):  # other sparse forms have no rows
        return X.tocsr()[positions]
    return X[positions] if hasattr(X, "shape") else [X[at] for at in positions]


def _record(recorder: Recorder, model: Any, index: np.ndarray, rows: Any, labels: np.ndarray) -> None:
    """A batch, by its probabilities; by its decision function where the model has none."""
    if hasattr(model, "predict_proba"):
        recorder.update_proba(index, model.predict_proba(rows), labels)
    else:
        recorder.update(index, model.decision_function(rows), labels)


def _of_all_classes(probabilities: np.ndarray, columns: np.ndarray, n_classes: int) -> np.ndarray:
    """Probabilities (b, K), 0 for a class that the model has never seen."""
    if columns.size == n_classes:
        return probabilities
    wide = np.zeros((len(probabilities), n_classes), probabilities.dtype)
    wide[:, columns] = probabilities
    return wide
