"""Records of several processes, merged, against one recorder that saw everything."""

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder

N, K, OUT = 24, 3, np.arange(24) % 4 == 2
GIVEN = np.arange(N) % K


def logits(epoch):
    values = np.random.default_rng(epoch).normal(size=(N, K)) * 2
    values[OUT, GIVEN[OUT]] += 2 - abs(epoch - 2)
    return values


def processes(parts, epochs=7, together=False, **options):
    """A recorder for each process: `parts(epoch)` are the samples of each; the last one saw them all."""
    count = len(parts(0))
    recorders = [Recorder(N, K, held_out=OUT, **options) for _ in range(count + 1)]
    for epoch in range(epochs):
        everyone = np.sort(np.concatenate(parts(epoch)))
        for recorder, part in zip(recorders, [*parts(epoch), everyone], strict=True):
            recorder.update(part, logits(epoch)[part], GIVEN[part])
        whole = recorders[-1].end_epoch()
        agreed = float(whole.loss[OUT].mean(dtype=float)) if together else None
        for recorder in recorders[:-1]:
            recorder.end_epoch(agreed)
    return recorders


def fixed(epoch):
    return [np.arange(0, N, 2), np.arange(1, N, 4), np.arange(3, N, 4)]


def shuffled(epoch):
    return np.array_split(np.random.default_rng(100 + epoch).permutation(N), 3)


