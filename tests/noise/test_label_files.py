"""Label files that are no files, or that claim more than they hold."""

import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.noise.files import FromFile
from labelnoise.noise.words import parse_noise

HUGE = 54 * 10**9 // 8


def header(count, dtype="<f8", order="False", version=1):
    """An .npy header that claims `count` entries, without the entries."""
    text = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': ({count},), }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode()


def claiming(path, content, compression=zipfile.ZIP_STORED):
    """Write .npy or .npz whose one array is `content`, whatever that claims."""
    if path.suffix == ".npy":
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("y_given.npy", content)


@pytest.mark.parametrize("name", ["y.npz", "y.npy"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("count", [HUGE, 10**30, 5])
def test_an_array_larger_than_its_file_is_refused_before_it_is_allocated(tmp_path, name, version, count):
    path = tmp_path / name
    claiming(path, header(count, version=version) + bytes(32))
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"{name} could not be read as numbers \(.* claims {8 * count:,} bytes, .*32"):
        FromFile(str(path)).read(4)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path):
    """Header and directory agree on 54 GB; the file itself is too small for that in any compression."""
    path = tmp_path / "y.npz"
    claiming(path, header(HUGE) + bytes(64), zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    size = len(header(HUGE)) + 64
    claimed = 2**32 - 2  # the largest size that an entry states without zip64
    at = content.index(struct.pack("<I", size), content.index(b"PK\x01\x02"))
    content[at : at + 4] = struct.pack("<I", claimed)
    path.write_bytes(content)
    with pytest.raises(InputError, match="could not be read as numbers"):
        FromFile(str(path)).read(8)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("y_given.npy").file_size == claimed


def test_an_entry_of_the_directory_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "y.npz"
    count = 500 * 10**6  # 4 GB, as the directory says, too
    claiming(path, header(count) + bytes(64), zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<I", len(header(count)) + 64), content.index(b"PK\x01\x02"))
    content[at : at + 4] = struct.pack("<I", 8 * count + len(header(count)))
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match="y_given claims 4,000,000,000 bytes"):
        FromFile(str(path)).read(8)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("n", [1, 100_000])
def test_honest_archives_are_read(tmp_path, save, n):
    """Equal labels compress a thousandfold."""
    save(tmp_path / "y.npz", y_given=np.ones(n, np.int64), other=np.zeros((2, 3)), y_true=np.zeros((n, 1), np.uint8))
    given, true = FromFile(str(tmp_path / "y.npz")).read(n)
    assert given.sum() == n and true.sum() == 0 and true.shape == (n,)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u8", "?", "U1"])
def test_labels_of_any_type_of_numbers_are_read(tmp_path, dtype):
    for order in "CF":
        np.save(tmp_path / "y.npy", np.asarray([[1], [0]], dtype=dtype, order=order))
        assert FromFile(str(tmp_path / "y.npy")).read(2)[0].tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["c16", "M8[s]", "V8", "O"])
@pytest.mark.parametrize("name", ["y.npz", "y.npy"])
def test_what_is_no_number_is_refused(tmp_path, name, dtype):
    array = np.zeros(2, dtype=dtype)
    np.save(tmp_path / name, array) if name == "y.npy" else np.savez(tmp_path / name, y_given=array)
    with pytest.raises(InputError, match="could not be read as numbers"):
        FromFile(str(tmp_path / name)).read(2)


@pytest.mark.parametrize("name", ["y.npz", "y.npy", "y.txt"])
def test_a_pipe_or_a_folder_is_no_label_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    for path, what in ((tmp_path / name, "no regular file"), (tmp_path / "folder" / name, "a folder")):
        with pytest.raises(InputError, match=f"{path} must be a .npy, .npz or text file, got {what}; give the path"):
            FromFile(str(path)).read(2)
        with pytest.raises(InputError, match=f"got {what}"):
            parse_noise(f"matrix:{path}")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, ""])
def test_a_path_that_cannot_exist_is_refused(path):
    with pytest.raises(InputError, match="give the path"):
        FromFile(path).read(1)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x03\x00{'a", b"cat", b"PK\x05\x06" + bytes(18)],
)
@pytest.mark.parametrize("name", ["y.npz", "y.npy"])
def test_cut_and_foreign_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="could not be read as numbers|must hold an array 'y_given'"):
        FromFile(str(tmp_path / name)).read(1)


@pytest.mark.parametrize("path", [3, None, b"y.npy", ["y.npy"]])
def test_a_path_is_text(path):
    with pytest.raises(InputError, match="`path` must be the path of a label file, got .*'labels.npz'"):
        FromFile(path)


def test_a_key_is_text_and_a_path_object_a_path(tmp_path):
    with pytest.raises(InputError, match="`key` must be the name of an array, got 3"):
        FromFile("y.npz", 3)
    assert FromFile(tmp_path / "y.npy") == FromFile(str(tmp_path / "y.npy"))


def test_a_header_without_an_end_is_refused(tmp_path):
    (tmp_path / "y.npy").write_bytes(header(4).replace(b"), }", b"    ") + bytes(32))
    with pytest.raises(InputError, match="could not be read as numbers"):
        FromFile(str(tmp_path / "y.npy")).read(4)
