"""Data sets: reading, choosing classes, flips that move nothing else, and one sentence for each bad file."""

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.data import load_data
from labelnoise.errors import InputError
from labelnoise.noise import Matrix, Symmetric, flip_labels


def arrays(channels=1, n=40, n_test=12, ids=(7, 2, 5), size=6):
    """Images whose first pixel is the sample's number, with unsorted class ids."""
    rng = np.random.default_rng(3)
    out = {}
    for part, count, offset in (("train", n, 0), ("test", n_test, 100)):
        x = rng.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
        x[:, 0, 0, 0] = np.arange(count) + offset
        out[f"x_{part}"], out[f"y_{part}"] = x, np.resize(np.array(ids, dtype=np.uint8), count)
    return out


def save(path, **changes):
    content = {**arrays(), **changes}
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return str(path)


def test_digits():
    data = load_data("digits", seed=4)
    assert (data.name, data.n_classes, data.in_channels, data.classes) == ("digits", 10, 1, tuple(range(10)))
    assert (data.x_train.shape, data.x_test.shape) == ((1258, 1, 8, 8), (539, 1, 8, 8))
    assert data.x_train.dtype == np.uint8 and data.x_train.max() == 255
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    assert_close(data.x_train.reshape(-1, 64) / 255 * 16, values[data.index], atol=0.5 * 16 / 255 + 1e-9)
    assert_close(data.y_true, labels[data.index])
    assert_close(data.y_given, data.y_true)
    assert not data.noisy.any()
    whole = np.sort(np.concatenate([data.x_train, data.x_test]).reshape(-1, 64).sum(1))
    assert_close(whole, np.sort(np.rint(values * 255 / 16).astype(np.uint64).sum(1)))


def test_the_split_follows_the_seed():
    index = load_data("digits", seed=1).index
    assert_close(index, load_data("digits", seed=1).index)
    assert_close(index, np.sort(index))
    assert set(load_data("digits", seed=1).index) != set(load_data("digits", seed=2).index)


def test_noise_moves_no_image_and_no_test_label():
    plain = load_data("digits", seed=5)
    noisy = load_data("digits", seed=5, label_noise=Symmetric(0.3))
    for name in ("x_train", "y_true", "x_test", "y_test", "index", "mean", "std"):
        assert_close(getattr(noisy, name), getattr(plain, name), rtol=0)
    assert 0.25 < noisy.noise.rate < 0.35
    assert_close(noisy.noisy, noisy.y_given != noisy.y_true)


def test_the_flips_follow_the_seed(tmp_path):
    path = save(tmp_path / "a.npz")
    y = load_data(path).y_true
    for seed in (0, 1):
        data = load_data(path, label_noise=Symmetric(0.5), seed=seed)
        assert_close(data.y_given, flip_labels(y, Symmetric(0.5), 3, seed).y_given)
    assert (data.y_given != load_data(path, label_noise=Symmetric(0.5), seed=0).y_given).any()


def test_chosen_classes_keep_the_split_and_the_order_asked_for():
    whole, part = load_data("digits"), load_data("digits", classes=(8, 3))
    assert part.classes == (8, 3)
    assert_close(part.index, whole.index[np.isin(whole.y_true, (3, 8))])
    assert_close(np.array([8, 3])[part.y_true], whole.y_true[np.isin(whole.y_true, (3, 8))])
    assert_close(np.array([8, 3])[part.y_test], whole.y_test[np.isin(whole.y_test, (3, 8))])


def test_flips_count_positions_in_the_order_asked_for(tmp_path):
    path = save(tmp_path / "a.npz")
    data = load_data(path, classes=(5, 7), label_noise=Matrix(((0.0, 1.0), (0.0, 1.0))))
    assert_close(data.noisy, data.y_true == 0)
    assert_close(data.noise.rate_by_class, np.array([1.0, 0.0]))
    assert set(data.y_given) == {1}


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_images_and_scale(tmp_path, channels):
    content = arrays(channels)
    data = load_data(save(tmp_path / "toy.npz", **content))
    assert (data.name, data.classes, data.in_channels) == ("toy", (2, 5, 7), channels)
    assert_close(data.x_train, content["x_train"])
    assert_close(np.array(data.classes)[data.y_true], content["y_train"].astype(np.int64))
    assert_close(np.array(data.classes)[data.y_test], content["y_test"].astype(np.int64))
    assert_close(data.mean, content["x_train"].mean(axis=(0, 2, 3)) / 255)
    assert_close(data.std, content["x_train"].std(axis=(0, 2, 3)) / 255)


