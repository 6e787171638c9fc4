"""The span engine: exact training in coefficient space, for a batch of runs at once.

Gradient descent never leaves the span of the patches it is shown, so W(t) = W0 + C(t) P with the rows of P the n + 2
patches [xi_1..xi_n, mu, -mu] and C (2m, n + 2). With K = P P^T the products of filters and patches are

    H = W P^T = H0 + C K,

one (2m x n)(n x n) product a step whatever d is. Patch p pulls every filter that it activates:

    C_{(j,r),p} <- C_{(j,r),p} + j s'(H_{(j,r),p}) c_p,     c_i = -(eta / (n m)) l'_i y~_i,

and c_{+mu}, c_{-mu} are the sums of c_i over the samples with y = +1 and y = -1, which share that signal patch. Hence
gamma_{j,r} = j (C_{+mu} - C_{-mu}) ||mu||^2 and rho_{j,r,i} = C_{(j,r),i} ||xi_i||^2. H is computed from C anew at
every step, never accumulated: no drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from labelnoise.arrays import Array, array_namespace, to_device
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View


@dataclass(frozen=True, eq=False)
class System:
    """What does not change during training, for R runs: labels and the inner products of the patches."""

    xp: Any
    """The array API namespace of the arrays (NumPy or torch)."""
    y_true: Array
    """(R, n)."""
    y_given: Array
    """(R, n)."""
    clean: Array
    """(R, n) where they agree."""
    kernel: Array
    """(R, n + 2, n + 2) K = P P^T, contiguous: the one large product of a step reads it."""
    squares: Array
    """(R, n + 2) squared norms of the patches, the diagonal of K."""
    products0: Array
    """(R, 2m, n + 2) H0 = W0 P^T."""
    gram0: Array
    """(R, 2m, 2m) W0 W0^T."""
    held_out_patches: Array
    """(R, n + 2, h) P Xi_h^T."""
    held_out0: Array
    """(R, 2m, h) W0 Xi_h^T."""
    readout: Array
    """(2m,) second layer, j / m."""
    shows: Array
    """(R, n, 2) 1 where a sample shows the signal patch mu, and where -mu."""
    pull: Array
    """(R, n) eta y~_i / (n m), the largest pull of each sample."""


@dataclass(frozen=True, eq=False)
class State:
    """Coefficients and what follows from them."""

    system: System
    coefficients: Array
    """(R, 2m, n + 2) C."""
    products: Array
    """(R, 2m, n + 2) H."""
    output: Array
    """(R, n) f(W, x_i)."""


def init(draws: tuple[Draw, ...], lr: float, device: str | None = None, dtype: str = "float64") -> State:
    """Return the state before training of a batch of draws.

    Args:
        draws: R draws of equal n and m.
        lr: learning rate eta.
        device: None for NumPy, else a torch device.
        dtype: "float64", or "float32" for statistics (outputs move by up to 2e-4).
    """
    n, m = draws[0].n, draws[0].m

    def batch(arrays: list[np.ndarray]) -> Array:
        return to_device(np.stack(arrays), device, dtype)

    kernels = [_with_minus_mu(_with_minus_mu(draw.inner[: n + 1, : n + 1]).T) for draw in draws]
    products0 = batch([_with_minus_mu(draw.inner[n + 1 : n + 1 + 2 * m, : n + 1]) for draw in draws])
    system = System(
        xp=array_namespace(products0),
        y_true=batch([draw.y_true for draw in draws]),
        y_given=batch([draw.y_given for draw in draws]),
        clean=to_device(np.stack([~draw.noisy for draw in draws]), device),
        kernel=batch(kernels),
        squares=batch([kernel.diagonal() for kernel in kernels]),
        products0=products0,
        gram0=batch([draw.w0_w0 for draw in draws]),
        held_out_patches=batch([_with_minus_mu(draw.held_out_rows[:, : n + 1]).T for draw in draws]),
        held_out0=batch([draw.held_out_rows[:, n + 1 : n + 1 + 2 * m].T for draw in draws]),
        readout=to_device(np.repeat([1 / m, -1 / m], m), device, dtype),
        shows=batch([np.stack([draw.y_true > 0, draw.y_true < 0], axis=1) for draw in draws]),
        pull=batch([lr / (n * m) * draw.y_given for draw in draws]),
    )
    return State(system, 0 * products0, products0, _outputs(system, products0))


def step(state: State) -> State:
    """One step of full-batch gradient descent on the logistic loss, with s'(0) = 0."""
    system, xp = state.system, state.system.xp
    slope = xp.exp(-xp.logaddexp(0 * state.output, system.y_given * state.output))  # -l'_i, stable for any margin
    pull = slope * system.pull
    pulls = xp.concat([pull, (pull[:, None, :] @ system.shows)[:, 0]], axis=-1)[:, None, None, :]
    active = (state.products > 0).reshape(pulls.shape[0], 2, -1, pulls.shape[-1])
    update = active * xp.concat([pulls, -pulls], axis=1)  # j c_p, for the m filters of each sign at once
    coefficients = state.coefficients + update.reshape(state.coefficients.shape)
    products = coefficients @ system.kernel
    products += system.products0  # in place, on an array of this step's own
    return State(system, coefficients, products, _outputs(system, products))


def merge(kept: State, state: State, runs: np.ndarray) -> State:
    """Return the networks of `state` for these runs (R,), those of `kept` for the others."""
    if runs.all():
        return state  # states are never written to again
    system, xp = state.system, state.system.xp
    mask = xp.asarray(runs, device=state.output.device)
    coefficients, products, output = (
        xp.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)
        for new, old in (
            (state.coefficients, kept.coefficients), (state.products, kept.products), (state.output, kept.output)
        )
    )  # fmt: skip
    return State(system, coefficients, products, output)


def view(state: State) -> View:
    """Show the networks to the observables."""
    system, c, n = state.system, state.coefficients, state.output.shape[-1]

    def weight_gram(orthogonal: bool) -> Array:
        """W W^T = W0 W0^T + C H0^T + H C^T, from W = W0 + C P; orthogonal: less (W mu)(W mu)^T / ||mu||^2."""
        h0, h = system.products0, state.products
        gram = system.gram0 + c @ system.xp.matrix_transpose(h0) + h @ system.xp.matrix_transpose(c)
        if orthogonal:
            along = h[..., n]
            gram = gram - along[..., :, None] * along[..., None, :] / system.squares[:, n, None, None]
        return gram

    return View(
        xp=system.xp,
        y_true=system.y_true,
        y_given=system.y_given,
        clean=system.clean,
        mu_sq=system.squares[:, n],
        xi_sq=system.squares[:, :n],
        output=state.output,
        w_mu=state.products[..., n],
        w_xi=state.products[..., :n],
        c_mu=lambda: c[..., n] - c[..., n + 1],
        c_xi=lambda: c[..., :n],
        w_held_out=lambda: system.held_out0 + c @ system.held_out_patches,
        weight_gram=weight_gram,
    )


def _outputs(system: System, products: Array) -> Array:
    """f(W, x_i) (R, n): the sample's noise patch plus the signal patch that it shows."""
    by_patch = system.readout @ (products * (products > 0))
    n = by_patch.shape[-1] - 2
    return by_patch[:, :n] + (system.shows @ by_patch[:, n:, None])[..., 0]


def _with_minus_mu(products: np.ndarray) -> np.ndarray:
    """Append the column of -mu to products (rows, n + 1) with [xi_1..xi_n, mu]."""
    return np.ascontiguousarray(np.concatenate([products, -products[:, -1:]], axis=1))
