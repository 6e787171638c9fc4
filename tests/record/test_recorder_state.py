"""The state of a recorder: a round trip, and refusals that change nothing."""

import numpy as np
import pytest
import torch

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder


def recorder(n_samples=4, n_classes=3, epochs=2):
    made = Recorder(n_samples, n_classes)
    rng = np.random.default_rng(0)
    given = np.arange(n_samples) % n_classes
    for _ in range(epochs):
        made.update(np.arange(n_samples - 1), rng.normal(size=(n_samples - 1, n_classes)), given[:-1])
        made.end_epoch()
    return made


def assert_same(one, other):
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)
        assert other.state_dict()[name].dtype == array.dtype
    assert one.epochs == other.epochs


@pytest.mark.parametrize("epochs", [0, 1, 3])
@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_a_state_goes_on_where_it_was_taken(epochs, form):
    old, new = recorder(epochs=epochs), recorder(epochs=1)
    new.load_state_dict({name: form(array) for name, array in old.state_dict().items()})
    assert_same(old, new)
    for one in (old, new):
        one.update(np.array([3]), np.zeros((1, 3)), np.array([2]))
        one.end_epoch()
    assert_same(old, new)


def test_a_state_is_copied_and_has_the_types_of_the_record():
    state = recorder().state_dict()
    wide = {name: array.astype(np.float64 if array.dtype.kind == "f" else np.int16) for name, array in state.items()}
    new = Recorder(4, 3)
    new.load_state_dict(wide)
    assert_same(recorder(), new)
    wide["margin"][:], wide["given"][:] = 7, 2
    assert_same(recorder(), new)
    assert (new.margin.dtype, new.prediction[0].dtype, new.given.dtype) == (
        np.float32,
        np.int32,
        np.int64,
    )


def test_a_state_shares_no_memory_with_the_recorder():
    state, new = recorder().state_dict(), Recorder(4, 3)
    new.load_state_dict(state)
    for array in state.values():
        array[:] = 1
    assert_same(recorder(), new)


def changed(**arrays):
    state = {**recorder().state_dict(), **arrays}
    return {name: array for name, array in state.items() if array is not None}


MARGIN = recorder().margin


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (recorder(5).state_dict(), r"`given` of the state must have shape \(4,\), got \(5,\); take that of this data"),
        (recorder(4, 5).state_dict(), "`prediction` of the state must lie in -1..2, got 4; .* of as many classes"),
        (changed(prediction=np.full((2, 4), 3)), "`prediction` of the state must lie in -1..2, got 3"),
        (changed(prediction=np.full((2, 4), -2)), "`prediction` of the state must lie in -1..2, got -2"),
        (changed(given=np.arange(4)), "`given` of the state must lie in -1..2, got 3; .* of as many classes"),
        (changed(given=np.full(4, -2)), "`given` of the state must lie in -1..2, got -2"),
        (changed(loss=None), "the state must hold given, margin, loss, prediction, got no loss; "),
        ({}, "the state must hold given, margin, loss, prediction, got no given; "),
        (changed(loss=MARGIN[:1]), r"`loss` of the state must have shape \(2, 4\), got \(1, 4\)"),
        (
            changed(prediction=np.zeros((2, 3), int)),
            r"`prediction` of the state must have shape \(2, 4\), got \(2, 3\)",
        ),
        (changed(margin=MARGIN[0]), r"`margin` of the state must have shape \(epochs, 4\), got \(4,\)"),
        (changed(margin=MARGIN[None]), r"`margin` of the state must have shape \(epochs, 4\), got \(1, 2, 4\)"),
        (changed(margin=MARGIN[:, :2]), r"`margin` of the state must have shape \(2, 4\), got \(2, 2\)"),
        (changed(given=np.zeros((4, 1), int)), r"`given` of the state must have shape \(4,\), got \(4, 1\)"),
        (changed(margin=np.zeros((2, 4), int)), "`margin` of the state must be floats, got int64"),
        (changed(loss=MARGIN.astype(str)), "`loss` of the state must be floats, got <U"),
        (changed(loss=MARGIN.astype(complex)), "`loss` of the state must be floats, got complex128"),
        (changed(given=np.array([0.0, 1, 2, -1])), "`given` of the state must be integers, got float64"),
        (changed(prediction=np.ones((2, 4), bool)), "`prediction` of the state must be integers, got bool"),
        (changed(margin=[[1.0], [1.0, 2.0]]), "`margin` of the state must be floats, got"),
        (changed(margin="text"), "`margin` of the state must be floats, got"),
        (None, "the state must be what `state_dict` returned, got None"),
        ([1, 2], "the state must be what `state_dict` returned, got "),
        ("margin", "the state must be what `state_dict` returned, got 'margin'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state, message):
    own = recorder(epochs=1)
    own.update(np.array([3]), np.array([[0.0, 0, 5]]), np.array([2]))  # an epoch under way
    with pytest.raises(InputError, match=message) as refusal:
        own.load_state_dict(state)
    assert "\n" not in str(refusal.value)
    assert own.epochs == 1
    assert_close(own.given, np.array([0, 1, 2, 2]))
    assert own.end_epoch().margin[3] == 5
