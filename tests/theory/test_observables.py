"""Observables against brute force in R^d and against hand-made networks."""

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.noise.models import ClassConditional
from labelnoise.theory import dense, span
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import summary
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate
from labelnoise.theory.test_errors import SAMPLED, EvaluationNoise, _estimates, sampled_errors, seen_errors


def trained(problem, steps, lr=0.3, seed=0):
    """A draw, its span view, and its explicit weights (2m, d) after some steps."""
    draw = problem.sample(seed=seed, vectors=True)
    ours, theirs = (engine.init((draw,), np.array([lr]), SimulateConfig(), None, "float64") for engine in (span, dense))
    for _ in range(steps):
        ours, theirs = span.step(ours), dense.step(theirs)
    return draw, span.view(ours), theirs.parameters[0][0].numpy()


def outputs(weights, x):
    """f(W, x) for patches x (N, 2, d), written out."""
    half = len(weights) // 2
    units = np.maximum(x @ weights.T, 0).sum(1)
    return units[:, :half].mean(1) - units[:, half:].mean(1)


def brute_errors(draw, weights, patches):
    """Test error against true labels on explicit noise patches, each with y = +1 and y = -1: (2,) and its spread."""
    mu = draw.vectors.mu[0]
    wrong = []
    for y in (1.0, -1.0):
        x = np.stack([np.broadcast_to(y * mu, patches.shape), patches], axis=1)
        wrong.append(y * outputs(weights, x) <= 0)
    return np.array(wrong, dtype=float)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("kind", ["fresh", "perturbed"])
def test_sampled_errors_agree_with_brute_force_in_d_dimensions(kind, orthogonal):
    """Within 4 standard errors of the difference: a false alarm in 1 of 16,000 correct runs for each case."""
    problem = SignalNoise(
        n=30, d=24, m=3, mu_norm=2.0, init_std=0.1, noise_std=1.3,
        label_noise=ClassConditional(0.1, 0.4), orthogonal_noise=orthogonal,
    )  # fmt: skip
    draw, view, weights = trained(problem, steps=80)
    draws, zeta_std = 60_000, 0.9
    noise = EvaluationNoise.draw(1, draws, draw.filters, draw.n)
    found = sampled_errors(view, (draw,), [noise], [zeta_std])

    rng = np.random.default_rng(2)
    fresh = problem.noise_std * rng.standard_normal((draws, problem.d))
    if orthogonal:
        fresh[:, 0] = 0
    seen = draw.vectors.xi[rng.integers(30, size=draws)]
    patches = fresh if kind == "fresh" else seen + zeta_std * rng.standard_normal(seen.shape)
    wrong = brute_errors(draw, weights, patches)
    pairs = wrong.mean(0)
    spread = pairs.std() * np.sqrt(2 / draws)
    assert 0.05 < pairs.mean() < 0.45  # a case where errors happen
    assert abs(found[f"test_error_{kind}"][0] - pairs.mean()) < 4 * spread
    assert found[f"test_error_{kind}_se"][0] == pytest.approx(pairs.std() / np.sqrt(draws), rel=0.05)
    if kind == "fresh":
        tau, error = np.array([0.1, 0.4]), wrong.mean(1)
        assert abs(error[0] - error[1]) > 0.01  # the overall error cannot stand for the two
        given = (0.5 * ((1 - tau) * error + tau * (1 - error))).sum()
        assert abs(found["test_error_given_fresh"][0] - given) < 4 * spread


def test_seen_error_is_the_mean_over_both_labels_of_every_training_patch():
    draw, view, weights = trained(SignalNoise(n=25, d=30, m=3, mu_norm=2.0, init_std=0.1), steps=60)
    error = brute_errors(draw, weights, draw.vectors.xi).mean()
    assert 0 < error < 0.5
    assert_close(seen_errors(view), np.array([error]))


def test_seen_error_is_an_identity_once_all_labels_are_fitted():
    draw = SignalNoise(n=60, d=600, m=5, mu_norm=12.0, init_std=0.001).sample(seed=1)
    run = simulate(draw, lr=0.05, steps=2_000, record_every=2_000, test_draws=0)
    assert run.table["accuracy"][-1] == 1
    assert run.table["test_error_seen"][-1] >= draw.noisy.mean() / 2


def test_no_error_in_n_draws_is_reported_as_an_upper_bound():
    draw = SignalNoise(n=30, d=3_000, m=4, mu_norm=60.0, label_noise=ClassConditional(0, 0)).sample(seed=0)
    run = simulate(draw, lr=0.01, steps=200, record_every=200, test_draws=500)
    assert run.table["test_error_fresh"][-1] == 0
    assert np.isnan(run.table["test_error_fresh_se"][-1])
    assert run.table["test_error_fresh_upper"][-1] == pytest.approx(3 / 500)


def test_without_a_problem_the_sampled_errors_are_unknown():
    from labelnoise.theory.draws import Draw

    v = SignalNoise(n=10, d=30, m=2).sample(seed=0, vectors=True)
    draw = Draw.from_vectors(v.vectors.mu[0], v.vectors.xi, v.vectors.w0, v.y_true, v.y_given)
    run = simulate(draw, lr=0.01, steps=5, test_draws=50)
    assert all(np.isnan(run.table[name]).all() for name in SAMPLED)
    assert np.isfinite(run.table["test_error_seen"]).all()


def test_test_noise_does_not_depend_on_how_often_is_recorded():
    draw = SignalNoise(n=20, d=40, m=3, mu_norm=2.0, init_std=0.1).sample(seed=0)
    often, rarely = (simulate(draw, lr=0.3, steps=40, record_every=k, test_draws=300) for k in (5, 40))
    assert often.table["test_error_fresh"][-1] == rarely.table["test_error_fresh"][-1] > 0


