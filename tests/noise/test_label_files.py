"""Label files that are no files, or hold no labels."""

import os

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.noise.files import FromFile
from labelnoise.noise.words import parse_noise


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u8", "?", "U1"])
def test_labels_of_any_type_of_numbers_are_read(tmp_path, dtype):
    for order in "CF":
        np.save(tmp_path / "y.npy", np.asarray([[1], [0]], dtype=dtype, order=order))
        assert FromFile(str(tmp_path / "y.npy")).read(2)[0].tolist() == [1, 0]


def test_a_text_file_may_begin_with_the_mark_that_some_editors_write(tmp_path):
    (tmp_path / "y.txt").write_text("1\n0\n", "utf-8-sig")
    assert FromFile(str(tmp_path / "y.txt")).read(2)[0].tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["c16", "M8[s]", "V8", "O"])
@pytest.mark.parametrize("name", ["y.npz", "y.npy"])
def test_what_is_no_number_is_refused(tmp_path, name, dtype):
    array = np.zeros(2, dtype=dtype)
    np.save(tmp_path / name, array) if name == "y.npy" else np.savez(tmp_path / name, y_given=array)
    rule = "no file of plain arrays" if dtype == "O" else "must hold numbers in 'y_given', but they are of type"
    with pytest.raises(InputError, match=rule):
        FromFile(str(tmp_path / name)).read(2)


@pytest.mark.parametrize("name", ["y.npz", "y.npy", "y.txt"])
def test_a_pipe_or_a_folder_is_no_label_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    for path, what in ((tmp_path / name, "a named pipe"), (tmp_path / "folder" / name, "a folder")):
        with pytest.raises(InputError, match=f"{path} must be a regular file, got {what}; give the path of "):
            FromFile(str(path)).read(2)
        with pytest.raises(InputError, match=f"got {what}"):
            parse_noise(f"matrix:{path}")


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("a\0b", "must be a path, got 'a.x00b'"),
        ("x" * 5000, "names up to 255 bytes, got one of 5000"),
        ("", "must be a path, got ''"),
        (3, "must be a path, got 3"),
        (None, "must be a path, got None"),
        (b"y.npy", "must be a path, got b'y.npy'"),
        (["y.npy"], r"must be a path, got \['y.npy'\]"),
    ],
)
def test_what_is_no_path_is_refused(path, rule):
    with pytest.raises(InputError, match=rule):
        FromFile(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x03\x00{'a", b"cat", b"PK\x05\x06" + bytes(18)],
)
@pytest.mark.parametrize("name", ["y.npz", "y.npy"])
def test_cut_and_foreign_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    rule = "must hold an array 'y_given', got none" if content[:4] == b"PK\x05\x06" and name == "y.npz" else "damaged"
    with pytest.raises(InputError, match=rule):
        FromFile(str(tmp_path / name)).read(1)


def test_a_key_is_text_and_a_path_object_a_path(tmp_path):
    with pytest.raises(InputError, match="`key` must be the name of an array, got 3"):
        FromFile("y.npz", 3)
    assert FromFile(tmp_path / "y.npy") == FromFile(str(tmp_path / "y.npy"))
