"""Data out of arrays and tables: what a network sees, which labels are known, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.from_arrays import data_from_arrays

X = np.array([[1.0, 5.0, 7.0], [2.0, 5.0, 1.0], [4.0, 5.0, 3.0], [9.0, 5.0, 2.0]])
Y = ["b", "a", "b", "c"]


def test_a_table_is_normalised_by_column():
    data = data_from_arrays(X, Y, x_test=X[:2] + 1, y_test=["c", "a"], y_true=["b", "a", "a", "c"])
    there = data.on("cpu")
    seen = there.normalise(there.x_train).numpy()
    assert seen.dtype == np.float32 and data.x_train.dtype == np.float32
    assert_close(seen[:, 0], ((X[:, 0] - 4) / np.sqrt(9.5)).astype(np.float32), rtol=1e-6)
    assert_close(seen[:, 1], np.zeros(4, np.float32))  # a constant column has no scale
    assert_close(
        there.normalise(there.x_test)[0].numpy(), (seen[0] + [1 / 9.5**0.5, 1, 1 / X[:, 2].std()]).astype("f4"), 1e-5
    )
    assert (data.classes, data.class_names, data.n_classes, data.in_channels) == ((0, 1, 2), ("a", "b", "c"), 3, 3)
    assert_close(data.y_given, [1, 0, 1, 2])
    assert_close(data.y_test, [2, 0])
    assert_close(data.noisy, [False, False, True, False])
    assert data.truth_known and data.noise.rate == 0.25


def test_without_a_truth_nothing_is_said_of_it():
    data = data_from_arrays(X, Y)
    assert not data.truth_known and not data.noisy.any() and not data.clean.any() and len(data.y_test) == 0
    with pytest.raises(InputError, match="`noise` needs the true labels, got data without; give y_true, or estimate"):
        _ = data.noise


def test_images_of_bytes_stay_as_they_are():
    digits = load_data("digits", classes=(3, 8))
    data = data_from_arrays(digits.x_train, digits.y_given, x_test=digits.x_test, y_test=digits.y_test)
    assert data.x_train is digits.x_train or data.x_train.dtype == np.uint8
    one, two = data.on("cpu"), digits.on("cpu")
    assert_close(one.normalise(one.x_train).numpy(), two.normalise(two.x_train).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "classes", "names"),
    [
        ([7, 3, 7, 5], (3, 5, 7), ("3", "5", "7")),
        (pd.Series(["x", "y", "x", "x"]), (0, 1), ("x", "y")),
        (pd.Series(["x", "y", "x", "x"], dtype="category"), (0, 1), ("x", "y")),
        (pd.Series([2, 1, 2, 2], dtype="Int64"), (1, 2), ("1", "2")),
        (pd.Series([2, 1, 2, 2], dtype=object), (1, 2), ("1", "2")),
        (torch.tensor([1, 0, 1, 1]), (0, 1), ("0", "1")),
        ([True, False, True, True], (0, 1), ("0", "1")),
    ],
)
def test_labels_of_any_kind(labels, classes, names):
    data = data_from_arrays(torch.as_tensor(X), labels)
    assert (data.classes, data.class_names) == (classes, names)
    assert_close(data.y_given, np.searchsorted(np.unique(np.asarray(labels)), np.asarray(labels)))


def test_values_as_they_are():
    data = data_from_arrays(pd.DataFrame(X, columns=["a", "b", "c"]), Y, normalise=False, name="mine")
    there = data.on("cpu")
    assert_close(there.normalise(there.x_train).numpy(), X.astype(np.float32))
    assert data.name == "mine"


FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "town": ["x", "y", "x", "y"]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": FRAME}, r"`x` must hold numbers, got the column 'town' of another type \(1 in all\); encode such col"),
        (
            {"x": FRAME[["age"]].replace(2, np.nan)},
            r"`x` must hold finite numbers .*, got nan at \(1, 0\) \(1 in all\)",
        ),
        ({"x": [[1e39, 0]] * 4}, r"in the range of float32, got 1e\+39 at \(0, 0\) \(4 in all\); fill missing values"),
        ({"x": [["a"], ["b"], ["a"], ["b"]]}, "`x` must hold numbers, got .*; encode texts and categories first"),
        ({"x": [1, 2, 3, 4]}, r"`x` must have a row a sample and one feature or more, got shape \(4,\)"),
        ({"x": np.zeros((4, 0))}, r"got shape \(4, 0\)"),
        ({"x": X[:3]}, r"`y` must hold a label a row of `x` \(3\), got 4; give one for each"),
        ({"y": [0.0, 1.0, 0.5, 1.0]}, r"`y` must hold classes, got floats such as 0\.5 .*; classes have no fractions"),
        ({"y": [0.0, 1.0, 0.0, 1.0]}, "`y` must be integers or texts, got floats; classes have no fractions"),
        ({"y": pd.Series(["a", None, "b", "b"])}, "`y` must have no missing value, got an empty one .* for 1 of the"),
        ({"y": ["a", None, None, "b"]}, "`y` must have no missing value, got an empty one .* for 2 of the samples"),
        ({"y": pd.Series(["a", 1, "b", "b"])}, r"`y` must hold texts or integers throughout, got \['a', 1, 'b'\]"),
        ({"y": [2**70, 1, 2, 1]}, r"`y` must hold integers below 2\^63, got a larger one; give texts"),
        ({"y": np.array([b"a", b"b"] * 2)}, r"`y` must hold texts or integers, got \|S1 \(4,\); convert them first"),
        ({"y": [2, 2, 2, 2]}, "`y` must hold two classes or more, got 2 alone; there is nothing to learn"),
        ({"y": [["a"]] * 4}, "`y` must hold one label a sample"),
        ({"x_test": X}, "`x_test` and `y_test` must be given together, got one of them"),
        ({"x_test": X[:, :2], "y_test": Y}, r"samples like those of `x` \(float32 \(3,\)\), got float32 \(2,\)"),
        (
            {"x_test": X, "y_test": ["a", "b", "z", "a"]},
            r"`y_test` must lie among the classes of `y`, got 'z' \(1 in",
        ),
        ({"x_test": X, "y_test": Y[:2]}, r"`y_test` must hold a label a row of `x_test` \(4\), got 2"),
        ({"y_true": [0, 1, 1, 2]}, "`y_true` must be labels like those of `y`"),
        ({"normalise": 1}, "`normalise` must be True or False, got 1"),
        ({"name": 3}, "`name` must be a text, got 3"),
    ],
)
def test_what_is_no_data_is_refused(arguments, message):
    with pytest.raises(InputError, match=message) as refusal:
        data_from_arrays(**{"x": X, "y": Y, **arguments})
    assert "\n" not in str(refusal.value)
