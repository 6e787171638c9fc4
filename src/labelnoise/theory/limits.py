"""Which problems there can be: what a `SignalNoise` refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import check_memory
from labelnoise.errors import InputError, check_boolean, check_integer, check_positive, is_number
from labelnoise.noise.models import TRANSITIONS, ClassConditional, Symmetric
from labelnoise.noise.words import noise_words

if TYPE_CHECKING:
    from labelnoise.theory.problem import SignalNoise

MANY = 1_000
"""Classes from which on the K^2 numbers of a transition matrix may not fit in memory."""
MAX_D = 10**15
"""Largest dimension at which the inner products of noise patches keep full relative precision in float64."""


def check_problem(p: SignalNoise) -> None:
    """Refuse sizes, scales and settings that cannot be.

    Raises:
        InputError: the first of them.
    """
    _check_scales(p)
    _check_kinds(p)
    check_integer("n_classes", p.n_classes, 2, 3)
    if p.n_classes > MANY:
        check_memory(5 * 8.0 * p.n_classes**2, "lower n_classes")  # transition matrices and what they are made of
    _check_rates(p)
    if p.orthogonal_noise and p.d < 2:
        raise InputError("`d` must be >= 2 with orthogonal_noise, got 1; one dimension is all signal")
    _check_variants(p)


def of_all_classes(noise: Any, n_classes: int) -> Any:
    """Return label noise for K classes: of more than two, a rate that both of two have is the rate of all."""
    more = is_number(n_classes) and n_classes > 2
    if more and isinstance(noise, ClassConditional) and noise.tau_plus == noise.tau_minus:
        return Symmetric(noise.tau_plus, exact=noise.exact)
    return noise


def _check_scales(p: SignalNoise) -> None:
    for name, example in (("n", 200), ("d", 40_000), ("m", 20)):
        check_integer(name, getattr(p, name), 1, example)
    if p.d > MAX_D:
        raise InputError(f"`d` must be at most 10^15, got {p.d:g}; lower it: float64 loses the overlaps")
    if is_number(p.init_std) and p.init_std == 0:
        raise InputError(
            "`init_std` must be a finite number > 0, got 0: all activations would start at 0, where the ReLU has "
            "no slope, so nothing would ever train; use 0.001"
        )
    for name, scale in (("mu_norm", 40.0), ("noise_std", 1.0), ("init_std", 0.001)):
        value = getattr(p, name)
        if name == "mu_norm" and is_number(value) and value == 0:
            continue  # without a signal nothing is learnt, which a map may show
        check_positive(name, value, scale)
        if not 1e-150 < float(value) < 1e150:
            raise InputError(
                f"`{name}` must lie between 1e-150 and 1e150, or its square leaves float64, got {value!r}; use for "
                f"example {name}={scale}"
            )


def _check_kinds(p: SignalNoise) -> None:
    if not isinstance(p.label_noise, TRANSITIONS):
        raise InputError(
            f"`label_noise` must be a model such as ClassConditional(0.2, 0.2), got {p.label_noise!r}; "
            "for labels of your own use Draw.from_vectors"
        )
    for name in ("orthogonal_noise", "bias", "one_patch"):
        check_boolean(name, getattr(p, name))


def _check_rates(p: SignalNoise) -> None:
    """Refuse label noise that leaves most labels wrong, or that is made for another number of classes."""
    if p.n_classes > 2 and isinstance(p.label_noise, ClassConditional):
        raise InputError(
            f"label noise of {p.n_classes} classes must be symmetric, pair or matrix, got {noise_words(p.label_noise)};"
            " give tau_plus and tau_minus one value, or another model, --noise pair:0.2 (in Python Pair(0.2))"
        )
    if p.n_classes > 2:
        others = p.transition - np.diag(np.full(p.n_classes, np.inf))
        if not (p.transition.diagonal() > others.max(1)).all():
            raise InputError(
                "label noise must leave each class's own label the likeliest one, got "
                f"{noise_words(p.label_noise)}; lower it"
            )
    for tau, name in zip(p.taus, ("tau_plus", "tau_minus"), strict=True):
        if tau >= 0.5:
            raise InputError(
                f"`{name}` must lie in [0, 0.5), got {tau:g}; lower it: from one half on labels are mostly wrong"
            )


def _check_variants(p: SignalNoise) -> None:
    """Refuse variants that do not go together, or that need more dimensions."""
    for name, least in (("flip_dependence", 0), ("flip_cosine", -1)):
        value = getattr(p, name)
        if not is_number(value) or not least <= value <= 1:
            raise InputError(f"`{name}` must lie in [{least}, 1], got {value!r}; use for example {name}=0.5")
    if p.flip_dependence and (p.n_classes > 2 or p.label_noise.exact):
        what = f"{noise_words(p.label_noise)}, which fixes how many are flipped"
        what = f"n_classes={p.n_classes}" if p.n_classes > 2 else what
        raise InputError(
            f"`flip_dependence` needs two classes and independent flips, got {what}; leave one of them out"
        )
    if p.flip_cosine and p.orthogonal_noise:
        raise InputError(
            f"`flip_cosine` must be 0 with orthogonal_noise, got {p.flip_cosine:g}; such patches have no part along mu"
        )
    if p.one_patch and p.bias:
        raise InputError("`one_patch` does not go with bias, got both; leave one of them out")
    least = p.axes + (p.orthogonal_noise and p.n_classes > 2)
    if p.d < least:
        raise InputError(f"`d` must be >= {least} to tell signals and flips apart, got {p.d}; raise it")
