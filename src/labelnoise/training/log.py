"""What a training run recorded: a row and per-sample arrays a record, and the stopping points found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from labelnoise.images.data import Data
from labelnoise.record.history import EpochRecord
from labelnoise.record.recorder import Recorder
from labelnoise.record.selection import select_by_margin
from labelnoise.record.stages import oracle_stop
from labelnoise.record.stopping import HeldOut, Stop
from labelnoise.training.config import TrainConfig

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


@dataclass(frozen=True, eq=False)
class TrainLog:
    """What a training run recorded."""

    config: TrainConfig
    y_true: Int[np.ndarray, " n"]
    """(n,) true labels of the training images."""
    y_given: Int[np.ndarray, " n"]
    """(n,) labels they were trained on."""
    held_out: Bool[np.ndarray, " n"]
    """Boolean mask (n,) of the images kept out of the training."""
    recorder: Recorder
    """Margin, loss and prediction (records, n) of all training images, held-out ones included, in eval mode."""
    batches: Recorder
    """The same (epochs, n) of each image in its training batch, in train mode while the weights move; NaN and -1 for
    held-out images."""
    table: pd.DataFrame
    status: str
    """`ok`, or why the run ended early and what to do."""
    precision: str
    """float32 or bf16, whichever the network computed in."""
    weights_epoch: int | None = None
    """Epoch whose weights the network was left with: the last, or the one that the held-out rule chose (`stop`); None
    for those of no whole epoch, where the loss was not finite and no rule had chosen."""

    @property
    def stops(self) -> tuple[int | None, Stop | None]:
        """Record of T1, and what the held-out rule decided; None where there is nothing to go by."""
        fitted = self.recorder.margin[:, self.held_out] > 0
        return find_stops(self.table, int(self.held_out.sum()), self.config, fitted)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a record, with the columns `COLUMNS`.

        epoch; lr of that epoch; seconds since the start; train_seconds, eval_seconds of that epoch's two passes.
        The train_ columns and the selection leave the held-out images out. Accuracy and loss on training and held-out
        images are against the given label (so accuracy on noisy ones counts memorised labels), on test images against
        the true label. Selection: how well margin < 0 finds the noisy images. NaN where no image is noisy or held
        out.
        """
        return self.table.copy()


def find_stops(
    table: pd.DataFrame, n_held_out: int, config: TrainConfig, fitted: np.ndarray | None = None
) -> tuple[int | None, Stop | None]:
    """Return the record of T1 (truth known), and what the held-out rule (given labels only) decided.

    Args:
        table: a training history.
        n_held_out: number of held-out images; with none, there is no such rule.
        config: its patience.
        fitted: (records, n_held_out) which of them are fitted; no stop depends on it.
    """
    if table.empty:
        return None, None
    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    if not n_held_out:
        return t1, None
    accuracy, loss = (table[f"held_out_{name}"].to_numpy() for name in ("accuracy", "loss"))
    return t1, HeldOut(n_held_out, config.patience)(accuracy, loss, fitted)


def describe_epoch(
    record: EpochRecord, data: Data, held_out: np.ndarray, test_logits: torch.Tensor, y_test: torch.Tensor
) -> dict[str, float]:
    """Return the columns of one record but its number, learning rate and times."""
    fitted, trained, noisy = record.prediction == data.y_given, ~held_out, data.noisy
    selection = select_by_margin(record.margin[trained], noisy[trained])
    return {
        "train_loss": _mean(record.loss, trained),
        "train_accuracy": _mean(fitted, trained),
        "train_accuracy_clean": _mean(fitted, trained & ~noisy),
        "train_accuracy_noisy": _mean(fitted, trained & noisy),
        "test_loss": float(cross_entropy(test_logits, y_test)),
        "test_accuracy": float((test_logits.argmax(1) == y_test).float().mean()),
        "held_out_loss": _mean(record.loss, held_out),
        "held_out_accuracy": _mean(fitted, held_out),
        "selection_precision": float(selection.precision),
        "selection_recall": float(selection.recall),
        "selection_f1": float(selection.f1),
    }


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    """Mean over a mask, in float64; NaN over an empty one."""
    return float(values[where].mean(dtype=float)) if where.any() else float("nan")