def test_summary_counts_against_the_given_labels():
    problem = SignalNoise(n=40, d=60, m=3, mu_norm=3.0, init_std=0.05, label_noise=ClassConditional(0.1, 0.4))
    draw, view, weights = trained(problem, steps=6, lr=0.1)
    x = np.stack([draw.y_true[:, None] * draw.vectors.mu[0], draw.vectors.xi], axis=1)
    f = outputs(weights, x)
    fitted = draw.y_given * f > 0
    row = {name: value[0] for name, value in summary(view).items()}
    assert row["accuracy_noisy"] == fitted[draw.noisy].mean()
    assert row["accuracy_clean"] == fitted[~draw.noisy].mean()
    assert row["accuracy"] == fitted.mean() and row["accuracy_clean"] != row["accuracy_noisy"]
    assert row["loss"] == pytest.approx(np.log1p(np.exp(-draw.y_given * f)).mean())
    assert row["selection_precision"] == draw.noisy[~fitted].mean()
    assert row["selection_recall"] == (~fitted)[draw.noisy].mean()
    # coefficients from the weights: project W - W0 on the span of the patches and the signal
    features = np.concatenate([draw.vectors.xi, draw.vectors.mu])
    c = np.linalg.lstsq(features.T, (weights - draw.vectors.w0).T, rcond=None)[0].T
    gamma = np.repeat([1, -1], 3) * c[:, -1] * draw.mu_sq
    rho = c[:, :-1] * draw.gram.diagonal()
    assert_close(
        [row["gamma_min"], row["gamma_mean"], row["gamma_max"]], [gamma.min(), gamma.mean(), gamma.max()], 1e-8
    )
    own = np.where(draw.y_given > 0, rho[:3].max(0), rho[3:].max(0))
    assert_close([row["rho_clean_max"], row["rho_noisy_max"]], [own[~draw.noisy].max(), own[draw.noisy].max()], 1e-8)
    leads = [
        rho[:3].mean(0)[i] > gamma[3:].mean() if draw.y_given[i] > 0 else rho[3:].mean(0)[i] > gamma[:3].mean()
        for i in np.flatnonzero(draw.noisy)
    ]
    assert row["rho_leads_share"] == np.mean(leads)


def test_held_out_accuracy_is_against_given_labels():
    problem = SignalNoise(n=30, d=300, m=4, mu_norm=60.0, label_noise=ClassConditional(0.1, 0.45))
    draw = problem.sample(seed=2, n_holdout=50)
    run = simulate(draw, lr=0.001, steps=20, record_every=20, test_draws=0)
    right = (draw.held_out_true == draw.held_out_given).mean()
    assert right < 1 and run.table["held_out_accuracy"][-1] == pytest.approx(right)


def test_predicted_margin_is_lemma_5_1_written_out():
    draw = SignalNoise(n=15, d=200, m=3, mu_norm=6.0).sample(seed=3)
    run = simulate(draw, lr=0.05, steps=20, record=("margin_predicted", "gamma", "rho"), test_draws=0)
    gamma, rho = run.values["gamma"][-1].reshape(2, 3), run.values["rho"][-1].reshape(2, 3, 15)
    for i in range(15):
        own, other = (0, 1) if draw.y_given[i] > 0 else (1, 0)
        clean = draw.y_given[i] == draw.y_true[i]
        expected = rho[own, :, i].mean() + (gamma[own].mean() if clean else -gamma[other].mean())
        assert run.values["margin_predicted"][-1, i] == pytest.approx(expected)


def test_the_perturbation_is_half_the_noise_unless_it_is_given():
    draw = SignalNoise(n=20, d=40, m=3, mu_norm=12.0, init_std=0.1, noise_std=3.0).sample(seed=0)
    default, given, other = (
        simulate(draw, lr=0.01, steps=10, test_draws=500, zeta_std=zeta).table["test_error_perturbed"][-1]
        for zeta in (None, 1.5, 3.0)
    )
    assert default == given != other


def test_perturbed_noise_needs_no_problem_if_its_scale_is_given():
    v = SignalNoise(n=20, d=40, m=3, mu_norm=2.0, init_std=0.1).sample(seed=0, vectors=True)
    draw = Draw.from_vectors(v.vectors.mu[0], v.vectors.xi, v.vectors.w0, v.y_true, v.y_given)
    table = simulate(draw, lr=0.3, steps=20, test_draws=200, zeta_std=0.5).table
    assert 0 < table["test_error_perturbed"][-1] < 1 and np.isnan(table["test_error_fresh"]).all()


def test_the_upper_bound_is_one_sided_at_95_percent():
    """Of 2,000 estimates of a known error, 5% of the bounds lie below it: 2.5% to 8% allows 5 standard errors."""
    pairs = np.random.default_rng(0).binomial(2, truth := 0.2, size=(2_000, 300)) / 2
    mean, error, upper = _estimates("fresh", np.stack([pairs >= 0.5, pairs == 1], axis=1)).values()
    assert (upper > mean).all() and (error > 0).all()
    assert 0.025 < (upper < truth).mean() < 0.08


@pytest.mark.parametrize(("n_classes", "wrong"), [(2, 0), (2, 1), (3, 2), (3, 1), (7, 3)])
def test_where_all_pairs_agree_there_is_no_standard_error(n_classes, wrong):
    """A network that says one class whatever it sees; thirds have no exact mean."""
    mistakes = np.repeat((np.arange(n_classes) < wrong)[None, :, None], 400, axis=2).astype(float)
    mean, error, upper = _estimates("fresh", mistakes).values()
    assert np.isnan(error).all()
    assert_close([*mean, *upper], [wrong / n_classes, wrong / n_classes + 3 / 400])
