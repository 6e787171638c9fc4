"""The optimisers of real training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from labelnoise.training.config import TrainConfig

BUILDERS: dict[str, Callable[[Iterator[nn.Parameter], TrainConfig], torch.optim.Optimizer]] = {
    # fused: one call for all weights, which a small network on a CPU feels
    "sgd": lambda weights, config: torch.optim.SGD(
        weights, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    ),
    "adam": lambda weights, config: torch.optim.Adam(
        weights, config.lr, (config.momentum, 0.999), weight_decay=config.weight_decay, fused=True
    ),
    "adamw": lambda weights, config: torch.optim.AdamW(
        weights, config.lr, (config.momentum, 0.999), weight_decay=config.weight_decay, fused=True
    ),
}
"""Each value of `TrainConfig.optimizer`."""
