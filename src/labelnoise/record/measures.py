"""Margin, loss and prediction of a batch, from logits or from probabilities.

What lies in the host's memory is measured by NumPy, tensors included: it starts an operation several times faster than
torch does, which is what a batch of a few hundred samples costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from labelnoise.arrays import Array, array_namespace, on_host, plain, to_numpy
from labelnoise.errors import InputError, described

Measures = tuple[Array, Array, Array]
"""Margin, loss and prediction of each row of a batch."""

LEAST = float(np.finfo(np.float32).tiny)
"""A probability below this counts as this: 0 has no logarithm."""
LARGEST = -float(np.log(LEAST))
"""A margin or loss of which larger ones are alike in a mean over samples, 87: probabilities of float32 end there."""
ROUNDING = 0.02
"""By how much the probabilities of a sample may miss 1: bfloat16 with 1,000 classes misses it by 0.004."""


def read_outputs(name: str, outputs: Any, remedy: str) -> Array:
    """Outputs of a network as float32 or float64 outside any gradient; half precision would lose a small margin.

    Raises:
        InputError: they are no real numbers.
    """
    values = _on_its_device(plain(outputs))
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf":
            raise InputError(f"`{name}` must be real numbers, got {described(outputs)}; {remedy}")
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    xp = array_namespace(values)
    if not xp.isdtype(values.dtype, ("integral", "real floating")):
        raise InputError(f"`{name}` must be real numbers, got {described(outputs)}; {remedy}")
    return values if values.dtype in (xp.float32, xp.float64) else xp.astype(values, xp.float32)


def read_batch(name: str, index: Any, outputs: Array, labels: Any, n_classes: int) -> tuple[Array, Array, Array]:
    """Positions, labels and outputs (b, K) that fit together.

    Raises:
        InputError: they do not, or positions and labels are no integers.
    """
    index, labels = (read_integers(word, item, outputs) for word, item in (("index", index), ("labels", labels)))
    if index.ndim == labels.ndim == 0:  # a batch of one that lost its axis
        index, labels, outputs = index.reshape(1), labels.reshape(1), outputs.reshape(1, -1)
    if n_classes == 2 and outputs.ndim in (1, 2) and (outputs.ndim == 1 or outputs.shape[1] == 1):
        outputs = both_classes(outputs, 0.0 if name == "logits" else None)
    if outputs.ndim != 2 or outputs.shape[1] != n_classes:
        raise InputError(
            f"`{name}` must have shape (batch, {n_classes}), got {tuple(outputs.shape)}; give one row a sample"
        )
    if not index.shape == labels.shape == outputs.shape[:1]:
        raise InputError(
            f"`index` and `labels` must have one entry a row of `{name}` ({outputs.shape[0]}), got shapes "
            f"{tuple(index.shape)} and {tuple(labels.shape)}; make them vectors of that length"
        )
    return index, labels, outputs


def read_integers(name: str, values: Any, like: Array) -> Array:
    """Integers as int64, where `like` lives.

    Raises:
        InputError: they are no integers.
    """
    integers = _on_its_device(plain(values))
    host = isinstance(integers, np.ndarray)
    whole = integers.dtype.kind in "iu" if host else array_namespace(integers).isdtype(integers.dtype, "integral")
    if not whole:
        raise InputError(f"`{name}` must be integers, got {described(values)}; convert them first")
    if isinstance(like, np.ndarray):
        return to_numpy(integers).astype(np.int64, copy=False)
    xp = array_namespace(like)
    return xp.asarray(integers, dtype=xp.int64, device=like.device)


def _on_its_device(values: Array) -> Array:
    """A tensor of the host as a NumPy array that shares its memory; one of another device as it is."""
    return values if isinstance(values, np.ndarray) or values.device.type != "cpu" else on_host(values)


def both_classes(outputs: Array, zero: float | None) -> Array:
    """One output a sample, of the second class of two, as two: beside `zero`, or beside one minus itself."""
    xp = _library(outputs)
    second = xp.reshape(outputs, (-1,))
    first = xp.zeros_like(second) + zero if zero is not None else 1 - second
    return xp.stack([first, second], axis=1)


def measure_logits(logits: Array, labels: Array) -> Measures:
    """Margin, loss and prediction (b,) each, of logits (b, K).

    With the margin m and s = log sum over the other classes of exp(logit - best other logit), the cross-entropy is
    log(1 + exp(s - m)): no overflow, and a tiny loss keeps its digits, which log-sum-exp minus logit would not.
    """
    xp = _library(logits)
    given, best_other, rival, others = _compared(xp, logits, labels)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        margin = given - best_other
        # -inf - -inf is no number: where every other class is masked, s is -inf, the log of an empty sum
        largest = float(xp.finfo(logits.dtype).max)
        others -= xp.clip(best_other, -largest, largest)[:, None]
        powers = np.exp(others, out=others) if xp is np else xp.exp(others)
        spread = xp.log(xp.sum(powers, axis=1))
        loss = xp.logaddexp(xp.zeros_like(margin), spread - margin)
        return _measures(xp, margin, loss, labels, rival)


def check_probabilities(name: str, proba: Array, remedy: str) -> None:
    """Refuse what is no probability, or rows that do not sum to 1; a row with NaN is none of both."""
    xp = _library(proba)
    total = xp.sum(proba, axis=1)
    wrong = (proba < 0) | (proba > 1 + ROUNDING) | (xp.abs(total - 1) > ROUNDING)[:, None]
    if not bool(xp.any(wrong)):
        return
    outside = proba[(proba < 0) | (proba > 1 + ROUNDING)]
    if outside.shape[0]:
        raise InputError(f"`{name}` must hold probabilities in [0, 1], got {float(outside[0]):g}; {remedy}")
    got = float(total[xp.abs(total - 1) > ROUNDING][0])
    raise InputError(f"`{name}` must hold probabilities that sum to 1 for each sample, got {got:g}; {remedy}")


def measure_probabilities(proba: Array, labels: Array) -> Measures:
    """Margin log p_given - log best other p, loss -log p_given, and prediction, (b,) each, of probabilities (b, K)."""
    xp = _library(proba)
    given, best_other, rival, _ = _compared(xp, proba, labels)
    given, best_other = (xp.log(xp.where(value < LEAST, LEAST, value)) for value in (given, best_other))
    return _measures(xp, given - best_other, -given, labels, rival)


def _library(values: Array) -> Any:
    """NumPy itself, which is faster to call than its wrapper, or torch behind NumPy's names."""
    return np if isinstance(values, np.ndarray) else array_namespace(values)


def _compared(xp: Any, outputs: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
    """The given class's output, the best other one and its class, (b,) each, and all outputs with -inf as given's."""
    rows = xp.arange(outputs.shape[0], device=outputs.device)
    given = outputs[rows, labels]
    others = xp.asarray(outputs, copy=True)
    others[rows, labels] = -np.inf
    rival = xp.argmax(others, axis=1)
    return given, others[rows, rival], rival, others


def _measures(xp: Any, margin: Array, loss: Array, labels: Array, rival: Array) -> Measures:
    """In the types of the record; no prediction where the margin is no number."""
    prediction = xp.where(margin > 0, labels, rival)
    prediction[xp.isnan(margin)] = -1
    if xp is np:
        with np.errstate(over="ignore"):
            return margin.astype(np.float32, copy=False), loss.astype(np.float32, copy=False), prediction
    return xp.astype(margin, xp.float32), xp.astype(loss, xp.float32), xp.astype(prediction, xp.int32)
