"""The commands: each config dataclass becomes a command whose flags, and TOML keys, are its fields."""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before NumPy loads: more threads slow small matrices down
    os.environ.setdefault(_name, "1")

import rich.console
import rich.progress
import tyro

from labelnoise import __version__
from labelnoise.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Output:
    """Where settings come from and the run goes."""

    config: Path | None = None
    """TOML file whose keys are the flags of this command; flags override it."""
    out: Path | None = None
    """Folder of the run; runs/<command>-<hash of the settings> if not given."""
    overwrite: bool = False
    """Delete the run that the folder holds and start anew; leave it out to go on with an unfinished one."""


@dataclass(frozen=True)
class Download:
    """Whether data may come from the network."""

    download: bool = False
    """Fetch the official files of the data set into its folder under `root` first, if they are not at hand."""


def simulate(arguments: Sequence[str]) -> int:
    """Train the paper's two-layer network on signal-noise data, exactly."""
    from labelnoise.theory.experiment import SimulateRun

    config, output = _parse("simulate", arguments, SimulateRun, Output)
    return _experiment(config, output)


def train(arguments: Sequence[str]) -> int:
    """Train a network on real data with flipped labels and follow every sample; an interrupted run goes on."""
    from labelnoise.images.sources import read_source
    from labelnoise.training.experiment import TrainRun

    config, output, data = _parse("train", arguments, TrainRun, Output, Download)
    if data.download:
        with _progress(f"download {config.data}") as told:
            read_source(config.data, Path(config.root), config.training.seed, download=True, progress=told)
    return _experiment(config, output)


def explain(arguments: Sequence[str]) -> int:
    """Attribute clean and noisy samples of a training run to their pixels, at T1 and at its end."""
    path, flags = _run_directory("explain", arguments)
    from labelnoise.report.page import write_report
    from labelnoise.training.explain import ExplainConfig, explain_run

    (config,) = _parse("explain", flags, ExplainConfig)
    with _progress("explain") as told:
        attribution = explain_run(path, config, progress=told)
    for gap in attribution.facts["gaps"]:
        print(
            f"epoch {gap['epoch']}: sum of attributions and difference of logits differ by at most "
            f"{gap['largest']:.2g} ({gap['relative']:.2g} of the mean difference)"
        )
    print(f"{attribution}\nattribution: {path / 'attribution.npz'}\nreport: {write_report(path)}")
    return 0


def reproduce(arguments: Sequence[str]) -> int:
    """Run the experiments of the report and write the page."""
    from labelnoise.reproduce.experiment import Reproduce, run_reproduce

    config, output = _parse("reproduce", arguments, Reproduce, Output)
    with _progress("experiments") as told:
        page, reused = run_reproduce(
            config, output.out, output.overwrite, done=lambda name, at, total: told(at, total, name)
        )
    if reused:
        print(f"{page.parent} already holds this run{_maker(page.parent)}; pass --overwrite to run it again")
    print(f"report: {page}")
    return _exit_code(page.parent)


def report(arguments: Sequence[str]) -> int:
    """Write figures and report.html of a finished run, or of a train.csv of the paper's released code."""
    from labelnoise.report.page import write_report

    path, rest = _run_directory("report", arguments)
    if rest:
        raise InputError(f"`report` takes one run directory, got {rest[0]!r}, too; see labelnoise --help")
    print(f"report: {write_report(path)}")
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "simulate": simulate,
    "train": train,
    "explain": explain,
    "reproduce": reproduce,
    "report": report,
}


EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "PIL": "train",
    "shap": "explain",
    "matplotlib": "report",
    "jinja2": "report",
}
"""Which extra brings a package that the core does without."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0, 1 for a run that diverged, 2 for input that is refused."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_usage())
            return 0
        if arguments[0] == "--version":
            print(f"labelnoise {__version__}")
            return 0
        if arguments[0] not in COMMANDS:
            raise InputError(f"there is no command {arguments[0]!r}{did_you_mean(arguments[0], COMMANDS)}")
        return COMMANDS[arguments[0]](arguments[1:])
    except InputError as refusal:
        print(f"labelnoise: {refusal}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as absent:
        if absent.name not in EXTRAS:
            raise
        extra = EXTRAS[absent.name]
        print(f"labelnoise: this command needs {absent.name}; pip install 'labelnoise[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "labelnoise: stopped; the same command, without --overwrite, goes on with the unfinished part",
            file=sys.stderr,
        )
        return 130


def _usage() -> str:
    lines = [f"  {name:10s} {command.__doc__}" for name, command in COMMANDS.items()]
    return "usage: labelnoise COMMAND [FLAGS]\n\n" + "\n".join(lines) + "\n\nlabelnoise COMMAND --help lists the flags."


def _experiment(config: Any, output: Output) -> int:
    from labelnoise.runs.folders import run_experiment

    with _progress(config.command) as told:
        outcome = run_experiment(config, output.out, output.overwrite, progress=told)
    if outcome.reused:
        print(f"{outcome.path} already holds this run{_maker(outcome.path)}; pass --overwrite to run it again")
    print(f"run: {outcome.path} ({outcome.status}); see it with: labelnoise report {outcome.path}")
    return _exit_code(outcome.path)


def _run_directory(command: str, arguments: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The run directory that a command line begins with, and its flags."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        raise InputError(f"`{command}` needs a run directory first: labelnoise {command} RUN")
    if arguments[0] in ("-h", "--help") and command == "report":
        print(f"usage: labelnoise report RUN\n\n{COMMANDS[command].__doc__}")
        raise SystemExit(0)
    at = 0 if arguments[0] in ("-h", "--help") else 1
    return Path(arguments[0]), arguments[at:]


def _maker(path: Path) -> str:
    """Which version and commit made a run that is reused: its settings are compared, not its code or input files."""
    from labelnoise.runs.reading import read_run

    run = read_run(path)
    return f", made by labelnoise {run.versions.get('labelnoise')}" + f" at commit {run.git_commit}" * bool(
        run.git_commit
    )


def _exit_code(path: Path) -> int:
    from labelnoise.runs.reading import read_run

    status = read_run(path).summary["status"]
    if status != "ok":
        print(f"labelnoise: {status}", file=sys.stderr)
    return 0 if status == "ok" else 1


def _parse(command: str, arguments: Sequence[str], *kinds: type) -> tuple[Any, ...]:
    """The dataclasses that a command line fills; the keys of a TOML file are flags that stand before the others."""
    from labelnoise.runs.settings import leaves, settings_of

    known = [name.replace("_", "-") for kind in kinds for name, _ in leaves(settings_of(kind()))]

    def run(**parts: Any) -> tuple[Any, ...]:
        return tuple(parts.values())

    run.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter(kind.__name__.lower(), inspect.Parameter.KEYWORD_ONLY, default=kind(), annotation=kind)
        for kind in kinds
    ])  # fmt: skip
    run.__doc__ = COMMANDS[command].__doc__
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands)
    program = f"labelnoise {command}" + " RUN" * (command == "explain")
    with _one_sentence(command):
        found, unknown = tyro.cli(
            run, args=[*_from_toml(arguments, known), *arguments], prog=program, config=markers,
            return_unknown_args=True,
        )  # fmt: skip
    if unknown and not unknown[0].startswith("-"):
        raise InputError(f"`{command}` takes flags only, got {unknown[0]!r}; see labelnoise {command} --help")
    if unknown:
        near = did_you_mean(unknown[0].lstrip("-").split("=")[0], known)
        raise InputError(f"`{command}` has no flag {unknown[0]!r}{near}")
    return found


def _from_toml(arguments: Sequence[str], known: Sequence[str]) -> list[str]:
    """The flags that the file behind --config stands for."""
    given = [after for flag, after in itertools.pairwise(arguments) if flag == "--config"]
    given += [flag.removeprefix("--config=") for flag in arguments if flag.startswith("--config=")]
    if not given:
        return []
    from labelnoise.runs.settings import leaves

    path = Path(given[-1])
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"`config` must be a TOML file, but {path} cannot be read: {error}") from None
    flags: list[str] = []
    for key, value in leaves(table):
        name = key.replace("_", "-")
        if name not in known or name == "config":
            options = [flag for flag in known if flag != "config"]
            raise InputError(f"{path} has a key {key!r} that is no setting{did_you_mean(name, options)}")
        values = value if isinstance(value, list) else [] if isinstance(value, bool) else [value]
        flags += [f"--no-{name}" if value is False else f"--{name}", *map(str, values)]
    return flags


PARSER_WORDS = {
    r"^Error parsing (--[\w-]+): invalid literal for int.*?: ('.*)": r"`\1` must be a whole number, got \2",
    r"^Error parsing (--[\w-]+): could not convert string to float: (.*)": r"`\1` must be a number, got \2",
    r"^Error parsing (--[\w-]+): Could not find valid parse for arguments: \[(.*)\]": r"`\1` cannot hold \2",
    r"^Missing value for argument '(--[\w-]+)'.*": r"`\1` needs a value, got none",
}
"""The parser's most common messages, and ours."""


@contextlib.contextmanager
def _one_sentence(command: str) -> Iterator[None]:
    """Turn the parser's framed message into the one sentence of `InputError`."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        lines = [line.strip("│| ") for line in said.getvalue().splitlines()][1:]  # below the title
        below = itertools.dropwhile(lambda line: not line.strip("─-"), lines)
        body = itertools.takewhile(lambda line: line.strip("─-╰╯"), below)  # what follows a rule is help
        sentence = re.sub(r"^Error parsing (?!-)[^:]*: ", "", " ".join(body)).rstrip(".")
        for pattern, words in PARSER_WORDS.items():
            sentence = re.sub(pattern, words, sentence)
        raise InputError(f"{sentence}; see labelnoise {command} --help") from None


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[..., None]]:
    """A progress bar on a terminal, else one line for each named piece of work that ends."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield lambda at, total, name="": print(f"[{at}/{total}] {name}", flush=True) if name else None
        return
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.TimeElapsedColumn())
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)

        def told(at: int, total: int, name: str = "") -> None:
            bar.update(task, completed=at, total=total)
            if name:
                bar.console.print(name)

        yield told


if __name__ == "__main__":
    sys.exit(main())
