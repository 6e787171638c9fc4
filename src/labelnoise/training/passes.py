"""One pass over the images: a training pass, or an eval pass with fixed weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.images.data import DeviceData
from labelnoise.training import processes
from labelnoise.training.config import learning_rate
from labelnoise.training.state import TrainingState

EVAL_BATCH = 512
"""Images a batch of the eval pass: large enough for a GPU, small enough for a CPU's caches."""


def train_pass(run: TrainingState, order: np.ndarray) -> int | None:
    """Train on the images in this order; return the number (from 1) of the first batch whose loss is not finite."""
    images, config, group = run.images, run.config, run.group
    for settings in run.optimizer.param_groups:
        settings["lr"] = learning_rate(config, run.epoch)
    shifts = run.shifts.integers(0, (9, 9, 2), (len(order), 3)) if config.augment else None
    run.model.train()
    processes.draw_anew(config.seed, run.epoch, group)
    everyone = torch.as_tensor(order, device=run.device)
    losses, seen = [], []
    for part in batches(len(order), config.batch_size):
        share = processes.share_of(part, group)
        batch = everyone[share.rows]
        pixels = images.x_train[batch]
        if shifts is not None:
            pixels = images.augment(pixels, torch.as_tensor(shifts[share.rows], device=run.device))
        with autocast(run):
            logits = (run.parallel or run.model)(images.normalise(pixels))
        if not isinstance(logits, torch.Tensor):  # networks with auxiliary heads return them in train mode alone
            raise InputError(
                f"`model` must return a tensor of logits in train mode too, got a {type(logits).__name__}; return the "
                "logits alone"
            )
        logits = logits if logits.dtype == torch.float64 else logits.float()
        loss = cross_entropy(logits, images.y_given[batch])
        loss = loss if share.weight == 1 else loss * share.weight
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        losses.append(loss.detach())  # looked at once an epoch: a look at each would stop a GPU each time
        seen.append((share, logits.detach()))
    bad = torch.nonzero(~torch.isfinite(processes.average(torch.stack(losses), group)))
    processes.average_statistics(run.model, group)
    run.batches.update(order, processes.put_together(seen, len(order), group), images.y_given[everyone])
    return int(bad[0]) + 1 if len(bad) else None


def eval_pass(run: TrainingState, pixels: torch.Tensor) -> torch.Tensor:
    """Logits in eval mode; where they depend on the batch, in shuffled batches: many data are sorted by class."""
    n, group = len(pixels), run.group
    by_batch = any(getattr(layer, "track_running_stats", True) is False for layer in run.model.modules())
    with autocast(run):
        if by_batch:  # every process computes all, so that a batch holds what it would in one process
            share = processes.Share(slice(0, n), given=group.rank == 0)
            order = torch.as_tensor(stream(run.config.seed, "evaluation").permutation(n), device=pixels.device)
            logits = outputs(run.model, run.images, pixels[order])[torch.argsort(order)]
        else:
            share = processes.share_of(slice(0, n), group)
            logits = outputs(run.model, run.images, pixels[share.rows])
    return processes.put_together([(share, logits)], n, group)


@torch.no_grad()
def outputs(model: nn.Module, images: DeviceData, pixels: torch.Tensor) -> torch.Tensor:
    """Logits (n, outputs) in eval mode, float32."""
    model.eval()
    return torch.cat([model(images.normalise(pixels[part])) for part in batches(len(pixels), EVAL_BATCH)]).float()


def batches(n: int, size: int) -> list[slice]:
    """Consecutive batches of n images; a last one of a single image joins the one before it."""
    starts = list(range(0, n, size))
    if n % size == 1 and len(starts) > 1 and size > 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n], strict=True)]


def autocast(run: TrainingState) -> AbstractContextManager:
    """The numbers that the network computes in."""
    return torch.autocast(run.device.type, torch.bfloat16) if run.precision == "bf16" else nullcontext()
