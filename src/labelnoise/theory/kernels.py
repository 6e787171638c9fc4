"""Compiled pieces of a training step of one run, put together around one BLAS product; see `span` for the mathematics.

A piece goes through one filter, a row of q patches: what it does is chosen by a code outside its loop, so each loop is
plain and is vectorised, and what one piece leaves to the next lies in the first cache. A row is named by its number: a
view of it costs as much as twenty patches. Nothing here checks its input.
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

compiled = partial(njit, cache=True, nogil=True, error_model="numpy")


@compiled()
def add_activated(kind, setting, readout, products, k, scale, start, total):
    """H_k += scale start_k; total += a s(H_k)."""
    if kind == 0:
        for p in range(total.size):
            u = products[k, p] + scale * start[k, p]
            products[k, p] = u
            total[p] += readout * max(u, 0.0)
    elif kind == 1:
        for p in range(total.size):
            u = products[k, p] + scale * start[k, p]
            products[k, p] = u
            total[p] += readout * (u if u > 0 else setting * u)
    elif kind == 2:
        for p in range(total.size):
            u = products[k, p] + scale * start[k, p]
            products[k, p] = u
            total[p] += readout * power(u if u > 0 else 0.0, int(setting))
    else:
        for p in range(total.size):
            u = products[k, p] + scale * start[k, p]
            products[k, p] = u
            total[p] += readout * setting * (max(u / setting, 0.0) + np.log1p(np.exp(-abs(u / setting))))


@compiled()
def pull_filter(kind, setting, readout, products, k, pulls, gradient, row):
    """gradient_row = a pulls o s'(H_k)."""
    if kind == 0:
        for p in range(pulls.size):
            gradient[row, p] = readout * pulls[p] if products[k, p] > 0 else 0.0
    elif kind == 1:
        for p in range(pulls.size):
            gradient[row, p] = readout * pulls[p] * (1.0 if products[k, p] > 0 else setting)
    elif kind == 2:
        for p in range(pulls.size):
            slope = setting * power(products[k, p] if products[k, p] > 0 else 0.0, int(setting) - 1)
            gradient[row, p] = readout * pulls[p] * slope
    else:
        for p in range(pulls.size):
            gradient[row, p] = readout * pulls[p] / (1 + np.exp(-products[k, p] / setting))


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
def read_out(kind, setting, readout, products, scale, start, own, by_patch, output):
    """H += scale start, and f of every sample from it."""
    by_patch[:] = 0.0
    for k in range(readout.size):
        add_activated(kind, setting, readout[k], products, k, scale, start, by_patch)
    for i in range(output.size):
        output[i] = by_patch[i] + by_patch[own[i]]


@compiled()
def follow_relu(readout, products, k, pulls, coefficients, rate):
    """What `pull_filter` and `move_filter` do for the ReLU by plain descent, in one loop."""
    for p in range(pulls.size):
        coefficients[k, p] -= rate * (readout * pulls[p] if products[k, p] > 0 else 0.0)


@compiled()
def move_filter(coefficients, velocity, k, gradient, rate, momentum, nesterov, decay):
    """C_k by its gradient, with what the optimiser remembers."""
    if momentum == 0 and decay == 0:
        for p in range(gradient.shape[1]):
            coefficients[k, p] -= rate * gradient[0, p]
    elif momentum == 0:
        for p in range(gradient.shape[1]):
            coefficients[k, p] -= rate * (gradient[0, p] + decay * coefficients[k, p])
    else:
        for p in range(gradient.shape[1]):
            slope = gradient[0, p] + decay * coefficients[k, p]
            velocity[k, p] = momentum * velocity[k, p] + slope
            coefficients[k, p] -= rate * (slope + momentum * velocity[k, p] if nesterov else velocity[k, p])


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
def ascend(kind, setting, readout, products, pulls, kernel, radius, gradient, along):
    """along = radius G K / ||G||, what the ascent of sharpness-aware minimisation adds to the products."""
    for k in range(readout.size):
        pull_filter(kind, setting, readout[k], products, k, pulls, gradient, k)
    np.dot(gradient, kernel, along)
    square = 0.0
    for k in range(readout.size):
        for p in range(pulls.size):
            square += gradient[k, p] * along[k, p]
    factor = radius / np.sqrt(square) if square > 0 else 0.0
    for k in range(readout.size):
        for p in range(pulls.size):
            along[k, p] *= factor


