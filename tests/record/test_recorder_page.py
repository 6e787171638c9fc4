"""docs/recorder.md: its loop runs, its other examples are Python, and its table of memory is true."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from labelnoise.record.history import BYTES
from labelnoise.record.recorder import Recorder

PAGE = (Path(__file__).parents[2] / "docs/recorder.md").read_text()
FIRST, *OTHERS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_loop_runs(capsys):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = {}
        exec(compile(FIRST, "recorder.md", "exec"), names)
    shape, stop = capsys.readouterr().out.rsplit(maxsplit=1)
    assert shape == "(500,)" and int(stop) > 0 and names["recorder"].sums.seen.tolist() == [20] * 500


def test_the_example_of_two_inputs_runs(capsys):
    (example,) = (text for text in OTHERS if "class TwoInputs" in text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = {}
        exec(compile(example, "recorder.md", "exec"), names)
    assert float(capsys.readouterr().out) < 1e-5  # both ways of calling say the same
    assert np.isfinite(names["monitor"].recorder.margin[0]).all()


def test_the_other_examples_are_python_and_name_what_there_is():
    assert len(OTHERS) == 7
    for example in OTHERS:
        compile(example, "recorder.md", "exec")
        for room, names in re.findall(r"from labelnoise\.(adapters\.\w+) import (.*)", example):
            source = (Path(__file__).parents[2] / f"src/labelnoise/{room.replace('.', '/')}.py").read_text()
            assert all(re.search(rf"^(def|class) {name}\b", source, re.MULTILINE) for name in names.split(", "))


def bytes_a_sample(n_classes=1_000, held_out=True, epochs=30, best=10):
    recorder = Recorder(1_000, n_classes, held_out=np.arange(1_000) < 100 if held_out else None, history=False)
    for epoch in range(epochs):
        recorder.update([0], np.eye(1, n_classes), [0])
        recorder.end_epoch(3.0 + abs(epoch - best) if held_out else None)
    return recorder.bytes_a_sample


@pytest.mark.parametrize(
    ("row", "options", "more"),
    [
        ("without history, in an open epoch, whatever the number of epochs | {}", {}, 0),
        ("the same without held-out samples | {}", {"held_out": False}, 0),
        ("more than 255 epochs | up to {} more", {"epochs": 600, "best": 290}, 38),
        ("more than 32,768 classes | {} more", {"n_classes": 32_769, "epochs": 25}, 38),
    ],
)
def test_the_table_of_memory(row, options, more):
    assert f"| {row.format(int(bytes_a_sample(**options)) - more)} |" in PAGE


def test_the_history_takes_what_the_page_says():
    assert f"| history, in memory or on the disk | {BYTES} an epoch |" in PAGE
