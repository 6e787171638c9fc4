"""Train a network on noisy labels, record every sample after each epoch, and say where to stop.

One loop, float32, on a CPU or a GPU. After each epoch the network reads all training images in eval mode, so that
clean, noisy and held-out samples are measured with the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labelnoise.arrays import stream, torch_stream
from labelnoise.data import Data, DeviceData
from labelnoise.errors import InputError, did_you_mean
from labelnoise.record import EpochRecord, Recorder
from labelnoise.stages import HeldOut, select_by_margin

COLUMNS = (
    "epoch", "seconds", "train_loss", "train_accuracy", "train_accuracy_clean", "train_accuracy_noisy", "test_loss",
    "test_accuracy", "held_out_accuracy", "selection_precision", "selection_recall", "selection_f1",
)  # fmt: skip
"""Columns of a training history."""

EVAL_BATCH = 512
"""Images a batch of the eval pass: large enough for a GPU, small enough for a CPU's caches."""

OPTIMIZERS: dict[str, Callable[[Iterator[nn.Parameter], TrainConfig], torch.optim.Optimizer]] = {
    # fused: one call for all weights, which a small network on a CPU feels
    "sgd": lambda weights, config: torch.optim.SGD(weights, config.lr, momentum=config.momentum, fused=True),
    "adam": lambda weights, config: torch.optim.Adam(weights, config.lr, (config.momentum, 0.999), fused=True),
}
"""Each optimiser by name."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train."""

    epochs: int = 120
    """Passes over the training images."""
    lr: float = 0.02
    """Learning rate, constant."""
    momentum: float = 0.9
    """Momentum of SGD; the first beta of Adam."""
    batch_size: int = 32
    """Images a batch."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Optimiser: sgd or adam."""
    held_out: float = 0.1
    """Share of the training images, given labels and all, that is kept out of the training to judge it."""
    patience: int = 20
    """Epochs without a best held-out accuracy after which the held-out rule ends a run."""
    seed: int = 0
    """Seed of every random draw: split, flips, weights, batches, held-out images."""
    device: str = "auto"
    """torch device; auto takes a GPU if there is one, else the CPU."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"`{name}` must be an integer >= 1, got {value!r}; leave it out for the default")
        if not 0 < self.lr < np.inf:
            raise InputError(f"`lr` must be a positive number, got {self.lr!r}; use for example 0.02")
        if not 0 <= self.momentum < 1:
            raise InputError(f"`momentum` must lie in [0, 1), got {self.momentum!r}; use for example 0.9")
        if not 0 <= self.held_out < 1:
            raise InputError(f"`held_out` must lie in [0, 1), got {self.held_out!r}; for 10 % write 0.1")
        if self.optimizer not in OPTIMIZERS:
            near = did_you_mean(str(self.optimizer), OPTIMIZERS)
            raise InputError(f"`optimizer` must be sgd or adam, got {self.optimizer!r}{near}")
        stream(self.seed, "init")  # refuses a seed that is none


@dataclass(frozen=True, eq=False)
class TrainLog:
    """What a training run recorded."""

    config: TrainConfig
    y_true: np.ndarray
    """(n,) true labels of the training images."""
    y_given: np.ndarray
    """(n,) labels they were trained on."""
    held_out: np.ndarray
    """Boolean mask (n,) of the images kept out of the training."""
    recorder: Recorder
    """Margin, loss and prediction (epochs, n) of all training images, held-out ones included, in eval mode."""
    table: pd.DataFrame
    status: str
    """`ok`, or why the run ended early and what to do."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row an epoch, with the columns `COLUMNS`.

        The train_ columns and the selection leave the held-out images out. Accuracy and loss on training and held-out
        images are against the given label (so accuracy on noisy ones counts memorised labels), on test images against
        the true label. Selection: how well margin < 0 finds the noisy images. NaN where no image is noisy or held
        out.
        """
        return self.table.copy()


def fit(
    model: nn.Module,
    data: Data,
    config: TrainConfig | None = None,
    *,
    stop: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> TrainLog:
    """Train `model` on the given labels of `data` and record every training image after each epoch.

    Batches and held-out images come from streams of `config.seed` that nothing else moves: label noise changes
    neither. The model is trained in place and left in eval mode with its last weights. A loss that is not finite ends
    the run; what was recorded before is returned, and the log's `status` says so.

    Args:
        model: a network from normalised images (b, C, H, W) to logits (b, K).
        data: what `load_data` returns.
        config: how to train; None takes the defaults.
        stop: end the run when the held-out accuracy has found no new best for a while (`stages.HeldOut`).
        progress: called after each epoch with the number of epochs done and of all.

    Raises:
        InputError: a device that is not there, outputs of the wrong shape, no held-out images to stop by.
    """
    config = config or TrainConfig()
    held_out = _draw_held_out(len(data.y_given), config)
    if stop and not held_out.any():
        raise InputError(f"`stop` needs held-out images, got none with held_out={config.held_out}; use for example 0.1")
    device = _find_device(config.device)
    recorder, everyone = Recorder(len(data.y_given), data.n_classes), np.arange(len(data.y_given))
    trained, batches = np.flatnonzero(~held_out), stream(config.seed, "batches")
    rule = HeldOut(max(int(held_out.sum()), 1), config.patience)
    rows: list[dict[str, float]] = []
    status, start = "ok", time.perf_counter()
    with torch_stream(config.seed, "batches"), _repeatable():
        images = data.on(device)
        model = model.to(device)
        _check_outputs(model, images, data.n_classes)
        optimizer = OPTIMIZERS[config.optimizer](model.parameters(), config)
        for epoch in range(1, config.epochs + 1):
            bad = _train_epoch(model, images, optimizer, batches.permutation(trained), config.batch_size)
            logits, test_logits = (_outputs(model, images, x) for x in (images.x_train, images.x_test))
            if bad is not None or not torch.isfinite(logits).all():
                status = _diverged(epoch, bad, config)
                break
            recorder.update(everyone, logits, images.y_given)
            row = _row(recorder.end_epoch(), test_logits, images, data, held_out)
            rows.append({"epoch": epoch, "seconds": time.perf_counter() - start} | row)
            if progress:
                progress(epoch, config.epochs)
            if stop and rule(np.array([row["held_out_accuracy"] for row in rows])).stopped is not None:
                break
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({name: float for name in COLUMNS[1:]} | {"epoch": int})
    return TrainLog(config, data.y_true, data.y_given, held_out, recorder, table, status)


def _draw_held_out(n: int, config: TrainConfig) -> np.ndarray:
    """Mask (n,) of the held-out images: none for a share of 0, otherwise at least one, and never all."""
    count = min(max(round(config.held_out * n), 1), n - 1) if config.held_out else 0
    held_out = np.zeros(n, dtype=bool)
    held_out[stream(config.seed, "held_out").permutation(n)[:count]] = True
    return held_out


def _find_device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):  # torch built without CUDA fails an assertion
        raise InputError(
            f"`device` must be a torch device of this machine, got {name!r}; use 'auto' or 'cpu'"
        ) from None
    return name


@contextmanager
def _repeatable() -> Iterator[None]:
    """Ask cuDNN for algorithms that give the same numbers twice."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def _check_outputs(model: nn.Module, images: DeviceData, n_classes: int) -> None:
    try:
        shape = tuple(_outputs(model, images, images.x_test[:2]).shape)
    except RuntimeError as error:
        size = tuple(images.x_test.shape[1:])
        raise InputError(
            f"`model` must take images {size}, but fails: {error}; build it with in_channels={size[0]}"
        ) from None
    if len(shape) != 2 or shape[1] != n_classes:
        raise InputError(
            f"`model` must return {n_classes} logits an image, got outputs of shape {shape} for {shape[0]} images; "
            f"build it with n_classes={n_classes}"
        )


