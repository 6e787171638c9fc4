"""The bank: every distinct patch of R runs once, with its inner products; the fifth of the five pieces.

The rows of the bank P are [xi_1..xi_n, mu, -mu]. Gradient descent never leaves their span: W(t) = a W0 + C P,
where a is 1 unless weights decay. With a bias per filter each patch has one more coordinate, 1, and so has
every product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import Array, array_namespace, to_device
from labelnoise.theory.draws import Draw

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class Bank:
    """What does not change during training, for R runs: labels and the inner products of q = n + 2 patches."""

    xp: Any
    """The array API namespace of the arrays (NumPy or torch)."""
    y_true: Float[Array, "R n"]
    y_given: Float[Array, "R n"]
    clean: Bool[Array, "R n"]
    """(R, n) where they agree."""
    kernel: Float[Array, "R q q"]
    """(R, q, q) K = P P^T, with the bias K + 1; contiguous: the one large product of a step reads it."""
    products0: Float[Array, "R filters q"]
    """(R, 2m, q) H0 = W0 P^T, with the bias H0 + b0."""
    squares: Float[Array, "R q"]
    """(R, q) squared norms of the patches, without the bias."""
    bias0: Float[Array, "R filters"] | None
    """(R, 2m) b0; None without a bias."""
    gram0: Float[Array, "R filters filters"]
    """(R, 2m, 2m) W0 W0^T."""
    held_out_patches: Float[Array, "R q h"]
    """(R, q, h) P Xi_h^T, with the bias plus 1."""
    held_out0: Float[Array, "R filters h"]
    """(R, 2m, h) W0 Xi_h^T, with the bias plus b0."""
    shows: Float[Array, "R n 2"]
    """(R, n, 2) 1 where a sample shows the signal patch mu, and where -mu."""
    readout: Float[Array, " filters"]
    """(2m,) second layer: j / m, or j times what is given instead."""

    @property
    def n(self) -> int:
        """Training samples."""
        return int(self.y_given.shape[-1])


def build_bank(draws: tuple[Draw, ...], second_layer: float | None, device: str | None, dtype: str) -> Bank:
    """Return the bank of R draws of equal n, m and number of held-out samples.

    Args:
        draws: R draws.
        second_layer: size of the second layer's weights; None for 1/m.
        device: None for NumPy, else a torch device.
        dtype: "float64" or "float32".
    """
    n, m = draws[0].n, draws[0].m
    patches, filters = slice(n + 1), slice(n + 1, n + 1 + 2 * m)
    size, one = 1 / m if second_layer is None else second_layer, 0.0 if draws[0].bias0 is None else 1.0
    inner = np.stack([draw.inner for draw in draws])
    y_true, y_given = (np.stack([getattr(draw, name) for draw in draws]) for name in ("y_true", "y_given"))
    bias0 = np.stack([np.zeros(2 * m) if draw.bias0 is None else draw.bias0 for draw in draws])
    gram = _with_minus_mu(_with_minus_mu(inner[:, patches, patches]).swapaxes(1, 2))
    held_out = inner[:, filters.stop :]

    def put(array: np.ndarray) -> Array:
        return to_device(np.ascontiguousarray(array), device, dtype)

    products0 = put(_with_minus_mu(inner[:, filters, patches]) + bias0[..., None])
    return Bank(
        xp=array_namespace(products0),
        y_true=put(y_true),
        y_given=put(y_given),
        clean=to_device(y_true == y_given, device),
        kernel=put(gram + one),
        products0=products0,
        squares=put(gram.diagonal(axis1=1, axis2=2)),
        bias0=put(bias0) if one else None,
        gram0=put(inner[:, filters, filters]),
        held_out_patches=put(_with_minus_mu(held_out[..., patches]).swapaxes(1, 2) + one),
        held_out0=put(held_out[..., filters].swapaxes(1, 2) + bias0[..., None]),
        shows=put(np.stack([y_true > 0, y_true < 0], axis=-1)),
        readout=put(np.repeat([size, -size], m)),
    )


def _with_minus_mu(products: np.ndarray) -> np.ndarray:
    """Append the column of -mu to products (R, rows, n + 1) with [xi_1..xi_n, mu]."""
    return np.concatenate([products, -products[..., -1:]], axis=-1)
