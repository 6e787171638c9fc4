"""Train a network on noisy labels, record every sample, keep what a kill would lose, and say where to stop.

One loop, on a CPU or a GPU. After an epoch the network reads all training images in eval mode, so that clean, noisy
and held-out samples are measured with the same weights.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labelnoise.arrays import stream, torch_stream
from labelnoise.errors import InputError
from labelnoise.images.data import Data, DeviceData
from labelnoise.record.recorder import Recorder
from labelnoise.record.stopping import HeldOut
from labelnoise.runs.folders import Progress
from labelnoise.runs.settings import leaves, settings_of
from labelnoise.training import checkpoints
from labelnoise.training.config import OPTIMIZERS, TrainConfig, find_device, find_precision, learning_rate
from labelnoise.training.log import COLUMNS, TrainLog, describe_epoch, find_stops

EVAL_BATCH = 512
"""Images a batch of the eval pass: large enough for a GPU, small enough for a CPU's caches."""


def fit(
    model: nn.Module,
    data: Data,
    config: TrainConfig | None = None,
    *,
    stop: bool = False,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> TrainLog:
    """Train `model` on the given labels of `data` and record every training image.

    Batches, shifts and held-out images come from streams of `config.seed` that nothing else moves: label noise changes
    none of them. The model is trained in place and left in eval mode with its last weights. A loss that is not finite
    ends the run; what was recorded before is returned, and the log's `status` says so.

    With a `folder`, the same call goes on from the last checkpoint that it finds there, and comes to the numbers of a
    run that was never interrupted (to the bit on a CPU with one thread).

    Args:
        model: a network from normalised images (b, C, H, W) to logits (b, outputs), outputs >= K.
        data: what `load_data` returns.
        config: how to train; None takes the defaults.
        stop: end the run when the held-out accuracy has found no new best for a while (`stages.HeldOut`).
        folder: where `checkpoints/` is made; None keeps none.
        progress: called as progress(epoch, epochs, accuracies) after each epoch; without a record, no accuracies.

    Raises:
        InputError: a device that is not there, outputs of the wrong shape, no held-out images to stop by, a
            checkpoint of another run, or one that cannot be written.
    """
    config = config or TrainConfig()
    check_training(model, data, config, stop)
    with torch_stream(config.seed, "batches"), _repeatable():
        run = _Run(model, data, config)
        state = None if folder is None else checkpoints.read_state(Path(folder))
        if state:
            run.load(state, Path(folder or ""))
        status = "ok"
        while run.epoch < config.epochs and not (stop and run.stopped()):
            status = run.train_one_epoch()
            if status != "ok":
                break
            if folder is not None:
                run.keep(Path(folder), ended=run.epoch == config.epochs or (stop and run.stopped()))
            if progress:
                progress(run.epoch, config.epochs, run.told())
        if folder is not None:
            run.tidy(Path(folder))
    return TrainLog(
        config, data.y_true, data.y_given, run.held_out, run.recorder, run.batches, run.table(), status, run.precision
    )


def check_training(model: nn.Module, data: Data, config: TrainConfig, stop: bool = False) -> None:
    """Refuse what cannot be trained, before anything is written.

    Raises:
        InputError: see `fit`.
    """
    if stop and not config.held_out:
        raise InputError(f"`stop` needs held-out images, got none with held_out={config.held_out}; use for example 0.1")
    if len(data.y_given) < 3:
        raise InputError(f"there must be three training images or more, got {len(data.y_given)}; add images")
    if config.batch_size == 1 and any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()):
        raise InputError("`batch_size` must be 2 or more for batch norm, got 1; use for example 32")
    device = find_device(config.device)
    two = replace(data, **{name: getattr(data, name)[:2] for name in ("x_train", "x_test", "y_given", "y_test")})
    images, shape = two.on(device), tuple(data.x_test.shape[1:])
    try:
        outputs = tuple(_outputs(model.to(device), images, images.x_train).shape)
    except RuntimeError as error:
        raise InputError(
            f"`model` must take images {shape}, but fails: {error}; build it with in_channels={shape[0]} and "
            f"image_size={shape[1:]}"
        ) from None
    if len(outputs) != 2 or outputs[1] < data.n_classes:
        raise InputError(
            f"`model` must return at least {data.n_classes} logits an image, got outputs of shape {outputs} for "
            f"two images; build it with n_classes={data.n_classes}"
        )


