"""Outputs against labels: of two classes one number f with labels -1 and +1, of K classes one f_k each, labels 0..K-1.

The shape of the outputs says which: (R, n), or (R, K, n).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def margin(xp: Any, output: Array, label: Float[Array, "R n"]) -> Float[Array, "R n"]:
    """Margin (R, n): y f of two classes, the label's output less the best other one of K."""
    if output.ndim == 2:
        return label * output
    own = is_label(xp, label, output.shape[1])
    others = xp.max(xp.where(own, -xp.inf, output), axis=1)
    return xp.sum(xp.where(own, output, 0 * output), axis=1) - others


def is_label(xp: Any, label: Float[Array, "R n"], n_classes: int) -> Bool[Array, "R K n"]:
    """Whether (R, K, n) a class k of 0..K-1 is the label."""
    classes = xp.arange(n_classes, dtype=label.dtype, device=label.device)
    return label[:, None, :] == classes[None, :, None]


def cross_entropy(xp: Any, output: Float[Array, "R K n"], label: Float[Array, "R n"]) -> Float[Array, "R n"]:
    """Return log(1 + sum_{k != y} exp(f_k - f_y)) (R, n), precise for any outputs; of two classes the logistic loss."""
    own = is_label(xp, label, output.shape[1])
    others = xp.where(own, -xp.inf, output)
    top = xp.max(others, axis=1, keepdims=True)
    mass = xp.log(xp.sum(xp.exp(others - top), axis=1)) + top[:, 0]
    behind = mass - xp.sum(xp.where(own, output, 0 * output), axis=1)
    return xp.logaddexp(behind, 0 * behind)


def cross_entropy_slope(xp: Any, output: Float[Array, "R K n"], label: Float[Array, "R n"]) -> Float[Array, "R K n"]:
    """Its slope softmax(f)_k - 1[k = y] in each output (R, K, n)."""
    shares = xp.exp(output - xp.max(output, axis=1, keepdims=True))
    shares = shares / xp.sum(shares, axis=1, keepdims=True)
    own = is_label(xp, label, output.shape[1])
    others = xp.where(own, 0 * shares, shares)
    return xp.where(own, -xp.sum(others, axis=1, keepdims=True), others)  # a share near 1 less 1 would lose digits


def margins_of_classes(output: Float[np.ndarray, "R K C N"]) -> Float[np.ndarray, "R K C N"]:
    """Margin (R, K, C, N) that every class k would have as the label: f_k less the best other one."""
    second, first = np.partition(output, -2, axis=1)[:, -2:].swapaxes(0, 1)
    first, second = first[:, None], second[:, None]
    return output - np.where(output == first, second, first)


def mistakes(output: Float[np.ndarray, "R ... C N"]) -> Bool[np.ndarray, "R C N"]:
    """Whether (R, C, N) a test sample is wrong: outputs (R, [K,] C, N) of samples of each true class; a tie is."""
    if output.ndim == 3:
        return np.array([1.0, -1.0])[:, None] * output <= 0
    own = np.arange(output.shape[1])
    return margins_of_classes(output)[:, own, own] <= 0
