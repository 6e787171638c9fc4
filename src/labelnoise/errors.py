"""The one exception for input that is refused, and the near name it suggests."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that is refused: its message names the argument, the rule, the value and the remedy.

    The command line shows the message without a traceback and exits with 2; any other exception is a bug.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the option nearest to `name`, else the list of all options."""
    options = list(options)
    near = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose one of {', '.join(map(repr, options))}"
