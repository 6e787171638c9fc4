"""How to train, and which samples to explain; torch is not needed to say so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from labelnoise.arrays import stream
from labelnoise.errors import InputError, check_integer, check_positive, is_number
from labelnoise.runs.setting_types import check_types

SCHEDULES: dict[str, Callable[[TrainConfig, int], float]] = {
    "constant": lambda config, epoch: 1.0,
    "step": lambda config, epoch: config.lr_factor ** ((epoch - 1) // config.lr_steps[0]),
    "multi-step": lambda config, epoch: config.lr_factor ** sum(step < epoch for step in config.lr_steps),
    "cosine": lambda config, epoch: (
        (1 + math.cos(math.pi * (epoch - 1 - config.warmup) / max(config.epochs - config.warmup, 1))) / 2
    ),
}
"""Each schedule by name: the share of the learning rate at an epoch, counted from 1."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train."""

    epochs: int = 120
    """Passes over the training images."""
    lr: float = 0.02
    """Learning rate, before the schedule."""
    momentum: float = 0.9
    """Momentum of SGD; the first beta of Adam and AdamW."""
    weight_decay: float = 0.0
    """Weight decay: added to the gradient as L2 (sgd, adam), or decoupled from it (adamw)."""
    batch_size: int = 32
    """Images a batch; a last batch of one image joins the one before it, because batch norm needs two."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """Optimiser: sgd, adam or adamw."""
    schedule: Literal["constant", "step", "multi-step", "cosine"] = "constant"
    """Learning rate over epochs: constant, step (times lr-factor every lr-steps epochs), multi-step (times lr-factor
    after each of the epochs lr-steps) or cosine (to 0 at the end)."""
    lr_steps: tuple[int, ...] = ()
    """One number of epochs for step, the epochs of the drops for multi-step."""
    lr_factor: float = 0.1
    """What a step multiplies the learning rate by."""
    warmup: int = 0
    """Epochs over which the learning rate rises in equal steps to its full value."""
    augment: bool = False
    """Shift each training image by up to 4 pixels and mirror it with probability 1/2, anew in each epoch."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """Numbers the network computes in; weights stay float32. auto: bf16 where the device has it, else float32."""
    held_out: float = 0.1
    """Share of the training images, given labels and all, that is kept out of the training to judge it."""
    patience: int = 20
    """Records without a best after which a held-out rule ends a run; without --stop, `train` only says so."""
    eval_every: int = 1
    """Epochs between records (eval passes over all training and test images); the last epoch is always recorded."""
    checkpoint_every: int = 10
    """Epochs between checkpoints, from which an interrupted run goes on; their weights are kept, as are those of each
    stopping point and of the last epoch."""
    seed: int = 0
    """Seed of every random draw: split, flips, weights, batches, held-out images."""
    device: str = "auto"
    """torch device; auto takes a GPU if there is one, else the CPU."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "eval_every", "checkpoint_every"):
            check_integer(name, getattr(self, name), 1, getattr(TrainConfig, name))
        check_integer("warmup", self.warmup, 0, 5)
        for name, limit, example in (
            ("momentum", 1, "use for example 0.9"),
            ("held_out", 1, "for 10% write 0.1"),
            ("weight_decay", math.inf, "use for example 0.0005"),
        ):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < limit:
                raise InputError(f"`{name}` must lie in [0, {limit}), got {value!r}; {example}")
        for name in ("lr", "lr_factor"):
            check_positive(name, getattr(self, name), getattr(TrainConfig, name))
        steps = self.lr_steps if isinstance(self.lr_steps, tuple | list) else (self.lr_steps,)
        for step in steps:
            check_integer("lr_steps", step, 1, 30)
        if steps is not self.lr_steps:
            raise InputError(f"`lr_steps` must be a list of epochs, got {self.lr_steps!r}; write ({self.lr_steps},)")
        object.__setattr__(self, "lr_steps", tuple(steps))
        check_types(self)
        self._check_schedule()
        stream(self.seed, "init")  # refuses a seed that is none

    def _check_schedule(self) -> None:
        if self.warmup >= self.epochs:
            raise InputError(
                f"`warmup` must be below the number of epochs ({self.epochs}), got {self.warmup}; lower it"
            )
        needed = {"step": "one number of epochs", "multi-step": "the epochs of the drops, ascending"}.get(self.schedule)
        if not needed:
            if self.lr_steps:
                raise InputError(
                    f"`lr_steps` belongs to the schedules step and multi-step, got {self.lr_steps} with "
                    f"{self.schedule!r}; leave it out"
                )
            return
        ascending = all(a < b for a, b in zip((0, *self.lr_steps), self.lr_steps, strict=False))
        if not self.lr_steps or not ascending or (self.schedule == "step" and len(self.lr_steps) > 1):
            raise InputError(
                f"`lr_steps` must hold {needed} for the schedule {self.schedule!r}, got {self.lr_steps}; for example "
                + ("(20,)" if self.schedule == "step" else "(30, 60)")
            )


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1.

    lr * s(epoch) with s of `SCHEDULES`; during warm-up lr * epoch / warmup. The drops of step and multi-step count
    epochs from the start of the run, the cosine begins after the warm-up.
    """
    if epoch <= config.warmup:
        return config.lr * epoch / config.warmup
    return config.lr * SCHEDULES[config.schedule](config, epoch)


Average = int | Literal["onward", "all"]
"""Whose weights are averaged: so many records around the chosen one, some from before it onward, or all up to it."""


def check_average(average: Any) -> None:
    """Refuse what is neither a word of `Average` nor an odd number of records, as many before as after the chosen."""
    if isinstance(average, str) and average in ("onward", "all"):
        return
    if isinstance(average, str):
        raise InputError(
            f"`average` must be an odd number of records, onward or all, got {average!r}; use onward, or 1 for none"
        )
    check_integer("average", average, 1, 5)
    if average % 2 == 0:
        raise InputError(f"`average` must be odd, as many records before as after, got {average}; use 5, or 1 for none")


@dataclass(frozen=True)
class ExplainConfig:
    """Which samples to explain, and how."""

    clean: int = 20
    """Clean samples explained, evenly from all classes; fewer if the run has fewer."""
    noisy: int = 20
    """Noisy samples explained; fewer if the run has fewer."""
    background: int = 100
    """Clean training images whose mean logit an attribution starts from; fewer if the run has fewer."""
    reference: int = 10
    """Clean samples of a class whose mean attribution stands for the class; explained ones count."""
    method: Literal["deep", "expected-gradients"] = "deep"
    """How: deep (shap's DeepExplainer) or expected-gradients (gradients between image and background, no shap)."""
    nsamples: int = 200
    """Gradients an image for expected-gradients; more of them make its gap smaller."""
    seed: int = 0
    """Seed of the draw of samples, background and gradients."""
    device: str = "auto"
    """torch device; auto takes a GPU if there is one, else the CPU."""
    threads: int = 1
    """CPU threads; the last digits of a result depend on their number."""

    def __post_init__(self) -> None:
        for name in ("clean", "noisy", "background", "nsamples", "threads"):
            check_integer(name, getattr(self, name), 1, getattr(ExplainConfig, name))
        check_integer("reference", self.reference, 2, ExplainConfig.reference)  # a sample leaves itself out
        check_types(self)
        stream(self.seed, "explain")  # refuses a seed that is none
