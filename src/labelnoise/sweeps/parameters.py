"""The parameters that may be swept: fields of the problem and of the simulation, and numbers that set one of them."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Symmetric
from labelnoise.runs.places import Flag, flags_of
from labelnoise.runs.settings import words_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.optimizers import GradientDescent, Momentum
from labelnoise.theory.problem import SignalNoise


class Setup(NamedTuple):
    """What the runs of one cell have in common."""

    problem: SignalNoise
    simulation: SimulateConfig


Path = tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """A number that a sweep may vary."""

    name: str
    symbol: str
    """In TeX's mathematical notation, without dollars; empty where it has none."""
    long_name: str
    unit: str
    """Empty for a plain number."""
    sets: Path
    """The setting that it sets."""
    apply: Callable[[Setup, float], Setup]
    """The setup with this value."""
    order: int = 0
    """Those of a lower order are applied first: what a number is computed from comes before it."""
    whole: bool = False
    mixes: bool = True
    """Whether runs that differ in it are trained in one batch."""


@lru_cache(maxsize=64)
def parameters_of(setup: Setup) -> dict[str, Parameter]:
    """Return every parameter that may be swept around a setup, by name."""
    fields = [*flags_of(setup.problem, ("problem",)), *flags_of(setup.simulation, ("simulation",))]
    parameters = {parameter.name: parameter for parameter in map(_field, fields) if parameter}
    return parameters | DERIVED


def set_up(base: Setup, values: Mapping[Parameter, float]) -> Setup:
    """Return the setup with these values, applied in their order.

    Raises:
        InputError: a value out of its range; the message says at which values.
    """
    setup = base
    try:
        for parameter in sorted(values, key=lambda parameter: parameter.order):
            setup = parameter.apply(setup, values[parameter])
    except InputError as refusal:
        at = ", ".join(f"{parameter.name}={plain(parameter, value)!r}" for parameter, value in values.items())
        raise InputError(f"the grid holds a cell that cannot be ({at}): {refusal}") from None
    return setup


def plain(parameter: Parameter, value: float) -> int | float:
    """A value as it is written: whole numbers without a point."""
    return int(value) if parameter.whole else float(value)


def overlap(one: Parameter, other: Parameter) -> bool:
    """Whether two parameters set the same setting."""
    depth = min(len(one.sets), len(other.sets))
    return one.sets[:depth] == other.sets[:depth]


SYMBOLS = {
    "n": "n",
    "d": "d",
    "m": "m",
    "mu_norm": r"\Vert\mu\Vert",
    "noise_std": r"\sigma_\xi",
    "init_std": r"\sigma_0",
    "lr": r"\eta",
    "zeta_std": r"\sigma_\zeta",
    "weight_decay": r"\lambda",
    "batch_size": r"\vert B\vert",
    "fresh_flips": r"\tau_\mathrm{fresh}",
    "rate": r"\tau",
}
"""Symbols of the fields that have one."""
UNITS = dict.fromkeys(("steps", "selection_from", "every"), "step")
MIXED = ("d", "mu_norm", "noise_std", "init_std", "lr", "rate")
"""Fields in which the runs of one batch may differ."""
NOT_SWEPT = ("record_every",)
"""A sweep records the first and the last step only."""


def _field(flag: Flag) -> Parameter | None:
    """The parameter of a field that holds a number, or a truth value as 0 or 1."""
    name = flag.path[-1]
    kinds = set(typing.get_args(flag.kind)) - {type(None)} or {flag.kind}
    if not kinds <= {int, float, bool} or name in NOT_SWEPT:
        return None
    whole = kinds <= {int, bool}

    def apply(setup: Setup, value: float) -> Setup:
        if bool in kinds and value not in (0, 1):
            raise InputError(f"`{name}` must be 0 or 1, got {value:g}; it is a truth value")
        given = bool(value) if bool in kinds else int(value) if whole else float(value)
        return Setup(**{**setup._asdict(), flag.path[0]: _replaced(getattr(setup, flag.path[0]), flag.path[1:], given)})

    long_name = re.split(r"[;:]\s|\.$", flag.help)[0] or name.replace("_", " ")
    mixes = name in MIXED
    return Parameter(
        name, SYMBOLS.get(name, ""), long_name, UNITS.get(name, ""), flag.path, apply, whole=whole, mixes=mixes
    )


def _replaced(config: Any, path: Path, value: Any) -> Any:
    """A config with the value at a path."""
    inner = value if len(path) == 1 else _replaced(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: inner})


