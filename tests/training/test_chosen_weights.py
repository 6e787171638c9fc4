"""With `stop`, the network ends with the average of the weights around the choice; without, with the last ones."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.noise.models import Symmetric
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import Combined, HeldOutAccuracy, HeldOutLoss, LabelWave, RunningMean
from labelnoise.training import checkpoints
from labelnoise.training.averaging import copy_of
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import _mixed_batches, fit
from labelnoise.training.weight_stores import CopiesAround, MeanSoFar, SumsOnward

pytestmark = pytest.mark.usefixtures("one_thread")


def digits():
    return load_data("digits", classes=(3, 8), label_noise=Symmetric(0.4))


def network():
    """A network with buffers, which belong to the weights of an epoch, too."""
    torch.manual_seed(3)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
    return nn.Sequential(*layers)


def plain():
    """A network without buffers."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


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
    at = log.table["epoch"].tolist().index(log.stops.rule.epoch)
    assert at < log.recorder.epochs - 1, "the test needs a chosen epoch before the last"
    assert log.weights_epochs == (log.weights_epoch,) == (log.stops.rule.epoch,)
    assert_close(margins(model, digits()), log.recorder.margin[at], rtol=0)
    assert log.returned["test_accuracy"] == log.table["test_accuracy"][at]


@pytest.mark.parametrize("settings", [{}, {"eval_every": 3}, {"epochs": 8, "patience": 30}])
@pytest.mark.parametrize("keeps", [pytest.param(False, marks=pytest.mark.slow), True])
def test_stop_leaves_the_weights_of_the_chosen_epoch(tmp_path, keeps, settings):
    model, rule = network(), HeldOutAccuracy(falling(**settings).patience)
    folder = tmp_path if keeps else None
    log = fit(model, digits(), falling(**settings), stop=rule, average=1, folder=folder)
    assert_ends_with_the_chosen(model, log)
    assert log.model is model and not (tmp_path / "checkpoints/averaged.pt").exists()


RULES = {
    "loss": HeldOutLoss(4),
    "accuracy": HeldOutAccuracy(4),
    "wave": LabelWave(),
    "running mean": RunningMean(4),
    "either": HeldOutLoss(4) | LabelWave(),
    "median": Combined((HeldOutLoss(4), HeldOutAccuracy(4), LabelWave())),
}


