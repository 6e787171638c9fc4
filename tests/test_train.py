"""Training: what is recorded, what moves what, how a run ends."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.data import load_data
from labelnoise.errors import InputError
from labelnoise.models import build_model
from labelnoise.noise import Symmetric
from labelnoise.stages import HeldOut, select_by_margin
from labelnoise.train import COLUMNS, TrainConfig, fit

TWO = (3, 8)


pytestmark = pytest.mark.usefixtures("one_thread")


def digits(noise=0.2, seed=0, classes=TWO):
    return load_data("digits", classes=classes, label_noise=Symmetric(noise) if noise else None, seed=seed)


def network(data, seed=0):
    return build_model("small-cnn", n_classes=data.n_classes, in_channels=1, seed=seed)


def short(**settings):
    return TrainConfig(**{"epochs": 3, "device": "cpu", **settings})


def test_the_table_agrees_with_the_record_and_the_model():
    data, config = digits(), short()
    model = network(data)
    log = fit(model, data, config)
    frame = log.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert_close(frame["epoch"].to_numpy(), np.arange(1, 4))
    assert (frame["seconds"].diff()[1:] > 0).all()
    trained, noisy = ~log.held_out, data.noisy
    fitted = log.recorder.margin > 0
    for name, where in {
        "train_accuracy": trained,
        "train_accuracy_clean": trained & ~noisy,
        "train_accuracy_noisy": trained & noisy,
        "held_out_accuracy": log.held_out,
    }.items():
        assert_close(frame[name].to_numpy(), fitted[:, where].mean(1))
    assert_close(frame["train_loss"].to_numpy(), log.recorder.loss[:, trained].mean(1, dtype=float))
    selection = select_by_margin(log.recorder.margin[:, trained], noisy[trained])
    for name in ("precision", "recall", "f1"):
        assert_close(frame[f"selection_{name}"].to_numpy(), getattr(selection, name))

    x = (data.x_test / 255 - data.mean[:, None, None]) / data.std[:, None, None]
    assert not model.training
    with torch.no_grad():
        logits = model(torch.as_tensor(x, dtype=torch.float32))
    assert_close(frame["test_accuracy"].iloc[-1], (logits.argmax(1).numpy() == data.y_test).mean(), rtol=1e-6)
    loss = nn.functional.cross_entropy(logits, torch.as_tensor(data.y_test))
    assert_close(frame["test_loss"].iloc[-1], float(loss), rtol=1e-4)


def test_the_same_seed_gives_the_same_run_and_leaves_torch_alone():
    data, state = digits(), torch.get_rng_state()
    a, b, c = (fit(network(data, seed), data, short(seed=seed)) for seed in (0, 0, 1))
    assert_close(torch.get_rng_state(), state)
    assert_close(a.recorder.margin, b.recorder.margin, rtol=0)
    pd.testing.assert_frame_equal(a.table.drop(columns="seconds"), b.table.drop(columns="seconds"), check_exact=True)
    assert not np.allclose(a.recorder.margin, c.recorder.margin)


class Watched(nn.Module):
    """A linear network that keeps the batches it is trained on, and its first dropout mask."""

    def __init__(self, n_classes):
        super().__init__()
        self.head, self.dropout, self.seen, self.masks = nn.Linear(64, n_classes), nn.Dropout(0.5), [], []
        nn.init.zeros_(self.head.weight)

    def forward(self, images):
        if self.training:
            self.seen.append(images.flatten(1))
            self.masks.append(self.dropout(torch.ones(8)))
        return self.head(images.flatten(1))


def test_noise_moves_no_batch_no_dropout_and_no_held_out_image():
    watched, logs = [], []
    for noise, seed in ((0.0, 0), (0.4, 0), (0.4, 1)):
        data = load_data("digits", classes=TWO, label_noise=Symmetric(noise), seed=0)
        watched.append(Watched(2))
        logs.append(fit(watched[-1], data, short(seed=seed, batch_size=100)))
    assert_close(torch.cat(watched[0].seen), torch.cat(watched[1].seen), rtol=0)
    assert_close(torch.stack(watched[0].masks), torch.stack(watched[1].masks))
    assert_close(logs[0].held_out, logs[1].held_out)
    assert not torch.equal(torch.cat(watched[0].seen), torch.cat(watched[2].seen))
    assert not torch.equal(torch.stack(watched[0].masks), torch.stack(watched[2].masks))
    assert (logs[0].held_out != logs[2].held_out).any()


def test_each_epoch_trains_on_each_image_once_in_a_new_order_and_never_on_a_held_out_one():
    data, model = digits(), Watched(2)
    log = fit(model, data, short(epochs=2, batch_size=50, held_out=0.25))
    n = len(data.y_given)
    assert log.held_out.sum() == round(0.25 * n)
    there = data.on("cpu")
    rows = there.normalise(there.x_train).flatten(1)
    seen = torch.cat(model.seen)
    distance = torch.cdist(seen.double(), rows.double()).numpy()
    order = distance.argmin(1).reshape(2, -1)
    for epoch in order:
        assert_close(np.sort(epoch), np.flatnonzero(~log.held_out))
    assert (order[0] != order[1]).any()


@pytest.mark.parametrize("held_out", [0.0, 0.001])
def test_held_out_share_zero_or_tiny(held_out):
    log = fit(network(digits()), digits(), short(epochs=1, held_out=held_out))
    assert log.held_out.sum() == (1 if held_out else 0)
    assert np.isnan(log.table["held_out_accuracy"][0]) == (held_out == 0)


def test_without_noise_the_columns_on_noisy_images_are_nan():
    row = fit(network(digits(0)), digits(0), short(epochs=1)).table.iloc[0]
    assert np.isnan(row[["train_accuracy_noisy", "selection_recall", "selection_f1"]]).all()
    assert row["train_accuracy"] == row["train_accuracy_clean"]


def test_adam_learns():
    log = fit(network(digits(0)), digits(0), short(optimizer="adam", lr=0.003))
    assert log.table["test_accuracy"].iloc[-1] > 0.9


def test_progress_is_told_after_each_epoch():
    calls = []
    fit(network(digits()), digits(), short(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_stop_ends_the_run_where_the_rule_says():
    data, config = digits(0.4), short(epochs=40, lr=0.05, patience=3)
    whole, stopped = fit(network(data), data, config), fit(network(data), data, config, stop=True)
    at = HeldOut(1, patience=3)(whole.table["held_out_accuracy"].to_numpy()).stopped
    assert at is not None and at < 39
    assert (stopped.recorder.epochs, len(stopped.table), stopped.status) == (at + 1, at + 1, "ok")
    assert_close(stopped.recorder.margin, whole.recorder.margin[: at + 1], rtol=0)


def test_stop_without_held_out_images_is_refused():
    with pytest.raises(InputError, match="`stop` needs held-out images, got none with held_out=0"):
        fit(network(digits()), digits(), short(held_out=0.0), stop=True)


class Breaks(nn.Module):
    """A linear network whose outputs become NaN in the training batch of this number (from 1)."""

    def __init__(self, at):
        super().__init__()
        self.head, self.at, self.count = nn.Linear(64, 2), at, 0

    def forward(self, images):
        self.count += self.training
        return self.head(images.flatten(1)) * (float("nan") if self.training and self.count == self.at else 1.0)


@pytest.mark.parametrize(("at", "where", "kept"), [(5, "at epoch 2, batch 2", 1), (1, "at epoch 1, batch 1", 0)])
def test_a_run_that_diverges_keeps_its_record_and_says_where(at, where, kept):
    log = fit(Breaks(at), digits(), short(batch_size=80))  # three batches an epoch
    assert log.status == f"the loss is not finite {where}; lower `lr` (now 0.02)"
    assert len(log.table) == log.recorder.epochs == kept
    assert log.recorder.margin.shape == (kept, len(log.y_given))
    assert tuple(log.to_frame().columns) == COLUMNS


def test_weights_broken_by_the_last_batch_of_an_epoch_are_found():
    class LastStep(Watched):
        def forward(self, images):
            logits = super().forward(images)
            return logits if self.training else logits + float("nan") * bool(self.seen)

    assert "not finite after epoch 1;" in fit(LastStep(2), digits(), short()).status


def test_wrong_outputs_are_refused():
    with pytest.raises(InputError, match="`model` must return 2 logits an image"):
        fit(build_model("small-cnn", n_classes=3, in_channels=1), digits(), short())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "`batch_size` must be an integer"),
        ({"lr": 0.0}, "`lr` must be a positive number"),
        ({"lr": float("nan")}, "`lr` must be a positive number"),
        ({"momentum": 1.0}, "`momentum` must lie in"),
        ({"held_out": 1.0}, "`held_out` must lie in"),
        ({"held_out": -0.1}, "`held_out` must lie in"),
        ({"optimizer": "sdg"}, "did you mean 'sgd'"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize("device", ["gpu7", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=f"`device` must be .* got '{device}'"):
        fit(network(digits()), digits(), short(device=device))
