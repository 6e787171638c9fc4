"""Every command is killed at every change of its files; the same command then ends as if there had been no kill.

Each kill is a SIGKILL of a forked process. The default tests take two of the points of three commands, the slow ones a
few of more of them, the exhaustive ones every point of each.
"""

import shutil
from dataclasses import dataclass

import pytest

from helpers import contents, killed
from tiny import AUDIT, EXPLAIN, REPORT, REPRODUCE, SIMULATE, SWEEP, TRAIN, command, refused


@dataclass(frozen=True)
class Case:
    words: str
    """The command that is killed."""
    before: tuple[str, ...] = ()
    """Commands whose work it finds."""
    cut: str = ""
    """The change at which the last of them was killed; none if it ended."""
    least: int = 0
    """Fewer changes than these say that the test does not see them."""
    quick: int = 0
    """Kills in the default tests."""
    few: int = 0
    """Kills in the slow tests."""


pytestmark = pytest.mark.usefixtures("world")
OVERWRITE = " --overwrite"
SEEDS = f"{TRAIN}s 0 1"
CASES = {
    "simulate": Case(f"{SIMULATE} 0 1", least=27, quick=2, few=6),
    "simulate over another": Case(f"{SIMULATE} 0 1 {OVERWRITE}", (f"{SIMULATE} 5", REPORT), least=33, quick=1, few=3),
    "train": Case(f"{TRAIN} 0", least=53, quick=2, few=4),
    "train going on": Case(f"{TRAIN} 0", (f"{TRAIN} 0",), cut="cut checkpoints/.epoch-0003.pt.tmp", least=37, few=2),
    "train, stopped": Case(f"{TRAIN} 0 --stop", least=56, few=3),
    "train seeds": Case(SEEDS, least=110, few=2),
    "train seeds over another": Case(f"{SEEDS} {OVERWRITE}", (f"{TRAIN} 5",), least=110),
    "train over another": Case(f"{TRAIN} 0 {OVERWRITE}", (f"{TRAIN} 5", EXPLAIN), least=71),
    "explain": Case(EXPLAIN, (f"{TRAIN} 0",), least=56, few=1),
    "explain again": Case(f"{EXPLAIN} --seed 1", (f"{TRAIN} 0", EXPLAIN), least=55),
    "report": Case(REPORT, (f"{SIMULATE} 0 1",), least=18, few=1),
    "sweep": Case(f"{SWEEP} 2", least=60),
    "sweep over another": Case(f"{SWEEP} 2 {OVERWRITE}", (f"{SWEEP} 3",), least=60),
    "audit": Case(f"{AUDIT} 0", least=40, few=2),
    "audit over another": Case(f"{AUDIT} 0 {OVERWRITE}", (f"{AUDIT} 1", REPORT), least=40),
    "reproduce": Case(REPRODUCE, least=150, few=1),
    "reproduce over another": Case(f"{REPRODUCE} {OVERWRITE}", (f"{REPRODUCE} --quick",), least=150),
}


def start(case, folder):
    """Make what the command finds in `folder`."""
    folder.parent.mkdir()
    for words in case.before:
        assert command(words, folder) == (0, "")
    if case.cut:
        nothing, again = folder.parent / "nothing", folder.parent / "again/run"
        at = kill(case.before[-1], nothing, again).index(case.cut) + 1
        kill(case.before[-1], nothing, again, at)
        shutil.rmtree(folder)
        shutil.copytree(again, folder)


def kill(words, before, folder, at=None):
    """Run a command in a copy of what it finds, killed at this change; returns the changes."""
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir(parents=True)
    if before.exists():
        shutil.copytree(before, folder)
    return killed(lambda: command(words, folder), folder, at)


def in_a_copy(words, folder):
    """Outcome of a command in a copy of a folder, and what it leaves there."""
    copy = folder.parent / "copy" / folder.name
    shutil.copytree(folder, copy) if folder.exists() else copy.parent.mkdir()
    outcome, left = command(words, copy), contents(copy)
    shutil.rmtree(copy.parent)
    return outcome, left


def check_report(folder):
    """A page can be made of what a kill left, or it is said why not, and nothing is touched."""
    outcome, left = in_a_copy(REPORT, folder)
    assert outcome == (0, "") or (refused(outcome) and left == contents(folder))


def check_overwritten(case, folder, old, new):
    """What was to be overwritten is the old run or the new one, and its own command brings that to its end."""
    endings = []
    for words, whole in ((case.before[0], old), (case.words.removesuffix(OVERWRITE), new)):
        outcome, left = in_a_copy(words, folder)
        endings.append(outcome[0])
        assert refused(outcome) or left["summary.json"] == whole["summary.json"]
        assert refused(outcome) or all(left[name] == whole[name] for name in left if not name.endswith("/"))
    assert sorted(endings) == [0, 2]


MANY = [pytest.param(name, None, marks=pytest.mark.exhaustive, id=f"{name}, everywhere") for name in CASES]
FEW = [pytest.param(name, c.few, marks=pytest.mark.slow, id=f"{name}, a few") for name, c in CASES.items() if c.few]
QUICK = [pytest.param(name, case.quick, id=name) for name, case in CASES.items() if case.quick]


@pytest.mark.parametrize(("name", "kills"), QUICK + FEW + MANY)
def test_a_command_that_was_killed_ends_as_if_it_had_not_been(name, kills, tmp_path):
    case, before, folder = CASES[name], tmp_path / "before/run", tmp_path / "at/run"
    start(case, before)
    outcome, whole = in_a_copy(case.words, before)
    changes, old = kill(case.words, before, folder), contents(before)
    assert outcome == (0, "") and contents(folder) == whole and len(changes) >= case.least
    kills = kills or len(changes)
    for at in {round(len(changes) * (share + 0.5) / kills + 0.5) for share in range(kills)}:
        kill(case.words, before, folder, at)
        if folder.exists():
            check_report(folder)
        if OVERWRITE in case.words:
            check_overwritten(case, folder, old, whole)
        assert command(case.words, folder) == (0, ""), changes[at - 1]
        assert contents(folder) == whole, changes[at - 1]
