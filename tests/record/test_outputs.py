"""What a model may give: probabilities, one logit for two classes, a batch of one; against the plain logits."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder

FORMS = {"numpy": np.asarray, "torch": torch.as_tensor, "device": torch.as_tensor}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Arrays, tensors of the host, and tensors that stay tensors as those of a GPU do."""
    if request.param == "device":
        monkeypatch.setattr("labelnoise.record.measures._on_its_device", lambda values: values)
    return FORMS[request.param]


def record(method, n_classes, index, outputs, labels):
    recorder = Recorder(int(np.max(np.asarray(index))) + 1, n_classes)
    getattr(recorder, method)(index, outputs, labels)
    return recorder.end_epoch()


@pytest.mark.parametrize("n_classes", [2, 5])
def test_probabilities_match_a_loop_over_samples(form, n_classes):
    rng = np.random.default_rng(0)
    logits, labels, index = rng.normal(size=(20, n_classes)) * 4, rng.integers(0, n_classes, 20), rng.permutation(20)
    proba = softmax(logits, axis=1)
    found = record("update_proba", n_classes, form(index), form(proba), form(labels))
    plain = record("update", n_classes, form(index), form(logits), form(labels))
    for i, row, label in zip(index, proba, labels, strict=True):
        assert found.margin[i] == pytest.approx(np.log(row[label]) - np.log(np.delete(row, label).max()), rel=1e-5)
        assert found.loss[i] == pytest.approx(-np.log(row[label]), rel=1e-5)
        assert found.prediction[i] == row.argmax()
    assert_close(found.margin, plain.margin, rtol=1e-4, atol=1e-6)
    assert_close(found.loss, plain.loss, rtol=1e-4, atol=1e-6)
    assert_close(found.prediction, plain.prediction)
    assert (found.prediction == labels[np.argsort(index)]).tolist() == (found.margin > 0).tolist()


def test_a_probability_of_zero_counts_as_the_least(form):
    found = record(
        "update_proba", 3, form(np.arange(3)), form(np.array([[1.0, 0, 0], [1, 0, 0], [0.5, 0.5, 0]])), [0, 1, 0]
    )
    least = -np.log(np.finfo(np.float32).tiny)
    assert_close(found.margin, np.array([least, -least, 0], np.float32), rtol=1e-6)
    assert_close(found.loss, np.array([0, least, np.log(2)], np.float32), rtol=1e-6)
    assert found.prediction.tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_of_half_precision(dtype):
    logits = torch.randn(50, 1_000, generator=torch.Generator().manual_seed(0))
    found = record("update_proba", 1_000, torch.arange(50), logits.softmax(1).to(dtype), torch.arange(50))
    expected = -log_softmax(logits.numpy(), axis=1)[np.arange(50), np.arange(50)]
    assert_close(found.loss, expected, rtol=0.01)


def test_probabilities_that_are_not_numbers_are_recorded_as_such(form):
    with pytest.warns(RuntimeWarning, match="1 of 2 samples are NaN; they are taken for samples that were not seen"):
        found = record("update_proba", 2, form(np.arange(2)), form(np.array([[np.nan, np.nan], [0.2, 0.8]])), [0, 1])
    assert np.isnan(found.margin[0]) and found.prediction.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("proba", "message"),
    [
        ([[1.5, -0.5], [0.5, 0.5]], r"`proba` must hold probabilities in \[0, 1\], got 1.5; give one a class"),
        ([[0.5, 0.5], [1, -1e-3]], r"`proba` must hold probabilities in \[0, 1\], got -0.001"),
        ([[0.5, 0.5], [0.5, 0.4]], "`proba` must hold probabilities that sum to 1 for each sample, got 0.9"),
        ([[0.0, 0.0], [0.5, 0.5]], "`proba` must hold probabilities that sum to 1 for each sample, got 0"),
        ([[True, False], [True, False]], "`proba` must be real numbers, got"),
        (["a", "b"], "`proba` must be real numbers, got"),
        ([[0.2, 0.3, 0.5]] * 2, r"`proba` must have shape \(batch, 2\), got \(2, 3\)"),
        ([0.5, 1.5], r"`proba` must hold probabilities in \[0, 1\], got (1.5|-0.5)"),
    ],
)
def test_what_is_no_probability_is_refused_whole(form, proba, message):
    recorder = Recorder(2, 2)
    proba = proba if isinstance(proba[0], str) else form(np.array(proba))
    with pytest.raises(InputError, match=message):
        recorder.update_proba(np.arange(2), proba, np.array([0, 1]))
    assert recorder.given.tolist() == [-1, -1]
    with pytest.raises(InputError, match="call `update` first"):
        recorder.end_epoch()


