"""Data sets: choosing classes and images, flips that move nothing else, people's labels, and what a device does."""

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.noise.files import FromFile
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import Matrix, Symmetric
from test_datasets import arrays, save, write_images


def test_digits():
    data = load_data("digits", seed=4)
    assert (data.name, data.n_classes, data.in_channels, data.classes) == ("digits", 10, 1, tuple(range(10)))
    assert data.class_names == tuple("0123456789")
    assert (data.x_train.shape, data.x_test.shape) == ((1258, 1, 8, 8), (539, 1, 8, 8))
    assert data.x_train.dtype == np.uint8 and data.x_train.max() == 255
    assert_close(data.y_given, data.y_true)
    assert not data.noisy.any()


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


def test_the_scale_of_many_images_is_exact(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (400, 3, 32, 32), dtype=np.uint8)  # more than one block
    images[:, 1] = 9
    images[7, 2] = 255
    y = np.resize([1, 2], 400)
    data = load_data(save(tmp_path / "a.npz", x_train=images, y_train=y, x_test=images[:2], y_test=y[:2]))
    assert_close(data.mean, images.mean(axis=(0, 2, 3)) / 255)
    assert_close(data.std[[0, 2]], images.std(axis=(0, 2, 3))[[0, 2]] / 255)
    assert data.std[1] == 1


def test_crop_and_mirror_equal_a_loop_over_images(tmp_path):
    import torch

    rng = np.random.default_rng(5)
    images = load_data(save(tmp_path / "a.npz")).on("cpu")
    pixels = rng.integers(1, 256, (9, 3, 7, 5), dtype=np.uint8)
    shifts = rng.integers(0, (9, 9, 2), (9, 3))
    shifts[:4] = [[4, 4, 0], [4, 4, 1], [0, 8, 0], [8, 0, 1]]
    for layout in (torch.contiguous_format, torch.channels_last):
        found = images.augment(torch.as_tensor(pixels).to(memory_format=layout), torch.as_tensor(shifts))
        assert found.is_contiguous(memory_format=torch.channels_last)
        for image, (down, across, mirror), result in zip(pixels, shifts, found, strict=True):
            expected = np.pad(image, ((0, 0), (4, 4), (4, 4)))[:, down : down + 7, across : across + 5]
            assert_close(result, expected[:, :, ::-1] if mirror else expected)
    assert_close(found[0], pixels[0])
    assert_close(found[1], pixels[1, :, :, ::-1])


CLASS_FREE = {
    "absent from test": ({"y_test": np.resize([7, 2], 12)}, "class 5 has no test image"),
    "absent from training": ({"y_train": np.resize([7, 5], 40)}, "class 2 has no training image"),
    "one class": ({"y_train": np.full(40, 3), "y_test": np.full(12, 3)}, "two or more"),
}


@pytest.mark.parametrize("case", CLASS_FREE)
def test_classes_that_the_data_do_not_hold(tmp_path, case):
    changes, message = CLASS_FREE[case]
    with pytest.raises(InputError, match=message):
        load_data(save(tmp_path / "bad.npz", **changes))


def test_a_folder_of_images(tmp_path):
    counts = {"train/ant": 3, "train/bee": 2, "train/cat": 4, "test/ant": 1, "test/bee": 1, "test/cat": 1}
    write_images(tmp_path / "pets", counts)
    data = load_data("pets", root=tmp_path, classes=(2, 0))
    assert (data.name, data.classes, data.class_names) == ("pets", (2, 0), ("cat", "ant"))
    assert_close(data.index, np.array([0, 1, 2, 5, 6, 7, 8]))
    assert_close(data.y_true, np.array([1, 1, 1, 0, 0, 0, 0]))
    (tmp_path / "pets/test/bee/0.png").unlink()
    (tmp_path / "pets/test/bee").rmdir()
    with pytest.raises(InputError, match=r"class 1 \(bee\) has no test image"):
        load_data("pets", root=tmp_path)
    with pytest.raises(InputError, match="must be two or more, got .*; the data holds 0"):
        write_images(tmp_path / "one", {"only": 9})
        load_data("one", root=tmp_path)


