"""Held-out samples of the model, one by one: their margins, and the verdict that comes of them."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.noise.models import ClassConditional
from labelnoise.record.stopping import HeldOut
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

PROBLEM = SignalNoise(n=60, d=120, m=4, mu_norm=4.0, init_std=0.01, label_noise=ClassConditional(0.3, 0.2))
RECORD = ("gamma", "rho", "held_out_margin")


@pytest.mark.parametrize("engine", ["span", "dense"])
def test_margins_of_held_out_samples_are_those_of_the_weights_written_out(engine):
    draw = PROBLEM.sample(seed=4, n_holdout=30, vectors=True)
    run = simulate(draw, lr=0.3, steps=80, record_every=40, record=RECORD, engine=engine, test_draws=0)
    vectors, mu, sign = draw.vectors, draw.vectors.mu.ravel(), np.repeat([1.0, -1.0], 4)
    for record in range(3):
        signal = (sign * run.values["gamma"][record])[:, None] * mu / (mu @ mu)
        noise = run.values["rho"][record] @ (vectors.xi / (vectors.xi**2).sum(axis=1, keepdims=True))
        w = vectors.w0 + signal + noise
        patches = np.stack([draw.held_out_true[:, None] * mu, vectors.held_out])
        output = (np.maximum(patches @ w.T, 0) @ sign).sum(axis=0) / 4
        assert_close(run.values["held_out_margin"][record], draw.held_out_given * output, rtol=1e-7, atol=1e-10)
    fitted = run.values["held_out_margin"] > 0
    assert_close(run.table["held_out_accuracy"], fitted.mean(axis=1))
    assert 0 < fitted[1:].mean() < 1


def test_a_run_without_held_out_samples_has_no_margins_of_them():
    run = simulate(PROBLEM.sample(seed=0), lr=0.3, steps=20, record=("held_out_margin",), test_draws=0)
    assert run.values["held_out_margin"].shape == (3, 0) and "held_out_accuracy" not in run.table


def test_the_verdict_of_a_run_compares_its_held_out_samples(tmp_path):
    """One where two accuracies do not differ beyond chance, and the same samples do: seeds 0 to 4 at n = 400."""
    config = SimulateConfig(lr=0.3, steps=400, record_every=4, test_draws=0)
    run = SimulateRun(PROBLEM, config, seeds=(0, 1, 2, 3, 4), n_holdout=400)
    run_experiment(run, tmp_path / "a")
    stops = {row["seed"]: row for row in read_run(tmp_path / "a").summary["stops"] if row["rule"] == "held_out"}
    told_apart = 0
    for seed, row in stops.items():
        again = simulate(
            PROBLEM.sample(seed=seed, n_holdout=400), lr=0.3, steps=400, record_every=4, record=RECORD, test_draws=0
        )
        fitted = (again.values["held_out_margin"] > 0).astype(float)
        difference = fitted[again.steps == row["at"]][0] - fitted[-1]
        assert set(difference) <= {-1, 0, 1} and row["paired"]
        error = np.sqrt(max(difference.var(), 1 / 400) / 400)
        assert (row["fall"], row["fall_error"]) == pytest.approx((difference.mean(), error))
        assert row["falls"] == (difference.mean() > 2 * error)
        told_apart += row["falls"] and not HeldOut(400)(again.table["held_out_accuracy"]).falls
    assert told_apart > 0


def test_a_run_that_holds_nothing_out_has_no_verdict(tmp_path):
    config = SimulateConfig(lr=0.3, steps=20, test_draws=0)
    run_experiment(replace(SimulateRun(PROBLEM, config, seeds=(0,)), n_holdout=0), tmp_path / "a")
    assert [row["rule"] for row in read_run(tmp_path / "a").summary["stops"]] == ["oracle", "last"]
