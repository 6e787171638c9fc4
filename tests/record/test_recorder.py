"""The recorder against a per-sample loop in float64, on NumPy arrays and on torch tensors."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.sums import LeastLoss

FORMS = {"numpy": np.asarray, "torch": torch.as_tensor, "device": torch.as_tensor}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Arrays, tensors of the host, and tensors that stay tensors as those of a GPU do."""
    if request.param == "device":
        monkeypatch.setattr("labelnoise.record.measures._on_its_device", lambda values: values)
    return FORMS[request.param]


def batch(rng, n, n_classes):
    return rng.normal(size=(n, n_classes)) * 3, rng.integers(0, n_classes, n)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_values_match_a_loop_over_samples(form, n_classes):
    rng = np.random.default_rng(1)
    n = 23
    logits, labels = batch(rng, n, n_classes)
    recorder = Recorder(n, n_classes)
    for part in np.split(rng.permutation(n), [1, 9]):  # the first batch holds one sample
        recorder.update(form(part), form(logits[part]), form(labels[part]))
    recorder.end_epoch()
    for i in range(n):
        best_other = np.delete(logits[i], labels[i]).max()
        assert recorder.margin[0, i] == pytest.approx(logits[i, labels[i]] - best_other, rel=1e-5)
        assert recorder.loss[0, i] == pytest.approx(logsumexp(logits[i]) - logits[i, labels[i]], rel=1e-5)
    assert_close(recorder.prediction[0], logits.argmax(1).astype(np.int32))
    assert_close(recorder.given, labels)
    assert (recorder.margin.dtype, recorder.loss.dtype, recorder.prediction.dtype.kind) == (np.float32, np.float32, "i")


def test_fitted_is_exactly_margin_above_zero():
    recorder = Recorder(3, 3)
    recorder.update(np.arange(3), np.array([[1.0, 1, 0], [2, 1, 0], [0, 1, 2]]), np.array([0, 0, 0]))
    record = recorder.end_epoch()
    assert_close(record.margin, np.array([0, 1, -2], dtype=np.float32))
    assert_close(record.prediction == 0, np.array([False, True, False]))


