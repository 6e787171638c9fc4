"""The state of a recorder, with every epoch or with sums alone: a round trip, and refusals that change nothing."""

import numpy as np
import pytest
import torch

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder

N, K, OUT = 12, 3, np.arange(12) % 3 == 0
GIVEN = np.arange(N) % K


def train(recorder, epochs, first=0):
    for epoch in range(first, first + epochs):
        rng = np.random.default_rng(epoch)
        values = rng.normal(size=(N, K))
        values[OUT, GIVEN[OUT]] += 3 - abs(epoch - 2)
        part = rng.permutation(N)[:10]
        recorder.update(part, values[part], GIVEN[part])
        recorder.end_epoch()
    return recorder


def make(epochs=5, **options):
    return train(Recorder(N, K, **{"held_out": OUT, **options}), epochs)


def assert_same(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, values in other.state_dict().items():
        np.testing.assert_array_equal(one.state_dict()[name], values)
        assert one.state_dict()[name].dtype == values.dtype
    for name, values in vars(other.sums).items():
        np.testing.assert_array_equal(getattr(one.sums, name), values)


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 5, 6, 9])
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("held_out", [OUT, None])
@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_a_state_goes_on_where_it_was_taken(epochs, history, held_out, form):
    old = make(epochs, history=history, held_out=held_out)
    new = make(2, history=history, held_out=held_out)
    new.load_state_dict({name: form(values) for name, values in old.state_dict().items()})
    assert_same(new, old)
    for recorder in (new, old):
        train(recorder, 4, first=epochs)
    assert_same(new, old)
    assert_same(old, make(epochs + 4, history=history, held_out=held_out))


@pytest.mark.parametrize("history", [True, False])
def test_a_state_brings_its_held_out_samples(history):
    old, new = make(history=history), Recorder(N, K, history=history)
    new.load_state_dict(old.state_dict())
    assert_same(new, old)
    assert new.held_out.tolist() == OUT.tolist()


def test_an_old_state_serves_a_recorder_with_held_out_samples():
    old, new = make(held_out=None), Recorder(N, K, held_out=OUT)
    assert sorted(old.state_dict()) == ["given", "loss", "margin", "prediction"]
    new.load_state_dict(old.state_dict())
    assert_same(new, make())


def test_a_state_with_history_serves_a_recorder_without():
    new = Recorder(N, K, history=False)
    new.load_state_dict(make().state_dict())
    assert_same(new, make(history=False))


def test_a_loss_that_was_agreed_on_is_part_of_the_state():
    old = Recorder(2, 2, held_out=[True, False])
    for loss in (5.0, 1, 1.5, 9):
        old.update([0, 1], np.eye(2), [0, 1])
        old.end_epoch(loss)
    new = Recorder(2, 2, held_out=[True, False])
    new.load_state_dict(old.state_dict())
    assert new.sums.stop == old.sums.stop == 1
    assert_same(new, old)


@pytest.mark.parametrize("history", [True, False])
def test_a_state_shares_no_memory_with_the_recorder(history):
    old, new = make(history=history), Recorder(N, K, history=history)
    state = old.state_dict()
    new.load_state_dict(state)
    for values in state.values():
        values[...] = 1
    assert_same(old, make(history=history))
    assert_same(new, old)


def test_a_state_of_other_types_takes_those_of_the_record():
    state = make(held_out=None).state_dict()
    wide = {name: values.astype(float if values.dtype.kind == "f" else np.int16) for name, values in state.items()}
    new = Recorder(N, K)
    new.load_state_dict(wide)
    assert_same(new, make(held_out=None))
    assert (new.margin.dtype, new.prediction[0].dtype, new.given.dtype) == (np.float32, np.int32, np.int64)


def changed(history=False, **arrays):
    state = {**make(history=history).state_dict(), **arrays}
    return {name: values for name, values in state.items() if values is not None}


