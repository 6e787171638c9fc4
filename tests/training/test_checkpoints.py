"""Checkpoints: a run that was killed and goes on is the run that was never killed; nothing half-written or foreign."""

import errno
import os
import resource
import time
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise import devices
from labelnoise.cli import main
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.noise.models import Symmetric
from labelnoise.record.recorder import Recorder
from labelnoise.record.stopping import HeldOut
from labelnoise.training import checkpoints
from labelnoise.training.config import TrainConfig
from labelnoise.training.log import TIMES
from labelnoise.training.loop import fit

pytestmark = pytest.mark.usefixtures("one_thread")

VARIANTS = {
    "sgd": {"weight_decay": 1e-3},
    "adam, cosine, warm-up": {"optimizer": "adam", "lr": 0.003, "schedule": "cosine", "warmup": 2},
    "adamw, multi-step, shifted": {
        "optimizer": "adamw", "lr": 0.003, "schedule": "multi-step", "lr_steps": (2, 5), "augment": True,
    },
    "bf16": {"precision": "bf16"},
    "thinned": {"eval_every": 2, "checkpoint_every": 3},
}  # fmt: skip


def digits(noise=0.3, classes=(3, 8)):
    data = load_data("digits", classes=classes, label_noise=Symmetric(noise))
    return replace(data, x_train=data.x_train[:90], y_true=data.y_true[:90], y_given=data.y_given[:90])


def network(outputs=2):
    """A network with all that a checkpoint could forget: batch norm's statistics and dropout's random numbers."""
    torch.manual_seed(3)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4), nn.Flatten(), nn.Linear(144, outputs)
    return nn.Sequential(*layers)


def short(**settings):
    return TrainConfig(**{"epochs": 7, "checkpoint_every": 2, "batch_size": 16, "device": "cpu", **settings})


class Killed(Exception):
    pass


def killed_after(epoch):
    def progress(at):
        if at.epoch == epoch:
            raise Killed

    return progress


def assert_same(log, other):
    for name in ("recorder", "batches"):
        for part in ("margin", "loss", "prediction"):
            np.testing.assert_array_equal(getattr(getattr(log, name), part), getattr(getattr(other, name), part))
    tables = (each.to_frame().drop(columns=list(TIMES)) for each in (log, other))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert (log.status, log.precision) == (other.status, other.precision)


