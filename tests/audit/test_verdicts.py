"""Rates, decisions and the list of suspects, on records whose truth is known."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import labelnoise as ln
from helpers import assert_close
from labelnoise.audit.chances import chances_of, confidence
from labelnoise.audit.contradiction import Predictions, contradicted_shares, fifths, surest, wilson
from labelnoise.audit.decisions import DECISIONS
from labelnoise.audit.experiment import margin_table
from labelnoise.audit.frequencies import true_frequency, wrong_labels
from labelnoise.audit.judging import judge
from labelnoise.audit.learning import Learning, learning_of, undecided_rates
from labelnoise.audit.pooling import Basis, pool
from labelnoise.audit.rates import class_factors, estimate_rates
from labelnoise.audit.recorded import RecordedTraining, end_of_stage_one, finite, read_training
from labelnoise.audit.running import read_sums
from labelnoise.audit.summary import summarise
from made_records import average_precision, f1, labels, two_stages

COLUMNS = ["index", "given", "suggested", "score", "confidence", "flagged"]


@pytest.fixture(scope="module")
def case():
    return two_stages()


def test_the_list_finds_the_wrong_labels(case):
    recorder, true, held_out = case
    frame = ln.suspects(recorder, held_out=held_out)
    noisy = recorder.given != true
    assert list(frame) == COLUMNS and sorted(frame["index"]) == list(range(1000))
    assert frame["score"].is_monotonic_decreasing
    flagged = np.zeros(1000, bool)
    flagged[frame.loc[frame["flagged"], "index"]] = True
    assert f1(flagged, noisy) > 0.85
    right = frame["suggested"].to_numpy() == true[frame["index"]]
    assert right[frame["flagged"].to_numpy()].mean() > 0.8
    assert frame["confidence"].between(0, 1).all()
    assert_close(frame["confidence"].sum() / 1000, frame.attrs["rate"], rtol=1e-3)
    low, high = frame.attrs["interval"]
    assert low <= noisy.mean() <= high and abs(frame.attrs["rate"] - noisy.mean()) < 0.06


def test_the_stop_is_the_least_held_out_loss(case):
    recorder, _, held_out = case
    training = read_training(recorder, held_out)
    assert training.stop_known and 3 <= training.stop <= 11
    assert f"epoch {training.stop} of 20" in training.reason
    assert read_training(recorder, held_out, stop=4).stop == 4
    loss = np.array([[5.0], [1.0], [4.0], [2.0], [2.0], [2.0], [6.0]])  # the least single one is the second
    assert end_of_stage_one(loss)[0] == 5


def test_epochs_without_held_out_samples_are_no_stop():
    """Held-out samples are looked at every second epoch: the least of what is known is the stop."""
    loss = np.full((9, 4), np.nan)
    loss[1::2] = np.array([0.9, 0.5, 0.2, 0.6])[:, None]
    stop, known, reason = end_of_stage_one(loss)
    assert (stop, known) == (6, True) and "least (0.200, 0.600 at epoch 8, the last that is finite)" in reason
    assert end_of_stage_one(loss[:5])[2] == "5 epochs in all, too few to choose among"


def test_without_held_out_samples_no_stop_is_needed_and_it_says_so(case):
    recorder, true, _ = case
    frame = ln.suspects(recorder)
    share = (recorder.prediction != recorder.given).mean(axis=0)
    assert_close(frame["score"].to_numpy(), np.sort(share)[::-1], rtol=1e-9)
    assert "held out, so there is no stop" in frame.attrs["notes"][0] and np.isnan(frame.attrs["rate"])
    given_stop = ln.suspects(recorder, stop=10)  # with which all samples vote
    assert "nothing tells whether the stop" in given_stop.attrs["notes"][0] and np.isfinite(given_stop.attrs["rate"])
    assert frame.attrs["stop"] is None and judge([read_training(recorder)]).stops == ()


def test_clean_labels_leave_few_suspects():
    """Of 2,000 right labels of which the network errs on one in twenty: fewer are flagged than it rejects."""
    recorder, _, held_out = two_stages(n=2000, rate=0.0, hard=0.1, n_classes=2)
    counted, capped, rejected = (
        judge([read_training(recorder, held_out)], decision=d) for d in ("counted", "capped", "rejected")
    )
    assert counted.rates.rate == 0 and not counted.flagged.any() and counted.confidence.max() < 1e-6
    assert np.ceil(2000 * capped.rates.high) >= capped.flagged.sum() and capped.rates.high <= 0.02
    assert rejected.flagged.mean() > 0.02


def test_rates_of_two_classes_are_told_apart():
    """Flips of 5% and 30%: within the bootstrap's interval, and the factor of the class that is wrong more often."""
    rng = np.random.default_rng(5)
    true = rng.integers(2, size=6000)
    given = np.where(rng.random(6000) < np.where(true == 0, 0.05, 0.3), 1 - true, true)
    sure = rng.random(6000)
    predicted = np.where(rng.random(6000) < 0.5 * (1 - sure) ** 2, 1 - true, true)  # the surest are right
    rates = estimate_rates(predicted, sure, given, np.ones(6000, bool), 2)
    assert rates.transition_low[0, 1] <= 0.05 + 0.02 and abs(rates.transition[0, 1] - 0.05) < 0.03
    assert abs(rates.transition[1, 0] - 0.3) < 0.06
    assert rates.low - 0.01 <= (given != true).mean() <= rates.high + 0.01
    assert rates.anchors == pytest.approx(1500, abs=3)
    factors = rates.factors
    power = np.log(factors) / np.log(class_factors(rates.transition))  # all but what chance explains
    assert power == pytest.approx(power[0]) and 0.9 < power[0] < 1
    assert factors[0] > 2 > 0.5 > factors[1] and factors.prod() == pytest.approx(1)


@pytest.mark.parametrize("by", ["anchors", "surest fifth"])
def test_many_equal_classes_are_told_apart_by_what_is_no_chance(by):
    """Sixty classes of eighty samples, 15% wrong: those of equal ones stay at 1; one that half of the wrong labels
    name stands out."""
    spread, named = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        true, sure, wrong = np.repeat(np.arange(60), 80), rng.random(4800), rng.random(4800) < 0.15
        for share in (0.0, 0.5):
            other = np.where(rng.random(4800) < share, 0, (true + rng.integers(1, 60, 4800)) % 60)
            given = np.where(wrong, other, true)
            early = [Predictions.of(true, sure, given)] if by == "surest fifth" else ()
            factors = estimate_rates(true, sure, given, np.ones(4800, bool), 60, early).factors
            (named if share else spread).append(factors[0] if share else np.log(factors).std())
    assert np.mean(spread) < 0.05 and min(named) > 4


