"""Kinds of runs: each declares itself once, as `KIND` in the module `experiment` of its room.

The kinds are what the rooms of the package declare; nothing lists them a second time.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import labelnoise
from labelnoise.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from labelnoise.runs.folders import RunFolder
    from labelnoise.runs.pages import Page, Section
    from labelnoise.runs.reading import Run


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, done: int, total: int, name: str = "") -> object:
        """Take the number of pieces that are done and of all, and what was done last, in words, where it has a name."""


class Experiment(Protocol):
    """One config in, one run directory out: a frozen dataclass of every setting, each with a default."""

    command: ClassVar[str]
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
    page: Path | None = None
    """Its report, if it was written."""


@dataclass(frozen=True)
class Kind:
    """A kind of run: its command, what its runs hold, and their page."""

    config: type[Experiment]
    """Every setting; its `command` names the kind, its docstring is the command's help."""
    page: Callable[[], Page]
    """Loads what the page shows; called when a page is made, since figures need what a run does not."""
    summary: tuple[str, ...] = ()
    """What `summary.json` must hold beside its status."""
    files: tuple[str, ...] = ()
    """Patterns of the files that such runs hold beside those of every run; `--overwrite` deletes them."""
    results: tuple[str, ...] = ("history.csv", "samples.npz")
    """Patterns of what such runs are made for; checksums are kept, and checked when it is read or reused."""
    checked: tuple[str, ...] = ()
    """Patterns of further files whose checksums are kept and checked when they are read; they may be deleted."""
    transient: tuple[str, ...] = ()
    """Patterns of the files that a run needs until it is finished; they are deleted then."""
    upgrade: Callable[[dict[str, Any], int], dict[str, Any]] = lambda settings, schema: settings
    """Takes settings as they were written under an older schema to the form that they have now."""
    inputs: Callable[[Any], Mapping[str, Path]] = lambda config: {}
    """The files and folders that a config reads, by the name of the setting: what is in them is part of the run."""
    fetch: Callable[[Any, Progress], object] | None = None
    """Brings the input of a config over the network, with --download."""
    execute: Callable[..., Outcome] | None = None
    """What the command does, as `run_experiment` by default: config, folder, whether to overwrite, progress."""
    leading: str = ""
    """Setting whose value the command line may give without its flag."""
    options: type | None = None
    """Flags of the command that are no part of the run, a dataclass; `execute` gets it, too."""
    findings: Callable[[Run], Sequence[str]] | None = None
    """What the command says of a finished run, a line each, before it says where the run is."""
    foreign: Callable[[Path], Section] | None = None
    """Reads the table of a run that another code made, for the page."""

    @property
    def command(self) -> str:
        """The command, which is the kind's name in `config.json`."""
        return self.config.command


@cache
def all_kinds() -> dict[str, Kind]:
    """Return every kind of run by its command."""
    kinds = [importlib.import_module(name).KIND for name in _experiments()]
    return {kind.command: kind for kind in kinds}


def describe_commands() -> dict[str, str]:
    """Return the help of each kind's command, read off the source of the rooms: to load them takes a second."""
    commands = {}
    for source in _experiments().values():
        body = ast.parse(source.read_bytes()).body
        for config in (node for node in body if isinstance(node, ast.ClassDef)):
            for line in config.body:
                if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "command" and line.value:
                    commands[ast.literal_eval(line.value)] = ast.get_docstring(config) or ""
    return commands


def _experiments() -> dict[str, Path]:
    """Name and source of the module `experiment` of each room that has one; none is loaded."""
    rooms = [room.name for room in pkgutil.iter_modules(labelnoise.__path__) if room.ispkg]
    specs = [importlib.util.find_spec(f"labelnoise.{room}.experiment") for room in rooms]
    return {spec.name: Path(spec.origin) for spec in specs if spec and spec.origin}


def find_kind(command: str) -> Kind:
    """Return the kind of the runs that `command` makes.

    Raises:
        InputError: there is none.
    """
    if command not in all_kinds():
        raise InputError(f"there is no kind of run {command!r}{did_you_mean(command, all_kinds())}")
    return all_kinds()[command]
