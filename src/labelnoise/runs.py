"""Run directories: each file whole or absent, read back without pickle, never mixed with another run.

A run is `config.json` (written first), `history.csv`, `samples.npz`, `figures/`, `checkpoints/` and `summary.json`
(written last: its presence means that the run is finished).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pandas as pd

from labelnoise.errors import InputError

PACKAGES = ("labelnoise", "numpy", "scipy", "pandas", "torch", "scikit-learn")


SUMMARIES = {
    "simulate": ("noise", "stops", "stages", "checks", "conditions", "stage_one_scale", "zeta_std"),
    "train": ("noise", "stops"),
    "reproduce": ("groups",),
}
"""What the summary of each command must hold beside its status."""


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
            self.write_text("config.json", _to_json(self.config))
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
        self.write_text("summary.json", _to_json(summary))

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json` of a finished run."""
        return _read_json(self.path / "summary.json")


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write under a temporary name, then rename: a kill or a full disk leaves the old file or the new one.

    Raises:
        InputError: the file cannot be written; what was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError(
            f"{path} could not be written ({error.strerror or error}), what was there is unharmed; make room, then "
            "give the same command again"
        ) from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz file, whole or not at all."""
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz file of a run directory.

    Raises:
        InputError: the file is absent or damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); make the run again with --overwrite") from None


@dataclass(frozen=True)
class RunRecord:
    """A run read back: every reader of results (figures, pages) starts from this."""

    path: Path
    command: str
    settings: dict[str, Any]
    versions: dict[str, Any]
    git_commit: str | None
    summary: dict[str, Any]

    @cached_property
    def history(self) -> pd.DataFrame:
        """`history.csv`, one row a record."""
        try:
            return pd.read_csv(self.path / "history.csv")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); make the run again with --overwrite") from None

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """`samples.npz`, the per-sample arrays."""
        return read_arrays(self.path / "samples.npz")


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


def default_path(command: str, settings: Mapping[str, Any]) -> Path:
    """Return `runs/<command>-<hash of the settings>`."""
    digest = hashlib.sha256(_to_json(settings).encode()).hexdigest()
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
    config = {"command": command, "settings": settings, "versions": _versions(), "git_commit": _git_commit()}
    files = [file for file in path.iterdir() if not file.name.endswith(".tmp")] if path.exists() else []
    if not files:
        return RunFolder(path, False, config)
    held = _read_json(path / "config.json") if (path / "config.json").exists() else {}
    if not _is_run(held):
        raise InputError(f"`out` must be empty or hold a run, but {path} holds other files; choose another folder")
    if overwrite:
        return RunFolder(path, False, config, overwrite=True)
    if (held["command"], held["settings"]) != (command, json.loads(_to_json(settings))):
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


def read_run(path: Path) -> RunRecord:
    """Read a finished run.

    Raises:
        InputError: the folder holds no run, an unfinished one, or a damaged file.
    """
    path = Path(path)
    for name, meaning in (("config.json", "is no run"), ("summary.json", "is a run that has not finished")):
        if not (path / name).is_file():
            raise InputError(
                f"{path} {meaning} ({name} is missing); give the folder of a finished run, or finish it by the "
                "command that began it"
            )
    config, summary = _read_json(path / "config.json"), _read_json(path / "summary.json")
    names = ("command", "settings", "versions", "git_commit")
    needed = ("status", *SUMMARIES.get(config.get("command", ""), ()))
    if not all(name in config for name in names) or not all(name in summary for name in needed):
        raise InputError(f"{path} is no run of labelnoise, or a damaged one; give the folder of a finished run")
    return RunRecord(path, **{name: config[name] for name in names}, summary=summary)


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
        if inner.is_dir() and (inner / "config.json").exists() and _is_run(_read_json(inner / "config.json")):
            _delete_run(inner)
            if not any(inner.iterdir()):
                inner.rmdir()


def _is_run(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("command"), str) and isinstance(config.get("settings"), dict)


def _first_difference(held: Mapping[str, Any], command: str, settings: Mapping[str, Any]) -> str:
    if held.get("command") != command:
        return f" (of the command {held.get('command')!r})"
    old, new = (dict(leaves(part)) for part in (held.get("settings", {}), json.loads(_to_json(settings))))
    for name in new:
        if old.get(name) != new[name]:
            return f" ({name} is {old.get(name)!r} there, {new[name]!r} now)"
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove the folder and make the run again") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged (no table); remove the folder and make the run again")
    return found


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
    """Commit of the checkout that this package is run from, if it is one; `-dirty` where files were changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # an installed copy may lie inside another checkout
        return git("rev-parse", "HEAD") + "-dirty" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
