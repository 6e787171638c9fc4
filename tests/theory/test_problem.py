"""Draws: the two sampling routes agree in distribution, streams stay apart, bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from helpers import assert_close
from labelnoise.arrays import stream
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Matrix, Symmetric
from labelnoise.theory import numbers, sampling
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

FALSE_ALARM = 1e-3
"""Chance that all tests of one sampling comparison together would go red on a correct sampler (Bonferroni)."""


def statistics_of(inner):
    """Every distinct inner product, and functions of all of them: log-eigenvalues of the noise patches' Gram matrix."""
    upper = inner[np.triu_indices(len(inner))]
    return np.concatenate([upper, np.log(np.maximum(np.linalg.eigvalsh(inner[:6, :6]), 1e-12))])


def p_values(problem, draws=500):
    """Kolmogorov-Smirnov p-value of each statistic, Bartlett route against explicit vectors."""
    routes = [
        np.stack([statistics_of(problem.sample(seed=s + first, vectors=vectors).inner) for s in range(draws)])
        for vectors, first in ((False, 0), (True, 10**6))
    ]
    both = np.concatenate(routes)
    moving = np.flatnonzero(both.std(axis=0) > 1e-9 * np.abs(both).max(axis=0))
    return np.array([stats.ks_2samp(routes[0][:, k], routes[1][:, k]).pvalue for k in moving])


PROBLEMS = [
    SignalNoise(n=6, d=14, m=2, mu_norm=2.0, noise_std=1.5, init_std=0.5),
    SignalNoise(n=6, d=5, m=2, mu_norm=2.0, noise_std=0.7, init_std=0.5),  # fewer dimensions than vectors
    SignalNoise(n=6, d=14, m=2, mu_norm=2.0, init_std=0.5, orthogonal_noise=True),
    SignalNoise(n=6, d=1, m=2, mu_norm=2.0, init_std=0.5),
]


OTHERS = [pytest.param(problem, marks=pytest.mark.slow) for problem in PROBLEMS[2:]]


@pytest.mark.parametrize(
    "problem", [*PROBLEMS[:2], *OTHERS], ids=lambda p: f"d={p.d}{'-orthogonal' * p.orthogonal_noise}"
)
def test_bartlett_route_has_the_distribution_of_explicit_vectors(problem):
    p = p_values(problem)
    assert p.min() > FALSE_ALARM / p.size


