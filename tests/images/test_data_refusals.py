"""Arguments of another type are refused before any data are read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.datasets import read_source
from labelnoise.images.networks import build_model
from test_datasets import save, write_images


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": None}, "`name` must name a data set, a file or a folder, got None; use for example 'digits'"),
        ({"name": 3}, "`name` must name a data set, a file or a folder, got 3"),
        ({"name": ["digits"]}, r"`name` must name a data set, a file or a folder, got \['digits'\]"),
        ({"name": ""}, "`name` must name a data set, a file or a folder, got ''"),
        ({"root": None}, "`root` must be a path, got None; write one like 'folder/name'"),
        ({"root": 3}, "`root` must be a path, got 3"),
        ({"root": ""}, "`root` must be a path, got ''"),
        ({"root": __file__}, "`root` must be a folder, got the file .*; use for example 'data'"),
        ({"seed": "x"}, "`seed` must be an integer >= 0, got 'x'"),
        ({"seed": None}, "`seed` must be an integer >= 0, got None"),
        ({"classes": 3}, r"`classes` must be a list of ids or names, got 3; write for example \(3, 8\)"),
        ({"classes": "cat"}, "`classes` must be a list of ids or names, got 'cat'"),
        ({"classes": b"38"}, "`classes` must be a list of ids or names, got b'38'"),
        ({"classes": {3: 1, 8: 2}}, "`classes` must be a list of ids or names, got {3"),
        ({"classes": {3, 8}}, "`classes` must be a list of ids or names, got {"),  # a set has no order
        ({"per_class": 0}, "`per_class` must be an integer >= 1, got 0"),
        ({"per_class": "3"}, "`per_class` must be an integer >= 1, got '3'"),
        ({"per_class": True}, "`per_class` must be an integer >= 1, got True"),
        ({"download": "no"}, "`download` must be True or False, got 'no'"),
        ({"progress": 3}, r"`progress` must be callable as progress\(done, total\), got 3"),
    ],
)
def test_bad_arguments_are_refused_before_data_are_read(tmp_path, monkeypatch, arguments, message):
    def never(path):
        raise AssertionError("the file was read")

    monkeypatch.setattr("labelnoise.images.datasets.read_npz", never)
    call = {"name": save(tmp_path / "a.npz"), **arguments}
    with pytest.raises(InputError, match=message):
        load_data(call.pop("name"), **call)


def test_a_file_is_named_by_a_path_or_by_a_text(tmp_path):
    path = Path(save(tmp_path / "a.npz"))
    for name, root in ((path, "data"), (str(path), Path("data")), (Path("a"), tmp_path), ("a", str(tmp_path))):
        assert load_data(name, root=root).name == "a"
        assert read_source(name, root, 0)[0] == "a"
    with pytest.raises(InputError, match="data set 'digit' is not known .* did you mean 'digits'"):
        load_data(Path("digit"))


@pytest.mark.parametrize("classes", [(3, 8), [3, 8], np.array([3, 8]), range(3, 9, 5), pd.Series([3, 8])])
def test_lists_of_classes_of_any_kind(classes):
    assert load_data("digits", classes=classes).classes == (3, 8)


@pytest.mark.parametrize(
    ("names", "classes", "chosen"),
    [
        ("3 7", (3, 7), "3 7"),  # folders called by numbers: names come first
        ("3 7", ("7", "3"), "7 3"),
        ("3 7", (np.int64(7), "3"), "7 3"),
        ("3 7", (0, 1), "3 7"),  # no names: positions
        ("3 7", (1, 0), "7 3"),
        ("1 2 3", (1, 2), "1 2"),
        ("1 2 3", (0, 1), "1 2"),  # one of them is no name, so both are positions
        ("0 1 10 2", (10, 2), "10 2"),
        ("03 07", ("03", "07"), "03 07"),
        ("ant bee 7", (7, "ant"), "7 ant"),
        ("ant bee 7", (2, "ant"), "bee ant"),
        ("ant bee", (1, "ant"), "bee ant"),
    ],
)
def test_classes_are_names_where_each_of_them_is_one(tmp_path, names, classes, chosen):
    pixels = write_images(tmp_path, {f"{part}/{name}": 2 for part in ("train", "test") for name in names.split()})
    data = load_data(tmp_path, classes=classes)
    assert data.class_names == tuple(chosen.split())
    for image, label in zip(data.x_train, data.y_true, strict=True):
        own = [pixels[f"train/{chosen.split()[label]}", k] for k in (0, 1)]
        assert any((image.transpose(1, 2, 0) == other).all() for other in own)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((3, 77), "`classes` must be ids among 0, 1, or names, got 77; did you mean '7'?"),
        ((3, "cat"), "`classes` must be ids among 0, 1, or names, got 'cat'; choose one of '3', '7'"),
        ((7, 0), "`classes` must be ids among 0, 1, or names, got 7; give all of them by name"),
        ((3, 3), r"`classes` must differ from each other, got 3, 3; list each one once"),
        (("7", 3, 7), r"`classes` must differ from each other, got 7, 3, 7; list each"),
        (np.array([1, 1]), r"`classes` must differ from each other, got 1, 1; list each one once"),
        (iter([1, 1]), r"`classes` must differ from each other, got 1, 1; list each one once"),
        (np.array([[3, 7]]), r"`classes` must be ids among 0, 1, or names, got array\(\[3, 7\]\)"),
        ((True, False), "`classes` must be ids among 0, 1, or names, got True"),
    ],
)
def test_classes_that_folders_do_not_hold(tmp_path, classes, message):
    write_images(tmp_path, {f"{part}/{name}": 1 for part in ("train", "test") for name in "37"})
    with pytest.raises(InputError, match=message):
        load_data(tmp_path, classes=classes)


@pytest.mark.parametrize("noise", ["symmetric:0.2", 0.2, object()])
def test_label_noise_in_words_is_refused_with_the_function_that_reads_them(noise):
    with pytest.raises(InputError, match="`label_noise` must be a model such as .*; parse_noise reads text"):
        load_data("digits", label_noise=noise)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": None}, "`model` must name a network, got None"),
        ({"name": ["mlp"]}, r"`model` must name a network, got \['mlp'\]"),
        ({"n_classes": "3"}, "`n_classes` must be an integer >= 2, got '3'"),
        ({"n_classes": 2.0}, "`n_classes` must be an integer >= 2, got 2.0"),
        ({"n_classes": None}, "`n_classes` must be an integer >= 2, got None"),
        ({"in_channels": True}, "`in_channels` must be an integer >= 1, got True"),
        ({"in_channels": "1"}, "`in_channels` must be an integer >= 1, got '1'"),
        ({"image_size": 3}, "`image_size` must be height and width, two integers >= 1, got 3; take them from the data"),
        ({"image_size": (8,)}, r"`image_size` must be height and width, two integers >= 1, got \(8,\)"),
        ({"image_size": (8, 8, 8)}, r"`image_size` must be height and width, two integers >= 1, got \(8, 8, 8\)"),
        ({"image_size": (8, 0.5)}, r"`image_size` must be height and width, two integers >= 1, got \(8, 0.5\)"),
        ({"image_size": "88"}, "`image_size` must be height and width, two integers >= 1, got '88'"),
        ({"image_size": None}, "`image_size` must be height and width, two integers >= 1, got None"),
        ({"seed": "x"}, "`seed` must be an integer >= 0, got 'x'"),
    ],
)
def test_bad_arguments_of_a_network_are_refused(arguments, message):
    call = {"name": "mlp", "n_classes": 2, "in_channels": 1, "image_size": (8, 8), **arguments}
    with pytest.raises(InputError, match=message):
        build_model(call.pop("name"), **call)


def test_sizes_of_a_network_may_come_from_numpy():
    size = np.array([8, 6])
    model = build_model("mlp", n_classes=np.int64(3), in_channels=np.int64(1), image_size=size)
    assert model[1].in_features == 48 and model[-1].out_features == 3
