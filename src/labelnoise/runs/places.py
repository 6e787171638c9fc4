"""Settings by name and place: the flags of a config, and files and tables whose keys have the same names."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import docstring_parser

from labelnoise.errors import InputError, check_path, did_you_mean
from labelnoise.runs.setting_types import setting_type
from labelnoise.runs.settings import config_of, is_choice, overlay, settings_of


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

    Of a union of configs, the flags are those of the default's class, and a TOML table may name another one; where that
    class has no setting, one flag names the class and gives its settings.
    """
    kinds = typing.get_type_hints(type(config))
    texts = _descriptions(config.__class__)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and (dataclasses.fields(value) or not is_choice(kinds[field.name])):
            yield from flags_of(value, (*path, field.name))
        else:
            name = field.name.replace("_", "-")
            yield Flag(name, (*path, field.name), kinds[field.name], value, texts.get(field.name, ""))


@cache
def _descriptions(config: type) -> dict[str, str]:
    """What the docstrings say of each field; to parse the source takes longer than all the rest."""
    parts = docstring_parser.parse_from_object(config).params
    return {part.arg_name: " ".join((part.description or "").split()) for part in parts}


def tables_of(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the configs within a config stand, those without a setting of their own included."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield (*path, field.name)
            yield from tables_of(value, (*path, field.name))


def read_settings(source: str | Path | Mapping[str, Any], configs: Sequence[type]) -> tuple[Any, ...]:
    """Return the configs that a TOML file describes, or a table of the same form.

    Args:
        source: the file, or a table whose keys are those that the file may have.
        configs: dataclasses whose fields all have a default.

    Raises:
        InputError: a key that does not exist, or a value that is refused.
    """
    if isinstance(source, Mapping):
        return build_configs(configs, _placed("the table", source, configs))
    return build_configs(configs, read_toml(str(source), configs))


def all_flags(configs: Sequence[type]) -> list[Flag]:
    """Return the flags of several configs; those of the same name bear the names of their parts: --training-lr."""
    flags = [flag for config in configs for flag in flags_of(config())]
    counts = Counter(flag.name for flag in flags)
    return [
        flag if counts[flag.name] == 1 else dataclasses.replace(flag, name="-".join(flag.path).replace("_", "-"))
        for flag in flags
    ]


def build_configs(configs: Sequence[type], *tables: Mapping[str, Any]) -> tuple[Any, ...]:
    """The configs, with what each table gives over what the one before gave."""
    built: list[Any] = []
    for config in configs:
        names, settings = {field.name for field in dataclasses.fields(config)}, settings_of(config())
        for table in tables:
            settings = overlay(settings, {name: value for name, value in table.items() if name in names})
        built.append(config_of(config, settings))
    return tuple(built)


def read_toml(name: str, configs: Sequence[type]) -> dict[str, Any]:
    """The settings of these configs that a TOML file gives, in their places."""
    check_path("config", name)
    path = Path(name)
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        why = f"({error.strerror}); give the path of one"
        raise InputError(f"`config` must be a TOML file, but {path} cannot be read {why}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, no TOML, or tables within tables without end
        raise InputError(f"`config` must be a TOML file, but {path} cannot be read ({error}); correct it") from None
    return _placed(str(path), content, configs)


def _placed(source: str, content: Mapping[str, Any], configs: Sequence[type]) -> dict[str, Any]:
    """Settings in their places: flat keys by the names of flags, tables by their parts."""
    flags, tables = all_flags(configs), {table for config in configs for table in tables_of(config())}
    by_name = {flag.name: flag for flag in flags if flag.name != "config"}
    settings = {flag.path for flag in flags}
    lists = {flag.path for flag in flags if setting_type(flag.kind).is_list}
    values: dict[tuple[str, ...], Any] = {}
    for place, value in _entries(source, content, (), tables):
        if place in tables and place not in settings:
            raise InputError(
                f"{source} gives {place[-1]!r} a value, but it is a table; write [{'.'.join(place)}] above its keys"
            )
        at = place
        if len(place) == 1:
            name = place[0].replace("_", "-")
            if name not in by_name:
                raise InputError(f"{source} has a key {place[0]!r} that is no setting{did_you_mean(name, by_name)}")
            at = by_name[name].path
        if at in values:
            raise InputError(f"{source} gives {at[-1]!r} twice; keep one of them")
        single = at in lists and not isinstance(value, list)
        values[at] = [value] if single else value
    return nested(values)


def _entries(
    source: str, table: Mapping[str, Any], place: tuple[str, ...], tables: set[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Place and value of each key; only the tables of nested settings may be there; those of `choices` are values."""
    for key, value in table.items():
        inner = (*place, str(key).replace("-", "_"))
        if not isinstance(value, Mapping):
            yield inner, value
        elif inner in tables:
            yield from _entries(source, value, inner, tables)
        else:
            near = did_you_mean(str(key), sorted(table[-1] for table in tables if table[:-1] == place))
            raise InputError(f"{source} has a table {'.'.join(inner)!r} that holds no settings{near}")


def nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Values by their paths as tables within tables."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        table = root
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = value
    return root
