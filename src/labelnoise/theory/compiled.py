"""The compiled engine: the states of `span`, trained by fused kernels on the CPU, runs side by side on the cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.runs.workers import cores
from labelnoise.theory import span
from labelnoise.theory.lanes import lanes_of, pack, unpack
from labelnoise.theory.observables import TRACKED, View
from labelnoise.theory.optimizers import GradientFlow, Momentum, SharpnessAware

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from labelnoise.theory.bank import Bank
    from labelnoise.theory.config import SimulateConfig
    from labelnoise.theory.draws import Draw
    from labelnoise.theory.dynamics import Dynamics
    from labelnoise.theory.engines import Training

State = span.State
init = span.init

BUDGET = 2**22
"""Numbers of weights and flips of samples that are drawn at once; more steps are taken in parts."""


def not_covered(draws: tuple[Draw, ...], config: SimulateConfig, device: str | None, dtype: str) -> str:
    """Return why this engine does not cover what is asked, in words; empty where it does."""
    if device is not None or dtype != "float64":
        return "it computes on the CPU in float64"
    if isinstance(config.dynamics.optimizer, GradientFlow):
        return "gradient flow is integrated by the array engine"
    if draws[0].n_classes > 2 or draws[0].one_patch:
        return "K classes, and signal and noise in one patch, are trained by the array engine"
    if missing := [name for name in ("numba", "scipy", "threadpoolctl") if not _has(name)]:
        return f"it needs {' and '.join(missing)}; pip install 'labelnoise[fast]'"
    return ""


def view(state: State) -> View:
    """Show the networks to the observables; test patches are read out without an array of their products."""
    return replace(span.view(state), read_patches=partial(_read_patches, state.system))


def _read_patches(system: span.System, factors: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Outputs a s(F P) (R, N); F (R, 2m, r), P (R or 1, r, N)."""
    from labelnoise.theory.kernels import read_patches

    outputs = np.empty((len(factors), patches.shape[-1]))
    arrays = system.bank.readout, np.ascontiguousarray(factors), np.ascontiguousarray(patches)
    _spread(read_patches, len(factors), (*_activation(system.config.dynamics), *arrays, outputs))
    return outputs


def advance(training: Training[State], steps: int) -> tuple[Training[State], np.ndarray, np.ndarray]:
    """Train by so many steps; return also the series `TRACKED` (4, R, steps) after each, and which are finite."""
    runs = training.gap.size
    series, finite = np.full((len(TRACKED), runs, steps), np.nan), np.zeros((runs, steps), bool)
    shown = training.now.system.config.dynamics.shown
    random = runs * training.now.system.bank.n if shown.batch_size is not None or shown.fresh_flips else 1
    part = max(1, BUDGET // random)
    for first in range(0, steps, part):
        last = min(first + part, steps)
        training = _advance(training, series[..., first:last], finite[:, first:last])
    return training, series, finite


def _advance(training: Training[State], series: np.ndarray, finite: np.ndarray) -> Training[State]:
    """The training after as many steps as the series have room for, which are filled in."""
    from labelnoise.theory.kernels import train_groups

    now, best, bank = training.now, training.best, training.now.system.bank
    steps, runs = series.shape[-1], training.gap.size
    lanes = lanes_of(bank.kernel.shape[-1], runs, steps)
    moved = [now.coefficients, now.scale[:, 0], now.velocity[0], now.velocity[1][:, 0], now.products, now.output]
    moved += [best.coefficients, best.scale[:, 0]] if training.staged else []
    moved += [training.gap[:, None], training.whole[:, None]]
    packed = [pack(array, lanes) if lanes > 1 else array.copy() for array in moved]
    packed[-1].reshape(-1)[runs:] = False  # what fills the last group is no run
    groups = len(packed[-1])
    track = np.full((groups, steps, len(TRACKED), lanes), np.nan), np.zeros((groups, steps, lanes), bool)
    trained = packed if training.staged else [*packed[:6], *packed[:2], *packed[6:]]  # nothing is written to the best
    _spread(train_groups, groups, (*_fixed(bank, lanes), *_codes(now, steps, lanes), training.staged, *trained, *track))
    seen, whole_at = (unpack(array, lanes, runs) for array in track)
    series[:], finite[:] = np.moveaxis(seen[..., 0], 2, 0), whole_at[..., 0]
    arrays = [unpack(array, lanes, runs) for array in packed]
    coefficients, scale, velocity, drift, products, output = arrays[:6]
    after = replace(
        now, step=now.step + steps, coefficients=coefficients, scale=scale[..., None],
        velocity=(velocity, drift[..., None]), products=products, output=output,
    )  # fmt: skip
    gap, whole = (array[:, 0] for array in arrays[-2:])
    if training.staged:
        best = _best(best, arrays[6], arrays[7], gap > training.gap)
    return replace(training, now=after, best=best, gap=gap, whole=whole)


def _fixed(bank: Bank, lanes: int) -> tuple[np.ndarray, ...]:
    """What the kernels need to know of the bank."""
    size = bank.n * lanes
    own = pack(bank.n + np.argmax(bank.shows, axis=-1), lanes) * lanes + np.arange(size) % lanes
    packed = [pack(array, lanes) for array in (bank.kernel, bank.products0, bank.y_given, bank.clean, bank.squares)]
    kernel, products0, y_given, clean, squares = packed
    xi_sq, mu_sq = squares[:, :size], squares[:, size : size + lanes]
    return kernel, products0, bank.readout, y_given, own, clean, mu_sq, xi_sq


def _spread(task: Callable[..., None], groups: int, arguments: tuple[Any, ...]) -> None:
    """Call task(first, last, ...) for all groups of runs, side by side on the cores; BLAS sums on one thread."""
    workers = min(threads(), groups)
    with _blas().limit(limits=1, user_api="blas"):
        if workers == 1:  # a thread costs more than a few steps
            task(0, groups, *arguments)
            return
        cuts = np.linspace(0, groups, workers + 1).astype(int).tolist()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda first, last: task(first, last, *arguments), cuts[:-1], cuts[1:]))


