"""How to train: schedules against torch's own, precision by capability, refusals."""

import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.devices import find_device
from labelnoise.errors import InputError
from labelnoise.training.config import TrainConfig, learning_rate
from labelnoise.training.optimizers import BUILDERS

SCHEDULED = {
    "constant": ({}, lambda opt: torch.optim.lr_scheduler.ConstantLR(opt, factor=1.0)),
    "step": ({"lr_steps": (3,)}, lambda opt: torch.optim.lr_scheduler.StepLR(opt, 3, gamma=0.2)),
    "multi-step": ({"lr_steps": (2, 7)}, lambda opt: torch.optim.lr_scheduler.MultiStepLR(opt, [2, 7], gamma=0.2)),
    "cosine": ({}, lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, 11)),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_schedules_agree_with_torch(name):
    settings, build = SCHEDULED[name]
    config = TrainConfig(epochs=11, lr=0.3, schedule=name, lr_factor=0.2, **settings)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, expected = build(optimizer), []
    for _ in range(11):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert_close([learning_rate(config, epoch) for epoch in range(1, 12)], expected)


def test_warm_up_rises_to_the_schedule():
    rates = [learning_rate(TrainConfig(epochs=9, lr=0.8, warmup=4), epoch) for epoch in range(1, 10)]
    assert_close(rates, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8])
    cosine = TrainConfig(epochs=14, lr=0.8, warmup=4, schedule="cosine")
    plain = TrainConfig(epochs=10, lr=0.8, schedule="cosine")
    late = [learning_rate(cosine, epoch) for epoch in range(5, 15)]
    assert_close(late, [learning_rate(plain, epoch) for epoch in range(1, 11)])
    drops = TrainConfig(epochs=9, lr=0.8, warmup=4, schedule="multi-step", lr_steps=(6,))
    assert_close([learning_rate(drops, epoch) for epoch in (6, 7)], [0.8, 0.08])


@pytest.mark.parametrize(("name", "kind", "decay"), [
    ("sgd", torch.optim.SGD, 0.01), ("adam", torch.optim.Adam, 0.02), ("adamw", torch.optim.AdamW, 0.03),
])  # fmt: skip
def test_optimisers_get_their_settings(name, kind, decay):
    config = TrainConfig(optimizer=name, lr=0.07, momentum=0.6, weight_decay=decay)
    made = BUILDERS[name](iter([nn.Parameter(torch.zeros(2))]), config)
    group = made.param_groups[0]
    assert type(made) is kind and (group["lr"], group["weight_decay"]) == (0.07, decay)
    assert group.get("momentum", group.get("betas", [None])[0]) == 0.6


def test_auto_device_is_there():
    assert find_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "`batch_size` must be an integer"),
        ({"eval_every": 0}, "`eval_every` must be an integer >= 1, got 0"),
        ({"checkpoint_every": -1}, "`checkpoint_every` must be an integer >= 1, got -1"),
        ({"warmup": -1}, "`warmup` must be an integer >= 0, got -1"),
        ({"lr": 0.0}, "`lr` must be a finite number > 0"),
        ({"lr": float("nan")}, "`lr` must be a finite number > 0"),
        ({"lr_factor": "x"}, "`lr_factor` must be a finite number > 0, got 'x'"),
        ({"momentum": 1.0}, r"`momentum` must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, r"`weight_decay` must lie in \[0, inf\), got -0.1"),
        ({"held_out": 1.0}, "`held_out` must lie in"),
        ({"held_out": -0.1}, "`held_out` must lie in"),
        ({"optimizer": "sdg"}, "`optimizer` must be one of sgd, adam, adamw, got 'sdg'; did you mean 'sgd'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"precision": "fp16"}, "`precision` must be one of float32, bf16, auto, got 'fp16'"),
        ({"schedule": "step"}, r"`lr_steps` must hold one number of epochs for the schedule 'step', got \(\)"),
        ({"schedule": "step", "lr_steps": (3, 5)}, r"must hold one number of epochs .* got \(3, 5\)"),
        ({"schedule": "multi-step"}, "must hold the epochs of the drops, ascending"),
        ({"schedule": "multi-step", "lr_steps": (5, 3)}, r"ascending for .* got \(5, 3\)"),
        ({"schedule": "multi-step", "lr_steps": (0, 3)}, "`lr_steps` must be an integer >= 1, got 0"),
        ({"schedule": "step", "lr_steps": 20}, r"`lr_steps` must be a list of epochs, got 20; write \(20,\)"),
        ({"schedule": "step", "lr_steps": (0.5,)}, "`lr_steps` must be an integer >= 1, got 0.5"),
        ({"epochs": 3, "warmup": 3}, r"`warmup` must be below the number of epochs \(3\), got 3"),
        ({"lr_steps": (3,)}, r"belongs to the schedules step and multi-step, got \(3,\) with 'constant'"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize("device", ["gpu7", "cuda:99", "meta", "hpu"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=f"`device` must be .* got '{device}'"):
        find_device(device)
