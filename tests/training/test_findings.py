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
        "the stop: epoch 2 of 3 (average around the stop, given labels only); held-out accuracy then falls by more "
        "than chance",
        "test accuracy: 80.0% at the stop, 60.0% at the end, 75.0% in the best epoch (2, which only test labels know)",
        "suspects at the stop (a negative margin): 90.0% of the wrong labels are among them, 80.0% of them are wrong",
        "wrong labels memorised at the end: 25.0%",
    ]


def test_of_several_seeds_their_means():
    seeds = [
        point(rule, at + seed, test + seed / 10, seed, falls=bool(seed), selection_recall=0.5, selection_precision=0.5)
        for seed in (0, 1)
        for rule, at, test in (("held_out", 1, 0.5), ("last", 2, 0.3))
    ]
    several, stop, accuracy, suspects = told(*seeds)
    assert several == "means of 2 seeds:" and stop.startswith(
        "where to stop: epoch 2 of 2 (held-out stop, best held-out "
    )
    assert stop.endswith("; held-out accuracy then falls by more than chance in 1 of 2 seeds")
    assert accuracy.startswith("test accuracy: 55.0% at the stop, 35.0% at the end, ") and "50.0%" in suspects


def test_after_the_last_epoch_nothing_falls():
    stop, _ = told(point("held_out", 3, 0.6, falls=False), point("last", 3, 0.6))
    assert stop == (
        "where to stop: epoch 3 of 3 (held-out stop, best held-out accuracy, given labels only); nothing comes after it"
    )


def test_what_is_not_known_is_not_said():
    assert told() == []  # no record
    stop, accuracy = told(point("oracle", None), point("last", 3, 0.6))  # no label is wrong, and nothing is held out
    assert stop == "the stop: no rule stops before the end (epoch 3)"
    assert accuracy == "test accuracy: 60.0% at the end, 75.0% in the best epoch (2, which only test labels know)"
    stop, accuracy = told(point("held_out", 2, None, falls=False), point("last", 3, None), tests=(np.nan,) * 3)
    assert stop.startswith("where to stop: epoch 2 of 3 (held-out stop, ") and stop.endswith(" by no more than chance")
    assert accuracy == "test accuracy: no test image, so what a record is worth at the stop is not known"
    *_, suspects, memorised = told(point("last", 3, selection_recall=0.0, train_accuracy_noisy=1.0))
    assert suspects == "suspects at the end (a negative margin): none" and memorised.endswith("at the end: 100.0%")
