"""A recorder as a file: what comes back, and what is refused."""

import numpy as np
import pytest

import labelnoise as ln
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.saving import read_recorder

OUT = np.arange(40) % 4 == 0


def recorded(epochs=4, n_classes=3, **options):
    rng = np.random.default_rng(0)
    recorder, given = Recorder(40, n_classes, **options), rng.integers(n_classes, size=40)
    for epoch in range(epochs):
        seen = rng.permutation(40)[: 40 - epoch]
        recorder.update(seen, rng.normal(size=(seen.size, n_classes)), given[seen])
        recorder.end_epoch()
    return recorder


@pytest.mark.parametrize("options", [{}, {"held_out": OUT}, {"held_out": OUT, "history": False}, {"history": False}])
def test_what_was_saved_comes_back_and_goes_on(tmp_path, options):
    recorder = recorded(**options)
    recorder.save(tmp_path / "mine.npz")
    again = Recorder.read(tmp_path / "mine.npz")
    assert (again.n_samples, again.n_classes, again.epochs, again.history) == (40, 3, 4, options.get("history", True))
    assert (again.held_out is None) == ("held_out" not in options)
    for one in (recorder, again):
        one.update(np.arange(40), np.eye(3)[np.arange(40) % 3], recorder.given)
        one.end_epoch()
    states = recorder.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array)


def test_names_of_classes_are_kept_and_are_numbers_where_none_were_given(tmp_path):
    recorder, path = recorded(), str(tmp_path / "mine.npz")
    recorder.save(path)
    assert read_recorder(path)[1] == ["0", "1", "2"]
    recorder.save(path, class_names=("cat", "dog", "Kuh"))
    assert read_recorder(path)[1] == ["cat", "dog", "Kuh"]
    with np.load(path, allow_pickle=False) as archive:  # plain arrays, no pickle
        np.testing.assert_array_equal(archive["margin"], recorder.margin[:])


@pytest.mark.parametrize(
    ("path", "names", "said"),
    [
        ("mine", None, r"`path` must end in .npz, by which an audit knows the file, got '.*mine'; add it"),
        ("mine.npz", ["a", "b"], "`class_names` must be 3 different texts, one a class in its order, got"),
        ("mine.npz", ["a", "b", "b"], "`class_names` must be 3 different texts"),
        ("mine.npz", ["a", "b", 3], "`class_names` must be 3 different texts"),
        ("mine.npz", "abc", "`class_names` must be 3 different texts, one a class in its order, got 'abc'; leave"),
    ],
)
def test_what_cannot_be_saved_leaves_no_file(tmp_path, path, names, said):
    with pytest.raises(InputError, match=said):
        recorded().save(tmp_path / path, names)
    assert not list(tmp_path.iterdir())


def changed(**arrays):
    def change(state):
        return {**state, **arrays}

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"x": np.zeros(3)}, "must hold a recorder, got x; give a file that Recorder.save wrote"),
        (lambda state: {}, "must hold a recorder, got no array"),
        (changed(n_classes=np.array(2)), "`given` of the state must lie in -1..1, got 2"),
        (changed(n_classes=np.array(3.0)), "must hold a number of classes and a label a sample"),
        (changed(n_classes=np.array(1)), "`n_classes` must be an integer >= 2, got 1"),
        (changed(given=np.zeros((2, 20), int)), "must hold a number of classes and a label a sample"),
        (changed(loss=np.zeros((4, 39))), "`loss` of the state must have shape"),
        (changed(class_names=np.array(["a", "b"])), "`class_names` must be 3 different texts"),
        (changed(margin=np.array([None] * 40)), "damaged, or no file of plain arrays"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, change, said):
    path = tmp_path / "mine.npz"
    recorded().save(path)
    with np.load(path) as archive:
        state = dict(archive)
    np.savez(path, **change(state))
    with pytest.raises(InputError, match=said):
        Recorder.read(path)


def test_a_file_that_is_not_there_or_cut_short_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(InputError, match="give a file that Recorder.save wrote"):
        Recorder.read(path)
    recorded().save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="is damaged"):
        ln.Recorder.read(path)
