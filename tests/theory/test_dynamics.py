"""Every dynamics in coefficient space against torch's own on explicit vectors, and which pieces go together."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional
from labelnoise.theory import compiled, test_errors
from labelnoise.theory.activations import LeakyReLU, PowerReLU, Softplus
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import stack
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.lanes import LANES, SMALL, lanes_of, pack, unpack
from labelnoise.theory.losses import Exponential, Hinge, Squared
from labelnoise.theory.observables import TRACKED
from labelnoise.theory.optimizers import Adam, Cosine, GradientFlow, Momentum, SharpnessAware, StepDecay
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.shown import Shown
from labelnoise.theory.simulation import simulate
from labelnoise.theory.verdicts import checks

PROBLEM = SignalNoise(n=24, d=160, m=3, mu_norm=5.0, init_std=0.02, label_noise=ClassConditional(0.1, 0.25))
RECORD = ("output", "gamma", "rho")

VARIANTS = {
    "leaky": Dynamics(activation=LeakyReLU(0.2)),
    "power 2": Dynamics(activation=PowerReLU(2), second_layer=2.0),
    "power 3": Dynamics(activation=PowerReLU(3), second_layer=6.0),
    "softplus": Dynamics(activation=Softplus(0.5)),
    "exponential": Dynamics(loss=Exponential()),
    "squared": Dynamics(loss=Squared()),
    "hinge": Dynamics(loss=Hinge()),
    "minibatch": Dynamics(shown=Shown(batch_size=7)),
    "fresh flips": Dynamics(shown=Shown(fresh_flips=0.2)),
    "selection": Dynamics(shown=Shown(selection_from=10)),
    "minibatch, fresh flips and selection": Dynamics(shown=Shown(9, 0.1, 5)),
    "heavy ball": Dynamics(optimizer=Momentum(0.8)),
    "Nesterov": Dynamics(optimizer=Momentum(0.8, nesterov=True)),
    "sharpness aware": Dynamics(optimizer=SharpnessAware(0.1)),
    "weight decay": Dynamics(weight_decay=0.02),
    "Nesterov with weight decay": Dynamics(optimizer=Momentum(0.7, nesterov=True), weight_decay=0.05),
    "sharpness aware with weight decay": Dynamics(optimizer=SharpnessAware(0.05), weight_decay=0.03),
    "cosine": Dynamics(schedule=Cosine(0.1)),
    "step decay": Dynamics(schedule=StepDecay(0.3, 20)),
    "second layer": Dynamics(second_layer=0.5),
    "much at once": Dynamics(
        LeakyReLU(0.1), Squared(), Shown(batch_size=11), Momentum(0.5), Cosine(), weight_decay=0.01, second_layer=0.5
    ),
}


def relative_gap(a, b):
    assert a.shape == b.shape
    return np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)


def assert_equal_runs(ours, theirs, tol):
    assert ours.status == theirs.status == "ok"
    for name in RECORD:
        assert relative_gap(ours.values[name], theirs.values[name]) < tol, name
    for name in TRACKED:
        assert_close(ours.track[name], theirs.track[name], rtol=tol, atol=tol)
    for name in ours.table:
        assert_close(np.nan_to_num(ours.table[name]), np.nan_to_num(theirs.table[name]), rtol=1e-8, atol=1e-8)


BIASED = ("softplus", "minibatch, fresh flips and selection", "sharpness aware with weight decay", "much at once")
"""Those that are compared with a bias, too, in each run of the tests; the slow tests compare all of them."""
WHICH = [(name, bias) for name in VARIANTS for bias in (False, True)]


@pytest.mark.parametrize(
    ("name", "bias"),
    [pytest.param(*which, marks=pytest.mark.slow if which[1] and which[0] not in BIASED else ()) for which in WHICH],
)
def test_a_variant_is_that_of_explicit_vectors(name, bias):
    draw = SignalNoise(**{**vars(PROBLEM), "bias": bias}).sample(seed=4, vectors=True, n_holdout=5)
    options = {
        "lr": 0.05, "steps": 60, "record_every": 10, "record": RECORD, "test_draws": 50, "dynamics": VARIANTS[name],
    }  # fmt: skip
    span, dense = simulate(draw, engine="span", **options), simulate(draw, engine="dense", **options)
    assert np.abs(dense.values["gamma"][-1]).max() > 0.01  # something was learnt
    assert_equal_runs(span, dense, 1e-9)


@pytest.mark.parametrize("name", ["plain", *VARIANTS])
def test_the_compiled_engine_is_the_array_engine(name):
    problem, how = SignalNoise(**{**vars(PROBLEM), "bias": name == "leaky"}), VARIANTS.get(name, Dynamics())
    draws = stack([problem.sample(seed=s, n_holdout=4) for s in range(3)])
    options = {"lr": [0.05, 0.03, 0.02], "steps": 60, "record_every": 7, "record": RECORD, "test_draws": 20}
    runs = {e: simulate(draws, engine=e, dynamics=how, **options) for e in ("compiled", "span")}
    for ours, theirs in zip(*runs.values(), strict=True):
        assert_equal_runs(ours, theirs, 1e-11)
        assert ours.stages == theirs.stages and ours.at_t1.keys() == theirs.at_t1.keys()
        ours, theirs = (np.nan_to_num([*run.at_t1.values()]) for run in (ours, theirs))
        assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", *VARIANTS])
def test_runs_side_by_side_are_to_the_bit_what_they_are_alone(name):
    """Five small runs fill the lanes of one group of vectors and begin another."""
    problem = SignalNoise(**{**vars(PROBLEM), "mu_norm": 9.0, "bias": name == "leaky"})
    draws, rates = stack([problem.sample(seed=s) for s in range(5)]), [0.02, 0.01, 0.015, 0.012, 0.03]
    how = VARIANTS.get(name, Dynamics())
    options = {
        "steps": 40,
        "record_every": 20,
        "record": RECORD,
        "test_draws": 0,
        "dynamics": how,
        "engine": "compiled",
    }
    batch = simulate(draws, lr=rates, **options)
    assert lanes_of(26, 5, 20) > lanes_of(26, 1, 20) == 1
    assert name != "plain" or [run.stages.t1 for run in batch] == [17, 12, 21, None, 13]
    for together, draw, rate in zip(batch, draws, rates, strict=True):
        alone = simulate(draw, lr=rate, **options)
        for part in ("values", "track", "table", "at_t1"):
            for key, value in getattr(alone, part).items():
                assert np.array_equal(getattr(together, part)[key], value, equal_nan=True), (part, key)


@pytest.mark.parametrize("how", [Dynamics(), Dynamics(optimizer=Momentum(0.9, nesterov=True), weight_decay=0.01)])
def test_the_compiled_engine_moves_every_filter(how):
    """More filters and patches than a vector of the processor holds, and a last one that is not full."""
    problem = SignalNoise(**{**vars(PROBLEM), "n": 35, "m": 9})
    runs = [simulate(problem.sample(seed=0), lr=0.03, steps=30, record=RECORD, engine=e, dynamics=how, test_draws=0)
            for e in ("compiled", "span")]  # fmt: skip
    assert_equal_runs(*runs, 1e-11)


@pytest.mark.parametrize(
    ("filters", "patches"),
    [(1, 1), (4, 1), (3, 8), (4, 8), (6, 11), (6, 12), (2, 13), (7, 13), (10, SMALL), (5, 101), (6, 224), (5, 225),
     (8, 144), (4, 128), (21, 130), (13, 360), (2, 200), (9, 361)],
)  # fmt: skip
def test_a_product_is_the_same_sum_in_every_layout(filters, patches):
    """Blocks and what they leave over, of a row and of a group; panels that are full and not; beyond, BLAS."""
    products, rng = pytest.importorskip("labelnoise.theory.products"), np.random.default_rng(0)
    left, right = rng.standard_normal((LANES, filters, patches)), rng.standard_normal((LANES, patches, patches))
    (grouped,) = np.full((1, filters, patches * LANES), np.nan)
    products.multiply(pack(left, LANES)[0], pack(right, LANES)[0], grouped)
    by_vectors = patches <= products.MIDDLING or (products.WIDE[0] <= patches <= products.WIDE[1] and filters >= 4)
    for run, of_group in enumerate(unpack(grouped[None], LANES, LANES)):
        alone = np.full((filters, patches), np.nan)
        products.multiply(left[run], right[run], alone)
        assert np.array_equal(of_group, alone) or not by_vectors
        assert_close(of_group, left[run] @ right[run], rtol=1e-13, atol=1e-13)


THREADS_OF_BLAS = """
from threadpoolctl import threadpool_info
from labelnoise.theory import compiled

