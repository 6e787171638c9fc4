"""Configs as JSON values and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def settings_of(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON values; a nested dataclass keeps its class name under `kind`."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return {"kind": type(value).__name__, **fields} if value is not config else fields
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return plain(config)


def leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every setting, however deep it lies."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value)
        elif name != "kind":
            yield name, value
