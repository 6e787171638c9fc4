"""The running sums against loops over the whole history, and the memory that they take."""

import tracemalloc

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.audit.recorded import read_training
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.sums import Choice, LeastLoss
from labelnoise.record.watching import find_stop

N, K, OUT = 40, 4, np.arange(40) % 4 == 1


def train(recorder, epochs, seed=0, best=None, unseen=0.2):
    """Epochs of random logits; with `best`, the held-out loss falls until then and rises after it."""
    rng = np.random.default_rng(seed)
    given = rng.integers(0, K, N)
    for epoch in range(epochs):
        logits = rng.normal(size=(N, K)) * 2
        if best is not None:
            logits[OUT, given[OUT]] = 3 - abs(epoch - best) / 3 + rng.normal() / 10
        seen = np.flatnonzero(OUT | (rng.random(N) > unseen))
        for part in np.array_split(rng.permutation(seen), 3):
            recorder.update(part, logits[part], given[part])
        recorder.end_epoch()
    return recorder


def stop_by_a_loop(loss):
    """The record of the least mean of itself and its neighbours, the last on ties, as the first two always are."""
    means = [np.mean(loss[max(at - 1, 0) : at + 2]) for at in range(len(loss))]
    return int(np.flatnonzero(means == np.min(means))[-1])


def majority(given, predictions):
    """The class that more than half of the rejecting predictions name; None without one."""
    others = [p for p in predictions if p not in (-1, given)]
    return next((c for c in set(others) if 2 * others.count(c) > len(others)), None)


def check_against_history(sums, recorder, at, twice):
    margin, loss, prediction, given = (
        np.asarray(values) for values in (recorder.margin, recorder.loss, recorder.prediction, recorder.given)
    )
    seen, probability = ~np.isnan(margin), np.exp(-loss.astype(float))
    assert_close(sums.seen, seen.sum(0).astype(np.int32))
    assert_close(sums.margin, np.nansum(margin, 0, dtype=float).astype(np.float32), rtol=1e-5, atol=1e-5)
    assert_close(sums.probability, np.nansum(probability, 0).astype(np.float32), rtol=1e-5, atol=1e-6)
    assert_close(sums.rejected, (seen & (prediction != given)).sum(0).astype(np.int32))
    assert_close(sums.seen_to_stop, seen[: at + 1].sum(0).astype(np.int32))
    assert_close(sums.margin_to_stop, np.nansum(margin[: at + 1], 0).astype(np.float32), rtol=1e-5, atol=1e-5)
    assert_close(sums.seen_to_twice, seen[:twice].sum(0).astype(np.int32))
    assert_close(sums.probability_to_twice, np.nansum(probability[:twice], 0).astype(np.float32), rtol=1e-5, atol=1e-6)
    found = 0
    for i in range(N):
        winner, others = majority(given[i], prediction[:, i]), set(prediction[:, i]) - {-1, given[i]}
        found += winner is not None
        assert sums.rival[i] == winner if winner is not None else sums.rival[i] in (others or {-1})
    return found


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 6, 7, 8, 9, 14])
@pytest.mark.parametrize("best", [0, 1, 3, 6])
def test_sums_at_every_length_are_those_of_the_history(epochs, best):
    recorder = train(Recorder(N, K, held_out=OUT), epochs, best=best)
    at = stop_by_a_loop(np.asarray(recorder.loss, float)[:, OUT].mean(1))
    sums = recorder.sums
    assert sums.stop == at
    assert check_against_history(sums, recorder, at, 2 * (at + 1)) > 10
    if epochs == 14:
        assert at < 8 and (sums.margin_to_stop != sums.margin).any()
        assert best > 4 or (sums.probability_to_twice != sums.probability).any()


def test_without_held_out_samples_both_ends_are_the_last_epoch():
    recorder = train(Recorder(N, K), 9)
    assert recorder.sums.stop is None and recorder.held_out is None
    check_against_history(recorder.sums, recorder, 8, 9)


def test_sums_need_no_history():
    with_it, without = (train(Recorder(N, K, held_out=OUT, history=keep), 12, best=3) for keep in (True, False))
    assert (with_it.history, without.history, without.epochs) == (True, False, 12)
    for name, values in vars(with_it.sums).items():
        np.testing.assert_array_equal(getattr(without.sums, name), values)
    for name in ("margin", "loss", "prediction"):
        with pytest.raises(InputError, match=f"`{name}` needs the history, got a Recorder with history=False"):
            getattr(without, name)


def test_sums_are_a_snapshot():
    recorder = train(Recorder(N, K, held_out=OUT), 3)
    before, seen = recorder.sums, recorder.sums.seen.copy()
    train(recorder, 1)
    assert_close(before.seen, seen)
    assert (recorder.sums.seen != seen).any()