def task(first, last):
    import scipy.linalg.cython_blas  # as Numba does at its first product
    libraries = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    print(f"{libraries}\\n", end="")  # two threads write: each in one piece

compiled._spread(task, 1, ())
compiled._spread(task, 2, ())
"""


def test_blas_sums_on_one_thread_for_one_run_as_for_several():
    """Else a run would not be to the bit what it is in a batch, and many small products would wait for each other."""
    pytest.importorskip("threadpoolctl")
    two = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "2")
    command = [sys.executable, "-c", THREADS_OF_BLAS]
    done = subprocess.run(command, env={**os.environ, **two}, capture_output=True, text=True, check=True)
    each = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(each) == 3 and all(set(threads) == {1} for threads in each)


def test_runs_that_diverge_leave_the_others_alone():
    draws, how = stack([PROBLEM.sample(seed=s) for s in range(3)]), Dynamics(loss=Squared())
    options = {"steps": 40, "record_every": 20, "record": ("output",), "dynamics": how}
    for engine in ("compiled", "span"):
        batch = simulate(draws, lr=[0.05, 60.0, 0.05], engine=engine, **options)
        assert [status[:8] for status in batch.status] == ["ok", "diverged", "ok"]
        assert np.isnan(batch[1].track["margin_clean_min"][-1])
        alone = simulate(draws[2], lr=0.05, engine=engine, **options)
        assert relative_gap(batch[2].values["output"], alone.values["output"]) < 1e-12


def test_the_compiled_engine_says_what_it_does_not_cover():
    draw = PROBLEM.sample(seed=0)
    for options, words in (({"dtype": "float32"}, "float64"), ({"device": "cpu"}, "CPU in float64"),
                           ({"dynamics": Dynamics(optimizer=GradientFlow())}, "gradient flow")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            simulate(draw, engine="compiled", steps=2, **options)
        assert simulate(draw, steps=2, **options).status == "ok"


@pytest.mark.parametrize("name", VARIANTS)
def test_no_variant_is_another(name):
    """A variant that is silently ignored would pass the oracle; its outputs must be those of no other."""
    for other in VARIANTS.keys() - {name} | {"plain"}:
        assert relative_gap(last_output(name), last_output(other)) > 1e-6, other


@functools.cache
def last_output(name):
    how = VARIANTS.get(name, Dynamics())
    run = simulate(PROBLEM.sample(seed=4), lr=0.05, steps=40, record=("output",), test_draws=0, dynamics=how)
    return run.values["output"][-1]


@pytest.mark.parametrize("name", ["minibatch, fresh flips and selection", "Nesterov with weight decay", "cosine"])
def test_runs_of_other_rates_and_seeds_train_together_as_they_do_alone(name):
    draws = [SignalNoise(**{**vars(PROBLEM), "d": d}).sample(seed=s) for d, s in ((160, 1), (900, 2), (10**8, 3))]
    rates = [0.05, 0.02, 1e-7]
    options = {"steps": 40, "record": RECORD, "test_draws": 30, "dynamics": VARIANTS[name]}
    batch = simulate(stack(draws), lr=rates, **options)
    for run, draw, lr in zip(batch, draws, rates, strict=True):
        assert run.config.lr == lr
        assert_equal_runs(run, simulate(draw, lr=lr, **options), 1e-10)


@pytest.mark.parametrize("activation, tolerance", [(Softplus(0.5), 1e-7), (None, 5e-3)])
def test_gradient_flow_is_the_limit_of_small_steps(activation, tolerance):
    """A smooth flow to 1e-7 of extrapolated steps; that of a ReLU slides along kinks, where 1e-3 is what can be had."""
    problem = SignalNoise(n=10, d=30, m=4, mu_norm=3.0, init_std=0.1)
    draw, pieces = problem.sample(seed=1), {"activation": activation} if activation else {}

    def output(lr, steps, **more):
        run = simulate(draw, lr=lr, steps=steps, record=("output",), test_draws=0, dynamics=Dynamics(**pieces, **more))
        return run.values["output"][-1]

    flow = output(0.2, 25, optimizer=GradientFlow(1e-10 if activation else 1e-4))
    steps = [output(0.2 / k, 25 * k) for k in (64, 128, 256)]
    once = [2 * fine - coarse for coarse, fine in zip(steps, steps[1:], strict=False)]
    limit = (4 * once[1] - once[0]) / 3 if activation else steps[-1]  # the errors of a smooth flow are powers of lr
    assert np.abs(flow - limit).max() <= tolerance * np.abs(limit).max()
    errors = [np.abs(output(0.2 / k, 25 * k) - flow).max() for k in (1, 4)]
    assert 2 <= errors[0] / errors[1] <= 8


@pytest.mark.parametrize("activation, degree", [(None, 1), (LeakyReLU(0.1), 1), (PowerReLU(2), 2), (PowerReLU(3), 3)])
def test_scaling_the_start_scales_the_training(activation, degree):
    """(W0, A, lr) -> (c W0, c^-q A, c^2 lr) leaves f as it is where s(cu) = c^q s(u)."""
    pieces = {"activation": activation} if activation else {}

    def output(c):
        problem = SignalNoise(**{**vars(PROBLEM), "init_std": c * PROBLEM.init_std, "bias": True})
        how = Dynamics(second_layer=2.0 * c**-degree, **pieces)
        run = simulate(problem.sample(seed=0), lr=0.02 * c**2, steps=50, record=("output",), test_draws=0, dynamics=how)
        return run.values["output"]

    assert relative_gap(output(3.0), output(1.0)) < 1e-10


def test_shown_is_the_same_however_it_is_asked_for():
    shown = Shown(batch_size=5, fresh_flips=0.3)
    for draw_of in (shown.weights, shown.flips):
        whole = draw_of(7, range(0, 200), 12)
        parts = [draw_of(7, range(0, 3), 12), draw_of(7, range(3, 70), 12), draw_of(7, range(70, 200), 12)]
        assert (np.concatenate(parts) == whole).all()
        assert (draw_of(8, range(0, 200), 12) != whole).any()
    weights = shown.weights(7, range(0, 6), 12)
    assert (weights.sum(1) == 1).all() or np.allclose(weights.sum(1), 1)
    assert ((weights[:3] > 0).sum(0) == 1).all()  # each once an epoch
    assert (weights > 0).sum(1).tolist() == [5, 5, 2, 5, 5, 2]  # the last batch is what is left
    rate = shown.flips(7, range(0, 2_000), 12).mean()
    assert abs(rate - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 24_000)  # false alarm 7e-6, seed fixed


def test_adam_leaves_the_span_and_runs_on_vectors():
    draw = PROBLEM.sample(seed=0, vectors=True)
    how = Dynamics(optimizer=Adam())
    for given, remedy in ((draw, ""), (PROBLEM.sample(seed=0), "draw with sample(seed, vectors=True) and ")):
        for engine in ("auto", "compiled", "span"):
            with pytest.raises(InputError) as refusal:
                simulate(given, dynamics=how, engine=engine)
            assert str(refusal.value).endswith(f"of the patches; {remedy}use simulate(..., engine='dense')")
    run = simulate(draw, lr=0.01, steps=30, engine="dense", dynamics=how)
    assert run.status == "ok" and run.table["loss"][-1] < run.table["loss"][0]


def test_without_a_signal_there_is_nothing_but_noise():
    problem = SignalNoise(**{**vars(PROBLEM), "mu_norm": 0.0, "bias": True})
    run = simulate(problem.sample(seed=0), lr=0.05, steps=30, record=("gamma",))
    assert run.status == "ok" and (run.values["gamma"] == 0).all() and problem.snr == 0
    assert abs(run.table["test_error_fresh"][-1] - 0.5) < 0.05


@pytest.mark.parametrize(
    "pieces, words",
    [
        ({"activation": "relu"}, r"`activation` must be one of ReLU\(\), .*, got 'relu'; use for example ReLU\(\)"),
        ({"loss": LeakyReLU()}, "`loss` must be one of Logistic"),
        ({"shown": Shown(fresh_flips=0.1), "loss": Hinge()}, "needs the logistic loss"),
        ({"optimizer": GradientFlow(), "weight_decay": 0.1}, "GradientFlow integrates the full gradient;"),
        ({"weight_decay": -1.0}, "`weight_decay` must be"),
        ({"second_layer": 0.0}, "`second_layer` must be"),
    ],
)
def test_pieces_that_do_not_go_together_are_refused(pieces, words):
    with pytest.raises(InputError, match=words):
        Dynamics(**pieces)


def test_a_claim_is_proved_for_the_papers_dynamics_only():
    draw = SignalNoise(n=20, d=4_000, m=3, mu_norm=30.0, init_std=1e-3).sample(seed=0)
    options = {"lr": 0.005, "steps": 150, "record_every": 10}
    plain = {check.claim: check for check in checks(simulate(draw, **options))}
    other = {check.claim: check for check in checks(simulate(draw, **options, dynamics=Dynamics(LeakyReLU(0.01))))}
    assert plain["Thm 4.1, stages"].verdict == "holds"
    assert {check.verdict for check in other.values()} <= {"premise fails", "not measured"}
    stages = other["Thm 4.1, stages"]
    assert stages.verdict == "premise fails" and "not for: leaky ReLU (leak 0.01)" in stages.reason
    assert stages.measured > 0  # the number stays
    for size, departs in ((20, ()), (25, ()), (19, ("batch size 19",))):  # a batch of all samples is full-batch descent
        batches = simulate(draw, **options, dynamics=Dynamics(shown=Shown(batch_size=size)))
        found = {check.claim: check.verdict for check in checks(batches)}
        assert batches.departures == departs
        assert (found == {name: check.verdict for name, check in plain.items()}) == (not departs)
    biased = simulate(SignalNoise(n=20, d=400, m=3, mu_norm=9.0, bias=True).sample(seed=0), steps=5)
    assert "a bias per filter" in checks(biased)[0].reason or checks(biased)[0].verdict != "holds"


@pytest.mark.parametrize("name", ["leaky", "power 3", "softplus", "second layer"])
def test_compiled_outputs_of_test_patches_are_those_of_their_products(name):
    dynamics = VARIANTS[name]
    problem = SignalNoise(n=24, d=160, m=3, mu_norm=5.0, init_std=0.02, bias=True, flip_dependence=0.4)
    config = SimulateConfig(lr=0.05, steps=5, dynamics=dynamics)
    draws = tuple(problem.sample(seed=seed) for seed in range(5))
    view = compiled.view(compiled.init(draws, np.full(5, 0.05), config, None, "float64"))
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((5, 6, 8))
    for patches in (rng.standard_normal((1, 8, 30)), rng.standard_normal((5, 8, 30))):  # shared, and one's own
        plain = test_errors._readout(view, factors @ patches)
        assert_close(view.read_patches(factors, patches), plain, rtol=1e-13, atol=1e-13)
    factors[3, 2, 1] = np.nan
    signals = view.h_signals
    output = test_errors._patch_outputs(view, signals, factors, patches)
    assert np.isnan(output[3]).all() and np.isfinite(output[[0, 1, 2, 4]]).all()


def test_departures_are_said_in_words():
    assert Dynamics().departures == Dynamics(weight_decay=0).departures == ()
    assert VARIANTS["much at once"].departures == (
        "leaky ReLU (leak 0.1)", "squared", "batch size 11", "momentum (momentum 0.5, nesterov False)",
        "cosine (floor 0.0)", "weight decay 0.01", "second layer 0.5",
    )  # fmt: skip
    assert Dynamics(optimizer=SharpnessAware()).departures == ("sharpness aware (radius 0.05)",)
    assert Dynamics(schedule=StepDecay(), loss=Exponential()).departures[0] == "exponential"


def test_what_is_compiled_into_the_kernels_is_named_in_them():
    """Numba looks at the content of the file of a function alone, so a change of these would not be compiled."""
    from labelnoise.theory import kernels, products

    folder = Path(kernels.__file__).parent
    for module, names in ((products, ("lanes",)), (kernels, ("lanes", "products", "observables"))):
        sources = b"".join((folder / f"{name}.py").read_bytes() for name in names)
        assert hashlib.sha256(sources).hexdigest()[:16] == module.INLINED, module
