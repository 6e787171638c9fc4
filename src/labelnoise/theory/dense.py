"""The dense engine: the same network on explicit vectors in plain torch, trained by autograd. Slow: it is the oracle.

It shares nothing with the other engines but the draw and who is shown at a step, contains no gradient formula, takes
torch's own optimisers, and recovers the coefficients by projecting the weights on the signal and the noise patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError
from labelnoise.theory.activations import Activation, LeakyReLU, PowerReLU, Softplus
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.losses import Exponential, Hinge, Logistic, Loss
from labelnoise.theory.observables import View
from labelnoise.theory.optimizers import Adam, GradientFlow, Momentum, SharpnessAware

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class State:
    """The parameters of each run's network, and the draws they are trained on."""

    runs: tuple[_Run, ...]
    parameters: tuple[tuple[torch.Tensor, ...], ...]
    """R times the weights (2m, d), filters as the draw has them, and the bias (2m,) where there is one."""
    memories: tuple[dict[str, Any], ...]
    """What torch's optimiser remembers of each run; empty before the first step."""
    config: SimulateConfig
    step: int


@dataclass(frozen=True, eq=False)
class _Run:
    """One run's tensors."""

    x: torch.Tensor  # (n, 2, d): signal patch, noise patch; (n, 1, d) where they are summed
    y_true: torch.Tensor
    y_given: torch.Tensor
    mu: torch.Tensor  # (signals, d)
    xi: torch.Tensor
    held_out: torch.Tensor
    probe: torch.Tensor | None
    w0: torch.Tensor
    readout: torch.Tensor  # (2m,): j / m; (K m, K) of K classes
    basis: tuple[torch.Tensor, torch.Tensor] | None  # QR of [xi_1..xi_n, signals]^T, under weight decay with w0 as well
    rate: float
    seed: int


def init(draws: tuple[Draw, ...], rates: np.ndarray, config: SimulateConfig, device: str | None, dtype: str) -> State:
    """Return the state before training of a batch of draws with explicit vectors.

    Raises:
        InputError: a draw has no vectors, or the optimiser is gradient flow.
    """
    import torch

    if isinstance(config.dynamics.optimizer, GradientFlow):
        raise InputError("GradientFlow is integrated by the span engine; use engine='span', or a small lr here")

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, device=device or "cpu", dtype=getattr(torch, dtype))

    runs = tuple(_tensors(draw, float(rate), config, tensor) for draw, rate in zip(draws, rates, strict=True))
    biases = [() if draw.bias0 is None else (tensor(draw.bias0),) for draw in draws]
    parameters = tuple((run.w0, *bias) for run, bias in zip(runs, biases, strict=True))
    return State(runs, parameters, tuple({} for _ in runs), config, 0)


def step(state: State) -> State:
    """One step of the optimiser on the mean loss of those who are shown."""
    import torch

    parameters, memories = [], []
    share = float(state.config.dynamics.schedule.share(np.array(state.step), state.config.steps))
    for run, start, memory in zip(state.runs, state.parameters, state.memories, strict=True):
        now = tuple(part.detach().clone().requires_grad_(True) for part in start)
        optimizer = _optimizer(state, run, now)
        if memory:
            optimizer.load_state_dict(memory)
        for group in optimizer.param_groups:
            group["lr"] = run.rate * share
        loss = partial(_mean_loss, state, run)
        gradients = torch.autograd.grad(loss(now), now)
        if isinstance(rule := state.config.dynamics.optimizer, SharpnessAware):
            norm = torch.cat([part.ravel() for part in gradients]).norm()
            ascent = [rule.radius / norm * part if norm > 0 else part for part in gradients]
            above = tuple((part + up).detach().requires_grad_(True) for part, up in zip(now, ascent, strict=True))
            gradients = torch.autograd.grad(loss(above), above)
        for part, gradient in zip(now, gradients, strict=True):
            part.grad = gradient
        optimizer.step()
        parameters.append(tuple(part.detach() for part in now))
        memories.append(optimizer.state_dict())
    return replace(state, parameters=tuple(parameters), memories=tuple(memories), step=state.step + 1)


