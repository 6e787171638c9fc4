"""What was not seen is a gap, in every rule; and the least held-out loss is one thing in three places."""

import numpy as np
import pytest

from helpers import assert_close, evidence_of
from labelnoise.audit.recorded import end_of_stage_one
from labelnoise.record.means import centred_means, mean_known
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutAccuracy, HeldOutLoss, RunningMean
from labelnoise.record.stopping import paired_fall
from labelnoise.record.sums import LeastLoss
from labelnoise.record.watching import Watch, find_stop, with_epoch

NAN = np.nan
RULES = (HeldOutLoss(6), HeldOutLoss(6, smooth=1), HeldOutAccuracy(6, smooth=3), RunningMean(6))


def losses(seed, records=24, h=30, gaps=0.0):
    """Losses that fall and rise; a share of them was not seen."""
    rng = np.random.default_rng(seed)
    series = (0.5 + np.abs(np.arange(records) - 9) / 12)[:, None] + rng.normal(0, 0.2, (records, h))
    return np.where(rng.random((records, h)) < gaps, NAN, np.abs(series)).astype(np.float32)


def observed(rule, loss, fitted=None):
    watch = Watch(rule)
    for at, row in enumerate(loss):
        stop = watch.observe(loss=row, fitted=row < 0.6 if fitted is None else fitted[at])
        if watch.ended:
            break
    return stop, watch


@pytest.mark.parametrize("rule", RULES)
def test_samples_that_are_never_seen_change_nothing(rule):
    """Ten more held-out samples whose loss is NaN in every record: the same stop, as sure as before."""
    for seed in range(4):
        loss = losses(seed)
        more = np.concatenate([loss, np.full((len(loss), 10), NAN, np.float32)], axis=1)
        assert observed(rule, more)[0] == observed(rule, loss)[0]


@pytest.mark.parametrize("rule", RULES)
def test_a_record_in_which_nothing_was_seen_is_passed_over(rule):
    """It is chosen by no rule, whether it lies at the start, in the middle or at the end."""
    loss = losses(1)
    for gap in (0, 9, 10, 23):
        cut = loss.copy()
        cut[gap] = NAN
        stop, watch = observed(rule, cut[: gap + 1])
        assert stop.chosen != gap or gap == 0 and not stop.applicable
        stop, watch = observed(rule, cut)
        assert stop.applicable and stop.chosen != gap and "nan" not in stop.reason and gap not in {stop.chosen}


def test_the_mean_is_over_those_that_were_seen():
    loss = np.array([[1.0, 3.0, NAN], [NAN, NAN, NAN], [0.5, NAN, 0.25]], np.float32)
    fitted = np.array([[1, 0, 1], [1, 1, 1], [1, 0, 0]], bool)
    seen = evidence_of(loss, fitted, np.full(3, NAN))
    assert_close(seen.mean_loss[[0, 2]], [2.0, 0.375])
    assert_close(seen.accuracy[[0, 2]], [0.5, 0.5])
    # of the mean prediction: the first sample (e^-1 + e^-.5) / 2, the second e^-3 as it was, the third e^-.25
    mixed = -np.log([(np.exp(-1) + np.exp(-0.5)) / 2, np.exp(-3), np.exp(-0.25)]).mean()
    assert_close(seen.mixed_loss[[0, 2]], [2.0, mixed])
    assert np.isnan([seen.mean_loss[1], seen.accuracy[1], seen.mixed_loss[1]]).all()


def test_a_fall_compares_the_samples_that_were_seen_in_both():
    loss, fitted = losses(2, gaps=0.3), np.random.default_rng(0).random((24, 30)) < 0.7
    stop, watch = observed(HeldOutLoss(6), loss, fitted)
    chosen, end = stop.chosen, stop.stopped
    both = ~np.isnan(loss[chosen]) & ~np.isnan(loss[end])
    assert 5 < both.sum() < 25 and stop.fall == paired_fall(fitted[chosen][both], fitted[end][both])
    alone = Watch(HeldOutLoss(6))
    for row in loss[: end + 1]:
        last = alone.observe(loss=row)
    difference = loss[end][both].astype(float) - loss[chosen][both]
    error = difference.std(ddof=1) / np.sqrt(both.sum())
    assert last.falls == (difference.mean() > 2 * error) and f"({2 * error:.3f}) of {both.sum()} samples" in last.reason


@pytest.mark.parametrize("rule", RULES)
def test_a_recorder_with_gaps_says_what_a_watch_says(rule):
    """Held-out samples that an epoch left out: their prediction is unknown, and no mistake."""
    n, rng = 60, np.random.default_rng(3)
    given, recorder, held_out = rng.integers(3, size=n), Recorder(n, 3), np.arange(n) < 25
    watch = Watch(rule)
    for epoch in range(20):
        seen = np.flatnonzero((rng.random(n) < 0.7) | ~held_out)
        logits = np.eye(3)[given] * min(epoch, 8) / 4 + rng.normal(size=(n, 3)) * (0.5 + max(epoch - 8, 0) / 8)
        recorder.update(seen, logits[seen], given[seen])
        record = recorder.end_epoch()
        if not watch.ended:
            right = (record.prediction == given)[held_out]
            stop = watch.observe(loss=record.loss[held_out], fitted=right)
            known = ~np.isnan(record.loss[held_out])
            assert watch.evidence.accuracy[-1] == pytest.approx(right[known].mean())
    assert find_stop(rule, recorder, held_out) == with_epoch(stop, watch.records)


