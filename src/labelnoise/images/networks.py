"""Networks for small images: a dict name -> constructor, seeded from the stream `init`.

Each ReLU is a module of its own, used once and not in place, additions are not in place and pooling does not overlap:
attribution by hooks needs all four.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from labelnoise.arrays import torch_stream
from labelnoise.errors import InputError, check_integer, did_you_mean
from labelnoise.images.architectures import HOMOGENEOUS, RESNET_BLOCKS, VGG_FILTERS


class SmallCNN(nn.Module):
    """Three 3x3 convolutions (32, 64 and 64 filters), global average pooling and a linear head.

    For images of 8x8 to 32x32; about 56 thousand weights. Pooling comes before the ReLU, with which it commutes: the
    result is the same from a quarter of the activations.

    Args:
        n_classes: number of outputs.
        in_channels: number of channels of an image.
        image_size: height and width; any from 4 x 4.
    """

    MIN_SIZE = 4

    def __init__(self, n_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
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


class MLP(nn.Sequential):
    """Two hidden layers of 512 with ReLU and torch's default initial weights, for images of exactly `image_size`."""

    def __init__(self, n_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        pixels = in_channels * image_size[0] * image_size[1]
        super().__init__(
            nn.Flatten(),
            nn.Linear(pixels, 512), nn.ReLU(),
            nn.Linear(512, 512), nn.ReLU(),
            nn.Linear(512, n_classes),
        )  # fmt: skip


class VGG(nn.Sequential):
    """VGG with global average pooling and a head 512-4096-4096-n_classes with dropout 0.5.

    3x3 convolutions, 2x2 max pooling that rounds sizes up (so that images below 32 x 32 work, too). As in the paper's
    release: Kaiming-normal convolutions (fan out), N(0, 0.01) linear weights, zero biases.

    Args:
        depth: 11, 13, 16 or 19.
        norm: what follows each convolution, from the number of filters; None for nothing.
        bias: whether convolutions and linear layers have biases.
        n_classes: number of outputs.
        in_channels: number of channels of an image.
        image_size: height and width; any.
    """

    def __init__(
        self,
        depth: int,
        norm: Callable[[int], nn.Module] | None,
        bias: bool,
        n_classes: int,
        in_channels: int,
        image_size: tuple[int, int],
    ) -> None:
        layers: list[nn.Module] = []
        for stage in VGG_FILTERS[depth]:
            for filters in stage:
                layers.append(nn.Conv2d(in_channels, filters, kernel_size=3, padding=1, bias=bias))
                layers += ([norm(filters)] if norm else []) + [nn.ReLU()]
                in_channels = filters
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(512, 4096, bias=bias), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, 4096, bias=bias), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, n_classes, bias=bias),
        )  # fmt: skip
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)); the shortcut is a 1x1 convolution with batch norm where the shape changes.

    The branch is two 3x3 convolutions, or (expansion 4) a bottleneck of 1x1, 3x3 and 1x1, each with batch norm.
    """

    def __init__(self, inputs: int, filters: int, stride: int, expansion: int) -> None:
        super().__init__()
        outputs = filters * expansion
        plan = [(inputs, filters, 3, stride), (filters, outputs, 3, 1)]
        if expansion > 1:
            plan = [(inputs, filters, 1, 1), (filters, filters, 3, stride), (filters, outputs, 1, 1)]
        layers = [layer for step in plan for layer in (*_convolution(*step), nn.ReLU())]
        self.branch = nn.Sequential(*layers[:-1])
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(*_convolution(inputs, outputs, 1, stride)) if changes else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (b, filters * expansion, H / stride, W / stride)."""
        return self.relu(self.branch(images) + self.shortcut(images))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs)


class ResNet(nn.Sequential):
    """ResNet for small images: a 3x3 stem without pooling, four stages, global average pooling and a linear head.

    The stages have 64, 128, 256 and 512 filters, and all but the first halve height and width. The initial weights
    are torch's default.

    Args:
        depth: 18 or 34 (two convolutions a block), 50, 101 or 152 (bottlenecks).
        n_classes: number of outputs.
        in_channels: number of channels of an image.
        image_size: height and width; any.
    """

    def __init__(self, depth: int, n_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        expansion, inputs = (1 if depth < 50 else 4), 64
        layers = [*_convolution(in_channels, 64, 3, 1), nn.ReLU()]
        for stage, blocks in enumerate(RESNET_BLOCKS[depth]):
            for block in range(blocks):
                filters, stride = 64 * 2**stage, 2 if stage and not block else 1
                layers.append(Residual(inputs, filters, stride, expansion))
                inputs = filters * expansion
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, n_classes))


NETWORKS: dict[str, Callable[[int, int, tuple[int, int]], nn.Module]] = {
    "small-cnn": SmallCNN,
    "mlp": MLP,
    **{f"vgg{depth}": partial(VGG, depth, None, True) for depth in VGG_FILTERS},
    **{f"vgg{depth}-bn": partial(VGG, depth, nn.BatchNorm2d, True) for depth in VGG_FILTERS},
    HOMOGENEOUS: partial(VGG, 16, partial(nn.BatchNorm2d, affine=False, track_running_stats=False), False),
    **{f"resnet{depth}": partial(ResNet, depth) for depth in RESNET_BLOCKS},
}
"""Each network by name: its constructor takes the number of classes and of image channels, and the image size."""

NO_ATTRIBUTION = {HOMOGENEOUS: "its batch norm keeps no statistics, so the output of an image depends on its batch"}
"""Networks whose outputs cannot be attributed to one image, and why."""


def build_model(
    name: str, *, n_classes: int, in_channels: int, image_size: tuple[int, int] = (32, 32), seed: int = 0
) -> nn.Module:
    """Build a network with weights drawn from the stream `init` of `seed`.

    Args:
        name: a key of `NETWORKS`.
        n_classes: number of outputs, at least 2.
        in_channels: number of channels of an image.
        image_size: height and width of an image; only the MLP depends on it.
        seed: a non-negative integer; torch's global random state is left as it is.

    Raises:
        InputError: an unknown name, too few classes or channels, no image size, or a value of another type.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise InputError(f"`model` must name a network, got {name!r}{did_you_mean(str(name), NETWORKS)}")
    check_integer("n_classes", n_classes, 2, 10)
    check_integer("in_channels", in_channels, 1, 3)
    height, width = _checked_size(image_size)
    with torch_stream(seed, "init"):
        model = NETWORKS[name](n_classes, in_channels, (height, width))
    # Convolutions on a CPU are much faster with the channels innermost; a GPU does not mind.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _checked_size(image_size: Any) -> tuple[int, int]:
    try:
        height, width = image_size
        for side in (height, width):
            check_integer("image_size", side, 1, 32)
    except (TypeError, ValueError):  # an InputError is a ValueError
        raise InputError(
            f"`image_size` must be height and width, two integers >= 1, got {image_size!r}; take them from the data"
        ) from None
    return height, width