@pytest.mark.parametrize(
    ("state", "history", "message"),
    [
        (changed(), True, "hold the history as the recorder does, got one without; .* history=False"),
        (changed(sum_seen=None), False, "the state must hold .*, got no sum_seen"),
        (changed(sum_votes=None), False, "the state must hold .*, got no sum_votes"),
        (changed(given=None), False, "the state must hold .*, got no given"),
        (changed(sum_margin=np.zeros(3, np.float32)), False, r"`sum_margin` of the state must have shape \(12,\), got"),
        (changed(sum_margin=np.zeros(N, int)), False, "`sum_margin` of the state must be floats"),
        (changed(sum_seen=np.full(N, 6)), False, "`sum_seen` of the state must lie in -1..5, got 6"),
        (changed(sum_rival=np.full(N, 3)), False, "`sum_rival` of the state must lie in -1..2, got 3"),
        (changed(sum_votes=np.zeros(N)), False, "`sum_votes` of the state must be integers"),
        (changed(given=np.full(N, 3)), False, "`given` of the state must lie in -1..2, got 3"),
        (changed(settled=np.array(5)), False, "`settled` of the state must be an epoch or -1"),
        (changed(settled=np.array(0.5)), False, "`settled` of the state must be an epoch or -1"),
        (changed(settled=np.array([1, 2])), False, "`settled` of the state must be an epoch or -1"),
        (changed(held_out_loss=np.zeros((2, 2))), False, "`held_out_loss` of the state must hold a float an epoch"),
        (changed(held_out_loss=None), False, "the state must hold .*, got no held_out_loss"),
        (changed(True, held_out_loss=np.zeros(3)), True, r"`held_out_loss` of the .* hold a float an epoch \(5,\)"),
        (changed(True, held_out_loss=np.zeros(5, int)), True, "`held_out_loss` of the .* hold a float an epoch"),
        (changed(True, held_out=~OUT), True, "`held_out` of the state must name this recorder's samples, got others"),
        (changed(True, held_out=OUT[:3]), True, r"`held_out` of the state must be a mask \(12,\), got bool \(3,\)"),
        (changed(True, held_out=np.ones(N)), True, r"`held_out` of the state must be a mask \(12,\), got float64"),
        (None, False, "the state must be what `state_dict` returned, got None"),
    ],
)  # fmt: skip
def test_sums_or_held_out_samples_that_do_not_fit_are_refused_and_change_nothing(state, history, message):
    own = make(3, history=history)
    with pytest.raises(InputError, match=message) as refusal:
        own.load_state_dict(state)
    assert "\n" not in str(refusal.value)
    assert_same(own, make(3, history=history))


def small(n_samples=4, n_classes=3, epochs=2):
    made = Recorder(n_samples, n_classes)
    rng = np.random.default_rng(0)
    given = np.arange(n_samples) % n_classes
    for _ in range(epochs):
        made.update(np.arange(n_samples - 1), rng.normal(size=(n_samples - 1, n_classes)), given[:-1])
        made.end_epoch()
    return made


def altered(**arrays):
    state = {**small().state_dict(), **arrays}
    return {name: array for name, array in state.items() if array is not None}


MARGIN = small().margin


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (small(5).state_dict(), r"`given` of the state must have shape \(4,\), got \(5,\); take that of this data"),
        (small(4, 5).state_dict(), "`prediction` of the state must lie in -1..2, got 4; .* of as many classes"),
        (altered(prediction=np.full((2, 4), 3)), "`prediction` of the state must lie in -1..2, got 3"),
        (altered(prediction=np.full((2, 4), -2)), "`prediction` of the state must lie in -1..2, got -2"),
        (altered(given=np.arange(4)), "`given` of the state must lie in -1..2, got 3; .* of as many classes"),
        (altered(given=np.full(4, -2)), "`given` of the state must lie in -1..2, got -2"),
        (altered(loss=None), "the state must hold given, margin, loss, prediction, got no loss; "),
        ({}, "the state must hold given, margin, loss, prediction, got no given; "),
        (altered(loss=MARGIN[:1]), r"`loss` of the state must have shape \(2, 4\), got \(1, 4\)"),
        (
            altered(prediction=np.zeros((2, 3), int)),
            r"`prediction` of the state must have shape \(2, 4\), got \(2, 3\)",
        ),
        (altered(margin=MARGIN[0]), r"`margin` of the state must have shape \(epochs, 4\), got \(4,\)"),
        (altered(margin=MARGIN[None]), r"`margin` of the state must have shape \(epochs, 4\), got \(1, 2, 4\)"),
        (altered(margin=MARGIN[:, :2]), r"`margin` of the state must have shape \(2, 4\), got \(2, 2\)"),
        (altered(given=np.zeros((4, 1), int)), r"`given` of the state must have shape \(4,\), got \(4, 1\)"),
        (altered(margin=np.zeros((2, 4), int)), "`margin` of the state must be floats, got int64"),
        (altered(loss=MARGIN.astype(str)), "`loss` of the state must be floats, got <U"),
        (altered(loss=MARGIN.astype(complex)), "`loss` of the state must be floats, got complex128"),
        (altered(given=np.array([0.0, 1, 2, -1])), "`given` of the state must be integers, got float64"),
        (altered(prediction=np.ones((2, 4), bool)), "`prediction` of the state must be integers, got bool"),
        (altered(margin=[[1.0], [1.0, 2.0]]), "`margin` of the state must be floats, got"),
        (altered(margin="text"), "`margin` of the state must be floats, got"),
        (None, "the state must be what `state_dict` returned, got None"),
        ([1, 2], "the state must be what `state_dict` returned, got "),
        ("margin", "the state must be what `state_dict` returned, got 'margin'"),
    ],
)
def test_epochs_that_do_not_fit_are_refused_and_change_nothing(state, message):
    own = small(epochs=1)
    own.update(np.array([3]), np.array([[0.0, 0, 5]]), np.array([2]))  # an epoch under way
    with pytest.raises(InputError, match=message) as refusal:
        own.load_state_dict(state)
    assert "\n" not in str(refusal.value)
    assert own.epochs == 1
    assert_close(own.given, np.array([0, 1, 2, 2]))
    assert own.end_epoch().margin[3] == 5