def test_the_surest_fifth_of_a_class_counts_beside_fifty_samples_of_the_common_rate():
    """Of the surest fifths, 600, 120 and 20 samples, 62 of 740 labels are wrong; a class of 20 says less than 50."""
    counts = np.array([[570, 15, 15], [12, 96, 12], [4, 4, 12]])
    predicted = np.repeat([0, 1, 2], 5 * counts.sum(axis=1))
    given = np.concatenate(
        [np.append(np.repeat([0, 1, 2], row), np.full(4 * row.sum(), k)) for k, row in enumerate(counts)]
    )
    early = [Predictions.of(predicted, np.linspace(0.9, 0.4, given.size), given)]
    factors = estimate_rates(predicted, early[0].sure, given, np.zeros(given.size, bool), 3, early).factors
    common = np.where(np.eye(3), 1 - 62 / 740, 62 / 740 / 2)
    expected = class_factors((counts + 50 * common) / (counts.sum(axis=1)[:, None] + 50))
    power = np.log(factors) / np.log(expected)  # all but what chance explains
    assert power == pytest.approx(power[0]) and 0.1 < power[0] < 1


def test_the_interval_of_few_samples_reaches_down_to_the_rate():
    """A fifth is wrong, and the network errs on 30%, fewer where it is surer: one sample of a hundred says little of
    how its errors decline. It may miss on one side in 5% of seeds."""
    reached = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        true, sure = rng.integers(10, size=100), rng.random(100)
        given, predicted = (
            np.where(rng.random(100) < share, (true + rng.integers(1, 10, size=100)) % 10, true)
            for share in (0.2, 0.6 * (1 - sure))
        )
        reached.append(estimate_rates(predicted, sure, given, np.ones(100, bool), 10).low <= 0.2)
    assert sum(reached) >= 11


def test_anchors_tell_the_rate_of_classes_that_the_network_predicts_too_seldom():
    """True classes 0.8 and 0.2, flips of 5% and 30%; unsure of a half of class 1, the network predicts class 0."""
    rng = np.random.default_rng(2)
    true = (rng.random(20_000) < 0.2).astype(int)
    given = np.where(rng.random(20_000) < np.where(true == 0, 0.05, 0.3), 1 - true, true)
    lost = (true == 1) & (rng.random(20_000) < 0.5)
    predicted, sure = np.where(lost, 0, true), np.where(lost, 0.1, 0.2) + 0.8 * rng.random(20_000) * ~lost
    rates = estimate_rates(predicted, sure, given, np.ones(20_000, bool), 2)
    assert rates.low <= (given != true).mean() <= rates.high < 0.13
    assert rates.rate == pytest.approx(0.1, abs=0.01) and rates.wrong.sum() == rates.rate
    assert predicted.mean() * rates.transition[1, 0] + (1 - predicted.mean()) * rates.transition[0, 1] < 0.08


def test_the_frequency_of_true_classes_by_hand():
    alike = np.array([[0.52, 0.48], [0.5, 0.5]])  # hardly told apart, so that EM would take 20,000 steps
    assert wrong_labels(alike, np.array([0.7, 0.3]) @ alike) == pytest.approx([0.3 * 0.5, 0.7 * 0.48])
    apart = np.array([[0.9, 0.1], [0.2, 0.8]])  # 95 of 100 of class 0 are more than it would give: all are of it
    assert wrong_labels(apart, np.array([0.95, 0.05])) == pytest.approx([0, 0.1], abs=1e-4)
    same = np.full((2, 2), 0.5)  # cannot be told apart at all
    assert wrong_labels(same, np.array([0.6, 0.4])) == pytest.approx([0.2, 0.3])
    rng = np.random.default_rng(0)
    matrix, given = 0.7 * np.eye(9) + 0.3 * rng.dirichlet(np.full(9, 0.3), size=9), rng.dirichlet(np.full(9, 0.5))
    assert (np.linalg.solve(matrix.T, given) < 0).any()
    true = true_frequency(matrix, given)
    assert true.sum() == pytest.approx(1) and (matrix @ (given / (true @ matrix))).max() < 1 + 1e-4  # Kuhn and Tucker


def test_what_is_estimated_where_nothing_is_wrong_or_little_is_held_out():
    predicted, sure, everyone = np.zeros(400, int), np.linspace(0, 1, 400)[::-1], np.ones(400, bool)
    none = estimate_rates(predicted, sure, np.zeros(400, int), everyone, 2)
    assert (none.rate, none.low, none.anchors) == (0, 0, 200)
    assert none.high == pytest.approx(3 / 203)  # no wrong label among 200 leaves room for 1.5%
    few = estimate_rates(predicted[:15], sure[:15], predicted[:15], everyone[:15], 2)
    assert not few.known and "too few" in few.reason


@pytest.mark.parametrize("votes", ["held out", "all"])
def test_the_interval_reaches_down_to_what_the_surest_samples_show(votes):
    """One label in ten is wrong, and the network takes half of class 0 for class 2, of which it is less sure."""
    rng = np.random.default_rng(0)
    true, given = labels(3000, 3, 0.1)
    predicted = np.where((true == 0) & (rng.random(3000) < 0.5), 2, true)
    sure = np.where(predicted == 2, rng.uniform(0.4, 0.6, 3000), rng.uniform(0.6, 1.0, 3000))
    early = [Predictions.of(predicted, sure, given)] if votes == "all" else []
    rates = estimate_rates(predicted, sure, given, np.ones(3000, bool), 3, early)
    assert rates.rate > 0.15 and rates.low <= 0.1 <= rates.high
    assert rates.low == surest([Predictions.of(predicted, sure, given)])
    first = np.argsort(-sure, kind="stable")[:600]
    assert rates.low == wilson(int((predicted != given)[first].sum()), 600)[0]
    unseen = Predictions.of(np.append(predicted, -1), np.append(sure, 2.0), np.append(given, 0))
    assert surest([unseen]) == rates.low


@pytest.mark.parametrize("hard", [False, True])
def test_anchors_lose_what_the_networks_errors_add(hard, monkeypatch):
    """A tenth of the labels of three classes are wrong; the network errs on none, or on more the less sure it is, and
    on some where it is sure."""
    rng = np.random.default_rng(0)
    n = 6000
    true, given = labels(n, 3, 0.1)
    sure = rng.random(n)
    errs = rng.random(n) < (0.12 + 0.8 * (1 - sure) if hard else 0)
    predicted = np.where(errs, (true + 1) % 3, true)
    rates = estimate_rates(predicted, sure, given, np.ones(n, bool), 3)
    with monkeypatch.context() as patched:
        patched.setattr("labelnoise.audit.rates.errors_of", lambda *_: (0.0, 1.0))
        anchors = estimate_rates(predicted, sure, given, np.ones(n, bool), 3)
    assert rates.low <= 0.1 <= rates.high
    assert rates.wrong.sum() == pytest.approx(rates.rate) and (rates.transition.sum(axis=1) == pytest.approx(1))
    if not hard:  # a tenth is contradicted, all of it wrong labels
        assert (rates.rate, rates.high) == (anchors.rate, anchors.high)
        return
    shares, _ = contradicted_shares(
        Predictions.of(predicted, sure, given)
    )  # more than half is contradicted: the line alone
    assert shares.mean() > 0.5 and anchors.rate > 0.2
    beyond = shares[:3].mean() - 1.25 * (shares[2] - shares[0])  # the line, one and a half parts before the surest
    assert rates.rate == pytest.approx(max(beyond, 0), abs=1e-12) and abs(rates.rate - 0.1) < 0.05
    factor = rates.rate / anchors.rate
    assert rates.transition[0, 1] == pytest.approx(factor * anchors.transition[0, 1])
    assert rates.wrong == pytest.approx(factor * anchors.wrong)
    assert anchors.low > 0.1 > rates.low


