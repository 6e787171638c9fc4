"""Runs as columns: each comes out as it does alone, whatever it shares its batch with."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Symmetric
from labelnoise.theory.cells import STAGES, Cell, check_cell, group_of, memory_of, run_cells, work_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.optimizers import Adam
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

PROBLEM = SignalNoise(n=20, d=300, m=3, mu_norm=8.0)
CONFIG = SimulateConfig(lr=0.05, steps=60, record_every=60, test_draws=50)
CELLS = [
    Cell(PROBLEM, CONFIG, 2**63 - 1, 2**63 - 1),
    Cell(replace(PROBLEM, d=40, mu_norm=0.0, label_noise=Symmetric(0.3)), replace(CONFIG, lr=0.2), 5, 5),
    Cell(replace(PROBLEM, label_noise=ClassConditional(0, 0)), CONFIG, 7, 7),
    Cell(replace(PROBLEM, init_std=0.1, noise_std=0.5), replace(CONFIG, lr=1e300), 8, 8),
    Cell(replace(PROBLEM, d=25, mu_norm=1.0, orthogonal_noise=True), CONFIG, 9, 9),
]


def test_each_run_comes_out_as_it_does_alone():
    columns = run_cells(CELLS)
    for at, (problem, config, seed, _) in enumerate(CELLS):
        run = simulate(problem.sample(seed=seed), **vars(config))
        last = {name: values[-1] for name, values in run.table.items()}
        last |= {f"{name}_at_T1": value for name, value in run.at_t1.items()}
        assert set(columns) == {*last, *STAGES}
        for name, value in last.items():
            np.testing.assert_allclose(columns[name][at], value, rtol=1e-9, atol=1e-13, err_msg=name)
        assert columns["ok"][at] == (run.status == "ok")
        for name, step in (("t1", run.stages.t1), ("onset", run.stages.onset)):
            np.testing.assert_equal(columns[name][at], np.nan if step is None else step)
        if run.stages.window:
            assert_close([columns["window_start"][at], columns["window_end"][at]], np.array(run.stages.window, float))
    np.testing.assert_equal(columns["stage_one"][:3], [1, 0, np.nan])  # without noisy samples nothing can be said
    assert columns["ok"].tolist() == [1, 1, 1, 0, 1] and np.isnan(columns["loss"][3])
    assert all(values.dtype == np.float64 and values.shape == (len(CELLS),) for values in columns.values())


def test_a_column_that_nobody_wants_is_not_computed(monkeypatch):
    whole = run_cells(CELLS[:3])
    for wanted in (("t1", "ok"), ("test_error_given_fresh",), ("converged", "loss_at_T1"), ("test_error_seen_at_T1",)):
        columns = run_cells(CELLS[:3], wanted)
        assert set(columns) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(columns[name], whole[name], err_msg=name)
    monkeypatch.setattr("labelnoise.theory.records.sampled_errors", None)
    monkeypatch.setattr("labelnoise.theory.records.EvaluationNoise", None)
    assert set(run_cells(CELLS[:3], ("stage_one", "test_error_seen"))) == {"stage_one", "test_error_seen"}


def test_runs_may_share_their_test_noise():
    shared = run_cells([cell._replace(evaluation=3) for cell in CELLS[:3]], ("test_error_fresh", "test_error_seen"))
    own = run_cells(CELLS[:3], ("test_error_fresh", "test_error_seen"))
    assert (shared["test_error_fresh"] != own["test_error_fresh"]).any()
    np.testing.assert_array_equal(shared["test_error_seen"], own["test_error_seen"])


def test_errors_do_not_depend_on_who_shares_the_noise(monkeypatch):
    """Runs of one noise are judged together, whatever their order, in parts that the budget cuts."""
    hard = [
        replace(PROBLEM, d=40, mu_norm=0.5 + seed / 2, label_noise=ClassConditional(0.1, seed / 20))
        for seed in range(5)
    ]
    cells = [Cell(problem, CONFIG, seed, (3, 4, 3, 3, 4)[seed]) for seed, problem in enumerate(hard)]
    wanted = ("test_error_perturbed", "test_error_fresh", "test_error_given_fresh")
    monkeypatch.setattr("labelnoise.theory.test_errors.BUDGET", 2 * 6 * CONFIG.test_draws)
    together, alone = run_cells(cells, wanted), [run_cells([cell], wanted) for cell in cells]
    for name in wanted:
        assert_close(together[name], np.concatenate([columns[name] for columns in alone]), rtol=1e-13)
        assert len(set(together[name].tolist())) >= 4  # so they tell who got whose


def test_runs_that_cannot_share_a_batch_are_refused():
    for other in (replace(PROBLEM, n=21), replace(PROBLEM, m=4), replace(PROBLEM, bias=True)):
        assert group_of(other, CONFIG) != group_of(PROBLEM, CONFIG)
        with pytest.raises(InputError, match="must agree in n, m, bias"):
            run_cells([CELLS[0], Cell(other, CONFIG, 0, 0)])
    with pytest.raises(InputError, match="must agree"):
        run_cells([CELLS[0], Cell(PROBLEM, replace(CONFIG, steps=61), 0, 0)])


def test_dynamics_that_leave_the_span_are_refused_before_any_run():
    with pytest.raises(InputError, match="Adam .*; choose gradient-descent, momentum"):
        check_cell(PROBLEM, replace(CONFIG, dynamics=Dynamics(optimizer=Adam())))


def test_memory_and_work_grow_with_what_is_asked():
    for measure in (memory_of, work_of):
        assert measure(PROBLEM, CONFIG) < measure(PROBLEM, replace(CONFIG, test_draws=500))
        assert measure(PROBLEM, CONFIG) < measure(PROBLEM, replace(CONFIG, steps=5_000))
        assert measure(PROBLEM, CONFIG) < measure(replace(PROBLEM, n=40), CONFIG)
        assert measure(PROBLEM, CONFIG) == measure(replace(PROBLEM, d=10**9), CONFIG)
