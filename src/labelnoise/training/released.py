"""The `train.csv` of the paper's released code, as a section of a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from labelnoise.errors import InputError
from labelnoise.record.stages import oracle_stop
from labelnoise.runs.files import shown_name
from labelnoise.runs.pages import Panel, Section

RELEASED = {
    "epoch": "epoch",
    "train_loss": "train_loss",
    "train_acc": "train_accuracy",
    "train_acc_clean": "train_accuracy_clean",
    "train_acc_flip": "train_accuracy_noisy",
    "test_loss": "test_loss",
    "test_acc": "test_accuracy",
}
"""Columns of a train.csv of the paper's released code, and ours."""


def read_released(path: Path) -> Panel:
    """Read a train.csv of the paper's released code; accuracies above 1 are percent.

    Raises:
        InputError: no table, a column that is missing or holds text, or an accuracy out of range.
    """
    try:
        raw = pd.read_csv(path, index_col=False)  # else a separator at the end of each line moves every column
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no table ({error}); give a train.csv of the released code, or a run") from None
    absent = [name for name in RELEASED if name not in raw]
    if absent or raw.empty:
        what = f"has no column {', '.join(absent)}" if absent else "holds no epoch"
        raise InputError(f"{path} {what}; give a train.csv of the released code, or the folder of a run")
    raw = raw[list(RELEASED)]
    table = raw.apply(pd.to_numeric, errors="coerce").astype(float)
    wrong = table.isna() & raw.notna()
    wrong["epoch"] |= ~np.isfinite(table["epoch"])
    if wrong.any(axis=None):
        name = wrong.any().idxmax()
        row = int(wrong[name].to_numpy().argmax())
        raise InputError(
            f"`{name}` in {path} must hold numbers, got {str(raw[name][row])!r} in row {row + 1}; mend the file"
        )
    table = table.rename(columns=RELEASED)
    accuracies = [name for name in table if "accuracy" in name]
    if table[accuracies].max(axis=None) > 1:
        table[accuracies] /= 100
    for name, ours in RELEASED.items():
        if ours in accuracies and not table[ours].dropna().between(0, 1).all():
            raise InputError(f"`{name}` in {path} must lie between 0 and 1, or 0 and 100 in percent; mend the file")
    unmeasured = ("held_out_accuracy", "selection_precision", "selection_recall")
    return Panel(shown_name(path), table.assign(seed=0, **dict.fromkeys(unmeasured, np.nan)), _released_stops(table))


def _released_stops(table: pd.DataFrame) -> pd.DataFrame:
    """T1 and the last epoch."""
    t1 = oracle_stop(table["train_accuracy_clean"].to_numpy(), table["train_accuracy_noisy"].to_numpy())
    rows = table.rename(columns={"epoch": "at"})
    rows["gain_test_accuracy"] = rows["test_accuracy"] - rows["test_accuracy"].iloc[-1]
    reason = "there are no noisy samples" if t1 is None else "the truth known"
    rows = rows.reindex([-1 if t1 is None else t1, len(table) - 1])  # no row -1: NaN
    return rows.assign(rule=["oracle", "last"], seed=0, reason=[reason, "the last epoch"])


def read_released_section(path: Path) -> Section:
    """Return the section of a page that shows a train.csv of the paper's released code."""
    from labelnoise.training.page import CURVES_LOOK, PAGE

    text = (
        f"Curves of {shown_name(path)}, written by the paper's released code. Its accuracy on noisy samples is taken "
        "in the training batches, while the weights move; labelnoise takes it after the epoch, in eval mode. "
        f"{CURVES_LOOK}"
    )
    title = f"{shown_name(path.parent)}/{shown_name(path)}"
    return Section("", title, text, PAGE, (read_released(path),))
