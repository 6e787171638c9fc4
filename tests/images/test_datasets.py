"""Readers: each format read as it was written, where files are looked for, one sentence for each bad one."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images import archives
from labelnoise.images.datasets import DATASETS, read_npz, read_source
from labelnoise.images.image_folders import read_folder
from test_archives import files_in, md5, pack, python2_pickle, server  # noqa: F401 (a fixture)

RNG = np.random.default_rng(8)


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


def read(name, root, **options):
    return read_source(name, root, 0, **options)[1]


# known data sets


def cifar(name, folder, monkeypatch, forms=("folder", "archive")):
    """Write a tiny CIFAR archive into `folder`, register its checksums, and return images and labels of both parts."""
    if name == "cifar10":
        inner, train, test, meta = "cifar-10-batches-py", [f"data_batch_{k}" for k in range(1, 6)], "test_batch", ""
        labels, names, meta, n_classes = b"labels", b"label_names", "batches.meta", 3
    else:
        inner, train, test, meta = "cifar-100-python", ["train"], "test", "meta"
        labels, names, n_classes = b"fine_labels", b"fine_label_names", 5
    files, parts = {}, []
    for file in (*train, test):
        x = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
        y = RNG.integers(0, n_classes, 4)
        parts.append((x.reshape(-1, 3, 32, 32), y))
        files[file] = python2_pickle(
            {labels: y.tolist(), b"data": x, b"coarse_labels": [9] * 4, b"batch_label": file.encode()}
        )
    files[meta] = python2_pickle({names: [b"class %d" % k for k in range(n_classes)], b"coarse_label_names": [b"x"]})
    members = {f"{inner}/{file}": content for file, content in files.items()}
    packed, archive = pack(dict(reversed(members.items()))), archives.downloads(name)[0]
    official = {archive: md5(packed), **{member: md5(content) for member, content in members.items()}}
    monkeypatch.setitem(archives.MD5, name, official)
    folder.mkdir(parents=True, exist_ok=True)
    if "archive" in forms:
        (folder / archive).write_bytes(packed)
    if "folder" in forms:
        (folder / inner).mkdir()
        for member, content in members.items():
            (folder / member).write_bytes(content)
    x, y = ([part[k] for part in parts] for k in (0, 1))
    return np.concatenate(x[:-1]), np.concatenate(y[:-1]), x[-1], y[-1]


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path, monkeypatch, name, form):
    expected = cifar(name, tmp_path, monkeypatch, [form])
    source = read(name, tmp_path)
    for found, value in zip(source, expected, strict=False):
        assert_close(found, value)
    assert_close(source.position, np.arange(len(expected[1])))
    assert source.size == len(expected[1])
    assert source.names == tuple(f"class {k}" for k in range(3 if name == "cifar10" else 5))


def test_a_truncated_archive_and_a_tampered_folder(tmp_path, monkeypatch):
    cifar("cifar10", tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py/data_batch_3").write_bytes(b"tampered")
    with pytest.raises(InputError, match="data_batch_3 is not the official file of 'cifar10', or is damaged"):
        read("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()  # the archive serves as long as the folder is not whole
    assert read("cifar10", tmp_path).size == 20
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(InputError, match="cifar-10-python.tar.gz is not the official file of 'cifar10', or is damaged"):
        read("cifar10", tmp_path)
    archive.unlink()
    with pytest.raises(InputError, match="put cifar-10-batches-py/data_batch_3 in"):
        read("cifar10", tmp_path)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip


def mnist(name, folder, monkeypatch, packed=True, seed=1):
    """Write four tiny idx files, register the checksums of their .gz form, and return what they hold."""
    rng = np.random.default_rng(seed)
    content = (
        rng.integers(0, 256, (7, 5, 4), dtype=np.uint8), np.array([3, 1, 1, 0, 9, 3, 0], np.uint8),
        rng.integers(0, 256, (3, 5, 4), dtype=np.uint8), np.array([9, 0, 1], np.uint8),
    )  # fmt: skip
    zipped = {file: gzip.compress(idx(array)) for file, array in zip(FILES, content, strict=True)}
    monkeypatch.setitem(archives.MD5, name, {file: md5(data) for file, data in zipped.items()})
    folder.mkdir(parents=True, exist_ok=True)
    for (file, data), array in zip(zipped.items(), content, strict=True):
        (folder / (file if packed else file[:-3])).write_bytes(data if packed else idx(array))
    return content


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist(tmp_path, monkeypatch, name, packed):
    expected = mnist(name, tmp_path / name, monkeypatch, packed)
    source = read(name, tmp_path)
    for found, value in zip(source, expected, strict=False):
        assert_close(found, value[:, None] if value.ndim == 3 else value.astype(np.int64))
    assert source.x_train.flags.writeable and source.x_test.flags.writeable
    assert_close(source.position, np.arange(7))
    assert source.size == 7
    assert source.names[9:] == (("Ankle boot",) if name == "fashion-mnist" else ())


def test_the_checksum_tells_mnist_from_fashion_mnist(tmp_path, monkeypatch):
    fashion = mnist("fashion-mnist", tmp_path, monkeypatch, seed=2)
    mnist("mnist", tmp_path / "elsewhere", monkeypatch)
    assert_close(read("fashion-mnist", tmp_path).x_train[:, 0], fashion[0])
    with pytest.raises(InputError, match="train-images-idx3-ubyte.gz is the file of 'fashion-mnist', not of 'mnist'"):
        read("mnist", tmp_path)
    expected = mnist("mnist", tmp_path / "mnist", monkeypatch)  # the folder of that name comes first
    assert_close(read("mnist", tmp_path).x_train[:, 0], expected[0])


@pytest.mark.parametrize(
    "content",
    [
        idx(np.zeros((7, 5, 4), np.uint8))[:-1],
        idx(np.zeros((7, 5, 4), np.uint8)) + b"\0",
        idx(np.zeros((7, 20), np.uint8)),
        b"\0\0\x09\x03" + idx(np.zeros((7, 5, 4), np.uint8))[4:],
        b"\0\0\x08\x03\0\0",
        b"",
    ],
)
def test_a_plain_idx_file_of_another_kind_or_length(tmp_path, monkeypatch, content):
    mnist("mnist", tmp_path / "mnist", monkeypatch, packed=False)
    (tmp_path / "mnist/train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(
        InputError,
        match=f"train-images-idx3-ubyte must be an idx file .* its {len(content)} bytes; delete it and put the",
    ):
        read("mnist", tmp_path)


def test_plain_idx_files_must_lie_in_a_folder_that_says_whose_they_are(tmp_path, monkeypatch):
    mnist("mnist", tmp_path, monkeypatch, packed=False)
    for name in ("mnist", "fashion-mnist"):
        with pytest.raises(InputError, match=f"may be of mnist or of fashion-mnist, .* in a folder named {name}"):
            read(name, tmp_path)


def test_an_idx_file_with_a_label_too_few(tmp_path, monkeypatch):
    mnist("mnist", tmp_path / "mnist", monkeypatch, packed=False)
    (tmp_path / "mnist/train-labels-idx1-ubyte").write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(InputError, match=r"y_train must hold one label an image \(7\), got shape \(6,\)"):
        read("mnist", tmp_path)


def test_what_is_not_at_hand_is_said_with_its_place(tmp_path, monkeypatch):
    monkeypatch.delenv("LABELNOISE_DATA", raising=False)
    for name in DATASETS:
        if name != "digits":
            files = ", ".join(archives.downloads(name))
            with pytest.raises(
                InputError, match=f"{name!r} is not at hand; put {files} in {tmp_path / name}, or fetch"
            ):
                read(name, tmp_path)
    mnist("mnist", tmp_path, monkeypatch)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=f"put t10k-labels-idx1-ubyte.gz in {tmp_path}, or"):
        read("mnist", tmp_path)


def test_official_files_are_looked_for_in_the_folder_of_the_environment(tmp_path, monkeypatch):
    expected = mnist("mnist", tmp_path / "shelf/mnist", monkeypatch)
    monkeypatch.setenv("LABELNOISE_DATA", str(tmp_path / "shelf"))
    assert_close(read("mnist", tmp_path / "root").x_test[:, 0], expected[2])


def test_what_is_not_at_hand_is_fetched(tmp_path, monkeypatch, server):  # noqa: F811
    expected = mnist("mnist", tmp_path / "away", monkeypatch)
    server.files = {path.name: path.read_bytes() for path in (tmp_path / "away").iterdir()}
    told = []
    source = read("mnist", tmp_path / "root", download=True, progress=lambda *bytes_: told.append(bytes_))
    assert_close(source.x_train[:, 0], expected[0])
    assert len(told) == len(server.asked) == len(files_in(tmp_path / "root/mnist")) == 4
    read("mnist", tmp_path / "root", download=True)
    read("digits", tmp_path / "root", download=True)
    assert len(server.asked) == 4


def test_digits():
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    source = read("digits", Path("nowhere"))
    assert (source.x_train.shape, source.x_test.shape, source.size) == ((1258, 1, 8, 8), (539, 1, 8, 8), 1797)
    assert_close(source.x_train.reshape(-1, 64) / 255 * 16, values[source.position], atol=0.5 * 16 / 255 + 1e-9)
    assert_close(source.y_train, labels[source.position])
    rest = np.setdiff1d(np.arange(1797), source.position)
    assert_close(source.y_test, labels[rest])
    assert_close(source.x_test.reshape(-1, 64) / 255 * 16, values[rest], atol=0.5 * 16 / 255 + 1e-9)


# .npz files


def test_images_without_a_channel_axis(tmp_path):
    content = arrays()
    flat = {key: value[:, 0] if key[0] == "x" else value for key, value in content.items()}
    assert_close(read(save(tmp_path / "flat.npz", **flat), tmp_path).x_test, content["x_test"])


def test_where_files_and_folders_are_looked_for(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir(), (tmp_path / "env").mkdir()
    save(tmp_path / "root" / "a.npz"), save(tmp_path / "env" / "b.npz", **arrays(3))
    write_images(tmp_path / "env/pets", {"train/cat": 2, "train/dog": 1, "test/cat": 1, "test/dog": 1})
    monkeypatch.delenv("LABELNOISE_DATA", raising=False)
    root = tmp_path / "root"
    assert read_source("a", root, 0)[0] == read_source("a.npz", root, 0)[0] == "a"
    with pytest.raises(InputError, match=f"'b' is not known and is no file or folder, neither here nor in {root}"):
        read("b", root)
    monkeypatch.setenv("LABELNOISE_DATA", str(tmp_path / "env"))
    assert read("b", root).x_train.shape[1] == 3
    assert read_source("pets", root, 0)[0] == "pets"
    monkeypatch.chdir(tmp_path / "env/pets")
    assert read_source(".", root, 0)[0] == "pets"
    with pytest.raises(InputError, match="did you mean 'digits'"):
        read("digit", root)


def labels(n=40, **kinds):
    return np.resize(np.array([7, 2, 5]), n).astype(**kinds)


BAD_FILES = {
    "missing key": ({"y_test": None}, "y_test is missing"),
    "float images": ({"x_train": arrays()["x_train"] / 255}, "x_train must be uint8 .* got float64; "),
    "NaN images": ({"x_test": np.full((12, 6, 6), np.nan)}, "x_test must be uint8 .* got float64 with NaN"),
    "channels last": ({"x_train": np.zeros((40, 6, 6, 3), np.uint8)}, "got them last in x_train and first in x_test"),
    "four channels": ({"x_train": np.zeros((40, 6, 6, 4), np.uint8)}, r"must have shape .* got \(40, 6, 6, 4\)"),
    "vectors": ({"x_train": np.zeros((40, 36), np.uint8)}, "x_train must have shape"),
    "no images": ({"x_test": np.zeros((0, 6, 6), np.uint8)}, "x_test must have shape"),
    "length": ({"y_train": labels(39, dtype=int)}, r"y_train must hold one label an image \(40\), got shape \(39,\)"),
    "column": ({"y_train": labels(dtype=int)[:, None]}, r"got shape \(40, 1\)"),
    "float labels": ({"y_train": labels(dtype=float)}, "y_train must hold integers, got float64"),
    "NaN labels": ({"y_test": np.full(12, np.nan)}, "y_test must hold integers"),
    "pickle": ({"y_train": labels(dtype=object)}, "is damaged, or no file of plain arrays"),
    "sizes": ({"x_test": np.zeros((12, 5, 6), np.uint8)}, "images of one shape"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence(tmp_path, case):
    changes, message = BAD_FILES[case]
    save(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=message) as refusal:
        read_npz(tmp_path / "bad.npz")
    assert "\n" not in str(refusal.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:700] + b"\xff" * 60 + whole[760:], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.npz is damaged, or no file of plain arrays"):
            read_npz(path)


# folders of images


def picture(mode="RGB", width=5, height=4):
    bands = RNG.integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(bands[:, :, 0] if mode == "L" else bands)


def write_images(folder, counts, mode="RGB", suffix="png"):
    """Write that many images into each class folder; file numbers descend, so the order is that of the names."""
    pixels = {}
    for inner, count in counts.items():
        (folder / inner).mkdir(parents=True, exist_ok=True)
        for k in reversed(range(count)):
            image = picture(mode)
            image.save(folder / inner / f"{k}.{suffix}")
            pixels[inner, k] = np.asarray(image)
    return pixels


def test_a_folder_with_both_parts(tmp_path):
    pixels = write_images(tmp_path, {"train/dog": 2, "train/ant": 3, "test/ant": 1, "test/dog": 2})
    (tmp_path / "train/dog/notes.txt").write_text("left alone")
    (tmp_path / "train/dog/._0.png").write_text("what a Mac writes beside an image")
    (tmp_path / "train/.cache").mkdir()
    source = read_folder(tmp_path, seed=0)
    assert source.names == ("ant", "dog")
    assert_close(source.y_train, np.array([0, 0, 0, 1, 1]))
    assert_close(source.y_test, np.array([0, 1, 1]))
    order = [("train/ant", 0), ("train/ant", 1), ("train/ant", 2), ("train/dog", 0), ("train/dog", 1)]
    assert_close(source.x_train, np.stack([pixels[key] for key in order]).transpose(0, 3, 1, 2))
    assert_close(source.x_test[1], pixels["test/dog", 0].transpose(2, 0, 1))
    assert_close(source.position, np.arange(5))
    assert source.size == 5


def test_a_class_whose_name_is_no_utf8_has_one_that_any_file_can_hold(tmp_path):
    write_images(tmp_path, {os.fsdecode(b"a\xfe"): 4, os.fsdecode(b"a\xff"): 5})
    source = read_folder(tmp_path, 0)
    assert source.names == (r"a\xfe", r"a\xff")
    assert sorted(np.bincount(np.concatenate([source.y_train, source.y_test]))) == [4, 5]


def test_a_folder_without_parts_is_split_by_the_seed(tmp_path):
    pixels = write_images(tmp_path, {"b": 12, "a": 8}, mode="L")
    source = read_folder(tmp_path, seed=3)
    whole = np.stack([pixels[name, k] for name, n in (("a", 8), ("b", 12)) for k in sorted(range(n), key=str)])
    assert source.x_train.shape == (14, 1, 4, 5) and source.size == 20
    assert_close(source.x_train[:, 0], whole[source.position])
    assert_close(source.y_train, (source.position >= 8).astype(int))
    rest = np.setdiff1d(np.arange(20), source.position)
    assert_close(source.x_test[:, 0], whole[rest])
    assert_close(source.y_test, (rest >= 8).astype(int))
    assert set(read_folder(tmp_path, seed=4).position) != set(source.position)


def test_kinds_of_images(tmp_path):
    write_images(tmp_path, {"a": 1}, mode="L")
    assert np.asarray(Image.open(tmp_path / "a/0.png")).ndim == 2
    for k, suffix in enumerate(("jpg", "JPEG", "bmp", "png")):
        picture("RGB").save(tmp_path / f"a/{k + 1}.{suffix}")
    picture("RGBA").save(tmp_path / "a/5.png")
    picture("L").convert("P").save(tmp_path / "a/6.png", transparency=bytes(range(256)))
    picture("L").convert("1").save(tmp_path / "a/7.png")
    picture("LA").save(tmp_path / "a/8.png")
    picture("RGB").convert("CMYK").save(tmp_path / "a/9.jpg")
    source = read_folder(tmp_path, seed=0)
    images = np.concatenate([source.x_train, source.x_test])[
        np.argsort(np.concatenate([source.position, np.setdiff1d(np.arange(10), source.position)]))
    ]
    assert images.shape == (10, 3, 4, 5)
    for k, suffix in ((0, "png"), (7, "png"), (8, "png")):  # grey: the same in all channels
        expected = np.asarray(Image.open(tmp_path / f"a/{k}.{suffix}").convert("L"))
        assert_close(images[k], np.stack([expected] * 3))
    for k, suffix in ((1, "jpg"), (2, "JPEG"), (3, "bmp"), (4, "png"), (5, "png"), (9, "jpg")):
        expected = np.asarray(Image.open(tmp_path / f"a/{k}.{suffix}").convert("RGB"))
        assert_close(images[k], expected.transpose(2, 0, 1))
    for path in tmp_path.glob("a/[1234569].*"):
        path.unlink()
    assert read_folder(tmp_path, seed=0).x_train.shape == (2, 1, 4, 5)  # all grey: one channel


def test_images_of_different_sizes(tmp_path):
    write_images(tmp_path, {"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 1})
    picture(width=7, height=3).save(tmp_path / "test/b/0.png")
    message = "images must have one size, got 5 x 4 in .*train/a/0.png and 7 x 3 in .*test/b/0.png; resize them first"
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path, seed=0)


def test_damaged_images(tmp_path):
    write_images(tmp_path, {"a": 2, "b": 1})
    path = tmp_path / "b/0.png"
    whole = path.read_bytes()
    for content in (whole[:60], whole[:40] + b"\xff" * 8 + whole[48:], b"", b"no image"):
        path.write_bytes(content)
        with pytest.raises(
            InputError, match="b/0.png could not be read as an image .*; replace or delete it"
        ) as refusal:
            read_folder(tmp_path, seed=0)
        assert "\n" not in str(refusal.value)
    Image.fromarray(np.full((4, 5), 70_00, np.uint16)).save(path)
    with pytest.raises(InputError, match="b/0.png must have 8 bits a channel, got mode I"):
        read_folder(tmp_path, seed=0)


def test_folders_of_another_kind(tmp_path):
    with pytest.raises(InputError, match="must hold a folder of images for each class, got none"):
        read_folder(tmp_path, seed=0)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="cat holds no image .*; add some, move it away, or name another folder"):
        read_folder(tmp_path, seed=0)
    write_images(tmp_path, {"train/cat": 1})
    with pytest.raises(InputError, match="must hold both train and test, got train alone"):
        read_folder(tmp_path, seed=0)


@pytest.mark.parametrize(("module", "message"), [("PIL", "need Pillow"), ("sklearn.datasets", "needs scikit-learn")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, module, message):
    write_images(tmp_path, {"a": 1})
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"{message}; pip install 'labelnoise\[train\]'"):
        read_folder(tmp_path, seed=0) if module == "PIL" else read("digits", tmp_path)