def test_fifths_by_hand():
    """Two predicted classes of ten samples; of each fifth (two samples a class) so many are contradicted."""
    predicted, sure = np.repeat([0, 1], 10), np.tile(np.linspace(0.99, 0.6, 10), 2)
    given, wrong = predicted.copy(), [0, 2, 12, 4, 6, 7, 18, 19]
    given[wrong] = 1 - given[wrong]
    shares = np.array([1, 2, 1, 2, 2]) / 4  # the surest: sample 0; then 2 and 12; 4; 6 and 7; 18 and 19
    rate, low, high = fifths([Predictions.of(predicted, sure, given)])
    errs = (shares.mean() - 0.2) / 0.5  # two fifths: the rest is taken for wrong labels
    assert rate == pytest.approx((1 - errs) * 0.4 + errs / 3)  # quantile 0.4; the line by 1/4, 1/2 and 1/4
    upper = round(((1 - errs) * 0.5 + errs * 0.5) * 12)
    least = wilson(1, 4)[0]  # of the four surest samples of all, 0, 1, 10 and 11, one is contradicted
    assert (low, high) == (least, wilson(upper, 12)[1]) and least < wilson(3, 12)[0]
    falling = fifths([Predictions.of(predicted, -sure, given)])[0]
    assert falling == pytest.approx(0.4)  # fewer where surer: no line is above 0.4
    other = np.arange(20) % 2  # what another training predicts
    first, _, third, *_ = both = (shares + fifths_shares(other, sure, given)) / 2
    errs, middle = (both.mean() - 0.2) / 0.5, np.quantile(both, 0.4)
    expected = (1 - errs) * middle + errs * min(both[:3].mean() - 1.5 * (third - first), middle)
    assert fifths([Predictions.of(predicted, sure, given), Predictions.of(other, sure, given)])[0] == pytest.approx(
        expected
    )
    unseen = Predictions.of(np.append(predicted, -1), np.append(sure, np.nan), np.append(given, 1))
    assert fifths([unseen]) == (rate, low, high)


def test_the_upper_end_is_nowhere_below_the_line():
    """Of fifths of ten samples 9, 1, 5, 5 and 5 are contradicted: the line is at their quantile, c_2 far below it."""
    contradicted = np.concatenate([np.arange(10) < count for count in (9, 1, 5, 5, 5)])
    rate, _, high = fifths([Predictions(np.zeros(50, int), np.linspace(1, 0.5, 50), contradicted)])
    assert rate == pytest.approx(0.5) and high == wilson(15, 30)[1]


def test_classes_whose_own_label_is_not_the_likeliest_are_not_told_apart():
    assert class_factors(np.array([[0.4, 0.6], [0.5, 0.5]])).tolist() == [1, 1]
    low, high = class_factors(np.array([[0.9, 0.1], [0.3, 0.7]]))  # 0.9 * 0.3 / 0.6 and 0.7 * 0.1 / 0.6
    assert low * high == pytest.approx(1) and low / high == pytest.approx(27 / 7)


def test_the_interval_of_anchors_is_that_of_a_share_where_the_network_errs_nowhere():
    """A fifth of two classes is wrong: the upper end lies 1.645 standard errors of a share of the anchors above."""
    above = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        true, given = labels(2000, 2, 0.2)
        rates = estimate_rates(true, rng.random(2000), given, np.ones(2000, bool), 2, seed=seed)
        above.append((rates.high - rates.rate) / np.sqrt(rates.rate * (1 - rates.rate) / rates.anchors))
    assert np.mean(above) == pytest.approx(1.645, rel=0.12)


def test_parts_that_no_class_fills_are_passed_over():
    """Of classes of two samples each the parts are places 1/4 and 3/4: the second and the fourth."""
    predicted, sure = np.repeat(np.arange(20), 2), np.tile([0.9, 0.6], 20)
    given = predicted.copy()
    given[[1, 3, 5, 7]] = 19  # the less sure ones of four classes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rate, low, high = fifths([Predictions.of(predicted, sure, given)])
    assert rate == pytest.approx(0.4 * 0.2) and low == 0 < high


@pytest.mark.parametrize(
    ("contradicted", "rate"),
    [
        ([2, 15, 25, 28, 30], 0.21),  # a fifth: quantile 0.4 of wrong labels of which some are memorised
        ([60, 65, 70, 75, 80], 0.5),  # seven in ten: what errors leave beyond the surest
        ([30, 70, 80, 85, 85], 0.0),  # and no less than none
        ([20, 26, 32, 36, 36], 0.8 * 0.296 + 0.2 * 0.08),  # 0.3: a fifth of the way from the first to the second
    ],
)
def test_the_more_is_contradicted_the_more_of_it_is_the_networks_errors(contradicted, rate):
    """Parts of 100 samples of one predicted class, of which so many are contradicted."""
    given = np.concatenate([np.arange(100) < count for count in contradicted]).astype(int)
    value, low, high = fifths([Predictions.of(np.zeros(500, int), np.linspace(1, 0.2, 500), given)])
    assert value == pytest.approx(rate) and low <= value <= high


@pytest.mark.parametrize(
    ("contradicted", "binds"),
    [
        ([50, 2, 2, 30, 30], (6, 300)),  # quantile 0.2, of three parts: less than the line, and the surest fifth
        ([20, 22, 30, 30, 30], (9, 100)),  # the line beyond 20, 22 and 30, of one part
    ],
)
def test_the_lower_end_is_that_of_three_parts_or_of_one(contradicted, binds):
    given = np.concatenate([np.arange(100) < count for count in contradicted]).astype(int)
    view = Predictions.of(np.zeros(500, int), np.linspace(1, 0.2, 500), given)
    assert fifths([view])[1] == wilson(*binds)[0]


def fifths_shares(predicted, sure, given):
    """Shares of contradicted labels of five parts, class by class."""
    parts = [[] for _ in range(5)]
    for k in np.unique(predicted):
        members = np.flatnonzero(predicted == k)
        for at, part in enumerate(np.split(members[np.argsort(-sure[members], kind="stable")], 5)):
            parts[at].extend(predicted[part] != given[part])
    return np.array([np.mean(part) for part in parts])