def _codes(now: State, steps: int, lanes: int) -> tuple[Any, ...]:
    """What the kernels need to know of the dynamics, for these steps."""
    from labelnoise.theory.kernels import LOSSES

    system, dynamics, n = now.system, now.system.config.dynamics, now.system.bank.n
    shown, rule, when = dynamics.shown, dynamics.optimizer, range(now.step, now.step + steps)
    rates = system.rates[:, 0] * dynamics.schedule.share(np.array(when), system.config.steps)
    weights, flips = np.full((1, 1, n), 1 / n), np.zeros((1, 1, 0), bool)
    if shown.batch_size is not None:
        weights = np.stack([shown.weights(seed, when, n) for seed in system.seeds])
    if shown.fresh_flips:
        flips = np.stack([shown.flips(seed, when, n) for seed in system.seeds])
    selection_from = steps if shown.selection_from is None else max(shown.selection_from - now.step, 0)
    momentum = rule if isinstance(rule, Momentum) else None
    return (
        *_activation(dynamics), LOSSES[type(dynamics.loss)],
        pack(rates[..., None], lanes), pack(weights, lanes), pack(flips, lanes), selection_from,
        momentum.momentum if momentum else 0.0, momentum.nesterov if momentum else False,
        float(dynamics.weight_decay), float(rule.radius) if isinstance(rule, SharpnessAware) else 0.0,
    )  # fmt: skip


def _activation(dynamics: Dynamics) -> tuple[int, float]:
    """What the kernels need to know of the activation: its code, its setting."""
    from labelnoise.theory.kernels import ACTIVATIONS

    return ACTIVATIONS[type(dynamics.activation)], float((*astuple(dynamics.activation), 0.0)[0])


def _best(before: State, coefficients: np.ndarray, scale: np.ndarray, better: np.ndarray) -> State:
    """The networks at the best separation: H and f follow from C, of the runs for which it is a new one."""
    if not better.any():
        return before
    bank, products, output = before.system.bank, before.products.copy(), before.output.copy()
    products[better] = coefficients[better] @ bank.kernel[better] + scale[better, :, None] * bank.products0[better]
    by_patch = bank.readout @ before.system.config.dynamics.activation.value(np, products[better])
    signal = (bank.shows[better] @ by_patch[:, bank.n :, None])[..., 0]
    output[better] = by_patch[:, : bank.n] + signal
    return replace(before, coefficients=coefficients, scale=scale[..., None], products=products, output=output)


def threads() -> int:
    """Return how many runs are trained at once: NUMBA_NUM_THREADS, else the cores that this process may use."""
    given = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else cores()


@cache
def _has(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries that are loaded, once: to look for them takes a millisecond."""
    import scipy.linalg.cython_blas  # noqa: F401  that of the kernels, which Numba loads at their first product only
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