def test_so_many_images_of_each_class(tmp_path):
    whole, some, more = (load_data("digits", classes=(8, 3), per_class=n, seed=2) for n in (None, 20, 50))
    assert_close(np.bincount(some.y_true), np.array([20, 20]))
    assert_close(some.index, np.sort(some.index))
    assert set(some.index) < set(more.index) < set(whole.index)
    rows = np.searchsorted(whole.index, some.index)
    assert_close(some.x_train, whole.x_train[rows])
    assert_close(some.y_true, whole.y_true[rows])
    assert_close(some.x_test, whole.x_test)
    assert_close(some.mean, np.array([some.x_train.mean() / 255]))
    assert rows.max() > 150 and set(rows) != set(range(40))  # drawn, not the first ones
    path = save(tmp_path / "a.npz")
    assert set(load_data(path, per_class=5, seed=2).index) != set(load_data(path, per_class=5, seed=3).index)
    beside = load_data("digits", classes=(8, 1, 3), per_class=20, seed=2)
    assert set(some.index) < set(beside.index)  # another class moves no choice


def test_flips_come_after_the_choice():
    data = load_data("digits", per_class=30, label_noise=Symmetric(0.3, exact=True), seed=2)
    assert_close(data.y_given, flip_labels(data.y_true, Symmetric(0.3, exact=True), 10, 2).y_given)
    assert data.noisy.sum() == 90


@pytest.mark.parametrize(
    ("per_class", "message"),
    [
        (11, "each class, got 11 but class 5 has 10; use for example 10"),
        (0, "`per_class` must be an integer >= 1, got 0"),
        (2.5, "`per_class` must be an integer >= 1, got 2.5"),
    ],
)
def test_too_many_or_too_few_of_each_class(tmp_path, per_class, message):
    y = np.array([7] * 12 + [5] * 10 + [2] * 18)
    with pytest.raises(InputError, match=message):
        load_data(save(tmp_path / "a.npz", y_train=y), per_class=per_class)


# labels that people gave


def label_file(path, right, share=0.7, ids=(7, 2, 5), **more):
    """Given labels that are right with that probability, in a file; returned too."""
    rng = np.random.default_rng(4)
    given = np.where(rng.random(len(right)) < share, right, rng.choice(ids, len(right)))
    np.savez(path, y_given=given, **more)
    return given


def test_labels_of_a_file_follow_the_images(tmp_path):
    source = arrays()["y_train"].astype(int)
    given = label_file(tmp_path / "y.npz", source, y_true=source)
    path = save(tmp_path / "a.npz")
    data = load_data(path, label_noise=FromFile(str(tmp_path / "y.npz")), classes=(5, 2, 7), per_class=9)
    assert_close(np.array(data.classes)[data.y_given], given[data.index])
    assert_close(np.array(data.classes)[data.y_true], source[data.index])
    assert 0 < data.noisy.sum() < 27
    np.savez(tmp_path / "z.npz", aggregate=given, clean_label=source)
    again = load_data(path, label_noise=FromFile(str(tmp_path / "z.npz"), "aggregate"), classes=(5, 2, 7), per_class=9)
    assert_close(again.y_given, data.y_given)


@pytest.mark.parametrize("suffix", ["npz", "npy", "txt"])
def test_labels_of_a_file_are_in_the_order_of_the_whole_source(tmp_path, suffix):
    """For digits that is scikit-learn's order of all 1797, of which the split takes some."""
    from sklearn.datasets import load_digits

    labels = load_digits().target
    given = label_file(tmp_path / "y.npz", labels, ids=range(10))
    np.save(tmp_path / "y.npy", given)
    np.savetxt(tmp_path / "y.txt", given, fmt="%d")
    data = load_data("digits", label_noise=FromFile(str(tmp_path / f"y.{suffix}")), seed=6)
    assert_close(data.y_given, given[data.index])
    assert_close(data.y_true, labels[data.index])


