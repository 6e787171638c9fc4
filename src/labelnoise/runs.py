"""Run directories: each file whole or absent, read back without pickle, never mixed with another run.

A run is `config.json` (written first), `history.csv`, `samples.npz`, `figures/` and `summary.json` (written last: its
presence means that the run is finished).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from labelnoise.errors import InputError

PACKAGES = ("labelnoise", "numpy", "scipy", "pandas", "torch", "scikit-learn")


@dataclass(frozen=True)
class RunFolder:
    """A run directory that is open for writing: `path`, and `finished` if it already holds the whole result."""

    path: Path
    finished: bool

    def write_history(self, frame: pd.DataFrame) -> None:
        """Write `history.csv`, one row a record; a fixed number format keeps equal runs equal to the byte."""
        self._write("history.csv", lambda file: file.write(frame.to_csv(index=False).encode()))

    def write_samples(self, **arrays: np.ndarray) -> None:
        """Write `samples.npz`, the per-sample arrays."""
        self._write("samples.npz", lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]

    def write_figure(self, name: str, data: bytes) -> None:
        """Write `figures/<name>`."""
        (self.path / "figures").mkdir(exist_ok=True)
        self._write(f"figures/{name}", lambda file: file.write(data))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, lambda file: file.write(text.encode()))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`: from here on the run is finished."""
        self.write_text("summary.json", _to_json(summary))

    def _write(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        """Write under a temporary name, then rename: a killed process leaves the old file or the new one."""
        target = self.path / name
        temporary = target.with_name(f".{target.name}.tmp")
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)


@dataclass(frozen=True)
class RunRecord:
    """A run read back: every reader of results (figures, pages) starts from this."""

    path: Path
    command: str
    settings: dict[str, Any]
    versions: dict[str, Any]
    history: pd.DataFrame
    samples: dict[str, np.ndarray]
    summary: dict[str, Any]


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


def default_path(command: str, settings: Mapping[str, Any]) -> Path:
    """Return `runs/<command>-<hash of the settings>`."""
    digest = hashlib.sha256(_to_json(settings).encode()).hexdigest()
    return Path("runs") / f"{command}-{digest[:10]}"


def open_run(path: Path, command: str, settings: Mapping[str, Any], overwrite: bool = False) -> RunFolder:
    """Open a run directory for these settings.

    A finished run of the same settings comes back with `finished=True`; an unfinished one starts again.

    Args:
        path: the folder; made if absent.
        command: what makes the run.
        settings: every setting, as JSON values.
        overwrite: delete the run that the folder holds first.

    Raises:
        InputError: the folder holds another run, or files that are not a run; nothing is touched.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"`out` must be a folder, got the file {path}; choose another name")
    config_file = path / "config.json"
    if config_file.exists():
        held = _read_json(config_file)
        if overwrite:
            shutil.rmtree(path)
        elif (held.get("command"), held.get("settings")) != (command, json.loads(_to_json(settings))):
            raise InputError(
                f"`out` must be empty or hold the same run, but {path} holds another one"
                f"{_first_difference(held, command, settings)}; choose another folder or pass --overwrite"
            )
        elif (path / "summary.json").exists():
            return RunFolder(path, finished=True)
    elif path.exists() and any(path.iterdir()):
        raise InputError(f"`out` must be empty or hold a run, but {path} holds other files; choose another folder")
    path.mkdir(parents=True, exist_ok=True)
    run = RunFolder(path, finished=False)
    config = {"command": command, "settings": settings, "versions": _versions(), "git_commit": _git_commit()}
    run.write_text("config.json", _to_json(config))
    return run


def read_run(path: Path) -> RunRecord:
    """Read a finished run.

    Raises:
        InputError: the folder holds no run, an unfinished one, or a damaged file.
    """
    path = Path(path)
    for name, meaning in (("config.json", "is no run"), ("summary.json", "is a run that has not finished")):
        if not (path / name).is_file():
            raise InputError(f"{path} {meaning} ({name} is missing); give the folder of a finished run")
    config, summary = _read_json(path / "config.json"), _read_json(path / "summary.json")
    try:
        history = pd.read_csv(path / "history.csv")
        with np.load(path / "samples.npz", allow_pickle=False) as archive:
            samples = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}); make the run again with --overwrite") from None
    return RunRecord(path, config["command"], config["settings"], config["versions"], history, samples, summary)


def _first_difference(held: Mapping[str, Any], command: str, settings: Mapping[str, Any]) -> str:
    if held.get("command") != command:
        return f" (of the command {held.get('command')!r})"
    old, new = held.get("settings", {}), json.loads(_to_json(settings))
    for name in new:
        if old.get(name) != new[name]:
            return f" ({name} is {old.get(name)!r} there, {new[name]!r} now)"
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove the folder and make the run again") from None


def _to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, NumPy values as plain ones, a non-finite number as null."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(key): plain(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [plain(entry) for entry in item]
        if isinstance(item, np.ndarray | np.generic):
            return plain(item.tolist())
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """Commit of the checkout that this package is run from, if it is one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
