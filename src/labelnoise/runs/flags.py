"""A config from the command line: its fields are flags, and the keys of a TOML file; flags override the file.

The parser is argparse, whose errors are objects. It only cuts the line into values; the codec of `settings` checks
them, so that a file and a flag obey one set of rules.
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docstring_parser

from labelnoise.errors import InputError, check_path, did_you_mean
from labelnoise.runs.settings import config_of, overlay, settings_of


@dataclass(frozen=True)
class Flag:
    """One setting on the command line."""

    name: str
    """With dashes, as it is typed."""
    path: tuple[str, ...]
    """Where its value stands in the settings."""
    kind: Any
    """Its type."""
    default: Any
    help: str


def flags_of(config: Any, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """Yield the flags of a config with its defaults; those of a nested config bear no prefix.

    Of a union of configs, the flags are those of the default's class; a TOML table may name another one.
    """
    kinds = typing.get_type_hints(type(config))
    texts = {part.arg_name: part.description for part in docstring_parser.parse_from_object(type(config)).params}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from flags_of(value, (*path, field.name))
        else:
            text = " ".join((texts.get(field.name) or "").split())
            yield Flag(field.name.replace("_", "-"), (*path, field.name), kinds[field.name], value, text)


def tables_of(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the configs within a config stand, those without a setting of their own included."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield (*path, field.name)
            yield from tables_of(value, (*path, field.name))


def _without_clashes(flags: Sequence[Flag]) -> list[Flag]:
    """Flags of the same name bear the names of their parts: --training-lr."""
    counts = Counter(flag.name for flag in flags)
    return [
        flag if counts[flag.name] == 1 else dataclasses.replace(flag, name="-".join(flag.path).replace("_", "-"))
        for flag in flags
    ]


def parse_flags(
    program: str, about: str, arguments: Sequence[str], configs: Sequence[type], takes: str = ""
) -> tuple[str, tuple[Any, ...]]:
    """Return the leading argument, if the command takes one, and the configs that the line and its TOML file describe.

    Args:
        program: `labelnoise COMMAND`.
        about: what the command does.
        arguments: what follows the command.
        configs: dataclasses whose fields, all with a default, become flags.
        takes: what the leading argument is, for the help; empty for a command of flags alone.

    Raises:
        InputError: a flag or a key that does not exist, or a value that is refused.
        SystemExit: after --help.
    """
    flags = _flags(configs)
    if sum(word == "--config" or word.startswith("--config=") for word in arguments) > 1:
        raise InputError(f"`--config` was given twice; put all settings into one file; see {program} --help")
    lead, given = _cut(program, about, arguments, flags, takes)
    table = _read_toml(Path(given["config"]), flags, configs) if given.get("config") else {}
    line = _nested({flag.path: given[flag.name] for flag in flags if flag.name in given})
    return lead, _build(configs, table, line)


def read_settings(source: str | Path | Mapping[str, Any], configs: Sequence[type]) -> tuple[Any, ...]:
    """Return the configs that a TOML file describes, or a table of the same form.

    Args:
        source: the file, or a table whose keys are those that the file may have.
        configs: dataclasses whose fields all have a default.

    Raises:
        InputError: a key that does not exist, or a value that is refused.
    """
    flags = _flags(configs)
    if isinstance(source, Mapping):
        return _build(configs, _placed("the table", source, flags, configs))
    return _build(configs, _read_toml(Path(source), flags, configs))


def _flags(configs: Sequence[type]) -> list[Flag]:
    return _without_clashes([flag for config in configs for flag in flags_of(config())])


def _build(configs: Sequence[type], *tables: Mapping[str, Any]) -> tuple[Any, ...]:
    """The configs, with what each table gives over what the one before gave."""
    built: list[Any] = []
    for config in configs:
        names, settings = {field.name for field in dataclasses.fields(config)}, settings_of(config())
        for table in tables:
            settings = overlay(settings, {name: value for name, value in table.items() if name in names})
        built.append(config_of(config, settings))
    return tuple(built)


def _cut(
    program: str, about: str, arguments: Sequence[str], flags: Sequence[Flag], takes: str
) -> tuple[str, dict[str, Any]]:
    """The leading argument, and the values of the flags that are there, by name."""
    usage = f"{program} RUN [FLAGS]" if takes else None
    parser = argparse.ArgumentParser(program, usage, about, exit_on_error=False, allow_abbrev=False)
    if takes:
        parser.add_argument("RUN", nargs="?", default="", help=takes)
    for flag in flags:
        parser.add_argument(f"--{flag.name}", default=argparse.SUPPRESS, dest=flag.name, **_options(flag))
    try:
        values, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(f"`{error.argument_name}` {error.message}; see {program} --help") from None
    command = program.split()[-1]
    if rest and rest[0].startswith("-"):
        near = did_you_mean(rest[0].lstrip("-").split("=")[0], [flag.name for flag in flags])
        raise InputError(f"`{command}` has no flag {rest[0]!r}{near}")
    given = vars(values)
    lead = given.pop("RUN", "")
    if takes and not lead:
        raise InputError(f"`{command}` needs a run directory first: {program} RUN")
    if rest:
        what = f"one run directory, got {rest[0]!r}, too" if takes else f"flags only, got {rest[0]!r}"
        raise InputError(f"`{command}` takes {what}; see {program} --help")
    return lead, given


def _options(flag: Flag) -> dict[str, Any]:
    """How argparse reads and describes a flag."""
    shown = " ".join(map(str, flag.default)) if isinstance(flag.default, tuple) else flag.default
    default = "" if shown in (None, "") else f" (default: {str(shown).lower() if shown in (True, False) else shown})"
    text = (flag.help + default).replace("%", "%%")
    if flag.kind is bool:
        return {"action": argparse.BooleanOptionalAction, "help": text}
    kind = _member(flag.kind)
    read, metavar = READERS.get(kind, (str, "TEXT"))
    if typing.get_origin(kind) is typing.Literal:
        metavar = "{" + ",".join(map(str, typing.get_args(kind))) + "}"
    return {"type": read, "metavar": metavar, "help": text, **({"nargs": "*"} if _is_list(flag.kind) else {})}


def _is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _member(kind: Any) -> Any:
    """The type of one value: of a list its member's, of what may be None the other one."""
    if _is_list(kind):
        return typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        others = [member for member in typing.get_args(kind) if member is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind


def _number(kind: Callable[[str], Any], words: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}") from None

    return read


def _number_or_name(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (_number(int, "a whole number"), "N"),
    float: (_number(float, "a number"), "X"),
    Path: (str, "PATH"),
    int | str: (_number_or_name, "CLASS"),
}
"""How a value of each type is read from the line, and its name in the help; any other is text."""


def _read_toml(path: Path, flags: Sequence[Flag], configs: Sequence[type]) -> dict[str, Any]:
    """The settings that a TOML file gives, in their places."""
    check_path("config", path)
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"`config` must be a TOML file, but {path} cannot be read: {error}") from None
    return _placed(str(path), content, flags, configs)


