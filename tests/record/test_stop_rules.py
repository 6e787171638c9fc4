"""Stop rules against numbers written out, online against offline, and what must be kept of a run that goes on."""

import math
import pickle

import numpy as np
import pytest
import torch

from helpers import assert_close, evidence_of
from labelnoise.errors import InputError
from labelnoise.record import sureness
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import (
    STOP_RULES,
    Combined,
    HeldOutAccuracy,
    HeldOutLoss,
    LabelWave,
    RunningMean,
    StopRule,
    named_rule,
)
from labelnoise.record.stopping import HeldOut, paired_fall
from labelnoise.record.watching import Watch, find_stop, with_epoch

LOSS, ACCURACY, WAVE = HeldOutLoss(patience=3), HeldOutAccuracy(patience=3, smooth=3), LabelWave()
RULES = {
    "loss": LOSS,
    "loss of one": HeldOutLoss(patience=4, smooth=1),
    "loss of five": HeldOutLoss(patience=6, smooth=5),
    "accuracy": ACCURACY,
    "wave": WAVE,
    "running mean": RunningMean(patience=3),
    "first": LOSS | ACCURACY,
    "last": LOSS & WAVE,
    "median": Combined((LOSS, ACCURACY, WAVE)),
    "nested": (LOSS | WAVE) & ACCURACY,
}


def evidence(loss=None, fitted=None, changes=None, n=100):
    """Evidence of series: a loss a record stands for one held-out sample."""
    given = [part for part in (loss, fitted, changes) if part is not None]
    records = len(given[0])
    losses = np.zeros((records, 0)) if loss is None else np.array(loss, float).reshape(records, -1)
    fits = np.zeros((records, 0), bool) if fitted is None else np.array(fitted, bool).reshape(records, -1)
    shares = np.full(records, np.nan) if changes is None else np.array(changes, float)
    return evidence_of(losses.astype(np.float32), fits, shares, n)


def run(seed, records=40):
    """A recorder of a made-up run in two stages: 60 samples of 3 classes, the first 20 of them held out."""
    rng, n = np.random.default_rng(seed), 60
    recorder, given = Recorder(n, 3), rng.integers(3, size=n)
    drift = rng.normal(size=(n, 3))
    for epoch in range(records):
        pull = np.eye(3)[given] * min(epoch, 8) / 4
        recorder.update(np.arange(n), pull + rng.normal(size=(n, 3)) / 2 + drift * max(epoch - 8, 0) / 5, given)
        recorder.end_epoch()
    return recorder, np.arange(n) < 20


def test_the_least_mean_of_three_losses_is_kept():
    """Means of three around records 1 to 5: .8333, .6333, .7, .65, .5833; at the last record, of two."""
    loss = [1.0, 0.7, 0.8, 0.4, 0.9, 0.65, 0.2]
    assert_close([HeldOutLoss(9).decide(evidence(loss[:k])).chosen for k in range(1, 8)], [0, 1, 2, 3, 2, 2, 6])
    assert HeldOutLoss(9, smooth=1).decide(evidence(loss[:6])).chosen == 3