def merge(before: State, state: State, runs: np.ndarray) -> State:
    """Return the networks of `state` for these runs (R,), those of `before` for the others; to be looked at only."""
    pairs = zip(before.parameters, state.parameters, runs, strict=True)
    return replace(state, parameters=tuple(new if chosen else old for old, new, chosen in pairs))


def view(state: State) -> View:
    """Show the networks to the observables."""
    import torch

    dynamics, runs = state.config.dynamics, state.runs
    weights, probes = [part[0] for part in state.parameters], [run.probe for run in runs if run.probe is not None]
    bias = [part[1] if len(part) > 1 else torch.zeros_like(part[0][:, 0]) for part in state.parameters]

    def stack(arrays: list[torch.Tensor]) -> np.ndarray:
        return np.stack([array.detach().cpu().numpy() for array in arrays])

    def products(patches: Callable[[_Run], torch.Tensor]) -> np.ndarray:
        """Pre-activations (R, 2m, N) of the patches (N, d) of each run."""
        return stack([w @ patches(run).T + b[:, None] for run, w, b in zip(runs, weights, bias, strict=True)])

    def coefficients() -> np.ndarray:
        return stack([_project(run, w) for run, w in zip(runs, weights, strict=True)])

    def weight_gram(orthogonal: bool) -> np.ndarray:
        pairs = zip(runs, weights, strict=True)
        across = [w - w @ torch.linalg.pinv(run.mu) @ run.mu if orthogonal else w for run, w in pairs]
        return stack([w @ w.T for w in across])

    return View(
        xp=np,
        dynamics=dynamics,
        readout=runs[0].readout.cpu().numpy().T,
        y_true=stack([run.y_true for run in runs]),
        y_given=stack([run.y_given for run in runs]),
        clean=stack([run.y_given == run.y_true for run in runs]),
        mu_sq=stack([run.mu[0] @ run.mu[0] for run in runs]),
        xi_sq=stack([(run.xi**2).sum(1) for run in runs]),
        output=np.moveaxis(stack([
            _forward(dynamics.activation, run, part) for run, part in zip(runs, state.parameters, strict=True)
        ]), 1, -1),
        bias=stack(bias) if len(state.parameters[0]) > 1 else None,
        h_signals=products(lambda run: torch.cat([run.mu, -run.mu]) if len(run.mu) == 1 else run.mu),
        h_xi=products(lambda run: run.xi),
        c_mu=lambda: _own_signal(coefficients()[..., len(runs[0].xi) :]),
        c_xi=lambda: coefficients()[..., : len(runs[0].xi)],
        h_held_out=lambda: products(lambda run: run.held_out),
        weight_gram=weight_gram,
        h_probe=None if not probes else lambda: stack([w @ v for w, v in zip(weights, probes, strict=True)]),
        one_patch=runs[0].x.shape[1] == 1,
    )  # fmt: skip


def _own_signal(of_signals: np.ndarray) -> np.ndarray:
    """Those of mu (R, 2m), or of the signal of each filter's own class, of coefficients (R, 2m, signals)."""
    own = np.arange(of_signals.shape[1]) // (of_signals.shape[1] // of_signals.shape[2])
    return np.take_along_axis(of_signals, own[None, :, None], axis=2)[..., 0]


def _tensors(draw: Draw, rate: float, config: SimulateConfig, tensor: Callable[[np.ndarray], torch.Tensor]) -> _Run:
    import torch

    if draw.vectors is None:
        raise InputError(
            "`engine='dense'` needs explicit vectors, but the draw has none; use sample(..., vectors=True)"
        )
    v, size = draw.vectors, config.dynamics.second_layer or 1 / draw.m
    mu, xi, w0, y_true = tensor(v.mu), tensor(v.xi), tensor(v.w0), tensor(draw.y_true)
    shown = y_true[:, None] * mu[0] if draw.n_classes == 2 else mu[y_true.long()]
    features = torch.cat([xi, mu, w0] if config.dynamics.weight_decay else [xi, mu])
    unique = features.shape[1] >= features.shape[0] and bool(mu.any())
    return _Run(
        x=(shown + xi)[:, None] if draw.one_patch else torch.stack([shown, xi], dim=1),
        y_true=y_true,
        y_given=tensor(draw.y_given),
        mu=mu,
        xi=xi,
        held_out=tensor(v.held_out),
        probe=None if v.probe is None else tensor(v.probe),
        w0=w0,
        readout=size * tensor(_signs(draw)),
        basis=tuple(torch.linalg.qr(features.T)) if unique else None,
        rate=rate,
        seed=draw.seed or 0,
    )


