"""Configs as JSON values and back: one codec for `config.json`, TOML files, the command line and workers.

A nested config keeps its class name under `kind`, which tells the members of a union apart; one text that a person
types serves, too: leaky-relu:0.1, the name and its settings in order. A setting that is absent takes the field's
default, or the value that runs without it had: `field(default=..., metadata={"before": value})`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from labelnoise.errors import InputError, did_you_mean
from labelnoise.runs.setting_types import UnfitError, setting_type

TAG = "kind"
"""The key under which the class name of a nested config stands."""

Config = TypeVar("Config")


def settings_of(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON values: equal configs give equal values, 8 for a number is 8.0.

    Raises:
        InputError: a value of another type than its field's.
    """
    try:
        settings = CONVERTER.unstructure(config)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"the settings of {type(config).__name__} hold a value of the wrong type: {error}") from None
    del settings[TAG]
    return settings


def config_of(cls: type[Config], settings: Mapping[str, Any]) -> Config:
    """Return the config that `settings` describe: the inverse of `settings_of`.

    Args:
        cls: the config's dataclass.
        settings: JSON values; what is absent takes its default.

    Raises:
        InputError: a setting that does not exist, or a value of another type or out of its range.
    """
    try:
        return CONVERTER.structure(settings, cls)
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


def difference(config: Any, saved: Mapping[str, Any]) -> str:
    """Say where saved settings, brought to the form of this version, differ from a config first; empty if nowhere."""
    try:
        return first_difference(settings_of(config_of(type(config), saved)), settings_of(config))
    except InputError as error:
        return f"of another version: {error}"


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say where two settings differ first, in words; empty where they do not."""
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if before.get(TAG) != value.get(TAG):
                return f"{name} is {before.get(TAG)} there, {value.get(TAG)} now"
            if inner := first_difference(before, value):
                return inner
        elif before != value:
            return f"{name} is {before!r} there, {value!r} now"
    return ""


def _unstructure_config(cls: type) -> Callable[[Any], dict[str, Any]]:
    plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, CONVERTER)

    def unstructure(config: Any) -> dict[str, Any]:
        if not isinstance(config, cls):
            raise TypeError(f"a {cls.__name__} is needed, got {config!r}")
        return {TAG: cls.__name__, **plain(config)}

    return unstructure


def _structure_config(cls: type) -> Callable[[Any, Any], Any]:
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, CONVERTER, _cattrs_forbid_extra_keys=True)
    before = {field.name: field.metadata["before"] for field in dataclasses.fields(cls) if "before" in field.metadata}

    def structure(settings: Any, _: Any) -> Any:
        if not isinstance(settings, Mapping):
            raise UnfitError(f"must be a table of settings, got {settings!r}; correct it")
        if settings.get(TAG, cls.__name__) != cls.__name__:
            raise UnfitError(f"must be a {cls.__name__}, but its {TAG!r} is {settings[TAG]!r}; leave {TAG!r} out")
        return build({**before, **{name: value for name, value in settings.items() if name != TAG}}, cls)

    return structure


def is_choice(kind: Any) -> bool:
    """Whether a type is a union of configs."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return union and all(dataclasses.is_dataclass(member) for member in typing.get_args(kind))


def _structure_choice(union: Any) -> Callable[[Any, Any], Any]:
    members = {member.__name__: member for member in typing.get_args(union)}

    def structure(settings: Any, _: Any) -> Any:
        if isinstance(settings, str):
            settings = _read_words(settings, members)
        name = settings.get(TAG) if isinstance(settings, Mapping) else None
        if not isinstance(name, str) or name not in members:
            near = did_you_mean(name, members) if isinstance(name, str) else "; add it"
            raise UnfitError(f"must be a table whose {TAG!r} is one of {', '.join(members)}, got {settings!r}{near}")
        return CONVERTER.structure(settings, members[name])

    return structure


def dashed(cls: type) -> str:
    """The name of a config's class as it is typed: LeakyReLU is leaky-relu."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", cls.__name__).lower()


def words_of(config: Any) -> str:
    """A config of a union as one text: its name and its settings in order."""
    values = [json.dumps(getattr(config, field.name)) for field in dataclasses.fields(config)]
    return dashed(type(config)) + (":" + ",".join(values) if values else "")


def _read_words(text: str, members: Mapping[str, type]) -> dict[str, Any]:
    """The settings that a text such as leaky-relu:0.1 stands for."""
    names = {dashed(member): member for member in members.values()}
    word, colon, rest = text.partition(":")
    if word not in names:
        raise UnfitError(f"must begin with a name that is known, got {text!r}{did_you_mean(word, names)}")
    fields, values = dataclasses.fields(names[word]), [_literal(value) for value in rest.split(",")] if colon else []
    if len(values) > len(fields):
        form = ",".join(field.name for field in fields)
        raise UnfitError(f"must be of the form {word}{':' if form else ''}{form}, got {text!r}; leave the rest out")
    return {TAG: names[word].__name__, **{field.name: value for field, value in zip(fields, values, strict=False)}}


def _literal(text: str) -> Any:
    """A number or a truth value from text; else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _refusal(errors: Exception, name: str = "") -> InputError:
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
        return InputError(f"{errors.cl.__name__} has no setting {extra!r}{did_you_mean(extra, options)}")
    if isinstance(errors, KeyError) and errors.args == (name,):
        return InputError(f"`{name}` is missing; add it")
    if isinstance(errors, UnfitError):
        return InputError(f"`{name}` {errors}")
    raise errors  # a bug, or a package that is absent


def _is_value(kind: Any) -> bool:
    """Whether a setting of this type is neither a config nor one of several."""
    return setting_type(kind).read is not None


def _structure_value(value: Any, kind: Any) -> Any:
    read = setting_type(kind).read
    assert read
    return read(value)


CONVERTER = cattrs.Converter(unstruct_collection_overrides={tuple: list})
for _type in (int, float, bool, str):
    CONVERTER.register_structure_hook(_type, _structure_value)  # by name, since cattrs has hooks of its own for these
    CONVERTER.register_unstructure_hook(_type, _type)  # numbers of NumPy become plain ones
CONVERTER.register_unstructure_hook(Path, str)
CONVERTER.register_unstructure_hook_factory(dataclasses.is_dataclass, _unstructure_config)
CONVERTER.register_structure_hook_func(_is_value, _structure_value)
CONVERTER.register_structure_hook_factory(dataclasses.is_dataclass, _structure_config)
CONVERTER.register_structure_hook_factory(is_choice, _structure_choice)
