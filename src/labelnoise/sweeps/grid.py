"""The words of a grid: which parameters are swept, and over which values.

d=100,200,400          these values
d=100:1090:10          from 100 to 1090 in steps of 10, both ends included
n_snr2=log:1:128:8     8 values from 1 to 128, evenly spaced in the logarithm; lin: evenly spaced
d=100:1090             anything between, for random and Sobol points; also log:100:1090
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

import numpy as np

from labelnoise.errors import InputError, did_you_mean, is_number
from labelnoise.runs.places import Flag
from labelnoise.runs.settings import dashed
from labelnoise.sweeps.parameters import Parameter, overlap, plain
from labelnoise.theory.dynamics import PIECES
from labelnoise.theory.optimizers import Adam

MOST_VALUES = 100_000
"""Most values of one parameter."""
DIGITS = 12
"""Computed values are rounded to so many significant digits, lest the seed of a cell depend on the last one."""


@dataclass(frozen=True)
class Axis:
    """One parameter of a grid."""

    parameter: Parameter
    values: tuple[float, ...]
    """In ascending order; the two ends of an interval."""
    interval: bool = False
    """Whether anything between the two ends may be drawn."""
    log: bool = False
    """Whether an interval is drawn from evenly in the logarithm."""

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name


def read_grid(
    words: Sequence[str], parameters: Mapping[str, Parameter], flags: Callable[[], Iterable[Flag]] = tuple
) -> tuple[Axis, ...]:
    """Return the axes that the words describe, in their order.

    Args:
        words: a parameter and its values each.
        parameters: what may be swept, by name.
        flags: gives all settings of the sweep, for what is said of one that may not be swept.

    Raises:
        InputError: no word, one that cannot be read, an unknown parameter, or two that set the same setting.
    """
    if not words:
        raise InputError(
            "`grid` must name at least one parameter and its values, got none; write for example d=100,200"
        )
    axes: list[Axis] = []
    for word in words:
        axis = _read_word(word, parameters, flags)
        for other in axes:
            if overlap(axis.parameter, other.parameter):
                same = "is given twice" if axis.name == other.name else f"sets what {other.name!r} sets"
                raise InputError(f"`grid` must give each setting once, but {axis.name!r} {same}; leave one of them out")
        axes.append(axis)
    return tuple(axes)


def words_of(grid: Any) -> tuple[str, ...]:
    """Return a grid as words: it may also be a table of parameters and their values.

    Raises:
        InputError: it is neither.
    """
    if isinstance(grid, str):
        return (grid,)
    if not isinstance(grid, Mapping):
        if isinstance(grid, Sequence) and all(isinstance(word, str) for word in grid):
            return tuple(grid)
        raise InputError(f"`grid` must be words such as d=100,200 or a table of values, got {grid!r}; correct it")
    words = []
    for name, values in grid.items():
        if not isinstance(values, str):
            values = np.atleast_1d(np.asarray(values, dtype=object)).tolist()
            if not all(is_number(value) for value in values):
                raise InputError(f"`grid` must give numbers for {name!r}, got {values!r}; correct them")
            values = ",".join(str(value if isinstance(value, int) else float(value)) for value in values)
        words.append(f"{name}={values}")
    return tuple(words)


def is_geometric(values: Sequence[float] | np.ndarray) -> bool:
    """Whether values lie more evenly in the logarithm."""
    points = np.asarray(values, dtype=float)
    if np.unique(points).size < 3 or not points[0] > 0:
        return False
    steps, ratios = np.diff(points / points[-1]), np.diff(np.log(points))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())


def rounded(values: Any) -> np.ndarray:
    """Values to `DIGITS` significant digits."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in np.ravel(values)]).reshape(np.shape(values))


def _read_word(word: str, parameters: Mapping[str, Parameter], flags: Callable[[], Iterable[Flag]]) -> Axis:
    name, equals, text = (part.strip() for part in word.partition("="))
    if not equals or not name or not text:
        raise InputError(f"`grid` takes words such as d=100,200 or d=100:1000:100, got {word!r}; correct it")
    parameter = parameters.get(name.replace("-", "_"))
    if parameter is None:
        raise _unknown(name.replace("-", "_"), parameters, flags)
    scale, _, rest = text.partition(":")
    if scale in ("log", "lin"):
        return _spaced(word, parameter, scale == "log", rest.split(":"))
    if ":" not in text:
        return _axis(word, parameter, sorted(float(_number(word, value)) for value in text.split(",")))
    parts = [_number(word, part) for part in text.split(":")]
    if len(parts) == 2:
        return _interval(word, parameter, False, parts)
    if len(parts) != 3 or not float(parts[2]) > 0:
        raise InputError(f"`grid` takes a range as LOW:HIGH:STEP with a step > 0, got {word!r}; correct it")
    low, high, step = parts
    count = int((high - low) / step) + 1 if high >= low else 0
    _check_count(word, count)
    return _axis(word, parameter, [float(low + at * step) for at in range(count)])


