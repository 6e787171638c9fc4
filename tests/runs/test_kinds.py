"""A new kind of run costs one declaration: a room with an `experiment` module, and nothing anywhere else."""

import importlib
import sys

import pytest

import labelnoise
from labelnoise.cli import main
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.kinds import all_kinds, find_kind
from labelnoise.runs.reading import read_run

EXPERIMENT = '''
"""Throw a coin."""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure

from labelnoise.arrays import stream
from labelnoise.runs.files import write_text
from labelnoise.runs.kinds import Kind
from labelnoise.runs.pages import Page, Picture, Table


@dataclass(frozen=True)
class Coin:
    """Throw a coin until it has been heads so often."""

    command: ClassVar[str] = "throw"
    heads: int = 3
    """Heads after which to stop."""
    seed: int = 0
    """Seed of the coin."""

    def run(self, folder, progress=None):
        throws = stream(self.seed, "data").integers(2, size=50).cumsum()
        table = pd.DataFrame({"throw": range(50), "heads": throws})
        at = int((throws >= self.heads).argmax())
        folder.begin()
        folder.write_history(table)
        write_text(folder.path / "coin.txt", "a penny")
        row = {"rule": "last", "seed": self.seed, "at": at, "reason": "enough", "heads": float(throws[at])}
        folder.finish({"status": "ok", "stops": [row]})


def curve(panels):
    figure = Figure()
    for panel in panels:
        figure.subplots().plot(panel.history["throw"], panel.history["heads"])
    return figure


PAGE = Page(
    look="What to look for: does the coin rise?",
    pictures=lambda panels: [Picture("heads", lambda: curve(panels))],
    stops={"at": "throw", "heads": "heads so far"},
    page_tables=lambda panels: [Table("Coins", ("coin",), tuple((panel.title,) for panel in panels))],
    words={"Coin": "what is thrown."},
)

KIND = Kind(Coin, page=lambda: PAGE, summary=("stops",), files=("coin.txt",))
'''


@pytest.fixture
def room(request, tmp_path, monkeypatch):
    """The package with a room more, of the source given as a parameter."""
    folder = tmp_path / "rooms/coins"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "experiment.py").write_text(getattr(request, "param", EXPERIMENT))
    monkeypatch.setattr(labelnoise, "__path__", [*labelnoise.__path__, str(folder.parent)])
    importlib.invalidate_caches()
    all_kinds.cache_clear()
    yield
    all_kinds.cache_clear()
    for name in [name for name in sys.modules if name.startswith("labelnoise.coins")]:
        del sys.modules[name]


def test_the_kinds_are_those_of_the_rooms():
    assert set(all_kinds()) == {"simulate", "train", "reproduce", "sweep", "audit"}
    for command, kind in all_kinds().items():
        assert kind.command == command and kind.config.__doc__ and kind.config() == kind.config()


def test_a_new_kind_is_a_command_a_run_and_a_page(room, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["--help"]) == 0
    assert "throw      Throw a coin until it has been heads so often." in capsys.readouterr().out
    assert main(["throw", "--heads", "5", "--out", str(out)]) == 0
    assert main(["throw", "--heads", "5", "--out", str(out)]) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert main(["throw", "--heads", "6", "--out", str(out)]) == 2
    assert "(heads is 5 there, 6 now)" in capsys.readouterr().err
    assert main(["throw", "--head", "6"]) == 2
    assert "did you mean '--heads'?" in capsys.readouterr().err
    assert main(["throe"]) == 2
    assert "did you mean 'throw'?" in capsys.readouterr().err
    run = read_run(out)
    assert run.config == find_kind("throw").config(heads=5)
    assert run_experiment(run.config, out).reused

    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    for words in ("does the coin rise?", "heads so far", "<b>Coin</b>: what is thrown.", "<h2>Coins</h2>"):
        assert words in page
    assert (out / "figures/heads.png").is_file()

    assert main(["throw", "--heads", "6", "--overwrite", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.rglob("*")) == [
        "checksums.json", "coin.txt", "config.json", "history.csv", "summary.json"
    ]  # fmt: skip
    (out / "summary.json").write_text('{"status": "ok"}')
    assert main(["report", str(out)]) == 2
    assert "damaged" in capsys.readouterr().err


BARE = (
    EXPERIMENT.replace("folder.write_history(table)", "")
    .replace(
        'row = {"rule": "last", "seed": self.seed, "at": at, "reason": "enough", "heads": float(throws[at])}\n', "\n"
    )
    .replace('"stops": [row]', '"heads": at')
    .replace('    stops={"at": "throw", "heads": "heads so far"},\n', "")
)
BARE = BARE.replace('panel.history["throw"], panel.history["heads"]', "[0, 1], [0, 1]")
BARE = BARE.replace('summary=("stops",)', "results=()")


@pytest.mark.parametrize("room", [BARE], indirect=True)
def test_a_kind_may_have_neither_stops_nor_a_history(room, tmp_path):
    assert "write_history" not in BARE and "stops" not in BARE
    assert main(["throw", "--out", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "Where to stop" not in (tmp_path / "run/report.html").read_text()
