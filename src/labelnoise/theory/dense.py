"""The dense engine: the same network on explicit vectors in plain torch, trained by autograd. Slow: it is the oracle.

It shares nothing with the span engine but the draw, contains no gradient formula, and recovers the coefficients by
projecting the weights on the span of the signal and the noise patches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class State:
    """The weights of each run's network, and the draws they are trained on."""

    runs: tuple[_Run, ...]
    weights: tuple[torch.Tensor, ...]
    """R tensors (2m, d), j = +1 filters first."""
    lr: float


@dataclass(frozen=True, eq=False)
class _Run:
    """One run's tensors."""

    x: torch.Tensor  # (n, 2, d): signal patch, noise patch
    y_true: torch.Tensor
    y_given: torch.Tensor
    mu: torch.Tensor
    xi: torch.Tensor
    held_out: torch.Tensor
    w0: torch.Tensor
    readout: torch.Tensor  # (2m,): j / m
    basis: tuple[torch.Tensor, torch.Tensor] | None  # QR of [xi_1..xi_n, mu]^T; None where it is not unique


def init(draws: tuple[Draw, ...], lr: float, device: str | None = None, dtype: str = "float64") -> State:
    """Return the state before training of a batch of draws with explicit vectors.

    Raises:
        InputError: a draw has no vectors.
    """
    runs = tuple(_tensors(draw, device or "cpu", dtype) for draw in draws)
    return State(runs, tuple(run.w0 for run in runs), lr)


def step(state: State) -> State:
    """One step of full-batch gradient descent on the mean logistic loss."""
    import torch

    updated = []
    for run, start in zip(state.runs, state.weights, strict=True):
        weights = start.detach().requires_grad_(True)
        loss = torch.nn.functional.softplus(-run.y_given * _forward(run, weights)).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        updated.append(start - state.lr * gradient)
    return replace(state, weights=tuple(updated))


def merge(kept: State, state: State, runs: np.ndarray) -> State:
    """Return the networks of `state` for these runs (R,), those of `kept` for the others."""
    pairs = zip(kept.weights, state.weights, runs, strict=True)
    return replace(state, weights=tuple(new if chosen else old for old, new, chosen in pairs))


def view(state: State) -> View:
    """Show the networks to the observables."""
    pairs = list(zip(state.runs, state.weights, strict=True))

    def stack(arrays: list[torch.Tensor]) -> np.ndarray:
        return np.stack([array.detach().cpu().numpy() for array in arrays])

    def coefficients() -> np.ndarray:
        return stack([_project(run, weights) for run, weights in pairs])

    def weight_gram(orthogonal: bool) -> np.ndarray:
        kept = [w - (w @ run.mu)[:, None] * run.mu / (run.mu @ run.mu) if orthogonal else w for run, w in pairs]
        return stack([w @ w.T for w in kept])

    return View(
        xp=np,
        y_true=stack([run.y_true for run in state.runs]),
        y_given=stack([run.y_given for run in state.runs]),
        clean=stack([run.y_given == run.y_true for run in state.runs]),
        mu_sq=stack([run.mu @ run.mu for run in state.runs]),
        xi_sq=stack([(run.xi**2).sum(1) for run in state.runs]),
        output=stack([_forward(run, weights) for run, weights in pairs]),
        w_mu=stack([weights @ run.mu for run, weights in pairs]),
        w_xi=stack([weights @ run.xi.T for run, weights in pairs]),
        c_mu=lambda: coefficients()[..., -1],
        c_xi=lambda: coefficients()[..., :-1],
        w_held_out=lambda: stack([weights @ run.held_out.T for run, weights in pairs]),
        weight_gram=weight_gram,
    )


def _tensors(draw: Draw, device: str, dtype: str) -> _Run:
    import torch

    if draw.vectors is None:
        raise InputError(
            "`engine='dense'` needs explicit vectors, but the draw has none; use sample(..., vectors=True)"
        )

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, device=device, dtype=getattr(torch, dtype))

    v = draw.vectors
    mu, xi, y_true = tensor(v.mu[0]), tensor(v.xi), tensor(draw.y_true)
    features = torch.cat([xi, mu[None]])
    unique = features.shape[1] >= features.shape[0]
    return _Run(
        x=torch.stack([y_true[:, None] * mu, xi], dim=1),
        y_true=y_true,
        y_given=tensor(draw.y_given),
        mu=mu,
        xi=xi,
        held_out=tensor(v.held_out),
        w0=tensor(v.w0),
        readout=tensor(np.repeat([1.0, -1.0], draw.m) / draw.m),
        basis=tuple(torch.linalg.qr(features.T)) if unique else None,
    )


def _forward(run: _Run, weights: torch.Tensor) -> torch.Tensor:
    """f(W, x) (n,): convolve both patches with every filter, ReLU, sum, read out."""
    import torch

    return torch.relu(run.x @ weights.T).sum(dim=1) @ run.readout


def _project(run: _Run, weights: torch.Tensor) -> torch.Tensor:
    """Coefficients (2m, n + 1) of W - W0 in [xi_1..xi_n, mu]; NaN for d < n + 1, where they are not unique."""
    import torch

    if run.basis is None:
        return torch.full((len(weights), len(run.xi) + 1), torch.nan, dtype=weights.dtype)
    q, r = run.basis
    return torch.linalg.solve_triangular(r, q.T @ (weights - run.w0).T, upper=True).T