def _unknown(name: str, parameters: Mapping[str, Parameter], flags: Callable[[], Iterable[Flag]]) -> InputError:
    """The refusal of what may not be swept: a choice, a setting that is no number, or one of another choice."""
    if get_args(PIECES.get(name)):
        return InputError(
            f"`grid` sweeps numbers, but {name!r} is a choice; run a sweep for each, by --{name}, with equal grid, "
            "seed and seeds: then equal cells have equal draws"
        )
    for flag in flags():
        if flag.name == name.replace("_", "-"):
            return InputError(
                f"`grid` cannot vary {name!r}, which all cells share; give it as --{flag.name}: {flag.help}"
            )
    for piece, kind in PIECES.items():
        for choice in get_args(kind):
            if name in {field.name for field in fields(choice)} and choice is not Adam:
                return InputError(f"`grid` varies {name!r} of {dashed(choice)} only; add --{piece} {dashed(choice)}")
    return InputError(f"`grid` knows no parameter {name!r}{did_you_mean(name, parameters)}")


def _spaced(word: str, parameter: Parameter, log: bool, texts: list[str]) -> Axis:
    """LOW:HIGH:COUNT, or LOW:HIGH for what is drawn between."""
    parts = [_number(word, text) for text in texts]
    if len(parts) not in (2, 3):
        raise InputError(f"`grid` takes log:LOW:HIGH:COUNT and lin:LOW:HIGH:COUNT, got {word!r}; correct it")
    if log and not parts[0] > 0:
        raise InputError(f"`grid` needs a range above 0 for logarithmic spacing, got {word!r}; start above 0")
    if len(parts) == 2:
        return _interval(word, parameter, log, parts)
    low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    if count != parts[2] or count < 1 or not high >= low or (count == 1 and high > low):
        raise InputError(f"`grid` takes log:LOW:HIGH:COUNT with LOW < HIGH and a count >= 2, got {word!r}; correct it")
    _check_count(word, count)
    values = rounded(np.geomspace(low, high, count) if log else np.linspace(low, high, count))
    if parameter.whole:
        values = np.unique(np.rint(values))  # several may round to the same whole number
    return _axis(word, parameter, values.tolist())


def _interval(word: str, parameter: Parameter, log: bool, parts: list[Decimal]) -> Axis:
    low, high = map(float, parts)
    if not high > low:
        raise InputError(f"`grid` takes an interval as LOW:HIGH with LOW < HIGH, got {word!r}; correct it")
    return Axis(parameter, _whole(word, parameter, [low, high]), interval=True, log=log)


def _axis(word: str, parameter: Parameter, values: list[float]) -> Axis:
    if not values:
        raise InputError(f"`grid` must give at least one value for each parameter, but {word!r} holds none; correct it")
    if len(set(values)) < len(values):
        raise InputError(f"`grid` must give each value once, but {word!r} repeats one; leave it out")
    return Axis(parameter, _whole(word, parameter, values))


def _whole(word: str, parameter: Parameter, values: list[float]) -> tuple[float, ...]:
    broken = [value for value in values if parameter.whole and value != int(value)]
    if broken:
        raise InputError(
            f"`grid` must give whole numbers for {parameter.name!r}, got {broken[0]:g} in {word!r}; round it"
        )
    return tuple(float(plain(parameter, value)) for value in values)


def _number(word: str, text: str) -> Decimal:
    """A decimal number, so that 0:1:0.1 holds 0.3 and not 0.30000000000000004."""
    try:
        value = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or not math.isfinite(float(value)):
        raise InputError(f"`grid` takes finite numbers, got {text.strip()!r} in {word!r}; correct it")
    return value


def _check_count(word: str, count: int) -> None:
    if count > MOST_VALUES:
        raise InputError(
            f"`grid` takes at most {MOST_VALUES:,} values of a parameter, but {word!r} has {count:,}; widen the step"
        )
