"""Run directories: each file whole or absent, read back without pickle, never mixed with another run.

A run is `config.json` (written first), `history.csv`, `samples.npz`, `figures/`, `checkpoints/` and `summary.json`
(written last: its presence means that the run is finished).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from labelnoise.errors import InputError
from labelnoise.runs.files import read_json, to_json, write_arrays, write_whole
from labelnoise.runs.provenance import git_commit, versions
from labelnoise.runs.settings import leaves, settings_of

RUN_FILES = (
    "summary.json", "config.json", "history.csv", "samples.npz", "attribution.json", "attribution.npz", "report.html",
)  # fmt: skip
RUN_FOLDERS = {"figures": ("*.png", "*.svg"), "checkpoints": ("*.pt",)}
"""What runs write, and `overwrite` deletes; `summary.json` first, so that no half of a run looks finished."""


@dataclass(frozen=True)
class RunFolder:
    """A run directory that is open for writing."""

    path: Path
    finished: bool
    """Whether it already holds the whole result."""
    config: Mapping[str, Any]
    """What `config.json` holds."""
    overwrite: bool = False
    """Whether `begin` deletes the run that the folder holds."""

    def begin(self) -> None:
        """Make the folder and write `config.json`; called once all input is accepted, so that a refusal leaves none."""
        try:
            if self.overwrite:
                _delete_run(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            for left_by_a_kill in [*self.path.glob(".*.tmp"), *self.path.glob("*/.*.tmp")]:
                left_by_a_kill.unlink()
            self.write_text("config.json", to_json(self.config))
        except OSError as error:
            raise InputError(f"`out` must be a folder that can be written, but {self.path} is not: {error}") from None

    def write_history(self, frame: pd.DataFrame) -> None:
        """Write `history.csv`, one row a record."""
        write_whole(self.path / "history.csv", lambda file: file.write(frame.to_csv(index=False).encode()))

    def write_samples(self, **arrays: np.ndarray) -> None:
        """Write `samples.npz`, the per-sample arrays."""
        write_arrays(self.path / "samples.npz", arrays)

    def write_figure(self, name: str, data: bytes) -> None:
        """Write `figures/<name>`."""
        write_whole(self.path / "figures" / name, lambda file: file.write(data))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        write_whole(self.path / name, lambda file: file.write(text.encode()))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`: from here on the run is finished."""
        self.write_text("summary.json", to_json(summary))

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json` of a finished run."""
        return read_json(self.path / "summary.json")


Progress = Callable[..., object]
"""Called as progress(done, total), or with what was done as a third argument."""


class Experiment(Protocol):
    """One config in, one run directory out: a frozen dataclass of every setting."""

    @property
    def command(self) -> str:
        """The command that makes such runs."""

    def run(self, folder: RunFolder, progress: Progress | None) -> None:
        """Check all input, then `begin`, write the files, `finish`; a refusal leaves no trace, a kill whole files."""


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment."""

    path: Path
    """Its run directory."""
    status: str
    """`ok`, or why a run ended early."""
    reused: bool
    """Whether the folder already held the finished run."""


def default_path(command: str, settings: Mapping[str, Any]) -> Path:
    """Return `runs/<command>-<hash of the settings>`."""
    digest = hashlib.sha256(to_json(settings).encode()).hexdigest()
    return Path("runs") / f"{command}-{digest[:10]}"


def open_run(path: Path, command: str, settings: Mapping[str, Any], overwrite: bool = False) -> RunFolder:
    """Open a run directory for these settings; nothing is written or deleted before `begin`.

    A finished run of the same settings comes back with `finished=True`; an unfinished one goes on, or starts again.

    Args:
        path: the folder; made if absent.
        command: what makes the run.
        settings: every setting, as JSON values.
        overwrite: let `begin` delete the run that the folder holds, whichever it is.

    Raises:
        InputError: the folder holds another run, or files that are not a run.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"`out` must be a folder, got the file {path}; choose another name")
    parent = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise InputError(f"`out` must be a folder that can be written, but {parent} is not; choose another place")
    config = {"command": command, "settings": settings, "versions": versions(), "git_commit": git_commit()}
    files = [file for file in path.iterdir() if not file.name.endswith(".tmp")] if path.exists() else []
    if not files:
        return RunFolder(path, False, config)
    held = read_json(path / "config.json") if (path / "config.json").exists() else {}
    if not _is_run(held):
        raise InputError(f"`out` must be empty or hold a run, but {path} holds other files; choose another folder")
    if overwrite:
        return RunFolder(path, False, config, overwrite=True)
    if (held["command"], held["settings"]) != (command, json.loads(to_json(settings))):
        raise InputError(
            f"`out` must be empty or hold the same run, but {path} holds another one"
            f"{_first_difference(held, command, settings)}; choose another folder or pass --overwrite"
        )
    return RunFolder(path, (path / "summary.json").exists(), config)


def run_experiment(
    config: Experiment, out: Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run a config into a run directory; the same config again is not run twice.

    Args:
        config: every setting, a frozen dataclass that knows its command and how to run.
        out: the folder; runs/<command>-<hash of the config> by default.
        overwrite: delete the run that the folder holds.
        progress: called as progress(done, total).

    Raises:
        InputError: the folder holds something else, or a setting is refused.
    """
    settings = settings_of(config)
    folder = open_run(out or default_path(config.command, settings), config.command, settings, overwrite)
    if not folder.finished:
        config.run(folder, progress)
    return Outcome(folder.path, folder.read_summary()["status"], folder.finished)


def _delete_run(path: Path) -> None:
    """Delete what runs write, here and in runs inside, and nothing else."""
    for name in RUN_FILES:
        (path / name).unlink(missing_ok=True)
    for name, kinds in RUN_FOLDERS.items():
        for file in [file for kind in kinds for file in (path / name).glob(kind)]:
            file.unlink()
        if (path / name).is_dir() and not any((path / name).iterdir()):
            (path / name).rmdir()
    for inner in path.iterdir():
        if inner.is_dir() and (inner / "config.json").exists() and _is_run(read_json(inner / "config.json")):
            _delete_run(inner)
            if not any(inner.iterdir()):
                inner.rmdir()


def _is_run(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("command"), str) and isinstance(config.get("settings"), dict)


def _first_difference(held: Mapping[str, Any], command: str, settings: Mapping[str, Any]) -> str:
    if held.get("command") != command:
        return f" (of the command {held.get('command')!r})"
    old, new = (dict(leaves(part)) for part in (held.get("settings", {}), json.loads(to_json(settings))))
    for name in new:
        if old.get(name) != new[name]:
            return f" ({name} is {old.get(name)!r} there, {new[name]!r} now)"
    return ""
