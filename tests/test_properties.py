"""What must hold for every draw: exact symmetries of the model, the signs of its coefficients, order of convergence.

Comparisons are between two computations that agree up to rounding; an activation within rounding of the ReLU's kink
could separate them, with a chance of about 1e-12 for each run.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelnoise.noise.models import ClassConditional
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

ARRAYS = ("output", "margin", "margin_predicted", "gamma", "rho")
OPTIONS = {"lr": 0.2, "steps": 30, "record_every": 10, "record": ARRAYS, "test_draws": 0}
MANY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def problems(draw, least_tau=0.0):
    """Small problems, also with fewer dimensions than vectors; every scale is of order one, so that all of it moves."""
    return SignalNoise(
        n=draw(st.integers(1, 9)),
        d=draw(st.integers(2, 60)),
        m=draw(st.integers(1, 4)),
        mu_norm=draw(st.floats(0.5, 4.0)),
        noise_std=draw(st.floats(0.3, 1.5)),
        init_std=draw(st.floats(0.01, 0.5)),
        label_noise=ClassConditional(*draw(st.tuples(*2 * [st.floats(least_tau, 0.49)]))),
        orthogonal_noise=draw(st.booleans()),
    )


seeds = st.integers(0, 10_000)


def assert_same(actual, expected, tol=1e-9):
    """Equal up to rounding, measured against the largest entry; NaN in the same places."""
    assert actual.shape == expected.shape
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    scale = np.abs(np.nan_to_num(expected)).max(initial=1e-3)
    assert np.abs(np.nan_to_num(actual - expected)).max(initial=0) < tol * scale


def assert_same_run(actual, expected, **arrays):
    """The table and every tracked series agree, and the arrays are as given."""
    assert actual.status == expected.status == "ok"
    for name, column in expected.table.items():
        assert_same(actual.table[name], column)
    for name, series in expected.track.items():
        assert_same(actual.track[name], series)
    for name, array in arrays.items():
        assert_same(actual.values[name], array)


def reorder(draw, samples=None, filters=None, signs=None, **labels):
    """The draw with its rows taken in another order and negated where `signs` (of [samples, mu, filters]) is -1."""
    n, m = draw.n, draw.m
    samples = np.arange(n) if samples is None else samples
    filters = np.arange(2 * m) if filters is None else filters
    rows = np.concatenate([samples, [n], n + 1 + filters])
    signs = np.ones(len(rows)) if signs is None else signs
    inner = draw.inner[np.ix_(rows, rows)] * np.outer(signs, signs)
    labels = {"y_true": draw.y_true[samples], "y_given": draw.y_given[samples], **labels}
    return Draw(inner=inner, m=len(filters) // 2, **labels)


# ----------------------------------------------------------------------------------------------------------- symmetries


@MANY
@given(problems(), seeds)
def test_the_two_classes_can_be_swapped(problem, seed):
    """y -> -y, y~ -> -y~, mu -> -mu leaves every patch y mu and xi where it is; with the filters of the two signs
    swapped, f -> -f, so margins, gradients, gamma and rho stay, the latter two with their filters."""
    draw = problem.sample(seed=seed)
    swap = np.roll(np.arange(2 * problem.m), problem.m)
    signs = np.concatenate([np.ones(problem.n), [-1], np.ones(2 * problem.m)])
    swapped = reorder(draw, filters=swap, signs=signs, y_true=-draw.y_true, y_given=-draw.y_given)
    run, mirror = simulate(draw, **OPTIONS), simulate(swapped, **OPTIONS)
    v = run.values
    changed = {"output": -v["output"], "gamma": v["gamma"][:, swap], "rho": v["rho"][:, swap]}
    same = {"margin": v["margin"], "margin_predicted": v["margin_predicted"]}
    assert_same_run(mirror, run, **changed, **same)


@MANY
@given(problems(), seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_means_nothing(problem, seed, random):
    draw = problem.sample(seed=seed)
    order = np.array(random.sample(range(problem.n), problem.n))
    run, other = simulate(draw, **OPTIONS), simulate(reorder(draw, samples=order), **OPTIONS)
    by_sample = {name: run.values[name][..., order] for name in ARRAYS if name != "gamma"}
    assert_same_run(other, run, gamma=run.values["gamma"], **by_sample)


@MANY
@given(problems(), seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_filters_of_a_sign_means_nothing(problem, seed, random):
    draw, m = problem.sample(seed=seed), problem.m
    order = np.array(random.sample(range(m), m) + random.sample(range(m, 2 * m), m))
    run, other = simulate(draw, **OPTIONS), simulate(reorder(draw, filters=order), **OPTIONS)
    moved = {name: run.values[name][:, order] for name in ("gamma", "rho")}
    assert_same_run(other, run, output=run.values["output"], margin=run.values["margin"], **moved)


@MANY
@given(problems(), seeds, st.floats(0.1, 10.0))
def test_the_unit_of_length_means_nothing(problem, seed, a):
    """x -> a x, w(0) -> w(0) / a, eta -> eta / a^2: w(t) -> w(t) / a, so products, f, gamma and rho stay."""
    rescaled = replace(
        problem, mu_norm=a * problem.mu_norm, noise_std=a * problem.noise_std, init_std=problem.init_std / a
    )
    run = simulate(problem.sample(seed=seed), **OPTIONS)
    other = simulate(rescaled.sample(seed=seed), **{**OPTIONS, "lr": OPTIONS["lr"] / a**2})
    assert_same_run(other, run, **run.values)


@MANY
@given(problems(), seeds)
def test_copying_every_filter_is_doubling_the_learning_rate(problem, seed):
    """F_j averages over filters, so two copies of each give the same f, and each gets half the gradient."""
    draw, m = problem.sample(seed=seed), problem.m
    twice = np.repeat(np.arange(2 * m), 2)
    run = simulate(draw, **OPTIONS)
    other = simulate(reorder(draw, filters=twice), **{**OPTIONS, "lr": 2 * OPTIONS["lr"]})
    copied = {name: run.values[name][:, twice] for name in ("gamma", "rho")}
    assert_same_run(other, run, output=run.values["output"], margin=run.values["margin"], **copied)


@MANY
@given(problems(), seeds)
def test_copying_every_sample_changes_no_output(problem, seed):
    """The loss is a mean over samples; two copies of a patch share its coefficient."""
    draw, n = problem.sample(seed=seed), problem.n
    twice = np.repeat(np.arange(n), 2)
    run, other = simulate(draw, **OPTIONS), simulate(reorder(draw, samples=twice), **OPTIONS)
    v = run.values
    assert_same(other.values["output"], v["output"][:, twice])
    assert_same(other.values["gamma"], v["gamma"])
    assert_same(other.values["rho"], v["rho"][..., twice] / 2)


@pytest.mark.slow
@MANY
@given(problems(), seeds, st.integers(0, 30), st.integers(1, 30))
def test_a_longer_run_continues_a_shorter_one(problem, seed, steps, record_every):
    draw = problem.sample(seed=seed)
    long = simulate(draw, **{**OPTIONS, "record_every": 1})
    short = simulate(draw, **{**OPTIONS, "steps": steps, "record_every": record_every})
    for name in ARRAYS:
        assert (short.values[name] == long.values[name][short.steps]).all()
    for name, series in short.track.items():
        np.testing.assert_array_equal(series, long.track[name][: steps + 1])


# ---------------------------------------------------------------------------------------------------- the decomposition


@MANY
@given(problems(), seeds)
def test_the_coefficients_follow_their_recursion(problem, seed):
    """Each rho moves by (eta / (n m)) |l'_i| ||xi_i||^2 towards the sign j y~_i or stays; each gamma moves by the sum
    over the samples of y = +1, or of y = -1, or stays. All start at 0. So rho-bar only grows, rho-underbar only falls,
    and without label noise gamma only grows."""
    draw = problem.sample(seed=seed)
    run = simulate(draw, **{**OPTIONS, "record_every": 1})
    v, m = run.values, problem.m
    assert (v["rho"][0] == 0).all() and (v["gamma"][0] == 0).all()

    sign = np.repeat([1.0, -1.0], m)
    slope = 1 / (1 + np.exp(v["margin"][:-1]))  # -l'
    assert slope.min() > 1e-6  # so that a coefficient that moves can be told from one that does not
    size = OPTIONS["lr"] / (problem.n * m) * slope
    rho_step = (size * draw.gram.diagonal())[:, None, :] * sign[:, None] * draw.y_given
    moved = np.diff(v["rho"], axis=0)
    stays, moves = np.abs(moved), np.abs(moved - rho_step)
    assert (np.minimum(stays, moves) <= 1e-9 * np.abs(rho_step)).all()

    towards = size * draw.y_true * draw.y_given * draw.mu_sq
    options = np.stack([np.where(draw.y_true == y, towards, 0).sum(-1) for y in (1, -1)], axis=-1)  # (steps, 2)
    moved = np.diff(v["gamma"], axis=0)
    gaps = np.stack([np.abs(moved - step[:, None]) for step in (0 * options[:, 0], options[:, 0], options[:, 1])])
    assert (gaps.min(0) <= 1e-9 * (np.abs(towards).sum(-1)[:, None] + np.abs(v["gamma"][1:]))).all()

    along = v["rho"] * sign[:, None] * draw.y_given  # rho-bar, and -rho-underbar
    assert (np.diff(along, axis=0) >= 0).all()
    if not draw.noisy.any():
        assert (np.diff(v["gamma"], axis=0) >= 0).all()


@MANY
@given(problems(least_tau=0.3), seeds)
def test_masks_and_tables_agree_with_the_labels(problem, seed):
    run = simulate(problem.sample(seed=seed), **OPTIONS)
    draw, margin = run.draw, run.values["margin"]
    for name, mask in (("clean", ~draw.noisy), ("noisy", draw.noisy)):
        column = run.table[f"accuracy_{name}"]
        assert np.isnan(column).all() if not mask.any() else (column == (margin[:, mask] > 0).mean(1)).all()
    assert (margin == draw.y_given * run.values["output"]).all()


# ------------------------------------------------------------------------------------------------- order of convergence


def test_gradient_descent_converges_to_gradient_flow_with_order_one():
    """At a fixed time lr * steps the mean gap to the limit lr -> 0 falls like lr^1, through both stages.

    The field has kinks, so the order of one run is only near 1, and the steps are small enough to resolve the flips.
    """
    problem = SignalNoise(n=16, d=4_000, m=4, mu_norm=40.0, init_std=0.001, label_noise=ClassConditional(0.2, 0.2))
    draws = stack([problem.sample(seed=seed) for seed in range(8)])
    time, counts, names = 0.3, (256, 512, 1_024, 2_048), ("output", "gamma", "rho")

    def end(steps):
        values = simulate(draws, lr=time / steps, steps=steps, record_every=steps, record=names, test_draws=0).values
        return {name: array[:, -1] for name, array in values.items()}

    limit, ends = end(32_768), [end(steps) for steps in counts]
    for r, draw in enumerate(draws):
        assert (draw.y_given * limit["output"][r] > 0).all()  # the wrong labels are memorised
        for name in names:
            errors = [np.abs(found[name][r] - limit[name][r]).mean() for found in ends]
            order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
            assert 0.85 < order < 1.25, (r, name, order)
            assert errors[-1] < 0.01 * np.abs(limit[name][r]).mean()
