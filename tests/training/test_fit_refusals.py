"""What `fit` refuses: one sentence, nothing written, and the network as it was."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.from_arrays import data_from_arrays
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.stopping import HeldOut
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import check_training, fit

pytestmark = pytest.mark.usefixtures("one_thread")


def digits():
    return load_data("digits", classes=(3, 8))


def table():
    return data_from_arrays(np.random.default_rng(0).normal(size=(250, 3)), np.arange(250) % 2)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


QUICK = TrainConfig(epochs=1, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": []}, r"`config` must be a TrainConfig or None, got \[\]; use for example TrainConfig"),
        ({"config": {}}, "`config` must be a TrainConfig or None, got {}"),
        ({"config": 0}, "`config` must be a TrainConfig or None, got 0"),
        ({"model": None}, "`model` must be a torch module, got None; use for example build_model"),
        ({"model": "small-cnn"}, "`model` must be a torch module, got 'small-cnn'"),
        ({"model": nn.Linear}, "`model` must be a torch module, got <class"),
        ({"data": None}, "`data` must be what load_data returns, got None"),
        ({"data": torch.zeros(9, 3)}, r"`data` must be what load_data returns, got torch.float32 \(9, 3\)"),
        ({"stop": "no"}, "`stop` must be True, False or a stop rule, got 'no'"),
        ({"stop": 1}, "`stop` must be True, False or a stop rule, got 1"),
        ({"stop": HeldOutLoss}, "`stop` must be True, False or a stop rule, got <class"),
        ({"stop": HeldOut(9)}, r"`stop` must be True, False or a stop rule, got HeldOut\("),
        ({"average": 4}, "`average` must be odd, .*, got 4; use 5, or 1 for none"),
        ({"average": 0}, "`average` must be an integer >= 1, got 0"),
        ({"held_out": [True]}, r"`held_out` must hold a truth value a sample \(257\), got shape \(1,\)"),
        ({"held_out": 0.1}, "`held_out` must be a mask of truth values, got 0.1; give true for each sample"),
        ({"held_out": np.arange(257) > 0}, "`held_out` must leave two images to train on, got 1; hold fewer out"),
        ({"held_out": np.zeros(257, bool), "stop": True}, "`stop` needs held-out images, got a mask .* without any"),
        ({"data": replace(digits(), x_train=np.full((250, 64), np.nan))}, "`data.x_train` must hold finite numbers"),
        ({"data": replace(digits(), y_given=np.full(257, 2))}, r"`data.y_given` must hold a class 0..1 for each of"),
        ({"data": replace(digits(), y_given=np.full(257, -1))}, "`data.y_given` must hold .*, got -1..-1; number the"),
        ({"data": replace(digits(), y_given=np.zeros(257))}, r"`data.y_given` must hold .*, got float64 \(257,\)"),
        ({"data": replace(digits(), y_given=np.zeros(9, int))}, r"`data.y_given` must hold .*, got int64 \(9,\)"),
        ({"data": replace(digits(), y_test=np.full(100, 3))}, "`data.y_test` must hold a class"),
        ({"data": table(), "config": TrainConfig(augment=True)}, r"`augment` shifts images .*shape \(250, 3\); leave"),
        ({"data": table()}, r"`model` must take samples \(3,\), but fails: .*; its first layer must take 3 features"),
        ({"folder": 3}, "`folder` must be a path, got 3"),
        ({"folder": ""}, "`folder` must be a path, got ''; write one like 'folder/name'"),
        ({"folder": "a\0b"}, "`folder` must be a path, got 'a.x00b'"),
        ({"progress": 3}, "`progress` must be a function or None, got 3"),
    ],
)
def test_arguments_of_another_type_are_refused(tmp_path, arguments, message):
    call = {"model": linear(), "data": digits(), "config": QUICK, "folder": tmp_path / "run", **arguments}
    with pytest.raises(InputError, match=message) as refusal:
        fit(call.pop("model"), call.pop("data"), call.pop("config"), **call)
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())


def test_a_folder_is_made_and_one_that_cannot_be_made_is_refused(tmp_path):
    fit(linear(), digits(), QUICK, folder=str(tmp_path / "new/run"))
    assert (tmp_path / "new/run/checkpoints/epoch-0001.pt").is_file()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"file/run could not be made \(Not a directory\); choose another folder"):
        fit(linear(), digits(), QUICK, folder=tmp_path / "file/run")


def test_what_a_killed_training_left_half_written_is_deleted_by_the_next(tmp_path):
    half = tmp_path / "run/checkpoints/.epoch-0001.pt.1.tmp"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half of it")
    fit(linear(), digits(), QUICK, folder=tmp_path / "run")
    assert not half.exists()


def test_no_config_is_the_default():
    log = fit(linear(), digits(), None, progress=lambda *done: None, stop=True)
    assert log.config == TrainConfig()


class Returns(nn.Module):
    """A linear network whose logits go through a function."""

    def __init__(self, change):
        super().__init__()
        self.head, self.change = linear(), change

    def forward(self, images):
        return self.change(self.head(images))


def raises(error):
    def change(logits):
        raise error

    return Returns(change)


def frozen():
    return linear().requires_grad_(False)


BROKEN = {
    "no weights": (nn.Flatten, "`model` must have weights to train, got a network without any; build it"),
    "frozen": (frozen, r"`model` must have weights to train, got 2 that are all frozen; .*requires_grad_\(True\)"),
    "tuple": (lambda: Returns(lambda logits: (logits, logits)), "`model` must return a tensor of logits, got a tuple"),
    "dict": (lambda: Returns(lambda logits: {"logits": logits}), "`model` must return a tensor of logits, got a dict"),
    "NaN": (lambda: Returns(lambda logits: logits * float("nan")), "`model` must return finite logits, got NaN or inf"),
    "infinity": (lambda: Returns(lambda logits: logits + float("inf")), "`model` must return finite logits"),
    "one for all": (lambda: Returns(lambda logits: logits.mean(0, keepdim=True)), r"got outputs of shape \(1, 2\)"),
    "KeyError": (lambda: raises(KeyError("patch")), r"`model` must take images \(1, 8, 8\), but fails: KeyError: 'pat"),
    "lines": (lambda: raises(ValueError("one\n two")), "but fails: ValueError: one two; build it with in_channels=1"),
    "TypeError": (lambda: raises(TypeError("x")), "but fails: TypeError: x; build"),
    "float64": (lambda: linear().double(), "but fails: RuntimeError: "),
    "refusal": (lambda: raises(InputError("images must be larger")), "^images must be larger$"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_network_that_cannot_be_trained_is_refused_in_one_sentence(tmp_path, case):
    build, message = BROKEN[case]
    with pytest.raises(InputError, match=message) as refusal:
        fit(build(), digits(), QUICK, folder=tmp_path / "run")
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())


def test_an_interrupt_is_no_refusal():
    with pytest.raises(KeyboardInterrupt):
        fit(raises(KeyboardInterrupt()), digits(), QUICK)


def test_a_network_partly_frozen_is_trained():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8).requires_grad_(False), nn.Linear(8, 2))
    before = [weight.detach().clone() for weight in model.parameters()]
    fit(model, digits(), QUICK)
    same = [torch.equal(weight, old) for weight, old in zip(model.parameters(), before, strict=True)]
    assert same == [True, True, False, False]


def test_a_tuple_in_train_mode_alone_is_refused(tmp_path):
    """As networks with auxiliary heads return it."""

    class Auxiliary(Returns):
        def forward(self, images):
            logits = self.head(images)
            return (logits, logits) if self.training else logits

    with pytest.raises(InputError, match="`model` must return a tensor of logits in train mode too, got a tuple"):
        fit(Auxiliary(None), digits(), QUICK, folder=tmp_path / "run")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Travels(Returns):
    """A network that keeps where it was sent."""

    def __init__(self, change):
        super().__init__(change)
        self.places = []

    def to(self, place):
        self.places.append(str(place))
        return super().to(place)


@pytest.mark.parametrize("change", [lambda logits: None, lambda logits: 1 / 0, lambda logits: logits])
def test_a_check_leaves_the_network_where_and_as_it_was(change):
    """No GPU is needed to see that the last place it is sent to is that of its weights."""
    model = Travels(change)
    model.head[1].eval()  # one layer differs from the others
    modes = [layer.training for layer in model.modules()]
    with contextlib.suppress(InputError):
        check_training(model, digits(), QUICK)
    assert [layer.training for layer in model.modules()] == modes and not all(modes) and any(modes)
    assert model.places == ["cpu", "cpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_refused_network_stays_on_the_cpu():
    model = Returns(lambda logits: (logits,))
    with pytest.raises(InputError):
        check_training(model, digits(), TrainConfig(device="cuda"))
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