def test_epochs_are_kept_apart_and_unseen_samples_are_marked(form):
    recorder = Recorder(3, 2)
    recorder.update(form(np.array([2, 0])), form(np.array([[1.0, 3.0], [0.5, 0.0]])), form(np.array([1, 1])))
    recorder.end_epoch()
    recorder.update(form(np.array([1])), form(np.array([[0.0, 4.0]])), form(np.array([0])))
    recorder.end_epoch()
    nan = np.nan
    np.testing.assert_array_equal(recorder.margin, np.array([[-0.5, nan, 2], [nan, -4, nan]], dtype=np.float32))
    np.testing.assert_array_equal(np.isnan(recorder.loss), np.isnan(recorder.margin))
    assert_close(recorder.prediction, np.array([[0, -1, 1], [-1, 1, -1]], dtype=np.int32))
    assert recorder.epochs == 2
    assert_close(recorder.given, np.array([1, 0, 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_gradients_are_accepted(dtype):
    logits = torch.tensor([[1.0, 3.0]], dtype=dtype, requires_grad=True)
    recorder = Recorder(1, 2)
    recorder.update(torch.tensor([0]), logits, torch.tensor([0]))
    assert_close(recorder.end_epoch().loss, np.array([np.log1p(np.exp(2.0))], dtype=np.float32), rtol=1e-6)


def test_loss_of_extreme_logits(form):
    recorder = Recorder(3, 3)
    logits = np.array([[30.0, 0, 0], [1e4, -1e4, 0], [-1e4, 1e4, 0]])
    recorder.update(form(np.arange(3)), form(logits.astype(np.float32)), form(np.zeros(3, dtype=np.int64)))
    loss = recorder.end_epoch().loss
    assert_close(loss, np.array([2 * np.exp(-30), 0, 2e4], dtype=np.float32), rtol=1e-6)


def test_logits_that_are_not_numbers_are_recorded_as_such(form):
    recorder = Recorder(3, 2)
    logits = np.array([[np.nan, 1.0], [np.inf, np.inf], [2.0, 1.0]])
    recorder.update(form(np.arange(3)), form(logits), form(np.array([0, 1, 0])))
    with pytest.warns(RuntimeWarning, match="2 of 3 samples are NaN"):
        record = recorder.end_epoch()
    np.testing.assert_array_equal(np.isnan(record.margin), [True, True, False])
    assert_close(record.prediction, np.array([-1, -1, 0], dtype=np.int32))


def test_the_first_epoch_without_numbers_is_warned_of_once(form):
    recorder, good, bad = Recorder(5, 2), np.zeros((3, 2)), np.full((3, 2), np.nan)
    for epoch, logits in enumerate([good, bad, bad]):
        recorder.update(form(np.arange(3)), form(logits), form(np.zeros(3, dtype=np.int64)))
        if epoch == 1:
            with pytest.warns(RuntimeWarning, match=r"in epoch 2 \(counted from 1\).* all 3 samples are NaN; the"):
                record = recorder.end_epoch()
        else:
            record = recorder.end_epoch()  # a second warning would be an error
    assert record.prediction.tolist() == [-1] * 5
    seen = np.isfinite(recorder.margin[0])
    assert seen.tolist() == [True, True, True, False, False]  # never seen, and nothing is said of them


def test_an_epoch_that_a_rule_refused_is_warned_of_by_what_it_holds():
    def rule(losses):
        if refuse:
            raise InputError("`rule` cannot say")
        return LeastLoss()(losses)

    refuse, recorder = True, Recorder(3, 2, held_out=[True, False, False], stop=rule)
    recorder.update([0], [[2.0, 0]], [0])
    with pytest.raises(InputError, match="cannot say"):
        recorder.end_epoch()
    refuse = False
    assert recorder.end_epoch().prediction.tolist() == [0, -1, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masked_logits_by_the_limit_of_the_loss(form, dtype):
    """-inf is the limit of a logit that falls without end; where every logit is masked, there is none."""
    inf, nan = np.inf, np.nan
    logits = np.array(
        [[1, -inf, -inf], [1, -inf, -inf], [-inf, 2, 1], [-inf, -inf, -inf], [3, 1, -inf], [-inf, 1, -inf]], dtype
    )
    recorder = Recorder(6, 3)
    recorder.update(form(np.arange(6)), form(logits), form(np.array([0, 1, 0, 2, 0, 0])))
    with pytest.warns(RuntimeWarning, match="1 of 6 samples"):
        record = recorder.end_epoch()
    np.testing.assert_array_equal(record.margin, np.array([inf, -inf, -inf, nan, 2, -inf], np.float32))
    np.testing.assert_allclose(record.loss, [0, inf, inf, nan, np.log1p(np.exp(-2)), inf], rtol=1e-6)
    assert record.prediction.tolist() == [0, 0, 1, -1, 0, 1]


def test_infinite_logits_keep_their_values(form):
    inf, nan = np.inf, np.nan
    recorder = Recorder(3, 3)
    logits = np.array([[inf, 1, 2], [1, inf, 2], [inf, inf, 0]])
    recorder.update(form(np.arange(3)), form(logits), form(np.zeros(3, dtype=np.int64)))
    with pytest.warns(RuntimeWarning, match="1 of 3 samples"):
        record = recorder.end_epoch()
    np.testing.assert_array_equal(record.margin, np.array([inf, -inf, nan], np.float32))
    np.testing.assert_array_equal(record.loss, np.array([0, inf, nan], np.float32))


def test_logits_beyond_single_precision(form):
    recorder = Recorder(2, 3)
    recorder.update(
        form(np.arange(2)), form(np.array([[2e300, 1e300, 0], [-1e300, -2e300, -3e300]])), form(np.zeros(2, int))
    )
    record = recorder.end_epoch()
    np.testing.assert_array_equal(record.margin, np.array([np.inf, np.inf], np.float32))
    np.testing.assert_array_equal(record.loss, np.zeros(2, np.float32))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, bool])
def test_logits_that_are_no_real_numbers_are_refused(form, dtype):
    with pytest.raises(InputError, match="`logits` must be real numbers, got .*(complex|bool).*; give the outputs"):
        Recorder(2, 2).update(form(np.arange(2)), form(np.ones((2, 2), dtype)), form(np.array([0, 1])))


@pytest.mark.parametrize("logits", [None, "text", [["a", "b"]], [[1.0], [1.0, 2.0]], object()])
def test_what_is_no_array_of_logits_is_refused(logits):
    with pytest.raises(InputError, match="`logits` must be real numbers, got"):
        Recorder(2, 2).update(np.arange(2), logits, np.array([0, 1]))


@pytest.mark.parametrize("values", [None, "01", [[0], [0, 1]], [0, None], object()])
@pytest.mark.parametrize("name", ["index", "labels"])
def test_what_is_no_array_of_integers_is_refused(form, name, values):
    batch = {"index": np.arange(2), "logits": form(np.zeros((2, 2))), "labels": np.array([0, 1])}
    with pytest.raises(InputError, match=f"`{name}` must be integers, got"):
        Recorder(2, 2).update(**{**batch, name: values})


def test_lists_are_recorded_like_arrays():
    recorder = Recorder(2, 2)
    recorder.update([1, 0], [[1, 3], [2, 0]], [1, 1])
    assert_close(recorder.end_epoch().margin, np.array([-2, 2], np.float32))


def test_one_sample_with_two_labels_in_a_batch_is_refused_whole(form):
    recorder = Recorder(3, 3)
    recorder.update(form(np.array([1])), form(np.array([[0.0, 1, 5]])), form(np.array([2])))
    for labels in ([0, 2, 1], [1, 2, 0]):
        with pytest.raises(InputError, match="`labels` must be one a sample, got . and . for sample 0 in one batch"):
            recorder.update(form(np.array([0, 1, 0])), form(np.ones((3, 3))), form(np.array(labels)))
    assert_close(recorder.given, np.array([-1, 2, -1]))
    record = recorder.end_epoch()
    np.testing.assert_array_equal(record.margin, np.array([np.nan, 4, np.nan], np.float32))
    recorder.update(form(np.array([0])), form(np.ones((1, 3))), form(np.array([1])))  # free to take either label


def test_one_sample_twice_with_one_label_keeps_the_last_row(form):
    recorder = Recorder(2, 2)
    recorder.update(form(np.array([0, 1, 0])), form(np.array([[1.0, 0], [2, 0], [3, 0]])), form(np.array([0, 0, 0])))
    assert_close(recorder.end_epoch().margin, np.array([3, 2], np.float32))


def test_an_epoch_whose_only_batch_was_refused_is_empty(form):
    recorder = Recorder(2, 2)
    with pytest.raises(InputError, match="`index` must lie in"):
        recorder.update(form(np.array([2])), form(np.zeros((1, 2))), form(np.array([0])))
    with pytest.raises(InputError, match="call `update` first"):
        recorder.end_epoch()


@pytest.mark.parametrize(
    ("index", "labels", "message"),
    [
        ([0, 4], [0, 1], "`index` must lie in 0..3, got 4"),  # not: sample 0 has two labels
        ([4, 0], [0, 1], "`index` must lie in 0..3, got 4"),
        ([1, 1], [0, 3], "`labels` must lie in 0..2, got 3"),
        ([3, 3], [1, 0], "`labels` must not change, got 0 after 1 for sample 3"),
    ],
)
def test_of_two_faults_the_cause_is_named(form, index, labels, message):
    recorder = Recorder(4, 3)
    recorder.update(form(np.array([3])), form(np.zeros((1, 3))), form(np.array([1])))
    with pytest.raises(InputError, match=message):
        recorder.update(form(np.array(index)), form(np.zeros((2, 3))), form(np.array(labels)))
    assert_close(recorder.given, np.array([-1, -1, -1, 1]))


@pytest.mark.parametrize(
    ("index", "logits", "labels", "message"),
    [
        ([0, 4], np.zeros((2, 3)), [0, 1], r"`index` must lie in 0..3, got 4"),
        ([0, -1], np.zeros((2, 3)), [0, 1], r"`index` must lie in 0..3, got -1"),
        ([0, 1], np.zeros((2, 3)), [0, 3], r"`labels` must lie in 0..2, got 3"),
        ([0, 1], np.zeros((2, 3)), [0, -1], r"`labels` must lie in 0..2, got -1"),
        ([0, 1], np.zeros((2, 2)), [0, 1], r"`logits` must have shape \(batch, 3\), got \(2, 2\)"),
        ([0, 1], np.zeros(3), [0, 1], r"`logits` must have shape"),
        ([0], np.zeros((2, 3)), [0, 1], r"one entry a row of `logits` \(2\)"),
        ([[0, 1]], np.zeros((2, 3)), [0, 1], r"one entry a row of `logits` \(2\)"),
        ([0.0, 1.0], np.zeros((2, 3)), [0, 1], r"`index` must be integers"),
        ([True, False], np.zeros((2, 3)), [0, 1], r"`index` must be integers"),
        ([0, 1], np.zeros((2, 3)), [0.5, 1.0], r"`labels` must be integers"),
        ([2, 3], np.zeros((2, 3)), [2, 0], r"`labels` must not change, got 0 after 1 for sample 3"),
    ],
)
def test_bad_batches_are_refused_whole(form, index, logits, labels, message):
    recorder = Recorder(4, 3)
    recorder.update(form(np.array([3])), form(np.array([[0.0, 1, 5]])), form(np.array([1])))
    with pytest.raises(InputError, match=message):
        recorder.update(form(np.array(index)), form(logits), form(np.array(labels)))
    assert_close(recorder.given, np.array([-1, -1, -1, 1]))
    np.testing.assert_array_equal(recorder.end_epoch().margin, np.array([np.nan, np.nan, np.nan, -4], np.float32))


def test_a_label_that_changes_between_epochs_is_refused():
    recorder = Recorder(2, 2)
    recorder.update(np.array([0, 1]), np.zeros((2, 2)), np.array([0, 1]))
    recorder.end_epoch()
    with pytest.raises(InputError, match="`labels` must not change, got 0 after 1 for sample 1"):
        recorder.update(np.array([0, 1]), np.zeros((2, 2)), np.array([0, 0]))


def test_arrays_and_tensors_of_the_host_mix_within_an_epoch():
    recorder = Recorder(2, 2)
    recorder.update(torch.tensor([1]), np.array([[0.0, 1]]), [0])
    recorder.update(np.array([0]), torch.tensor([[3.0, 0]], requires_grad=True), torch.tensor([0]))
    assert_close(recorder.end_epoch().margin, np.array([3, -1], np.float32))


def test_no_second_device_within_an_epoch():
    recorder = Recorder(1, 2)
    recorder.update(np.array([0]), np.zeros((1, 2)), np.array([0]))
    with pytest.raises(InputError, match="one device within an epoch, got meta after cpu"):
        recorder.update(np.array([0]), torch.zeros((1, 2), device="meta"), np.array([0]))
    recorder.update(np.array([0]), torch.zeros((1, 2)), np.array([0]))
    assert recorder.end_epoch().prediction.shape == (1,)


def test_an_empty_epoch_is_refused_and_an_empty_record_has_a_shape():
    recorder = Recorder(4, 2)
    assert recorder.margin.shape == recorder.prediction.shape == (0, 4)
    with pytest.raises(InputError, match="call `update` first"):
        recorder.end_epoch()


@pytest.mark.parametrize(
    ("n_samples", "n_classes", "name"),
    [
        (0, 2, "n_samples"),
        (3, 1, "n_classes"),
        (2.5, 2, "n_samples"),
        ("x", 2, "n_samples"),
        (None, 2, "n_samples"),
        (True, 2, "n_samples"),
        (3, "2", "n_classes"),
        (3, None, "n_classes"),
    ],
)
def test_sizes_are_checked(n_samples, n_classes, name):
    with pytest.raises(InputError, match=f"`{name}` must be an integer"):
        Recorder(n_samples, n_classes)


def test_the_recorder_needs_no_torch():
    code = "import sys, labelnoise.record.recorder, labelnoise.images.data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
