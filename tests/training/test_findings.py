"""What `labelnoise train` says in the end, of a stopped run, of several seeds, and where something is not known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from labelnoise.training.findings import describe_training


def point(rule, at, test=0.5, seed=0, **more):
    values = {"selection_recall": None, "selection_precision": None, "train_accuracy_noisy": None, **more}
    return {"rule": rule, "seed": seed, "at": at, "reason": "", "test_accuracy": test, **values}


def told(*points, tests=(0.5, 0.75, 0.6)):
    history = pd.DataFrame({"epoch": np.arange(1, len(tests) + 1), "test_accuracy": np.array(tests, float)})
    return describe_training(SimpleNamespace(summary={"stops": list(points)}, history=history))


def test_the_average_of_a_stopped_run_is_its_stop():
    found = {"selection_recall": 0.9, "selection_precision": 0.8}
    lines = told(
        point("oracle", 1), point("held_out", 3), point("rule", 2, 0.75, falls=True),
        point("averaged", 2, 0.8, falls=True, **found), point("last", 3, 0.6, train_accuracy_noisy=0.25),
    )  # fmt: skip
    assert lines == [
        "test accuracy 80.0% at the stop (epoch 2 of 3: average around the stop, given labels only), 60.0% at the end, "
        "75.0% in the best epoch (2, which only test labels know); after the stop held-out accuracy falls by more than "
        "chance",
        "of the wrong labels a negative margin finds 90.0% at the stop (80.0% of these suspects are wrong), and 25.0% "
        "are memorised at the end",
    ]


def test_of_several_seeds_their_means():
    seeds = [
        point(rule, at + seed, test + seed / 10, seed, falls=bool(seed), selection_recall=0.5, selection_precision=0.5)
        for seed in (0, 1)
        for rule, at, test in (("held_out", 1, 0.5), ("last", 2, 0.3))
    ]
    first, second = told(*seeds)
    assert first.startswith("means of 2 seeds: test accuracy 55.0% at the stop (epoch 2 of 2: held-out stop, ")
    assert "35.0% at the end" in first and first.endswith("by more than chance, in 1 of 2") and "50.0%" in second


def test_what_is_not_known_is_not_said():
    assert told() == []  # no record
    (line,) = told(point("oracle", None), point("last", 3, 0.6))  # no label is wrong, and nothing is held out
    assert line == (
        "test accuracy 60.0% at the end (epoch 3; no rule stops before), 75.0% in the best epoch (2, which only test "
        "labels know)"
    )
    (line,) = told(point("held_out", 2, None, falls=False), point("last", 3, None), tests=(np.nan,) * 3)
    assert line.startswith("no test image; ") and line.endswith(
        "after the stop held-out accuracy falls by no more than chance"
    )
    assert "held-out stop" in line
