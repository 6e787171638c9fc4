"""An experiment on real data: one config in, one run directory out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from labelnoise.data import load_data
from labelnoise.errors import InputError, check_integer, did_you_mean
from labelnoise.models import MODELS, build_model
from labelnoise.noise import parse_noise
from labelnoise.runs import Progress, RunFolder
from labelnoise.stages import SELECTION, HeldOut, oracle_stop
from labelnoise.train import TrainConfig, TrainLog, fit


@dataclass(frozen=True)
class TrainRun:
    """Train a network on real data with flipped labels and follow every sample."""

    command: ClassVar[str] = "train"

    data: str = "digits"
    """Data set by name, or the path of an .npz file."""
    classes: tuple[int, ...] = ()
    """Original class ids to use, in order; none for all."""
    noise: str = "symmetric:0.2"
    """Label noise of the training set, kind:values[:exact]: none, symmetric:RATE, symmetric-including-true:RATE,
    class-conditional:TAU_PLUS,TAU_MINUS, pair:RATE, matrix:FILE or file:FILE."""
    model: str = "small-cnn"
    """Network: small-cnn."""
    root: str = "data"
    """Folder in which data files are looked for."""
    threads: int = 1
    """CPU threads; the last digits of a result depend on their number."""
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_integer("threads", self.threads, 1, 1)
        if self.model not in MODELS:
            raise InputError(f"`model` must name a network, got {self.model!r}{did_you_mean(self.model, MODELS)}")
        parse_noise(self.noise)

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Load the data, train, and write history.csv, samples.npz and summary.json (which holds no time)."""
        seed = self.training.seed
        data = load_data(
            self.data,
            root=self.root,
            classes=self.classes or None,
            label_noise=parse_noise(self.noise),
            seed=seed,
        )
        with _threads(self.threads):
            model = build_model(self.model, n_classes=data.n_classes, in_channels=data.in_channels, seed=seed)
            log = fit(model, data, self.training, progress=progress)
        summary = {
            "status": log.status,
            "classes": data.classes,
            "sizes": {
                "train": len(data.y_given),
                "held_out": int(log.held_out.sum()),
                "test": len(data.y_test),
                "image": list(data.x_train.shape[1:]),
            },
            "noise": {
                "count": data.noisy.sum(),
                "rate": data.noise.rate,
                "rate_by_class": data.noise.rate_by_class,
                "text": str(data.noise),
            },
            "stops": _stops(log, seed),
        }
        folder.begin()
        folder.write_history(log.to_frame())
        folder.write_samples(
            margin=log.recorder.margin,
            y_true=data.y_true,
            y_given=data.y_given,
            held_out=log.held_out,
            index=data.index,
        )
        folder.finish(summary)


def _stops(log: TrainLog, seed: int) -> list[dict[str, Any]]:
    """Where each rule would end the run (in epochs), and what the network is worth there."""
    table = log.to_frame()
    names = ("test_accuracy", "train_accuracy_clean", "train_accuracy_noisy", *SELECTION)
    if table.empty:
        return []

    def row(rule: str, record: int | None, reason: str, **more: Any) -> dict:
        found = {name: np.nan if record is None else float(table[name][record]) for name in names}
        gain = {"gain_test_accuracy": found["test_accuracy"] - float(table["test_accuracy"].iloc[-1])}
        epoch = None if record is None else int(table["epoch"][record])
        return {"rule": rule, "seed": seed, "at": epoch, "reason": reason, **more, **found, **gain}

    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    rows = [row("oracle", t1, "the truth known" if t1 is not None else "there are no noisy samples")]
    if log.held_out.any():
        stop = HeldOut(int(log.held_out.sum()), log.config.patience)(table["held_out_accuracy"].to_numpy())
        ended = None if stop.stopped is None else int(table["epoch"][stop.stopped])
        rows.append(row("held_out", stop.chosen, stop.reason, ended=ended, falls=stop.falls))
    rows.append(row("last", len(table) - 1, "the last epoch"))
    return rows


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
