"""The bank: every distinct patch of R runs once, with its inner products; the fifth of the five pieces.

The rows of the bank P are [xi_1..xi_n, mu, -mu]. Gradient descent never leaves their span: W(t) = a W0 + C P,
where a is 1 unless weights decay. With a bias per filter each patch has one more coordinate, 1, and so has
every product. K > 2 classes have K orthogonal signals mu_1..mu_K in place of mu and -mu.

Where signal and noise are summed in one patch, a sample shows the sum of two rows of the bank: its pre-activations are
the sums of theirs, and its pull goes to both.
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
    """What does not change during training, for R runs: labels and inner products of q = n + 2 (or n + K) patches."""

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
    probe: tuple[Float[Array, "R q"], Float[Array, "R filters"]] | None
    """P v (R, q) and W0 v (R, 2m), v the direction of flips that depend on the noise patch; None without."""
    shows: Float[Array, "R n signals"]
    """(R, n, 2) 1 where a sample shows the signal patch mu, and where -mu; (R, n, K) of each of K signals."""
    one_patch: bool
    """Whether a sample shows the sum of its signal patch and its noise patch."""
    readout: Float[Array, "... filters"]
    """(2m,) second layer: j / m, or j times what is given instead; (K, K m) of K classes, where class k reads its m."""

    @property
    def n(self) -> int:
        """Training samples."""
        return int(self.y_given.shape[-1])


def build_bank(draws: tuple[Draw, ...], second_layer: float | None, device: str | None, dtype: str) -> Bank:
    """Return the bank of R draws that go together, as `stack` checks.

    Args:
        draws: R draws.
        second_layer: size of the second layer's weights; None for 1/m.
        device: None for NumPy, else a torch device.
        dtype: "float64" or "float32".
    """
    first, m = draws[0].n + draws[0].signals, draws[0].m
    patches, filters = slice(first), slice(first, first + draws[0].filters)
    size, one = 1 / m if second_layer is None else second_layer, 0.0 if draws[0].bias0 is None else 1.0
    inner = np.stack([draw.inner for draw in draws])
    y_true, y_given = (np.stack([getattr(draw, name) for draw in draws]) for name in ("y_true", "y_given"))
    bias0 = np.stack([np.zeros(draw.filters) if draw.bias0 is None else draw.bias0 for draw in draws])
    every = _with_minus_mu if draws[0].n_classes == 2 else np.asarray
    gram = every(every(inner[:, patches, patches]).swapaxes(1, 2))
    held_out = inner[:, filters.stop :]

    def put(array: np.ndarray) -> Array:
        return to_device(np.ascontiguousarray(array), device, dtype)

    products0 = put(every(inner[:, filters, patches]) + bias0[..., None])
    probe = None if draws[0].probe is None else np.stack([np.asarray(draw.probe) for draw in draws])
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
        held_out_patches=put(every(held_out[..., patches]).swapaxes(1, 2) + one),
        held_out0=put(held_out[..., filters].swapaxes(1, 2) + bias0[..., None]),
        probe=None if probe is None else (put(every(probe[:, patches])), put(probe[:, filters])),
        shows=put(np.stack([y_true == label for label in draws[0].classes], axis=-1)),
        one_patch=draws[0].one_patch,
        readout=put(_second_layer(draws[0].n_classes, m, size)),
    )


def _second_layer(n_classes: int, m: int, size: float) -> np.ndarray:
    """A (2m,) of two classes, whose one output is F_+ - F_-, else (K, K m)."""
    if n_classes == 2:
        return np.repeat([size, -size], m)
    return size * np.repeat(np.eye(n_classes), m, axis=1)


def _with_minus_mu(products: np.ndarray) -> np.ndarray:
    """Append the column of -mu to products (R, rows, n + 1) with [xi_1..xi_n, mu]."""
    return np.concatenate([products, -products[..., -1:]], axis=-1)


def summed(bank: Bank, products: Array) -> Array:
    """Return products (R, 2m, n) with signal and noise of each sample summed in one patch."""
    return products[..., : bank.n] + products[..., bank.n :] @ bank.xp.matrix_transpose(bank.shows)
