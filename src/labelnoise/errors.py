"""The one exception for input that is refused, the near name it suggests, and the checks that many modules share."""

from __future__ import annotations

import difflib
import errno
import math
import numbers
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Input that is refused: its message names the argument, the rule, the value and the remedy.

    It is one line, whatever the value looks like. The command line shows it without a traceback and exits with 2; any
    other exception is a bug.
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*\n\s*", " ", message))


def did_you_mean(name: str, options: Iterable[str], listed: bool = False, mark: str = "") -> str:
    """Return `; did you mean 'x'?` for the options nearest to `name`, else the list of all options.

    Where the sentence has `listed` them before, they are not listed again. `mark` stands before each, as -- of flags.
    """
    alike = {option: difflib.SequenceMatcher(None, option.lower(), name.lower()).ratio() for option in options}
    if not alike:
        return "; leave it out"
    most = max(alike.values())
    near = [repr(mark + option) for option in alike if alike[option] == most]
    if most >= ALIKE:
        return f"; did you mean {' or '.join(near)}?"
    return f"; choose one of {'these' if listed else ', '.join(repr(mark + option) for option in alike)}"


ALIKE = 0.6
"""The likeness, of at most 1, from which on a name may have been meant by another one."""


def check_integer(name: str, value: Any, least: int, example: int) -> None:
    """Refuse what is not an integer >= least, or one that no array could count to."""
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)) or value < least:
        raise InputError(f"`{name}` must be an integer >= {least}, got {value!r}; use for example {name}={example}")
    if int(value) >= 2**63:
        raise InputError(f"`{name}` must be below 2^63, got {described(value)}; use for example {name}={example}")


def check_boolean(name: str, value: Any) -> None:
    """Refuse what is neither True nor False, also what only counts as one of them, such as 1 or a text."""
    if not isinstance(value, bool):
        raise InputError(f"`{name}` must be True or False, got {described(value)}; leave it out for the default")


def check_positive(name: str, value: Any, example: float) -> None:
    """Refuse what is not a finite number > 0."""
    if not is_number(value) or not math.isfinite(value) or value <= 0:
        raise InputError(f"`{name}` must be a finite number > 0, got {value!r}; use for example {name}={example}")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, and not a truth value."""
    if isinstance(value, float):  # asked most often, and the other answers take ten times as long
        return True
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    return not isinstance(value, numbers.Integral) or abs(int(value)) < 10**300  # a larger one is no float64


def described(value: Any) -> str:
    """A value for a message: type and shape of an array, else itself, cut where it is long."""
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    return " ".join(reprlib.repr(value).split())


def counted(number: int, noun: str) -> str:
    """A number of things in words: 1 run, 2,000 runs."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def first_few(names: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """Names for a sentence: the first of them, and dots where there are more."""
    return between.join([*names[:most], *["..."] * (len(names) > most)])


def check_path(name: str, value: Any) -> None:
    """Refuse what is no path, or is or has a name longer than file systems take."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise InputError(f"`{name}` must be a path, got {value!r}; write one like 'folder/name'")
    longest = max(len(part.encode(errors="replace")) for part in (*Path(value).parts, "."))
    if longest > 255:
        raise InputError(f"`{name}` must be a path of names up to 255 bytes, got one of {longest}; shorten it")
    if len(str(value)) > 4_000:
        raise InputError(f"`{name}` must be a path of up to 4,000 characters, got {len(str(value)):,}; shorten it")


def wants_room(error: OSError) -> bool:
    """Whether the system refused for want of room, and not for the place itself."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def wants_memory(error: BaseException) -> bool:
    """Whether an error says that memory is not enough, also that of a GPU; torch has kinds of its own, or none."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def check_regular(path: Path, remedy: str = "give the path of one") -> None:
    """Refuse what is no regular file, nor a link to one: to read a pipe or a device may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null byte
        kind = "a link to nothing" if os.path.islink(path) else f"none ({getattr(error, 'strerror', error)})"
    else:
        if stat.S_ISREG(mode):
            return
        kind = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe"}.get(stat.S_IFMT(mode), "a device")
    raise InputError(f"{path} must be a regular file, got {kind}; {remedy}")


def check_progress(value: Any) -> None:
    """Refuse what can be called with no progress."""
    if value is not None and not callable(value):
        raise InputError(f"`progress` must be callable as progress(done, total), got {value!r}; leave it out")