def test_a_sample_never_rejected_has_no_rival_and_counts_nothing():
    recorder = Recorder(3, 3)
    for _ in range(4):
        recorder.update([0, 1], [[5.0, 0, 0], [0, 0, 5.0]], [0, 1])
        recorder.end_epoch()
    sums = recorder.sums
    assert (sums.seen.tolist(), sums.rejected.tolist(), sums.rival.tolist()) == ([4, 4, 0], [0, 4, 0], [-1, 2, -1])
    assert_close(sums.margin, np.array([20, -20, 0], np.float32))


def test_the_majority_of_the_rejecting_predictions_is_found_in_any_order():
    """1, 2, 1, 3, 1 among epochs that agree: half plus one of them say 1."""
    for order in ([1, 2, 1, 3, 1], [2, 1, 1, 1, 3], [3, 2, 1, 1, 1], [1, 1, 1, 2, 3]):
        recorder = Recorder(1, 4)
        for predicted in [order[0], 0, *order[1:], 0]:
            recorder.update([0], [np.eye(4)[predicted]], [0])
            recorder.end_epoch()
        assert recorder.sums.rival.tolist() == [1]


def test_more_than_255_and_more_than_65535_epochs_are_counted():
    recorder = Recorder(2, 2, held_out=[False, True], history=False)
    for epoch in range(300):
        recorder.update([0, 1], [[1.0, 0], [3.0 - epoch / 100, 0]], [1, 0])
        recorder.end_epoch()
    sums = recorder.sums
    assert (sums.seen.tolist(), sums.rejected.tolist(), sums.stop) == ([300, 300], [300, 0], 0)
    assert (sums.seen_to_stop.tolist(), sums.seen_to_twice.tolist()) == ([1, 1], [2, 2])
    assert recorder._sums.arrays["seen"].dtype == np.uint16


def test_large_records_are_added_in_parts(monkeypatch):
    whole = train(Recorder(N, K, held_out=OUT), 6).sums
    monkeypatch.setattr("labelnoise.record.sums.CHUNK", 7)
    parts = train(Recorder(N, K, held_out=OUT), 6).sums
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), values)


def test_the_held_out_loss_of_all_processes_decides():
    losses = [3.5, 1.0, 2.0, 4.0, 5.0]
    recorder = Recorder(2, 2, held_out=[False, True])
    for loss in losses:
        recorder.update([0, 1], [[1.0, 0], [0.0, 0]], [0, 0])
        recorder.end_epoch(held_out_loss=loss)
    assert recorder.sums.stop == 1 and recorder.sums.seen_to_stop.tolist() == [2, 2]
    recorder.update([0], [[1.0, 0]], [0])
    with pytest.raises(InputError, match="`held_out_loss` must be a number, got 'low'"):
        recorder.end_epoch(held_out_loss="low")
    recorder.end_epoch()  # the epoch is still there; no held-out sample was seen, so its loss is not known
    assert recorder.sums.stop == 1 and recorder.epochs == 6


@pytest.mark.parametrize("mask", [-np.inf, -1e30])
def test_a_masked_label_moves_no_stop(mask):
    """Of two held-out samples, whose loss is 1e30 or infinite: of the sums, of a rule on the record, of an audit."""
    rng, index, given = np.random.default_rng(0), np.arange(200), np.arange(200) % 2
    stops = []
    for masked in ([], [0, 4]):
        recorder = Recorder(200, 2, held_out=index % 4 == 0)
        for epoch in range(9):
            logits = rng.normal(size=(200, 2)) / 9
            logits[index, given] += 3 - abs(epoch - 4)
            logits[masked, given[masked]] = mask
            recorder.update(index, logits, given)
            recorder.end_epoch()
        audit = read_training(recorder)
        stops += [recorder.sums.stop, find_stop(HeldOutLoss(), recorder).chosen, audit.stop - 1]
        assert f"was least ({recorder.state_dict()['held_out_loss'][4]:.3f}," in audit.reason  # by one bound
    assert stops == [4] * 6


@pytest.mark.filterwarnings("ignore:.*are NaN:RuntimeWarning")
def test_an_epoch_of_nan_is_no_stop():
    recorder = Recorder(2, 2, held_out=[False, True], history=False)
    for lost in (False, False, True, True):
        recorder.update([0, 1], np.full((2, 2), np.nan) if lost else [[1.0, 0], [0.0, 0]], [0, 0])
        recorder.end_epoch()
    assert recorder.sums.stop == 1


