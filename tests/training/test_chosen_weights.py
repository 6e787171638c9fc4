"""With `stop`, the network ends with the weights of the epoch that the held-out rule chose; without, with the last."""

from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.images.data import load_data
from labelnoise.noise.models import Symmetric
from labelnoise.record.recorder import Recorder
from labelnoise.record.stopping import HeldOut
from labelnoise.training import retention
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import fit

pytestmark = pytest.mark.usefixtures("one_thread")


def digits():
    return load_data("digits", classes=(3, 8), label_noise=Symmetric(0.4))


def network():
    """A network with buffers, which belong to the weights of an epoch, too."""
    torch.manual_seed(3)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
    return nn.Sequential(*layers)


def falling(**settings):
    """A run whose held-out accuracy falls: the chosen epoch lies before the last."""
    return TrainConfig(**{"epochs": 40, "lr": 0.05, "patience": 4, "device": "cpu", **settings})


def margins(model, data):
    assert not model.training
    images, recorder = data.on("cpu"), Recorder(len(data.y_given), 2)
    with torch.no_grad():
        recorder.update(np.arange(len(data.y_given)), model(images.normalise(images.x_train)), data.y_given)
    return recorder.end_epoch().margin


def assert_ends_with_the_chosen(model, log):
    chosen = log.stops[1].chosen
    assert chosen < log.recorder.epochs - 1, "the test needs a chosen epoch before the last"
    assert log.weights_epoch == log.table["epoch"].iloc[chosen]
    assert_close(margins(model, digits()), log.recorder.margin[chosen], rtol=0)


@pytest.mark.parametrize("settings", [{}, {"eval_every": 3}, {"epochs": 8, "patience": 30}])
@pytest.mark.parametrize("keeps", [False, True])
def test_stop_leaves_the_weights_of_the_chosen_epoch(tmp_path, keeps, settings):
    model = network()
    log = fit(model, digits(), falling(**settings), stop=True, folder=tmp_path if keeps else None)
    assert_ends_with_the_chosen(model, log)


def test_stop_moves_no_number_of_the_record(tmp_path):
    plain = fit(network(), digits(), falling())
    for folder in (None, tmp_path):
        stopped = fit(network(), digits(), falling(), stop=True, folder=folder)
        assert stopped.recorder.epochs < 40
        assert_close(stopped.recorder.margin, plain.recorder.margin[: stopped.recorder.epochs], rtol=0)


def test_without_stop_the_last_weights_stay(tmp_path):
    for folder in (None, tmp_path):
        model = network()
        log = fit(model, digits(), falling(epochs=20), folder=folder)
        assert log.weights_epoch == 20
        assert_close(margins(model, digits()), log.recorder.margin[-1], rtol=0)


class Killed(Exception):
    pass


def test_a_run_that_goes_on_ends_with_the_chosen_weights_too(tmp_path):
    whole = fit(network(), digits(), falling(), stop=True)

    def kill(epoch, *_):
        if epoch == whole.recorder.epochs - 1:  # after the chosen epoch, and before the end
            raise Killed

    with pytest.raises(Killed):
        fit(network(), digits(), falling(checkpoint_every=1), stop=True, folder=tmp_path, progress=kill)
    for _ in ("goes on", "is finished"):
        model = network()
        log = fit(model, digits(), falling(checkpoint_every=1), stop=True, folder=tmp_path)
        assert log.weights_epoch == whole.weights_epoch
        assert_ends_with_the_chosen(model, log)


def test_a_finished_run_that_is_read_back_ends_in_eval_mode(tmp_path):
    fit(network(), digits(), falling(epochs=2), folder=tmp_path)
    model = network()
    log = fit(model, digits(), falling(epochs=2), folder=tmp_path)
    assert_close(margins(model, digits()), log.recorder.margin[-1], rtol=0)


def test_a_handful_of_copies_is_kept_in_memory():
    sizes, copy_weights = [], retention.copy_weights

    def counting(run, copies):
        copy_weights(run, copies)
        sizes.append(len(copies))

    with mock.patch("labelnoise.training.retention.copy_weights", counting):
        fit(network(), digits(), falling(patience=15), stop=True)
    assert len(sizes) > 15 and max(sizes) == HeldOut.smooth + 1


class Breaks(nn.Module):
    """A linear network whose outputs become NaN in the training batch of this number (from 1)."""

    def __init__(self, at):
        super().__init__()
        self.head, self.at, self.count = nn.Linear(64, 2), at, 0

    def forward(self, images):
        self.count += self.training
        return self.head(images.flatten(1)) * (float("nan") if self.training and self.count == self.at else 1.0)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_run_that_diverges_ends_with_the_chosen_weights_if_there_are_any(tmp_path, keeps):
    config = TrainConfig(epochs=9, batch_size=100, device="cpu")  # three batches an epoch
    folders = [tmp_path / name if keeps else None for name in "abc"]
    model = Breaks(20)
    log = fit(model, digits(), config, stop=True, folder=folders[0])
    assert "not finite" in log.status and log.recorder.epochs == 6
    assert log.weights_epoch == log.stops[1].chosen + 1
    assert_close(margins(model, digits()), log.recorder.margin[log.stops[1].chosen], rtol=0)
    early, plain = Breaks(1), Breaks(20)
    assert fit(early, digits(), config, stop=True, folder=folders[1]).weights_epoch is None
    assert fit(plain, digits(), config, folder=folders[2]).weights_epoch is None  # of no whole epoch
    assert not early.training and not plain.training
