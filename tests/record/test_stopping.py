"""The held-out verdict: the same samples at the stop and at the end, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from labelnoise.errors import InputError
from labelnoise.record.stopping import HeldOut, paired_fall
from labelnoise.record.stopping_points import RULES, describe_points, held_out_point, last_point

LOST, WON, KEPT, NEVER = (1, 1, 0), (1, 0, 1), (1, 1, 1), (0, 0, 0)
"""One sample at three records: fitted until the stop at record 1, at the end only, at both, never."""


def samples(**counts):
    """Records (3, n) of so many samples of each sort."""
    sorts = {"lost": LOST, "won": WON, "kept": KEPT, "never": NEVER}
    return np.array([sorts[name] for name, count in counts.items() for _ in range(count)], dtype=bool).T


def decide(fitted, pair=True, **options):
    rule = HeldOut(n=fitted.shape[1], smooth=1, **options)
    return rule(fitted.mean(axis=1), [0.9, 0.1, 0.5], fitted if pair else None)


def test_the_same_samples_show_a_fall_that_two_accuracies_do_not():
    """100 samples, 0.79 to 0.71: 0.08 is within 2 sqrt(0.79 0.21 / 100) = 0.081, but 9 are lost and 1 is won."""
    fitted = samples(lost=9, won=1, kept=70, never=20)
    fitted[0] = False
    alone, paired = decide(fitted, pair=False), decide(fitted)
    assert alone.chosen == paired.chosen == 1
    assert not alone.falls and not alone.fall.paired
    assert paired.falls and paired.fall.paired
    # d is 1 for 9, -1 for 1 and 0 for 90 samples: mean 0.08, variance 0.1 - 0.0064
    assert paired.fall.error == pytest.approx(np.sqrt(0.0936 / 100))
    assert paired.reason == (
        "held-out accuracy 0.790, at the end 0.710: a fall of more than two paired standard errors (0.061) of "
        "100 samples"
    )


def test_the_same_accuracies_of_more_restless_samples_show_no_fall():
    """Again 0.08 less, but 29 are lost and 21 are won: 2 sqrt((0.5 - 0.0064) / 100) = 0.141."""
    fitted = samples(lost=29, won=21, kept=50)
    fitted[0] = False
    stop = decide(fitted)
    assert stop.chosen == 1 and not stop.falls
    assert "within two paired standard errors (0.141) of 100 samples, no reason to stop is seen" in stop.reason


@pytest.mark.parametrize(("lost", "falls"), [(0, False), (1, False), (3, False), (5, True), (10, True)])
def test_five_samples_that_are_only_lost_are_a_fall(lost, falls):
    """k of h lost: k > 2 sqrt(k (1 - k/h)) from k = 5 on, whatever h is."""
    both = samples(lost=lost, kept=1_000 - lost)
    fall = paired_fall(both[1], both[2])
    assert (fall.high, fall.low, fall.n) == (1, 1 - lost / 1_000, 1_000)
    assert fall.seen == falls and fall.error >= 1 / 1_000


@pytest.mark.parametrize("h", [1, 2])
def test_one_or_two_samples_prove_nothing(h):
    assert not paired_fall(np.ones(h, bool), np.zeros(h, bool)).seen


def test_a_gain_is_no_fall():
    assert not paired_fall(np.arange(100) < 50, np.arange(100) < 90).seen


def test_the_end_is_the_last_record_whose_accuracy_is_known():
    fitted = np.concatenate([samples(lost=9, won=1, kept=70, never=20), np.zeros((1, 100), bool)])
    accuracy = [0.1, 0.79, 0.71, np.nan]
    assert HeldOut(n=100, smooth=1)(accuracy, fitted=fitted).fall == paired_fall(fitted[1], fitted[2])


def test_samples_move_no_stop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        fitted = rng.random((60, 30)) < 0.7
        rule, accuracy = HeldOut(n=30, patience=10), fitted.mean(axis=1)
        alone, paired = rule(accuracy), rule(accuracy, fitted=fitted)
        assert (alone.chosen, alone.stopped) == (paired.chosen, paired.stopped)
        assert paired.fall.high == accuracy[paired.chosen] and paired.fall.low == accuracy[-1]


@pytest.mark.parametrize(
    ("fitted", "words"),
    [
        (np.ones((3, 4), bool), r"must have a row a record and a column a sample \(2, 4\), got \(3, 4\); use one"),
        (np.ones((2, 5), bool), r"must have .* a column a sample \(2, 4\), got \(2, 5\)"),
        (np.ones(2, bool), r"must have .* a column a sample \(2, 4\), got \(2,\)"),
        (np.full((2, 4), 0.5), "must be a mask of truth values, got .*; give margin > 0 of the held-out samples"),
        ("yes", "must be a mask of truth values"),
    ],
)
def test_what_are_not_the_samples_of_the_run_is_refused(fitted, words):
    with pytest.raises(InputError, match=f"`fitted` {words}"):
        HeldOut(n=4)([0.5, 0.75], fitted=fitted)


def flat(rng, stay):
    """200 records of 200 samples at accuracy 0.8 without a trend; each stays as it was with this probability."""
    fitted = rng.random((200, 200)) < 0.8
    moved = rng.random((200, 200)) > stay
    at = np.maximum.accumulate(np.where(moved, np.arange(200)[:, None], 0), axis=0)
    return np.take_along_axis(fitted, at, axis=0)


@pytest.mark.parametrize(
    ("stay", "by_loss", "paired", "alone"),
    [
        (0.98, False, 0.08, 0.19),
        pytest.param(0.98, True, 0.06, 0.19, marks=pytest.mark.slow),
        pytest.param(0.0, False, 0.21, 0.02, marks=pytest.mark.slow),
        (0.0, True, 0.06, 0.02),
    ],
)
def test_how_often_a_fall_is_seen_where_there_is_none(stay, by_loss, paired, alone):
    """The rates of the docstring. 1,000 runs, fixed seed: a rate of 0.08 errs by 0.009, one of 0.21 by 0.013."""
    rng, rule = np.random.default_rng(0), HeldOut(n=200)
    seen = []
    for _ in range(1_000):
        fitted = flat(rng, stay)
        accuracy, loss = fitted.mean(axis=1), rng.random(200) if by_loss else None
        seen.append([rule(accuracy, loss, fitted).falls, rule(accuracy, loss).falls])
    assert np.mean(seen, axis=0) == pytest.approx([paired, alone], abs=0.02)


def test_the_row_of_a_summary_holds_the_fall_and_its_error():
    fitted = samples(lost=9, won=1, kept=70, never=20)
    fitted[0] = False
    table = pd.DataFrame({"epoch": [2, 4, 6], "test_accuracy": [0.5, 0.9, 0.8]})
    points = [held_out_point(decide(fitted), table, "epoch"), last_point(table, "epoch")]
    row, last = describe_points(points, 3, ("test_accuracy",), gains={"test_accuracy": 1})
    assert (row["rule"], row["at"], row["falls"], row["paired"]) == ("held_out", 4, True, True)
    assert [row[name] for name in ("fall", "fall_error", "gain_test_accuracy")] == pytest.approx(
        [0.08, np.sqrt(0.0936 / 100), 0.1]
    )
    assert {row["rule"], last["rule"]} < set(RULES) and "fall" not in last
