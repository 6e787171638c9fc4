"""Several processes that train one network: each computes its share of a batch, all end up with the same numbers.

The gradients are averaged by torch's DistributedDataParallel. Whatever a decision rests on (losses, logits, a state
read from a folder) is the same to the bit in every process, so that none decides alone. Without a process group all of
this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from labelnoise.arrays import seed_torch
from labelnoise.errors import InputError
from labelnoise.runs.launch import Launch

Made = TypeVar("Made")


@dataclass(frozen=True)
class Share:
    """What of some rows this process computes."""

    rows: slice
    weight: float = 1.0
    """Rows of this share x processes / rows of all: by it, a mean over processes is one over all rows."""
    given: bool = True
    """Whether the others get these rows from this process."""


def find_group() -> Launch:
    """Return which process of torch's process group this one is; without a group it is alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Launch()
    return Launch(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def joined() -> Iterator[Launch]:
    """Join the processes that torchrun started inside the block."""
    distributed.init_process_group("gloo")
    try:
        yield find_group()
    finally:
        distributed.destroy_process_group()


def share_of(part: slice, group: Launch) -> Share:
    """Return the share of this process of some rows; fewer than two rows each are computed by every process."""
    n = part.stop - part.start
    if group.size == 1:
        return Share(part)
    if n < 2 * group.size:  # batch norm cannot be trained on one image
        return Share(part, given=group.rank == 0)
    start, end = (part.start + n * rank // group.size for rank in (group.rank, group.rank + 1))
    return Share(slice(start, end), (end - start) * group.size / n)


def put_together(pieces: Sequence[tuple[Share, torch.Tensor]], n: int, group: Launch) -> torch.Tensor:
    """Return the rows (n, ...) of which each process has computed some."""
    if group.size == 1:
        return torch.cat([values for _, values in pieces])
    whole = pieces[0][1].new_zeros((n, *pieces[0][1].shape[1:]))
    for share, values in pieces:
        if share.given:
            whole[share.rows] = values
    distributed.all_reduce(whole)  # to what one process has the others add zeros
    return whole


def average(values: torch.Tensor, group: Launch) -> torch.Tensor:
    """Return the mean over the processes; `values` themselves are overwritten."""
    if group.size == 1:
        return values
    distributed.all_reduce(values)
    return values / group.size


def average_statistics(model: nn.Module, group: Launch) -> None:
    """Give every process the mean of the running statistics of batch norm, which each made of its own shares."""
    if group.size > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(average(buffer.clone(), group))


def send_weights(model: nn.Module, group: Launch) -> None:
    """Give every process the weights and buffers of the first one."""
    if group.size > 1:
        for values in model.state_dict().values():
            distributed.broadcast(values, 0)


def by_first(make: Callable[[], Made], group: Launch) -> Made:
    """Let the first process do something; what it returns is returned in all, what it raises is raised in all."""
    if group.size == 1:
        return make()
    box: list[Any] = [None, None]
    if group.rank == 0:
        try:
            box[0] = make()
        except Exception as error:
            box[1] = error
    distributed.broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


def in_parallel(model: nn.Module) -> nn.Module:
    """Return the network that averages its gradients over the processes; its weights are those of `model`."""
    parallel = nn.parallel.DistributedDataParallel
    renamed = "forward_sync_buffers" in signature(parallel).parameters  # of newer versions of torch
    settings: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    return parallel(model, **settings)


def draw_anew(seed: int, epoch: int, group: Launch) -> None:
    """Let dropout of every process but the first draw numbers of its own, the same whether the run was interrupted."""
    if group.rank:
        seed_torch(seed, "batches", group.rank, epoch)


def check_batch(batch_size: int, group: Launch) -> None:
    """Refuse batches that leave a process without work."""
    if batch_size < 2 * group.size and group.size > 1:
        raise InputError(
            f"`batch_size` must be at least {2 * group.size} for {group.size} processes, got {batch_size}; start fewer"
        )