def test_all_samples_vote_where_few_are_held_out_and_only_those_where_most_are():
    for share, votes in ((0.2, "all 1,000 samples in 5 parts"), (0.7, "held-out samples of")):
        recorder, true, held_out = two_stages(held_out=share, hard=0.2)
        verdict = judge([read_training(recorder, held_out)])
        assert votes in verdict.rates.reason
        assert abs(verdict.rates.rate - (recorder.given != true).mean()) < 0.04
        assert verdict.rates.low <= verdict.rates.rate <= verdict.rates.high
        assert verdict.flagged.sum() == round(verdict.rates.rate * 1000)
        assert verdict.rates.wrong.sum() == pytest.approx(verdict.rates.rate)
        assert verdict.confidence.sum() == pytest.approx(1000 * verdict.rates.rate, rel=1e-3)


def test_half_of_the_samples_held_out_are_enough_and_a_stop_is_needed_of_each_training():
    recorder, _, _ = two_stages()
    first = np.arange(1000)
    half, less = (read_training(recorder, first < count) for count in (500, 499))
    assert pool([half]).early == () and len(pool([less]).early) == len(pool([less]).left_out) == 1
    without = read_training(recorder)
    assert not without.stop_known and len(pool([less, less]).early) == 2
    assert pool([less, without]).early == pool([without, less]).left_out == ()
    given_stop = read_training(recorder, stop=10)
    for trainings, words in (([given_stop], "whether the stop is right"), ([given_stop, without], "there is no stop")):
        assert words in judge(trainings).notes[0]


def test_decisions_by_hand():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, np.nan])
    rejected, given = np.array([True, True, True, False, True, True]), np.array([0, 0, 1, 1, 1, 0])
    rates = estimate_rates(given, score, given, np.zeros(6, bool), 2)
    assert [name for name in DECISIONS] == ["counted", "capped", "rejected", "mixture"]
    for name in ("capped", "rejected", "counted"):  # without a rate nothing but the margins is known
        assert DECISIONS[name](score, rejected, given, rates).tolist() == [True, True, True, False, True, False]
    known = estimate_rates(np.zeros(40, int), np.arange(40.0), np.zeros(40, int), np.ones(40, bool), 2)
    object.__setattr__(known, "rate", 0.4)
    object.__setattr__(known, "high", 0.6)
    object.__setattr__(known, "wrong_high", np.array([0.2, 0.3]))
    assert DECISIONS["capped"](score, rejected, given, known).tolist() == [True, False, True, False, True, False]
    assert DECISIONS["counted"](score, rejected, given, known).tolist() == [True, True, False, False, False, False]
    object.__setattr__(known, "high", 0.3)
    assert DECISIONS["capped"](score, rejected, given, known).tolist() == [True, False, True, False, False, False]


def test_what_may_be_wrong_of_a_class_where_no_wrong_label_was_seen():
    """300 labels of class 0 and 100 of class 1, all right among 200 anchors: 3 / 203 may be wrong, by class in turn."""
    given, score = np.repeat([0, 1], [300, 100]), np.linspace(1, 0, 400)
    rates = estimate_rates(given, score, given, np.ones(400, bool), 2)
    assert rates.anchors == 200
    assert_close(rates.wrong_high, np.array([0.75, 0.25]) * 3 / 203)
    everyone = np.ones(400, bool)
    flagged = DECISIONS["capped"](score, everyone & (given == 1), given, rates)
    assert np.flatnonzero(flagged).tolist() == [300, 301]  # 100 x 3 / 203 = 1.5, where all classes may have 5.9
    assert DECISIONS["capped"](score, everyone, given, rates).sum() == 6  # five and two, at most six


def test_the_mixture_splits_two_heaps():
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(0, 1, 800), rng.normal(8, 1, 200)])
    flagged = DECISIONS["mixture"](score, score > 0, np.zeros(1000, int), None)
    assert 190 <= flagged.sum() <= 210 and flagged[800:].mean() > 0.95
    assert not DECISIONS["mixture"](np.ones(5), score[:5] > 0, np.zeros(5, int), None).any()


def test_chances_add_up_follow_the_score_and_are_as_sharp_as_what_is_known():
    rng = np.random.default_rng(0)
    wrong = rng.random(4000) < 0.25
    score = np.where(wrong, 0.62, 0.38) + rng.normal(0, 0.04, 4000)
    dull = confidence(score, 0.25)
    sharp = confidence(score, 0.25, np.where(rng.random(4000) < 0.5, wrong.astype(float), np.nan))
    for chance in (dull, sharp):
        assert chance.mean() == pytest.approx(0.25, abs=1e-6) and chance.min() >= 0 and chance.max() <= 1
        assert (np.diff(chance[np.argsort(score, kind="stable")]) >= 0).all()
    assert ((sharp - wrong) ** 2).mean() < 0.5 * ((dull - wrong) ** 2).mean()
    assert np.isnan(confidence(np.array([np.nan, 0.5]), 0.1)[0])
    assert np.ptp(confidence(np.array([2.0, 1.0, 2.0, 2.0]), 0.3, np.array([0.9, 0.1, 0.2, 0.4]))[[0, 2, 3]]) == 0