def assert_same_sums(one, other, rival=True):
    for name, values in vars(other.sums).items():
        if name != "rival" or rival:
            np.testing.assert_allclose(getattr(one.sums, name), values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("parts", [fixed, shuffled])
@pytest.mark.parametrize("budget", [2**30, 0])
def test_merged_histories_are_those_of_one_recorder(parts, budget):
    first, *others, whole = processes(parts, budget=budget)
    assert first.sums.stop != whole.sums.stop or others[0].sums.stop != whole.sums.stop
    for other in others:
        first.merge(other)
    for name in ("margin", "loss", "prediction", "given"):
        np.testing.assert_array_equal(getattr(first, name), getattr(whole, name))
    assert first.sums.stop == whole.sums.stop is not None
    assert_same_sums(first, whole)


@pytest.mark.parametrize("parts", [fixed, shuffled])
def test_merged_sums_are_those_of_one_recorder(parts):
    first, *others, whole = processes(parts, together=True, history=False)
    for other in others:
        first.merge(other)
    assert 0 < whole.sums.stop < 6 and (whole.sums.seen == 7).all()
    assert_same_sums(first, whole, rival=parts is fixed)


def test_a_rival_that_most_epochs_name_is_found_in_merged_sums():
    """A sample that changes its process: a majority over all epochs survives the merging of votes."""
    rivals = [1, 2, 1, 1, 3, 1, 2, 1]
    for split in range(1, 8):
        pair = [Recorder(2, 4, history=False) for _ in range(2)]
        for epoch, rival in enumerate(rivals):
            for at, recorder in enumerate(pair):
                sample = 0 if (epoch < split) == (at == 0) else 1
                recorder.update([sample], [np.eye(4)[rival if sample == 0 else 0]], [0])
                recorder.end_epoch()
        pair[0].merge(pair[1])
        assert pair[0].sums.rival.tolist() == [1, -1]
        assert pair[0].sums.rejected.tolist() == [8, 0]


@pytest.mark.parametrize("history", [True, False])
def test_shards_that_count_their_own_samples(history):
    """Each process records its part alone, in a recorder of that size; the positions put them together."""
    *_, whole = processes(fixed, history=history)
    united = Recorder(N, K, held_out=OUT, history=history)
    agreed = list(map(float, whole._sums.loss))
    for part in fixed(0):
        shard = Recorder(len(part), K, held_out=OUT[part], history=history)
        for epoch in range(7):
            shard.update(np.arange(len(part)), logits(epoch)[part], GIVEN[part])
            shard.end_epoch(agreed[epoch])
        united.merge(shard, index=part)
    assert_same_sums(united, whole)
    np.testing.assert_array_equal(united.given, GIVEN)


def test_a_sample_that_two_processes_saw_alike_is_kept_once():
    first, second, whole = processes(lambda epoch: [np.arange(14), np.arange(14, N)])
    twice = Recorder(N, K, held_out=OUT)
    for epoch in range(7):
        part = np.arange(12, N)
        twice.update(part, logits(epoch)[part] * (1 + 1e-6), GIVEN[part])
        twice.end_epoch()
    first.merge(twice)
    np.testing.assert_array_equal(first.margin[:, :14], whole.margin[:, :14])
    np.testing.assert_allclose(first.margin, whole.margin, rtol=1e-4)


def make(n=4, epochs=2, given=(0, 1, 2, 0), shift=0.0, seen=(0, 1), **options):
    recorder = Recorder(n, options.pop("n_classes", 3), **options)
    for epoch in range(epochs):
        recorder.update(
            list(seen), np.eye(recorder.n_classes)[list(seen)] * (epoch + 1) + shift, np.array(given)[list(seen)]
        )
        recorder.end_epoch()
    return recorder


def off(recorder):
    recorder.update([3], np.eye(3)[:1], [0])
    return recorder


OUT4 = [False, False, False, True]


@pytest.mark.parametrize(
    ("own", "other", "index", "message"),
    [
        (make(), make(seen=(1, 2), given=(0, 2, 2, 0)), None, "same given labels, got 2 and here 1 for sample 1"),
        (make(), make(n=3, seen=(2,)), None, r"record as many samples \(4\) without `index`, got 3"),
        (make(), make(n_classes=4, seen=(2,)), None, r"the same n_classes \(3\), got 4"),
        (make(), make(epochs=3, seen=(2,)), None, r"the same epochs \(2\), got 3"),
        (make(), make(history=False, seen=(2,)), None, r"the same history \(True\), got False"),
        (make(), off(make(seen=(2,))), None, "`merge` needs ended epochs, got one under way"),
        (off(make()), make(seen=(2,)), None, "`merge` needs ended epochs, got one under way"),
        (make(), make(held_out=OUT4, seen=(2,)), None, "the same samples out, got other ones"),
        (make(held_out=OUT4), make(n=2, seen=(0, 1)), [2, 3], r"a part its entries: held_out=mask\[index\]"),
        (make(held_out=OUT4), make(n=2, seen=(0, 1), held_out=[True, False]), [3, 3], "different positions in 0..3"),
        (make(), make(n=2), [0, 4], "different positions in 0..3"),
        (make(), make(n=2), [0.0, 1.0], "`index` must hold a position for each of the 2 samples"),
        (make(), make(n=2), [0], "`index` must hold a position for each of the 2 samples"),
        (make(), make(n=2), "ab", "`index` must hold a position for each of the 2 samples"),
        (make(), None, None, "`other` must be a Recorder, got None"),
        (make(), make().state_dict(), None, "`other` must be a Recorder, got "),
        (make(history=False), make(history=False), None, "both together saw more than 2 times in 2 epochs; give each"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused_and_changes_nothing(own, other, index, message):
    before, sums = own.state_dict(), own.sums
    with pytest.raises(InputError, match=message) as refusal:
        own.merge(other, index)
    assert "\n" not in str(refusal.value)
    for name, values in own.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
    for name, values in vars(sums).items():
        np.testing.assert_array_equal(getattr(own.sums, name), values)


def test_two_that_disagree_about_a_sample_are_refused():
    one, other = Recorder(2, 2), Recorder(2, 2)
    one.update([0, 1], [[1.0, 0], [2.0, 0]], [0, 0])
    other.update([1], [[2.1, 0]], [0])
    for recorder in (one, other):
        recorder.end_epoch()
    with pytest.raises(
        InputError, match=r"agree on samples that both saw, got margin 2.1 and here 2 in epoch 0; .*eval mode"
    ):
        one.merge(other)


def test_sums_with_two_stops_are_refused():
    first, second, *_ = processes(fixed, history=False)
    with pytest.raises(InputError, match="the same held-out loss in each epoch.*held_out_loss, or keep the history"):
        first.merge(second)