@pytest.mark.slow
@pytest.mark.parametrize("problem", [PROBLEMS[0], PROBLEMS[2]])
def test_the_comparison_sees_degrees_of_freedom_off_by_half_n(problem, monkeypatch):
    class Off:
        def __init__(self, rng):
            self.rng = rng

        def __getattr__(self, name):
            return getattr(self.rng, name)

        def chisquare(self, df):
            return self.rng.chisquare(np.asarray(df) + problem.n // 2)

    draw = numbers.streams
    off = ("data", "init")
    monkeypatch.setattr(
        numbers, "streams", lambda seeds, name: map(Off, draw(seeds, name)) if name in off else draw(seeds, name)
    )
    p = p_values(problem)
    assert p.min() < FALSE_ALARM / p.size


def test_norms_are_chi_squared_at_a_dimension_no_vector_could_have():
    d = 10**12
    draws = [SignalNoise(n=4, d=d, m=1, noise_std=2.0).sample(seed=s) for s in range(300)]
    norms = np.array([draw.gram[3, 3] for draw in draws]) / 4
    off = np.array([draw.gram[0, 3] for draw in draws]) / 4
    for standardised in ((norms - d) / np.sqrt(2 * d), off / np.sqrt(d)):
        assert stats.kstest(standardised, "norm").pvalue > FALSE_ALARM


def test_inner_products_are_those_of_the_vectors():
    draw = SignalNoise(n=5, d=30, m=2, mu_norm=3.0).sample(seed=4, vectors=True, n_holdout=3)
    v = draw.vectors
    assert_close(draw.gram, v.xi @ v.xi.T)
    assert_close(draw.xi_mu, v.xi @ v.mu[0])
    assert_close(draw.w0_xi, v.w0 @ v.xi.T)
    assert_close(draw.w0_mu, v.w0 @ v.mu[0])
    assert_close(draw.w0_w0, v.w0 @ v.w0.T)
    assert_close(draw.held_out_rows[:, :5], v.held_out @ v.xi.T)
    assert draw.mu_sq == pytest.approx(9.0) and draw.n_holdout == 3


def test_a_seed_fixes_labels_and_flips_on_both_routes():
    problem = SignalNoise(n=100, d=50, m=2)
    short, long = problem.sample(seed=5), problem.sample(seed=5, vectors=True, n_holdout=40)
    assert (short.y_true == long.y_true).all() and (short.y_given == long.y_given).all()
    assert (problem.sample(seed=6).y_true != short.y_true).any()


@pytest.mark.parametrize("vectors", [False, True])
def test_a_run_is_drawn_the_same_alone_and_among_others(vectors):
    """Runs of other signals, flips (also counted ones) and, without vectors, dimensions beside it."""
    dimensions = (9, 9, 9) if vectors else (3, 40, 10**9)
    noise = (ClassConditional(0.2, 0.4), Symmetric(0.3, exact=True), Symmetric(0.3, exact=True))
    problems = [
        SignalNoise(
            n=7, d=d, m=2, mu_norm=1.0 + d, noise_std=0.5, label_noise=flips, orthogonal_noise=d == 40, bias=True
        )
        for d, flips in zip(dimensions, noise, strict=True)
    ]
    problems[1] = replace(problems[1], orthogonal_noise=True, noise_std=2.0, init_std=0.3)
    together = sampling.sample_runs(problems, (4, 5, 6), vectors=vectors, n_holdout=3)
    for problem, seed, run in zip(problems, (4, 5, 6), together, strict=True):
        alone = problem.sample(seed=seed, vectors=vectors, n_holdout=3)
        for name in ("inner", "y_true", "y_given", "held_out_true", "held_out_given", "bias0"):
            assert (getattr(run, name) == getattr(alone, name)).all(), name


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_true_labels_are_fair_numbers_of_their_stream(n):
    for seed in range(20):
        draw = SignalNoise(n=n, d=50, m=1).sample(seed=seed, n_holdout=n)
        assert draw.y_true.tolist() == (1.0 - 2 * stream(seed, "labels").integers(2, size=n)).tolist()
        assert draw.held_out_true.tolist() == (1.0 - 2 * stream(seed, "held_out").integers(2, size=n)).tolist()


def test_label_noise_moves_no_vector_and_no_true_label():
    noisy, clean = (
        SignalNoise(n=50, d=20, m=2, label_noise=noise).sample(seed=1)
        for noise in (ClassConditional(0.4, 0.1), ClassConditional(0, 0))
    )
    assert (noisy.inner == clean.inner).all() and (noisy.y_true == clean.y_true).all()
    assert not clean.noisy.any() and noisy.noisy.any()


def test_flips_follow_the_rate_of_each_class():
    problem = SignalNoise(n=40_000, d=1, m=1, label_noise=ClassConditional(0.1, 0.4))
    y_true, y_given = sampling._labels([problem], numbers.CalledNumbers([0]), ("labels", "flips"), 40_000)[:2, 0]
    for sign, tau in ((1, 0.1), (-1, 0.4)):
        flipped = (y_given != y_true)[y_true == sign]
        assert abs(flipped.mean() - tau) < 4 * np.sqrt(tau * (1 - tau) / flipped.size)


def test_holding_out_moves_no_training_number():
    problem = SignalNoise(n=20, d=15, m=2, mu_norm=2.0, init_std=0.3)
    plain, more = problem.sample(seed=3), problem.sample(seed=3, n_holdout=8)
    assert_close(more.inner[:25, :25], plain.inner, rtol=1e-9, atol=1e-12)
    assert (plain.y_given == more.y_given).all() and more.held_out_given.shape == (8,)


def test_orthogonal_noise_is_orthogonal_to_the_signal():
    for vectors in (False, True):
        draw = SignalNoise(n=8, d=30, m=2, orthogonal_noise=True).sample(seed=0, vectors=vectors, n_holdout=2)
        assert (draw.xi_mu == 0).all() and (draw.held_out_rows[:, 8] == 0).all()
        assert (draw.w0_mu != 0).all()


def test_snr():
    problem = SignalNoise()
    assert problem.snr == pytest.approx(0.2) and problem.n_snr2 == pytest.approx(8.0)
    assert SignalNoise(label_noise=Symmetric(0.3)).taus == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 0}, "`n` must be an integer >= 1, got 0"),
        ({"d": 2.5}, "`d` must be an integer >= 1, got 2.5"),
        ({"m": True}, "`m` must be an integer"),
        ({"mu_norm": -1.0}, "`mu_norm` must be a finite number > 0"),
        ({"noise_std": float("nan")}, "`noise_std` must be a finite number > 0, got nan"),
        ({"init_std": 0.0}, "nothing would ever train; use 0.001"),
        ({"label_noise": ClassConditional(0.5, 0.1)}, r"`tau_plus` must lie in \[0, 0.5\), got 0.5"),
        ({"label_noise": Matrix(((1, 0), (0.7, 0.3)))}, r"`tau_minus` must lie in \[0, 0.5\), got 0.7"),
        ({"d": 1, "orthogonal_noise": True}, "`d` must be >= 2 with orthogonal_noise"),
    ],
)
def test_bad_parameters_are_refused_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        SignalNoise(**change)