def test_no_chance_is_above_the_cap_and_what_it_takes_goes_to_the_others():
    """A tenth of the labels is wrong and known to be: without a cap their chance would be 1, and that of others 0."""
    wrong = np.arange(100) < 10
    chance = confidence(wrong.astype(float), 0.1, wrong.astype(float))
    assert_close(chance[wrong], np.full(10, 0.95))
    assert_close(chance[~wrong], np.full(90, (10 - 9.5) / 90), rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_chances_are_those_of_a_network_that_errs_where_it_is_unsure(n_classes):
    rng = np.random.default_rng(1)
    n, rate = 100_000, 0.2
    true, given = labels(n, n_classes, rate, seed=2)
    errs = rng.uniform(0, 0.5, n)
    predicted = np.where(rng.random(n) < errs, (true + rng.integers(1, n_classes, size=n)) % n_classes, true)
    chances = chances_of(predicted, 1 - errs, given, rate, n_classes)
    wrong, rejected = given != true, predicted != given
    assert chances.mean() == pytest.approx(wrong.mean(), abs=0.01)
    for part in (errs < 0.1, errs > 0.4):
        for members in (part & rejected, part & ~rejected):
            assert chances[members].mean() == pytest.approx(wrong[members].mean(), abs=0.03)
    unseen = chances_of(np.where(errs < 0.1, -1, predicted), 1 - errs, given, rate, n_classes)
    assert (np.isnan(unseen) == (errs < 0.1)).all()


def test_of_samples_wrong_with_a_chance_as_many_are_wrong():
    recorder, true, held_out = two_stages(n=20_000, n_classes=3, rate=0.25, hard=0.3, seed=5)
    verdict, wrong = judge([read_training(recorder, held_out)]), recorder.given != true
    plain = confidence(verdict.score, verdict.rates.rate)  # by rank alone
    assert 3 * calibration_error(verdict.confidence, wrong) < calibration_error(plain, wrong) < 0.1


def calibration_error(chances, wrong):
    part = np.digitize(chances, (0.1, 0.5, 0.9))
    sums = [abs(chances[part == k].sum() - wrong[part == k].sum()) for k in range(4)]
    return sum(sums) / wrong.size


def test_several_trainings_are_averaged(case):
    runs = [two_stages(seed=0), two_stages(seed=0, held_out=0.5)]
    both = judge([read_training(r, h) for r, _, h in runs])
    assert len(both.stops) == 2 and both.rates.anchors > 0
    raw = judge([read_training(r, h) for r, _, h in runs], score="aum").score
    mean = np.mean([-r.margin.mean(axis=0) for r, _, _ in runs], axis=0)
    assert_close(raw, mean.astype(float), rtol=1e-4)


@pytest.mark.parametrize(("memorised", "named"), [(0, False), (25, False), (300, True)])
def test_it_is_said_where_trainings_have_memorised_the_labels_of_suspects(memorised, named):
    """Of the first samples all trainings but one know the label; a note names these from a tenth of the suspects on."""
    true, given = labels(300, 3, 0.2)
    everyone, rng, folds = np.arange(300), np.random.default_rng(0), []
    for fold in range(3):
        recorder = ln.Recorder(300, 3, held_out=everyone % 3 == fold)
        for _ in range(3):
            logits = rng.normal(0, 0.3, (300, 3))
            logits[everyone, true] += 4
            logits[everyone, given] += 8 * ((everyone < memorised) & ~recorder.held_out)
            recorder.update(everyone, logits, given)
            recorder.end_epoch()
        folds.append(recorder)
    note = " ".join(ln.suspects(folds).attrs["notes"])
    said = (
        "; for 61 of them the training that held the sample out predicts another class, and the others have memorised"
    )
    assert (said in note) == ("memorised" in note) == named and (true != given).sum() == 61
    assert "whose label the model accepts" in note


def test_the_margins_of_trainings_are_averaged_over_those_that_saw_the_sample():
    """Two epochs of one training, three of the other, which never sees sample 1; margins by hand."""
    trainings = []
    for seen, margins in (([0, 1, 2], (1.0, 2.0)), ([0, 2], (4.0, 6.0, 9.0))):
        recorder = ln.Recorder(3, 2)
        for margin in margins:
            recorder.update(seen, [[margin, 0.0]] * len(seen), [0] * len(seen))
            recorder.end_epoch()
        trainings.append(read_training(recorder))
    assert_close(judge(trainings).margin.astype(float), np.array([[2.5, 1.0, 2.5], [4.0, 2.0, 4.0]]))


def test_quantiles_of_margins_are_those_of_the_samples_that_an_epoch_saw(case):
    """Of the first epoch that none saw, and of later ones that one sample of each part missed; else all at once."""
    verdict = judge([read_training(case[0], case[2])])
    whole, margin, parts = margin_table(verdict), verdict.margin.copy(), {"suspects": verdict.flagged}
    parts["rest"] = ~parts["suspects"]
    for name, part in parts.items():
        at = np.quantile(margin[:, part], (0.05, 0.5, 0.95), axis=1)
        assert np.array_equal(whole[[f"{name}_{word}" for word in ("low", "median", "high")]], at.T)
        margin[1:, np.flatnonzero(part)[0]] = np.nan
    margin[0] = np.nan
    table = margin_table(replace(verdict, margin=margin))
    assert table.iloc[0, 1:].isna().all() and table.iloc[1:].notna().all(axis=None)
    suspects = verdict.margin[1, parts["suspects"]][1:]
    assert table["suspects_median"][1] == pytest.approx(np.median(suspects))


def test_the_prediction_is_that_of_a_training_which_held_the_sample_out():
    recorder = ln.Recorder(2, 2)
    recorder.update([0, 1], [[2.0, 0.0], [2.0, 0.0]], [0, 0])
    recorder.end_epoch()
    other = ln.Recorder(2, 2)
    other.update([0, 1], [[0.0, 2.0], [0.0, 3.0]], [0, 0])
    other.end_epoch()
    basis = pool([read_training(recorder, [True, False]), read_training(other, [False, True])])
    assert basis.predicted.tolist() == [0, 1] and basis.held_out.all()
    assert_close(basis.sure, 1 / (1 + np.exp([-2.0, -3.0])), rtol=1e-6)


def test_the_prediction_of_most_epochs_and_its_probability():
    rng = np.random.default_rng(1)
    logits, given = rng.normal(0, 2, (5, 50, 4)), rng.integers(4, size=50)
    recorder = ln.Recorder(50, 4)
    for rows in logits:
        recorder.update(np.arange(50), rows, given)
        recorder.end_epoch()
    predicted, sure = read_training(recorder).predicted()
    votes = np.array([np.bincount(logits.argmax(2)[:, i], minlength=4).argmax() for i in range(50)])
    assert (predicted == votes).all()
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    assert_close(sure, chances.max(axis=2).mean(axis=0), rtol=1e-5)


def test_epochs_without_a_sample_have_no_vote_on_it():
    recorder = ln.Recorder(2, 9)  # more classes than epochs
    for index in ([0, 1], [0], [0]):
        recorder.update(index, np.eye(9)[[7] * len(index)], [7] * len(index))
        recorder.end_epoch()
    assert read_training(recorder).predicted()[0].tolist() == [7, 7]


def test_a_sample_that_was_never_seen_is_left_out():
    recorder = ln.Recorder(3, 2)
    recorder.update([0, 2], [[2.0, 0.0], [0.0, 1.0]], [0, 0])
    recorder.end_epoch()
    frame = ln.suspects(recorder)
    assert frame["index"].tolist() == [2, 0] and "NaN alone), which are left out: 1" in frame.attrs["notes"][-1]


@pytest.mark.filterwarnings("ignore:.*are NaN:RuntimeWarning")
@pytest.mark.parametrize("history", [True, False])
def test_a_sample_whose_outputs_are_all_nan_is_left_out(history):
    """Its label is recorded; it must not be counted, nor take the chances of its class with it."""
    rng, everyone = np.random.default_rng(0), np.arange(300)
    true, given = labels(300, 3, 0.2)
    recorder = ln.Recorder(300, 3, held_out=everyone % 4 == 0, history=history)
    for _ in range(9):
        logits = rng.normal(2 * (np.arange(3) == true[:, None]), 1)
        logits[:20] = np.nan
        recorder.update(everyone, logits, given)
        recorder.end_epoch()
    verdict = judge([read_training(recorder) if history else read_sums(recorder)])
    assert (verdict.given == np.where(everyone < 20, -1, given)).all() and len(verdict.to_frame()) == 280
    summary = summarise(verdict, ["a", "b", "c"], "a network", verdict.notes)
    assert summary["samples"] == sum(summary["class_counts"]) == 280
    assert sum(summary["class_wrong"]) == pytest.approx(summary["wrong"], rel=0.05)
    assert "which are left out: 20" in " ".join(summary["notes"])


def test_a_sample_that_was_not_seen_around_the_stop_is_suggested_what_was_predicted_of_it():
    rng, everyone = np.random.default_rng(0), np.arange(300)
    true, given = labels(300, 3, 0.2)
    recorder = ln.Recorder(300, 3, held_out=everyone % 4 == 0)
    for epoch in range(20):
        logits = rng.normal(2 * (np.arange(3) == true[:, None]), 0.1)
        index = everyone if epoch == 0 else everyone[10:]
        recorder.update(index, logits[index], given[index])
        recorder.end_epoch()
    record = read_training(recorder, stop=8)
    assert (record.predicted(record.near)[0][:10] == -1).all()
    predicted, sure = record.predicted()
    assert (predicted == true).all() and np.isfinite(sure).all()
    assert (judge([record]).suggested == true).all()


def test_a_seed_moves_intervals_alone_where_held_out_samples_say_enough():
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=600)
    given = np.where(rng.random(600) < np.array([0.1, 0.2, 0.4])[true], (true + 1) % 3, true)
    columns = true, rng.random(600), given, np.ones(600, bool), 3
    one, other = (estimate_rates(*columns, seed=seed) for seed in (0, 1))
    assert np.ptp(one.factors) > 0.1 and np.array_equal(one.factors, other.factors)
    assert one.rate == other.rate and one.high != other.high


