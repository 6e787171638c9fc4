"""The span engine against the dense one: hand-derived coefficient updates against autograd on explicit vectors."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import assert_close
from labelnoise.noise.models import ClassConditional
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.observables import TRACKED
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

RECORD = ("output", "gamma", "rho", "margin_predicted")


def relative_gap(a, b):
    assert a.shape == b.shape
    return np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)  # a coefficient that never moves is 0 up to rounding


def assert_engines_agree(draw, tol=1e-10, **options):
    span = simulate(draw, record=RECORD, engine="span", **options)
    dense = simulate(draw, record=RECORD, engine="dense", **options)
    for name in RECORD:
        assert relative_gap(span.values[name], dense.values[name]) < tol, name
    for name in TRACKED:
        assert_close(np.nan_to_num(span.track[name]), np.nan_to_num(dense.track[name]), rtol=tol, atol=tol)
    for name in span.table:
        ours, theirs = span.table[name], dense.table[name]
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), name
        assert_close(np.nan_to_num(ours), np.nan_to_num(theirs), rtol=1e-8, atol=1e-8)
    assert span.stages == dense.stages
    return span


@pytest.mark.parametrize(("lr", "steps"), [(0.03, 200), pytest.param(0.01, 600, marks=pytest.mark.slow)])
def test_engines_agree_on_every_observable(lr, steps):
    problem = SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0, init_std=0.001, label_noise=ClassConditional(0.05, 0.15))
    run = assert_engines_agree(
        problem.sample(seed=3, vectors=True, n_holdout=9), lr=lr, steps=steps, record_every=50, test_draws=200
    )
    assert run.stages.t1 < run.stages.onset  # the comparison covers both stages, not a run that stands still


SMALL = given(
    n=st.integers(1, 12),
    extra=st.integers(1, 40),
    m=st.integers(1, 4),
    mu_norm=st.floats(0.3, 10.0),
    noise_std=st.floats(0.3, 3.0),
    taus=st.tuples(st.floats(0, 0.49), st.floats(0, 0.49)),
    orthogonal=st.booleans(),
    seed=st.integers(0, 10_000),
)
EXAMPLES = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=12, **EXAMPLES)
@SMALL
def test_engines_agree_on_a_few_random_small_problems(**drawn):
    check_small(**drawn)


@pytest.mark.slow
@settings(max_examples=60, **EXAMPLES)
@SMALL
def test_engines_agree_on_random_small_problems(**drawn):
    check_small(**drawn)


def check_small(n, extra, m, mu_norm, noise_std, taus, orthogonal, seed):
    problem = SignalNoise(
        n=n, d=n + extra, m=m, mu_norm=mu_norm, noise_std=noise_std, init_std=0.02,
        label_noise=ClassConditional(*taus), orthogonal_noise=orthogonal and n + extra > n + 1,
    )  # fmt: skip
    draw = problem.sample(seed=seed, vectors=True)
    span = simulate(draw, lr=0.1, steps=40, record_every=8, record=RECORD, test_draws=0)
    dense = simulate(draw, lr=0.1, steps=40, record_every=8, record=RECORD, test_draws=0, engine="dense")
    for name in RECORD:
        # near d = n + 1 the patches are almost dependent and the projection loses digits
        assert relative_gap(span.values[name], dense.values[name]) < (1e-10 if extra > 5 else 1e-8), name


@pytest.mark.slow
def test_engines_agree_at_full_size_over_2000_steps():
    draw = SignalNoise(n=200, d=2_000, m=20, mu_norm=8.944, init_std=0.01).sample(seed=0, vectors=True)
    assert_engines_agree(draw, lr=0.1, steps=2_000, record_every=200, test_draws=0)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_weight_gram_is_that_of_the_explicit_weights(orthogonal):
    from labelnoise.theory import dense, span

    problem = SignalNoise(n=12, d=40, m=3, mu_norm=4.0, init_std=0.05, orthogonal_noise=orthogonal)
    draw = problem.sample(seed=1, vectors=True)
    ours, theirs = (
        engine.init((draw,), np.array([0.3]), SimulateConfig(), None, "float64") for engine in (span, dense)
    )
    for _ in range(60):
        ours, theirs = span.step(ours), dense.step(theirs)
    for drop_signal in (False, True):
        assert_close(span.view(ours).weight_gram(drop_signal), dense.view(theirs).weight_gram(drop_signal), rtol=1e-9)


def test_relu_has_slope_zero_at_zero_in_both_engines():
    rng = np.random.default_rng(0)
    mu, xi = 3 * np.eye(8)[0], rng.standard_normal((5, 8))
    w0 = 0.1 * rng.standard_normal((4, 8))
    w0[[1, 3]] = 0  # these filters sit exactly at the kink
    y = np.array([1, -1, 1, 1, -1.0])
    draw = Draw.from_vectors(mu, xi, w0, y, y * [1, 1, -1, 1, 1])
    for engine in ("span", "dense"):
        run = simulate(draw, lr=0.3, steps=20, record=("gamma", "rho"), engine=engine)
        assert (run.values["gamma"][:, [1, 3]] == 0).all() and (run.values["rho"][:, [1, 3]] == 0).all()
        assert (run.values["gamma"][-1, [0, 2]] > 0).all()


def test_a_batch_equals_its_single_runs():
    problems = [
        SignalNoise(n=40, d=900, m=5, mu_norm=8.0, init_std=0.01),
        SignalNoise(n=40, d=50, m=5, mu_norm=5.0, init_std=0.02, label_noise=ClassConditional(0.3, 0.1)),
        SignalNoise(n=40, d=10**9, m=5, mu_norm=9000.0, init_std=1e-5, orthogonal_noise=True),
    ]
    draws = [problem.sample(seed=seed, n_holdout=6) for seed, problem in enumerate(problems)]
    options = {"lr": 0.02, "steps": 80, "record": RECORD, "test_draws": 300}
    batch = simulate(stack(draws), **options)
    assert batch.values["rho"].shape == (3, 9, 10, 40)
    for r, draw in enumerate(draws):
        single = simulate(draw, **options)
        for name in RECORD:
            assert relative_gap(batch[r].values[name], single.values[name]) < 1e-12, name
        assert_close(batch[r].to_frame().fillna(-1).to_numpy(), single.to_frame().fillna(-1).to_numpy(), rtol=1e-9)
        assert batch[r].stages == single.stages


def test_torch_tensors_run_the_same_engine():
    draw = SignalNoise(n=30, d=200, m=4, mu_norm=6.0, init_std=0.01).sample(seed=2, n_holdout=5)
    options = {"lr": 0.1, "steps": 50, "record": RECORD, "test_draws": 100}
    numpy, torch = simulate(draw, engine="span", **options), simulate(draw, device="cpu", **options)
    for name in RECORD:
        assert relative_gap(torch.values[name], numpy.values[name]) < 1e-12, name
    assert numpy.stages == torch.stages


@pytest.mark.gpu
def test_the_gpu_runs_the_same_engine():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    draw = SignalNoise(n=30, d=200, m=4, mu_norm=6.0, init_std=0.01).sample(seed=2)
    options = {"lr": 0.1, "steps": 50, "record": RECORD, "test_draws": 0}
    on_cpu, on_gpu = simulate(draw, **options), simulate(draw, device="cuda", **options)
    for name in RECORD:
        assert relative_gap(on_gpu.values[name], on_cpu.values[name]) < 1e-10, name


def test_float32_stays_near_float64():
    draw = SignalNoise(n=30, d=200, m=4, mu_norm=6.0, init_std=0.01).sample(seed=2)
    options = {"lr": 0.1, "steps": 50, "record": ("output",), "test_draws": 0}
    exact, rough = simulate(draw, **options), simulate(draw, dtype="float32", **options)
    assert rough.values["output"].dtype == np.float32
    assert 0 < relative_gap(rough.values["output"], exact.values["output"]) < 1e-3


def test_below_n_plus_one_dimensions_only_the_recursion_knows_the_coefficients():
    draw = SignalNoise(n=20, d=10, m=3, mu_norm=3.0, init_std=0.1).sample(seed=0, vectors=True)
    options = {"lr": 0.05, "steps": 30, "record": ("output", "rho"), "test_draws": 0}
    span, dense = simulate(draw, **options), simulate(draw, engine="dense", **options)
    assert relative_gap(span.values["output"], dense.values["output"]) < 1e-10
    assert np.isfinite(span.values["rho"]).all() and np.isnan(dense.values["rho"]).all()
