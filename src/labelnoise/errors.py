"""The one exception for input that is refused, the near name it suggests, and the checks that many modules share."""

from __future__ import annotations

import difflib
import math
import numbers
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """Input that is refused: its message names the argument, the rule, the value and the remedy.

    It is one line, whatever the value looks like. The command line shows it without a traceback and exits with 2; any
    other exception is a bug.
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*\n\s*", " ", message))


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
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    return not isinstance(value, numbers.Integral) or abs(int(value)) < 10**300  # a larger one is no float64


def described(value: Any) -> str:
    """A value for a message: type and shape of an array, else itself, cut where it is long."""
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    return " ".join(reprlib.repr(value).split())


def check_path(name: str, value: Any) -> None:
    """Refuse what is no path, or has a name longer than file systems take."""
    if not isinstance(value, str | Path) or not str(value):
        raise InputError(f"`{name}` must be a path, got {value!r}; write it as text")
    longest = max(len(part.encode(errors="replace")) for part in (*Path(value).parts, "."))
    if longest > 255 or len(str(value)) > 4_000:
        raise InputError(f"`{name}` must be a path of names up to 255 bytes, got one of {longest}; shorten it")


def check_progress(value: Any) -> None:
    """Refuse what can be called with no progress."""
    if value is not None and not callable(value):
        raise InputError(f"`progress` must be callable as progress(done, total), got {value!r}; leave it out")


def check_types(config: Any) -> None:
    """Refuse a config whose field holds a value of another type than its annotation; numbers of NumPy count.

    Raises:
        InputError: names the first such field.
    """
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is not ClassVar and not _fits(getattr(config, name), kind):
            value, default = getattr(config, name), getattr(type(config), name, None)
            remedy = "; leave it out or correct it" if default is None else f"; use for example {name}={default!r}"
            if get_origin(kind) is Literal:
                remedy = did_you_mean(str(value), map(str, get_args(kind)))
            raise InputError(f"`{name}` must be {_words(kind)}, got {value!r}{remedy}")


WORDS = {bool: "True or False", str: "a text", int: "an integer", float: "a number", Path: "a path", type(None): "None"}
"""What a field of each type takes, in words."""


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type."""
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return is_number(value)
    if kind is Path:
        return isinstance(value, str | Path)
    if get_origin(kind) is Literal:
        return any(type(value) is type(option) and value == option for option in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple | list) and all(_fits(member, get_args(kind)[0]) for member in value)
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, member) for member in get_args(kind))
    return isinstance(value, kind)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each {_words(get_args(kind)[0])}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_words, get_args(kind)))
    return WORDS.get(kind) or f"a {kind.__name__}"