def test_a_label_file_in_another_order_is_refused(tmp_path):
    from sklearn.datasets import load_digits

    labels = load_digits().target
    order = np.random.default_rng(0).permutation(1797)
    label_file(tmp_path / "y.npz", labels[order], share=1.0)
    with pytest.raises(
        InputError, match=r"must agree with 0.1\d+ of the 1258 true .* \(0.1\d+\), got 0.\d+; sort it .* as `y_true`"
    ):
        load_data("digits", label_noise=FromFile(str(tmp_path / "y.npz")))
    few = {
        "x_train": np.zeros((6, 4, 4), np.uint8),
        "y_train": [0, 1, 1, 0, 1, 0],
        "x_test": np.zeros((2, 4, 4), np.uint8),
    }
    np.savez(tmp_path / "few.npz", **few, y_test=[0, 1])
    np.savetxt(tmp_path / "few.txt", few["y_train"], fmt="%d")
    assert not load_data(str(tmp_path / "few.npz"), label_noise=FromFile(str(tmp_path / "few.txt"))).noisy.any()
    label_file(tmp_path / "y.npz", labels[order], share=1.0, y_true=labels[order])
    first = load_data("digits").index
    first = first[labels[order][first] != labels[first]][0]
    message = f"at position {first} its true label is {labels[order][first]} and the data's {labels[first]}; sort"
    with pytest.raises(InputError, match=message):
        load_data("digits", label_noise=FromFile(str(tmp_path / "y.npz")))


def test_true_labels_vouch_for_labels_worse_than_chance(tmp_path):
    y = arrays()["y_train"].astype(int)
    np.savez(tmp_path / "y.npz", y_given=np.roll([7, 2, 5], 1)[np.searchsorted([2, 5, 7], y)], y_true=y)
    np.save(tmp_path / "y.npy", np.load(tmp_path / "y.npz")["y_given"])
    path = save(tmp_path / "a.npz")
    assert load_data(path, label_noise=FromFile(str(tmp_path / "y.npz"))).noise.rate > 0.6
    with pytest.raises(InputError, match="or vouch for it"):
        load_data(path, label_noise=FromFile(str(tmp_path / "y.npy")))


def test_label_files_that_do_not_fit(tmp_path):
    y = arrays()["y_train"].astype(int)
    path = save(tmp_path / "a.npz")
    noise = FromFile(str(tmp_path / "y.npz"))
    label_file(tmp_path / "y.npz", y[1:])
    with pytest.raises(InputError, match=r"y.npz must hold one label a sample \(40\), got 39"):
        load_data(path, label_noise=noise)
    given = label_file(tmp_path / "y.npz", y)
    at = np.flatnonzero((given == 2) & (y != 2))
    message = rf"among the chosen classes 7, 5, got 2 at position {at[0]} \({len(at)} in all\); use all classes"
    with pytest.raises(InputError, match=message):
        load_data(path, label_noise=noise, classes=(7, 5))
    given[3] = 4
    np.savez(tmp_path / "y.npz", y_given=given)
    with pytest.raises(InputError, match=r"among the chosen classes 2, 5, 7, got 4 at position 3 \(1 in all\)"):
        load_data(path, label_noise=noise)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((2, 9), "must be ids among 2, 5, 7, got 9; these classes have no names, give ids"),
        ((2, "5"), "must be ids among 2, 5, 7, got '5'"),
        ((5, 2, 5), "must differ from each other"),
        ((5,), "must be two or more"),
        ((), "must be two or more"),
    ],
)
def test_bad_classes_are_refused(tmp_path, classes, message):
    with pytest.raises(InputError, match=f"`classes` {message}"):
        load_data(save(tmp_path / "a.npz"), classes=classes)


def test_classes_go_by_name_where_they_have_one(tmp_path):
    write_images(
        tmp_path / "pets", {f"{half}/{name}": 3 for half in ("train", "test") for name in ("ant", "bee", "cat")}
    )
    by_id, by_name = (load_data(str(tmp_path / "pets"), classes=classes) for classes in ((2, 0), ("cat", "ant")))
    assert by_name.classes == by_id.classes == (2, 0) and by_name.class_names == ("cat", "ant")
    assert_close(by_name.y_true, by_id.y_true)
    assert load_data(str(tmp_path / "pets"), classes=("bee", 0)).classes == (1, 0)
    with pytest.raises(InputError, match="or names, got 'cta'; did you mean 'cat'?"):
        load_data(str(tmp_path / "pets"), classes=("cta", "ant"))
    with pytest.raises(InputError, match="got 'cat'; these classes have no names"):
        load_data("digits", classes=("cat", "dog"))
    with pytest.raises(InputError, match="must differ from each other"):
        load_data(str(tmp_path / "pets"), classes=("cat", 2))
