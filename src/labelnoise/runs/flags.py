"""A config from the command line: its fields are flags, and the keys of a TOML file; flags override the file.

The parser is argparse, whose errors are objects. It only cuts the line into values; the codec of `settings` checks
them, so that a file and a flag obey one set of rules.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, get_args

from labelnoise.errors import InputError, did_you_mean
from labelnoise.runs.places import Flag, all_flags, build_configs, nested, read_toml
from labelnoise.runs.setting_types import SettingType, setting_type
from labelnoise.runs.settings import dashed, is_choice, words_of


def parse_flags(
    program: str, about: str, arguments: Sequence[str], configs: Sequence[type], takes: str = "", leading: str = ""
) -> tuple[str, tuple[Any, ...]]:
    """Return the leading argument, if the command takes one, and the configs that the line and its TOML file describe.

    Args:
        program: `labelnoise COMMAND`.
        about: what the command does.
        arguments: what follows the command.
        configs: dataclasses whose fields, all with a default, become flags.
        takes: what the leading argument is, for the help; empty for a command of flags alone.
        leading: the flag whose value may be given without its name; empty for none.

    Raises:
        InputError: a flag or a key that does not exist, or a value that is refused.
        SystemExit: after --help.
    """
    flags = all_flags(configs)
    lead, given = _cut(program, about, arguments, flags, takes, leading)
    table = read_toml(given["config"], configs) if "config" in given else {}
    line = nested({flag.path: given[flag.name] for flag in flags if flag.name in given})
    return lead, build_configs(configs, table, line)


def _cut(
    program: str, about: str, arguments: Sequence[str], flags: Sequence[Flag], takes: str, leading: str
) -> tuple[str, dict[str, Any]]:
    """The leading argument, and the values of the flags that are there, by name."""
    first = "RUN" if takes else leading.upper()
    usage = f"{program} {first} [FLAGS]" if first else None
    parser = argparse.ArgumentParser(program, usage, about, exit_on_error=False, allow_abbrev=False)
    if first:
        text = takes or f"the same as --{leading}"
        parser.add_argument(first, nargs="?", default=argparse.SUPPRESS, type=_reader(setting_type(str)), help=text)
    for flag in flags:
        parser.add_argument(f"--{flag.name}", default=argparse.SUPPRESS, dest=flag.name, **_options(flag))
    try:
        # argparse takes -inf and -1e-3 for flags; with a space before them they are values
        values, rest = parser.parse_known_args([f" {word}" if _is_negative(word) else word for word in arguments])
    except argparse.ArgumentError as error:
        raise InputError(f"`{error.argument_name}` {error.message}; see {program} --help") from None
    command = program.split()[-1]
    rest = [word.strip() for word in rest]
    if rest and rest[0].startswith("-"):
        near = did_you_mean(rest[0].lstrip("-").split("=")[0], [flag.name for flag in flags], mark="--")
        raise InputError(f"`{command}` has no flag {rest[0]!r}{near}")
    given = vars(values)
    lead = given.pop(first, "")
    if leading and lead:
        arguments = [f"--{leading}", *arguments]
        given[leading] = lead
    _refuse_repetition(arguments, flags)
    if takes and not lead:
        raise InputError(f"`{command}` needs a run directory first: {program} RUN")
    if rest:
        one = "one run directory" if takes else f"one {first}"
        what = f"{one}, got {rest[0]!r}, too" if first else f"flags only, got {rest[0]!r}"
        raise InputError(f"`{command}` takes {what}; see {program} --help")
    return lead, given


def _is_negative(word: str) -> bool:
    """Whether a word is a number with a minus before it."""
    try:
        float(word)
    except ValueError:
        return False
    return word.startswith("-")


def _refuse_repetition(arguments: Sequence[str], flags: Sequence[Flag]) -> None:
    """Refuse a flag that is given twice: one of its values would be lost."""
    named = {f"--{flag.name}": flag for flag in flags} | {f"--no-{flag.name}": flag for flag in flags}
    given = Counter(named[word].name for word in (word.split("=")[0] for word in arguments) if word in named)
    for name, times in given.items():
        if times > 1:
            more = "; put all settings into one file" if name == "config" else "; keep one of them"
            raise InputError(f"`--{name}` was given twice{more}")


def _options(flag: Flag) -> dict[str, Any]:
    """How argparse reads and describes a flag."""
    default = _default(flag)
    text = (flag.help + (f" (default: {default})" if default else "")).replace("%", "%%")
    if flag.kind is bool:
        return {"action": argparse.BooleanOptionalAction, "help": text}
    taken = setting_type(flag.kind)
    metavar = "{" + ",".join(map(_form, get_args(flag.kind))) + "}" if is_choice(flag.kind) else taken.metavar
    return {"type": _reader(taken), "metavar": metavar, "help": text, "nargs": "*" if taken.is_list else None}


def _reader(taken: SettingType) -> Callable[[str], Any]:
    """What argparse reads a value with: it shows an error of its own kind alone as it is."""

    def read(text: str) -> Any:
        word = text.strip() if _is_negative(text.strip()) else text  # without the space of `_cut`
        try:
            return taken.cut(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {taken.written}, got {word!r}") from None

    return read


def _default(flag: Flag) -> str:
    """The default of a flag as it is typed; empty where there is none."""
    if is_choice(flag.kind):
        return words_of(flag.default)
    if isinstance(flag.default, tuple):
        return " ".join(map(str, flag.default))
    if isinstance(flag.default, bool):
        return str(flag.default).lower()
    return "" if flag.default is None else str(flag.default)


def _form(member: type) -> str:
    """How a config of a union is typed."""
    names = ",".join(field.name.upper() for field in dataclasses.fields(member))
    return dashed(member) + (f"[:{names}]" if names else "")