@pytest.mark.parametrize("history", [True, False])
def test_a_sample_whose_logits_are_masked_is_neither_lost_nor_hides_the_stop(history):
    """Masked are the given labels of 7 and of 10, held out, all others of 13, and now these and now that of 16."""
    rng, everyone = np.random.default_rng(1), np.arange(400)
    true, given = labels(400, 3, 0.2)
    recorder = ln.Recorder(400, 3, held_out=everyone % 5 == 0, history=history)
    for epoch in range(12):
        logits = rng.normal(0, 0.5, (400, 3))
        logits[everyone, true] += min(epoch, 4)
        logits[[7, 10], given[[7, 10]]] = -np.inf
        logits[13, np.arange(3) != given[13]] = -np.inf
        logits[16, (np.arange(3) == given[16]) == epoch % 2] = -np.inf
        recorder.update(everyone, logits, given)
        recorder.end_epoch()
    frame = ln.suspects(recorder).set_index("index")
    assert len(frame) == 400 and np.isfinite(frame[["score", "confidence"]]).all(axis=None)
    assert frame["flagged"][[7, 10]].all() and not frame["flagged"][13]
    assert not np.isinf((read_training(recorder) if history else read_sums(recorder)).margin).any()
    if history:
        assert {*frame.index[:2]} == {7, 10} and frame.index[-1] == 13
        assert "where the loss of 80 held-out samples was least" in frame.attrs["reason"]


@pytest.mark.parametrize("mask", [-1e30, np.finfo(np.float32).min])
def test_a_label_that_is_masked_by_a_finite_number_hides_no_stop(mask):
    """As libraries mask them; of a sample that is held out."""
    made, _, held_out = two_stages()
    sample, frames = int(np.flatnonzero(held_out)[0]), []
    for masks in (False, True):
        recorder = ln.Recorder(1000, 4, held_out=held_out)
        for margin in made.margin:
            logits = margin[:, None] * np.eye(4)[made.given]
            if masks:
                logits[sample, made.given[sample]] = mask
            recorder.update(np.arange(1000), logits, made.given)
            recorder.end_epoch()
        frames.append(ln.suspects(recorder))
    plain, masked = frames
    assert masked["index"][0] == sample and abs(masked.attrs["stop"] - plain.attrs["stop"]) <= 1
    assert masked.attrs["rate"] == pytest.approx(plain.attrs["rate"], abs=0.02)


def test_infinite_values_by_hand():
    values = np.array([[1.0, np.inf], [-np.inf, np.nan], [-4.0, np.inf]])
    assert np.array_equal(finite(values), [[1, 4], [-4, np.nan], [-4, 4]], equal_nan=True)
    assert np.array_equal(finite(values, values < 0), [[1, np.inf], [-4, np.nan], [-4, np.inf]], equal_nan=True)


def test_trainings_that_did_not_see_a_sample_have_no_vote_on_it():
    """Three folds, each of which records what it held out alone; and one that held out all, most of it never seen."""
    recorder, true, _ = two_stages()
    everyone, folds = np.arange(1000), []
    for k in range(3):
        part = everyone % 3 == k
        fold = ln.Recorder(1000, 4, held_out=part)
        fold.update(everyone[part], 3.0 * np.eye(4)[recorder.prediction[8][part]], recorder.given[part])
        fold.end_epoch()
        folds.append(fold)
    frame = ln.suspects(folds).set_index("index").sort_index()
    assert np.array_equal(frame["suggested"], recorder.prediction[8])
    both = pool([replace(read_training(folds[0]), held_out=everyone >= 0), read_training(folds[1])])
    assert np.array_equal(both.predicted >= 0, everyone % 3 < 2) and np.array_equal(both.suggested, both.predicted)
    assert np.array_equal(both.held_out, everyone % 3 < 2)


@pytest.mark.filterwarnings("ignore:.*are NaN:RuntimeWarning")
@pytest.mark.parametrize("last", [True, False])
def test_a_training_that_diverged_at_once_changes_no_verdict(last):
    """Beside another one; both hold a tenth out, so that views of all samples tell the rate."""
    recorder, _, held_out = two_stages(held_out=0.1)
    diverged = ln.Recorder(1000, 4)
    diverged.update(np.arange(1000), np.full((1000, 4), np.nan), recorder.given)
    diverged.end_epoch()
    alone, lost = read_training(recorder, held_out), read_training(diverged, np.roll(held_out, 1))
    one, both = judge([alone]), judge([alone, lost] if last else [lost, alone])
    assert one.rates.known and one.rates.rate == both.rates.rate and one.rates.low == both.rates.low
    for name in ("suggested", "score", "confidence", "flagged"):
        assert np.array_equal(getattr(one, name), getattr(both, name)), name