def test_only_gaps_are_not_applicable():
    for rule in RULES:
        stop, _ = observed(rule, np.full((3, 4), NAN, np.float32))
        assert not stop.applicable and (stop.chosen, stop.stopped) == (2, None)


def test_records_are_not_copied_as_more_come():
    """Room for them doubles now and then; in between, what was observed before stays where it is."""
    watch, loss, seen = Watch(HeldOutLoss(50)), losses(0, records=40), {}
    for at, row in enumerate(loss):
        watch.observe(loss=row, fitted=row < 0.6)
        seen[at] = watch.evidence
    for name in ("loss", "fitted", "changes", "mean_loss", "accuracy", "mixed_loss"):
        early, late = getattr(seen[20], name), getattr(seen[30], name)
        assert np.shares_memory(early, late) and len(early) == 21
        np.testing.assert_array_equal(getattr(seen[39], name)[:21], early)
    np.testing.assert_array_equal(seen[39].loss, loss)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_the_least_loss_is_one_thing(gaps):
    """As it was written three times: the shared means move no stop."""
    for seed in range(40):
        loss = losses(seed, gaps=gaps)
        if gaps:
            loss[np.random.default_rng(seed).random(len(loss)) < 0.2] = NAN
        series = np.array([mean_known(row) for row in loss])
        for smooth in (1, 3):
            half = smooth // 2
            padded = np.pad(series, half, constant_values=NAN)
            window = np.lib.stride_tricks.sliding_window_view(padded, smooth)
            known = ~np.isnan(window)
            total = np.where(known, window, 0).sum(axis=1)
            mean = np.where(known[:, half], total / np.maximum(known.sum(axis=1), 1), np.inf)
            means = centred_means(series, half, half)
            np.testing.assert_allclose(means, mean, rtol=1e-14)  # processors add in other orders
            choice = LeastLoss(smooth)(series)
            least = [np.flatnonzero(part == part.min())[-1] for part in (means, means[: 24 - half])]
            assert choice == tuple(least)
            stop = HeldOutLoss(100, smooth).decide(evidence_of(loss, np.zeros((24, 0), bool), np.full(24, NAN)))
            assert stop.chosen == choice.chosen
        found = np.flatnonzero(np.isfinite(series))
        whole = np.convolve(series[found], np.full(3, 1 / 3), "valid")
        assert end_of_stage_one(loss)[0] == found[np.flatnonzero(whole == whole.min())[-1] + 1] + 1


@pytest.mark.parametrize("patience", [1, 3, 30])
@pytest.mark.parametrize("smooth", [1, 3, 5])
def test_the_least_loss_is_that_of_a_loop_over_records(smooth, patience):
    """Losses of four values, infinite and unknown ones among them: most series hold ties, and all means are whole."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        series = rng.choice([60.0, 120.0, 180.0, 420.0, np.inf, NAN], size=rng.integers(1, 16))
        if not np.isfinite(series).any():
            continue
        seen = evidence_of(series[:, None], np.zeros((series.size, 0), bool), np.full(series.size, NAN), 0)
        stop = HeldOutLoss(patience, smooth).decide(seen)
        chosen, stopped = least_loss_in_a_loop(series, smooth // 2, patience)
        assert (stop.chosen, stop.stopped) == (chosen, stopped), (seed, series)
        if smooth < 5 and stopped is None and np.isfinite(centred_means(series, smooth // 2, smooth // 2)).any():
            assert LeastLoss(smooth)(series).chosen == chosen


def least_loss_in_a_loop(series, half, patience):
    """The last least mean as each record saw it."""
    for now in range(series.size):
        least, chosen = np.inf, 0
        for at in range(now + 1):
            window = series[max(at - half, 0) : min(at + half, now) + 1]
            mean = np.nanmean(window) if np.isfinite(series[at]) else np.inf
            if mean <= least:
                least, chosen = mean, at
        if least < np.inf and now - chosen >= patience:
            return chosen, now
    return chosen, None


def test_the_last_record_is_kept_where_means_are_equal():
    """Wherever a least loss is looked for, so that one that does not change never ends a run."""
    flat = np.full((9, 2), 0.25, np.float32)
    for rule in (HeldOutLoss(4), HeldOutLoss(4, smooth=1)):
        stop, watch = observed(rule, flat)
        assert (stop.chosen, stop.stopped) == (8, None) and not watch.ended
    assert LeastLoss()(np.full(9, 0.25)) == (8, 7)
    assert end_of_stage_one(flat)[0] == 8  # the middle of the last three
    for smooth in (3, 9, 21):  # the first means are of the same values: none is ahead of the last
        falling = 1 / np.arange(3.0, 3 + smooth // 2 + 1)
        seen = evidence_of(falling[:, None], np.zeros((falling.size, 0), bool), falling)
        assert HeldOutLoss(1, smooth).decide(seen).stopped is None


def test_the_mean_of_all_predictions_is_what_it_was():
    for seed in range(10):
        loss = losses(seed)
        total = np.logaddexp.accumulate(-loss.astype(float), axis=0)
        expected = (np.log(np.arange(1, 25))[:, None] - total).mean(axis=1)
        np.testing.assert_array_equal(evidence_of(loss, np.zeros((24, 0), bool), np.zeros(24)).mixed_loss, expected)