def assert_same_weights(folder, other):
    assert checkpoints.kept_epochs(folder) == checkpoints.kept_epochs(other) != []
    for epoch in checkpoints.kept_epochs(folder):
        one, two = (checkpoints.read_weights(place, epoch) for place in (folder, other))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one), epoch


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("killed", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_run_that_goes_on_is_the_run_that_was_never_interrupted(tmp_path, variant, killed):
    config = short(**VARIANTS[variant])
    whole = fit(network(), digits(), config, folder=tmp_path / "whole")
    with pytest.raises(Killed):
        fit(network(), digits(), config, folder=tmp_path / "cut", progress=killed_after(killed))
    epochs = []
    log = fit(network(), digits(), config, folder=tmp_path / "cut", progress=lambda at: epochs.append(at.epoch))
    last = killed // config.checkpoint_every * config.checkpoint_every
    assert epochs == list(range(last + 1, 8))
    assert_same(log, whole)
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")
    assert_same(fit(network(), digits(), config, folder=tmp_path / "cut"), whole)  # finished: read back


def test_the_precision_that_auto_chose_is_kept_on_another_processor(tmp_path, monkeypatch):
    config = short(precision="auto")
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16")
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    whole = fit(network(), digits(), config)
    with pytest.raises(Killed):
        fit(network(), digits(), config, folder=tmp_path, progress=killed_after(2))
    (tmp_path / "cpuinfo").unlink()
    log = fit(network(), digits(), config, folder=tmp_path)
    assert log.precision == "bf16"
    assert_same(log, whole)


def test_checkpoints_change_no_number(tmp_path):
    assert_same(fit(network(), digits(), short(), folder=tmp_path), fit(network(), digits(), short()))


def test_the_weights_of_each_stopping_point_checkpoint_and_the_last_epoch_are_kept(tmp_path):
    config, data = short(epochs=23, checkpoint_every=10, lr=0.05, patience=4), digits(0.4)
    model = network()
    log = fit(model, data, config, folder=tmp_path)
    chosen = {log.stops.oracle, log.stops.held_out.epoch}
    assert chosen - {10, 20, 23}, "the test needs a stopping point that is no checkpoint anyway"
    assert checkpoints.kept_epochs(tmp_path) == sorted(chosen | {10, 20, 23})
    for epoch in chosen:
        model.load_state_dict(checkpoints.read_weights(tmp_path, epoch))
        model.eval()
        images = data.on("cpu")
        with torch.no_grad():
            recorder = Recorder(90, 2)
            recorder.update(np.arange(90), model(images.normalise(images.x_train)), data.y_given)
        assert_close(recorder.end_epoch().margin, log.recorder.margin[epoch - 1], rtol=0)


def test_weights_that_a_rule_may_choose_later_survive_kills(tmp_path):
    """Killed between two checkpoints: the rules could then choose epochs that they could not choose at the kill."""
    config, data = short(epochs=22, checkpoint_every=10, lr=0.05), digits(0.4)
    for killed in (17, 12, 16):
        with pytest.raises(Killed):
            fit(network(), data, config, folder=tmp_path, progress=killed_after(killed))
        kept = checkpoints.kept_epochs(tmp_path)
        assert set(range(10 - HeldOut.smooth + 1, 11)) | set(range(killed - HeldOut.smooth + 1, killed + 1)) <= set(
            kept
        )


def test_a_kill_between_the_last_state_and_the_deletion_of_weights(tmp_path, monkeypatch):
    config = short(epochs=9)
    fit(network(), digits(), config, folder=tmp_path / "whole")

    def write_state(folder, state, write=checkpoints.write_state):
        write(folder, state)
        if state["epoch"] == 9:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "write_state", write_state)
        fit(network(), digits(), config, folder=tmp_path / "cut")
    fit(network(), digits(), config, folder=tmp_path / "cut")
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_a_stopped_run_keeps_its_last_epoch(tmp_path):
    config, data = short(epochs=40, lr=0.05, patience=3), digits(0.4)
    log = fit(network(), data, config, stop=True, folder=tmp_path)
    assert log.recorder.epochs == log.stops.rule.ended == max(checkpoints.kept_epochs(tmp_path)) < 40
    assert_same(fit(network(), data, config, stop=True, folder=tmp_path), log)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": short(lr=0.1)}, "lr is 0.02 there, 0.1 now"),
        ({"model": network(3)}, r"another network: `5.weight` is \[2, 144\] there, \[3, 144\] here"),
        ({"data": digits(0.1)}, "trained on other data"),
        ({"data": replace(digits(), y_true=1 - digits().y_true)}, "trained on other data"),
    ],
)
def test_checkpoints_of_another_run_are_refused(tmp_path, changes, message):
    fit(network(), digits(), short(epochs=2), folder=tmp_path)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in (tmp_path / "checkpoints").iterdir())
    call = {"model": network(), "data": digits(), "config": short(epochs=2), **changes}
    if "config" in changes:
        call["config"] = replace(changes["config"], epochs=2)
    with pytest.raises(InputError, match=f"must hold checkpoints of this run, but .*{message}; choose another folder"):
        fit(call["model"], call["data"], call["config"], folder=tmp_path)
    assert sorted((file.name, file.stat().st_mtime_ns) for file in (tmp_path / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"text"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    fit(network(), digits(), short(epochs=2), folder=tmp_path)
    for name, read in (
        ("state.pt", lambda: fit(network(), digits(), short(epochs=2), folder=tmp_path)),
        ("epoch-0002.pt", lambda: checkpoints.read_weights(tmp_path, 2)),
    ):
        path = tmp_path / "checkpoints" / name
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InputError, match=f"{name} is damaged or no checkpoint"):
            read()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "entered"),)

    torch.save({"weights": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(InputError, match="hostile.pt is damaged or no checkpoint"):
        checkpoints.load_weights(network(), tmp_path / "hostile.pt")
    assert not (tmp_path / "entered").exists()


def test_weights_to_start_from(tmp_path):
    fit(network(), digits(), short(epochs=2), folder=tmp_path)
    trained, model = checkpoints.read_weights(tmp_path, 2), network()
    checkpoints.load_weights(model, tmp_path / "checkpoints/epoch-0002.pt")
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    with pytest.raises(
        InputError, match=r"must hold weights of this network, but `5.weight` is \[2, 144\] there, \[5, 1"
    ):
        checkpoints.load_weights(network(5), tmp_path / "checkpoints/epoch-0002.pt")
    torch.save({**trained, "epoch": 2}, tmp_path / "more.pt")
    checkpoints.load_weights(model, tmp_path / "more.pt")
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="must hold weights of this network, but"):
        checkpoints.load_weights(model, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no file at .*absent.pt"):
        checkpoints.load_weights(model, tmp_path / "absent.pt")
    with pytest.raises(InputError, match="the weights of epoch 5, got those of epochs .*2; train it again"):
        checkpoints.read_weights(tmp_path, 5)


def test_a_disk_that_fills_during_a_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    config = short(epochs=5)
    whole = fit(network(), digits(), config, folder=tmp_path / "whole")
    folder, sync = tmp_path / "full", os.fsync
    with pytest.raises(Killed):
        fit(network(), digits(), config, folder=folder, progress=killed_after(3))
    state = (folder / "checkpoints/state.pt").read_bytes()

    def full(handle):
        if "state.pt" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"state.pt could not be written \(No space left on device\), .* make room"):
        fit(network(), digits(), config, folder=folder)
    assert (folder / "checkpoints/state.pt").read_bytes() == state
    assert not list(folder.rglob("*.tmp"))
    monkeypatch.undo()
    assert_same(fit(network(), digits(), config, folder=folder), whole)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.batches = nn.Linear(64, 2), 0

        def forward(self, images):
            self.batches += self.training
            return self.head(images.flatten(1)) * (float("nan") if self.batches == 28 else 1.0)

    log = fit(Breaks(), digits(), short(), folder=tmp_path)  # five batches an epoch
    assert log.status == "the loss is not finite at epoch 6, batch 3 (step 28); lower `lr` (now 0.02)"
    assert max(checkpoints.kept_epochs(tmp_path)) == len(log.table) == 5
    state = checkpoints.read_state(tmp_path)
    assert state["epoch"] == 4
    weights = [*state["weights"].values(), *checkpoints.read_weights(tmp_path, 4).values()]
    assert all(torch.isfinite(value).all() for value in weights)


def test_weights_that_break_after_an_epoch_without_a_record_are_not_kept(tmp_path):
    """The last step of epoch 4 makes them NaN while its loss is still finite; only every third epoch is recorded."""

    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.batches = nn.Linear(64, 2), 0

        def forward(self, images):
            self.batches += self.training
            logits = self.head(images.flatten(1))
            if self.training and self.batches == 20:
                logits.register_hook(lambda gradient: gradient * float("nan"))
            return logits

    log = fit(Breaks(), digits(), short(eval_every=3), folder=tmp_path)
    assert log.status == "the loss is not finite after epoch 4; lower `lr` (now 0.02)"
    assert checkpoints.read_state(tmp_path)["epoch"] == 2 and max(checkpoints.kept_epochs(tmp_path)) == 3
    for epoch in checkpoints.kept_epochs(tmp_path):
        assert all(torch.isfinite(value).all() for value in checkpoints.read_weights(tmp_path, epoch).values())


COMMAND = "train --classes 3 8 --per-class 20 --model mlp --epochs 30 --checkpoint-every 2 --device cpu --out".split()


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_bytes(tmp_path):
    """Killed at no particular moment; `test_kills.py` kills at every particular one."""
    assert main([*COMMAND, str(tmp_path / "whole")]) == 0
    process = get_context("fork").Process(target=main, args=([*COMMAND, str(tmp_path / "cut")],))
    process.start()
    state = tmp_path / "cut/checkpoints/state.pt"
    while process.is_alive() and not state.exists():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "cut/summary.json").exists(), "the run ended before it was killed: make it longer"
    assert checkpoints.read_state(tmp_path / "cut")["epoch"] >= 1
    assert main([*COMMAND, str(tmp_path / "cut")]) == 0
    for name in ("samples.npz", "summary.json", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")
    assert not state.exists() and not list(tmp_path.rglob("*.tmp"))


def test_a_file_that_cannot_grow_gives_one_sentence(tmp_path, capsys):
    """A real limit on the size of files stands for the full disk: the kernel refuses the write half-way."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most[1]))  # below the size of the weights
    try:
        code = main([*COMMAND, str(tmp_path / "a")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    said = capsys.readouterr().err
    assert code == 2 and "could not be written (File too large)" in said and said.count("\n") == 1
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("*.pt"))
