"""Compiled pieces of a training step, put together around one product; see `span` for the mathematics.

They train a group of L runs, one or `LANES`: the last axis of its arrays counts the runs fastest (see `lanes`), and
what is a number a run has an axis of L. So most loops do not know how many runs there are.

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
from labelnoise.theory.products import multiply

ACTIVATIONS = {ReLU: 0, LeakyReLU: 1, PowerReLU: 2, Softplus: 3}
"""The code of each activation."""
LOSSES = {Logistic: 0, Exponential: 1, Squared: 2, Hinge: 3}
"""The code of each loss."""

INLINED = "ccc64e2d3abc0c0f"
"""Digest of the other sources that are compiled in: Numba compiles a function anew when the content of its own file
changes, and looks at no other. A test says what it must be."""

compiled = partial(njit, cache=True, nogil=True, error_model="numpy")


@compiled(forceinline=True)
def add_activated(kind, setting, readout, products, k, start, total):
    """H_k += start_k; total += a s(H_k)."""
    if kind == 0:
        for p in range(total.size):
            u = products[k, p] + start[k, p]
            products[k, p] = u
            total[p] += readout * max(u, 0.0)
    elif kind == 1:
        for p in range(total.size):
            u = products[k, p] + start[k, p]
            products[k, p] = u
            total[p] += readout * (u if u > 0 else setting * u)
    elif kind == 2:
        for p in range(total.size):
            u = products[k, p] + start[k, p]
            products[k, p] = u
            total[p] += readout * power(u if u > 0 else 0.0, int(setting))
    else:
        for p in range(total.size):
            u = products[k, p] + start[k, p]
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
    pulls[output.size :] = 0.0
    for i in range(output.size):
        z = y_given[i] * output[i]
        slope = loss_slope(loss, z) + (1.0 if flips.size and flips[i] else 0.0)
        g = weights[i] * slope * y_given[i]
        pulls[i] = 0.0 if select and z < 0 else g
        pulls[own[i]] += pulls[i]


@compiled()
def read_out(kind, setting, readout, products, start, own, by_patch, output):
    """H += start, and f of every sample from it."""
    by_patch[:] = 0.0
    for k in range(readout.size):
        add_activated(kind, setting, readout[k], products, k, start, by_patch)
    for i in range(output.size):
        output[i] = by_patch[i] + by_patch[own[i]]


@compiled()
def read_patches(first, last, kind, setting, readout, factors, patches, outputs):
    """outputs = a s(F P) of the runs `first` to `last`; F (R, 2m, r), P (R or 1, r, N), outputs (R, N)."""
    products, nothing = np.empty((readout.size, patches.shape[2])), np.zeros((readout.size, patches.shape[2]))
    for run in range(first, last):
        np.dot(factors[run], patches[run % len(patches)], products)
        read_out(kind, setting, readout, products, nothing, np.empty(0, np.int64), outputs[run], np.empty(0))


@compiled(forceinline=True)
def follow_relu(readout, products, k, pulls, coefficients, rate):
    """What `pull_filter` and `move_filter` do for the ReLU by plain descent, in one loop."""
    for p in range(pulls.size):
        coefficients[k, p] -= rate[p] * (readout * pulls[p] if products[k, p] > 0 else 0.0)


@compiled()
def move_filter(coefficients, velocity, k, gradient, rate, momentum, nesterov, decay):
    """C_k by its gradient, with what the optimiser remembers."""
    if momentum == 0 and decay == 0:
        for p in range(gradient.shape[1]):
            coefficients[k, p] -= rate[p] * gradient[0, p]
    elif momentum == 0:
        for p in range(gradient.shape[1]):
            coefficients[k, p] -= rate[p] * (gradient[0, p] + decay * coefficients[k, p])
    else:
        for p in range(gradient.shape[1]):
            slope = gradient[0, p] + decay * coefficients[k, p]
            velocity[k, p] = momentum * velocity[k, p] + slope
            coefficients[k, p] -= rate[p] * (slope + momentum * velocity[k, p] if nesterov else velocity[k, p])


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
def ascend(lanes, kind, setting, readout, products, pulls, kernel, radius, gradient, along):
    """along = radius G K / ||G||, what the ascent of sharpness-aware minimisation adds to the products."""
    for k in range(readout.size):
        pull_filter(kind, setting, readout[k], products, k, pulls, gradient, k)
    multiply(gradient, kernel, along)
    for lane in range(lanes):
        square = 0.0
        for k in range(readout.size):
            for p in range(lane, pulls.size, lanes):
                square += gradient[k, p] * along[k, p]
        factor = radius / np.sqrt(square) if square > 0 else 0.0
        for k in range(readout.size):
            for p in range(lane, pulls.size, lanes):
                along[k, p] *= factor


@compiled()
def note_finite(output, y_given, whole, finite):
    """Which runs are still whole: the sum of all margins is finite."""
    lanes = whole.size
    for lane in range(lanes):
        total = 0.0
        for i in range(lane, output.size, lanes):
            total += y_given[i] * output[i]
        whole[lane] = whole[lane] and abs(total) < LARGEST
        finite[lane] = whole[lane]


@compiled()
def look(lane, output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series):
    """The tracked series of one step of the run in a lane."""
    lanes, half, size = mu_sq.size, readout.size // 2, output.size
    least, most, rho = np.inf, -np.inf, -np.inf
    for i in range(lane, size, lanes):
        z = y_given[i] * output[i]
        if clean[i]:
            least = min(least, z)
        else:
            most = max(most, z)
        rho = max(rho, top[0 if y_given[i] > 0 else 1, i] * xi_sq[i])
    gamma = np.inf
    for k in range(readout.size):
        signal = coefficients[k, size + lane] - coefficients[k, size + lanes + lane]
        gamma = min(gamma, (signal if k < half else -signal) * mu_sq[lane])
    series[0, lane], series[1, lane], series[2, lane], series[3, lane] = least, most, gamma, rho


@compiled()
def keep_best(coefficients, scale, whole, series, best, best_scale, gap):
    """Keep the networks whose separation is the best so far."""
    lanes = gap.size
    for lane in range(lanes):
        apart = min(series[0, lane], -series[1, lane])
        if whole[lane] and np.isfinite(apart) and apart > gap[lane]:
            gap[lane], best_scale[lane] = apart, scale[lane]
            for k in range(coefficients.shape[0]):
                for p in range(lane, coefficients.shape[1], lanes):
                    best[k, p] = coefficients[k, p]


@compiled()
def decay_start(products0, rate, momentum, nesterov, decay, scale, drift, start):
    """start = a H0, the share of the initial weights after one more step of decay."""
    lanes = scale.size
    for lane in range(lanes):
        slope = decay * scale[lane]
        drift[lane] = momentum * drift[lane] + slope
        scale[lane] -= rate[lane] * (slope + momentum * drift[lane] if nesterov else drift[lane])
        for k in range(start.shape[0]):
            for p in range(lane, start.shape[1], lanes):
                start[k, p] = scale[lane] * products0[k, p]


@compiled()
def train_group(
    kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius, staged,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, whole, series, finite,
):  # fmt: skip
    """Train the runs of a group by as many steps as it has rates, in place."""
    lanes, (filters, size) = gap.size, coefficients.shape
    pulls, by_patch, rate = np.empty(size), np.empty(size), np.empty(size)
    gradient, top = np.empty((1, size)), np.empty((2, output.size))
    start, ascended = products0, products
    if decay > 0:
        start = np.empty((filters, size))
    if radius > 0:
        ascended, whole_gradient, output_above = np.empty((filters, size)), np.empty((filters, size)), 0 * output
    for t in range(len(rates)):
        shown, flipped = weights[t % weights.shape[0]], flips[t % flips.shape[0]]
        select = t >= selection_from
        for p in range(0, size, lanes):
            for lane in range(lanes):
                rate[p + lane] = rates[t, lane]
        pull_patches(loss, output, y_given, own, shown, flipped, select, pulls)
        if radius > 0:
            ascend(lanes, activation, setting, readout, products, pulls, kernel, radius, whole_gradient, ascended)
            read_out(activation, setting, readout, ascended, products, own, by_patch, output_above)
            pull_patches(loss, output_above, y_given, own, shown, flipped, select, pulls)
        for k in range(filters):
            if activation == 0 and momentum == 0 and decay == 0:
                follow_relu(readout[k], ascended, k, pulls, coefficients, rate)
            else:
                pull_filter(activation, setting, readout[k], ascended, k, pulls, gradient, 0)
                move_filter(coefficients, velocity, k, gradient, rate, momentum, nesterov, decay)
        if decay > 0:
            decay_start(products0, rate, momentum, nesterov, decay, scale, drift, start)
        multiply(coefficients, kernel, products)
        read_out(activation, setting, readout, products, start, own, by_patch, output)
        note_finite(output, y_given, whole, finite[t])
        if not whole.any():
            return
        if staged:
            find_top(coefficients, top)
            for lane in range(lanes):
                look(lane, output, y_given, clean, coefficients, readout, mu_sq, xi_sq, top, series[t])
            keep_best(coefficients, scale, whole, series[t], best, best_scale, gap)


@compiled()
def train_groups(
    first, last, kernel, products0, readout, y_given, own, clean, mu_sq, xi_sq,
    activation, setting, loss, rates, weights, flips, selection_from, momentum, nesterov, decay, radius, staged,
    coefficients, scale, velocity, drift, products, output, best, best_scale, gap, whole, series, finite,
):  # fmt: skip
    """Train the groups `first` to `last` of a batch, one after the other: what one needs stays in the cache."""
    for g in range(first, last):
        if whole[g].any():
            train_group(
                kernel[g], products0[g], readout, y_given[g], own[g], clean[g], mu_sq[g], xi_sq[g],
                activation, setting, loss, rates[g], weights[g % weights.shape[0]], flips[g % flips.shape[0]],
                selection_from, momentum, nesterov, decay, radius, staged,
                coefficients[g], scale[g], velocity[g], drift[g], products[g], output[g],
                best[g], best_scale[g], gap[g], whole[g], series[g], finite[g],
            )  # fmt: skip
