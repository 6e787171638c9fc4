"""Rubbish handed to every public callable: it is refused by `InputError`, or accepted, and nothing else is raised.

The callables are those of the package, by their kind: functions, and classes that check what they are given. Results,
which only the package makes, are left out.
"""

import inspect
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import labelnoise as ln

RESULTS = {
    "Attribution", "Check", "Data", "Draw", "EpochProgress", "EpochStop", "InputError", "NoisyLabels", "Outcome", "Run",
    "RunningSums", "Selection", "Stages", "Stop", "StopRule", "Stops", "TrainLog", "Trajectory", "TrajectoryBatch",
}  # fmt: skip
"""What the package returns."""
METHODS = {
    "Draw.from_vectors": ln.Draw.from_vectors,
    "SignalNoise.sample": ln.SignalNoise(n=4, d=9, m=1).sample,
    "Recorder.update": ln.Recorder(4, 2).update,
    "Recorder.update_proba": ln.Recorder(4, 2).update_proba,
    "Recorder.merge": ln.Recorder(4, 2).merge,
    "Recorder.load_state_dict": ln.Recorder(4, 2).load_state_dict,
    "Recorder.save": ln.Recorder(4, 2).save,
    "Recorder.read": ln.Recorder.read,
    "HeldOut.__call__": ln.HeldOut(10),
    "LabelAuditor.fit": ln.LabelAuditor().fit,
    "Watch.observe": ln.Watch(ln.HeldOutLoss() | ln.LabelWave()).observe,
    "Watch.load_state_dict": ln.Watch(ln.HeldOutLoss()).load_state_dict,
    "KeptWeights.load_state_dict": ln.KeptWeights(torch.nn.Linear(2, 2), ln.Watch(ln.LabelWave())).load_state_dict,
    "KeptWeights.load_average": ln.KeptWeights(torch.nn.Linear(2, 2), ln.Watch(ln.LabelWave())).load_average,
    "Monitor.load_state_dict": ln.Monitor(
        torch.nn.Linear(2, 2),
        ln.Recorder(4, 2),
        torch.utils.data.TensorDataset(torch.zeros(4, 2), torch.zeros(4).long()),
        rule=None,
    ).load_state_dict,
    "Trajectory.read": ln.Trajectory.read,
}
PUBLIC = {name: getattr(ln, name) for name in ln.__all__ if callable(getattr(ln, name)) and name not in RESULTS}
THEORY = {f"theory.{name}": getattr(ln.theory, name) for name in ln.theory.__all__ if name not in RESULTS}
CALLABLES = {**PUBLIC, **THEORY, **METHODS}
CALLS = 40
"""Calls of each: more than 1,000 in all."""


class Odd:
    """Something that nobody expects."""

    def __repr__(self):
        return "something odd"


RUBBISH = [
    None, True, 0, -1, 3, 10**30, 2.5, float("nan"), float("inf"), 1j, "", "x", "no such thing", b"bytes", (), [],
    [1, "a"], [[1, 2], [3]], {}, {"a": 1}, {1, 2}, Odd(), Odd, len, Path("nowhere/at/all"), np.zeros(0),
    np.zeros((2, 2)),
    np.array([1.0, np.nan]), np.array(["a"]), np.array([{}], dtype=object), np.int64(-3), pd.Series([1, 2]),
    pd.DataFrame({"a": [1]}), torch.zeros(3), torch.zeros(2, 2, requires_grad=True), torch.tensor([1 + 1j]), range(3),
    slice(None), np.random.default_rng(0), ln.Symmetric(0.2), ln.SignalNoise(n=2, d=3, m=1),
]  # fmt: skip


def rubbish_calls(call, rng):
    """Arguments for each parameter that must be given, and now and then for the others."""
    parameters = [
        p for p in inspect.signature(call).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    for _ in range(CALLS):
        given = {
            p.name: RUBBISH[rng.integers(len(RUBBISH))]
            for p in parameters
            if p.default is p.empty or rng.random() < 0.25
        }
        first = [given.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in given]
        yield first, given


def test_every_public_callable_is_covered():
    assert len(CALLABLES) * CALLS >= 1_000
    assert {"simulate", "fit", "load_data", "Recorder", "TrainConfig", "theory.checks"} <= set(CALLABLES)


@pytest.mark.parametrize("name", CALLABLES)
def test_rubbish_is_refused_in_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(sum(map(ord, name)))
    wrong = []
    for positional, given in rubbish_calls(CALLABLES[name], rng):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                CALLABLES[name](*positional, **given)
        except ln.InputError as refusal:
            if "\n" in str(refusal).strip():
                wrong.append(f"{given!r}: more than one line: {refusal}")
        except Exception as error:
            wrong.append(f"{given!r}: {type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} of {CALLS} calls:\n" + "\n".join(wrong[:6])
