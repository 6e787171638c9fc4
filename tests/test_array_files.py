"""Files of arrays that claim more than they hold, and room in memory: refused before memory is taken."""

import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from helpers import assert_close
from labelnoise import arrays
from labelnoise.arrays import check_memory, free_memory
from labelnoise.errors import InputError
from labelnoise.npz import load_array, load_arrays

HUGE = 54 * 10**9 // 8


def header(shape, dtype="<f8", version=1):
    """An .npy header that claims this shape, without the values."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode()


def write(path, content, compression=zipfile.ZIP_STORED):
    """Write .npy or .npz whose array `x` is `content`, whatever that claims."""
    if path.suffix == ".npy":
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)


def read(path):
    return load_array(path) if path.suffix == ".npy" else load_arrays(path, ["x"])[1]["x"]


def refusal(path):
    """Why a file is refused; no memory is taken for what it claims."""
    tracemalloc.start()
    with pytest.raises(InputError) as refused:
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    assert "\n" not in str(refused.value) and path.name in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("count", "claim"), [(HUGE, "54 GB"), (10**30, "8e+18 TB"), (5, "40 bytes")])
def test_an_array_larger_than_its_file_is_refused(tmp_path, name, version, count, claim):
    write(tmp_path / name, header((count,), version=version) + bytes(32))
    assert f"claims {claim}, but the file holds at most 32 bytes" in refusal(tmp_path / name)


@pytest.mark.parametrize(("count", "stated"), [(HUGE, 2**32 - 2), (500 * 10**6, 2**32 - 2), (500 * 10**6, 4 * 10**9)])
def test_a_directory_of_an_archive_that_lies_about_its_sizes_is_refused(tmp_path, count, stated):
    """Deflate could not unpack so much from a file of this size."""
    path = tmp_path / "x.npz"
    write(path, header((count,)) + bytes(64), zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", len(header((count,))) + 64)
    at = content.index(size, content.index(b"PK\x01\x02"))
    content[at : at + 4] = struct.pack("<I", stated)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("x.npy").file_size == stated
    assert "x claims " in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("n", [1, 100_000])
def test_honest_archives_are_read(tmp_path, save, n):
    """Equal values compress a thousandfold."""
    save(tmp_path / "x.npz", x=np.ones(n), other=np.zeros((2, 3)), text=np.array(["a"]), y=np.zeros((n, 1), np.uint8))
    names, found = load_arrays(tmp_path / "x.npz", ("y", "x", "absent"))
    assert names == ["x", "other", "text", "y"] and set(found) == {"x", "y"}
    assert_close(found["x"], np.ones(n))
    assert_close(found["y"], np.zeros((n, 1), np.uint8))
    if save is np.savez_compressed and n > 1:
        assert os.path.getsize(tmp_path / "x.npz") * 100 < found["x"].nbytes


@pytest.mark.parametrize("order", "CF")
def test_arrays_are_read_as_they_were_saved(tmp_path, order):
    saved = np.asarray([[1.5, 2], [3, 4]], order=order)
    np.save(tmp_path / "x.npy", saved)
    assert_close(load_array(tmp_path / "x.npy"), saved)


@pytest.mark.parametrize(
    "content",
    [
        header((40, 36))[:20],
        b"",
        b"no array at all",
        header((-4, -5)) + bytes(20),
        header((4,)).replace(b"), }", b"    ") + bytes(32),
        header((1,), dtype="|O") + b"\x80\x03K\x01." + bytes(8),
        b"\x93NUMPY\x01\x00\x05\x00((((\n",
        b"\x93NUMPY\x09\x00\x05\x00\x00\x00{}{}\n",
        b"\x93NUMPY\x01\x00" + (20000).to_bytes(2, "little") + b"{" + b" " * 19999,
    ],
)
@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_headers_that_are_none_are_refused(tmp_path, name, content):
    write(tmp_path / name, content)
    assert "is damaged, or no file of plain arrays (" in refusal(tmp_path / name)


def test_an_archive_that_zip_cannot_read_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    write(path, header((4,)) + bytes(32))
    whole = bytearray(path.read_bytes())
    for at in range(len(whole) - 4):  # encrypted, by the flag of each directory entry
        if whole[at : at + 4] == b"PK\x01\x02":
            whole[at + 8] |= 1
        if whole[at : at + 4] == b"PK\x03\x04":
            whole[at + 6] |= 1
    path.write_bytes(whole)
    assert "encrypted" in refusal(path)
    write(path, header((4,)) + bytes(32), zipfile.ZIP_BZIP2)
    assert "x is compressed as NumPy never does" in refusal(path)
    path.write_bytes(header((4,)) + bytes(32))
    assert "File is not a zip file" in refusal(path)


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_what_is_no_file_is_refused(tmp_path, name):
    path = tmp_path / name
    assert f"{path} must be a regular file, got none (No such file or directory); give the path of one" == refusal(path)
    os.mkfifo(path)
    assert "must be a regular file, got a named pipe" in refusal(path)
    (tmp_path / "folder" / name).mkdir(parents=True)
    assert "must be a regular file, got a folder" in refusal(tmp_path / "folder" / name)
    (tmp_path / "link" / name).parent.mkdir()
    (tmp_path / "link" / name).symlink_to(tmp_path / "gone")
    assert "must be a regular file, got a link to nothing" in refusal(tmp_path / "link" / name)


# room in memory


def test_free_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MEMORY_INFO", tmp_path / "meminfo")
    whole = free_memory()
    assert whole == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # a machine that does not say
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemFree:  7 kB\nMemAvailable:   300 kB\n")
    assert free_memory() == 300 * 1024
    check_memory(300 * 1024, "lower n")
    with pytest.raises(InputError) as refused:
        check_memory(300 * 1024 + 1, "lower n")
    assert str(refused.value) == "this needs about 307 kB of memory, but the machine has 307 kB free; lower n"


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_what_exceeds_the_free_memory_is_refused_with_what_it_would_need(tmp_path, monkeypatch, name):
    monkeypatch.setattr(arrays, "MEMORY_INFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemAvailable: 2 kB\n")
    write(tmp_path / name, header((250,)) + bytes(2000))
    assert_close(read(tmp_path / name), np.zeros(250))
    write(tmp_path / name, header((260,)) + bytes(2080))
    expected = "needs about 2.08 kB of memory, but the machine has 2.05 kB free; make it smaller, or take a larger"
    assert expected in refusal(tmp_path / name)


def test_the_arrays_of_an_archive_need_room_together(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MEMORY_INFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemAvailable: 2 kB\n")
    np.savez(tmp_path / "x.npz", x=np.zeros(150), y=np.zeros(150), z=np.zeros(10**6))
    assert set(load_arrays(tmp_path / "x.npz", ["x"])[1]) == {"x"}  # what is not asked for takes no room
    with pytest.raises(InputError, match="needs about 2.4 kB of memory"):
        load_arrays(tmp_path / "x.npz", ["x", "y"])
