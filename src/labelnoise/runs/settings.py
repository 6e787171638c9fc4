"""Configs as JSON values and back: one codec for `config.json`, TOML files, the command line and workers.

A nested config keeps its class name under `kind`, which tells the members of a union apart. A setting that is absent
takes the field's default, or the value that runs without it had: `field(default=..., metadata={"before": value})`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
from cattrs.strategies import configure_union_passthrough

from labelnoise.errors import InputError, did_you_mean

TAG = "kind"
"""The key under which the class name of a nested config stands."""

Config = TypeVar("Config")


def settings_of(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON values."""
    settings = CONVERTER.unstructure(config)
    del settings[TAG]
    return settings


def config_of(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """Return the config that `settings` describe: the inverse of `settings_of`.

    Args:
        kind: the config's dataclass.
        settings: JSON values; what is absent takes its default.

    Raises:
        InputError: a setting that does not exist, or a value of another type or out of its range.
    """
    try:
        return CONVERTER.structure(settings, kind)
    except cattrs.BaseValidationError as errors:
        raise _refusal(errors) from None


def overlay(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` with those `given` in their place; a nested config of another class is replaced whole."""
    merged = dict(settings)
    for name, value in given.items():
        below = settings.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and value.get(TAG, below[TAG]) == below[TAG]:
            value = overlay(below, value)
        merged[name] = value
    return merged


def leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every setting, however deep it lies."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value)
        elif name != TAG:
            yield name, value


class _Unfit(TypeError):
    """A value of the wrong type: what it must be, and what it is."""


def _strict(kind: type, words: str) -> Callable[[Any, Any], Any]:
    """Take a value of this type only; JSON and TOML tell numbers, texts and truth values apart."""

    def take(value: Any, _: Any) -> Any:
        whole = kind is float and isinstance(value, int) and not isinstance(value, bool)
        if not whole and type(value) is not kind:
            raise _Unfit(f"must be {words}, got {value!r}; correct it")
        return float(value) if whole else value

    return take


def _unstructure_config(cls: type) -> Callable[[Any], dict[str, Any]]:
    plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, CONVERTER)
    return lambda config: {TAG: cls.__name__, **plain(config)}


def _structure_config(cls: type) -> Callable[[Any, Any], Any]:
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, CONVERTER, _cattrs_forbid_extra_keys=True)
    before = {field.name: field.metadata["before"] for field in dataclasses.fields(cls) if "before" in field.metadata}

    def structure(settings: Any, _: Any) -> Any:
        if not isinstance(settings, Mapping):
            raise _Unfit(f"must be a table of settings, got {settings!r}; correct it")
        return build({**before, **{name: value for name, value in settings.items() if name != TAG}}, cls)

    return structure


def _is_choice(kind: Any) -> bool:
    """Whether a type is a union of configs."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return union and all(dataclasses.is_dataclass(member) for member in typing.get_args(kind))


def _structure_choice(union: Any) -> Callable[[Any, Any], Any]:
    members = {member.__name__: member for member in typing.get_args(union)}

    def structure(settings: Any, _: Any) -> Any:
        name = settings.get(TAG) if isinstance(settings, Mapping) else None
        if name not in members:
            raise _Unfit(f"must be a table whose {TAG!r} is one of {', '.join(members)}, got {settings!r}; add it")
        return CONVERTER.structure(settings, members[name])

    return structure


def _structure_literal(literal: Any) -> Callable[[Any, Any], Any]:
    options = typing.get_args(literal)

    def structure(value: Any, _: Any) -> Any:
        if value not in options:
            listed = ", ".join(options)
            raise _Unfit(f"must be one of {listed}, got {value!r}{did_you_mean(str(value), options)}")
        return value

    return structure


def _structure_tuple(kind: Any) -> Callable[[Any, Any], Any]:
    member = typing.get_args(kind)[0]

    def structure(values: Any, _: Any) -> Any:
        if not isinstance(values, list | tuple):
            raise _Unfit(f"must be a list, got {values!r}; put it in brackets")
        return tuple(CONVERTER.structure(value, member) for value in values)

    return structure


def _refusal(errors: BaseException, name: str = "") -> InputError:
    """The first thing wrong, in a sentence that names the setting."""
    note = next((n for n in getattr(errors, "__notes__", ()) if isinstance(n, cattrs.AttributeValidationNote)), None)
    name = note.name if note else name
    if isinstance(errors, cattrs.BaseValidationError):
        return _refusal(errors.exceptions[0], name)
    if isinstance(errors, InputError):
        return errors
    if isinstance(errors, cattrs.ForbiddenExtraKeysError):
        extra = sorted(errors.extra_fields)[0]
        options = [field.name for field in dataclasses.fields(errors.cl)]
        return InputError(f"there is no setting {extra!r}{did_you_mean(extra, options)}")
    return InputError(f"`{name}` {errors}")


CONVERTER = cattrs.Converter(unstruct_collection_overrides={tuple: list})
for _type, _words in ((int, "a whole number"), (float, "a number"), (bool, "true or false"), (str, "a text")):
    CONVERTER.register_structure_hook(_type, _strict(_type, _words))
CONVERTER.register_unstructure_hook(Path, str)
CONVERTER.register_structure_hook(Path, lambda value, _: Path(value))
CONVERTER.register_unstructure_hook_factory(dataclasses.is_dataclass, _unstructure_config)
CONVERTER.register_structure_hook_factory(dataclasses.is_dataclass, _structure_config)
CONVERTER.register_structure_hook_factory(_is_choice, _structure_choice)
CONVERTER.register_structure_hook_factory(lambda kind: typing.get_origin(kind) is typing.Literal, _structure_literal)
CONVERTER.register_structure_hook_factory(lambda kind: typing.get_origin(kind) is tuple, _structure_tuple)
configure_union_passthrough(int | str, CONVERTER)