@pytest.mark.parametrize("column", [False, True])
def test_one_logit_of_two_classes_is_that_of_the_second(form, column):
    z, labels = np.array([1.5, -2, 0, -np.inf, 40]), np.array([0, 1, 1, 0, 0])
    two = record("update", 2, np.arange(5), form(np.stack([np.zeros(5), z], axis=1)), labels)
    one = record("update", 2, np.arange(5), form(z[:, None] if column else z), labels)
    for name in ("margin", "loss", "prediction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert_close(one.margin[[0, 1, 2, 4]], np.array([-1.5, -2, 0, -40], np.float32))
    assert one.prediction.tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize("column", [False, True])
def test_one_probability_of_two_classes_is_that_of_the_second(form, column):
    z, labels = np.array([1.5, -2, 0.5]), np.array([0, 1, 1])
    proba = form(expit(z[:, None] if column else z))
    found = record("update_proba", 2, np.arange(3), proba, labels)
    assert_close(found.margin, np.array([-1.5, -2, 0.5], np.float32), rtol=1e-5)
    assert_close(found.loss, np.log1p(np.exp([1.5, 2, -0.5])).astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("method", ["update", "update_proba"])
def test_a_batch_of_one_with_and_without_its_axis(form, method):
    outputs, labels = np.array([[0.2, 0.7, 0.1]]), np.array([2])
    whole = record(method, 3, form(np.array([1])), form(outputs), form(labels))
    for index, row, label in [(form(np.array(1)), form(outputs[0]), form(labels)[0]), (1, form(outputs[0]), 2)]:
        bare = record(method, 3, index, row, label)
        np.testing.assert_array_equal(bare.margin, whole.margin)
        assert bare.prediction.tolist() == [-1, 1]


def test_a_batch_of_one_with_one_logit(form):
    for index, logit, label in [
        (0, form(np.array(3.0)), 1),
        ([0], form(np.array([3.0])), [1]),
        ([0], form(np.array([[3.0]])), [1]),
    ]:
        assert_close(record("update", 2, index, logit, label).margin, np.array([3], np.float32))


@pytest.mark.parametrize(
    ("n_classes", "outputs"), [(3, np.zeros(2)), (3, np.zeros((2, 1))), (2, np.zeros(3)), (2, np.zeros((2, 1, 1)))]
)
def test_one_logit_of_more_classes_or_other_shapes_is_refused(n_classes, outputs):
    with pytest.raises(InputError, match="`logits` must have shape|one entry a row of `logits`"):
        Recorder(2, n_classes).update([0, 1], outputs, [0, 1])


def test_logits_and_probabilities_may_share_an_epoch():
    recorder = Recorder(2, 2)
    recorder.update([0], [[0.0, 2]], [1])
    recorder.update_proba([1], [[0.25, 0.75]], [1])
    assert_close(recorder.end_epoch().margin, np.array([2, np.log(3)], np.float32), rtol=1e-6)


def test_outputs_are_not_written_to(form):
    logits, proba = np.array([[1.0, 3.0]]), np.array([[0.5, 0.5]])
    recorder = Recorder(1, 2)
    recorder.update([0], form(logits), [1])
    recorder.update_proba([0], form(proba), [1])
    assert logits.tolist() == [[1, 3]] and proba.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "make", [lambda: torch.zeros(2, 2).to_sparse(), lambda: torch.zeros(2, 2, dtype=torch.complex64)]
)
def test_tensors_that_are_no_plain_numbers_are_refused(make):
    with pytest.raises(InputError, match="`logits` must be real numbers, got"):
        Recorder(2, 2).update([0, 1], make(), [0, 1])
