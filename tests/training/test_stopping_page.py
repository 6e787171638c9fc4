"""The examples of docs/stopping.md: they run, and do what the page says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/stopping.md").read_text()
LOOP, DIGITS, OWN = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

pytestmark = pytest.mark.usefixtures("one_thread")


def execute(example):
    names = {}
    exec(compile(example, "docs/stopping.md", "exec"), names)
    return names


def test_the_loop_of_ones_own(capsys):
    assert len(re.findall(r"# \+", LOOP)) == 5
    names = execute(LOOP)
    records, stop = names["records"], names["stop"]
    assert len(records) == 9 and stop.chosen == records[2] and stop.stopped == names["epoch"] < 199
    assert "a fall of more than" in capsys.readouterr().out


def test_fit_returns_the_average(capsys):
    names = execute(DIGITS)
    log = names["log"]
    assert capsys.readouterr().out.splitlines()[0] == f"{log.stops.rule.epoch} {log.weights_epochs}"
    assert len(log.weights_epochs) > 2 and log.returned["test_accuracy"] > 0.9


def test_data_of_ones_own(capsys):
    names = execute(OWN)
    log, said = names["log"], capsys.readouterr().out.splitlines()
    assert (log.held_out == names["mine"]).all() and len(said) == len(log.table) + 1
    assert said[-1].startswith(f"EpochStop(epoch={log.stops.rule.epoch}")
