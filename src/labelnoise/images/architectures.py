"""Which networks there are, by name; torch is not needed to say so. `networks` builds them."""

from __future__ import annotations

VGG_FILTERS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Filters of each convolution of a VGG by its depth, in five stages that each end with a pooling."""

RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each of the four stages of a ResNet by its depth."""

HOMOGENEOUS = "vgg16-bn-homogeneous"
"""VGG16 without biases, whose batch norm has neither weights nor running statistics: f(a x) = f(x) up to its eps.

In eval mode, too, a batch is normalised by its own statistics. An output depends on all images of the batch, so it
cannot be attributed to one of them.
"""

NAMES = (
    "small-cnn",
    "mlp",
    *(f"vgg{depth}" for depth in VGG_FILTERS),
    *(f"vgg{depth}-bn" for depth in VGG_FILTERS),
    HOMOGENEOUS,
    *(f"resnet{depth}" for depth in RESNET_BLOCKS),
)
"""The names of `networks.NETWORKS`."""
