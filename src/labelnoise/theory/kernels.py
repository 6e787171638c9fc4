"""Compiled pieces of a training step of one run, put together around one BLAS product; see `span` for the mathematics.

A piece goes through whole arrays (2m, q): what it does is chosen by a code outside its loops, so each loop is plain and
is vectorised. Nothing here checks its input.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from labelnoise.theory.activations import LeakyReLU, PowerReLU, ReLU, Softplus
from labelnoise.theory.losses import Exponential, Hinge, Logistic, Squared
from labelnoise.theory.observables import LARGEST

ACTIVATIONS = {ReLU: 0, LeakyReLU: 1, PowerReLU: 2, Softplus: 3}
"""The code of each activation."""
LOSSES = {Logistic: 0, Exponential: 1, Squared: 2, Hinge: 3}
"""The code of each loss."""

BLOCK = 8
"""Filters whose gradient is held at once: few enough for the first cache, beside what the step needs anyway."""

compiled = partial(njit, cache=True, nogil=True, error_model="numpy")


@compiled()
def add_activated(kind, setting, readout, products, total):
    """total += A s(H)."""
    filters, q = products.shape
    if kind == 0:
        for k in range(filters):
            for p in range(q):
                total[p] += readout[k] * (products[k, p] if products[k, p] > 0 else 0.0)
    elif kind == 1:
        for k in range(filters):
            for p in range(q):
                total[p] += readout[k] * (products[k, p] if products[k, p] > 0 else setting * products[k, p])
    elif kind == 2:
        for k in range(filters):
            for p in range(q):
                total[p] += readout[k] * power(products[k, p] if products[k, p] > 0 else 0.0, int(setting))
    else:
        for k in range(filters):
            for p in range(q):
                u = products[k, p] / setting
                total[p] += readout[k] * setting * (max(u, 0.0) + np.log1p(np.exp(-abs(u))))


@compiled()
def pull_filters(kind, setting, readout, products, pulls, gradient):
    """gradient = A^T pulls o s'(H)."""
    filters, q = products.shape
    if kind == 0:
        for k in range(filters):
            for p in range(q):
                gradient[k, p] = readout[k] * pulls[p] if products[k, p] > 0 else 0.0
    elif kind == 1:
        for k in range(filters):
            for p in range(q):
                gradient[k, p] = readout[k] * pulls[p] * (1.0 if products[k, p] > 0 else setting)
    elif kind == 2:
        for k in range(filters):
            for p in range(q):
                slope = setting * power(products[k, p] if products[k, p] > 0 else 0.0, int(setting) - 1)
                gradient[k, p] = readout[k] * pulls[p] * slope
    else:
        for k in range(filters):
            for p in range(q):
                gradient[k, p] = readout[k] * pulls[p] / (1 + np.exp(-products[k, p] / setting))


@compiled()
def power(u, q):
    """u^q by repeated multiplication."""
    product = u
    for _ in range(q - 1):
        product *= u
    return product


@compiled()
def loss_slope(kind, z):
    """l'(z)."""
    if kind == 0:
        return -1 / (1 + np.exp(z))
    if kind == 1:
        return -np.exp(-z)
    if kind == 2:
        return z - 1
    return -1.0 if z < 1 else 0.0


@compiled()
def pull_patches(loss, output, y_given, own, weights, flips, select, pulls):
    """pulls = g S^T: what each sample asks of the patches that it shows."""
    n = output.size
    pulls[n] = pulls[n + 1] = 0.0
    for i in range(n):
        z = y_given[i] * output[i]
        slope = loss_slope(loss, z) + (1.0 if flips.size and flips[i] else 0.0)
        g = weights[i] * slope * y_given[i]
        pulls[i] = 0.0 if select and z < 0 else g
        pulls[own[i]] += pulls[i]


@compiled()
def read_out(kind, setting, readout, products, own, by_patch, output):
    """f of every sample from the products H."""
    by_patch[:] = 0.0
    add_activated(kind, setting, readout, products, by_patch)
    for i in range(output.size):
        output[i] = by_patch[i] + by_patch[own[i]]


@compiled()
def move(coefficients, velocity, gradient, rate, momentum, nesterov, decay):
    """C by its gradient, with what the optimiser remembers."""
    c, g, v = coefficients.ravel(), gradient.ravel(), velocity.ravel()
    if momentum == 0 and decay == 0:
        for p in range(c.size):
            c[p] -= rate * g[p]
    elif momentum == 0:
        for p in range(c.size):
            c[p] -= rate * (g[p] + decay * c[p])
    else:
        for p in range(c.size):
            slope = g[p] + decay * c[p]
            v[p] = momentum * v[p] + slope
            c[p] -= rate * (slope + momentum * v[p] if nesterov else v[p])


