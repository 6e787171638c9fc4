"""Networks for small images: a dict name -> constructor, seeded from the stream `init`.

Each ReLU is a module of its own and not in place, and pooling does not overlap: attribution by hooks needs both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from labelnoise.arrays import torch_stream
from labelnoise.errors import InputError, did_you_mean


class SmallCNN(nn.Module):
    """Three 3x3 convolutions (32, 64 and 64 filters), global average pooling and a linear head.

    For images of 8x8 to 32x32; about 56 thousand weights. Pooling comes before the ReLU, with which it commutes: the
    result is the same from a quarter of the activations.

    Args:
        n_classes: number of outputs.
        in_channels: number of channels of an image.
    """

    MIN_SIZE = 4

    def __init__(self, n_classes: int, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 32, kernel_size=3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_classes),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (b, n_classes) of normalised images (b, in_channels, H, W)."""
        if min(images.shape[-2:]) < self.MIN_SIZE:
            height, width = images.shape[-2:]
            raise InputError(
                f"images must be at least {self.MIN_SIZE} x {self.MIN_SIZE} for `small-cnn`, got {height} x {width}; "
                "enlarge them"
            )
        return self.layers(images)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"small-cnn": SmallCNN}
"""Each network by name: its constructor takes the number of classes and of image channels."""


def build_model(name: str, *, n_classes: int, in_channels: int, seed: int = 0) -> nn.Module:
    """Build a network with weights drawn from the stream `init` of `seed`.

    Args:
        name: a key of `MODELS`.
        n_classes: number of outputs, at least 2.
        in_channels: number of channels of an image.
        seed: a non-negative integer; torch's global random state is left as it is.

    Raises:
        InputError: an unknown name, or too few classes or channels.
    """
    if name not in MODELS:
        raise InputError(f"`model` must name a network, got {name!r}{did_you_mean(name, MODELS)}")
    for argument, value, least in (("n_classes", n_classes, 2), ("in_channels", in_channels, 1)):
        if value < least:
            raise InputError(f"`{argument}` must be >= {least}, got {value}; take it from the data")
    with torch_stream(seed, "init"):
        model = MODELS[name](n_classes, in_channels)
    # Convolutions on a CPU are much faster with the channels innermost; a GPU does not mind.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
