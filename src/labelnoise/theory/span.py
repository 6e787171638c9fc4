"""The array engine: exact training in coefficient space, for a batch of runs at once, on NumPy arrays or torch tensors.

With the bank P of q patches (see `bank`), W = a W0 + C P, the products H = W P^T = a H0 + C K, K = P P^T, and

    f = A s(H) S,    g = dL/df,    G = [(A^T g S^T) o s'(H)],    dL/dW = G P,

where A is the second layer, a row for each output, S says which sample shows which patch, s is the activation, o the
entrywise product. Two classes have one output. One (2m x q)(q x q) product a step gives H, whatever d is; an optimiser
moves C and a by G. H is computed from C anew at every step, never accumulated: no drift. gamma_{j,r} = j (C_{+mu} -
C_{-mu}) ||mu||^2 and rho_{j,r,i} = C_{(j,r),i} ||xi_i||^2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from labelnoise.arrays import Array, to_device
from labelnoise.errors import InputError
from labelnoise.theory.bank import Bank, build_bank, summed
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import View
from labelnoise.theory.optimizers import GradientFlow, Momentum, SharpnessAware
from labelnoise.theory.outputs import cross_entropy_slope, margin

EVALUATIONS = 100_000
"""Largest number of gradients that gradient flow may take for the time of one step."""


@dataclass(frozen=True, eq=False)
class System:
    """What R runs are trained on, and how."""

    bank: Bank
    config: SimulateConfig
    rates: Array
    """(R, 1, 1) learning rates, before the schedule."""
    seeds: tuple[int, ...]
    """Of the streams that shuffle and flip while a run is trained."""


@dataclass(frozen=True, eq=False)
class State:
    """Everything that the next step needs."""

    system: System
    step: int
    coefficients: Array
    """(R, 2m, q) C."""
    scale: Array
    """(R, 1, 1) a."""
    velocity: tuple[Array, Array]
    """Momentum of C and of a; zeros before the first step, one zero a run without momentum."""
    products: Array
    """(R, 2m, q) H."""
    output: Array
    """(R, n) f(W, x_i); (R, K, n) of K classes."""
    pace: tuple[float, ...] | None = None
    """First step size of each run's integration, of gradient flow."""


def init(draws: tuple[Draw, ...], rates: np.ndarray, config: SimulateConfig, device: str | None, dtype: str) -> State:
    """Return the state before training of a batch of draws.

    Args:
        draws: R draws of equal n and m.
        rates: (R,) learning rates.
        config: how to train.
        device: None for NumPy, else a torch device.
        dtype: "float64", or "float32" for statistics (outputs move by up to 2e-4).
    """
    bank = build_bank(draws, config.dynamics.second_layer, device, dtype)
    system = System(
        bank, config, to_device(rates[:, None, None], device, dtype), tuple(draw.seed or 0 for draw in draws)
    )
    zeros, one = 0 * bank.products0, 0 * system.rates + 1
    rest = 0 * one
    velocity = (zeros if isinstance(config.dynamics.optimizer, Momentum) else rest), rest
    return State(system, 0, zeros, one, velocity, bank.products0, _outputs(system, bank.products0))


def step(state: State) -> State:
    """Return the state one step later; the state given is left as it is."""
    system, dynamics = state.system, state.system.config.dynamics
    if isinstance(dynamics.optimizer, GradientFlow):
        return _flow(state, dynamics.optimizer.tolerance)
    gradient = _gradient(system, state.products, state.output, state.step)
    if isinstance(dynamics.optimizer, SharpnessAware):
        ascended = state.products + _ascent(system.bank, gradient, dynamics.optimizer.radius)
        gradient = _gradient(system, ascended, _outputs(system, ascended), state.step)
    moves = gradient, 0 * state.scale  # of C and of a, as velocities are
    if dynamics.weight_decay:
        moves = gradient + dynamics.weight_decay * state.coefficients, dynamics.weight_decay * state.scale
    velocity = state.velocity
    if isinstance(dynamics.optimizer, Momentum):
        share = dynamics.optimizer.momentum
        velocity = share * velocity[0] + moves[0], share * velocity[1] + moves[1]
        ahead = moves[0] + share * velocity[0], moves[1] + share * velocity[1]
        moves = ahead if dynamics.optimizer.nesterov else velocity
    rates = system.rates * float(dynamics.schedule.share(np.array(state.step), system.config.steps))
    return _at(state, state.coefficients - rates * moves[0], state.scale - rates * moves[1], velocity)


