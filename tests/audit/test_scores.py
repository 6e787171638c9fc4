"""Each score against numbers written out by hand."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.audit.contradiction import fifths
from labelnoise.audit.judging import judge
from labelnoise.audit.memory import left_out_predictions
from labelnoise.audit.pooling import pool
from labelnoise.audit.recorded import RecordedTraining, around, read_training
from labelnoise.audit.scores import SCORES
from made_records import average_precision, two_stages

MARGIN = np.array([[1.0, -2.0], [3.0, -1.0], [-1.0, 4.0], [2.0, np.nan]])
LOSS = np.array([[0.5, 2.0], [0.1, 1.5], [1.0, 0.01], [0.2, np.nan]])
PREDICTION = np.array([[0, 0], [0, 0], [1, 1], [0, -1]])
GIVEN = np.array([0, 1])


def training(margin=MARGIN, loss=LOSS, prediction=PREDICTION, given=GIVEN, *, stop=2, held_out=None):
    """A record of two classes that nobody made by training."""
    mask = np.zeros(len(given), bool) if held_out is None else held_out
    return RecordedTraining(margin, loss, prediction, given, 2, mask, stop, True, "")


def test_scores_by_hand():
    mean = [np.exp(-LOSS[:, 0]).mean(), np.exp(-LOSS[:3, 1]).mean()]
    moving = [0.9 * (0.9 * (0.9 * 0.5 + 0.1 * 0.1) + 0.1 * 1.0) + 0.1 * 0.2, 0.9 * (0.9 * 2.0 + 0.1 * 1.5) + 0.1 * 0.01]
    expected = {
        "left-out-margin": [-1.25, -1 / 3],
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
        assert_close(score(training()), np.array(expected[name]), rtol=1e-6)


def test_the_stop_is_what_bounds_them():
    one = SCORES["given-probability"](training(stop=1))
    assert_close(one, 1 - np.exp(-LOSS[:2]).mean(axis=0))
    assert_close(SCORES["mean-margin"](training(stop=1)), -MARGIN[0])
    assert_close(SCORES["margin-to-twice"](training(stop=1)), -MARGIN[:2].mean(axis=0))


def test_never_fitted_counts_as_most_forgotten():
    prediction = np.array([[1, 0, -1], [0, 1, -1], [1, 0, -1]])
    score = SCORES["forgetting"](training(prediction=prediction, given=np.array([2, 0, 0])))
    assert score[0] == 3 and score[1] == 1 and np.isnan(score[2])


@pytest.mark.parametrize("name", SCORES)
def test_a_sample_that_was_never_seen_has_no_score(name):
    nothing = np.full((3, 2), np.nan)
    assert np.isnan(SCORES[name](training(nothing, nothing, np.full((3, 2), -1)))).all()


@pytest.mark.parametrize("name", [name for name in SCORES if name not in ("last-loss", "forgetting")])
def test_wrong_labels_score_higher(name):
    recorder, true, held_out = two_stages(n=400)
    score = SCORES[name](read_training(recorder, held_out, stop=10))
    assert average_precision(score, recorder.given != true) > 0.75


def memorising(n=10_000, epochs=12, memory=0.4, seed=0):
    """Two classes; a margin is what the others teach plus `memory` times the sum of the earlier 1 - p of the sample."""
    rng = np.random.default_rng(seed)
    wrong, held_out = rng.random(n) < 0.2, rng.random(n) < 0.1
    taught = np.where(wrong, -1.0, 1.0) + rng.standard_normal(n)
    margin, pulls = np.zeros((epochs, n)), np.zeros(n)
    for row in margin:
        row[:] = taught + memory * pulls
        pulls = np.where(held_out, 0, pulls + 1 / (1 + np.exp(row)))
    given = rng.integers(2, size=n)
    prediction = np.where(margin < 0, 1 - given, given)
    return training(margin, np.log1p(np.exp(-margin)), prediction, given, stop=6, held_out=held_out), taught, wrong


def memorised(record):
    """What is taken off the mean margin of each sample."""
    return SCORES["left-out-margin"](record) - SCORES["margin-to-twice"](record)


def test_what_was_memorised_is_taken_off():
    """All of it in one proportion k, missed by 3 standard errors of the means apart in 0.3% of seeds."""
    record, taught, wrong = memorising()
    score, plain = SCORES["left-out-margin"](record), SCORES["margin-to-twice"](record)
    trained = ~record.held_out
    memory, taken = (-plain - taught)[trained], (score - plain)[trained]
    k, error = (taken / memory).mean(), np.hypot(*(np.std(plain[m]) / m.sum() ** 0.5 for m in (trained, ~trained)))
    assert_close(taken, k * memory)
    assert abs(k - 1) < 3 * error / memory.mean() < 0.25
    ahead = plain[~trained].mean() - plain[trained].mean()
    assert taken.mean() == pytest.approx(ahead - error**2 / ahead, rel=1e-3)  # all but what chance explains
    assert average_precision(score, wrong) > average_precision(plain, wrong) + 0.02
    assert np.array_equal(score[record.held_out], plain[record.held_out])


def test_what_is_left_of_a_sample_that_was_left_out():
    """It is contradicted where it would have been rejected, and as sure as it would have been."""
    record, taught, _ = memorising(memory=1.0)
    view = left_out_predictions(record)
    assert np.array_equal(view.predicted, record.predicted(slice(0, 12))[0])
    assert (view.predicted == record.given).mean() > 0.95
    assert ((taught < 0) == view.contradicted).mean() > 0.9 and view.contradicted.mean() > 0.25
    firm = ~record.held_out & (np.abs(taught) > 1)
    assert np.abs(view.sure - 1 / (1 + np.exp(-np.abs(taught))))[firm].max() < 0.15
    assert_close(view.sure[record.held_out], 1 / (1 + np.exp(-np.abs(taught[record.held_out]))), rtol=1e-6)


def test_the_rate_counts_what_was_memorised_by_half():
    """A fifth is wrong; the network has memorised most of it, and would reject 30% of the samples left out."""
    record, taught, _ = memorising(memory=1.0)
    basis = pool([record])
    early, left_out = fifths(basis.early)[0], fifths(basis.left_out)[0]
    verdict = judge([record])
    assert early < 0.06 and 0.22 < left_out < (taught < 0).mean()
    assert early < verdict.rates.rate == fifths([*basis.early, *basis.left_out])[0] < left_out


def test_nothing_is_taken_off_where_nothing_is_seen_to_be_memorised():
    for seed in range(3):
        record, taught, _ = memorising(memory=0, seed=seed)
        ahead = taught[~record.held_out].mean() - taught[record.held_out].mean()
        assert abs(ahead) < 2.5 * taught.std() / record.held_out.sum() ** 0.5
        assert np.abs(SCORES["left-out-margin"](record) + taught).max() < 3 * max(ahead, 0) + 1e-9
    without = replace(memorising()[0], held_out=np.zeros(taught.size, bool))
    assert_close(SCORES["left-out-margin"](without), SCORES["margin-to-twice"](without))
    record = replace(record, margin=np.where(np.arange(taught.size) < 9, np.inf, record.margin))
    assert (SCORES["left-out-margin"](record)[:9] == -np.inf).all()


@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize("value, epochs", [(1e30, 5), (1e30, slice(None)), (-1e30, slice(None))])
def test_a_margin_beyond_all_others_leaves_the_memory_of_the_others(value, epochs, held_out):
    record, *_ = memorising()
    beyond = np.flatnonzero(record.held_out == held_out)[0]
    margin = record.margin.copy()
    margin[epochs, beyond] = value
    taken, as_before = (np.delete(memorised(one), beyond) for one in (replace(record, margin=margin), record))
    assert taken.sum() == pytest.approx(as_before.sum(), rel=0.2)


@pytest.mark.parametrize("one_is_held_out", [True, False])
def test_one_sample_has_no_standard_error_so_nothing_is_taken_off(one_is_held_out):
    record, *_ = memorising(n=100)
    part = record.held_out == one_is_held_out
    behind = record.margin[-1, part] * (1 if one_is_held_out else -1)
    lone = np.flatnonzero(part)[behind.argmin()]  # the trained are ahead
    record = replace(record, held_out=(np.arange(100) == lone) == one_is_held_out)
    assert_close(SCORES["left-out-margin"](record), SCORES["margin-to-twice"](record))


def test_margins_of_any_size_leave_probabilities():
    """Trained ones fitted at once, held-out ones refused, by a model whose outputs are no logits."""
    held_out, rng = np.arange(200) % 2 == 0, np.random.default_rng(0)
    margin = np.where(held_out, -1, 1) * (1e4 + rng.random((6, 200)))
    margin[:, 1] = np.where(np.arange(6) == 0, -1e4, 50)  # without what it added, the other class has all
    record = training(margin, np.logaddexp(0, -margin), (margin < 0).astype(int), np.zeros(200, int), held_out=held_out)
    view = left_out_predictions(record)
    assert memorised(record)[1] > 1e3 and view.contradicted[1]
    assert (view.sure[held_out] == 1).all() and view.sure[1] == 1


def test_the_memory_of_an_audit_does_not_grow_with_the_epochs():
    """Of 200 epochs of float64 a quarter of one quantity is taken, once a record is read."""
    record = replace(memorising(n=2000, epochs=200)[0], stop=100)
    pool([record])  # imports
    tracemalloc.start()
    assert pool([record]).left_out
    SCORES["left-out-margin"](record)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < record.margin.nbytes / 4


def test_epochs_in_which_samples_were_not_seen_do_not_count():
    """Half of the samples are seen in the first half of the epochs alone, where little is memorised."""
    record, *_ = memorising()
    half = np.arange(record.given.size) % 2 == 0
    seen = [np.where(half & (np.arange(12)[:, None] > 5), np.nan, array) for array in (record.margin, record.loss)]
    gaps = replace(record, margin=seen[0], loss=seen[1])
    part, whole = (memorised(one)[~half & ~record.held_out] for one in (gaps, record))
    assert part / whole == pytest.approx((part / whole)[0]) and abs((part / whole)[0] - 1) < 0.15
    assert np.isfinite(SCORES["left-out-margin"](gaps)).all()


def test_around_the_stop():
    assert [around(stop, 20) for stop in (1, 2, 10, 20)] == [slice(0, 3), slice(0, 4), slice(7, 12), slice(17, 20)]