@compiled()
def is_finite(output, y_given):
    """Whether the sum of all margins is."""
    total = 0.0
    for i in range(output.size):
        total += y_given[i] * output[i]
    return abs(total) < LARGEST


@compiled()
def look(output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series):
    """The tracked series of one step."""
    n, half = output.size, readout.size // 2
    least, most = np.inf, -np.inf
    for i in range(n):
        z = y_given[i] * output[i]
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


@compiled()
def train_run(
    kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius, staged,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, series, finite,
):  # fmt: skip
    """Train one run by `rates.size` steps in place; returns its best separation, and whether it stayed finite."""
    filters, q = coefficients.shape
    pulls, by_patch, gradient, top = np.empty(q), np.empty(q), np.empty((1, q)), np.empty((2, output.size))
    ascended = products
    if radius > 0:
        ascended, whole_gradient, output_above = np.empty((filters, q)), np.empty((filters, q)), np.empty(output.size)
    for t in range(rates.size):
        shown, flipped = weights[t % weights.shape[0]], flips[t % flips.shape[0]]
        select = t >= selection_from
        pull_patches(loss, output, y_given, own, shown, flipped, select, pulls)
        if radius > 0:
            ascend(activation, setting, readout, products, pulls, kernel, radius, whole_gradient, ascended)
            read_out(activation, setting, readout, ascended, 1.0, products, own, by_patch, output_above)
            pull_patches(loss, output_above, y_given, own, shown, flipped, select, pulls)
        for k in range(filters):
            if activation == 0 and momentum == 0 and decay == 0:
                follow_relu(readout[k], ascended, k, pulls, coefficients, rates[t])
            else:
                pull_filter(activation, setting, readout[k], ascended, k, pulls, gradient, 0)
                move_filter(coefficients, velocity, k, gradient, rates[t], momentum, nesterov, decay)
        if decay > 0:
            slope = decay * scale[0]
            drift[0] = momentum * drift[0] + slope
            scale[0] -= rates[t] * (slope + momentum * drift[0] if nesterov else drift[0])
        np.dot(coefficients, kernel, products)
        read_out(activation, setting, readout, products, scale[0], products0, own, by_patch, output)
        finite[t] = is_finite(output, y_given)
        if not finite[t]:
            return gap, False
        if not staged:
            continue
        find_top(coefficients, top)
        look(output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series[:, t])
        apart = min(series[0, t], -series[1, t])
        if np.isfinite(apart) and apart > gap:
            gap = apart
            best[:] = coefficients
            best_scale[0] = scale[0]
    return gap, True


@compiled()
def train_runs(
    first, last, kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius, staged,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, whole, series, finite,
):  # fmt: skip
    """Train the runs `first` to `last` of a batch, one after the other: what one needs stays in the cache."""
    for r in range(first, last):
        if whole[r]:
            gap[r], whole[r] = train_run(
                kernel[r], products0[r], readout, y_given[r], own[r], clean[r], mu_sq[r], xi_sq[r],
                activation, setting, loss, rates[r], weights[r % weights.shape[0]], flips[r % flips.shape[0]],
                selection_from, momentum, nesterov, decay, radius, staged,
                coefficients[r], scale[r], velocity[r % velocity.shape[0]], drift[r], products[r], output[r],
                best[r], best_scale[r], gap[r], series[:, r], finite[r],
            )  # fmt: skip
