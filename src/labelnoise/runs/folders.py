"""Run directories: each file whole or absent, never mixed with another run.

A run is `config.json` (written first), `history.csv`, `samples.npz`, `figures/` and `summary.json` (written last: its
presence means that the run is finished), and whatever else its kind declares.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.errors import InputError, check_boolean, check_path, check_progress
from labelnoise.runs.files import (
    CHECKSUMS,
    delete,
    digest,
    digest_file,
    digest_input,
    read_json,
    sealed_json,
    to_json,
    write_arrays,
    write_bytes,
    write_json,
    write_text,
)
from labelnoise.runs.kinds import Experiment, Outcome, Progress, all_kinds, find_kind
from labelnoise.runs.locks import LOCK, delete_leftovers, lock_run
from labelnoise.runs.provenance import git_commit, versions
from labelnoise.runs.reading import SCHEMA, is_run, read_config, read_run
from labelnoise.runs.settings import difference, settings_of

FILES = (
    "summary.json", CHECKSUMS, "history.csv", "samples.npz", "report.html", "figures/*.png", "figures/*.svg",
)  # fmt: skip
"""What every run may hold beside `config.json`; `summary.json` goes first, so that no half of a run looks finished."""
RUNS = Path("runs")
"""Where runs without a folder of their own go."""


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
        """Write `config.json`, in place of the old run where that is overwritten.

        Called once all input is accepted, so that a refusal leaves nothing. The new `config.json` takes the place of
        the old one last, so that a kill leaves a folder that is a run: the old or the new one, unfinished.
        """
        if self.overwrite:
            _delete_run(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "config.json", self.config)

    def write_history(self, frame: pd.DataFrame) -> None:
        """Write `history.csv`, one row a record."""
        write_text(self.path / "history.csv", frame.to_csv(index=False))

    def write_samples(self, **arrays: np.ndarray) -> None:
        """Write `samples.npz`, the per-sample arrays."""
        write_arrays(self.path / "samples.npz", arrays)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `checksums.json` of all that stays, and `summary.json`: from here on the run is finished."""
        delete(self.path / "summary.json")  # of a run that is finished anew: it has other checksums
        kind, content = find_kind(self.config["command"]), sealed_json(summary)
        patterns = ("config.json", *kind.results, *kind.checked)
        files = sorted(file for pattern in patterns for file in self.path.glob(pattern))
        checksums = {file.relative_to(self.path).as_posix(): digest_file(file) for file in files}
        write_json(self.path / CHECKSUMS, {**checksums, "summary.json": digest(content)})
        write_bytes(self.path / "summary.json", content)

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json` of a finished run."""
        return read_json(self.path / "summary.json")


def run_experiment(
    config: Experiment, out: str | Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Run a config into a run directory; the same config again is not run twice.

    Args:
        config: every setting, a frozen dataclass that knows its command and how to run.
        out: the folder; by default the one in `runs/` that holds this config, else runs/<command>-<hash of it>.
        overwrite: delete the run that the folder holds.
        progress: called as progress(done, total, name of what was done).

    Raises:
        InputError: the folder holds something else, or a setting is refused.
    """
    if isinstance(config, type) or not isinstance(getattr(config, "command", None), str):
        raise InputError(f"`config` must be a config of a run such as SimulateRun(), got {config!r}; build one first")
    check_progress(progress)
    with open_run(out, config, overwrite) as folder:
        if not folder.finished:
            config.run(folder, progress)
        delete_transient(folder.path, config.command)
        return Outcome(folder.path, folder.read_summary()["status"], folder.finished)


def delete_transient(path: Path, command: str) -> None:
    """Delete what a run of this command needed until it was finished."""
    _delete(path, find_kind(command).transient)


def default_path(config: Experiment) -> Path:
    """Return the folder in `runs/` that holds this config; else `runs/<command>-<hash of the settings>`.

    The hash changes with each new setting, so a run of an older version is looked for by what it holds.
    """
    path = RUNS / f"{config.command}-{digest(to_json(settings_of(config)).encode())[:10]}"
    if path.exists():
        return path
    older = [folder for folder in sorted(RUNS.glob(f"{config.command}-*")) if _holds(folder, config)]
    return min(older, key=lambda folder: not (folder / "summary.json").exists(), default=path)  # finished ones first


@contextmanager
def open_run(path: str | Path | None, config: Experiment, overwrite: bool = False) -> Iterator[RunFolder]:
    """Hold a run directory for this config inside the block; nothing is written or deleted before `begin`.

    A finished run of the same settings comes back with `finished=True`; an unfinished one goes on, or starts again.

    Args:
        path: the folder, made if absent; None takes `default_path`.
        config: every setting.
        overwrite: let `begin` delete the run that the folder holds, whichever it is.

    Raises:
        InputError: the folder holds another run, a damaged one, or files that are not a run, or is in use by another
            process.
    """
    check_boolean("overwrite", overwrite)
    path = default_path(config) if path is None else path
    check_path("out", path)
    path = Path(path)
    _check_place(path)
    content = _content(config)
    _folder_for(path, config, content, overwrite)  # refuses before the folder is touched
    with lock_run(path, config.command):
        folder = _folder_for(path, config, content, overwrite)
        if folder.finished:
            read_run(path).verify(*find_kind(config.command).results)
        yield folder


def _content(config: Experiment) -> dict[str, Any]:
    """What `config.json` holds of a run of this config."""
    inputs = find_kind(config.command).inputs(config)
    return {
        "schema": SCHEMA,
        "command": config.command,
        "settings": settings_of(config),
        "inputs": {name: digest_input(path) for name, path in inputs.items()},
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _folder_for(path: Path, config: Experiment, content: Mapping[str, Any], overwrite: bool) -> RunFolder:
    """The folder as it is open to the run of a config, or a refusal."""
    files = [file for file in _entries(path) if not file.name.endswith(".tmp") and file.name != LOCK]
    if not files:
        return RunFolder(path, False, content)
    if not ((path / "config.json").exists() and is_run(read_json(path / "config.json"))):
        raise InputError(f"`out` must be empty or hold a run, but {path} holds other files; choose another folder")
    if overwrite:
        return RunFolder(path, False, content, overwrite=True)
    if words := _difference(path, config) or _changed_input(path, content):
        raise InputError(
            f"`out` must be empty or hold the same run, but {path} holds another one ({words}); choose another folder "
            "or pass --overwrite"
        )
    return RunFolder(path, (path / "summary.json").exists(), content)


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except FileNotFoundError:
        return []


def _check_place(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"`out` must be a folder, got the file {path}; choose another name")
    parent = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise InputError(f"`out` must be a folder that can be written, but {parent} is not; choose another place")


def _difference(path: Path, config: Experiment) -> str:
    """Where the run in a folder differs from that of a config first; empty where it does not."""
    held = read_config(path)
    if held["command"] != config.command:
        return f"of the command {held['command']!r}"
    return difference(config, held["settings"])


def _changed_input(path: Path, content: Mapping[str, Any]) -> str:
    """Which input of the run in a folder is not what it was; one that is gone cannot be told from what it was."""
    for name, held in read_config(path).get("inputs", {}).items():
        now = content["inputs"].get(name)
        if None not in (held, now) and held != now:
            return f"of the same settings, but what `{name}` names has changed since"
    return ""


def _holds(path: Path, config: Experiment) -> bool:
    """Whether a folder holds a run of this config."""
    try:
        return not _difference(path, config)
    except InputError:
        return False


def _delete_run(path: Path) -> None:
    """Delete what a run wrote but for `config.json`, and runs inside whole; nothing else."""
    held = read_json(path / "config.json")
    kind = all_kinds().get(held["command"])
    delete_leftovers(path)
    _delete(path, FILES + (kind.files + kind.transient if kind else ()))
    for inner in path.iterdir():
        if inner.is_dir() and (inner / "config.json").exists() and is_run(read_json(inner / "config.json")):
            _delete_run(inner)
            if {file.name for file in inner.iterdir()} <= {"config.json", LOCK}:
                inner = inner.rename(path / f".{inner.name}.tmp")  # what a kill leaves of it goes with the next run
            for name in ("config.json", LOCK):
                delete(inner / name)
            with suppress(OSError):
                inner.rmdir()


def _delete(path: Path, patterns: Iterable[str]) -> None:
    """Delete the files of these patterns, and the folders that they leave empty."""
    for pattern in patterns:
        for file in list(path.glob(pattern)):
            delete(file)
    parents = {parent.as_posix() for pattern in patterns for parent in Path(pattern).parents} - {"."}
    for parent in sorted(parents, key=len, reverse=True):  # those inside first
        for folder in list(path.glob(parent)):
            with suppress(OSError):  # what is not empty stays
                folder.rmdir()