@pytest.mark.parametrize(("patience", "stopped"), [(1, 4), (2, 4), (3, 5), (6, 8), (7, None)])
def test_patience_counts_records_after_the_least_mean(patience, stopped):
    loss = [0.9, 0.6, 0.2, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    stop = HeldOutLoss(patience).decide(evidence(loss))
    assert (stop.chosen, stop.stopped) == (2, stopped)


def test_a_loss_that_is_no_number_is_passed_over():
    nan = math.nan
    stop = HeldOutLoss(3).decide(evidence([0.9, nan, 0.5, 0.4, 0.3, nan, 0.6, 0.7]))
    assert (stop.chosen, stop.stopped, stop.applicable) == (4, 7, True)
    for lost in ([nan] * 4, [math.inf] * 4):
        stop = HeldOutLoss(1).decide(evidence(lost))
        assert (stop.chosen, stop.stopped, stop.applicable) == (3, None, False) and "not applicable" in stop.reason


def test_accuracy_is_the_held_out_rule():
    recorder, held_out = run(3)
    fitted = (recorder.margin > 0)[:, held_out]
    reference = HeldOut(20, 3, 3)(fitted.mean(1), recorder.loss[:, held_out].mean(1))
    stop = find_stop(ACCURACY, recorder, held_out)
    assert (stop.chosen, stop.stopped) == (reference.chosen, reference.stopped) and stop.stopped is not None
    assert stop.fall == paired_fall(fitted[stop.chosen], fitted[stop.stopped])


def test_label_wave_keeps_the_first_minimum_of_three_changes():
    """Means of three from record 3 on: .2, .16, .11, .08, .09: it ends at record 7 and keeps 6."""
    changes = [np.nan, 0.3, 0.2, 0.1, 0.18, 0.05, 0.01, 0.21, 0.0]
    stop = LabelWave().decide(evidence(changes=changes))
    assert (stop.chosen, stop.stopped) == (6, 7)
    # 100 samples: 21 enter the mean and 18 leave it, (21 - 18) / sqrt(39)
    assert "8.0% of the predictions change, then 9.0%, a rise of 0.5 standard errors" in stop.reason
    assert LabelWave(k=1).decide(evidence(changes=changes)).chosen == 3


def test_label_wave_is_not_applicable_where_labels_hardly_change():
    changes = [np.nan, 0.02, 0.01, 0.003, 0.002, 0.001, 0.004, 0.002, 0.001]
    stop = LabelWave().decide(evidence(changes=changes))
    assert (stop.chosen, stop.stopped, stop.falls, stop.applicable) == (8, None, False, False)
    assert stop.reason == "not applicable: 0.2% of the predictions change, below 1.0% is chance"
    assert LabelWave(least=0.0).decide(evidence(changes=changes)).applicable


def test_label_wave_of_predictions():
    """Three of four predictions change, then one, then none of those seen in both records."""
    watch = Watch(LabelWave(k=1))
    for prediction in ([0, 1, 2, 0], [1, 0, 0, 0], [1, 0, 0, 1], [1, -1, 0, 1]):
        watch.observe(prediction=prediction)
    assert_close(watch.evidence.changes[1:], [0.75, 0.25, 0.0])
    assert np.isnan(watch.evidence.changes[0]) and watch.evidence.n == 4


def test_the_running_mean_of_predictions():
    """Probabilities .2, .8, .4, .1 of one sample: their running means .2, .5, .4667, .375."""
    loss = -np.log([0.2, 0.8, 0.4, 0.1])
    stop = RunningMean(2).decide(evidence(loss))
    assert (stop.chosen, stop.stopped) == (1, 3)
    assert RunningMean(3).decide(evidence(-np.log([0.2, 0.8, 0.6, 0.1]))).chosen == 2


def test_first_last_and_median_of_rules():
    """Loss keeps 2 and ends at 5, accuracy keeps 4 and ends at 7, changes keep 6 and end at 7."""
    loss = [0.9, 0.6, 0.2, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    fitted = [[0] * 4, [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1] * 4, [1, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]
    changes = [np.nan, 0.3, 0.2, 0.1, 0.18, 0.05, 0.01, 0.21, 0.0]
    seen = evidence(np.repeat(np.array(loss)[:, None], 4, axis=1), fitted, changes)
    rules = (HeldOutLoss(3), HeldOutAccuracy(3, smooth=1), LabelWave())
    assert [(s.chosen, s.stopped) for s in (r.decide(seen) for r in rules)] == [(2, 5), (4, 7), (6, 7)]
    first, last, median = (Combined(rules[::-1], how).decide(seen) for how in ("first", "last", "median"))
    assert [(s.chosen, s.stopped) for s in (first, last, median)] == [(2, 5), (6, 7), (4, 7)]
    assert (rules[1] | rules[2]).decide(seen).chosen == 4 and (rules[1] & rules[2]).decide(seen).chosen == 6
    assert median.fall == paired_fall(seen.fitted[4], seen.fitted[7]) and median.falls == median.fall.seen


def test_a_rule_that_is_not_applicable_has_no_say():
    loss, still = [0.9, 0.6, 0.2, 0.6, 0.7, 0.8], [np.nan] + [0.001] * 5
    rule = LabelWave() | HeldOutLoss(3)
    stop = rule.decide(evidence(loss, changes=still))
    assert (stop.chosen, stop.stopped) == (2, 5) and "the first of 2 rules, 1 not applicable" in stop.reason
    stop = (LabelWave() & LabelWave(k=2)).decide(evidence(changes=still))
    assert not stop.applicable and (stop.chosen, stop.stopped) == (5, None)


def test_how_sure_a_stop_is():
    """Losses of four samples: record 1 differs from record 2 by chance, records 0 and 3 by 9 standard errors."""
    loss = np.array([[1.0, 1.2, 1.1, 1.0], [0.6, 0.2, 0.4, 0.6], [0.5, 0.3, 0.3, 0.5], [0.9, 0.8, 0.75, 0.95]])
    stop = HeldOutLoss(9, smooth=1).decide(evidence(loss))
    assert (stop.chosen, stop.between) == (2, (1, 2))
    assert stop.falls and stop.fall is None and "held-out loss 0.400, at the end 0.850: a rise of more" in stop.reason
    calm = HeldOutLoss(9, smooth=1).decide(evidence(loss[:3]))
    assert not calm.falls and "no reason to stop is seen" in calm.reason
    alone = HeldOutLoss(9, smooth=1).decide(evidence(loss.mean(1)))
    assert (alone.chosen, alone.falls, alone.between) == (2, False, (0, 3))  # one mean a record has no error


def test_samples_are_compared_with_themselves():
    """Each loses .1 or a little more; hard and easy ones differ by ten times that, which is no error of the rise."""
    hard = np.array([0.1, 1.0, 2.0, 3.0, 0.5, 0.2])
    loss = np.stack([hard + 0.2, hard, hard + [0.1, 0.12, 0.11, 0.13, 0.1, 0.12]])
    stop = HeldOutLoss(9, smooth=1).decide(evidence(loss))
    assert stop.falls and stop.between == (1, 1) and "two paired standard errors (0.010) of 6 samples" in stop.reason


@pytest.mark.parametrize("block", [1, 30, 2**15])
def test_records_that_cannot_be_told_from_the_stop_are_those_of_a_loop(monkeypatch, block):
    """With gaps and infinite losses, in blocks of one record, of a few, and of all."""
    monkeypatch.setattr(sureness, "BLOCK", block)
    reaches = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        loss = np.abs(np.cumsum(rng.normal(0, 0.1, (40, 9)), axis=0) + rng.random(9))
        loss[rng.random(loss.shape) < 0.2 * (seed % 3)] = math.nan
        loss[rng.random(loss.shape) < 0.01 * (seed % 2)] = math.inf
        chosen = int(rng.integers(40))

        def alike(at, loss=loss, chosen=chosen):
            both = ~np.isnan(loss[at]) & ~np.isnan(loss[chosen])
            with np.errstate(invalid="ignore"):
                difference = (loss[at] - loss[chosen])[both]
            if difference.size < 2 or not np.isfinite(difference).all():
                return True
            return abs(difference.mean()) <= 2 * difference.std(ddof=1) / math.sqrt(difference.size)

        first, last = chosen, chosen
        while first > 0 and alike(first - 1):
            first -= 1
        while last < 39 and alike(last + 1):
            last += 1
        assert sureness.stop_at(evidence(loss), chosen, None).between == (first, last), seed
        reaches.add(last - first)
    assert min(reaches) < 3 and max(reaches) > 25
    mean, error = sureness._difference(np.array([[1.0, math.inf], [1.0, math.nan], [1.0, 3.0]]), np.zeros(2))
    assert mean.tolist() == [0, 0, 2] and error.tolist() == pytest.approx([math.inf, math.inf, 1])


def test_without_held_out_samples_nothing_is_said_of_a_second_stage():
    stop = LabelWave(k=1).decide(evidence(changes=[np.nan, 0.3, 0.1, 0.2]))
    assert not stop.falls and stop.fall is None and stop.between == (0, 3)
    assert "it is not known whether there is a Stage II to avoid" in stop.reason


@pytest.mark.parametrize("name", RULES)
def test_a_record_says_afterwards_what_a_watch_says_on_the_way(name):
    for seed in range(6):
        recorder, held_out = run(seed)
        watch = Watch(RULES[name])
        for loss, prediction in zip(recorder.loss, recorder.prediction, strict=True):
            fitted = torch.as_tensor((prediction == recorder.given)[held_out])
            stop = watch.observe(loss=list(loss[held_out]), fitted=fitted, prediction=prediction[~held_out])
            if stop.stopped is not None:
                assert stop.stopped == watch.records - 1
                break
        assert find_stop(RULES[name], recorder, held_out) == with_epoch(stop, watch.records)


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 12), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", RULES)
def test_what_a_rule_chooses_later_was_a_candidate_since_it_was_recorded(name, seeds):
    """Otherwise its weights would have been deleted."""
    moved = 0
    for seed in seeds:
        recorder, held_out = run(seed)
        watch, candidates, choices = Watch(RULES[name]), [], []
        for loss, prediction in zip(recorder.loss, recorder.prediction, strict=True):
            fitted = (prediction == recorder.given)[held_out]
            stop = watch.observe(loss=loss[held_out], fitted=fitted, prediction=prediction[~held_out])
            candidates.append(watch.candidates())
            choices.append(stop.chosen)
            assert stop.chosen in candidates[-1] and max(candidates[-1]) < watch.records
            for at, known in enumerate(candidates[stop.chosen :], stop.chosen):
                assert stop.chosen in known, (seed, stop.chosen, at)
            if watch.ended:
                break
        moved += len(set(choices)) > 2
    assert moved > 2, "the test needs choices that move"


@pytest.mark.parametrize("name", RULES)
def test_a_watch_goes_on_from_its_state(name):
    recorder, held_out = run(1, records=12)
    whole, cut = Watch(RULES[name]), Watch(RULES[name])
    for at, (loss, prediction) in enumerate(zip(recorder.loss, recorder.prediction, strict=True)):
        row = {"loss": loss[held_out], "fitted": (prediction == recorder.given)[held_out], "prediction": prediction}
        if at == 5:
            state = {key: torch.as_tensor(value) for key, value in cut.state_dict().items() if key != "n"}
            cut = Watch(RULES[name])
            cut.load_state_dict({**state, "n": whole.evidence.n})
            assert cut.stop == whole.stop
        assert whole.observe(**row) == cut.observe(**row)
    assert cut.records == 12 and whole.state_dict().keys() == {"loss", "fitted", "changes", "prediction", "n"}


def test_rules_are_values():
    for rule in RULES.values():
        assert isinstance(rule, StopRule) and rule == pickle.loads(pickle.dumps(rule)) and rule in {rule}
    assert HeldOutLoss() != HeldOutLoss(3) and (LOSS | WAVE) != (WAVE | LOSS)
    assert RULES["median"].needs == ("loss", "fitted", "prediction")
    without = [name for name, rule in RULES.items() if not rule.needs_held_out]
    assert [RULES[name] for name in without] == [WAVE], without


def test_rules_by_name():
    assert all(isinstance(named_rule(name, 7), StopRule) for name in STOP_RULES)
    assert named_rule("loss", 7) == HeldOutLoss(7) and named_rule("median", 7).rules[1] == HeldOutAccuracy(7)
    with pytest.raises(InputError, match="`rule` must name a stop rule, got 'los'; did you mean 'loss'"):
        named_rule("los", 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HeldOutLoss(0), "`patience` must be an integer >= 1, got 0"),
        (lambda: HeldOutLoss(smooth=4), "`smooth` must be odd, .*, got 4; use 3"),
        (lambda: HeldOutAccuracy(patience=2.5), "`patience` must be an integer"),
        (lambda: LabelWave(k=0), "`k` must be an integer >= 1"),
        (lambda: LabelWave(least=2), r"`least` must lie in \[0, 1\], got 2; use for example 0.01"),
        (lambda: RunningMean("x"), "`patience` must be an integer"),
        (lambda: Combined((LOSS,)), "`rules` must be two stop rules or more"),
        (lambda: LOSS | 3, "`rules` must be two stop rules or more"),
        (lambda: Combined((LOSS, WAVE), "middle"), "`how` must be one of first, last, median, got 'middle'"),
        (lambda: Watch(HeldOut(3)), r"`rule` must be a stop rule, got HeldOut\(.*; use for example HeldOutLoss"),
        (lambda: Watch(LOSS).observe(fitted=[True]), "`loss` must be given at each record, got None; HeldOutLoss"),
        (lambda: Watch(LOSS).observe(loss=[]), r"`loss` must hold a value a held-out sample, got shape \(0,\)"),
        (lambda: Watch(LOSS).observe(loss="x"), "`loss` must be real numbers, got 'x'"),
        (lambda: Watch(ACCURACY).observe(fitted=[0.5]), "`fitted` must be a mask of truth values"),
        (lambda: Watch(ACCURACY).observe(fitted=[1], loss=[0.1, 2]), r"as many samples as `loss` \(2\), got 1"),
        (lambda: Watch(WAVE).observe(prediction=[0.5]), "`prediction` must be a vector of integers"),
        (lambda: find_stop(LOSS, Recorder(3, 2)), "`recorder` must hold an ended epoch"),
        (lambda: find_stop(LOSS, run(0, 2)[0]), "`held_out` must hold samples, got none; HeldOutLoss"),
        (lambda: find_stop(LOSS, run(0, 2)[0], [True]), r"a truth value a sample \(60\), got shape \(1,\)"),
        (lambda: Watch(LOSS).load_state_dict({}), "the state must be what `state_dict` returned"),
        (lambda: Watch(LOSS).load_state_dict(watched(WAVE).state_dict()), "the state must hold `loss`, got none"),
    ],
)
def test_what_is_no_rule_or_no_record_is_refused(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def watched(rule):
    watch = Watch(rule)
    watch.observe(prediction=[0, 1, 1])
    return watch


def test_a_refused_record_is_not_taken():
    watch = Watch(Combined((LOSS, WAVE)))
    watch.observe(loss=[0.5, 0.4], prediction=[0, 1, 1])
    for row, message in (
        ({"loss": [0.5], "prediction": [0, 1, 1]}, "must hold the 2 held-out samples of the first record, got 1"),
        ({"loss": [0.5, 0.4], "prediction": [0, 1]}, r"the samples of the record before \(3\), got 2"),
        ({"loss": [0.5, 0.4], "prediction": [0, 1, 1], "fitted": [1, 1]}, "`fitted` must be not given at every rec"),
    ):
        with pytest.raises(InputError, match=message):
            watch.observe(**row)
    assert watch.records == 1
    watch.observe(loss=[0.5, 0.4], prediction=[1, 1, 1])
    assert watch.evidence.changes[1] == pytest.approx(1 / 3)


def test_a_record_with_a_mask_of_its_own_needs_no_other():
    rng, held_out = np.random.default_rng(0), np.arange(60) % 3 == 0
    with_mask, without = Recorder(60, 2, held_out=held_out), Recorder(60, 2)
    for _ in range(9):
        logits = rng.normal(size=(60, 2))
        for recorder in (with_mask, without):
            recorder.update(np.arange(60), logits, np.arange(60) % 2)
            recorder.end_epoch()
    assert find_stop(LOSS, with_mask) == find_stop(LOSS, without, held_out)
    assert find_stop(LOSS, with_mask, ~held_out) == find_stop(LOSS, without, ~held_out)  # the one given counts


def test_a_watch_that_has_seen_nothing_has_a_state_and_goes_on_from_it():
    fresh, filled = Watch(LOSS), Watch(LOSS)
    filled.observe(loss=[0.5])
    assert fresh.evidence.records == 0 and fresh.evidence.mean_loss.shape == (0,)
    filled.load_state_dict(fresh.state_dict())
    assert (filled.records, filled.stop, filled.candidates()) == (0, None, set())
