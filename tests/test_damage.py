"""Every file of a run, and every file that a run reads, damaged in every way, under every command that reads it.

The command refuses it in one sentence, or ends with the numbers that it would have given without the damage.
"""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers import contents, killed
from labelnoise.images.data import load_data
from labelnoise.runs.files import DIGEST, sealed_json
from tiny import AUDIT, EXPLAIN, REPORT, REPRODUCE, SIMULATE, SWEEP, TABLE, command, refused

SETTINGS = """
data = "in/images.npz"
noise = "file:in/labels.npz:y_given"
[training]
lr = 0.05
"""
TRAIN = "train --config in/train.toml --model mlp --epochs 3 --checkpoint-every 1 --device cpu --out {} --seed"
FOLDERS = {
    "a simulation": ([f"{SIMULATE} 0 1", REPORT], [f"{SIMULATE} 0 1", REPORT]),
    "an explained training": ([f"{TRAIN} 0", EXPLAIN], [f"{TRAIN} 0", EXPLAIN, REPORT]),
    "a killed training": ([f"{TRAIN} 0"], [f"{TRAIN} 0", REPORT]),
    "the files of a training": ([], [f"{TRAIN} 0"]),
    "a killed sweep": ([f"{SWEEP} 2"], [f"{SWEEP} 2"]),
    "a sweep": ([f"{SWEEP} 2"], [f"{SWEEP} 2", REPORT]),
    "an audit": ([f"{AUDIT} 0"], [f"{AUDIT} 0", REPORT]),
    "a killed audit": ([f"{AUDIT} 0"], [f"{AUDIT} 0"]),
    "the main job": ([REPRODUCE], [REPRODUCE, REPORT]),
}
"""What makes each folder, and the commands that read it."""
OTHERS = {
    f"{SIMULATE} 0 1": f"{SIMULATE} 2 3",
    f"{TRAIN} 0": f"{TRAIN} 1",
    f"{SWEEP} 2": f"{SWEEP} 3",
    f"{AUDIT} 0": f"{AUDIT} 1",
    REPRODUCE: f"{REPRODUCE} --quick",
}
"""What makes another run of the same kind."""
CUT = {"a killed training": "checkpoints/.epoch-0003.pt.tmp", "a killed sweep": "chunks/.000001.npz.tmp"}
"""The file in which a kill left a folder."""
RESULTS = ("sweep.nc", "config.json", "summary.json", "history.csv", "samples.npz")


def make(folder, commands, cut):
    """Fill a folder with files that a run reads, in `in`, and a run of these commands, in `run`."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    data = load_data("digits", classes=(3, 8), per_class=12)
    parts = {"x_train": data.x_train, "y_train": data.y_true, "x_test": data.x_test[:20], "y_test": data.y_test[:20]}
    Path("in").mkdir()
    np.savez("in/images.npz", **parts)
    np.savez("in/labels.npz", y_given=(data.y_true + (np.arange(24) % 4 == 0)) % 2, y_true=data.y_true)
    Path("in/train.toml").write_text(SETTINGS)
    shutil.copy(TABLE, "in/table.csv")
    for words in commands:
        assert command(words, "run") == (0, "")
    if cut:
        at = killed(lambda: command(commands[0], "cut"), folder).index(f"empty cut/{cut}")
        shutil.rmtree("run"), shutil.rmtree("cut")
        killed(lambda: command(commands[0], "run"), folder, at)


def damages(name, whole, other):
    """Names and contents of what may have become of a file; None where it is gone, ... where a folder is there."""
    chance = random.Random(name)
    yield from {"gone": None, "a folder": ..., "half": whole[: len(whole) // 2]}.items()
    if Path(name).suffix in (".html", ".png", ".svg"):
        return  # nobody reads them
    yield from {"empty": b"", "cut": whole[:-1], "longer": whole + b"\n1,2"}.items()
    if other not in (None, whole):
        yield "that of another run", other
    for at in chance.sample(range(len(whole)), min(8, len(whole))):
        yield f"bit {at}", whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
    if name.endswith(".json"):
        yield from {repr(value): json.dumps(value).encode() for value in ([], 3, "x", None, {})}.items()
        table = json.loads(whole)
        seal = table.pop(DIGEST)
        for key in table:
            rest = {name: value for name, value in table.items() if name != key}
            yield f"no {key}", json.dumps({**rest, DIGEST: seal}).encode()
            yield f"no {key}, sealed", sealed_json(rest)
            others = [value for value in ([3], 3, "x", None, {"a": 1}) if type(value) is not type(table[key])]
            for value in chance.sample(others, 2):
                yield f"{key} = {value!r}, sealed", sealed_json({**table, key: value})


def attempt(words, folder, name="", content=b""):
    """Outcome of a command in a copy of a folder, one of whose files is damaged, and what is there then."""
    case = folder.parent / "case"
    shutil.rmtree(case, ignore_errors=True)
    shutil.copytree(folder, case)
    os.chdir(case)
    if name:
        Path(name).unlink()
    if content is ...:
        Path(name).mkdir()
    elif name and content is not None:
        Path(name).write_bytes(content)
    try:
        outcome = command(words, "run")
    except Exception as error:  # a person would see a traceback
        outcome = repr(error), ""
    return outcome, contents(case)


def fault(words, name, what, outcome, left, expected):
    """What is wrong with a command on a damaged folder; empty if nothing is."""
    if refused(outcome):
        return ""
    if outcome != (0, ""):
        return outcome
    if what in ("gone", "a folder") and ("attribution." in name or "epoch-" in name) or name.endswith(".toml"):
        return ""  # weights and attributions may be deleted, and other settings are another run
    wrong = {path for path in left | expected if left.get(path) != expected.get(path)}
    if words == REPORT or Path(name).name not in RESULTS:
        wrong -= {name, f"{name}/"}
    if name.startswith("in/"):
        wrong -= {"run/config.json", "run/checksums.json"}  # they hold the checksum of what was read
    return f"other numbers in {sorted(wrong)}" if wrong else ""


LONG = ("an explained training", "the main job")
FEW = [
    pytest.param(
        name, 10 if name == "a simulation" else 6, marks=pytest.mark.slow if name in LONG else (), id=f"{name}, some"
    )
    for name in FOLDERS
    if "sweep" not in name
]
ALL = [pytest.param(name, None, marks=pytest.mark.exhaustive, id=f"{name}, every damage") for name in FOLDERS]


@pytest.mark.parametrize(("name", "few"), FEW + ALL)
def test_a_damaged_file_is_refused_or_does_no_harm(name, few, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back
    made_by, read_by = FOLDERS[name]
    for folder, commands in (("whole", made_by), ("other", [OTHERS[words] for words in made_by[:1]])):
        make(tmp_path / folder, commands, CUT.get(name))
    whole, other = contents(tmp_path / "whole"), contents(tmp_path / "other")
    cases = [
        (words, file, *damage)
        for words in read_by
        for file in whole
        for damage in damages(file, whole[file], other.get(file))
    ]
    assert len(cases) > 40
    chosen = random.Random(name).sample(cases, few) if few else cases
    expected = {words: attempt(words, tmp_path / "whole")[1] for words in {words for words, *_ in chosen}}
    faults = []
    for words, file, what, content in chosen:
        outcome, left = attempt(words, tmp_path / "whole", file, content)
        if found := fault(words, file, what, outcome, left, expected[words]):
            faults.append((words.split()[0], file, what, found))
    assert not faults, f"{len(faults)} of {len(cases)}: {faults[:9]}"
