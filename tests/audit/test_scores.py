"""Each score against numbers written out by hand."""

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.audit.scores import SCORES, around
from made_records import average_precision, two_stages

MARGIN = np.array([[1.0, -2.0], [3.0, -1.0], [-1.0, 4.0], [2.0, np.nan]])
LOSS = np.array([[0.5, 2.0], [0.1, 1.5], [1.0, 0.01], [0.2, np.nan]])
PREDICTION = np.array([[0, 0], [0, 0], [1, 1], [0, -1]])
GIVEN = np.array([0, 1])


def test_scores_by_hand():
    mean = [np.exp(-LOSS[:, 0]).mean(), np.exp(-LOSS[:3, 1]).mean()]
    moving = [0.9 * (0.9 * (0.9 * 0.5 + 0.1 * 0.1) + 0.1 * 1.0) + 0.1 * 0.2, 0.9 * (0.9 * 2.0 + 0.1 * 1.5) + 0.1 * 0.01]
    expected = {
        "margin-to-twice": [-1.25, -1 / 3],
        "given-probability": [1 - mean[0], 1 - mean[1]],
        "mean-margin": [-2.0, 1.5],
        "margin-at-stop": [-1.25, -1 / 3],
        "share-rejected": [0.25, 2 / 3],
        "aum": [-1.25, -1 / 3],
        "forgetting": [1.0, 0.0],
        "moving-loss": moving,
        "last-loss": [0.2, 0.01],
    }
    assert set(expected) == set(SCORES)
    for name, score in SCORES.items():
        assert_close(score(MARGIN, LOSS, PREDICTION, GIVEN, 2), np.array(expected[name]), rtol=1e-6)


def test_the_stop_is_what_bounds_them():
    one = SCORES["given-probability"](MARGIN, LOSS, PREDICTION, GIVEN, 1)
    assert_close(one, 1 - np.exp(-LOSS[:2]).mean(axis=0))
    assert_close(SCORES["mean-margin"](MARGIN, LOSS, PREDICTION, GIVEN, 1), -MARGIN[0])
    assert_close(SCORES["margin-to-twice"](MARGIN, LOSS, PREDICTION, GIVEN, 1), -MARGIN[:2].mean(axis=0))


def test_never_fitted_counts_as_most_forgotten():
    prediction = np.array([[1, 0, -1], [0, 1, -1], [1, 0, -1]])
    score = SCORES["forgetting"](prediction, prediction, prediction, np.array([2, 0, 0]), 1)
    assert score[0] == 3 and score[1] == 1 and np.isnan(score[2])


@pytest.mark.parametrize("name", SCORES)
def test_a_sample_that_was_never_seen_has_no_score(name):
    nothing = np.full((3, 2), np.nan)
    assert np.isnan(SCORES[name](nothing, nothing, np.full((3, 2), -1), GIVEN, 2)).all()


@pytest.mark.parametrize("name", [name for name in SCORES if name not in ("last-loss", "forgetting")])
def test_wrong_labels_score_higher(name):
    recorder, true, _ = two_stages(n=400)
    values = recorder.margin, recorder.loss, recorder.prediction, recorder.given, 10
    assert average_precision(SCORES[name](*values), recorder.given != true) > 0.75


def test_around_the_stop():
    assert [around(stop, 20) for stop in (1, 2, 10, 20)] == [slice(0, 3), slice(0, 4), slice(7, 12), slice(17, 20)]
