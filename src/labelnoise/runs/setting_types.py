"""What a setting of each type takes: as a value in Python, from JSON and TOML, and from the command line."""

from __future__ import annotations

import numbers
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from labelnoise.errors import InputError, did_you_mean, is_number


class UnfitError(TypeError):
    """A value of the wrong type: what it must be, what it is, and the remedy."""


@dataclass(frozen=True)
class SettingType:
    """What a setting of one type takes."""

    words: str
    """What a value in Python must be."""
    fits: Callable[[Any], bool]
    """Whether a value in Python is of this type; numbers of NumPy count."""
    written: str = ""
    """What a value in a file or on the command line must be."""
    read: Callable[[Any], Any] | None = None
    """Takes a value of JSON or TOML, or raises `UnfitError`; None for a config, which is built from settings."""
    cut: Callable[[str], Any] = str
    """Takes a text of the command line to what a file would hold, or raises `ValueError`."""
    metavar: str = "TEXT"
    """What stands for a value in the help."""
    is_list: bool = False
    """Whether it takes several values; `cut` and `metavar` are then those of one."""


def check_types(config: Any) -> None:
    """Refuse a config whose field holds a value of another type than its annotation; numbers of NumPy count.

    Raises:
        InputError: names the first such field.
    """
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is ClassVar or setting_type(kind).fits(value := getattr(config, name)):
            continue
        default = getattr(type(config), name, None)
        remedy = "; leave it out or correct it" if default is None else f"; use for example {name}={default!r}"
        if get_origin(kind) is Literal:
            remedy = did_you_mean(str(value), map(str, get_args(kind)), listed=True)
        raise InputError(f"`{name}` must be {setting_type(kind).words}, got {value!r}{remedy}")


@cache
def setting_type(kind: Any) -> SettingType:
    """Return what a setting annotated with `kind` takes."""
    origin, members = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _one_of(members)
    if origin is tuple:
        return _list_of(setting_type(members[0]))
    if origin in (Union, UnionType):
        return _either([setting_type(member) for member in members if member is not NoneType], NoneType in members)
    return PLAIN.get(kind) or SettingType(f"a {kind.__name__}", lambda value: isinstance(value, kind))


def _exactly(kind: type, written: str) -> Callable[[Any], Any]:
    """Take values of this type only: JSON and TOML tell numbers, texts and truth values apart."""

    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise UnfitError(f"must be {written}, got {value!r}; correct it")
        return value

    return read


def _read_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise UnfitError(f"must be a number, got {value!r}; correct it")
    if abs(value) > sys.float_info.max and isinstance(value, int):
        raise UnfitError(f"must be a number within float64, got an integer of {len(str(value))} digits; correct it")
    return float(value)


def _read_path(value: Any) -> Path:
    if type(value) is not str or not value:
        raise UnfitError(f"must be a path, got {value!r}; write one like 'folder/name'")
    return Path(value)


PLAIN = {
    bool: SettingType(
        "True or False", lambda value: isinstance(value, bool), "true or false", _exactly(bool, "true or false")
    ),
    int: SettingType(
        "an integer",
        lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool),
        "a whole number",
        _exactly(int, "a whole number"),
        int,
        "N",
    ),
    float: SettingType("a number", is_number, "a number", _read_number, float, "X"),
    str: SettingType("a text", lambda value: isinstance(value, str), "a text", _exactly(str, "a text")),
    Path: SettingType("a path", lambda value: isinstance(value, str | Path), "a path", _read_path, metavar="PATH"),
}
"""What settings that are one value take."""


def _one_of(options: tuple[Any, ...]) -> SettingType:
    """One of some values; on its own in a union, such as `int | Literal["all"]`, one word."""
    listed = ", ".join(map(str, options))
    words = listed if len(options) == 1 else f"one of {listed}"

    def fits(value: Any) -> bool:
        return any(type(value) is type(option) and value == option for option in options)

    def read(value: Any) -> Any:
        if not fits(value):
            near = did_you_mean(str(value), map(str, options), listed=True)
            raise UnfitError(f"must be {words}, got {value!r}{near}")
        return value

    metavar = str(options[0]) if len(options) == 1 else "{" + ",".join(map(str, options)) + "}"
    return SettingType(words, fits, words, read, metavar=metavar)


def _list_of(member: SettingType) -> SettingType:
    def fits(value: Any) -> bool:
        return isinstance(value, tuple | list) and all(map(member.fits, value))

    def read(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple):
            raise UnfitError(f"must be a list, got {values!r}; put it in brackets")
        assert member.read  # no setting is a list of configs
        return tuple(map(member.read, values))

    words = f"a list, each {member.words}"
    return SettingType(words, fits, member.written, read, member.cut, member.metavar, is_list=True)


def _either(members: list[SettingType], optional: bool) -> SettingType:
    """A value of one of these types, or None where it is optional; of configs, only what Python may hold."""
    words = " or ".join([member.words for member in members] + ["None"] * optional)
    written = " or ".join(member.written for member in members)
    readers = [member.read for member in members if member.read]

    def fits(value: Any) -> bool:
        return (optional and value is None) or any(member.fits(value) for member in members)

    def read(value: Any) -> Any:
        if optional and value is None:
            return None
        if len(readers) == 1:
            return readers[0](value)  # whose sentence has a remedy of its own
        for reader in readers:
            with suppress(UnfitError):
                return reader(value)
        raise UnfitError(f"must be {written}, got {value!r}; correct it")

    cut = members[0].cut if len(members) == 1 else _cut_number_or_name
    metavar = "|".join(member.metavar for member in members)
    return SettingType(words, fits, written, read if readers else None, cut, metavar)


def _cut_number_or_name(text: str) -> int | str:
    """A number only where it is written like one: 03 may be the name of a folder."""
    return int(text) if re.fullmatch(r"-?[1-9][0-9]{0,17}|0", text) else text