def merge(before: State, state: State, runs: np.ndarray) -> State:
    """Return the networks of `state` for these runs (R,), those of `before` for the others; to be looked at only."""
    if runs.all():
        return state  # states are never written to again
    xp = state.system.bank.xp
    mask = xp.asarray(runs, device=state.output.device)
    names = ("coefficients", "scale", "products", "output")
    pairs = [(getattr(state, name), getattr(before, name)) for name in names]
    chosen = [xp.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs]
    return replace(state, **dict(zip(names, chosen, strict=True)))


def view(state: State) -> View:
    """Show the networks to the observables."""
    bank, dynamics = state.system.bank, state.system.config.dynamics
    c, a, xp, n = state.coefficients, state.scale, bank.xp, bank.n
    bias = None if bank.bias0 is None else a[..., 0] * bank.bias0 + c.sum(-1)

    def weight_gram(orthogonal: bool) -> Array:
        """W W^T = a^2 W0 W0^T + a H0 C^T + C H^T, without the bias; orthogonal: less (W mu)(W mu)^T / ||mu||^2."""
        h0, h = bank.products0, state.products
        if bank.bias0 is not None and bias is not None:
            h0, h = h0 - bank.bias0[..., None], h - bias[..., None]
        gram = a**2 * bank.gram0 + a * (h0 @ xp.matrix_transpose(c)) + c @ xp.matrix_transpose(h)
        if orthogonal:
            signals = h[..., n : n + 1] if bank.readout.ndim == 1 else h[..., n:]
            square = bank.squares[:, n, None, None]  # signals are orthogonal and of equal norm
            along = signals @ xp.matrix_transpose(signals)
            gram = gram - along / xp.where(square > 0, square, 1 + 0 * square)
        return gram

    def c_mu() -> Array:
        if bank.readout.ndim == 1:
            return c[..., n] - c[..., n + 1]
        own = xp.where(xp.matrix_transpose(bank.readout) > 0, c[..., n:], 0 * c[..., n:])
        return xp.sum(own, axis=-1)

    return View(
        xp=xp,
        dynamics=dynamics,
        readout=bank.readout,
        y_true=bank.y_true,
        y_given=bank.y_given,
        clean=bank.clean,
        mu_sq=bank.squares[:, n],
        xi_sq=bank.squares[:, :n],
        output=state.output,
        bias=bias,
        h_signals=state.products[..., n:],
        h_xi=state.products[..., :n],
        c_mu=c_mu,
        c_xi=lambda: c[..., :n],
        h_held_out=lambda: a * bank.held_out0 + c @ bank.held_out_patches,
        weight_gram=weight_gram,
        h_probe=None if bank.probe is None else partial(_along, state, *bank.probe),
        one_patch=bank.one_patch,
    )


def _along(state: State, patches: Array, start: Array) -> Array:
    """W v (R, 2m) from P v (R, q) and W0 v (R, 2m)."""
    return state.scale[..., 0] * start + (state.coefficients @ patches[..., None])[..., 0]


def _at(state: State, coefficients: Array, scale: Array, velocity: tuple[Array, Array]) -> State:
    """The state of the next step with these coefficients: H and f follow from them."""
    system, bank = state.system, state.system.bank
    products = coefficients @ bank.kernel
    products += scale * bank.products0 if system.config.dynamics.weight_decay else bank.products0  # in place: its own
    output = _outputs(system, products)
    return State(system, state.step + 1, coefficients, scale, velocity, products, output, state.pace)


def _gradient(system: System, products: Array, output: Array, step: int) -> Array:
    """G (R, 2m, q): sample i pulls the patches that it shows by g_i, a filter where its slope lets it."""
    bank, activation, xp = system.bank, system.config.dynamics.activation, system.bank.xp
    g = _slopes(system, output, step)
    if bank.one_patch:
        by_sample = activation.slope(xp, summed(bank, products)) * _spread(bank, g)
        return xp.concat([by_sample, by_sample @ bank.shows], axis=-1)
    shows = bank.shows if g.ndim == 2 else bank.shows[:, None]
    pulls = xp.concat([g, (g[..., None, :] @ shows)[..., 0, :]], axis=-1)
    return activation.slope(xp, products) * _spread(bank, pulls)


def _spread(bank: Bank, pulls: Array) -> Array:
    """A^T pulls (R, 2m, .): what each filter feels of the pulls at the outputs, (R, .) or (R, K, .)."""
    if pulls.ndim == 2:
        return bank.readout[:, None] * pulls[:, None, :]
    return bank.xp.matrix_transpose(bank.readout) @ pulls