class _Run:
    """A run under way: everything that the next epoch depends on."""

    def __init__(self, model: nn.Module, data: Data, config: TrainConfig) -> None:
        n, device = len(data.y_given), find_device(config.device)
        self.data, self.config = data, config
        self.images = data.on(device)
        self.model = model.to(device)
        self.precision = find_precision(config.precision, device)
        self.optimizer = OPTIMIZERS[config.optimizer](self.model.parameters(), config)
        self.held_out = _draw_held_out(n, config)
        outputs = _outputs(self.model, self.images, self.images.x_test[:2]).shape[1]
        self.recorder, self.batches = Recorder(n, outputs), Recorder(n, outputs)
        self.orders, self.shifts = stream(config.seed, "batches"), stream(config.seed, "augment")
        self.rows: list[dict[str, float]] = []
        self.epoch, self.before, self.start = 0, 0.0, time.perf_counter()
        self.saved: set[int] = set()

    @property
    def records(self) -> bool:
        """Whether this epoch ends with an eval pass."""
        return self.epoch % self.config.eval_every == 0 or self.epoch == self.config.epochs

    def table(self) -> pd.DataFrame:
        floats = {name: float for name in COLUMNS if name != "epoch"}
        return pd.DataFrame(self.rows, columns=list(COLUMNS)).astype({**floats, "epoch": int})

    def told(self) -> str:
        """The accuracies of this epoch's record, in words."""
        if not self.records:
            return ""
        names = ("train_accuracy_clean", "train_accuracy_noisy", "test_accuracy", "held_out_accuracy")
        known = {name: self.rows[-1][name] for name in names if not np.isnan(self.rows[-1][name])}
        words = {name: name.removeprefix("train_accuracy_").removesuffix("_accuracy") for name in known}
        return "accuracy " + ", ".join(f"{words[name].replace('_', '-')} {known[name]:.3f}" for name in known)

    def stopped(self) -> bool:
        """Whether the held-out rule has ended the run."""
        _, stop = find_stops(self.table(), int(self.held_out.sum()), self.config)
        return stop is not None and stop.stopped is not None

    def train_one_epoch(self) -> str:
        """Train, record, and return `ok` or why the run ends here; an epoch that failed leaves no record."""
        self.epoch += 1
        start = time.perf_counter()
        order = self.orders.permutation(np.flatnonzero(~self.held_out))
        bad = self._train_pass(order)
        trained = time.perf_counter()
        if bad is not None:
            self.epoch -= 1
            step = self.epoch * len(_parts(len(order), self.config.batch_size)) + bad
            return _diverged(f"at epoch {self.epoch + 1}, batch {bad} (step {step})", self.config)
        finite = all(bool(torch.isfinite(weight).all()) for weight in self.model.parameters())
        if finite and self.records:
            logits, test_logits = (self._eval_pass(pixels) for pixels in (self.images.x_train, self.images.x_test))
            finite = bool(torch.isfinite(logits).all())
        if not finite:
            self.epoch -= 1
            return _diverged(f"after epoch {self.epoch + 1}", self.config)
        if self.records:
            self.recorder.update(np.arange(len(logits)), logits, self.images.y_given)
            row = describe_epoch(self.recorder.end_epoch(), self.data, self.held_out, test_logits, self.images.y_test)
            now = time.perf_counter()
            clock = {"seconds": self.before + now - self.start, "train_seconds": trained - start}
            lr = learning_rate(self.config, self.epoch)
            self.rows.append({"epoch": self.epoch, "lr": lr, **clock, "eval_seconds": now - trained, **row})
        self.batches.end_epoch()
        return "ok"

    def _train_pass(self, order: np.ndarray) -> int | None:
        """One pass in the order given; returns the number (from 1) of the first batch whose loss is not finite."""
        images, device = self.images, self.images.y_given.device
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.epoch)
        shifts = self.shifts.integers(0, (9, 9, 2), (len(order), 3)) if self.config.augment else None
        self.model.train()
        everyone = torch.as_tensor(order, device=device)
        losses, seen = [], []
        for part in _parts(len(order), self.config.batch_size):
            batch = everyone[part]
            pixels = images.x_train[batch]
            if shifts is not None:
                pixels = images.augment(pixels, torch.as_tensor(shifts[part], device=device))
            with self._autocast():
                logits = self.model(images.normalise(pixels)).float()
            loss = cross_entropy(logits, images.y_given[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())  # looked at once an epoch: a look at each would stop a GPU each time
            seen.append(logits.detach())
        bad = torch.nonzero(~torch.isfinite(torch.stack(losses)))
        self.batches.update(order, torch.cat(seen), images.y_given[everyone])
        return int(bad[0]) + 1 if len(bad) else None

    def _eval_pass(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits in eval mode; where they depend on the batch, in shuffled batches: many data are sorted by class."""
        with self._autocast():
            if not any(getattr(layer, "track_running_stats", True) is False for layer in self.model.modules()):
                return _outputs(self.model, self.images, pixels)
            order = torch.as_tensor(stream(self.config.seed, "evaluation").permutation(len(pixels)))
            logits = _outputs(self.model, self.images, pixels[order.to(pixels.device)])
            return logits[torch.argsort(order).to(pixels.device)]

    def _autocast(self) -> AbstractContextManager:
        device = self.images.y_given.device.type
        return torch.autocast(device, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def keep(self, folder: Path, ended: bool = False) -> None:
        """Write this epoch's weights and, every so often, the state; delete the weights that nobody will ask for.

        The rules may still choose any of the last records, and a run that goes on from the state needs those that
        they could choose when it was written.
        """
        checkpoint = self.epoch % self.config.checkpoint_every == 0 or ended
        needed = self._needed(ended)
        if checkpoint or self.records:
            checkpoints.write_weights(folder, self.epoch, self.model)
        if checkpoint:
            checkpoints.write_state(folder, self.state())
            self.saved = needed
        checkpoints.keep_weights(folder, needed | self.saved)

    def tidy(self, folder: Path) -> None:
        """Keep the weights that a finished run keeps, and no others."""
        checkpoints.keep_weights(folder, self._needed(ended=True))

    def _needed(self, ended: bool) -> set[int]:
        """Epochs whose weights are kept: stopping points, checkpoints, the last, and what may still be chosen."""
        t1, stop = find_stops(self.table(), int(self.held_out.sum()), self.config)
        recorded = [int(row["epoch"]) for row in self.rows]
        chosen = {recorded[at] for at in (t1, stop.chosen if stop else None) if at is not None}
        regular = set(range(self.config.checkpoint_every, self.epoch + 1, self.config.checkpoint_every))
        return chosen | regular | {self.epoch} | (set() if ended else set(recorded[-HeldOut.smooth :]))

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, as tensors and plain values."""
        device = self.images.y_given.device
        return {
            **self.identity,
            "epoch": self.epoch,
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "orders": json.dumps(self.orders.bit_generator.state),
            "shifts": json.dumps(self.shifts.bit_generator.state),
            "rows": self.rows,
            "records": _tensors(self.recorder.state_dict()),
            "batches": _tensors(self.batches.state_dict()),
            "precision": self.precision,
            "seconds": self.before + time.perf_counter() - self.start,
        }

    def load(self, state: dict[str, Any], folder: Path) -> None:
        """Go on from a state; refuse that of another run."""
        for name, here in self.identity.items():
            if state.get(name) != here:
                found = _difference(name, state.get(name), here)
                raise InputError(
                    f"{folder / checkpoints.FOLDER} must hold checkpoints of this run, but {found}; choose another "
                    "folder, or delete it"
                )
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_random"])
        if self.images.y_given.device.type == "cuda" and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"], self.images.y_given.device)
        for generator in ("orders", "shifts"):
            getattr(self, generator).bit_generator.state = json.loads(state[generator])
        for name, recorder in (("records", self.recorder), ("batches", self.batches)):
            recorder.load_state_dict({key: value.numpy() for key, value in state[name].items()})
        self.rows, self.epoch = list(state["rows"]), state["epoch"]
        self.precision, self.before, self.start = state["precision"], state["seconds"], time.perf_counter()
        self.saved = self._needed(ended=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this run from another: its record's columns, settings, network and data."""
        names = ("x_train", "y_true", "y_given", "x_test", "y_test")
        return {
            "columns": list(COLUMNS),
            "settings": json.loads(json.dumps(settings_of(self.config))),
            "network": checkpoints.shapes_of(self.model.state_dict()),
            "data": [zlib.crc32(getattr(self.data, name).tobytes()) for name in names],
        }


def _difference(name: str, there: Any, here: Any) -> str:
    """Where the identity of two runs differs first, in words."""
    if name == "columns" or not isinstance(there, type(here)):
        return "those there are of another version"
    if name == "data":
        return "those there were trained on other data"
    if name == "network":
        return "of another network: " + checkpoints.shapes_difference(there, here)
    old, new = dict(leaves(there)), dict(leaves(here))
    changed = next((key for key in new if old.get(key) != new[key]), "")
    return f"{changed} is {old.get(changed)!r} there, {new.get(changed)!r} now"


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _draw_held_out(n: int, config: TrainConfig) -> np.ndarray:
    """Mask (n,) of the held-out images: none for a share of 0, otherwise at least one; two are left to train on."""
    count = min(max(round(config.held_out * n), 1), n - 2) if config.held_out else 0
    held_out = np.zeros(n, dtype=bool)
    held_out[stream(config.seed, "held_out").permutation(n)[:count]] = True
    return held_out


def _parts(n: int, size: int) -> list[slice]:
    """Consecutive batches of n images; a last one of a single image joins the one before it."""
    starts = list(range(0, n, size))
    if n % size == 1 and len(starts) > 1 and size > 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n], strict=True)]


@contextmanager
def _repeatable() -> Iterator[None]:
    """Ask cuDNN for algorithms that give the same numbers twice, and for float32 where float32 is meant."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@torch.no_grad()
def _outputs(model: nn.Module, images: DeviceData, pixels: torch.Tensor) -> torch.Tensor:
    """Logits (n, outputs) in eval mode, float32."""
    model.eval()
    return torch.cat([model(images.normalise(pixels[part])) for part in _parts(len(pixels), EVAL_BATCH)]).float()


def _diverged(where: str, config: TrainConfig) -> str:
    return f"the loss is not finite {where}; lower `lr` (now {config.lr:g})"