def vectors(**change):
    rng = np.random.default_rng(0)
    good = {
        "mu": rng.standard_normal(6), "xi": rng.standard_normal((4, 6)), "w0": rng.standard_normal((2, 6)),
        "y_true": np.array([1, -1, 1, 1]), "y_given": np.array([1, -1, -1, 1]),
    }  # fmt: skip
    return {**good, **change}


def test_from_vectors_accepts_good_input():
    draw = Draw.from_vectors(**vectors())
    assert (draw.n, draw.m, draw.noisy.tolist()) == (4, 1, [False, False, True, False])


@pytest.mark.parametrize("one_patch", [False, True])
def test_vectors_of_three_classes_train_as_the_draw_that_they_are_of(one_patch):
    problem = SignalNoise(n=9, d=15, m=2, mu_norm=3.0, init_std=0.1, n_classes=3, one_patch=one_patch)
    whole = problem.sample(seed=1, vectors=True)
    rows = whole.vectors
    draw = Draw.from_vectors(rows.mu, rows.xi, rows.w0, whole.y_true, whole.y_given, problem)
    assert (draw.n_classes, draw.m, draw.one_patch) == (3, 2, one_patch)
    assert_close(draw.inner, whole.inner, rtol=1e-12)
    for engine in ("span", "dense"):
        run, same = (simulate(one, lr=0.3, steps=20, engine=engine, record=("output",)) for one in (draw, whole))
        assert_close(run.values["output"], same.values["output"], rtol=1e-9, atol=1e-12)
        assert np.ptp(run.values["output"][-1]) > 0.1


THREE = {"mu": 2 * np.eye(6)[:3], "w0": np.ones((3, 6)), "y_true": np.array([0, 1, 2, 2]), "y_given": np.zeros(4)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mu": np.eye(6)[:2]}, r"`mu` must have three or more rows, got 2"),
        ({"mu": np.ones((3, 6))}, "must be orthogonal and of equal norm"),
        ({"mu": np.diag([1.0, 1, 2, 1, 1, 1])[:3]}, "must be orthogonal and of equal norm"),
        ({"mu": np.zeros((3, 6))}, "never trains"),
        ({"mu": np.zeros((1, 3, 6))}, r"must have shapes \(d,\)"),
        ({"w0": np.ones((4, 6))}, "`w0` needs a multiple of 3 as number of rows"),
        ({"y_true": np.array([0, 1, 3, 2])}, "`y_true` must hold 4 labels, each of 0..2"),
        ({"problem": SignalNoise(n=4, d=6, m=1)}, "n_classes = 4, 6, 1, 3 as the vectors do, got 4, 6, 1, 2"),
    ],
)
def test_bad_vectors_of_three_classes_are_refused_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        Draw.from_vectors(**vectors(**{**THREE, **change}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mu": np.full(6, np.nan)}, r"`mu` must be finite, got nan at \(0,\)"),
        ({"xi": np.ones((4, 5))}, "give all three the same d"),
        ({"w0": np.ones((3, 6))}, "even number of rows"),
        ({"w0": np.zeros((2, 6))}, "never trains"),
        ({"y_true": np.array([0, 1, 1, 1])}, "`y_true` must hold 4 labels, each -1 or \\+1"),
        ({"y_given": np.array([1, 1, 1])}, "`y_given` must hold 4 labels"),
        ({"problem": SignalNoise(n=5, d=6, m=1)}, "`problem` must have n, d, m, n_classes = 4, 6, 1, 2"),
    ],
)
def test_bad_vectors_are_refused_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        Draw.from_vectors(**vectors(**change))


def test_bad_seeds_and_batches_are_refused():
    problem = SignalNoise(n=5, d=6, m=1)
    with pytest.raises(InputError, match="`seed` must be an integer >= 0, got -1"):
        problem.sample(seed=-1)
    with pytest.raises(InputError, match="`n_holdout` must be an integer >= 0"):
        problem.sample(seed=0, n_holdout=-3)
    with pytest.raises(InputError, match="must agree in"):
        stack([problem.sample(seed=0), SignalNoise(n=6, d=6, m=1).sample(seed=0)])
    with pytest.raises(InputError, match="at least one draw"):
        stack([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d": 10**16}, r"`d` must be at most 10\^15"),
        ({"mu_norm": 1e200}, "its square leaves float64"),
        ({"mu_norm": "4"}, "`mu_norm` must be a finite number > 0, got '4'"),
        ({"label_noise": 0.2}, "`label_noise` must be a model such as"),
        ({"orthogonal_noise": "no"}, "`orthogonal_noise` must be True or False"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        SignalNoise(**change)
