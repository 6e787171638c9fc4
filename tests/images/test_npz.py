"""Files of arrays: channels on either side, files that are none."""

import os
import stat

import numpy as np
import pytest

from helpers import assert_close
from labelnoise import arrays as memory
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


# no room, pipes and devices


def test_images_need_room_together(tmp_path, monkeypatch):
    save(tmp_path / "a.npz")  # 40 + 12 images of 36 pixels and a byte of label each: 1,924 bytes
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "meminfo")
    with pytest.raises(InputError, match="a.npz needs about 1.92 kB of memory, but the machine has 1.02 kB free; make"):
        read_npz(tmp_path / "a.npz")
    (tmp_path / "meminfo").write_text("MemAvailable: 2 kB\n")
    assert read_npz(tmp_path / "a.npz").size == 40


def test_a_pipe_is_no_file_of_arrays(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(InputError, match="x.npz must be a regular file, got a named pipe; give the path of one"):
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