@compiled()
def find_top(coefficients, top):
    """top[j] = max_r C_{(j,r),i}, over the noise patches."""
    half = coefficients.shape[0] // 2
    for j in range(2):
        for i in range(top.shape[1]):
            highest = coefficients[j * half, i]
            for k in range(j * half + 1, (j + 1) * half):
                highest = coefficients[k, i] if coefficients[k, i] > highest else highest
            top[j, i] = highest


@compiled()
def add_initial(scale, products0, products):
    """H += a H0."""
    h, h0 = products.ravel(), products0.ravel()
    for p in range(h.size):
        h[p] += scale * h0[p]


@compiled()
def ascend(kind, setting, readout, products, pulls, kernel, radius, gradient, along):
    """along = H + radius G K / ||G||, the products after the ascent of sharpness-aware minimisation."""
    pull_filters(kind, setting, readout, products, pulls, gradient)
    np.dot(gradient, kernel, along)
    square = 0.0
    for k in range(readout.size):
        for p in range(gradient.shape[1]):
            square += gradient[k, p] * along[k, p]
    factor = radius / np.sqrt(square) if square > 0 else 0.0
    for k in range(readout.size):
        for p in range(gradient.shape[1]):
            along[k, p] = products[k, p] + factor * along[k, p]


@compiled()
def look(output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series):
    """The tracked series of one step; returns whether the run is finite."""
    n, half = output.size, readout.size // 2
    least, most, total = np.inf, -np.inf, 0.0
    for i in range(n):
        z = y_given[i] * output[i]
        total += z
        if clean[i]:
            least = min(least, z)
        else:
            most = max(most, z)
    gamma = np.inf
    for k in range(readout.size):
        signal = coefficients[k, n] - coefficients[k, n + 1]
        gamma = min(gamma, (signal if k < half else -signal) * mu_sq)
    rho = -np.inf
    for i in range(n):
        rho = max(rho, top[0 if y_given[i] > 0 else 1, i] * xi_sq[i])
    series[0], series[1], series[2], series[3] = least, most, gamma, rho
    return abs(total) < LARGEST


@compiled()
def train_run(
    kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, series, finite,
):  # fmt: skip
    """Train one run by `rates.size` steps in place; returns its best separation, and whether it stayed finite."""
    filters, q = coefficients.shape
    n = output.size
    pulls, by_patch, gradient, top = np.empty(q), np.empty(q), np.empty((filters, q)), np.empty((2, n))
    ascended = products
    if radius > 0:
        ascended, output_above = np.empty((filters, q)), np.empty(n)
    for t in range(rates.size):
        shown, flipped = weights[t % weights.shape[0]], flips[t % flips.shape[0]]
        select = t >= selection_from
        pull_patches(loss, output, y_given, own, shown, flipped, select, pulls)
        if radius > 0:
            ascend(activation, setting, readout, products, pulls, kernel, radius, gradient, ascended)
            read_out(activation, setting, readout, ascended, own, by_patch, output_above)
            pull_patches(loss, output_above, y_given, own, shown, flipped, select, pulls)
        for first in range(0, filters, BLOCK):
            some = slice(first, min(first + BLOCK, filters))
            block = gradient[: some.stop - first]
            pull_filters(activation, setting, readout[some], ascended[some], pulls, block)
            move(coefficients[some], velocity[some], block, rates[t], momentum, nesterov, decay)
        if decay > 0:
            slope = decay * scale[0]
            drift[0] = momentum * drift[0] + slope
            scale[0] -= rates[t] * (slope + momentum * drift[0] if nesterov else drift[0])
        np.dot(coefficients, kernel, products)
        add_initial(scale[0], products0, products)
        read_out(activation, setting, readout, products, own, by_patch, output)
        find_top(coefficients, top)
        finite[t] = look(output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series[:, t])
        if not finite[t]:
            return gap, False
        apart = min(series[0, t], -series[1, t])
        if np.isfinite(apart) and apart > gap:
            gap = apart
            best[:] = coefficients
            best_scale[0] = scale[0]
    return gap, True


@compiled()
def train_runs(
    first, last, kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, whole, series, finite,
):  # fmt: skip
    """Train the runs `first` to `last` of a batch, one after the other: what one needs stays in the cache."""
    for r in range(first, last):
        if whole[r]:
            gap[r], whole[r] = train_run(
                kernel[r], products0[r], readout, y_given[r], own[r], clean[r], mu_sq[r], xi_sq[r],
                activation, setting, loss, rates[r], weights[r % weights.shape[0]], flips[r % flips.shape[0]],
                selection_from, momentum, nesterov, decay, radius,
                coefficients[r], scale[r], velocity[r % velocity.shape[0]], drift[r], products[r], output[r],
                best[r], best_scale[r], gap[r], series[:, r], finite[r],
            )  # fmt: skip