def _tau(setup: Setup, plus: float | None, minus: float | None) -> Setup:
    """The setup with these flip rates; None keeps what it is."""
    held = setup.problem.taus
    plus, minus = (rate if given is None else given for given, rate in zip((plus, minus), held, strict=True))
    exact = setup.problem.label_noise.exact
    if setup.problem.n_classes > 2:
        if plus != minus:
            raise InputError(f"tau_plus and tau_minus are rates of two classes, got {setup.problem.n_classes}; use tau")
        return setup._replace(problem=replace(setup.problem, label_noise=Symmetric(float(plus), exact=exact)))
    return setup._replace(problem=replace(setup.problem, label_noise=ClassConditional(plus, minus, exact=exact)))


def _set_d(setup: Setup, d: float) -> Setup:
    return setup._replace(problem=replace(setup.problem, d=max(round(min(d, 2.0**60)), 1)))


def _set_signal(setup: Setup, snr: float) -> Setup:
    problem = setup.problem
    return setup._replace(problem=replace(problem, mu_norm=snr * problem.noise_std * math.sqrt(problem.d)))


def _set_init(setup: Setup, scale: float) -> Setup:
    return setup._replace(problem=replace(setup.problem, init_std=scale / math.sqrt(setup.problem.d)))


def _set_rate(setup: Setup, scale: float) -> Setup:
    problem = setup.problem
    _check_positive("stage_one_scale", scale)
    lr = problem.n * problem.m / scale / (problem.noise_std**2 * problem.d)
    return setup._replace(simulation=replace(setup.simulation, lr=lr))


def _set_n_snr2(setup: Setup, n_snr2: float) -> Setup:
    if n_snr2 < 0:
        raise InputError(f"`n_snr2` must be >= 0, got {n_snr2:g}; it is n times a square")
    return _set_signal(setup, math.sqrt(n_snr2 / setup.problem.n))


def _set_momentum(setup: Setup, momentum: float) -> Setup:
    """Heavy ball or Nesterov, as the setup has it; gradient descent at 0."""
    dynamics = setup.simulation.dynamics
    if not isinstance(dynamics.optimizer, GradientDescent | Momentum):
        raise InputError(
            f"`momentum` needs the optimizer gradient-descent or momentum, got {words_of(dynamics.optimizer)}; leave "
            "one of them out"
        )
    nesterov = isinstance(dynamics.optimizer, Momentum) and dynamics.optimizer.nesterov
    optimizer = Momentum(momentum, nesterov) if momentum else GradientDescent()
    return setup._replace(simulation=replace(setup.simulation, dynamics=replace(dynamics, optimizer=optimizer)))


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"`{name}` must be > 0, got {value:g}; use for example {name}=20")


NOISE, DIMENSION, SIGNAL = ("problem", "label_noise"), ("problem", "d"), ("problem", "mu_norm")
DERIVED = {
    parameter.name: parameter
    for parameter in (
        Parameter("tau", r"\tau", "Flip rate of both classes", "", NOISE, lambda s, v: _tau(s, v, v), 1),
        Parameter(
            "tau_plus", r"\tau_+", "Flip rate of the class +", "", (*NOISE, "tau_plus"),
            lambda s, v: _tau(s, v, None), 1,
        ),
        Parameter(
            "tau_minus", r"\tau_-", "Flip rate of the class -", "", (*NOISE, "tau_minus"),
            lambda s, v: _tau(s, None, v), 1,
        ),
        Parameter(
            "d_over_n", "d/n", "Dimension over samples", "", DIMENSION,
            lambda s, v: _set_d(s, v * s.problem.n), 1,
        ),
        Parameter(
            "d_over_n2", "d/n^2", "Dimension over samples squared", "", DIMENSION,
            lambda s, v: _set_d(s, v * s.problem.n**2), 1,
        ),
        Parameter(
            "momentum", r"\beta", "Momentum, 0 for gradient descent", "",
            ("simulation", "dynamics", "optimizer", "momentum"), _set_momentum, 1, mixes=False,
        ),
        Parameter("snr", r"\mathrm{SNR}", "Signal-to-noise ratio", "", SIGNAL, _set_signal, 2),
        Parameter("n_snr2", r"n\,\mathrm{SNR}^2", "n SNR^2", "", SIGNAL, _set_n_snr2, 2),
        Parameter(
            "init_scale", r"\sigma_0\sqrt{d}", "sigma_0 sqrt(d)", "", ("problem", "init_std"),
            _set_init, 2,
        ),
        Parameter(
            "stage_one_scale", r"nm/(\eta\sigma_\xi^2 d)", "Scale of T1, n m / (eta sigma_xi^2 d)", "step",
            ("simulation", "lr"), _set_rate, 3,
        ),
    )
}  # fmt: skip
"""Numbers that set a field from the others, and those that replace a model of label noise or an optimiser."""
