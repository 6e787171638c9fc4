"""The one exception for input that is refused, the near name it suggests, and the checks that many modules share."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Input that is refused: its message names the argument, the rule, the value and the remedy.

    The command line shows the message without a traceback and exits with 2; any other exception is a bug.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the option nearest to `name`, else the list of all options."""
    options = list(options)
    if not options:
        return ""
    near = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose one of {', '.join(map(repr, options))}"


def check_integer(name: str, value: Any, least: int, example: int) -> None:
    """Refuse what is not an integer >= least."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"`{name}` must be an integer >= {least}, got {value!r}; use for example {name}={example}")


def check_positive(name: str, value: Any, example: float, remedy: str = "") -> None:
    """Refuse what is not a finite number > 0 whose square is one, too."""
    if not is_number(value) or not math.isfinite(value) or value <= 0:
        remedy = remedy or f"use for example {name}={example}"
        raise InputError(f"`{name}` must be a finite number > 0, got {value!r}; {remedy}")
    if not 1e-150 < float(value) < 1e150:
        raise InputError(f"`{name}` must lie between 1e-150 and 1e150, got {value!r}; its square leaves float64")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, and not a truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
