"""Data models beyond the paper's: against explicit vectors, against each other, and what they leave of the claims."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import labelnoise as ln
from helpers import assert_close
from labelnoise.cli import main
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.report.page import write_report
from labelnoise.runs.reading import read_run
from labelnoise.runs.settings import config_of, settings_of
from labelnoise.theory import outputs
from labelnoise.theory.activations import LeakyReLU, Softplus
from labelnoise.theory.cells import Cell, check_cell, group_of, run_cells
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.flips import flip_probability
from labelnoise.theory.losses import Hinge, Logistic
from labelnoise.theory.observables import TRACKED
from labelnoise.theory.optimizers import GradientFlow, Momentum, SharpnessAware
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.sampling import sample_runs
from labelnoise.theory.shown import Shown
from labelnoise.theory.simulation import simulate
from labelnoise.theory.trajectory import Trajectory
from labelnoise.theory.verdicts import checks

PLAIN = SignalNoise(n=24, d=160, m=3, mu_norm=5.0, init_std=0.02, label_noise=ClassConditional(0.1, 0.25))
SKEWED = Matrix(((0.7, 0.2, 0.1), (0.05, 0.8, 0.15), (0.0, 0.3, 0.7)))
PROBLEMS = {
    "flips by the patch": replace(PLAIN, flip_dependence=0.8, flip_cosine=0.5),
    "three classes": replace(PLAIN, n_classes=3, label_noise=SKEWED),
    "five classes": replace(PLAIN, n_classes=5, label_noise=Pair(0.2), bias=True),
    "one patch": replace(PLAIN, one_patch=True),
    "one patch, flips by it": replace(PLAIN, one_patch=True, flip_dependence=0.9),
    "one patch, three classes": replace(PLAIN, one_patch=True, n_classes=3, label_noise=Symmetric(0.2)),
}
HOW = {
    "plain": Dynamics(),
    "leaky, minibatches, selection, momentum, decay": Dynamics(
        LeakyReLU(0.1), shown=Shown(batch_size=7, selection_from=10), optimizer=Momentum(0.5, True), weight_decay=0.02
    ),
    "sharpness aware": Dynamics(optimizer=SharpnessAware(0.05), second_layer=0.5),
}
RECORD = ("output", "margin", "loss", "gamma", "rho", "held_out_margin")
OPTIONS = {"lr": 0.05, "steps": 40, "record_every": 10, "record": RECORD, "test_draws": 50}


def assert_equal_runs(ours, theirs, tol=1e-9):
    assert ours.status == theirs.status == "ok"
    for name in RECORD:
        gap = np.abs(ours.values[name] - theirs.values[name]).max() / np.abs(theirs.values[name]).max()
        assert gap < tol, name
    for name in TRACKED:
        assert_close(ours.track[name], theirs.track[name], rtol=tol, atol=tol)
    assert ours.table.keys() == theirs.table.keys()
    for name in ours.table:
        assert_close(np.nan_to_num(ours.table[name]), np.nan_to_num(theirs.table[name]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "how, orthogonal",
    [
        ("plain", False),
        pytest.param("plain", True, marks=pytest.mark.slow),
        ("leaky, minibatches, selection, momentum, decay", True),
        pytest.param("sharpness aware", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_variant_is_that_of_explicit_vectors(name, how, orthogonal):
    cosine = 0.0 if orthogonal else PROBLEMS[name].flip_cosine
    problem = replace(PROBLEMS[name], orthogonal_noise=orthogonal, flip_cosine=cosine)
    draw = problem.sample(seed=2, vectors=True, n_holdout=6)
    span, dense = (simulate(draw, engine=engine, dynamics=HOW[how], **OPTIONS) for engine in ("span", "dense"))
    assert np.abs(dense.values["gamma"][-1]).max() > 0.01 and np.abs(dense.values["rho"][-1]).max() > 0.01
    assert_equal_runs(span, dense)
    assert 0 < dense.table["test_error_given_fresh"][-1] < 0.9


@pytest.mark.parametrize("name", PROBLEMS)
def test_torch_arrays_give_the_same(name):
    draw = PROBLEMS[name].sample(seed=2, n_holdout=6)
    how = HOW["leaky, minibatches, selection, momentum, decay"]
    runs = [simulate(draw, device=device, engine="span", dynamics=how, **OPTIONS) for device in (None, "cpu")]
    assert_equal_runs(*runs, 1e-10)


def last_output(problem):
    draw = problem.sample(seed=1, vectors=True)
    return simulate(draw, lr=0.05, steps=40, record=("output",), test_draws=0).values["output"][-1]


def test_every_variant_differs_from_every_other():
    found = [last_output(problem) for problem in [PLAIN, replace(PLAIN, flip_dependence=0.8), *PROBLEMS.values()]]
    for at, one in enumerate(found):
        for other in found[at + 1 :]:
            assert one.shape != other.shape or np.abs(one - other).max() > 1e-3 * np.abs(other).max()


@pytest.mark.parametrize("name", PROBLEMS)
def test_runs_train_together_as_they_do_alone(name):
    draws = [replace(PROBLEMS[name], d=d, mu_norm=mu).sample(seed=s) for d, mu, s in ((160, 5, 1), (900, 9, 2))]
    options = {**OPTIONS, "record": RECORD[:-1]}
    batch = simulate(stack(draws), **{**options, "lr": [0.05, 0.02]})
    for run, draw, lr in zip(batch, draws, (0.05, 0.02), strict=True):
        alone = simulate(draw, **{**options, "lr": lr})
        for column in alone.table:
            assert_close(np.nan_to_num(run.table[column]), np.nan_to_num(alone.table[column]), rtol=1e-9, atol=1e-9)
        assert_close(run.values["rho"], alone.values["rho"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_compiled_engine_trains_what_it_covers_and_says_what_not(name):
    draw = PROBLEMS[name].sample(seed=2, n_holdout=4)
    if name == "flips by the patch":
        runs = [simulate(draw, engine=engine, **OPTIONS) for engine in ("compiled", "span")]
        assert_equal_runs(*runs, 1e-11)
    else:
        with pytest.raises(InputError, match="are trained by the array engine; leave `engine` out"):
            simulate(draw, engine="compiled", **OPTIONS)
        assert simulate(draw, **OPTIONS).status == "ok"


def test_a_smooth_flow_is_the_limit_of_small_steps_in_every_variant():
    for name in ("three classes", "one patch"):
        draw, options = (
            replace(PROBLEMS[name], n=10, init_std=0.1).sample(seed=0),
            {"record": ("output",), "test_draws": 0},
        )
        how = Dynamics(Softplus(0.5), optimizer=GradientFlow(1e-7))
        flow = simulate(draw, lr=0.1, steps=8, dynamics=how, **options).values["output"][-1]
        coarse, fine = (
            simulate(draw, lr=0.1 / k, steps=8 * k, dynamics=Dynamics(Softplus(0.5)), **options).values["output"][-1]
            for k in (16, 32)
        )
        assert np.abs(flow - (2 * fine - coarse)).max() < 1e-4 * np.abs(flow).max() < np.abs(flow - fine).max()


# flips that depend on the noise patch


@pytest.mark.parametrize("dependence", [0.0, 0.3, 0.9, 0.9999, 1.0])
@pytest.mark.parametrize("tau", [0.0, 0.05, 0.4])
def test_the_mean_rate_is_that_of_the_class_whatever_the_dependence(tau, dependence):
    score = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    rates = flip_probability(score, np.array(tau), dependence)
    assert rates.mean() == pytest.approx(tau, abs=2e-5) and (np.diff(rates) >= 0).all()
    assert (rates.std() > 0.01) == (tau > 0 and dependence > 0)
    assert set(np.unique(rates)) <= {0.0, 1.0} or dependence < 1


def test_single_rates_are_those_of_the_formula():
    score, tau, r = np.array([-1.0, 0.0, 2.0]), np.array([0.1, 0.3, 0.3]), 0.6
    expected = stats.norm.cdf((stats.norm.ppf(tau) + r * score) / 0.8)
    assert_close(flip_probability(score, tau, r), expected)
    assert expected[2] > 0.5  # a single rate may exceed one half


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("cosine, orthogonal", [(-0.5, False), (1.0, False), (0.0, True)])
def test_flips_follow_the_rates_of_their_patches(vectors, cosine, orthogonal):
    """Each class has its rate; what is flipped lies along v by E[s | flip] = r phi(q) / tau, to 4.5 standard errors."""
    problem = replace(
        PLAIN, n=400, d=20, noise_std=1.7, flip_dependence=0.8, flip_cosine=cosine, orthogonal_noise=orthogonal
    )
    draws = [problem.sample(seed=s, vectors=vectors, n_holdout=400) for s in range(10)]
    y_true = np.concatenate([np.r_[draw.y_true, draw.held_out_true] for draw in draws])
    y_given = np.concatenate([np.r_[draw.y_given, draw.held_out_given] for draw in draws])
    score = np.concatenate([np.r_[draw.probe[:400], draw.probe[-400:]] for draw in draws]) / 1.7
    assert stats.kstest(score, "norm").pvalue > 1e-3
    for sign, tau in ((1, 0.1), (-1, 0.25)):
        flipped = (y_given != y_true)[y_true == sign]
        assert abs(flipped.mean() - tau) < 4.5 * np.sqrt(tau * (1 - tau) / flipped.size)
        shift = score[y_true == sign][flipped]
        expected = 0.8 * stats.norm.pdf(stats.norm.ppf(tau)) / tau
        assert abs(shift.mean() - expected) < 4.5 / np.sqrt(shift.size)
    first = draws[0]
    if vectors:
        v = first.vectors
        assert np.linalg.norm(v.probe) == pytest.approx(1) and v.probe @ v.mu[0] / 5 == pytest.approx(cosine)
        assert_close(first.probe[:400], v.xi @ v.probe)
    if cosine == 1.0:
        assert_close(first.probe[:400], first.xi_mu / 5.0)


def statistics_of(draw):
    """Inner products, products with v, and both together with which labels are flipped."""
    upper = draw.inner[np.triu_indices(len(draw.inner))]
    flipped = draw.noisy * 1.0
    return np.concatenate(
        [upper, draw.probe, flipped @ draw.gram, flipped * draw.probe[: draw.n], draw.w0_xi @ flipped]
    )


def test_both_routes_draw_flips_and_products_of_one_law():
    """Kolmogorov-Smirnov over all statistics: a false alarm in 1 of 1,000 correct samplers, seeds fixed."""
    problem = SignalNoise(n=4, d=4, m=1, mu_norm=2.0, init_std=0.5, flip_dependence=0.9, flip_cosine=0.6)
    routes = [
        np.stack([statistics_of(draw) for draw in sample_runs([problem] * 800, range(first, first + 800), vectors=on)])
        for on, first in ((False, 0), (True, 10**6))
    ]
    moving = np.flatnonzero(np.concatenate(routes).std(axis=0) > 1e-9)
    p = np.array([stats.ks_2samp(routes[0][:, k], routes[1][:, k]).pvalue for k in moving])
    assert p.min() > 1e-3 / p.size


def test_without_dependence_flips_are_those_of_the_class_to_the_bit():
    plain, tiny = (replace(PLAIN, n=300, flip_dependence=r).sample(seed=3) for r in (0.0, 1e-12))
    assert plain.probe is None and tiny.probe is not None
    assert (plain.y_given == tiny.y_given).all() and (plain.y_true == tiny.y_true).all()
    held = [replace(PLAIN, flip_dependence=r).sample(seed=3, n_holdout=9).held_out_true for r in (0.0, 0.9)]
    assert (held[0] == held[1]).all()


def forward(problem, weights, x, bias=0.0):
    """Outputs (N,) or (N, K) of explicit patches x (N, P, d), written out."""
    units = np.maximum(x @ weights.T + bias, 0).sum(1)
    of_class = units.reshape(len(x), problem.n_classes, problem.m).mean(2)
    return of_class if problem.n_classes > 2 else of_class[:, 0] - of_class[:, 1]


def weights_of(run):
    """The weights by their decomposition; of two classes."""
    v, n = run.draw.vectors, run.draw.n
    j = np.repeat([1.0, -1.0], run.draw.m)
    rho = run.values["rho"][-1] / run.draw.gram.diagonal()
    return v.w0 + (j * run.values["gamma"][-1] / run.draw.mu_sq)[:, None] * v.mu[0] + rho[:, :n] @ v.xi


@pytest.mark.parametrize("one_patch", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_error_against_flipped_labels_needs_patch_and_flip_together(orthogonal, one_patch):
    """Within 4.5 standard errors of 60,000 fresh pairs in R^d; the mean rate alone would be far off."""
    cosine = 0.0 if orthogonal else 0.7
    problem = SignalNoise(
        n=40, d=12, m=3, mu_norm=1.5, noise_std=1.3, init_std=0.1, label_noise=ClassConditional(0.4, 0.05),
        orthogonal_noise=orthogonal, one_patch=one_patch, flip_dependence=0.95, flip_cosine=cosine,
    )  # fmt: skip
    draw, count = problem.sample(seed=5, vectors=True), 60_000
    run = simulate(draw, lr=0.3, steps=300, record=("gamma", "rho"), record_every=300, test_draws=count)
    weights, v, rng = weights_of(run), draw.vectors, np.random.default_rng(0)
    xi = 1.3 * rng.standard_normal((count, 12))
    xi[:, 0] *= not orthogonal
    y = np.where(rng.random(count) < 0.5, 1.0, -1.0)
    signal = y[:, None] * v.mu[0]
    f = forward(problem, weights, (signal + xi)[:, None] if one_patch else np.stack([signal, xi], axis=1))
    rate = stats.norm.cdf(
        (stats.norm.ppf(np.where(y > 0, 0.4, 0.05)) + 0.95 * (xi @ v.probe) / 1.3) / np.sqrt(1 - 0.95**2)
    )
    given = np.where(rng.random(count) < rate, -y, y)
    error, against_given = (y * f <= 0).mean(), (given * f <= 0).mean()
    assert run.table["test_error_fresh"][-1] == pytest.approx(error, abs=4.5 * np.sqrt(0.5 / count))
    assert run.table["test_error_given_fresh"][-1] == pytest.approx(against_given, abs=4.5 * np.sqrt(0.5 / count))
    naive = error + 0.225 * (1 - 2 * error)
    assert abs(naive - against_given) > 0.02


def test_vectors_of_ones_own_have_no_direction_of_flips():
    problem = replace(PLAIN, flip_dependence=0.5)
    v = problem.sample(seed=0, vectors=True)
    draw = Draw.from_vectors(v.vectors.mu[0], v.vectors.xi, v.vectors.w0, v.y_true, v.y_given, problem=problem)
    table = simulate(draw, lr=0.05, steps=5, test_draws=20).table
    assert np.isnan(table["test_error_given_fresh"]).all() and not np.isnan(table["test_error_fresh"]).any()
    assert draw.departures == ("flips that depend on the noise patch",)


# K classes


def test_two_outputs_and_cross_entropy_are_one_output_and_the_logistic_loss():
    rng = np.random.default_rng(0)
    output, label = 5 * rng.standard_normal((3, 2, 7)), rng.integers(2, size=(3, 7)).astype(float)
    f, y = output[:, 0] - output[:, 1], 1 - 2 * label
    assert_close(outputs.margin(np, output, label), y * f)
    assert_close(outputs.cross_entropy(np, output, label), Logistic().value(np, y * f))
    slope = outputs.cross_entropy_slope(np, output, label)
    assert_close(slope[:, 0], Logistic().slope(np, y * f) * y)
    assert_close(slope[:, 0], -slope[:, 1])
    huge = outputs.cross_entropy(np, 1e4 * output, label)
    assert np.isfinite(huge).all() and np.isfinite(outputs.cross_entropy_slope(np, 1e4 * output, label)).all()


def test_margins_and_mistakes_count_ties_as_wrong():
    output = np.array([[3.0, 1, 2], [5, 5, 1]]).T.reshape(1, 3, 1, 2)
    assert_close(outputs.margins_of_classes(output)[0, :, 0].T, np.array([[1.0, -2, -1], [0, 0, -4]]))
    of_classes = np.repeat(output, 3, axis=2)
    assert outputs.mistakes(of_classes)[0].tolist() == [[False, True], [True, True], [True, True]]


@pytest.mark.parametrize("one_patch", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_test_errors_of_three_classes_are_those_of_explicit_patches(orthogonal, one_patch):
    """Fresh within 4.5 standard errors of brute force in R^d, seen exactly."""
    problem = SignalNoise(
        n=30, d=14, m=3, mu_norm=1.2, init_std=0.1, n_classes=3, label_noise=SKEWED, orthogonal_noise=orthogonal,
        one_patch=one_patch,
    )  # fmt: skip
    draw, count = problem.sample(seed=5, vectors=True), 40_000
    run = simulate(draw, lr=0.3, steps=100, record_every=100, test_draws=count, engine="dense")
    weights = trained_weights(draw, steps=100)
    v, rng = draw.vectors, np.random.default_rng(1)

    def guesses(xi):
        """The predicted class of each patch with each signal (3, N); -1 on ties, as where all filters are silent."""
        shown = [np.stack([np.broadcast_to(mu, xi.shape), xi], axis=1) for mu in v.mu]
        f = np.stack([forward(problem, weights, x.sum(1)[:, None] if one_patch else x) for x in shown])
        return np.where((f == f.max(2, keepdims=True)).sum(2) > 1, -1, f.argmax(2))

    y = np.arange(3)[:, None]
    assert run.table["test_error_seen"][-1] == pytest.approx((guesses(v.xi) != y).mean())
    xi = rng.standard_normal((count, 14))
    xi[:, :3] *= not orthogonal
    guess = guesses(xi)
    error = (guess != y).mean()
    assert 0.02 < error < 0.6
    assert run.table["test_error_fresh"][-1] == pytest.approx(error, abs=4.5 * np.sqrt(0.5 / count))
    given = np.stack([rng.choice(3, size=count, p=row) for row in problem.transition])
    against_given = (guess != given).mean()
    assert run.table["test_error_given_fresh"][-1] == pytest.approx(against_given, abs=4.5 * np.sqrt(0.5 / count))


def trained_weights(draw, steps, lr=0.3):
    """Weights after gradient descent by hand: the gradient of cross-entropy, patch by patch."""
    v, p, w = draw.vectors, draw.problem, draw.vectors.w0.copy()
    signal = v.mu[draw.y_true.astype(int)]
    patches = [signal + v.xi] if p.one_patch else [signal, v.xi]
    owner, target = np.repeat(np.arange(3), p.m), np.eye(3)[draw.y_given.astype(int)]
    for _ in range(steps):
        f = forward(p, w, np.stack(patches, axis=1))
        share = np.exp(f - f.max(1, keepdims=True))
        g = (share / share.sum(1, keepdims=True) - target)[:, owner] / (p.n * p.m)
        w = w - lr * sum(((x @ w.T > 0) * g).T @ x for x in patches)
    return w


def test_classes_may_be_renamed():
    """Signals, labels and filters of two classes change places together: the run is the same."""
    problem = PROBLEMS["three classes"]
    draw, new = problem.sample(seed=1), np.array([2, 0, 1])
    n, m = draw.n, draw.m
    old = np.argsort(new)
    rows = np.r_[0:n, n + old, n + 3 + (3 * old[:, None] + np.arange(m)).ravel()]
    other = replace(
        draw, inner=draw.inner[np.ix_(rows, rows)], y_true=new[draw.y_true.astype(int)] * 1.0,
        y_given=new[draw.y_given.astype(int)] * 1.0,
    )  # fmt: skip
    one, two = (simulate(d, lr=0.05, steps=50, record=("output", "rho"), test_draws=0) for d in (draw, other))
    assert_close(two.values["output"], one.values["output"][:, old], rtol=1e-9, atol=1e-12)
    for name in ("loss", "gamma_mean", "rho_noisy_max", "rho_leads_share", "test_error_seen", "accuracy_noisy"):
        assert_close(two.table[name], one.table[name], rtol=1e-9, atol=1e-12)


def test_three_classes_have_a_first_stage_too():
    problem = SignalNoise(n=60, d=6_000, m=5, mu_norm=35.0, init_std=0.001, n_classes=3, label_noise=Symmetric(0.2))
    run = simulate(problem.sample(seed=0), lr=0.005, steps=300)
    assert run.stages.t1 is not None and run.at_t1["accuracy_noisy"] == 0 and run.at_t1["selection_f1"] == 1
    assert run.table["accuracy_noisy"][-1] == 1 and run.at_t1["gamma_mean"] > 0 == run.at_t1["gamma_min"]
    assert run.table["rho_leads_share"][0] == run.at_t1["rho_leads_share"] == 0


# one patch


def test_without_a_signal_one_patch_and_two_are_the_same():
    options = {"lr": 0.05, "steps": 50, "record": ("output", "rho"), "test_draws": 40}
    draws = [replace(PLAIN, mu_norm=0.0, one_patch=one_patch).sample(seed=0) for one_patch in (True, False)]
    one, two = (simulate(draw, engine="span", **options) for draw in draws)
    assert_close(one.values["output"], two.values["output"], rtol=1e-9, atol=1e-12)
    assert_close(one.table["test_error_seen"], two.table["test_error_seen"])


def test_in_one_patch_signal_is_what_the_noise_coefficients_add_up_to():
    """W = W0 + sum_i c_i x_i, so gamma and rho are n numbers a filter, not n + 1."""
    draw = PROBLEMS["one patch"].sample(seed=0)
    run = simulate(draw, lr=0.05, steps=50, record=("gamma", "rho"))
    c = run.values["rho"][-1] / draw.gram.diagonal()
    j = np.repeat([1.0, -1.0], draw.m)
    assert_close(run.values["gamma"][-1], j * (c @ draw.y_true) * draw.mu_sq, rtol=1e-9)


# what they share


@pytest.mark.parametrize(
    "name, words",
    [
        ("flips by the patch", "flips that depend on the noise patch"), ("three classes", "3 classes"),
        ("one patch", "signal and noise in one patch"),
    ],
)  # fmt: skip
def test_claims_are_proved_for_none_of_them(name, words):
    problem = replace(PROBLEMS[name], n=40, d=4_000, m=5, mu_norm=30.0, init_std=1e-3)
    if problem.n_classes > 2:
        problem = replace(problem, label_noise=Symmetric(0.1))
    run = simulate(problem.sample(seed=0), lr=0.005, steps=150, record=("margin", "margin_predicted"))
    found = {check.claim: check for check in checks(run)}
    assert {check.verdict for check in found.values()} <= {"premise fails", "not measured"}
    assert f"not for: {words}" in found["Thm 4.1, stages"].reason and found["Thm 4.1, stages"].measured > 0
    assert run.draw.departures == (words,) and PLAIN.sample(seed=0).departures == ()
    assert np.isnan(run.values["margin_predicted"]).all() == (name != "flips by the patch")


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_trajectory_is_saved_and_read(name, tmp_path):
    for vectors in (False, True):
        run = simulate(PROBLEMS[name].sample(seed=0, vectors=vectors), lr=0.05, steps=5, test_draws=5)
        run.save(tmp_path / "run.npz")
        draw = Trajectory.read(tmp_path / "run.npz").draw
        assert (draw.n_classes, draw.one_patch, draw.problem) == (
            run.draw.n_classes,
            run.draw.one_patch,
            run.draw.problem,
        )
        assert (draw.probe is None) == (run.draw.probe is None) and (draw.vectors is None) != vectors
        again = simulate(draw, lr=0.05, steps=5, test_draws=5).table
        for column, values in run.table.items():
            assert np.array_equal(again[column], values, equal_nan=True)


def test_one_rate_of_two_classes_is_that_of_three():
    three = SignalNoise(n_classes=3)
    assert three.label_noise == Symmetric(0.2) and three == replace(SignalNoise(), n_classes=3)
    exact = SignalNoise(n_classes=3, label_noise=ClassConditional(0.1, 0.1, exact=True))
    assert exact.label_noise == Symmetric(0.1, exact=True)
    assert SignalNoise().label_noise == ClassConditional(0.2, 0.2)


@pytest.mark.parametrize(
    ("change", "words", "noise"),
    [
        ({}, "", ClassConditional(0.2, 0.2)),
        ({}, "none", Symmetric(0.0)),
        ({}, "class-conditional:0.1,0.3", ClassConditional(0.1, 0.3)),
        ({"n_classes": 3}, "pair:0.3:exact", Pair(0.3, exact=True)),
        ({"n_classes": 3}, "class-conditional:0.1,0.1", Symmetric(0.1)),
    ],
)
def test_a_run_takes_label_noise_in_the_words_of_the_command(change, words, noise):
    run = SimulateRun(SignalNoise(**change), noise=words)
    assert run.problem.label_noise == noise
    assert config_of(SimulateRun, settings_of(run)) == run


def test_label_noise_given_twice_is_refused():
    with pytest.raises(InputError, match="is 'pair:0.2', but .* label_noise give symmetric:0.1;"):
        SimulateRun(SignalNoise(label_noise=Symmetric(0.1)), noise="pair:0.2")
    with pytest.raises(InputError, match="label noise 'pair:' could not be read"):
        SimulateRun(noise="pair:")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_classes": 1}, "`n_classes` must be an integer >= 2, got 1"),
        ({"n_classes": 3, "label_noise": ClassConditional(0.1, 0.2)}, "must be symmetric, pair or matrix, got class-c"),
        ({"n_classes": 3, "label_noise": Symmetric(0.7)}, "each class's own label the likeliest"),
        ({"n_classes": 4, "label_noise": SKEWED}, "`Matrix` has 3 rows but the data has 4 classes"),
        ({"n_classes": 5, "label_noise": Symmetric(0.1), "d": 4}, "`d` must be >= 5"),
        ({"n_classes": 3, "label_noise": Symmetric(0.1), "d": 3, "orthogonal_noise": True}, "`d` must be >= 4"),
        ({"one_patch": 1}, "`one_patch` must be True or False"),
        ({"one_patch": True, "bias": True}, "`one_patch` does not go with bias"),
        ({"flip_dependence": 1.5}, r"`flip_dependence` must lie in \[0, 1\], got 1.5"),
        ({"flip_dependence": float("nan")}, "`flip_dependence` must lie in"),
        ({"flip_cosine": -2}, r"`flip_cosine` must lie in \[-1, 1\], got -2"),
        ({"flip_dependence": 0.5, "flip_cosine": 0.1, "orthogonal_noise": True}, "no part along mu"),
        ({"flip_dependence": 0.5, "label_noise": Symmetric(0.1, exact=True)}, "two classes and independent flips"),
        ({"flip_dependence": 0.5, "n_classes": 3, "label_noise": Symmetric(0.1)}, "needs two classes"),
        ({"flip_dependence": 0.5, "d": 1}, "`d` must be >= 2"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        replace(PLAIN, **change)


def test_losses_and_batches_that_do_not_fit_are_refused():
    draw = PROBLEMS["three classes"].sample(seed=0)
    for how in (Dynamics(loss=Hinge()), Dynamics(shown=Shown(fresh_flips=0.1))):
        with pytest.raises(InputError, match="3 classes are trained by cross-entropy"):
            simulate(draw, dynamics=how)
    for other in ("flips by the patch", "one patch"):
        with pytest.raises(InputError, match="must agree in"):
            stack([PLAIN.sample(seed=0), PROBLEMS[other].sample(seed=0)])
    v = PLAIN.sample(seed=0, vectors=True)
    with pytest.raises(InputError, match="n_classes = 24, 160, 3, 2 as the vectors do"):
        Draw.from_vectors(
            v.vectors.mu[0], v.vectors.xi, v.vectors.w0, v.y_true, v.y_given, problem=PROBLEMS["three classes"]
        )


# as runs


@pytest.mark.usefixtures("sketched")
def test_variants_are_settings_of_files_flags_and_sweeps(tmp_path, capsys):
    """A run of each by the command line: its folder knows the setting, its page says what departs from the paper."""
    small = "--n 30 --d 400 --m 2 --mu-norm 12 --lr 0.02 --steps 30 --test-draws 20 --n-holdout 5 --seeds 0".split()
    (tmp_path / "three.toml").write_text(
        'n_classes = 3\n[problem.label_noise]\nkind = "Symmetric"\nrate = 0.2\n[simulation.dynamics.optimizer]\n'
        'kind = "Momentum"\n'
    )
    runs = {
        "three": (["--config", str(tmp_path / "three.toml")], ["momentum (momentum 0.9, nesterov False)", "3 classes"]),
        "patch": (["--one-patch"], ["signal and noise in one patch"]),
        "flips": (["--flip-dependence", "0.9", "--flip-cosine", "-0.3"], ["flips that depend on the noise patch"]),
    }
    for name, (words, departures) in runs.items():
        out = tmp_path / name
        assert main(["simulate", *small, *words, "--out", str(out)]) == 0
        run = read_run(out)
        assert run.summary["departures"] == departures
    write_report(tmp_path / "three")
    words = "three departs from the paper by: momentum (momentum 0.9, nesterov False); 3 classes."
    assert words in (tmp_path / "three/report.html").read_text()
    assert read_run(tmp_path / "three").config.problem.n_classes == 3
    problem, noise = (read_run(tmp_path / "flips").config.problem, read_run(tmp_path / "flips").summary["noise"][0])
    assert (problem.flip_dependence, problem.flip_cosine) == (0.9, -0.3)
    draw = problem.sample(seed=0)
    assert noise["rate_by_class"] == [draw.noisy[draw.y_true == sign].mean() for sign in (1, -1)]
    rates = flip_probability(draw.probe[:30], np.full(30, 0.2), 0.9)
    assert noise["expected_rate"] == pytest.approx(rates.mean()) and noise["largest_rate"] == pytest.approx(rates.max())
    assert main(["simulate", "--n-classes", "3", "--tau-plus", "0.1", "--out", str(tmp_path / "no")]) == 2
    assert "--noise pair:0.2" in capsys.readouterr().err


def test_cells_of_every_variant_are_what_single_runs_are():
    config = SimulateConfig(lr=0.05, steps=20, record_every=20, test_draws=30)
    for problem in PROBLEMS.values():
        mixed = [problem, replace(problem, d=900, mu_norm=3.0)]
        assert group_of(problem, config) == group_of(mixed[1], config) != group_of(PLAIN, config)
        columns = run_cells([Cell(p, config, seed, 3) for seed, p in enumerate(mixed)])
        for at, p in enumerate(mixed):
            alone = run_cells([Cell(p, config, at, 3)])
            for name, values in alone.items():
                assert_close(np.nan_to_num(columns[name][at]), np.nan_to_num(values[0]), rtol=1e-9, atol=1e-9)
        check_cell(problem, config)


def test_a_sweep_varies_dependence_and_rate_of_any_number_of_classes(tmp_path):
    table = {"n": 16, "d": 200, "m": 2, "lr": 0.05, "steps": 15, "test_draws": 20, "seeds": 1}
    pytest.importorskip("xarray")
    flips = ln.sweep({**table, "grid": {"flip_dependence": [0.0, 0.9], "tau": [0.1, 0.3]}}, tmp_path / "a", workers=1)
    assert flips.sizes == {"flip_dependence": 2, "tau": 2, "seed": 1}
    assert not np.isnan(flips.test_error_given_fresh).any() and (flips.tau_plus.sel(tau=0.3) == 0.3).all()
    noise = {"problem": {"label_noise": {"kind": "Symmetric", "rate": 0.2}}}
    grid = {"n_classes": [2, 3], "tau": [0.1, 0.3]}
    classes = ln.sweep({**table, **noise, "grid": grid}, tmp_path / "b", workers=1)
    assert (classes.test_error_given_fresh.sel(tau=0.3) > 0.2).all()
    with pytest.raises(InputError, match="are rates of two classes, got 3; use tau"):
        ln.sweep({**table, **noise, "n_classes": 3, "grid": {"tau_plus": [0.1, 0.2]}}, tmp_path / "c", workers=1)
