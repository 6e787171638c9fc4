"""Files of arrays: channels on either side, and headers that claim more than a file can hold."""

import io
import os
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest

from helpers import assert_close
from labelnoise import devices
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.datasets import read_npz
from labelnoise.images.image_folders import read_folder
from labelnoise.noise.models import Symmetric
from test_datasets import arrays, save, write_images

# channels last


def last(content):
    """The same images with the channels on the last axis, as most tools write them."""
    return {key: np.moveaxis(value, 1, 3) if key[0] == "x" else value for key, value in content.items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_are_the_same_data(tmp_path, channels):
    content = arrays(channels)
    first_path, last_path = save(tmp_path / "first.npz", **content), save(tmp_path / "last.npz", **last(content))
    assert np.load(last_path)["x_train"].shape == (40, 6, 6, channels)
    first, other = (load_data(path, label_noise=Symmetric(0.3), classes=(7, 2)) for path in (first_path, last_path))
    for name in ("x_train", "y_true", "y_given", "x_test", "y_test", "index", "mean", "std"):
        assert_close(getattr(other, name), getattr(first, name), rtol=0)
    assert (first.channels_last, other.channels_last) == (False, True)
    assert other.x_train.flags.c_contiguous and other.x_train.flags.writeable


@pytest.mark.parametrize("shape", [(3, 5, 3), (1, 5, 1), (3, 5, 1), (1, 5, 3)])
def test_channels_first_win_where_both_axes_could_be_the_channels(tmp_path, shape):
    content = arrays() | {
        "x_train": np.arange(40 * np.prod(shape)).astype(np.uint8).reshape(40, *shape),
        "x_test": np.zeros((12, *shape), np.uint8),
    }
    data = load_data(save(tmp_path / "a.npz", **content))
    assert_close(data.x_train, content["x_train"])
    assert not data.channels_last


def test_images_without_a_channel_axis_are_not_channels_last(tmp_path):
    content = {key: value[:, 0] if key[0] == "x" else value for key, value in arrays().items()}
    assert not load_data(save(tmp_path / "a.npz", **content)).channels_last
    assert not load_data("digits").channels_last


@pytest.mark.parametrize("part", ["x_train", "x_test"])
def test_both_parts_must_have_their_channels_on_one_axis(tmp_path, part):
    content = arrays(3)
    content[part] = np.moveaxis(content[part], 1, 3)
    one, other = ("last", "first") if part == "x_train" else ("first", "last")
    message = f"must have the channels on one axis, got them {one} in x_train and {other} in x_test; move those of one"
    with pytest.raises(InputError, match=message):
        load_data(save(tmp_path / "a.npz", **content))


def test_other_shapes_are_refused_with_the_shapes_that_are_read(tmp_path):
    message = r"must have shape \(n, H, W\), \(n, C, H, W\) or \(n, H, W, C\) with C = 1 or 3, got \(40, 6, 6, 4\)"
    with pytest.raises(InputError, match=message):
        load_data(save(tmp_path / "a.npz", x_train=np.zeros((40, 6, 6, 4), np.uint8)))


# headers that claim too much


def header(shape, version=(1, 0), dtype="|u1"):
    """The bytes before the values of an array that claims to have this shape."""
    out = io.BytesIO()
    write = np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0
    write(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


def claim(path, content, compression=zipfile.ZIP_DEFLATED):
    """An archive whose x_train is this content, whatever it is."""
    with zipfile.ZipFile(save(path), "r") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in {**members, "x_train.npy": content}.items():
            archive.writestr(name, value)
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_claims_more_than_its_file_holds_is_refused_before_memory_is_taken(tmp_path, version):
    shape = (4_000, 3, 1500, 3000)  # 54 GB
    path = claim(tmp_path / "a.npz", header(shape, version) + bytes(100))
    tracemalloc.start()
    with pytest.raises(InputError, match="a.npz is damaged: x_train claims 54.0 GB, .*; save it with numpy.savez"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_directory_that_lies_about_its_size_is_refused_too(tmp_path):
    """The zip says 54 GB as well: more than deflate can unpack from a file of this size."""
    shape = (4_000, 3, 1500, 3000)
    path = claim(tmp_path / "a.npz", header(shape) + bytes(100))
    whole = path.read_bytes()
    size = len(header(shape)) + 100
    lies = whole.replace(size.to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little"))
    assert lies != whole
    path.write_bytes(lies)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("x_train.npy").file_size == 2**32 - 2
    smaller = claim(tmp_path / "b.npz", header((1400, 3, 1000, 1000)) + bytes(100))  # 4.2 GB: below what the zip says
    size = len(header((1400, 3, 1000, 1000))) + 100
    smaller.write_bytes(smaller.read_bytes().replace(size.to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little")))
    for file, claims in ((path, "54.0 GB"), (smaller, "4.2 GB")):
        with pytest.raises(
            InputError, match=rf"is damaged: x_train claims {claims}, .* cannot hold more than \d.\d MB"
        ):
            read_npz(file)


def test_what_compresses_well_is_read(tmp_path):
    flat = arrays(n=600, size=40) | {"x_train": np.zeros((600, 1, 40, 40), np.uint8)}
    np.savez_compressed(tmp_path / "a.npz", **flat)
    assert os.path.getsize(tmp_path / "a.npz") * 20 < flat["x_train"].nbytes
    assert_close(read_npz(tmp_path / "a.npz").x_train, flat["x_train"])


def test_what_exceeds_the_free_memory_is_refused_with_what_it_would_need(tmp_path, monkeypatch):
    save(tmp_path / "a.npz")  # 40 + 12 images of 36 pixels and a byte of label each: 1,924 bytes
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    monkeypatch.setattr(devices, "MEMORY_INFO", tmp_path / "meminfo")
    with pytest.raises(InputError, match="a.npz would need 1.9 kB of memory, 1.0 kB are free; take fewer images"):
        read_npz(tmp_path / "a.npz")
    (tmp_path / "meminfo").write_text("MemAvailable: 2 kB\n")
    assert read_npz(tmp_path / "a.npz").size == 40
    (tmp_path / "meminfo").unlink()  # a machine that does not say
    assert read_npz(tmp_path / "a.npz").size == 40


def test_a_machine_that_does_not_say_what_is_free_may_run_out(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 54.0 GiB")

    save(tmp_path / "a.npz")
    monkeypatch.setattr(np, "load", full)
    with pytest.raises(InputError, match=r"does not fit into memory \(Unable to allocate 54.0 GiB\); take fewer"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content",
    [
        header((40, 1, 6, 6))[:20],
        b"",
        b"no array at all",
        header((-4, -5)) + bytes(20),
        header((10**30, 10**30)),
        np.lib.format.MAGIC_PREFIX + b"\x01\x00\x05\x00((((\n",
        np.lib.format.MAGIC_PREFIX + b"\x09\x00\x05\x00\x00\x00{}{}\n",
        np.lib.format.MAGIC_PREFIX + b"\x01\x00" + (20000).to_bytes(2, "little") + b"{" + b" " * 19999,
    ],
)
def test_headers_that_are_none_are_refused_in_one_sentence(tmp_path, content):
    with pytest.raises(InputError, match="a.npz is damaged") as refusal:
        read_npz(claim(tmp_path / "a.npz", content))
    assert "\n" not in str(refusal.value)


def test_an_archive_that_zip_cannot_read_is_refused(tmp_path):
    path = claim(tmp_path / "a.npz", header((40, 1, 6, 6)) + bytes(1440))
    whole = bytearray(path.read_bytes())
    for at in range(len(whole) - 4):  # an encrypted member, by the flag of each directory entry
        if whole[at : at + 4] == b"PK\x01\x02":
            whole[at + 8] |= 1
        if whole[at : at + 4] == b"PK\x03\x04":
            whole[at + 6] |= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="a.npz is damaged .*encrypted"):
        read_npz(path)


def test_a_single_array_is_refused_by_its_first_bytes(tmp_path):
    (tmp_path / "a.npz").write_bytes(header((4_000, 3, 1500, 3000)))
    with pytest.raises(InputError, match="must be an .npz archive, got a single array"):
        read_npz(tmp_path / "a.npz")


# pipes and devices


def test_a_pipe_is_no_file_of_arrays(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(InputError, match="x.npz must be a regular file, got a named pipe; save it with numpy.savez"):
        read_npz(tmp_path / "x.npz")
    for name in (str(tmp_path / "x.npz"), "/dev/zero"):
        with pytest.raises(InputError, match="is no file or folder"):
            load_data(name, root=tmp_path)


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a link to nothing"])
def test_what_is_called_an_image_and_is_no_file_is_refused(tmp_path, kind):
    write_images(tmp_path, {"ant": 2, "bee": 2})
    path = tmp_path / "bee/x.png"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=f"bee/x.png must be a regular file, got {kind}; replace or delete it"):
        read_folder(tmp_path, seed=0)


def test_links_to_images_are_followed_and_other_pipes_left_alone(tmp_path):
    write_images(tmp_path / "pets", {"ant": 2, "bee": 2})
    (tmp_path / "pets/bee/1.png").rename(tmp_path / "away.png")
    (tmp_path / "pets/bee/1.png").symlink_to(tmp_path / "away.png")
    os.mkfifo(tmp_path / "pets/bee/x.fifo")
    os.mkfifo(tmp_path / "pets/pipe")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pets/pipe").st_mode)
    assert read_folder(tmp_path / "pets", seed=0).size == 4