def _signs(draw: Draw) -> np.ndarray:
    """With which sign a filter is read: (2m,) by the one output of two classes, (K m, K) by those of K."""
    if draw.n_classes == 2:
        return np.array([1.0] * draw.m + [-1.0] * draw.m)
    return np.kron(np.eye(draw.n_classes), np.ones((draw.m, 1)))


def _optimizer(state: State, run: _Run, parameters: tuple[torch.Tensor, ...]) -> torch.optim.Optimizer:
    import torch

    rule, decay = state.config.dynamics.optimizer, state.config.dynamics.weight_decay
    if isinstance(rule, Adam):
        return torch.optim.Adam(parameters, lr=run.rate, betas=(rule.beta1, rule.beta2), weight_decay=decay)
    if isinstance(rule, Momentum):
        return torch.optim.SGD(
            parameters, lr=run.rate, weight_decay=decay, momentum=rule.momentum, nesterov=rule.nesterov
        )
    return torch.optim.SGD(parameters, lr=run.rate, weight_decay=decay)


def _mean_loss(state: State, run: _Run, parameters: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Loss of those who are shown at this step, under the labels that it shows."""
    import torch

    dynamics, now, n = state.config.dynamics, range(state.step, state.step + 1), len(run.y_given)
    shown = dynamics.shown
    output = _forward(dynamics.activation, run, parameters)
    z = run.y_given * output if output.ndim == 1 else _margin(output.detach(), run.y_given.long())
    weights = torch.as_tensor(shown.weights(run.seed, now, n)[0], dtype=z.dtype, device=z.device)
    if shown.selection_from is not None and state.step >= shown.selection_from:
        weights = weights * (z.detach() >= 0)
    if output.ndim == 2:
        return (weights * torch.nn.functional.cross_entropy(output, run.y_given.long(), reduction="none")).sum()
    if shown.fresh_flips:
        flipped = torch.as_tensor(shown.flips(run.seed, now, n)[0], device=z.device)
        z = torch.where(flipped, -z, z)
    return (weights * _loss(dynamics.loss, z)).sum()


def _margin(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The label's output less the best other one (n,), of outputs (n, K)."""
    import torch

    own = torch.nn.functional.one_hot(label, output.shape[1]).bool()
    return output[own] - output.masked_fill(own, -torch.inf).max(dim=1).values


def _loss(loss: Loss, z: torch.Tensor) -> torch.Tensor:
    import torch

    if isinstance(loss, Logistic):
        return torch.nn.functional.softplus(-z, threshold=700)
    if isinstance(loss, Exponential):
        return torch.exp(-z)
    return torch.relu(1 - z) if isinstance(loss, Hinge) else 0.5 * (z - 1) ** 2


def _activate(activation: Activation, u: torch.Tensor) -> torch.Tensor:
    import torch

    if isinstance(activation, LeakyReLU):
        return torch.nn.functional.leaky_relu(u, activation.leak)
    if isinstance(activation, Softplus):
        return torch.nn.functional.softplus(u, beta=1 / activation.width, threshold=700)
    return torch.relu(u) ** activation.power if isinstance(activation, PowerReLU) else torch.relu(u)


def _forward(activation: Activation, run: _Run, parameters: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """f(W, x) (n,), or (n, K): convolve the patches with every filter, activate, sum, read out."""
    weights, *bias = parameters
    return _activate(activation, run.x @ weights.T + sum(bias)).sum(dim=1) @ run.readout


def _project(run: _Run, weights: torch.Tensor) -> torch.Tensor:
    """Coefficients (2m, n + signals) of [xi_1..xi_n, signals] in W - W0; under decay, in W less what is left of W0.

    NaN where they are not unique, as for d < n + 1.
    """
    import torch

    count = len(run.xi) + len(run.mu)
    if run.basis is None:
        return torch.full((len(weights), count), torch.nan, dtype=weights.dtype)
    q, r = run.basis
    return torch.linalg.solve_triangular(r, q.T @ (weights - run.w0).T, upper=True).T[:, :count]
