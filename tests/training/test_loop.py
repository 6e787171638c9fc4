"""Training: what is recorded, what moves what, how a run ends."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.networks import build_model
from labelnoise.noise.models import Symmetric
from labelnoise.record.recorder import Recorder
from labelnoise.record.selection import select_by_margin
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.watching import find_stop
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.log import COLUMNS, TIMES
from labelnoise.training.loop import fit
from labelnoise.training.passes import batches

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
    assert "array" not in repr(log) and "\n" not in repr(log) and "status='ok'" in repr(log)
    assert repr(data).startswith("Data(name='digits', classes=(") and "shape" not in repr(data)
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
    assert_close(frame["held_out_loss"].to_numpy(), log.recorder.loss[:, log.held_out].mean(1, dtype=float))
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
    tables = (log.table.drop(columns=list(TIMES)) for log in (a, b))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
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
    log = fit(network(digits()), digits(), short(epochs=4, eval_every=2), progress=calls.append)
    assert [(at.epoch, at.epochs, at.stop) for at in calls] == [(epoch, 4, None) for epoch in (1, 2, 3, 4)]
    second, fourth = log.to_frame().to_dict("records")
    assert [dict(at.measures) for at in calls] == [{}, second, {}, fourth]  # none of an epoch without a record


def test_progress_says_what_the_rule_says_so_far():
    calls = []
    log = fit(network(digits(0.4)), digits(0.4), short(epochs=6), stop=True, progress=calls.append)
    assert calls[-1].stop == log.stops.rule and calls[0].stop.epoch == 1


@pytest.mark.slow
def test_stop_ends_the_run_where_the_rule_says():
    data, config = digits(0.4), short(epochs=40, lr=0.05, patience=3)
    whole, stopped = fit(network(data), data, config), fit(network(data), data, config, stop=True)
    at = find_stop(HeldOutLoss(3), whole.recorder, whole.held_out).stopped
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


@pytest.mark.parametrize(
    ("at", "where", "kept"), [(5, "at epoch 2, batch 2 (step 5)", 1), (1, "at epoch 1, batch 1 (step 1)", 0)]
)
def test_a_run_that_diverges_keeps_its_record_and_says_where(at, where, kept):
    log = fit(Breaks(at), digits(), short(batch_size=80))  # three batches an epoch
    assert log.status.startswith(f"the loss is not finite {where}")
    assert ("lower `lr` (now 0.02)" in log.status) == (at > 1)  # before the first step no rate is to blame
    assert ("before any step was made; the learning rate is not the cause" in log.status) == (at == 1)
    assert len(log.table) == log.recorder.epochs == kept
    assert log.recorder.margin.shape == (kept, len(log.y_given))
    assert tuple(log.to_frame().columns) == COLUMNS


def test_weights_broken_by_the_last_batch_of_an_epoch_are_found():
    class LastStep(Watched):
        def forward(self, images):
            logits = super().forward(images)
            return logits + float("nan") if self.seen and not self.training else logits

    assert "not finite after epoch 1;" in fit(LastStep(2), digits(), short()).status


def test_wrong_outputs_are_refused():
    with pytest.raises(
        InputError, match="`model` must return at least 3 logits an image, got outputs of shape .2, 2. .* n_classes=3"
    ):
        fit(network(digits()), digits(classes=(3, 8, 5)), short())


def test_batches_record_each_image_where_it_was_trained():
    data, model = digits(), network(digits())
    log = fit(model, data, short(epochs=2, batch_size=64))
    assert log.batches.margin.shape == (2, len(data.y_given))
    assert (np.isnan(log.batches.margin) == log.held_out).all()
    fresh, images = network(digits()), data.on("cpu")
    order = stream(0, "batches").permutation(np.flatnonzero(~log.held_out))[:64]  # the first batch, before any step
    with torch.no_grad():
        recorder = Recorder(len(data.y_given), 2)
        recorder.update(order, fresh(images.normalise(images.x_train[order])), data.y_given[order])
    assert_close(log.batches.margin[0, order], recorder.end_epoch().margin[order], rtol=1e-4, atol=1e-6)


def test_records_can_be_thinned_without_moving_the_training():
    data = digits()
    every, thin = (fit(network(data), data, short(epochs=5, eval_every=n)) for n in (1, 2))
    assert thin.table["epoch"].tolist() == [2, 4, 5]
    assert_close(thin.recorder.margin, every.recorder.margin[[1, 3, 4]], rtol=0)
    assert thin.batches.epochs == 5
    np.testing.assert_array_equal(thin.batches.margin, every.batches.margin)


def test_a_schedule_moves_the_weights_by_its_rate():
    """A rate of next to nothing after epoch 1: the margins stand still there, and the table says the rate."""
    data = digits()
    config = short(schedule="multi-step", lr_steps=(1,), lr_factor=1e-12, momentum=0.0)
    log = fit(network(data), data, config)
    assert_close(log.table["lr"].to_numpy(), np.array([0.02, 2e-14, 2e-14]))
    assert_close(log.recorder.margin[1], log.recorder.margin[0], rtol=1e-4, atol=1e-5)
    other = fit(network(data), data, short())
    assert np.abs(other.recorder.margin[1] - other.recorder.margin[0]).max() > 0.01


def test_weight_decay_shrinks_the_weights():
    data = digits()
    sizes = []
    for decay in (0.0, 0.5):
        model = network(data)
        fit(model, data, short(weight_decay=decay))
        sizes.append(sum(float(weight.detach().square().sum()) for weight in model.parameters()))
    assert sizes[1] < 0.8 * sizes[0]


def test_augmentation_trains_on_shifted_images_and_records_unshifted_ones():
    data = digits()
    seen = Watched(2)
    log = fit(seen, data, short(epochs=1, batch_size=50, augment=True))
    plain = Watched(2)
    fit(plain, data, short(epochs=1, batch_size=50))
    images, order = data.on("cpu"), stream(0, "batches").permutation(np.flatnonzero(~log.held_out))
    shifts = stream(0, "augment").integers(0, (9, 9, 2), (len(order), 3))
    expected = images.normalise(images.augment(images.x_train[order], torch.as_tensor(shifts))).flatten(1)
    assert torch.equal(torch.cat(seen.seen), expected)
    assert not torch.equal(torch.cat(seen.seen), torch.cat(plain.seen))


def test_bf16_trains_too_and_keeps_float32_weights():
    data, model = digits(0), network(digits(0))
    log = fit(model, data, short(precision="bf16"))
    assert log.precision == "bf16" and {weight.dtype for weight in model.parameters()} == {torch.float32}
    exact = fit(network(data), data, short())
    assert exact.precision == "float32" and not np.allclose(log.recorder.margin[0], exact.recorder.margin[0], rtol=1e-5)
    assert_close(log.recorder.margin[0], exact.recorder.margin[0], rtol=0.2, atol=0.2)
    assert log.table["test_accuracy"].iloc[-1] > 0.9


def test_more_outputs_than_classes():
    data = digits(0)
    log = fit(build_model("small-cnn", n_classes=10, in_channels=1), data, short(optimizer="adam", lr=0.003, epochs=5))
    assert log.recorder.n_classes == 10 and log.table["test_accuracy"].iloc[-1] > 0.9


def test_a_prediction_among_very_many_outputs_is_written_as_it_is(tmp_path):
    config = TrainRun(classes=(3, 8), per_class=20, model="mlp", outputs=40_000, training=short(epochs=1, lr=1e-9))
    run = read_run(run_experiment(config, tmp_path / "a").path)
    assert run.samples["prediction"].min() >= 0 and run.samples["prediction"].max() >= 2**15


@pytest.mark.parametrize(
    ("n", "size", "expected"), [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (4, 4, [4]), (1, 4, [1]), (3, 1, [1, 1, 1])]
)
def test_a_last_batch_of_one_joins_the_one_before_it(n, size, expected):
    parts = batches(n, size)
    assert [part.stop - part.start for part in parts] == expected
    assert [i for part in parts for i in range(n)[part]] == list(range(n))


def test_batch_norm_needs_batches_of_two():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    data = digits()
    rest = (len(data.y_given) - round(0.1 * len(data.y_given))) - 1
    assert fit(model, data, short(epochs=1, batch_size=rest)).status == "ok"  # the last batch would be of one
    with pytest.raises(InputError, match="`batch_size` must be 2 or more for batch norm, got 1"):
        fit(model, data, short(batch_size=1))


def test_a_network_that_looks_at_its_batch_reads_data_sorted_by_class_in_shuffled_batches():
    """Batch norm without running statistics: within a batch of one class it would remove what tells the classes."""
    data = digits(0)
    order = np.argsort(data.y_true, kind="stable")
    rows = {name: getattr(data, name)[order] for name in ("x_train", "y_true", "y_given", "index")}
    ends = np.argsort(data.y_test, kind="stable")
    data = replace(data, **rows, x_test=data.x_test[ends], y_test=data.y_test[ends])
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(64, affine=False, track_running_stats=False)
    model = nn.Sequential(nn.Flatten(), norm, nn.Linear(64, 2))
    with mock.patch("labelnoise.training.passes.EVAL_BATCH", 32):
        log = fit(model, data, short(epochs=5))
    assert log.table["test_accuracy"].iloc[-1] > 0.9 and log.table["train_accuracy"].iloc[-1] > 0.9


def test_true_float32_is_asked_for():
    seen = []

    class Looks(Watched):
        def forward(self, images):
            seen.append(torch.backends.cudnn.allow_tf32)
            return super().forward(images)

    fit(Looks(2), digits(), short(epochs=1, batch_size=100))
    assert not any(seen[1:])  # the first is the check before the run
