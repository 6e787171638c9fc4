"""How a logit is attributed to the pixels of an image: DeepLIFT by shap, or expected gradients of our own.

What is attributed is a logit, not a probability: logits add up, and a saturated one still says why.
The network is given one output, the logit asked for: the others need not be computed, nor is `ranked_outputs` of shap,
whose own check of the sum is wrong.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import stream, to_numpy
from labelnoise.errors import InputError
from labelnoise.training.config import ExplainConfig

if TYPE_CHECKING:
    from jaxtyping import Float, Int


POINTS = 100
"""Images a batch of expected gradients."""


def attribute(
    model: nn.Module,
    images: Float[torch.Tensor, "m C H W"],
    toward: Int[np.ndarray, " m"],
    background: Float[torch.Tensor, "b C H W"],
    config: ExplainConfig | None = None,
) -> tuple[Float[np.ndarray, "m C H W"], Float[np.ndarray, " m"]]:
    """Return the attribution of each image toward the logit of one class, and what it should sum to.

    sum of a(x, c) = logit_c(x) - mean of logit_c over the background, up to rounding (deep) or chance
    (expected-gradients). The network is used in eval mode and left as it is.

    Args:
        model: a float32 network from normalised images to logits (n, K).
        images: (m, C, H, W) normalised images.
        toward: (m,) the class c of each.
        background: (b, C, H, W) normalised images.
        config: its `method`, `nsamples` and `seed` count; None takes the defaults.

    Returns:
        Attributions (m, C, H, W) float32, and the differences of logits (m,) float64.
    """
    config = config or ExplainConfig()
    attributions, differences = np.zeros(tuple(images.shape), np.float32), np.zeros(len(images))
    for target in np.unique(toward):
        rows = np.flatnonzero(toward == target)
        column = _column(model, int(target), background)
        with torch.no_grad():
            differences[rows] = to_numpy(column(images[rows])[:, 0].double() - column(background).double().mean())
        attributions[rows] = COMPUTE[config.method](column, images[rows], background, config)
    return attributions, differences


def _column(model: nn.Module, target: int, images: torch.Tensor) -> nn.Module:
    """Return one logit (n, 1) of a copy of the network: shap leaves its hooks' tensors on what it explains."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        outputs = model(images[:1]).shape[1]
        # a layer that shap knows, exact; skip_init: a fresh one draws from torch's global random state
        pick = nn.utils.skip_init(nn.Linear, outputs, 1, bias=False, device=images.device)
        pick.weight.copy_(torch.arange(outputs, device=images.device)[None] == target)
    return nn.Sequential(model, pick)


def _deep(column: nn.Module, images: torch.Tensor, background: torch.Tensor, config: ExplainConfig) -> np.ndarray:
    """DeepLIFT's rescale rule, averaged over the background."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports, and of modules that it takes as linear, which `gaps` judge
        try:
            import shap
        except ImportError:
            raise InputError(
                "`method` deep needs shap; pip install 'labelnoise[explain]', or use expected-gradients"
            ) from None
        return shap.DeepExplainer(column, background).shap_values(images, check_additivity=False)[..., 0]


def _expected_gradients(
    column: nn.Module, images: torch.Tensor, background: torch.Tensor, config: ExplainConfig
) -> np.ndarray:
    """Mean over k of (x - b_k) * gradient at b_k + t_k (x - b_k), at the same b_k and t_k for each image and epoch."""
    rng, k = stream(config.seed, "evaluation"), np.arange(config.nsamples)
    size, count = len(background), config.nsamples
    uses = count // size + (k % size < count % size)
    # each b equally often, its t spread evenly over [0, 1]: less than half the error of independent draws
    t = (k // size + (rng.permutation(count) + rng.random(count)) / count) / uses
    starts = background[rng.permutation(size)[k % size]]
    shares = torch.as_tensor(t, dtype=starts.dtype, device=starts.device).reshape(-1, 1, 1, 1)
    attributions = np.zeros(tuple(images.shape))
    for image, total in zip(images, attributions, strict=True):
        for start, share in zip(starts.split(POINTS), shares.split(POINTS), strict=True):
            points = (start + share * (image - start)).requires_grad_()
            (gradient,) = torch.autograd.grad(column(points).sum(), points)
            total += to_numpy(((image - start) * gradient).sum(0)) / count
    return attributions


COMPUTE: dict[str, Callable[[nn.Module, torch.Tensor, torch.Tensor, ExplainConfig], np.ndarray]] = {
    "deep": _deep,
    "expected-gradients": _expected_gradients,
}
"""Each method by name: from a network with one output (n, 1), images and background to attributions."""
