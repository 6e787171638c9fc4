"""Views over epochs do what an array does, and epochs beyond the budget lie in files that end with the recorder."""

import copy
import gc
import pickle
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.record.history import BYTES
from labelnoise.record.recorder import Recorder

N, K = 6, 3
MASK = np.array([True, False, True, True, False, False])
KEYS = [
    0, -1, np.int64(2), slice(None), slice(1, 3), slice(None, None, -2), slice(9, None), [1, 3], np.array([3, 0]),
    np.array([True, False, True, False]), ..., None, (slice(None), MASK), (slice(None), np.flatnonzero(MASK)),
    (slice(1, 3), slice(2, 4)), (slice(5, None), MASK), (slice(None), 2), (0, 2), (-1, MASK), (2, slice(1, None)),
    (0, [4, 4]), ([0, 2], [1, 5]), (..., 1), (slice(None), None), (None, 0), (slice(None), slice(None)), True,
]  # fmt: skip
NAMES = ("margin", "loss", "prediction")


def train(recorder, epochs=4, seed=0):
    """A recorder, and the epochs that `end_epoch` returned, as arrays."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(epochs):
        recorder.update(np.arange(N - 1), rng.normal(size=(N - 1, K)), np.arange(N - 1) % K)
        rows.append(recorder.end_epoch())
    return recorder, {name: np.array([getattr(row, name) for row in rows]) for name in NAMES}


def files():
    return {path for path in Path(tempfile.gettempdir()).glob("labelnoise-*/*.npy")}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("budget", [2**30, 2 * BYTES * N, 0])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing_is_that_of_an_array(key, budget):
    recorder, arrays = train(Recorder(N, K, budget=budget))
    for name in NAMES:
        found, expected = getattr(recorder, name)[key], arrays[name][key]
        np.testing.assert_array_equal(found, expected)
        assert np.shape(found) == np.shape(expected) and found.dtype == expected.dtype


@pytest.mark.parametrize("key", [4, -5, (4, 0), (0, 9)])
def test_what_is_out_of_range_is_an_index_error(key):
    recorder, _ = train(Recorder(N, K))
    with pytest.raises(IndexError, match="out of (range|bounds)"):
        recorder.margin[key]


def test_a_view_serves_where_an_array_does():
    recorder, arrays = train(Recorder(N, K))
    view, array = recorder.margin, arrays["margin"]
    assert (view.shape, view.ndim, len(view), view.dtype) == (array.shape, 2, 4, array.dtype)
    assert "4 epochs, 6 samples" in repr(view)
    for found, expected in [
        (view > 0, array > 0), (-view, -array), (2 - view, 2 - array), (view + view, array + array),
        (np.exp(-recorder.loss), np.exp(-arrays["loss"])), (np.nansum(view, axis=0), np.nansum(array, axis=0)),
        (np.add.reduce(view, axis=1), array.sum(1)), (view.astype(np.float16), array.astype(np.float16)),
        (view.sum(axis=1), array.sum(axis=1)), (view.T, array.T), (np.asarray(view, float), array.astype(float)),
        (np.array([*view]), array), (np.stack([view, view]), np.stack([array, array])),
        (recorder.prediction == recorder.given, arrays["prediction"] == recorder.given),
    ]:  # fmt: skip
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype and isinstance(found, np.ndarray)


def test_a_view_is_live_and_its_copies_are_not():
    recorder, _ = train(Recorder(N, K), 1)
    view = recorder.margin
    row, block = view[-1], view[:, :2]
    row[:], block[:] = 7, 7
    assert not (recorder.margin[-1] == 7).any()
    train(recorder, 1)
    assert view.shape == (2, N)
    with pytest.raises(TypeError):
        view[0, 0] = 1
    with pytest.raises(ValueError, match="an array of them is a copy"):
        np.asarray(view, copy=False)
    with pytest.raises(AttributeError):
        view._data  # noqa: B018


def test_one_epoch_is_copied_and_not_all():
    n, epochs = 50_000, 20
    recorder = Recorder(n, 2)
    for _ in range(epochs):
        recorder.update([0], [[0.0, 1]], [0])
        recorder.end_epoch()
    tracemalloc.start()
    try:
        last, columns = recorder.margin[-1], recorder.margin[:, :100]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last.shape == (n,) and columns.shape == (epochs, 100)
    assert 4 * n <= peak < 2 * 4 * n


@pytest.mark.parametrize(("budget", "spilt"), [(2**30, 0), (3 * BYTES * N, 1), (3 * BYTES * N - 1, 2), (0, 4)])
def test_epochs_beyond_the_budget_lie_in_whole_files_that_end_with_the_recorder(budget, spilt):
    recorder, arrays = train(Recorder(N, K, budget=budget))
    assert len(files()) == spilt * len(NAMES) and recorder._history.spilt == spilt
    for name in NAMES:
        np.testing.assert_array_equal(recorder.state_dict()[name], arrays[name])
    loaded = Recorder(N, K, budget=0)
    loaded.load_state_dict(recorder.state_dict())
    assert len(files()) == (spilt + 4) * len(NAMES)
    np.testing.assert_array_equal(loaded.margin, arrays["margin"])
    loaded.load_state_dict(recorder.state_dict())  # the files of before are gone
    gc.collect()
    assert len(files()) == (spilt + 4) * len(NAMES)
    del loaded, recorder
    gc.collect()
    assert not files() and not list(Path(tempfile.gettempdir()).iterdir())


def test_epochs_in_files_take_no_memory():
    n = 20_000
    recorder = Recorder(n, 2, budget=0)
    recorder.update([0], [[0.0, 1]], [0])
    recorder.end_epoch()
    tracemalloc.start()
    try:
        for _ in range(20):
            recorder.update([0], [[0.0, 1]], [0])
            recorder.end_epoch()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < n * BYTES


def test_a_full_disk_is_refused_and_leaves_the_epochs_as_they_were(monkeypatch):
    recorder, arrays = train(Recorder(N, K, budget=0), 2)
    recorder.update([0], [[0.0, 1, 5]], [0])
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(InputError, match="could not be written .No space left on device.*make room"):
            recorder.end_epoch()
    assert recorder.epochs == recorder.sums.seen.max() == 2
    np.testing.assert_array_equal(recorder.margin, arrays["margin"])
    recorder.end_epoch()
    assert recorder.margin[-1, 0] == -5 and recorder.epochs == 3


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))])
@pytest.mark.parametrize("budget", [2**30, 0])
def test_a_copy_outlives_the_recorder(duplicate, budget):
    recorder, arrays = train(Recorder(N, K, budget=budget))
    other = duplicate(recorder)
    del recorder
    gc.collect()
    np.testing.assert_array_equal(other.margin, arrays["margin"])
    train(other, 1)
    assert other.epochs == 5


def test_the_files_of_a_killed_epoch_are_no_part_of_the_record():
    """Whole files: each is written under another name first."""
    recorder, _ = train(Recorder(N, K, budget=0), 1)
    assert {path.name for path in files()} == {f"000000.{name}.npy" for name in NAMES}
    assert_close(np.load(sorted(files())[1])[:5], recorder.margin[0][:5], rtol=0)