def _placed(source: str, content: Mapping[str, Any], flags: Sequence[Flag], configs: Sequence[type]) -> dict[str, Any]:
    """Settings in their places: flat keys by the names of flags, tables by their parts."""
    tables = {table for config in configs for table in tables_of(config())}
    by_name = {flag.name: flag for flag in flags if flag.name != "config"}
    values: dict[tuple[str, ...], Any] = {}
    for place, value in _entries(source, content, (), tables):
        flag = by_name.get(place[-1].replace("_", "-")) if len(place) == 1 else None
        if len(place) == 1 and not flag:
            raise InputError(
                f"{source} has a key {place[0]!r} that is no setting{did_you_mean(_dashed(place), by_name)}"
            )
        at = flag.path if flag else place
        if at in values:
            raise InputError(f"{source} gives {at[-1]!r} twice; keep one of them")
        listed = next((_is_list(flag.kind) for flag in flags if flag.path == at), False)
        values[at] = [value] if listed and not isinstance(value, list) else value
    return _nested(values)


def _entries(
    source: str, table: Mapping[str, Any], place: tuple[str, ...], tables: set[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Place and value of each key; only the tables of nested settings may be there."""
    for key, value in table.items():
        inner = (*place, str(key).replace("-", "_"))
        if not isinstance(value, Mapping):
            yield inner, value
        elif inner in tables:
            yield from _entries(source, value, inner, tables)
        else:
            near = did_you_mean(str(key), sorted(table[-1] for table in tables if table[:-1] == place))
            raise InputError(f"{source} has a table {'.'.join(inner)!r} that holds no settings{near}")


def _dashed(place: tuple[str, ...]) -> str:
    return place[-1].replace("_", "-")


def _nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Values by their paths as tables within tables."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        table = root
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = value
    return root