@pytest.mark.parametrize(
    ("loss", "smooth", "choice"),
    [
        ([3.0], 3, (0, None)),
        ([3.0, 1], 3, (1, 0)),  # both means are 2: the last on ties
        ([3.0, 1, 1], 3, (2, 1)),
        ([3.0, 1, 1, 0], 3, (3, 2)),
        ([3.0, 1, 9, 9], 3, (0, 0)),  # (3 + 1) / 2 is the least
        ([3.0, 1, 9], 1, (1, 1)),
        ([3.0, 1, 1], 1, (2, 2)),
        ([np.nan, 2, 1], 3, (2, 1)),  # (2 + 1) / 2 at both
        ([np.nan, np.nan], 3, (None, None)),
        ([np.inf, np.inf, 2.0], 3, (None, None)),
        ([np.inf, np.inf, 2.0], 1, (2, 2)),
    ],
)
def test_the_least_loss(loss, smooth, choice):
    assert LeastLoss(smooth)(np.array(loss)) == choice


def test_a_rule_of_ones_own():
    class LastButOne:
        def __call__(self, loss):
            return Choice(max(len(loss) - 2, 0) if len(loss) > 1 else None, len(loss) - 2 if len(loss) > 1 else None)

    recorder = train(Recorder(N, K, held_out=OUT, stop=LastButOne()), 7)
    assert recorder.sums.stop == 5
    check_against_history(recorder.sums, recorder, 5, 12)


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("bad", [Choice(0, 0), Choice(1, None), (3, 3), None])
def test_a_rule_that_falls_back_to_what_is_not_kept_is_refused(bad, history):
    recorder = Recorder(2, 2, held_out=[False, True], history=history)
    recorder._sums.rule = lambda loss: Choice(None, None) if len(loss) < 4 else bad
    for _ in range(3):
        recorder.update([0, 1], [[1.0, 0], [0.0, 0]], [0, 0])
        recorder.end_epoch()
    recorder.update([0, 1], [[1.0, 0], [0.0, 0]], [0, 0])
    with pytest.raises(InputError, match="`stop` must (choose the last record or|return a Choice)"):
        recorder.end_epoch()
    assert recorder.epochs == 3 and (not history or recorder.margin.shape == (3, 2))
    recorder._sums.rule = LeastLoss()


@pytest.mark.parametrize("smooth", [0, 2, 5, 1.5, None])
def test_means_of_one_or_three(smooth):
    with pytest.raises(InputError, match="`smooth` must be"):
        LeastLoss(smooth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": np.zeros(3, bool)}, r"`held_out` must hold a truth value a sample \(40\), got shape \(3,\)"),
        ({"held_out": 0.1}, "`held_out` must be a mask of truth values"),
        ({"history": 1}, "`history` must be True or False, got 1"),
        ({"budget": -1}, "`budget` must be an integer >= 0, got -1"),
        ({"stop": 3}, "`stop` must be callable with losses, got 3"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        Recorder(N, K, **options)


def test_a_truth_value_of_numpy_serves_as_history():
    assert not Recorder(N, K, history=np.False_).history


def test_a_mask_that_holds_nothing_out_is_none():
    assert Recorder(3, 2, held_out=[False] * 3).held_out is None
    mask = np.array([True, False, False])
    recorder = Recorder(3, 2, held_out=mask)
    mask[:] = False
    recorder.held_out[:] = False
    assert recorder.held_out.tolist() == [True, False, False]


def measured(work):
    """Bytes that the work leaves, and the most that it takes on the way."""
    tracemalloc.start()
    try:
        kept = work()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held, peak, kept


@pytest.mark.parametrize("n", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_sums_take_at_most_40_bytes_a_sample_whatever_the_number_of_epochs(n):
    """100 epochs of 1,000 classes that see every sample: a batch goes through `update`, the rest is filled in."""
    out, logits = np.arange(n) % 10 == 0, np.eye(1, 1_000, dtype=np.float32)

    def work():
        recorder = Recorder(n, 1_000, held_out=out, history=False)
        for epoch in range(100):
            recorder.update([n - 1], logits, [0])
            for column, value in zip(recorder._epoch._columns, (epoch - 50, abs(epoch - 10), epoch % 5), strict=True):
                column[:-1] = value
            del column
            recorder.end_epoch()
        recorder.update([n - 1], logits, [0])
        return recorder

    train(Recorder(N, K, held_out=OUT), 1)  # modules that the first update loads
    held, peak, recorder = measured(work)
    assert recorder.sums.stop == 10 and (recorder.sums.seen == 100).all()
    assert held <= 40 * n and peak <= 40 * n + 1_000_000, (held / n, peak / n)
    assert held == pytest.approx(recorder.bytes_a_sample * n, rel=0.02), (held / n, recorder.bytes_a_sample)