@pytest.mark.parametrize("keeps", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(("name", "average"), [(name, 5) for name in RULES] + [("loss", 3), ("loss", 9)])
def test_stop_leaves_the_average_of_the_records_around_it(tmp_path, name, average, keeps):
    """Against the mean of all copies of the weights, written out."""
    model, copies = plain(), {}
    folder = tmp_path if keeps else None

    def copy(at):
        copies[at.epoch] = copy_of(model.state_dict())

    log = fit(model, digits(), falling(), stop=RULES[name], average=average, folder=folder, progress=copy)
    chosen, reach = log.stops.rule.epoch, average // 2
    expected = [epoch for epoch in range(chosen - reach, chosen + reach + 1) if epoch in copies]
    assert list(log.weights_epochs) == expected and len(expected) > reach
    for key, value in model.state_dict().items():
        mean = np.mean([copies[epoch][key].numpy().astype(float) for epoch in expected], axis=0)
        assert_close(value.numpy(), mean.astype(np.float32), rtol=1e-6, atol=1e-8)
    fitted = margins(model, digits()) > 0
    assert log.returned["held_out_accuracy"] == pytest.approx(fitted[log.held_out].mean())
    assert log.returned["test_accuracy"] != log.table["test_accuracy"][chosen - 1]
    if keeps:
        there = torch.load(tmp_path / "checkpoints/averaged.pt", weights_only=True)
        assert all(torch.equal(there[key], value) for key, value in model.state_dict().items())
        other = plain()
        checkpoints.load_weights(other, tmp_path / "checkpoints/averaged.pt")
        assert_close(margins(other.eval(), digits()), margins(model, digits()), rtol=0)


def assert_returned(log, model, copies, folder):
    """The network holds the mean of the copies of its epochs, which also was judged and lies in the folder."""
    for key, value in model.state_dict().items():
        mean = np.mean([copies[epoch][key].numpy().astype(float) for epoch in log.weights_epochs], axis=0)
        assert_close(value.numpy(), mean.astype(np.float32), rtol=1e-5, atol=1e-7)
    fitted = margins(model, digits()) > 0
    assert log.returned["held_out_accuracy"] == pytest.approx(fitted[log.held_out].mean())
    if folder:
        there = torch.load(folder / "checkpoints/averaged.pt", weights_only=True)
        assert all(torch.equal(there[key], value) for key, value in model.state_dict().items())
        assert log.weights_epoch in checkpoints.kept_epochs(folder)


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize(("stop", "rule"), [(True, RunningMean(4)), (HeldOutAccuracy(4), HeldOutAccuracy(4))])
def test_the_mean_of_all_up_to_the_choice(tmp_path, stop, rule, keeps):
    """Against the mean of all copies of the weights, written out; on the disk lies no copy of each."""
    model, copies, held = plain(), {}, []
    folder = tmp_path if keeps else None

    def copy(at):
        copies[at.epoch] = copy_of(model.state_dict())
        held.append(len(checkpoints.kept_epochs(tmp_path)))

    log = fit(model, digits(), falling(), stop=stop, average="all", folder=folder, progress=copy)
    chosen = log.stops.rule.epoch
    assert log.rule == rule and 2 < chosen < len(log.table)
    assert log.weights_epochs == tuple(range(1, chosen + 1)) and log.weights_epoch == chosen
    assert_returned(log, model, copies, tmp_path if keeps else None)
    if keeps:
        assert max(held) < 7


@pytest.mark.parametrize("keeps", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", RULES)
def test_the_average_goes_onward_from_the_second_record_before_the_choice(tmp_path, name, keeps):
    """Against the mean of all copies of the weights, written out; on the disk lies no copy of each."""
    model, copies, held = plain(), {}, []
    folder = tmp_path if keeps else None

    def copy(at):
        copies[at.epoch] = copy_of(model.state_dict())
        held.append(len(checkpoints.kept_epochs(tmp_path)))

    log = fit(model, digits(), falling(patience=10), stop=RULES[name], folder=folder, progress=copy)
    chosen = log.stops.rule.epoch
    first = max(chosen - 2, 1)
    expected = [epoch for epoch in range(first, first + 9) if epoch in copies]
    assert list(log.weights_epochs) == expected and len(expected) > 3
    assert_returned(log, model, copies, tmp_path if keeps else None)
    if keeps:
        assert max(held) < 7


def test_one_or_two_copies_serve_the_mean_of_all():
    """While the last record is the one to be chosen, the mean is its own copy."""
    sizes, take = [], MeanSoFar.take

    def counting(self, weights, watch):
        take(self, weights, watch)
        sizes.append(len({id(mean) for mean in (self.mean, *self.at.values())}))

    with mock.patch.object(MeanSoFar, "take", counting):
        fit(plain(), digits(), falling(patience=15), stop=True, average="all")
    assert len(sizes) > 15 and set(sizes) == {1, 2}


@pytest.mark.parametrize(("before", "now"), [(5, "onward"), ("all", "onward"), ("onward", "all"), ("onward", 5)])
def test_a_checkpoint_of_another_average_is_refused(tmp_path, before, now):
    """Without the sums, as those of a version that averaged five; with those of another; without the epochs around."""

    def kill(at):
        if at.epoch == 3:
            raise Killed

    config = falling(checkpoint_every=1)
    with pytest.raises(Killed):
        fit(network(), digits(), config, stop=True, average=before, folder=tmp_path, progress=kill)
    with pytest.raises(InputError, match="those there are of a training with another average; choose another folder"):
        fit(network(), digits(), config, stop=True, average=now, folder=tmp_path)


@pytest.mark.parametrize("average", ["onward", "all"])
def test_a_checkpoint_of_another_rule_is_refused(tmp_path, average):
    """It lacks the sums of what the other rule chooses."""

    def kill(at):
        if at.epoch == 12:
            raise Killed

    config, rule = falling(checkpoint_every=1), HeldOutLoss(patience=20)
    with pytest.raises(Killed):
        fit(network(), digits(), config, stop=rule, average=average, folder=tmp_path, progress=kill)
    for other in (LabelWave(), HeldOutLoss(patience=20, smooth=5)):
        with pytest.raises(InputError, match="those there are of a training by another rule; choose another folder"):
            fit(network(), digits(), config, stop=other, average=average, folder=tmp_path)
    assert fit(network(), digits(), config, stop=rule, average=average, folder=tmp_path).status == "ok"


def test_batch_norm_of_the_average_has_the_statistics_of_the_images_trained_on():
    """Of the first layer, whose inputs are the pixels: mean and variance over all images but the held-out ones."""
    model, data = network(), digits()
    log = fit(model, data, falling(), stop=True)
    images = data.on("cpu")
    pixels = images.normalise(images.x_train[torch.as_tensor(~log.held_out)])
    with torch.no_grad():
        seen = model[0](pixels)
    assert len(log.weights_epochs) > 5 and not model.training
    assert_close(model[1].running_mean.numpy(), seen.mean((0, 2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    assert_close(model[1].running_var.numpy(), seen.var((0, 2, 3)).numpy(), rtol=1e-4)
    assert model[1].momentum == 0.1


def test_the_statistics_are_of_equal_batches_that_mix_the_images_trained_on():
    """Of data that are sorted by class a batch in their order would hold one class alone."""
    images = SimpleNamespace(x_train=torch.arange(1200), normalise=lambda x: x)
    run = SimpleNamespace(config=TrainConfig(), held_out=np.arange(1200) % 10 == 0, images=images, device="cpu")
    first, second, third = parts = [part.tolist() for part in _mixed_batches(run)]
    assert len(first) == len(second) == len(third) == 360
    assert sorted(first + second + third) == [at for at in range(1200) if at % 10]
    assert all(150 < sum(at < 600 for at in part) < 210 for part in parts)
    run.config = TrainConfig(seed=1)
    assert next(_mixed_batches(run)).tolist() != first


def test_stop_moves_no_number_of_the_record(tmp_path):
    whole = fit(network(), digits(), falling())
    for folder in (None, tmp_path):
        stopped = fit(network(), digits(), falling(), stop=True, folder=folder)
        assert stopped.recorder.epochs < 40
        assert_close(stopped.recorder.margin, whole.recorder.margin[: stopped.recorder.epochs], rtol=0)


def test_without_stop_the_last_weights_stay(tmp_path):
    for folder in (None, tmp_path):
        model = network()
        log = fit(model, digits(), falling(epochs=20), folder=folder)
        assert (log.weights_epoch, log.weights_epochs, log.returned) == (20, (20,), None)
        assert (log.stops.rule, log.rule) == (None, None)
        assert_close(margins(model, digits()), log.recorder.margin[-1], rtol=0)


class Killed(Exception):
    pass


LATER = [pytest.param(*how, marks=pytest.mark.slow) for how in ((1, 1), (5, 1), (5, 3), (9, 7), ("onward", 1))]


@pytest.mark.parametrize(("average", "every"), [("onward", 3), ("all", 3), *LATER])
def test_a_run_that_goes_on_ends_with_the_same_weights(tmp_path, average, every):
    """Killed after each epoch in turn, each time going on from what the kill before left."""
    model = network()
    whole = fit(model, digits(), falling(), stop=True, average=average, folder=tmp_path / "whole")
    config, last = falling(checkpoint_every=every), whole.recorder.epochs
    for epoch in range(1, last):

        def kill(at, epoch=epoch):
            if at.epoch == epoch:
                raise Killed

        with pytest.raises(Killed):
            fit(network(), digits(), config, stop=True, average=average, folder=tmp_path / "cut", progress=kill)
    for _ in ("goes on", "is finished"):
        other = network()
        log = fit(other, digits(), config, stop=True, average=average, folder=tmp_path / "cut")
        assert (log.weights_epochs, log.returned) == (whole.weights_epochs, whole.returned)
        assert_close(margins(other, digits()), margins(model, digits()), rtol=0)
    if average != 1:
        one, two = ((tmp_path / name / "checkpoints/averaged.pt").read_bytes() for name in ("whole", "cut"))
        assert one == two


def test_a_finished_run_that_is_read_back_ends_in_eval_mode(tmp_path):
    fit(network(), digits(), falling(epochs=2), folder=tmp_path)
    model = network()
    log = fit(model, digits(), falling(epochs=2), folder=tmp_path)
    assert_close(margins(model, digits()), log.recorder.margin[-1], rtol=0)


@pytest.mark.parametrize(("rule", "most"), [(HeldOutLoss(15), 8), (HeldOutAccuracy(15), 12), (LabelWave(), 5)])
def test_a_handful_of_copies_is_kept_in_memory(rule, most):
    sizes = sizes_of(CopiesAround, lambda store: len(store.copies), rule, 5)
    assert len(sizes) > 5 and 4 <= max(sizes) <= most


@pytest.mark.parametrize(("rule", "most"), [(HeldOutLoss(15), 5), (HeldOutAccuracy(15), 8), (LabelWave(), 4)])
def test_fewer_are_kept_of_an_average_onward(rule, most):
    sizes = sizes_of(SumsOnward, lambda store: len(store.copies) + len(store.sums), rule, "onward")
    assert len(sizes) > 5 and 3 <= max(sizes) <= most


def sizes_of(store, size, rule, average):
    """How much a store holds after each epoch of a run."""
    sizes, take = [], store.take

    def counting(self, weights, watch):
        take(self, weights, watch)
        sizes.append(size(self))

    with mock.patch.object(store, "take", counting):
        fit(network(), digits(), falling(), stop=rule, average=average)
    return sizes


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
    log = fit(model, digits(), config, stop=True, average=1, folder=folders[0])
    assert "not finite" in log.status and log.recorder.epochs == 6
    assert log.weights_epoch == log.stops.rule.epoch
    assert_close(margins(model, digits()), log.recorder.margin[log.stops.rule.epoch - 1], rtol=0)
    early, last = Breaks(1), Breaks(20)
    log = fit(early, digits(), config, stop=True, folder=folders[1])
    assert (log.weights_epoch, log.weights_epochs, log.returned, log.stops.rule) == (None, (), None, None)
    log = fit(last, digits(), config, folder=folders[2])
    assert (log.weights_epoch, log.weights_epochs) == (None, ())  # of no whole epoch
    assert not early.training and not last.training


class Masked(nn.Module):
    """A linear network with a buffer that is infinite, as the mask of an attention is."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.head = nn.Linear(64, 2)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, images):
        return self.head(images.flatten(1))


@pytest.mark.parametrize("average", [1, 5, "onward", "all"])
def test_a_buffer_may_be_infinite(average):
    rule = RunningMean(2) if average == "all" else HeldOutLoss(2)
    config = TrainConfig(epochs=4, batch_size=100, device="cpu")
    plain = fit(nn.Sequential(nn.Flatten(), Masked().head), digits(), config, stop=rule, average=average)
    model = Masked()
    masked = fit(model, digits(), config, stop=rule, average=average)
    assert masked.weights_epochs == plain.weights_epochs
    assert torch.equal(model.head.weight, plain.model[1].weight) and torch.isinf(model.mask[1])
