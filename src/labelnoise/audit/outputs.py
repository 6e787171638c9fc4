"""What a training of the user's own gave out: a column a class, in the order of the classes or in another one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.audit.labels import GivenLabels, check_lengths, read_labels
from labelnoise.audit.recorded import RecordedTraining, read_training
from labelnoise.errors import InputError, counted, first_few
from labelnoise.record.measures import check_probabilities
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BETTER, ERRORS = 0.25, 4
"""By how much more of the labels another order of the columns must fit, as a share and in standard errors."""


def read_outputs(
    values: Float[np.ndarray, "*epochs n K"], labels: Any, logits: bool, held_out: np.ndarray | None
) -> tuple[RecordedTraining, GivenLabels, str, str]:
    """Read outputs as the record of a training.

    Args:
        values: outputs per epoch (epochs, n, K), or once and out of sample (n, K).
        labels: (n,) given labels.
        logits: whether they are logits; else probabilities.
        held_out: (n,) mask of the samples that were not trained on; of outputs out of sample none is needed.

    Returns:
        The record, the labels, what was given in words, and a sentence where another order of the columns fits the
        labels far better; else none.

    Raises:
        InputError: outputs that do not fit the labels, or are no probabilities.
    """
    rows, once = values[None] if values.ndim == 2 else values, values.ndim == 2
    if rows.ndim == 3:
        check_lengths(rows[0], labels)
    given = read_labels("y", labels)
    _check_shape(values, rows, given)
    for row in () if logits else rows:
        check_probabilities("X", row, "if these are logits, say so (--outputs logits; in an .npz file the name logits)")
    recorder, everyone = Recorder(given.positions.size, len(given.classes)), np.arange(given.positions.size)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NaN is a sample that was not seen
        for row in rows:
            (recorder.update if logits else recorder.update_proba)(everyone, row, given.positions)
            recorder.end_epoch()
    mask = np.ones(given.positions.size, bool) if once else held_out
    words = "out-of-sample outputs, as given" if once else f"outputs of {counted(len(rows), 'epoch')}, as given"
    training = read_training(recorder, mask)
    return training, given, words, order_doubt(np.asarray(recorder.prediction), given)


def _check_shape(values: np.ndarray, rows: np.ndarray, given: GivenLabels) -> None:
    """Refuse outputs that do not fit the labels."""
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


def order_doubt(prediction: Int[np.ndarray, "epochs n"], labels: GivenLabels) -> str:
    """Return a sentence where the columns of outputs seem to stand in another order than the classes; else none.

    The order looked for is the one in which the largest column of a sample bears its given label most often. It must
    fit far better where it differs from that of the classes, in at least two columns that are ever the largest. Where
    most labels of two classes are wrong, outputs look the same, so that nothing is reordered.

    Args:
        prediction: (epochs, n) the largest column; below 0 where a sample was not seen.
        labels: the given labels.
    """
    from scipy.optimize import linear_sum_assignment

    k = len(labels.classes)
    seen = prediction >= 0
    given = np.broadcast_to(labels.positions, prediction.shape)
    counts = np.bincount(prediction[seen] * k + given[seen], minlength=k * k).reshape(k, k) / len(prediction)
    order = linear_sum_assignment(counts, maximize=True)[1]
    moved = np.flatnonzero((order != np.arange(k)) & (counts.sum(axis=1) > 0))
    if moved.size < 2:
        return ""
    total, fits, as_given = counts[moved].sum(), counts[moved, order[moved]].sum(), counts[moved, moved].sum()
    if fits - as_given < max(BETTER * total, ERRORS * np.sqrt(total)):
        return ""
    likelier, wanted = (first_few([repr(labels.names[at]) for at in places]) for places in (order, range(k)))
    return (
        f"the columns of the outputs seem to stand in another order than the classes: taken for {likelier}"
        f"{_named(labels, order)} they fit {fits / total:.1%} of the labels, and {as_given / total:.1%} as given, "
        f"where the two differ; they must be in ascending order of the labels, {wanted}: bring them into that order "
        "and audit again"
    )


def _named(labels: GivenLabels, order: np.ndarray) -> str:
    """The name of an order, in brackets, where it is one that is often met."""
    names, (_, first) = labels.names, np.unique(labels.positions, return_index=True)
    keys: dict[str, Callable[[int], Any]] = {
        "as texts, alphabetical": lambda at: names[at],
        "alphabetical, small letters as capital ones": lambda at: names[at].casefold(),
        "by their first appearance among the labels": lambda at: first[at],
        "by frequency, the most frequent first": lambda at: -labels.counts[at],
        "descending": lambda at: -at,
    }
    for words, key in keys.items():
        if sorted(range(len(names)), key=key) == list(order):
            return f" ({words})"
    return ""