def test_images_without_a_channel_axis(tmp_path):
    content = arrays()
    flat = {key: value[:, 0] if key[0] == "x" else value for key, value in content.items()}
    assert_close(load_data(save(tmp_path / "flat.npz", **flat)).x_test, content["x_test"])


def test_scale_belongs_to_the_chosen_training_images(tmp_path):
    data = load_data(save(tmp_path / "a.npz"), classes=(7, 2))
    assert_close(data.mean, np.array([data.x_train.mean() / 255]))


def test_a_constant_channel_is_left_at_zero(tmp_path):
    flat = {key: np.full_like(value, 9) for key, value in arrays().items() if key[0] == "x"}
    data = load_data(save(tmp_path / "flat.npz", **flat)).on("cpu")
    assert (data.normalise(data.x_train) == 0).all()


def test_device_images_are_normalised_there(tmp_path):
    data = load_data(save(tmp_path / "a.npz", **arrays(3)), label_noise=Symmetric(0.5))
    there = data.on("cpu")
    assert there.x_train.dtype.itemsize == 1
    expected = (data.x_test / 255 - data.mean[:, None, None]) / data.std[:, None, None]
    assert_close(there.normalise(there.x_test), expected.astype(np.float32), atol=1e-6)
    assert_close(there.y_given, data.y_given)
    assert_close(there.y_test, data.y_test)


def test_where_files_are_looked_for(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir(), (tmp_path / "env").mkdir()
    save(tmp_path / "root" / "a.npz"), save(tmp_path / "env" / "b.npz", **arrays(3))
    assert load_data("a", root=tmp_path / "root").in_channels == 1
    assert load_data("a.npz", root=tmp_path / "root").in_channels == 1
    with pytest.raises(InputError, match="'b' is not known"):
        load_data("b", root=tmp_path / "root")
    monkeypatch.setenv("LABELNOISE_DATA", str(tmp_path / "env"))
    assert load_data("b", root=tmp_path / "root").in_channels == 3
    with pytest.raises(InputError, match="did you mean 'digits'"):
        load_data("digit")


def labels(n=40, **kinds):
    return np.resize(np.array([7, 2, 5]), n).astype(**kinds)


BAD_FILES = {
    "missing key": ({"y_test": None}, "y_test is missing"),
    "float images": ({"x_train": arrays()["x_train"] / 255}, "x_train must be uint8 .* got float64; "),
    "NaN images": ({"x_test": np.full((12, 6, 6), np.nan)}, "x_test must be uint8 .* got float64 with NaN"),
    "channels last": ({"x_train": np.zeros((40, 6, 6, 3), np.uint8)}, r"got \(40, 6, 6, 3\); move the channels"),
    "vectors": ({"x_train": np.zeros((40, 36), np.uint8)}, "x_train must have shape"),
    "no images": ({"x_test": np.zeros((0, 6, 6), np.uint8)}, "x_test must have shape"),
    "length": ({"y_train": labels(39, dtype=int)}, r"y_train must hold one label an image \(40\), got shape \(39,\)"),
    "column": ({"y_train": labels(dtype=int)[:, None]}, r"got shape \(40, 1\)"),
    "float labels": ({"y_train": labels(dtype=float)}, "y_train must hold integers, got float64"),
    "NaN labels": ({"y_test": np.full(12, np.nan)}, "y_test must hold integers"),
    "pickle": ({"y_train": labels(dtype=object)}, "damaged or holds pickled objects"),
    "sizes": ({"x_test": np.zeros((12, 5, 6), np.uint8)}, "images of one shape"),
    "absent from test": ({"y_test": np.resize([7, 2], 12)}, "class 5 has no test image"),
    "absent from training": ({"y_train": np.resize([7, 5], 40)}, "class 2 has no training image"),
    "one class": ({"y_train": np.full(40, 3), "y_test": np.full(12, 3)}, "two or more"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence(tmp_path, case):
    changes, message = BAD_FILES[case]
    with pytest.raises(InputError, match=message) as refusal:
        load_data(save(tmp_path / "bad.npz", **changes))
    assert "\n" not in str(refusal.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:700] + b"\xff" * 60 + whole[760:], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.npz is damaged or holds"):
            load_data(str(path))
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="must be an .npz archive, got a single array"):
        load_data(str(path))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((2, 9), "must be among 2, 5, 7, got 9"),
        ((2, "5"), "must be among 2, 5, 7, got '5'"),
        ((5, 2, 5), "must differ from each other"),
        ((5,), "must be two or more"),
        ((), "must be two or more"),
    ],
)
def test_bad_classes_are_refused(tmp_path, classes, message):
    with pytest.raises(InputError, match=f"`classes` {message}"):
        load_data(save(tmp_path / "a.npz"), classes=classes)
