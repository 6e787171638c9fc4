"""Named pure functions of what an engine shows of its network: margins, coefficients, losses, test errors.

Arrays have a leading axis R, the runs of a batch; they are NumPy arrays or torch tensors. Filters (axis 2m)
are ordered j = +1 first. K > 2 classes have filters (axis K m) class by class, outputs (R, K, n) and labels 0..K-1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import Array, to_numpy
from labelnoise.record.selection import select_by_margin
from labelnoise.theory import outputs
from labelnoise.theory.activations import ReLU
from labelnoise.theory.dynamics import Dynamics

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class View:
    """One moment of R networks in training, as any engine shows it: W = a W0 + c_mu mu^T + c_xi Xi.

    Products h of filters and patches are pre-activations: they include the bias where there is one.

    What costs more than a look at the state is a function, called only for what is recorded.
    """

    xp: Any
    """The array API namespace of the arrays (NumPy or torch)."""
    dynamics: Dynamics
    """Activation, loss, and how the networks are trained."""
    readout: Float[Array, "... filters"]
    """(2m,) second layer; (K, K m) of K classes."""
    y_true: Float[Array, "R n"]
    """(R, n) true labels in {-1, +1}."""
    y_given: Float[Array, "R n"]
    """(R, n) given labels in {-1, +1}."""
    clean: Bool[Array, "R n"]
    """(R, n) where the given label is the true one."""
    mu_sq: Float[Array, " R"]
    """(R,) ||mu||^2."""
    xi_sq: Float[Array, "R n"]
    """(R, n) ||xi_i||^2."""
    output: Float[Array, "R n"]
    """(R, n) f(W, x_i); (R, K, n) of K classes."""
    bias: Float[Array, "R filters"] | None
    """(R, 2m) bias of each filter; None where there is none."""
    h_signals: Float[Array, "R filters classes"]
    """(R, 2m, 2) products with the signal patch of y = +1, mu, and of y = -1, -mu; (R, K m, K) with each signal."""
    h_xi: Float[Array, "R filters n"]
    """(R, 2m, n) products with each xi_i."""
    c_mu: Callable[[], Array]
    """() -> (R, 2m) coefficient of mu in each filter; of K classes that of the signal of the filter's own class."""
    c_xi: Callable[[], Array]
    """() -> (R, 2m, n) coefficient of each xi_i in each filter."""
    h_held_out: Callable[[], Array]
    """() -> (R, 2m, h) products with the held-out patches."""
    weight_gram: Callable[[bool], Array]
    """orthogonal -> (R, 2m, 2m) W W^T without the bias, or that of W with its component along the signals removed."""
    h_probe: Callable[[], Array] | None = None
    """() -> (R, 2m) W v without the bias, v the direction of flips that depend on the noise patch; None without."""
    one_patch: bool = False
    """Whether signal and noise of a sample are summed in one patch."""
    read_patches: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """(R, 2m, r), (R or 1, r, N) -> (R, N): outputs A s(F P) of patches whose products are F P; None where the engine
    has no way of its own."""

    @property
    def n_classes(self) -> int:
        """Classes."""
        return 2 if self.readout.ndim == 1 else int(self.readout.shape[0])


def margin(view: View) -> Float[Array, "R n"]:
    """Margin (R, n), below 0 where the network disagrees with the given label.

    y~_i f(W, x_i); of K classes the given label's output less the best other one.
    """
    return outputs.margin(view.xp, view.output, view.y_given)


def loss(view: View) -> Float[Array, "R n"]:
    """Loss l(margin) (R, n) of the given labels without fresh flips; of K classes the cross-entropy."""
    if view.n_classes > 2:
        return outputs.cross_entropy(view.xp, view.output, view.y_given)
    return view.dynamics.loss.value(view.xp, margin(view))


def output(view: View) -> Float[Array, "R n"]:
    """f(W, x_i) (R, n); (R, K, n) of K classes."""
    return view.output


def gamma(view: View) -> Float[Array, "R filters"]:
    """Signal coefficients gamma_{j,r} (R, 2m) of w = w0 + j gamma mu/||mu||^2 + sum_i rho_i xi_i/||xi_i||^2.

    Of K classes those of the filter's own signal, w = w0 + sum_k gamma_k mu_k/||mu_k||^2 + ...
    """
    c, half = view.c_mu(), view.readout.shape[-1] // 2
    if view.n_classes > 2:
        return c * view.mu_sq[:, None]
    return view.xp.concat([c[:, :half], -c[:, half:]], axis=-1) * view.mu_sq[:, None]


def rho(view: View) -> Float[Array, "R filters n"]:
    """Noise coefficients rho_{j,r,i} (R, 2m, n)."""
    return view.c_xi() * view.xi_sq[:, None, :]


def margin_predicted(view: View) -> Float[Array, "R n"]:
    """Leading part of the margin by Lemma 5.1 (R, n).

    Clean samples: mean_r gamma_{y~,r} + rho_{y~,r,i}; noisy ones: mean_r rho_{y~,r,i} - gamma_{-y~,r}. NaN where the
    activation is not the ReLU, of which the lemma speaks, or the second layer is not 1/m, or there are more classes or
    fewer patches than two.
    """
    xp, other = view.xp, view.n_classes > 2 or view.one_patch
    if other or view.dynamics.activation != ReLU() or view.dynamics.second_layer is not None:
        return xp.nan * margin(view)
    signal = _by_class(xp.mean, gamma(view)[..., None], 2)  # (R, 2, 1)
    noise = _pick(xp, _by_class(xp.mean, rho(view), 2), view.y_given)
    return noise + xp.where(view.clean, _pick(xp, signal, view.y_given), -_pick(xp, signal, -view.y_given))