def _slopes(system: System, output: Array, step: int) -> Array:
    """Slopes g = dL/df (R, n), or (R, K, n) of K classes: labels, weights and who is shown are all in here."""
    bank, dynamics, xp = system.bank, system.config.dynamics, system.bank.xp
    shown, now = dynamics.shown, range(step, step + 1)
    if output.ndim == 3:
        g = cross_entropy_slope(xp, output, bank.y_given)
        weights = _each(system, [shown.weights(seed, now, bank.n)[0] for seed in system.seeds])
        if shown.selection_from is not None and step >= shown.selection_from:
            weights = weights * (margin(xp, output, bank.y_given) >= 0)
        return g * weights[:, None]
    z = bank.y_given * output
    slope = dynamics.loss.slope(xp, z)
    if shown.fresh_flips:
        flipped = _each(system, [shown.flips(seed, now, bank.n)[0] for seed in system.seeds])
        slope = slope + flipped  # with a flip the slope is -l'(-z) = l'(z) + 1
    if shown.batch_size is None:
        g = slope * bank.y_given / bank.n
    else:
        g = slope * bank.y_given * _each(system, [shown.weights(seed, now, bank.n)[0] for seed in system.seeds])
    if shown.selection_from is not None and step >= shown.selection_from:
        g = g * (z >= 0)
    return g


def _ascent(bank: Bank, gradient: Array, radius: float) -> Array:
    """What radius G / ||G|| adds to the products H; ||G||^2 = sum G o (G K)."""
    xp, along = bank.xp, gradient @ bank.kernel
    square = xp.sum(xp.sum(gradient * along, axis=-1, keepdims=True), axis=-2, keepdims=True)
    return xp.where(square > 0, radius / xp.sqrt(xp.where(square > 0, square, 1 + 0 * square)), 0 * square) * along


def _flow(state: State, tolerance: float) -> State:
    """Integrate dC/dt = -G over the time lr, run by run: what one run needs does not move another."""
    bank, ends, paces = state.system.bank, [], []
    for run in range(len(state.system.seeds)):
        end, pace = _integrate(state, run, tolerance)
        ends.append(end)
        paces.append(pace)
    coefficients = to_device(np.stack(ends), None if bank.xp.__name__.endswith("numpy") else str(bank.kernel.device))
    return replace(_at(state, coefficients, state.scale, state.velocity), pace=tuple(paces))


def _integrate(state: State, run: int, tolerance: float) -> tuple[np.ndarray, float]:
    """Coefficients (2m, q) of a run after the time lr, and the integration's last step size."""
    from scipy.integrate import RK45

    start, system = np.asarray(state.coefficients[run]), _one_run(state.system, run)
    bank, span = system.bank, float(state.system.rates[run, 0, 0])

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        products = bank.products0 + flat.reshape(1, *start.shape) @ bank.kernel
        return -_gradient(system, products, _outputs(system, products), state.step).ravel()

    first = min(state.pace[run], span) if state.pace else None
    solver = RK45(slope, 0.0, start.ravel(), span, first_step=first, rtol=tolerance, atol=tolerance / 10)
    pace = span
    while solver.status == "running" and solver.nfev < EVALUATIONS and np.isfinite(solver.y).all():
        solver.step()
        pace = solver.step_size if solver.t < span else max(pace, solver.step_size or 0.0)
    if solver.status == "running" and np.isfinite(solver.y).all():
        raise InputError(
            f"gradient flow took more than {EVALUATIONS:,} gradients for the time of step {state.step + 1}; raise the "
            "tolerance or lower `lr`, which is the time of a step"
        )
    end = solver.y if solver.status == "finished" else np.full_like(solver.y, np.nan)
    return end.reshape(start.shape), pace


def _one_run(system: System, run: int) -> System:
    """One run of a batch, as a batch on NumPy."""
    names = ("y_true", "y_given", "clean", "kernel", "products0", "squares", "shows")
    parts: dict[str, Any] = {name: np.asarray(getattr(system.bank, name)[run : run + 1]) for name in names}
    bank = replace(system.bank, xp=np, readout=np.asarray(system.bank.readout), **parts)
    return replace(system, bank=bank, seeds=system.seeds[run : run + 1])


def _outputs(system: System, products: Array) -> Array:
    """f(W, x_i) (R, n), or (R, K, n): the sample's noise patch plus the signal patch that it shows."""
    bank, activation = system.bank, system.config.dynamics.activation
    if bank.one_patch:
        return bank.readout @ activation.value(bank.xp, summed(bank, products))
    by_patch = bank.readout @ activation.value(bank.xp, products)
    shows = bank.shows if by_patch.ndim == 2 else bank.shows[:, None]
    return by_patch[..., : bank.n] + (shows @ by_patch[..., bank.n :, None])[..., 0]


def _each(system: System, rows: list[np.ndarray]) -> Array:
    """One row (n,) of each run as (R, n), where and as the run's arrays are."""
    labels = system.bank.y_given
    return system.bank.xp.asarray(np.stack(rows), dtype=labels.dtype, device=labels.device)
