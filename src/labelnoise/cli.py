"""The commands: one for each kind of run, whose flags are the fields of its config, and two that work on a run."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before NumPy loads: more threads slow small matrices down
    os.environ.setdefault(_name, "1")

from labelnoise import __version__
from labelnoise.errors import InputError, did_you_mean, wants_memory, wants_room

if TYPE_CHECKING:
    from labelnoise.runs.kinds import Kind, Outcome, Progress


@dataclass(frozen=True)
class Output:
    """Where settings come from and the run goes."""

    config: Path | None = None
    """TOML file of settings: the flags of this command, flat or in tables; flags override it."""
    out: Path | None = None
    """Folder of the run; runs/<command>-<hash of the settings> if not given."""
    overwrite: bool = False
    """Delete the run that the folder holds and start anew; leave it out to go on with an unfinished one."""


@dataclass(frozen=True)
class Download:
    """Whether data may come from the network."""

    download: bool = False
    """Fetch the official files of the data set into its folder under `root` first, if they are not at hand."""


def run_kind(kind: Kind, arguments: Sequence[str]) -> int:
    """Make a run of this kind."""
    from labelnoise.runs.folders import run_experiment
    from labelnoise.runs.launch import find_launch

    configs: list[type] = [kind.config, Output]
    configs += [kind.options] if kind.options else []
    configs += [Download] if kind.fetch else []
    about = kind.config.__doc__ or ""
    _, (config, output, *options) = _parse(kind.command, about, arguments, configs, leading=kind.leading)
    if kind.fetch and options.pop().download and not find_launch().rank:
        with _progress("download") as progress:
            kind.fetch(config, progress)
    with _progress(kind.command) as progress:
        outcome = (kind.execute or run_experiment)(config, output.out, output.overwrite, progress, *options)
    _tell(kind, outcome)
    return 0 if outcome.status == "ok" else 1


def _tell(kind: Kind, outcome: Outcome) -> None:
    """Say what became of a run, and where it is."""
    from labelnoise.runs.reading import read_run

    if outcome.reused:
        print(f"{outcome.path} already holds this run{_maker(outcome.path)}; pass --overwrite to run it again")
    for line in kind.findings(read_run(outcome.path)) if kind.findings else ():
        print(line)
    if outcome.page:
        print(f"report: {outcome.page}")
    else:
        print(f"run: {outcome.path} ({outcome.status}); see it with: labelnoise report {outcome.path}")
    if outcome.status != "ok":
        print(f"labelnoise: {outcome.status}", file=sys.stderr)


def explain(arguments: Sequence[str]) -> int:
    """Attribute clean and noisy samples of a training run to their pixels, at T1 and at its end."""
    from labelnoise.training.config import ExplainConfig

    path, (config,) = _parse("explain", explain.__doc__ or "", arguments, [ExplainConfig], "folder of a training run")
    from labelnoise.report.page import write_report
    from labelnoise.training.explain import explain_run

    with _progress("explain") as progress:
        attribution = explain_run(Path(path), config, progress=progress)
    for gap in attribution.facts["gaps"]:
        print(
            f"epoch {gap['epoch']}: sum of attributions and difference of logits differ by at most "
            f"{gap['largest']:.2g} ({gap['relative']:.2g} of the mean difference)"
        )
    print(f"{attribution}\nattribution: {Path(path) / 'attribution.npz'}\nreport: {write_report(path)}")
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write figures and report.html of a finished run, or of a train.csv of the paper's released code."""
    takes = "folder of a finished run, or a train.csv"
    path, _ = _parse("report", report.__doc__ or "", arguments, [], takes)
    from labelnoise.report.page import write_report

    print(f"report: {write_report(path)}")
    return 0


ON_A_RUN = {"explain": explain, "report": report}
"""The commands that work on a run directory."""

EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "PIL": "train",
    "shap": "explain",
    "matplotlib": "report",
    "jinja2": "report",
    "xarray": "sweep",
    "h5netcdf": "sweep",
    "scipy": "sweep",
    "distributed": "cluster",
}
"""Which extra brings a package that the core does without."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0, 1 for a run that diverged, 2 for input that is refused, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may hold letters that the terminal has not
    with _only_the_first_speaks():
        return _main(arguments)


def _main(arguments: Sequence[str]) -> int:
    try:
        try:
            return _dispatch(arguments)
        finally:  # --help ends in SystemExit
            if sys.stdout:  # none where it was closed
                sys.stdout.flush()
    except InputError as refusal:
        return _say(2, str(refusal))
    except ModuleNotFoundError as absent:
        if absent.name not in EXTRAS:
            raise
        return _say(2, f"this command needs {absent.name}; pip install 'labelnoise[{EXTRAS[absent.name]}]'")
    except (MemoryError, RuntimeError) as error:
        if not wants_memory(error):
            raise
        return _say(2, f"the memory is not enough ({'. '.join(str(error).split('. ')[:2])}); lower the sizes")
    except BrokenPipeError:  # who reads the output has left, as head does
        _drop_output()
        return 141
    except OSError as error:
        if error.filename is None:  # a full disk under `labelnoise ... > file`
            _drop_output()
        what = f"{error.filename or 'a file or the output'} could not be read or written ({error.strerror or error})"
        return _say(2, f"{what}; {'make room or ' if wants_room(error) else ''}choose another place")
    except KeyboardInterrupt:
        if arguments[:1] and arguments[0] in ON_A_RUN:
            return _say(130, "stopped; the same command begins anew")
        return _say(130, "stopped; the same command, without --overwrite, keeps what is finished and does the rest")


@contextlib.contextmanager
def _only_the_first_speaks() -> Iterator[None]:
    """Of the processes that torchrun started for one command, only the first one says what all would say."""
    from labelnoise.runs.launch import find_launch

    if not find_launch().rank:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _say(code: int, sentence: str) -> int:
    print(f"labelnoise: {sentence}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Let what is left of the output go nowhere: Python writes it at its end, and would complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "--version":
        print(f"labelnoise {__version__}")
        return 0
    from labelnoise.runs.kinds import all_kinds, describe_commands

    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(describe_commands() | {name: command.__doc__ or "" for name, command in ON_A_RUN.items()}))
        return 0
    command, rest = arguments[0], arguments[1:]
    if command in ON_A_RUN:
        return ON_A_RUN[command](rest)
    if command in all_kinds():
        return run_kind(all_kinds()[command], rest)
    raise InputError(f"there is no command {command!r}{did_you_mean(command, [*all_kinds(), *ON_A_RUN])}")


def _usage(about: Mapping[str, str]) -> str:
    lines = [f"  {name:10s} {text}" for name, text in sorted(about.items())]
    return "usage: labelnoise COMMAND [FLAGS]\n\n" + "\n".join(lines) + "\n\nlabelnoise COMMAND --help lists the flags."


def _parse(
    command: str, about: str, arguments: Sequence[str], configs: Sequence[type], takes: str = "", leading: str = ""
) -> tuple[str, tuple[Any, ...]]:
    from labelnoise.runs.flags import parse_flags

    return parse_flags(f"labelnoise {command}", about, arguments, configs, takes, leading)


def _maker(path: Path) -> str:
    """Which version and commit made a run that is reused: its settings are compared, not its code or input files."""
    from labelnoise.runs.reading import read_run

    run = read_run(path)
    commit = f" at commit {run.git_commit}" if run.git_commit else ""
    return f", made by labelnoise {run.versions.get('labelnoise')}{commit}"


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A progress bar on a terminal, else a line for each named piece of work that ends, or a share; all on stderr."""
    import rich.console
    import rich.progress

    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.TimeElapsedColumn())
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int, name: str = "") -> None:
            bar.update(task, completed=done, total=total)
            if name:
                bar.console.print(f"[{done}/{total}] {name}", markup=False)

        yield progress


SILENCE = 30.0
"""Seconds after which work without a name gets a line in a file, too: nobody is to wonder whether it hangs."""


def _lines(what: str) -> Progress:
    """Progress as lines on stderr: one for each named piece of work, and the share that is done after a silence."""
    last = time.monotonic()

    def progress(done: int, total: int, name: str = "") -> None:
        nonlocal last
        if not name and time.monotonic() - last < SILENCE:
            return
        last = time.monotonic()
        share = f"{what}: {done / total:.0%}" if total else f"{what}: {done:,}"
        print(f"[{done}/{total}] {name}" if name else share, file=sys.stderr, flush=True)

    return progress


if __name__ == "__main__":
    sys.exit(main())
