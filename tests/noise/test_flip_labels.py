"""Flips: exact numbers against exact arithmetic, the labels of a seed against the plain formula, refusals."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import assert_close
from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.noise.features import InstanceDependent
from labelnoise.noise.files import FromFile
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.noise.words import parse_noise

Y = np.array([0, 1])
rates = st.one_of(st.floats(0, 1), st.integers(0, 1000).map(lambda part: part / 1000))


def stated(rate, n):
    """int(rate n), the rate taken as its decimals say; what lacks a billionth of the samples counts as there."""
    return int((Fraction(repr(rate)) + Fraction(1, 10**9)) * n)


def wrong_by_class(y, noise, n_classes):
    flipped = flip_labels(y, noise, n_classes).noisy
    return [int(flipped[y == label].sum()) for label in range(n_classes)]


# ---------------------------------------------------------------------------------------------------------- exact flips


@given(rate=rates, other=rates, n=st.integers(1, 400))
@example(rate=0.2, other=0.2, n=100)
@example(rate=0.29, other=0.57, n=100)
@example(rate=1 / 3, other=2 / 3, n=3)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_the_number_of_exact_flips_is_that_of_the_stated_rate(rate, other, n):
    y = np.arange(2 * n) % 2
    for noise in (Symmetric(rate, exact=True), Pair(rate, exact=True)):
        assert flip_labels(y[:n], noise, 2).noisy.sum() == stated(rate, n)
    noise = ClassConditional(rate, other, exact=True)
    assert wrong_by_class(y, noise, 2) == [stated(rate, n), stated(other, n)]


@pytest.mark.parametrize(("n", "number"), [(100, 20), (25_000, 5_000)])
def test_a_fifth_of_a_class_is_a_fifth(n, number):
    assert wrong_by_class(np.repeat([0, 1], n), ClassConditional(0.2, 0.2, exact=True), 2) == [number, number]
    assert wrong_by_class(np.repeat([0, 1], 5_000), parse_noise("class-conditional:0.4,0.1:exact"), 2) == [2_000, 500]


def test_rates_mean_what_they_print():
    """float32 holds 0.7 as 0.69999999, float64 as 0.69999999999999996; a fraction is itself."""
    y = np.repeat([0, 1], 10)
    for rate in (0.7, np.float64(0.7), np.float32(0.7), np.float16(0.7), Fraction(7, 10)):
        assert wrong_by_class(y, ClassConditional(rate, 0.2, exact=True), 2) == [7, 2]
        assert flip_labels(y, Symmetric(rate, exact=True), 2).noisy.sum() == 14
        assert flip_labels(y, InstanceDependent(rate, exact=True), 2, features=y[:, None]).noisy.sum() == 14
        assert Pair(rate) == Pair(0.7) and type(Pair(rate).rate) is float


@given(parts=st.lists(st.integers(0, 1000), min_size=2, max_size=2), n=st.integers(1, 300))
@example(parts=[100, 200], n=10)
@example(parts=[100, 800], n=10)  # 0.1 + 0.7 is 0.7999999999999999 in float64
@settings(deadline=None, max_examples=100, derandomize=True)
def test_the_rate_of_a_class_of_a_matrix_is_the_sum_of_its_stated_entries(parts, n):
    first, second = min(parts), max(parts) - min(parts)
    row = (first / 1000, (1000 - first - second) / 1000, second / 1000)  # class 1 keeps what is left
    noise = Matrix(((1, 0, 0), row, (0.1, 0.2, 0.7)), exact=True)
    assert wrong_by_class(np.arange(3 * n) % 3, noise, 3) == [0, (first + second) * n // 1000, 3 * n // 10]


def test_every_digit_of_a_matrix_counts():
    """0.6666666 of 300 samples are 199, two thirds would be 200; 5e-324 is more than none, but of no sample."""
    noise = Matrix(((0.3333334, 0.6666, 0.0000666), (0, 1, 0), (5e-324, 0.5, 0.5)), exact=True)
    assert wrong_by_class(np.repeat([0, 1, 2], 300), noise, 3) == [199, 0, 150]


# ------------------------------------------------------------------------------------------------- the labels of a seed


def plain_formula(y, noise, n_classes, seed):
    """Given labels with a row of cumulative sums a sample: (n, K) numbers."""
    whether, where = stream(seed, "flips").random((2, y.size))
    transition = noise.matrix(n_classes)
    leave = 1 - np.diag(transition)
    cumulative = np.cumsum(transition * (1 - np.eye(n_classes)), axis=1)[y]
    target = (where[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return np.where(whether < leave[y], target, y)


@given(n=st.integers(1, 200), n_classes=st.integers(2, 6), seed=st.integers(0, 99), rate=st.floats(0, 1))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_the_labels_of_a_seed_are_those_of_the_plain_formula(n, n_classes, seed, rate):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    rows = rng.random((n_classes, n_classes)) * (rng.random((n_classes, n_classes)) < 0.7) + np.eye(n_classes)
    rows = rows / rows.sum(1, keepdims=True)
    for noise in (Symmetric(rate), Symmetric(rate, include_true=True), Pair(rate), Matrix(rows)):
        assert_close(flip_labels(y, noise, n_classes, seed).y_given, plain_formula(y, noise, n_classes, seed))


def test_memory_grows_with_samples_plus_squared_classes():
    n, n_classes = 40_000, 200
    y = np.arange(n) % n_classes
    flip_labels(y, Symmetric(0.5), n_classes)
    tracemalloc.start()
    flip_labels(y, Symmetric(0.5), n_classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 8 * (n + n_classes**2)  # sixteen arrays of each size; n K numbers would be 64 MB


class Smallest(np.random.Generator):
    """Draws the smallest number, 0, always."""

    def random(self, size):
        return np.zeros(size)


SMALLEST = Smallest(np.random.PCG64(0))


def test_the_smallest_draw_leads_to_another_class():
    assert flip_labels([0, 1, 2], Symmetric(1.0), 3, SMALLEST).y_given.tolist() == [1, 0, 0]


def test_a_class_without_transitions_keeps_its_labels():
    """Rows may miss 1 by rounding: 1 - T[a, a] is then above 0 though no entry says where to."""
    noise = Matrix(((1 - 9e-10, 0), (0.5, 0.5)))
    assert flip_labels([0, 1], noise, 2, SMALLEST).y_given.tolist() == [0, 0]


# ------------------------------------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float16, 1e-2)])
def test_rows_of_narrow_floats_are_normalised(dtype, rtol):
    rng = np.random.default_rng(0)
    for n_classes in (2, 3, 10, 100):
        wide = rng.random((n_classes, n_classes))
        rows = (wide / wide.sum(1, keepdims=True)).astype(dtype)
        table = Matrix(rows).matrix(n_classes)
        assert np.abs(table.sum(1) - 1).max() < 1e-12
        assert_close(table, rows.astype(float), rtol=rtol, atol=1e-7)
    thirds = np.full((3, 3), 1 / 3, dtype=dtype)
    assert_close(Matrix(thirds).matrix(3), np.full((3, 3), 1 / 3), rtol=1e-15)
    assert_close(Matrix(torch.tensor(thirds, requires_grad=True)).matrix(3), np.full((3, 3), 1 / 3), rtol=1e-15)


def test_decimals_of_narrow_floats_are_read_as_written():
    rows = ((0.7, 0.3), (0.1, 0.9))
    assert Matrix(np.array(rows, np.float32)) == Matrix(np.array(rows, np.float16)) == Matrix(rows)
    noise = Matrix(np.array(rows[::-1], np.float32)[:, ::-1], exact=True)  # leaves at 0.1 and 0.3
    assert wrong_by_class(np.repeat([0, 1], 10), noise, 2) == [1, 3]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_miss_one_by_more_than_their_precision_are_refused(dtype):
    miss = {np.float16: 0.01, np.float32: 1e-5, np.float64: 1e-8}[dtype]
    with pytest.raises(InputError, match="each row of `rows` must sum to 1, got .* in row 1; divide it by its sum"):
        Matrix(np.array([[0.5, 0.5], [0.5, 0.5 + miss]], dtype=dtype))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_matrix_file_of_float32_is_read(tmp_path, suffix):
    path, rows = tmp_path / f"T.{suffix}", np.full((3, 3), 1 / 3, dtype=np.float32)
    np.save(path, rows) if suffix == "npy" else np.savez(path, matrix=rows)
    assert_close(parse_noise(f"matrix:{path}").matrix(3), np.full((3, 3), 1 / 3), rtol=1e-15)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "noise", [Symmetric(0.5), Symmetric(0.5, exact=True), Symmetric(0.5, include_true=True), Pair(0.5)]
)
def test_one_class_has_no_wrong_label(noise):
    with pytest.raises(InputError, match="needs two classes or more at a rate of 0.5, got 1; choose more classes"):
        flip_labels([0, 0, 0], noise, 1)
    assert flip_labels([0, 0], Symmetric(0.0), 1).y_given.tolist() == [0, 0]
    assert flip_labels([0, 0], Matrix(((1.0,),)), 1).y_given.tolist() == [0, 0]
    assert flip_labels([0, 0], None, 1).y_given.tolist() == [0, 0]


@pytest.mark.parametrize("n_classes", [0, -1, 2.0, "2", None, True])
@pytest.mark.parametrize("noise", [None, Symmetric(0.2), FromFile("absent.npy")])
def test_the_number_of_classes_is_an_integer_above_zero(noise, n_classes):
    with pytest.raises(InputError, match="`n_classes` must be an integer >= 1, got"):
        flip_labels(Y, noise, n_classes)


@pytest.mark.parametrize(
    "y", [None, "01", [0.0, 1.0], [[0], [0, 1]], [0, None], [True, False], 3, object(), torch.tensor([0.5, 1])]
)
def test_what_is_no_vector_of_labels_is_refused(y):
    with pytest.raises(InputError, match="`y_true` must be a non-empty vector of integers, got .*; give"):
        flip_labels(y, Symmetric(0.2), 2)


def test_labels_may_be_a_list_or_a_tensor():
    expected = flip_labels(np.arange(20) % 2, Symmetric(0.4), 2).y_given
    assert_close(flip_labels([0, 1] * 10, Symmetric(0.4), np.int64(2)).y_given, expected)
    assert_close(flip_labels(torch.arange(20) % 2, Symmetric(0.4), 2).y_given, expected)


@pytest.mark.parametrize("noise", ["symmetric:0.2", 0.2, Symmetric, object()])
def test_what_is_no_model_is_refused_with_the_way_to_one(noise):
    with pytest.raises(
        InputError, match=r"`label_noise` must be a model such as Symmetric\(0.2\).*parse_noise reads text"
    ):
        flip_labels([0, 1], noise, 2)


@pytest.mark.parametrize("seed", [1.5, "1", None, True, -1])
@pytest.mark.parametrize("noise", [None, Symmetric(0.2)])
def test_a_seed_is_an_integer(noise, seed):
    with pytest.raises(InputError, match="`seed` must be an integer >= 0, got"):
        flip_labels(Y, noise, 2, seed)


@pytest.mark.parametrize("text", [3, None, 0.2, Symmetric(0.2), b"pair:0.2", ["pair:0.2"]])
def test_words_are_text(text):
    with pytest.raises(InputError, match="label noise must be text of the form kind:values, got .*'symmetric:0.2'"):
        parse_noise(text)


@pytest.mark.parametrize("rate", ["0.2", None, [0.2], True, float("nan"), np.array([0.2])])
def test_a_rate_is_a_number(rate):
    for model, name in ((Symmetric, "rate"), (Pair, "rate"), (lambda tau: ClassConditional(0.1, tau), "tau_minus")):
        with pytest.raises(InputError, match=rf"`{name}` must be a probability in \[0, 1\], got .*for 20% write 0.2"):
            model(rate)


@pytest.mark.parametrize(
    "rows",
    [None, "T.csv", 3, object(), [["0.5", "0.5"], ["0", "1"]], [[1, 0], [None, 1]], [[1j, 0], [0, 1]], [[1, 0], [1]]],
)
def test_what_is_no_table_of_numbers_is_refused(rows):
    with pytest.raises(InputError, match="`rows` must (be a square table of numbers|hold probabilities >= 0), got "):
        Matrix(rows)


def test_none_is_named_as_what_a_matrix_was_given():
    with pytest.raises(InputError, match="`rows` must be a square table of numbers, got None; give K rows of K"):
        Matrix(None)
