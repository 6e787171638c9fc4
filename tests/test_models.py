"""Networks: shapes, seeds, and the shape that attribution needs."""

import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.models import MODELS, build_model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "size", "n_classes"), [(1, 8, 10), (3, 32, 2), (1, 5, 3)])
def test_outputs(name, channels, size, n_classes):
    model = build_model(name, n_classes=n_classes, in_channels=channels)
    images = torch.arange(2 * channels * size**2, dtype=torch.float32).reshape(2, channels, size, size)
    logits = model(images / images.max())
    assert logits.shape == (2, n_classes)
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("name", MODELS)
def test_weights_depend_on_the_seed_alone(name):
    before = torch.get_rng_state()
    a, b, c = (
        torch.cat([w.detach().flatten() for w in build_model(name, n_classes=3, in_channels=1, seed=seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert_close(a, b, rtol=0)
    assert not torch.allclose(a, c)
    assert_close(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_layers_suit_attribution(name):
    modules = list(build_model(name, n_classes=2, in_channels=1).modules())
    relus = [module for module in modules if isinstance(module, nn.ReLU)]
    assert len(relus) == len({id(module) for module in relus}) == 3
    assert not any(module.inplace for module in relus)
    for pool in (module for module in modules if isinstance(module, nn.MaxPool2d)):
        assert pool.kernel_size == pool.stride


def test_refusals():
    with pytest.raises(InputError, match="did you mean 'small-cnn'"):
        build_model("small_cnn", n_classes=2, in_channels=1)
    with pytest.raises(InputError, match="`n_classes` must be >= 2, got 1"):
        build_model("small-cnn", n_classes=1, in_channels=1)
    with pytest.raises(InputError, match="`in_channels` must be >= 1, got 0"):
        build_model("small-cnn", n_classes=2, in_channels=0)
    with pytest.raises(InputError, match="at least 4 x 4 for `small-cnn`, got 3 x 8"):
        build_model("small-cnn", n_classes=2, in_channels=1)(torch.zeros(1, 1, 3, 8))