ARRAYS: dict[str, Callable[[View], Array]] = {
    "output": output,
    "margin": margin,
    "margin_predicted": margin_predicted,
    "loss": loss,
    "gamma": gamma,
    "rho": rho,
}
"""What `record` may name: arrays that are kept at each record."""


LARGEST = 1e38
"""A sum of margins beyond this counts as infinite: the float32 of a record could not hold it."""

TRACKED = ("margin_clean_min", "margin_noisy_max", "gamma_min", "rho_bar_max")
"""The series of every step: where clean and noisy samples stand, and signal against noise."""


def tracked(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the series `TRACKED` of this step (4, R), and which runs are finite (R,).

    margin_clean_min is +inf without clean samples, margin_noisy_max -inf without noisy ones.
    """
    z, xp = margin(view), view.xp
    highest = _by_class(xp.max, view.c_xi(), view.n_classes)
    own = _pick(xp, highest, view.y_given) * view.xi_sq  # the max before the product: n, not 2m n
    rows = [
        xp.min(xp.where(view.clean, z, xp.inf), axis=-1),
        xp.max(xp.where(view.clean, -xp.inf, z), axis=-1),
        xp.min(gamma(view), axis=-1),
        xp.max(own, axis=-1),
        xp.sum(z, axis=-1),  # not finite where an output is not
    ]
    series = to_numpy(xp.concat(rows)).reshape(len(rows), -1)  # one transfer a step
    return series[:-1], np.abs(series[-1]) < LARGEST


SUMMARY = (
    "loss", "accuracy", "accuracy_clean", "accuracy_noisy", "gamma_min", "gamma_mean", "gamma_max", "rho_clean_max",
    "rho_noisy_max", "rho_bar_mean", "rho_leads_share", "selection_precision", "selection_recall", "selection_f1",
)  # fmt: skip
"""The columns of `summary`."""


def summary(view: View) -> dict[str, np.ndarray]:
    """Return what every record holds (R,): losses, accuracies, the selection, and the coefficients' extremes.

    Accuracy on noisy samples is against the *given* label, like every training accuracy; NaN without such samples.
    """
    z, g, r = (to_numpy(value) for value in (margin(view), gamma(view), rho(view)))
    y_given, noisy = to_numpy(view.y_given), ~to_numpy(view.clean)
    own = _pick(np, _by_class(np.max, r, view.n_classes), y_given)
    selection = select_by_margin(z, noisy)
    return {
        "loss": to_numpy(loss(view)).mean(-1),
        "accuracy": (z > 0).mean(-1),
        "accuracy_clean": _mean_where(z > 0, ~noisy),
        "accuracy_noisy": _mean_where(z > 0, noisy),
        "gamma_min": g.min(-1),
        "gamma_mean": g.mean(-1),
        "gamma_max": g.max(-1),
        "rho_clean_max": _max_where(own, ~noisy),
        "rho_noisy_max": _max_where(own, noisy),
        "rho_bar_mean": _mean_active(r),
        "rho_leads_share": _rho_leads_share(g, r, to_numpy(view.y_true), y_given, view.n_classes),
        "selection_precision": selection.precision,
        "selection_recall": selection.recall,
        "selection_f1": selection.f1,
    }


def _by_class(reduce: Callable[..., Array], values: Array, n_classes: int) -> Array:
    """Reduce over the filters of each class: (R, K m, N) -> (R, K, N), j = +1 first of two."""
    runs, filters, count = values.shape
    return reduce(values.reshape(runs, n_classes, filters // n_classes, count), axis=2)


def _pick(xp: Any, by_class: Array, label: Array) -> Array:
    """The row of the class of each sample's label: (R, K, n or 1), (R, n) -> (R, n)."""
    if by_class.shape[1] == 2:
        return xp.where(label > 0, by_class[:, 0], by_class[:, 1])
    own = outputs.is_label(xp, label, by_class.shape[1])
    return xp.sum(xp.where(own, by_class, 0 * by_class), axis=1)


def _rho_leads_share(
    gamma: np.ndarray, rho: np.ndarray, y_true: np.ndarray, y_given: np.ndarray, n_classes: int
) -> np.ndarray:
    """Share of noisy samples with mean_r rho-bar_{y~,r,i} > mean_r gamma_{y,r} (Thm 4.2)."""
    noise = _pick(np, _by_class(np.mean, rho, n_classes), y_given)
    signal = _pick(np, _by_class(np.mean, gamma[..., None], n_classes), y_true)
    return _mean_where(np.where(np.isnan(noise - signal), np.nan, noise > signal), y_true != y_given)


def _mean_active(rho: np.ndarray) -> np.ndarray:
    """Mean (R,) of the positive rho; what is below 1e-9 of the largest is rounding of a pair that never was active."""
    flat = rho.reshape(len(rho), -1)
    return _mean_where(flat, flat > 1e-9 * np.maximum(flat.max(-1, keepdims=True), 0))


def _mean_where(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    count = mask.sum(-1)
    return np.divide((values * mask).sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def _max_where(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    best = np.where(mask, values, -np.inf).max(-1)
    return np.where(mask.any(-1), best, np.nan)
