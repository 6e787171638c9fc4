"""Trainings as files: margin, loss and prediction of each sample and epoch, and what the test set says of each epoch.

A record is one npz file; one that is there is not trained again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from learners import LEARNERS, Averaged, Learner, Outputs, Trained
from sources import Source, load_source

from labelnoise.arrays import stream
from labelnoise.audit.recorded import end_of_stage_one
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import ClassConditional, Matrix
from labelnoise.noise.words import parse_noise
from labelnoise.record.means import bounded_loss

FOLDS = 5


@dataclass(frozen=True)
class Setting:
    """One training of the harness."""

    data: str
    learner: str
    noise: str
    """In the words of the command line; class-conditional:RATE means rates that differ between the classes."""
    schedule: str
    seed: int
    """Of data, noise, weights and batches."""
    member: int = 0
    """Trainings of the same labels, with other weights, batches and held-out samples."""

    @property
    def training_seed(self) -> int:
        """Seed of weights, batches and held-out samples."""
        return self.seed + 1_000 * self.member

    @property
    def name(self) -> str:
        """Its file name without the ending."""
        parts = [self.data, self.learner, self.noise.replace(":", "-"), self.schedule, f"seed{self.seed}"]
        return "_".join(parts + ([f"member{self.member}"] if self.member else []))

    @classmethod
    def from_name(cls, name: str) -> Setting:
        """Read `name` back."""
        data, learner, noise, schedule, seed, *member = name.split("_")
        kind, _, rate = noise.rpartition("-")
        words = f"{kind}:{rate}" if kind else noise
        return cls(data, learner, words, schedule, int(seed[4:]), int(member[0][6:]) if member else 0)


@dataclass(frozen=True, eq=False)
class Record:
    """What is known of a training, read back."""

    setting: Setting
    margin: np.ndarray
    """(T, n) float32, as loss and prediction; in eval mode, held-out samples included."""
    loss: np.ndarray
    prediction: np.ndarray
    given: np.ndarray
    true: np.ndarray
    held_out: np.ndarray
    test_accuracy: np.ndarray
    """(T,) against true labels."""
    test_accuracy_averaged: np.ndarray
    """(T,) of the average of the weights of the five epochs around each one; NaN without weights."""
    seconds: float
    """CPU seconds of the training; where `watching` is NaN, by the clock and with the tests of each epoch."""
    watching: float = np.nan
    """CPU seconds of the tests of each epoch, which no audit needs; NaN in records of older versions."""

    @property
    def noisy(self) -> np.ndarray:
        """Mask (n,) of the wrong labels."""
        return self.given != self.true

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(max(self.true.max(), self.given.max())) + 1


def record_of(setting: Setting, root: Path, out: Path) -> Record:
    """Train one setting, or read what an earlier call left."""
    path = out / f"{setting.name}.npz"
    return Record(setting, **_kept(path, lambda: _train(setting, root)))


def folds_of(setting: Setting, root: Path, out: Path) -> dict[str, np.ndarray]:
    """Probabilities (n, K) of the same model trained without the sample: at the end, at the stop, around the stop."""
    return _kept(out / f"{setting.name}.folds.npz", lambda: _train_folds(setting, root))


def labels_of(setting: Setting, source: Source) -> np.ndarray:
    """Given labels (n,) of a setting."""
    kind, _, rest = setting.noise.partition(":")
    noise = _uneven(float(rest), source.n_classes) if kind == "class-conditional" else parse_noise(setting.noise)
    return flip_labels(source.y, noise, source.n_classes, setting.seed, source.features).y_given


def _uneven(rate: float, n_classes: int) -> ClassConditional | Matrix:
    """Rates from rate/4 for the first class to 7/4 rate for the last; two thirds of a class's flips go to the next."""
    rates = rate * np.linspace(0.25, 1.75, n_classes)
    if n_classes == 2:
        return ClassConditional(*map(float, rates))
    eye = np.eye(n_classes)
    others = (1 - eye) / (n_classes - 1) / 3 + np.roll(eye, 1, axis=1) * 2 / 3
    return Matrix((1 - rates)[:, None] * eye + rates[:, None] * others)


def stage_one(loss: np.ndarray, prediction: np.ndarray, held_out: np.ndarray) -> int:
    """The epoch (from 0) at which Stage I ends: the least mean over three of the held-out loss of given labels."""
    return end_of_stage_one(bounded_loss(loss[:, held_out], prediction[:, held_out]))[0] - 1


def _train(setting: Setting, root: Path) -> dict[str, np.ndarray]:
    source = load_source(setting.data, root, setting.seed)
    given = labels_of(setting, source)
    single: list[float] = []
    averaged: dict[int, float] = {}

    def watch(outputs: Outputs, averages: Averaged) -> None:
        single.append(float((outputs(source.x_test).argmax(1) == source.y_test).mean()))
        if setting.member:
            return  # whose stops nobody looks at
        averaged.update({at: float((out.argmax(1) == source.y_test).mean()) for at, out in averages(source.x_test)})

    trained = LEARNERS[setting.learner].train(source, given, setting.schedule, setting.training_seed, watch)
    return _arrays(trained) | {
        "given": given,
        "true": source.y,
        "test_accuracy": np.array(single),
        "test_accuracy_averaged": np.array([averaged.get(e, np.nan) for e in range(len(single))]),
    }


def _arrays(trained: Trained) -> dict[str, np.ndarray]:
    return {
        "margin": trained.margin.astype(np.float32),
        "loss": trained.loss.astype(np.float32),
        "prediction": trained.prediction.astype(np.int16),
        "held_out": trained.held_out,
        "seconds": np.array(trained.seconds),
        "watching": np.array(trained.watching),
    }


def _train_folds(setting: Setting, root: Path) -> dict[str, np.ndarray]:
    source = load_source(setting.data, root, setting.seed)
    given, learner = labels_of(setting, source), LEARNERS[setting.learner]
    fold = stream(setting.seed, "split").permutation(len(given)) % FOLDS
    shape = (len(given), source.n_classes)
    probabilities = {name: np.zeros(shape, np.float32) for name in ("end", "stop", "around")}
    spent = np.zeros(2)
    for k in range(FOLDS):
        part = replace(source, x=source.x[fold != k], y=source.y[fold != k])
        outputs, trained = _fold(learner, part, given[fold != k], source.x[fold == k], setting)
        stop = stage_one(trained.loss, trained.prediction, trained.held_out)
        spent += trained.seconds, trained.watching
        probabilities["end"][fold == k] = outputs[-1]
        probabilities["stop"][fold == k] = outputs[stop]
        probabilities["around"][fold == k] = np.mean(outputs[max(stop - 2, 0) : stop + 3], axis=0)
    return probabilities | {"seconds": spent[0], "watching": spent[1]}


def _fold(
    learner: Learner, part: Source, given: np.ndarray, left_out: Any, setting: Setting
) -> tuple[list[np.ndarray], Trained]:
    """Train on a part; probabilities of the samples left out after each epoch."""
    outputs: list[np.ndarray] = []

    def watch(current: Outputs, averages: Averaged) -> None:
        logits = current(left_out).astype(float)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        outputs.append((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))

    trained = learner.train(part, given, setting.schedule, setting.training_seed, watch)
    return outputs, trained


def _kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of a file, made and written whole if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **make())
        os.replace(part, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
