"""Label noise: realised rates against the matrix, nested and exact flips, the command line's form, refusals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.files import FromFile
from labelnoise.noise.flipping import ROUNDING, NoisyLabels, flip_labels
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.noise.words import FORMS, parse_noise

ROWS = ((0.7, 0.2, 0.1), (0.0, 1.0, 0.0), (0.25, 0.25, 0.5))


def labels(n=60_000, n_classes=3, seed=1):
    return np.random.default_rng(seed).integers(0, n_classes, n)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (Symmetric(0.3), [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]]),
        (Symmetric(0.3, include_true=True), [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]),
        (Pair(0.3), [[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]]),
        (Matrix(ROWS), ROWS),
    ],
)
def test_matrix_and_realised_frequencies(noise, expected):
    assert_close(noise.matrix(3), np.array(expected, dtype=float))
    y = labels()
    flipped = flip_labels(y, noise, 3)
    counts = np.zeros((3, 3))
    np.add.at(counts, (y, flipped.y_given), 1)
    found = counts / counts.sum(1, keepdims=True)
    # nine frequencies of some 20,000 draws each, 5 standard errors: a false alarm once in 200,000 seeds
    assert (np.abs(found - expected) <= 5 * np.sqrt(np.array(expected) * (1 - np.array(expected)) / 19_500)).all()
    assert_close(flipped.noisy, flipped.y_given != y)
    assert_close(flipped.y_true, y)


def test_two_classes_with_a_rate_each():
    y = labels(n_classes=2)
    noise = flip_labels(y, ClassConditional(0.1, 0.4), 2)
    assert_close(noise.rate_by_class, np.array([0.1, 0.4]), atol=0.015)
    with pytest.raises(InputError, match="needs two classes, got 3"):
        flip_labels(labels(), ClassConditional(0.1, 0.4), 3)


def test_the_seed_moves_the_flips_and_a_higher_rate_adds_to_them():
    y = labels(2_000)
    low, again, high, other = (
        flip_labels(y, Symmetric(rate), 3, seed=seed).noisy for rate, seed in ((0.1, 0), (0.1, 0), (0.3, 0), (0.1, 1))
    )
    assert_close(low, again)
    assert high[low].all() and high.sum() > low.sum()
    assert (low != other).any()


@given(rate=st.floats(0, 1), n=st.integers(1, 50), n_classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_flips_are_exact_and_never_to_the_same_class(rate, n, n_classes, seed):
    y, share = labels(n, n_classes, seed), Fraction(repr(rate)) * n
    assume(not 0 < -share % 1 < 2 * ROUNDING * n)  # a share that misses one more flip by a rounding
    for noise in (Symmetric(rate, exact=True), Pair(rate, exact=True)):
        flipped = flip_labels(y, noise, n_classes, seed)
        assert flipped.noisy.sum() == int(share)
        assert flipped.y_given.min() >= 0 and flipped.y_given.max() < n_classes
    assert flip_labels(y, Symmetric(1.0), n_classes, seed).noisy.all()
    assert not flip_labels(y, Symmetric(0.0), n_classes, seed).noisy.any()


def test_exact_flips_of_each_class():
    y = np.repeat([0, 1], [30, 50])
    noise = flip_labels(y, ClassConditional(0.5, 0.3, exact=True), 2)
    assert_close(np.array([noise.noisy[:30].sum(), noise.noisy[30:].sum()]), np.array([15, 15]))


def test_no_noise_leaves_labels_and_does_not_share_them():
    y = labels(10)
    noise = flip_labels(y, None, 3)
    noise.y_given[0] = 9
    assert noise.y_true[0] == y[0] != 9


def test_report():
    noise = NoisyLabels(np.array([0, 0, 0, 0, 2]), np.array([0, 1, 0, 0, 2]), 3)
    assert noise.rate == 0.2
    np.testing.assert_array_equal(noise.rate_by_class, [0.25, np.nan, 0.0])
    assert str(noise) == "1 of 5 labels wrong (0.200; by true class 0.250, nan, 0.000)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", None),
        ("symmetric:0.2", Symmetric(0.2)),
        ("symmetric:0.2:exact", Symmetric(0.2, exact=True)),
        ("symmetric-including-true:0.5", Symmetric(0.5, include_true=True)),
        ("class-conditional:0.1,0.3:exact", ClassConditional(0.1, 0.3, exact=True)),
        ("pair:0.4", Pair(0.4)),
        ("file:some/labels.npy", FromFile("some/labels.npy")),
        ("file:C:/labels.npz", FromFile("C:/labels.npz")),
        ("file:C:/labels.npz:worse_label", FromFile("C:/labels.npz", "worse_label")),
    ],
)
def test_parse(text, expected):
    assert parse_noise(text) == expected


@pytest.mark.parametrize("example", [example for kind in FORMS if kind != "matrix" for example in FORMS[kind][1:]])
def test_each_example_can_be_read(example):
    parse_noise(example)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symetric:0.2", "did you mean 'symmetric'"),
        ("symmetric", "write it like 'symmetric:0.2'"),
        ("symmetric:much", "write it like"),
        ("symmetric:0.1,0.2,0.3,0.4", "could not be read"),
        ("symmetric:0.2:exactly", "could not be read; write it like 'symmetric:0.2' or 'symmetric:0.2:exact'"),
        ("matrix:", "write it like 'matrix:T.csv'"),
        ("file:", "write it like 'file:labels.npz' or 'file:labels.npz:y_given'"),
        ("class-conditional:0.1", "write it like 'class-conditional:0.1,0.3'"),
        ("none:0.2", "write it like 'none'"),
        ("symmetric:1.2", r"`rate` must be a probability in \[0, 1\], got 1.2"),
        ("symmetric:nan", "`rate` must be a probability"),
        ("class-conditional:0.1,-1", "`tau_minus` must be a probability"),
        ("symmetric-including-true:0.2:exact", "drop one"),
        ("matrix:absent.csv", "absent.csv must be a regular file, got none"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_noise(text)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "txt"])
def test_matrix_from_a_file(tmp_path, suffix):
    path = tmp_path / f"T.{suffix}"
    if suffix == "npy":
        np.save(path, ROWS)
    elif suffix == "npz":
        np.savez(path, matrix=ROWS)
    else:
        np.savetxt(path, ROWS, delimiter="," if suffix == "csv" else " ")
    assert_close(parse_noise(f"matrix:{path}").matrix(3), np.array(ROWS))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (((0.5, 0.5),), r"square table of numbers, got shape \(1, 2\)"),
        (((0.5, 0.5), (1.0,)), "square table"),
        (((0.5, 0.6), (0.0, 1.0)), "must sum to 1, got 1.1 in row 0"),
        (((1.5, -0.5), (0.0, 1.0)), "probabilities >= 0"),
        (((float("nan"), 1.0), (0.0, 1.0)), "non-finite"),
    ],
)
def test_bad_matrices_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        Matrix(rows)


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(InputError, match="has 3 rows but the data has 2 classes"):
        flip_labels(labels(n_classes=2), Matrix(ROWS), 2)


def test_labels_from_a_file(tmp_path):
    y = np.array([2, 0, 1, 1])
    np.savetxt(tmp_path / "y.txt", [2, 1, 1, 0], fmt="%d")
    np.savez(tmp_path / "y.npz", y_given=[2, 1, 1, 0])
    for name in ("y.txt", "y.npz"):
        noise = flip_labels(y, FromFile(str(tmp_path / name)), 3)
        assert_close(noise.y_given, np.array([2, 1, 1, 0]))
        assert_close(noise.noisy, np.array([False, True, False, True]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([0, 1, 2], r"one label a sample \(4\), got 3"),
        ([0, 1, 2, 3], "class positions 0..2, got 3 at position 3"),
        ([0, 1, -1, 2], "got -1 at position 2"),
        ([0, 1.5, 1, 2], "got 1.5 at position 1"),
        ([0, 1, 1, np.nan], "must hold integers, got nan at position 3"),
        ([0, np.inf, 1, 1], "must hold integers, got inf at position 1"),
    ],
)
def test_bad_label_files_are_refused(tmp_path, content, message):
    np.save(tmp_path / "y.npy", content)
    with pytest.raises(InputError, match=message):
        flip_labels(np.array([2, 0, 1, 1]), FromFile(str(tmp_path / "y.npy")), 3)


def test_files_that_are_no_numbers_are_refused(tmp_path):
    (tmp_path / "y.txt").write_text("cat\ndog\n")
    np.save(tmp_path / "y.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "y.npz", labels=[1])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("y.txt", "y.npy", "cut.npz", "empty.npz"):
        with pytest.raises(InputError, match="could not be read as numbers|is damaged, or no file of plain arrays"):
            FromFile(str(tmp_path / name)).read(1)
    with pytest.raises(InputError, match="must hold an array 'y_given', got labels; .* write file:.*y.npz:NAME"):
        FromFile(str(tmp_path / "y.npz")).read(1)


def test_true_labels_beside_the_given_ones(tmp_path):
    for number, more in enumerate(
        ({}, {"y_true": [2, 0]}, {"clean_label": [2, 0]}, {"y_true": [2, 0], "clean_label": [1, 1]})
    ):
        path = tmp_path / f"{number}.npz"
        np.savez(path, y_given=[1, 0], worse=[0, 2], **more)
        given, true = FromFile(str(path), "worse").read(2)
        assert_close(given, np.array([0, 2]))
        assert (None if true is None else true.tolist()) == ([2, 0] if more else None)
    with pytest.raises(InputError, match=r"one label a sample \(3\), got 2"):
        FromFile(str(path)).read(3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0.0, 1.0]), "vector of integers"),
        (np.array([[0, 1]]), "vector of integers"),
        (np.array([], dtype=int), "non-empty"),
        (np.array([0, 2]), r"must lie in 0..1, got 0..2"),
        (np.array([-1, 1]), r"must lie in 0..1, got -1..1"),
    ],
)
def test_bad_true_labels_are_refused(y, message):
    with pytest.raises(InputError, match=message):
        flip_labels(y, Symmetric(0.1), 2)


@pytest.mark.parametrize("text", ["symmetric:0.2,0.3", "pair:0.2,1", "class-conditional:0.2,0.3,0.4", "pair:0.2:exakt"])
def test_a_number_too_many_is_refused(text):
    with pytest.raises(InputError, match="could not be read; write it like"):
        parse_noise(text)


def test_an_empty_matrix_file_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="the file is empty"):
        parse_noise(f"matrix:{tmp_path / 'empty.csv'}")


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="`label_noise` must be a model such as"):
        flip_labels(np.array([0, 1]), "symmetric:0.2", 2)
