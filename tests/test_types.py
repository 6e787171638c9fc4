"""What a user's type checker sees: a type for every public name, and errors in the right lines of a small program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import labelnoise as ln

CACHE = Path(__file__).parents[1] / ".mypy_cache/user"
"""Kept between runs: the first one reads the stubs of torch and pandas."""

PROGRAM = """
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
import labelnoise as ln

problem = ln.SignalNoise(n=20, d=300, m=2, label_noise=ln.ClassConditional(0.1, 0.2))
draw = problem.sample(seed=0)
run = ln.simulate(draw, lr=0.1, steps=3, record=("output",))
t1: int | None = run.stages.t1
status: str = run.status
runs = ln.simulate(ln.stack([draw, draw]), steps=3)
first: ln.Trajectory = runs[0]
statuses: tuple[str, ...] = runs.status
constants: list[float] = [check.constant for check in ln.theory.checks(runs)]
data = ln.load_data("digits", classes=(3, "8"), label_noise=ln.Symmetric(0.2))
log = ln.fit(ln.build_model("small-cnn", n_classes=2, in_channels=1), data, ln.TrainConfig(epochs=1))
frame = log.to_frame()
seconds = frame["seconds"]
recorder = ln.Recorder(3, 2)
recorder.update(np.arange(3), np.zeros((3, 2)), np.zeros(3, dtype=int))
recorder.update_proba(np.arange(3), np.full((3, 2), 0.5), np.zeros(3, dtype=int))
margins: np.ndarray = np.asarray(recorder.margin)
epochs, n = recorder.margin.shape
sums: ln.RunningSums = ln.Recorder(3, 2, held_out=np.zeros(3, bool), history=False, budget=2**20).sums
seen: np.ndarray = sums.seen
recorder.merge(recorder)
outcome = ln.run_experiment(ln.SimulateRun(problem, seeds=(0,)), "runs/a")
suspects: pd.DataFrame = ln.suspects([recorder], held_out=[np.zeros(3, bool)])
auditor = ln.LabelAuditor(LogisticRegression(), folds=2).fit(pd.DataFrame({"a": [1.0]}), pd.Series([0]))
ln.LabelAuditor(torch.nn.Linear(3, 2)).fit_predict(np.zeros((3, 2)), ["a", "b", "a"]).sum()
grid = ln.sweep({"grid": "d=100,200"}, workers=2)
share = grid["stage_one"].mean("seed")
report = ln.write_report(outcome.path).read_text()
ln.Matrix([[0.9, 0.1], [0, 1]], exact=True)
ln.Matrix(((0.9, 0.1), (0.2, 0.8)))
ln.Matrix(np.eye(2))
ln.Matrix(torch.eye(2))
transition: tuple[tuple[float, ...], ...] = ln.Matrix(np.eye(2)).rows
ln.simulate(3, nonsense=True)  # wrong
ln.simulate(draw, lr="0.1")  # wrong
ln.simulate(draw, engine="spam")  # wrong
statuses_of_one: tuple[str, ...] = run.status  # wrong
len(run)  # wrong
recorder.update(np.arange(3), "logits", np.zeros(3, dtype=int))  # wrong
recorder.merge(3)  # wrong
ln.Recorder(3, 2, budget="1 GB")  # wrong
ln.HeldOut(n=100)("accuracies").chosen.nothing  # wrong
ln.TrainConfig(optimizer="sdg")  # wrong
ln.Symmetric("0.2")  # wrong
ln.Matrix("matrix.csv")  # wrong
ln.Matrix([0.5, 0.5])  # wrong
ln.Matrix(np.eye(2)).rows[0] = 1  # wrong
ln.sweep(3)  # wrong
ln.SweepRun(design="spam")  # wrong
ln.LabelAuditor("boosting")  # wrong
ln.suspects(np.zeros(3))  # wrong
ln.no_such_name  # wrong
ln.theory.no_such_name  # wrong
ln.run_experiment(ln.SignalNoise())  # wrong
"""


def mypy(folder, program):
    (folder / "user.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(CACHE), "--no-error-summary", "user.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    names = [*ln.__all__, *(f"theory.{name}" for name in ln.theory.__all__)]
    reveal = "\n".join(f"reveal_type(ln.{name})" for name in names)
    return mypy(tmp_path_factory.mktemp("user"), f"{PROGRAM}\n{reveal}\n")


def test_a_program_fails_in_the_lines_that_are_wrong_and_in_no_other(output):
    wrong = {at for at, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")}
    assert len(wrong) == 21
    assert {int(at) for at in re.findall(r"^user\.py:(\d+): error", output, flags=re.MULTILINE)} == wrong, output


def test_every_public_name_has_a_type(output):
    revealed = re.findall(r'note: Revealed type is "(.*)"', output)
    assert len(revealed) == len(ln.__all__) + len(ln.theory.__all__) > 40
    assert [text for text in revealed if text == "Any" or re.search(r"(: |-> )Any\b", text)] == []