def _train_epoch(
    model: nn.Module, images: DeviceData, optimizer: torch.optim.Optimizer, order: np.ndarray, batch_size: int
) -> int | None:
    """One pass in the order given; returns the number (from 1) of the first batch with a loss that is not finite."""
    model.train()
    batches = torch.as_tensor(order, device=images.y_given.device).split(batch_size)
    losses = torch.empty(len(batches), device=images.y_given.device)
    for position, batch in enumerate(batches):
        loss = cross_entropy(model(images.normalise(images.x_train[batch])), images.y_given[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[position] = loss.detach()  # looked at once an epoch: a look at each would stop a GPU each time
    bad = torch.nonzero(~torch.isfinite(losses))
    return int(bad[0]) + 1 if len(bad) else None


@torch.no_grad()
def _outputs(model: nn.Module, images: DeviceData, pixels: torch.Tensor) -> torch.Tensor:
    """Logits (n, K) in eval mode."""
    model.eval()
    return torch.cat([model(images.normalise(part)) for part in pixels.split(EVAL_BATCH)])


def _diverged(epoch: int, batch: int | None, config: TrainConfig) -> str:
    where = f"after epoch {epoch}" if batch is None else f"at epoch {epoch}, batch {batch}"
    return f"the loss is not finite {where}; lower `lr` (now {config.lr:g})"


def _row(
    record: EpochRecord, test_logits: torch.Tensor, images: DeviceData, data: Data, held_out: np.ndarray
) -> dict[str, float]:
    """The columns of one epoch but its number and time."""
    fitted, trained, noisy = record.prediction == data.y_given, ~held_out, data.noisy
    selection = select_by_margin(record.margin[trained], noisy[trained])
    return {
        "train_loss": _mean(record.loss, trained),
        "train_accuracy": _mean(fitted, trained),
        "train_accuracy_clean": _mean(fitted, trained & ~noisy),
        "train_accuracy_noisy": _mean(fitted, trained & noisy),
        "test_loss": float(cross_entropy(test_logits, images.y_test)),
        "test_accuracy": float((test_logits.argmax(1) == images.y_test).float().mean()),
        "held_out_accuracy": _mean(fitted, held_out),
        "selection_precision": float(selection.precision),
        "selection_recall": float(selection.recall),
        "selection_f1": float(selection.f1),
    }


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    """Mean over a mask, in float64; NaN over an empty one."""
    return float(values[where].mean(dtype=float)) if where.any() else float("nan")
