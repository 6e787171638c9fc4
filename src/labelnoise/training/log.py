"""What a training run recorded: a row and per-sample arrays a record, and the stopping points found in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labelnoise.images.data import Data
from labelnoise.record.history import EpochRecord
from labelnoise.record.recorder import Recorder
from labelnoise.record.selection import select_by_margin
from labelnoise.record.stop_rules import StopRule
from labelnoise.record.watching import watch_recorder
from labelnoise.training.config import TrainConfig
from labelnoise.training.stops import EpochStop, Stops, find_stops, in_epochs

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


COLUMNS = (
    "epoch", "lr", "seconds", "train_seconds", "eval_seconds",
    "train_loss", "train_accuracy", "train_accuracy_clean", "train_accuracy_noisy", "test_loss",
    "test_accuracy", "held_out_loss", "held_out_accuracy",
    "selection_precision", "selection_recall", "selection_f1",
)  # fmt: skip
"""Columns of a training history; `TrainLog.to_frame` says what they hold."""
TIMES = ("seconds", "train_seconds", "eval_seconds")
"""Those of them that differ between equal runs."""


@dataclass(frozen=True)
class EpochProgress:
    """Where a training run is after an epoch."""

    epoch: int
    """Epochs that are done."""
    epochs: int
    """Epochs of a run that is not stopped."""
    measures: Mapping[str, float]
    """The row of this epoch's record, by column; empty without a record."""
    stop: EpochStop | None = None
    """What the rule says so far that may stop the run; None without one, and before the first record."""


@dataclass(frozen=True, eq=False)
class TrainLog:
    """What a training run recorded."""

    config: TrainConfig
    y_true: Int[np.ndarray, " n"] = field(repr=False)
    """(n,) true labels of the training images."""
    y_given: Int[np.ndarray, " n"] = field(repr=False)
    """(n,) labels they were trained on."""
    held_out: Bool[np.ndarray, " n"] = field(repr=False)
    """Boolean mask (n,) of the images kept out of the training."""
    recorder: Recorder = field(repr=False)
    """Margin, loss and prediction (records, n) of all training images, held-out ones included, in eval mode."""
    batches: Recorder = field(repr=False)
    """The same (epochs, n) of each image in its training batch, in train mode while the weights move; NaN and -1 for
    held-out images."""
    table: pd.DataFrame = field(repr=False)
    status: str
    """`ok`, or why the run ended early and what to do."""
    precision: str
    """float32 or bf16, whichever the network computed in."""
    weights_epochs: tuple[int, ...] = ()
    """Epochs whose weights the network was left with, averaged: the last alone, or those around the one that the rule
    chose (`stop`); none for weights of no whole epoch, where the loss was not finite and no rule had chosen."""
    weights_epoch: int | None = None
    """The one of them that the rule chose; without a rule the last."""
    returned: Mapping[str, float] | None = field(default=None, repr=False)
    """What the network is worth that a stopped run leaves, by column of the table; None for a run of all epochs."""
    rule: StopRule | None = None
    """What the run was stopped by; None for a run of all epochs."""
    model: nn.Module | None = field(default=None, repr=False)
    """The network, in eval mode, with those weights."""

    @property
    def stops(self) -> Stops:
        """Where T1 is, and what the rules decided, in epochs."""
        epochs = self.table["epoch"].tolist()
        if not epochs:
            return Stops(None, None, None)
        fitted = self.recorder.margin[:, self.held_out] > 0
        t1, held_out = find_stops(self.table, int(self.held_out.sum()), self.config, fitted)
        rule = watch_recorder(self.rule, self.recorder, self.held_out).stop if self.rule else None
        return Stops(
            None if t1 is None else epochs[t1],
            None if held_out is None else in_epochs(held_out, epochs),
            None if rule is None else in_epochs(rule, epochs),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a record, with the columns `COLUMNS`.

        epoch; lr of that epoch; seconds since the start; train_seconds, eval_seconds of that epoch's two passes.
        The train_ columns and the selection leave the held-out images out. Accuracy and loss on training and held-out
        images are against the given label (so accuracy on noisy ones counts memorised labels), on test images against
        the true label. Selection: how well margin < 0 finds the noisy images. NaN where no image is noisy or held
        out, where there is no test image, and of clean and noisy images where the true labels are not known.
        """
        return self.table.copy()


def describe_epoch(
    record: EpochRecord, data: Data, held_out: np.ndarray, test_logits: torch.Tensor | None, y_test: torch.Tensor
) -> dict[str, float]:
    """Return the columns of one record but its number, learning rate and times.

    Without test images what is said of them is NaN; so is what needs true labels where they are not known.
    """
    fitted, trained, noisy = record.prediction == data.y_given, ~held_out, data.noisy
    selection = select_by_margin(record.margin[trained], noisy[trained])
    return {
        "train_loss": _mean(record.loss, trained),
        "train_accuracy": _mean(fitted, trained),
        "train_accuracy_clean": _mean(fitted, trained & data.clean),
        "train_accuracy_noisy": _mean(fitted, trained & noisy),
        "test_loss": np.nan if test_logits is None else float(cross_entropy(test_logits, y_test)),
        "test_accuracy": np.nan if test_logits is None else float((test_logits.argmax(1) == y_test).float().mean()),
        "held_out_loss": _mean(record.loss, held_out),
        "held_out_accuracy": _mean(fitted, held_out),
        "selection_precision": float(selection.precision),
        "selection_recall": float(selection.recall),
        "selection_f1": float(selection.f1),
    }


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    """Mean over a mask, in float64; NaN over an empty one."""
    return float(values[where].mean(dtype=float)) if where.any() else float("nan")
