"""The driver: what is recorded and when, runs that break, input that is refused."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Symmetric
from labelnoise.theory import span
from labelnoise.theory.draws import stack
from labelnoise.theory.engines import ENGINES, Stepwise, Training
from labelnoise.theory.observables import TRACKED
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate
from labelnoise.theory.test_errors import EvaluationNoise
from labelnoise.theory.trajectory import Trajectory
from labelnoise.theory.verdicts import checks

PROBLEM = SignalNoise(n=20, d=400, m=3, mu_norm=9.0)


def test_what_is_recorded_and_when():
    run = simulate(PROBLEM.sample(seed=0), lr=0.01, steps=25, record_every=10, record=("output", "gamma", "rho"))
    assert run.steps.tolist() == [0, 10, 20, 25]
    assert {name: run.values[name].shape for name in run.values} == {
        "output": (4, 20),
        "gamma": (4, 6),
        "rho": (4, 6, 20),
    }
    assert all(run.track[name].shape == (26,) for name in TRACKED)
    frame = run.to_frame()
    assert frame["step"].tolist() == [0, 10, 20, 25]
    assert_close(frame["time"].to_numpy(), 0.01 * run.steps)
    assert (run.values["gamma"][0] == 0).all() and (run.values["rho"][0] == 0).all()


def test_the_track_is_that_of_the_records():
    run = simulate(PROBLEM.sample(seed=0), lr=0.01, steps=30, record_every=1, record=("margin", "gamma", "rho"))
    draw, margin = run.draw, run.values["margin"]
    own = np.where(draw.y_given > 0, run.values["rho"][:, :3].max(1), run.values["rho"][:, 3:].max(1))
    assert_close(run.track["margin_clean_min"], margin[:, ~draw.noisy].min(1))
    assert_close(run.track["margin_noisy_max"], margin[:, draw.noisy].max(1))
    assert_close(run.track["gamma_min"], run.values["gamma"].min(1))
    assert_close(run.track["rho_bar_max"], own.max(1))


def test_the_table_at_t1_is_that_of_a_run_recorded_there():
    draw = SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0, label_noise=ClassConditional(0.1, 0.1)).sample(seed=0)
    run = simulate(draw, lr=0.01, steps=300, record_every=300)
    t1 = run.stages.t1
    assert t1 is not None and t1 not in run.steps
    there = simulate(draw, lr=0.01, steps=t1, record_every=t1)
    for name, value in run.at_t1.items():
        np.testing.assert_equal(value, there.table[name][-1], err_msg=name)


def test_the_same_seed_gives_the_same_numbers():
    first, again, other = (simulate(PROBLEM.sample(seed=s), lr=0.01, steps=50).to_frame() for s in (3, 3, 4))
    assert first.equals(again) and not first.equals(other)


def test_a_batch_has_a_seed_column_and_runs_to_pick():
    runs = simulate(stack([PROBLEM.sample(seed=s) for s in (7, 2)]), lr=0.01, steps=10, record=("output",))
    frame = runs.to_frame()
    assert frame.columns[0] == "seed" and frame["seed"].tolist() == [7, 7, 2, 2]
    assert runs.values["output"].shape == (2, 2, 20) and runs[1].values["output"].shape == (2, 20)
    assert (runs[1].values["output"] == runs.values["output"][1]).all() and len(runs.stages) == 2
    assert len(runs) == 2 and [run.seed for run in runs] == [7, 2] and runs[-1] is runs[1]
    assert [run.stages for run in runs] == list(runs.stages) and runs.status == ("ok", "ok") and runs[0].status == "ok"


def test_a_run_that_diverges_says_so_and_harms_no_other():
    good = PROBLEM.sample(seed=0)
    huge = SignalNoise(n=20, d=400, m=3, mu_norm=1e20).sample(seed=1)
    runs = simulate(stack([huge, good]), lr=1e12, steps=30, record_every=10, record=("output",))
    assert runs.status[0].startswith("diverged: an output is not finite at step ") and "lower `" in runs.status[0]
    assert runs.status[1] == "ok"
    alone = simulate(good, lr=1e12, steps=30, record_every=10, record=("output",))
    assert_close(runs[1].values["output"], alone.values["output"])
    assert np.isnan(runs[0].values["output"][-1]).all() and np.isnan(runs[0].track["gamma_min"][-1])
    assert runs[1].stages == alone.stages


@pytest.mark.parametrize("too_large", [{"mu_norm": 1e50}, {"noise_std": 1e50}, {"init_std": 1e50}])
def test_a_run_that_breaks_before_it_trains_is_not_blamed_on_its_learning_rate(too_large):
    run = simulate(replace(PROBLEM, **too_large).sample(seed=0), lr=1e-9, steps=3)
    expected = "an output is not finite at step 0, before `lr` has acted; lower `init_std`, `mu_norm` or `noise_std`"
    assert run.status == f"diverged: {expected}"


def test_when_every_run_diverges_the_arrays_keep_their_shape():
    draw = SignalNoise(n=20, d=400, m=3, mu_norm=1e6).sample(seed=0)
    run = simulate(draw, lr=1e300, steps=40, record_every=10, record=("rho",))
    assert run.status.startswith("diverged") and "1e+300" in run.status
    assert run.values["rho"].shape == (5, 6, 20) and np.isnan(run.values["rho"][-1]).all()
    assert run.to_frame().shape[0] == 5 and run.track["gamma_min"].shape == (41,)


@pytest.mark.parametrize("engine", ["span", "dense"])
def test_without_training_the_initial_network_is_recorded(engine):
    draw = PROBLEM.sample(seed=0, vectors=True)
    run = simulate(draw, lr=0.1, steps=0, record=("output",), engine=engine)
    v = draw.vectors
    units = np.maximum(draw.y_true[:, None] * v.mu @ v.w0.T, 0) + np.maximum(v.xi @ v.w0.T, 0)
    assert_close(run.values["output"][0], units[:, :3].mean(1) - units[:, 3:].mean(1))
    assert run.stages.t1 is None


def test_progress_ends_at_the_last_step():
    seen = []
    simulate(PROBLEM.sample(seed=0), lr=0.01, steps=25, test_draws=0, progress=lambda *at: seen.append(at))
    assert seen[-1] == (25, 25) and seen == sorted(seen)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.0}, "`lr` must be a finite number > 0, got 0.0"),
        ({"lr": float("inf")}, "`lr` must be a finite number"),
        ({"steps": -1}, "`steps` must be an integer >= 0, got -1"),
        ({"record_every": 0}, "`record_every` must be an integer >= 1, got 0"),
        ({"test_draws": 1.5}, "`test_draws` must be an integer >= 0, got 1.5"),
        ({"zeta_std": -1.0}, "`zeta_std` must be a finite number >= 0"),
        ({"record": ("gama",)}, "did you mean 'gamma'?"),
        ({"engine": "spam"}, "did you mean 'span'?"),
        ({"dtype": "float16"}, "did you mean 'float64'?"),
        ({"engine": "dense"}, r"use sample\(..., vectors=True\)"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        simulate(PROBLEM.sample(seed=0), **{"lr": 0.01, "steps": 2, **change})


def test_a_learning_rate_may_be_an_array_without_axes():
    draw = PROBLEM.sample(seed=0)
    assert simulate(draw, lr=np.array(0.01), steps=2).config == simulate(draw, lr=0.01, steps=2).config
    with pytest.raises(InputError, match="`lr` must be a finite number > 0, got '0.1'"):
        simulate(draw, lr="0.1", steps=2)


@pytest.mark.parametrize("draw", [PROBLEM, 3, [PROBLEM]])
def test_what_is_no_draw_is_refused(draw):
    with pytest.raises(InputError, match="draw"):
        simulate(draw, lr=0.1, steps=1)


def test_an_output_that_no_record_could_hold_counts_as_infinite():
    run = simulate(PROBLEM.sample(seed=0), lr=1e37, steps=20, record_every=20)
    assert run.status.startswith("diverged")


@pytest.mark.parametrize("vectors", [False, True])
def test_a_trajectory_is_saved_and_read(vectors, tmp_path):
    problem = SignalNoise(n=12, d=60, m=2, label_noise=Symmetric(0.3), orthogonal_noise=True)
    draw = problem.sample(seed=5, vectors=vectors, n_holdout=4)
    run = simulate(
        draw, lr=0.01, steps=12, record_every=5, record=("gamma", "margin", "margin_predicted"), zeta_std=0.2
    )
    run.save(tmp_path / "run.npz")
    again = Trajectory.read(tmp_path / "run.npz")
    assert again.config == run.config and again.draw.problem == problem and again.seed == 5
    assert again.status == run.status and again.stages == run.stages
    assert again.to_frame().equals(run.to_frame())
    assert [(c.claim, c.verdict, c.reason) for c in checks(again)] == [
        (c.claim, c.verdict, c.reason) for c in checks(run)
    ]
    for name, values in run.values.items():
        assert_close(again.values[name], values)
    assert set(again.at_t1) == set(run.at_t1)
    assert_close(again.draw.inner, draw.inner)
    assert (again.draw.vectors is not None) == vectors
    if vectors:
        rerun = simulate(again.draw, lr=0.01, steps=12, engine="dense", record=("margin",))
        assert_close(rerun.values["margin"][-1], run.values["margin"][-1], rtol=1e-9)


def test_a_file_that_holds_no_trajectory_is_refused(tmp_path):
    for content, message in ((None, "no file at"), (b"PK", "is damaged")):
        if content:
            (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=message):
            Trajectory.read(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    with pytest.raises(InputError, match="holds no trajectory"):
        Trajectory.read(tmp_path / "a.npz")


@pytest.mark.parametrize("engine", ["span", "dense"])
def test_what_is_known_at_t1_is_the_row_of_that_step(engine):
    """Each run has a T1 of its own, one of them none; a run that records every step has the rows."""
    problems = [replace(PROBLEM, mu_norm=mu) for mu in (14.0, 20.0, 3.0)]
    draws = stack([problem.sample(seed=s, vectors=True) for s, problem in enumerate(problems)])
    options = {"lr": 0.02, "steps": 60, "test_draws": 30, "engine": engine}
    runs, rows = simulate(draws, **options, record_every=60), simulate(draws, **options, record_every=1)
    t1 = [stages.t1 for stages in runs.stages]
    assert len(set(t1)) == 3 and None in t1 and len(runs.at_t1) > 20
    for run, row, at in zip(runs, rows, t1, strict=True):
        for name, value in run.at_t1.items():
            np.testing.assert_array_equal(value, np.nan if at is None else row.table[name][at])


def test_t1_is_observed_on_the_way_and_not_in_a_second_run(monkeypatch):
    """An engine whose steps are not the same twice, as minibatches will not be."""
    rng = np.random.default_rng(0)

    class Shaky:
        init, view, merge = staticmethod(span.init), staticmethod(span.view), staticmethod(span.merge)

        @staticmethod
        def step(state):
            return span.step(replace(state, coefficients=state.coefficients * (1 + 1e-3 * rng.standard_normal())))

    monkeypatch.setitem(ENGINES, "span", Stepwise(Shaky))
    run = simulate(PROBLEM.sample(seed=0), lr=0.02, steps=60, record_every=1, engine="span")
    assert run.stages.t1 and run.at_t1["loss"] == run.table["loss"][run.stages.t1]


def test_runs_of_several_problems_are_told_apart():
    draws = [replace(PROBLEM, mu_norm=mu).sample(seed=3) for mu in (8.0, 14.0)]
    frame = simulate(stack(draws), lr=0.01, steps=4, record_every=4).to_frame()
    assert frame.columns[:2].tolist() == ["run", "seed"]
    assert frame["run"].tolist() == [0, 0, 1, 1] and frame["seed"].tolist() == [3] * 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"record": "gamma"}, r"`record` must be a list of names, got 'gamma'; write for example record=\('gamma',\)"),
        ({"record": 3}, "`record` must be a list of names, got 3"),
        ({"record": [3]}, "`record` knows no 3"),
        ({"engine": None}, "`engine` knows no None"),
        ({"dtype": 64}, "`dtype` knows no 64"),
        ({"device": "warp"}, "`device` must be a torch device of this machine, got 'warp'"),
    ],
)
def test_rubbish_gets_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        simulate(PROBLEM.sample(seed=0), steps=1, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 50_000, "record_every": 1, "record": ("rho",)}, "records a run: raise record_every, now 1"),
        ({"steps": 500_000, "record_every": 500_000}, "free; lower n, m, steps, test_draws or the number of runs"),
    ],
)
def test_what_would_not_fit_is_refused_before_it_starts(options, words, monkeypatch):
    monkeypatch.setattr("labelnoise.arrays.free_memory", lambda: 10**7)
    with pytest.raises(InputError, match=r"this needs about [\d.]+ MB of memory, but the machine has 10 MB.*" + words):
        simulate(PROBLEM.sample(seed=0), lr=0.01, test_draws=10, **options)


def test_more_test_draws_begin_with_those_of_fewer():
    draw = PROBLEM.sample(seed=0)
    few, many = (EvaluationNoise.draw(7, draws, draw.filters, draw.n) for draws in (10, 25))
    assert_close(few.normal, many.normal[:, :10], rtol=0)
    assert (few.patch == many.patch[:10]).all() and len(set(many.patch.tolist())) > 5


def test_float32_is_not_tf32_whatever_the_caller_allowed(monkeypatch):
    """A GPU would multiply in TF32; the switch is off while the engines run, and as it was afterwards."""
    import torch

    seen = []
    step = span.step
    monkeypatch.setattr(span, "step", lambda state: seen.append(torch.backends.cuda.matmul.allow_tf32) or step(state))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        simulate(PROBLEM.sample(seed=0), lr=0.01, steps=2, device="cpu", dtype="float32")
        assert seen == [False, False] and torch.backends.cuda.matmul.allow_tf32 is True
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_of_equal_separations_the_first_is_t1():
    class Counted:
        """Networks that are the number of the step; the second run separates better at each step."""

        init = view = None

        def step(self, state):
            return state + 1

        def merge(self, kept, state, runs):
            return np.where(runs, state, kept)

    engine, training = Stepwise(Counted()), Training(np.zeros(2), np.zeros(2), np.full(2, -np.inf), np.full(2, True))
    for now, series in enumerate(([[1.0, 2.0], [-1.0, -2.0]], [[1.0, 3.0], [-1.0, -3.0]]), start=1):
        training = engine._look(training, np.full(2, now), np.array(series), np.full(2, True))
    assert training.best.tolist() == [1, 2] and training.gap.tolist() == [1.0, 3.0]


def test_a_run_is_shown_in_a_line_without_its_arrays():
    draw = PROBLEM.sample(seed=0, vectors=True)
    run, runs = (simulate(drawn, steps=2, record=("margin",)) for drawn in (draw, stack([draw, draw])))
    for shown in (repr(draw), repr(run)):
        assert "array" not in shown and "\n" not in shown and "mu_norm=9.0" in shown and "seed=0" in shown
    assert "steps=2" in repr(run) and "status='ok'" in repr(run)
    assert repr(runs) == "TrajectoryBatch of 2 runs, 2 ok"
