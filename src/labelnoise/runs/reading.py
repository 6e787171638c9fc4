"""Finished runs read back: every reader of results starts here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.errors import InputError, check_path, first_few
from labelnoise.runs.files import CHECKSUMS, digest_file, read_arrays, read_json, shown_name
from labelnoise.runs.kinds import Experiment, Kind, all_kinds, find_kind
from labelnoise.runs.settings import config_of

SCHEMA = 2
"""Version of the form of `config.json`, which states it since 1."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path
    command: str
    settings: dict[str, Any]
    """Every setting, in the form of this version."""
    versions: dict[str, Any]
    """Of the packages that made it."""
    git_commit: str | None
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of its folder, as pages and figures show it."""
        return shown_name(self.path)

    @cached_property
    def history(self) -> pd.DataFrame:
        """`history.csv`, one row a record."""
        self.verify("history.csv")
        try:
            return pd.read_csv(self.path / "history.csv")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); make the run again with --overwrite") from None

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """`samples.npz`, the per-sample arrays."""
        self.verify("samples.npz")
        return read_arrays(self.path / "samples.npz")

    def verify(self, *patterns: str) -> None:
        """Refuse files that are not those that were written; runs before schema 1 have no checksums.

        Raises:
            InputError: names the first such file.
        """
        checksums = self.path / CHECKSUMS
        expected = read_json(checksums, sealed=True) if checksums.exists() else {}
        for name in expected:
            if not any(fnmatch(name, pattern) for pattern in patterns):
                continue
            file = self.path / name
            if not file.is_file() or digest_file(file) != expected[name]:
                raise InputError(f"{file} is damaged or was changed; make the run again with --overwrite")

    def result(self, name: str) -> Path:
        """Return the path of a result of this kind of run.

        Raises:
            InputError: it is not the file that was written.
        """
        self.verify(name)
        return self.path / name

    @property
    def kind(self) -> Kind:
        """What this kind of run declares of itself."""
        return find_kind(self.command)

    @property
    def config(self) -> Experiment:
        """The config that made the run; running it again makes the same run.

        Raises:
            InputError: the settings are not those of a run of this version.
        """
        return config_of(self.kind.config, self.settings)


def read_run(path: str | Path) -> Run:
    """Read a finished run.

    Raises:
        InputError: the folder holds no run, an unfinished one, or a damaged file.
    """
    check_path("path", path)
    path = Path(path)
    remedy = "give the folder of a finished run, or finish it by the command that began it"
    if not (path / "config.json").is_file():
        inside = [str(file.parent) for file in sorted(path.glob("*/summary.json"))]
        remedy = f"give one of those inside: {first_few(inside)}" if inside else remedy
        raise InputError(f"{path} is no run (config.json is missing); {remedy}")
    if not (path / "summary.json").is_file():
        raise InputError(f"{path} is a run that has not finished (summary.json is missing); {remedy}")
    config = read_config(path)
    summary = read_json(path / "summary.json", sealed="schema" in config)
    kind = all_kinds().get(config["command"])
    needed = {"status", *(kind.summary if kind else ())}
    known = isinstance(config.get("versions"), dict) and "git_commit" in config
    if not known or not needed <= set(summary):
        raise InputError(f"{path} is no run of labelnoise, or a damaged one; give the folder of a finished run")
    run = Run(path, config["command"], config["settings"], config["versions"], config["git_commit"], summary)
    if "schema" in config and not (path / CHECKSUMS).is_file():
        raise InputError(
            f"{path} lacks {CHECKSUMS}, which says whether its files are whole; make the run again with --overwrite"
        )
    run.verify("config.json", "summary.json")
    return run


def read_config(path: Path) -> dict[str, Any]:
    """Read `config.json` of a run directory, its settings in the form of this version.

    Raises:
        InputError: it is absent or damaged, of something else than a run, or of a newer version.
    """
    config = read_json(path / "config.json")
    if "schema" in config:  # then it must have a checksum, too
        read_json(path / "config.json", sealed=True)
    if not is_run(config) or not isinstance(config.get("inputs", {}), dict):
        raise InputError(f"{path} is no run of labelnoise, or a damaged one; give the folder of a run")
    schema = config.get("schema", 0)
    if type(schema) is not int or schema < 0:
        raise InputError(f"{path} is damaged (its schema is {schema!r}); make the run again with --overwrite")
    if schema > SCHEMA:
        raise InputError(
            f"{path} was made by a newer labelnoise (schema {schema} of config.json, this version knows {SCHEMA}); "
            "upgrade labelnoise"
        )
    kind = all_kinds().get(config["command"])
    settings = kind.upgrade(config["settings"], schema) if kind else config["settings"]
    return {**config, "settings": settings}


def is_run(config: Mapping[str, Any]) -> bool:
    """Whether a table is the `config.json` of a run."""
    return isinstance(config.get("command"), str) and isinstance(config.get("settings"), dict)
