"""Networks: sizes, counts and weights against published figures, seeds, and the shape that attribution needs."""

import ast
import importlib.util
import inspect
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images import networks as models
from labelnoise.images.networks import HOMOGENEOUS, NETWORKS, NO_ATTRIBUTION, Residual, build_model
from labelnoise.training.attribution_methods import attribute

QUICK = ("small-cnn", "mlp", "vgg11", "vgg11-bn", HOMOGENEOUS, "resnet18", "resnet50")
"""One of each kind; the others take a second or two each, for the same code."""
SOME = [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in NETWORKS]
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
VGG_LAYERS = {  # filters of each convolution, M for pooling (Simonyan and Zisserman, 2015, table 1)
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
RESNET_LAYERS = {18: "2 2 2 2", 34: "3 4 6 3", 50: "3 4 6 3", 101: "3 4 23 3", 152: "3 8 36 3"}  # He et al., 2016
COUNTS = {
    "small-cnn": (3 * 9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 64 + 65 * 10,
    "mlp": 3_073 * 512 + 513 * 512 + 513 * 10,
    # convolutions as published (VGG16 14,714,688, VGG19 20,024,384) + 18,923,530 for the head 512-4096-4096-10
    "vgg11": 28_144_010,
    "vgg13": 28_328_522,
    "vgg16": 33_638_218,
    "vgg19": 38_947_914,
    # two more for each filter
    "vgg11-bn": 28_149_514,
    "vgg13-bn": 28_334_410,
    "vgg16-bn": 33_646_666,
    "vgg19-bn": 38_958_922,
    # VGG16 without the biases of its 4,224 filters, 2 * 4,096 hidden units and 10 outputs
    HOMOGENEOUS: 33_638_218 - 4_224 - 8_192 - 10,
    # as published for CIFAR-10
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
}


def hollow(name, n_classes=10, channels=3, size=(32, 32)):
    """A network whose tensors have shapes and no values: building and running it costs nothing."""
    with torch.device("meta"):
        return NETWORKS[name](n_classes, channels, size)


def hollow_images(*shape):
    return torch.empty(*shape, device="meta")


def images_of(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32)


def output_sizes(model, kind, size):
    """Shape (C, H, W) that leaves each layer of a kind for one image."""
    seen = []
    for layer in (layer for layer in model.modules() if isinstance(layer, kind)):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(tuple(output.shape[1:])))
    model.eval()(hollow_images(1, 3, *size))
    return seen


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("channels", "size", "n_classes"), [(3, (32, 32), 2), (1, (5, 7), 11)])
def test_shape_of_outputs(name, channels, size, n_classes):
    logits = hollow(name, n_classes, channels, size)(hollow_images(2, channels, *size))
    assert logits.shape == (2, n_classes)


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_the_published_ones(name):
    assert sum(weights.numel() for weights in hollow(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("depth", VGG_LAYERS)
def test_vgg_counts_follow_from_the_list_of_layers(depth):
    filters = [int(layer) for layer in VGG_LAYERS[depth].split() if layer != "M"]
    assert len(filters) + 3 == depth
    convolutions = sum((9 * a + 1) * b for a, b in zip([3, *filters], filters, strict=False))
    head = 513 * 4_096 + 4_097 * 4_096 + 4_097 * 10
    assert COUNTS[f"vgg{depth}"] == convolutions + head
    assert COUNTS[f"vgg{depth}-bn"] == convolutions + head + 2 * sum(filters)
    if depth == 16:
        assert COUNTS[HOMOGENEOUS] == convolutions + head - sum(filters) - 4_096 - 4_096 - 10


@pytest.mark.parametrize("depth", RESNET_LAYERS)
def test_resnet_counts_follow_from_the_list_of_blocks(depth):
    def conv(a, b, size):  # with the two weights that batch norm has for each filter
        return a * b * size**2 + 2 * b

    expansion, last = (1, 64) if depth < 50 else (4, 64)
    count = conv(3, 64, 3)
    for filters, blocks in zip((64, 128, 256, 512), map(int, RESNET_LAYERS[depth].split()), strict=True):
        out = filters * expansion
        inner = conv(filters, out, 3) if expansion == 1 else conv(filters, filters, 3) + conv(filters, out, 1)
        first = 3 if expansion == 1 else 1
        count += conv(last, filters, first) + inner + (conv(last, out, 1) if last != out else 0)
        count += (blocks - 1) * (conv(out, filters, first) + inner)
        last = out
    assert COUNTS[f"resnet{depth}"] == count + (last + 1) * 10


@pytest.mark.parametrize(
    ("size", "pooled"), [((32, 32), "16 8 4 2 1"), ((28, 28), "14 7 4 2 1"), ((33, 33), "17 9 5 3 2")]
)
def test_vgg_pools_five_times_and_loses_no_pixel(size, pooled):
    shapes = output_sizes(hollow("vgg11"), nn.MaxPool2d, size)
    sizes = [int(side) for side in pooled.split()]
    assert shapes == [(filters, side, side) for filters, side in zip((64, 128, 256, 512, 512), sizes, strict=True)]


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (50, 4)])
def test_resnet_halves_three_times(depth, expansion):
    shapes = output_sizes(hollow(f"resnet{depth}"), Residual, (32, 32))
    wanted = [(64 * expansion, 32, 32), (128 * expansion, 16, 16), (256 * expansion, 8, 8), (512 * expansion, 4, 4)]
    blocks = map(int, RESNET_LAYERS[depth].split())
    assert shapes == [shape for shape, count in zip(wanted, blocks, strict=True) for _ in range(count)]
    strided = [layer for layer in hollow(f"resnet{depth}").modules() if getattr(layer, "stride", 1) == (2, 2)]
    assert Counter(layer.kernel_size for layer in strided) == {(3, 3): 3, (1, 1): 3}