def test_clean_labels_of_several_trainings_have_factors():
    """Means of three counts: their sum along the diagonal and that of all differ by rounding."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = rng.integers(11, size=1000)
        views = [Predictions.of(true, rng.random(1000), true) for _ in range(3)]
        views = [one._replace(predicted=np.where(rng.random(1000) < 0.1, -1, true)) for one in views]
        rates = estimate_rates(true, np.ones(1000), true, np.zeros(1000, bool), 11, views)
        assert rates.rate == 0 and rates.factors == pytest.approx(1)


def test_nothing_is_decided_where_the_network_learns_nothing():
    true, given = labels(600, 2, 0.5)
    recorder, _, held_out = two_stages(n=600, n_classes=2, flips=(true, given))
    verdict = judge([read_training(recorder, held_out)])
    assert not verdict.flagged.any() and not verdict.rates.known and verdict.rates.high == 1
    assert "nothing can be decided" in verdict.notes[0] and "more than half" in verdict.notes[0]
    assert np.isnan(verdict.confidence).all() and not verdict.flagged.any()


def test_classes_are_told_apart_where_they_are_wrong_more_often_and_not_by_chance():
    """A rare class, 200 held-out samples: the factors rest on all 2,000; those of the anchors differ by .23."""
    logs = {"alike": [], "apart": []}
    for seed in range(4):
        for name, rates in (("alike", (0.2, 0.2)), ("apart", (0.05, 0.3))):
            rng = np.random.default_rng(seed)
            true = (rng.random(2000) < 0.125).astype(int)
            given = np.where(rng.random(2000) < np.where(true == 0, *rates), 1 - true, true)
            recorder, _, outside = two_stages(n=2000, n_classes=2, flips=(true, given), held_out=0.1, seed=seed)
            logs[name].append(np.ptp(np.log(judge([read_training(recorder, outside)]).rates.factors)))
    assert np.mean(logs["alike"]) < 0.18 and min(logs["apart"]) > 0.6


def test_few_held_out_samples_leave_the_rate_to_all(case):
    recorder, true, held_out = two_stages(n=300, n_classes=3, rate=0.2, held_out=0.05)
    assert held_out.sum() < 20
    verdict = judge([read_training(recorder, held_out)])
    assert abs(verdict.rates.rate - (recorder.given != true).mean()) < 0.06
    assert verdict.rates.anchors == 0 and np.isnan(verdict.rates.transition).all()
    assert verdict.rates.wrong.sum() == pytest.approx(verdict.rates.rate) and verdict.flagged.sum() > 30


def test_it_is_said_where_little_speaks_for_the_network():
    notes, decided = [], []
    for seed in range(8):  # 40% of two classes are wrong: 60 held-out samples hardly tell
        recorder, _, held_out = two_stages(n=600, n_classes=2, rate=0.4, seed=seed, held_out=0.1)
        verdict = judge([read_training(recorder, held_out)])
        decided.append(verdict.rates.known)
        notes.append("little speaks" in " ".join(verdict.notes))
        assert not (notes[-1] and "nothing can be decided" in " ".join(verdict.notes))
    assert sum(notes) >= 2 and sum(decided) > sum(notes)
    recorder, _, held_out = two_stages(n=600, n_classes=2, rate=0.1, held_out=0.1)
    assert "little speaks" not in " ".join(judge([read_training(recorder, held_out)]).notes)


def test_a_class_that_is_predicted_for_want_of_knowledge_is_no_evidence():
    given = np.repeat([0, 1], [180, 20])
    everyone = np.ones(200, bool)

    def basis(predicted, sure):
        return Basis(predicted, np.zeros(200), predicted, sure, everyone, (), ())

    none = learning_of(basis(np.zeros(200, int), np.full(200, 0.9)), given, 2)
    assert none.z == pytest.approx(0, abs=1e-9) and none.fitted == pytest.approx(none.chance) == pytest.approx(0.9)
    known = given.copy()
    known[:10] = 1  # sure of the rare class, right in two of three cases
    some = learning_of(basis(known, np.where(known == 1, 0.95, 0.6)), given, 2)
    assert some.z > 5 and some.held_out == 200


@pytest.mark.parametrize(
    ("z", "low", "words"), [(0.9, 0.2, "predicts the given label"), (1.1, 0.2, ""), (9, 0.49, ""), (9, 0.51, "60%")]
)
def test_nothing_is_decided_by_less_than_a_standard_error_or_where_surely_more_than_half_is_wrong(z, low, words):
    """A network that is far ahead of chance may well estimate 60% of ten classes; the interval says how surely."""
    true, given = labels(400, 10, 0.2)
    rates = estimate_rates(true, np.full(400, 0.8), given, np.ones(400, bool), 10)
    learning = Learning(z, 0.4, 0.1, 400)
    rates, why = undecided_rates(replace(rates, rate=0.6, low=low, high=0.7), learning)
    assert rates.known == (not words) and words in why and ("more than half" in why) == bool(words)


def test_wrong_labels_of_one_class_rank_first_where_it_is_wrong_more_often():
    rng = np.random.default_rng(7)
    true = rng.integers(2, size=6000)
    given = np.where(rng.random(6000) < np.where(true == 0, 0.02, 0.4), 1 - true, true)
    recorder, _, held_out = two_stages(n=6000, n_classes=2, flips=(true, given), hard=0.4)
    training = read_training(recorder, held_out)
    verdict = judge([training])
    corrected = verdict.score
    from labelnoise.audit.scores import left_out_margin

    plain, noisy = left_out_margin(training), given != true
    assert average_precision(corrected, noisy) > average_precision(plain, noisy) + 0.01
    shift = corrected - plain
    assert np.allclose(shift, np.where(given == 0, shift[given == 0][0], shift[given == 1][0])) and np.ptp(shift) > 1
    other = judge([training], seed=1)
    assert (
        np.array_equal(other.score, corrected)
        and other.rates.transition_high[0, 1] != verdict.rates.transition_high[0, 1]
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda r, h: ln.suspects(None), "must be a Recorder"),
        (lambda r, h: ln.suspects(ln.Recorder(3, 2)), "must hold an epoch"),
        (lambda r, h: ln.suspects(r, held_out=h[:5]), "take the mask of these data"),
        (lambda r, h: ln.suspects(r, held_out=[0.5]), "mask of truth values"),
        (lambda r, h: ln.suspects(r, stop=21), "at most the number of epochs"),
        (lambda r, h: ln.suspects(r, score="aums"), "did you mean 'aum'"),
        (lambda r, h: ln.suspects(r, decision=3), "must be one of counted"),
        (lambda r, h: ln.suspects([r], held_out=[h, h]), "a list of a mask a recorder"),
        (lambda r, h: ln.suspects([r, two_stages(n=10)[0]]), "records must be of the same data"),
        (lambda r, h: ln.suspects([r, two_stages(seed=9)[0]]), "records must be of the same labels"),
    ],
)
def test_bad_input_is_refused(case, call, words):
    recorder, _, held_out = case
    with pytest.raises(ln.InputError, match=words):
        call(recorder, held_out)
    assert isinstance(read_training(recorder), RecordedTraining)


def test_running_sums_serve_where_no_history_is_kept():
    """The same score as with the history, and nearly the same suspects."""
    whole, true, held_out = two_stages()
    sums = ln.Recorder(1000, 4, history=False, held_out=held_out)
    with_mask = ln.Recorder(1000, 4, held_out=held_out)
    rng = np.random.default_rng(3)
    given, everyone = whole.given, np.arange(1000)
    ease = rng.normal(3, 1, 1000)
    for epoch in range(12):
        logits = rng.normal(0, 0.3, (1000, 4))
        logits[everyone, true] += ease * min(1, (epoch + 1) / 3)
        logits[everyone, given] += 2.0 * max(0, epoch - 5) * ~held_out
        logits[held_out] *= 1 + 0.4 * max(0, epoch - 5)
        for recorder in (sums, with_mask):
            recorder.update(everyone, logits, given)
            recorder.end_epoch()
    light = ln.suspects(sums, decision="rejected")
    full = ln.suspects(with_mask, stop=sums.sums.stop + 1, decision="rejected", score="given-probability")
    noisy = given != true
    for frame in (light, full):
        flagged = np.zeros(1000, bool)
        flagged[frame.loc[frame["flagged"], "index"]] = True
        assert f1(flagged, noisy) > 0.95
        assert average_precision(frame.set_index("index")["score"].sort_index().to_numpy(), noisy) > 0.9
    assert light.attrs["stop"] == sums.sums.stop + 1 == 5
    assert "running sums" in light.attrs["reason"]
    low, high = light.attrs["interval"]
    assert low <= noisy.mean() <= high
    assert abs(light.attrs["rate"] - noisy.mean()) < 0.04  # of fifths of 200, each with a standard error of 0.03
    training, upto = read_sums(sums), 2 * (sums.sums.stop + 1)
    chance = np.exp(-np.asarray(with_mask.loss)[:upto]).mean(axis=0)
    assert_close(np.exp(-training.loss[0].astype(float)), chance.astype(float), rtol=1e-4, atol=2e-6)
    for name, value in (("stop", 3), ("held_out", held_out), ("score", "aum")):
        with pytest.raises(ln.InputError, match=f"`{name}` needs a history, got .* running sums; make it with"):
            ln.suspects(sums, **{name: value})
    with pytest.raises(ln.InputError, match="all with a history or all without"):
        ln.suspects([sums, with_mask])


def test_running_sums_without_held_out_samples_are_the_share_rejected():
    whole, _, _ = two_stages(n=200)
    sums = ln.Recorder(200, 4, history=False)
    for row in (np.eye(4)[whole.prediction[t]] * 3 for t in range(whole.epochs)):
        sums.update(np.arange(200), row, whole.given)
        sums.end_epoch()
    share = (np.asarray(whole.prediction) != whole.given).mean(axis=0)
    score = ln.suspects(sums).set_index("index")["score"].sort_index().to_numpy()
    assert_close(score, share, rtol=1e-3, atol=1e-5)
    assert ln.suspects(sums).attrs["stop"] is None and "no stop is known" in ln.suspects(sums).attrs["reason"]


def test_what_is_said_of_several_recorders_of_which_one_held_out(case):
    recorder, _, held_out = case
    frame = ln.suspects([recorder, recorder], held_out=[None, held_out])
    assert np.isfinite(frame.attrs["rate"]) and not any("held out" in note for note in frame.attrs["notes"])
    with pytest.raises(ln.InputError, match="got an empty list"):
        ln.suspects([])


def test_undecided_audits_give_no_matrix_and_the_mean_margin_is_of_what_was_seen(case):
    true, given = labels(600, 2, 0.5)
    recorder, _, held_out = two_stages(n=600, n_classes=2, flips=(true, given))
    verdict = judge([read_training(recorder, held_out)])
    assert not verdict.decided and np.isnan(verdict.rates.transition).all() and np.isnan(verdict.rates.wrong).all()
    halves = []
    for part in (np.arange(1000) % 2 == 0, np.arange(1000) % 2 == 1):
        half, everyone = ln.Recorder(1000, 4), np.arange(1000)
        half.update(everyone[part], np.eye(4)[case[0].given[part]], case[0].given[part])
        half.end_epoch()
        halves.append(read_training(half, part))
    assert (judge(halves).margin == 1).all()


def test_a_network_that_errs_a_lot_is_said_to_count_its_own_errors():
    """Of ten classes the network takes every second sample of half of them for the next class."""
    said = {}
    for hard in (0, 9):
        rng = np.random.default_rng(0)
        true, given = labels(1000, 10, 0.2)
        predicted = np.where((true < hard) & (rng.random(1000) < 0.5), (true + 1) % 10, true)
        basis = Basis(predicted, np.zeros(1000), predicted, np.full(1000, 0.8), np.ones(1000, bool), (), ())
        said[hard] = learning_of(basis, given, 10)
    assert said[0].doubt(0.3) == "" and said[0].fitted > 0.7
    assert said[9].fitted < 0.55 and "it errs a lot" in said[9].doubt(0.3) and "far too high" in said[9].doubt(0.3)
    assert replace(said[9], held_out=49).doubt(0.3) == replace(said[9], chance=0.56).doubt(0.3) == ""
    two = replace(said[9], chance=0.5)
    assert replace(two, fitted=0.74).poor and not replace(two, fitted=0.76).poor
    rates = replace(estimate_rates(predicted, np.full(1000, 0.8), given, np.ones(1000, bool), 10), rate=0.3, low=0.2)
    assert [undecided_rates(rates, said[hard])[0].low for hard in (0, 9)] == [0.2, 0]


@pytest.mark.parametrize(
    ("contradicted", "rate", "words"),
    [
        ([30, 70, 80, 85, 85], 0.0, "that few labels seem wrong, or none, says little: more may be"),
        ([34, 70, 80, 85, 85], 0.46 / 12, "that few labels seem wrong, or none, says little: more may be"),
        ([35, 70, 80, 85, 85], 0.65 / 12, "the number of wrong labels and the chances may be far too high"),
    ],
)
def test_what_is_said_of_a_network_that_errs_a_lot_fits_the_number(contradicted, rate, words):
    """Ten classes, of each fifth of each so many in a hundred are given another label, the surest first."""
    predicted, sure = np.tile(np.arange(10), 500), np.repeat(np.linspace(0.9, 0.4, 500), 10)
    other = np.concatenate([np.arange(100) < count for count in contradicted]).repeat(10)
    given = np.where(other, (predicted + np.random.default_rng(0).integers(1, 10, 5000)) % 10, predicted)
    chances = np.repeat((1 - sure)[:, None] / 9, 10, axis=1)
    chances[np.arange(5000), predicted] = sure
    recorder = ln.Recorder(5000, 10)
    recorder.update_proba(np.arange(5000), chances, given)
    recorder.end_epoch()
    verdict = judge([read_training(recorder, np.ones(5000, bool))])
    assert verdict.rates.rate == pytest.approx(rate) and verdict.rates.low == 0
    said = [note for note in verdict.notes if "it errs a lot" in note]
    assert len(said) == 1 and words in said[0] and ("says little" in said[0]) != ("too high" in said[0])
    text = summarise(verdict, [*"abcdefghij"], "", ())["text"]
    assert text.startswith("Perhaps none, perhaps many" if rate == 0 else f"About {5000 * rate:.0f} of")
    assert (", so perhaps none);" in text) == (rate > 0)  # the interval begins there
    sure = replace(verdict, rates=replace(verdict.rates, rate=0.2, low=0.1, high=0.3))
    assert "interval 500 to 1,500);" in summarise(sure, [*"abcdefghij"], "", ())["text"]


@pytest.mark.parametrize(
    ("high", "words"), [(0.099, "Probably none of 1,000 labels is"), (0.1, "Perhaps none, perhaps many of")]
)
def test_none_is_said_to_be_wrong_only_where_few_may_be(case, high, words):
    verdict = judge([read_training(case[0], case[2])])
    unsure = replace(verdict, rates=replace(verdict.rates, rate=0.0, low=0.0, high=high))
    assert summarise(unsure, list("abcd"), "", ())["text"].startswith(words)