def test_a_residual_block_adds_its_input():
    images = images_of(2, 4, 3, 3)
    block = Residual(4, 4, stride=1, expansion=1).eval()
    nn.init.zeros_(block.branch[-1].weight)  # the branch is silent
    assert_close(block(images).detach(), images.relu(), rtol=0)
    wider = Residual(4, 8, stride=2, expansion=1).eval()
    nn.init.zeros_(wider.branch[-1].weight)
    assert_close(wider(images).detach(), wider.shortcut(images).relu().detach(), rtol=0)


@pytest.mark.parametrize("name", SOME)
def test_a_network_reads_each_image_and_learns_with_each_weight(name):
    model = build_model(name, n_classes=3, in_channels=1, image_size=(8, 6)).eval()
    images = images_of(3, 1, 8, 6)
    logits = model(images)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    alone = torch.allclose(model(images[:2]), logits[:2], rtol=1e-3, atol=1e-6 * float(logits.detach().abs().max()))
    assert alone == (name not in NO_ATTRIBUTION)
    (logits * images_of(3, 3, seed=1)).sum().backward()
    assert all(weights.grad is not None and weights.grad.abs().max() > 0 for weights in model.parameters())


@pytest.mark.parametrize("name", ["small-cnn", "mlp", "resnet18", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_weights_depend_on_the_seed_alone(name):
    before = torch.get_rng_state()
    a, b, c = (
        torch.cat([w.detach().flatten() for w in build_model(name, n_classes=3, in_channels=1, seed=seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_of_a_vgg():
    """Standard deviations within five of their own; N weights know theirs to a share of 1 / sqrt(2 N)."""
    layers = list(build_model("vgg11-bn", n_classes=10, in_channels=3))
    for layer in layers:
        layer.requires_grad_(False)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = (2 / (9 * layer.out_channels)) ** 0.5 if isinstance(layer, nn.Conv2d) else 0.01
            sampling = layer.weight.numel() ** -0.5
            assert float(layer.weight.std()) == pytest.approx(std, rel=5 * sampling / 2**0.5)
            assert abs(float(layer.weight.mean())) < 5 * sampling * std
            assert float(layer.weight.abs().max()) > 3 * std  # normal, not uniform
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
        if getattr(layer, "bias", None) is not None:
            assert (layer.bias == 0).all()
    head = ["AdaptiveAvgPool2d", "Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert [type(layer).__name__ for layer in layers[-9:]] == head
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert layers[4].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_homogeneous_network_ignores_the_scale_of_images():
    """Up to eps, which only the first batch norm feels: no other sees another scale."""
    model = build_model(HOMOGENEOUS, n_classes=3, in_channels=1).eval()
    images = images_of(3, 1, 32, 32)
    with torch.no_grad():
        plain, scaled = model(images), model(3.7 * images)
        scale = float((plain - plain.mean()).abs().max())
        assert_close(scaled, plain, rtol=0, atol=1e-2 * scale)
        norms = [layer for layer in model if isinstance(layer, nn.BatchNorm2d)]
        assert len(norms) == 13
        for norm in norms:
            norm.eps = 1e-12
        assert_close(model(3.7 * images), model(images), rtol=0, atol=1e-4 * scale)
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    assert not list(model.buffers())


@pytest.mark.parametrize("name", ALL)
def test_layers_suit_attribution(name):
    """Each ReLU is called once a pass and leaves its input alone; pooling does not overlap; hooks know each layer."""
    model, calls = hollow(name), Counter()
    for part in model.modules():
        part.register_forward_hook(lambda part, inputs, output: calls.update([part]))
    model(hollow_images(2, 3, 32, 32))
    leaves = [part for part in model.modules() if not list(part.children())]
    relus = [part for part in leaves if isinstance(part, nn.ReLU)]
    assert len(relus) >= 2
    assert not any(relu.inplace for relu in relus)
    assert all(calls[part] == 1 for part in model.modules())
    for pool in (part for part in leaves if isinstance(part, nn.MaxPool2d)):
        assert pool.kernel_size == pool.stride
        assert (pool.padding, pool.dilation) == (0, 1)
    known = "Conv2d BatchNorm2d Linear ReLU MaxPool2d AdaptiveAvgPool2d Dropout Flatten Identity"
    assert {type(part).__name__ for part in leaves} <= set(known.split())


def hidden_from_hooks(source):
    """Activations that are no module, and operations in place, in the source of networks."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            found += (
                [name]
                if name in ("relu", "relu_", "add_", "mul_", "max_pool2d")
                and "self.relu" not in (ast.unparse(node.func))
                else []
            )
            found += [keyword.arg for keyword in node.keywords if keyword.arg == "inplace"]
        if isinstance(node, ast.FunctionDef) and node.name == "forward":
            found += [ast.unparse(part) for part in ast.walk(node) if isinstance(part, ast.AugAssign)]
    return found


def test_nothing_is_hidden_from_hooks():
    assert hidden_from_hooks(inspect.getsource(models)) == []
    assert hidden_from_hooks("def forward(self, x):\n    x += self.relu(x)\n    return x") == ["x += self.relu(x)"]
    assert hidden_from_hooks("torch.relu(nn.ReLU(inplace=True)(x)).add_(1)") == ["add_", "relu", "inplace"]


@pytest.mark.skipif(importlib.util.find_spec("shap") is None, reason="shap is not installed")
def test_attributions_come_out_where_pooling_rounds_up():
    """Of 9 pixels the stages keep 5, 3, 2, 1 and 1: windows at the edge hold one pixel or two."""
    vgg = build_model("vgg11", n_classes=3, in_channels=1)
    model = nn.Sequential(*list(vgg)[:-7], nn.Linear(512, 3))  # the head has no part in this, and most of the weights
    model[-1].weight.data = images_of(3, 512, seed=2)
    attributions, differences = attribute(model, images_of(1, 1, 9, 9), np.array([2]), images_of(1, 1, 9, 9, seed=1))
    assert abs(differences[0]) > 1e-3
    assert_close(attributions.sum(axis=(1, 2, 3)).astype(float), differences, rtol=1e-4)


def test_refusals():
    with pytest.raises(InputError, match="did you mean 'small-cnn'"):
        build_model("small_cnn", n_classes=2, in_channels=1)
    with pytest.raises(InputError, match="did you mean 'vgg16-bn'"):
        build_model("vgg16bn", n_classes=2, in_channels=1)
    with pytest.raises(InputError, match="`n_classes` must be an integer >= 2, got 1"):
        build_model("small-cnn", n_classes=1, in_channels=1)
    with pytest.raises(InputError, match="`in_channels` must be an integer >= 1, got 0"):
        build_model("small-cnn", n_classes=2, in_channels=0)
    with pytest.raises(
        InputError, match=r"`image_size` must be height and width, two integers >= 1, got \(8, 0\); take"
    ):
        build_model("mlp", n_classes=2, in_channels=1, image_size=(8, 0))
    with pytest.raises(InputError, match="at least 4 x 4 for `small-cnn`, got 3 x 8"):
        build_model("small-cnn", n_classes=2, in_channels=1)(torch.zeros(1, 1, 3, 8))
