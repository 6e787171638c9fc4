"""The main job, at a size that a test can bear: it resumes, and gives the same summary twice."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labelnoise.reproduce import experiment as module
from labelnoise.reproduce.experiment import Figure, Panel, Reproduce, figures, run_reproduce
from labelnoise.runs.reading import read_run
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.simulation import Schedule
from labelnoise.training.experiment import TrainRun
from labelnoise.training.explain import ExplainConfig


@pytest.fixture
def tiny(monkeypatch):
    """The figures of the report, each experiment cut to almost nothing."""

    def cut(run):
        if isinstance(run, SimulateRun):
            problem = replace(run.problem, n=30, d=400, m=3, mu_norm=10.0)
            return replace(run, problem=problem, schedule=Schedule(lr=0.02, steps=40, test_draws=20), seeds=(0, 1))
        return replace(run, classes=(3, 8), training=replace(run.training, epochs=2))

    few = ExplainConfig(clean=2, noisy=2, background=4, reference=2)

    def small(quick):
        return tuple(
            replace(
                figure,
                explained=dict.fromkeys(figure.explained, few),
                panels=tuple(
                    Panel(p.title, {name: cut(run) for name, run in p.experiments.items()}) for p in figure.panels
                ),
            )
            for figure in figures(quick=True)
        )

    monkeypatch.setattr(module, "figures", small)


def test_it_runs_every_experiment_resumes_and_gives_the_same_summary(tiny, tmp_path):
    told = []
    page, reused = run_reproduce(Reproduce(), tmp_path / "a", done=lambda *words: told.append(words))
    assert not reused and page.is_file() and [at for _, at, _ in told] == list(range(1, 7))
    whole = (tmp_path / "a/summary.json").read_bytes()
    summary = read_run(tmp_path / "a").summary
    assert summary["status"] == "ok" and set(summary["experiments"]) == {
        "a-noise", "a-clean", "b-noise", "b-clean", "digits-noise-seed0", "digits-clean-seed0"
    }  # fmt: skip
    assert {path.stem for path in (tmp_path / "a/figures").iterdir()} == {
        "synthetic-a-curves", "synthetic-b-curves", "digits-curves", "digits-margins", "digits-attribution",
        "digits-similarity",
    }  # fmt: skip
    assert run_reproduce(Reproduce(), tmp_path / "a")[1]

    # as if it had been killed: what is finished is kept, the rest runs again
    (tmp_path / "a/summary.json").unlink()
    (tmp_path / "a/b-noise/summary.json").unlink()
    kept = (tmp_path / "a/a-noise/history.csv").stat().st_mtime_ns
    told.clear()
    assert not run_reproduce(Reproduce(), tmp_path / "a", done=lambda *words: told.append(words))[1]
    assert (tmp_path / "a/a-noise/history.csv").stat().st_mtime_ns == kept
    assert sum(name.endswith("already there") for name, _, _ in told) == 5
    assert (tmp_path / "a/summary.json").read_bytes() == whole


def test_the_report_has_both_settings_with_and_without_noise_and_digits():
    shown: tuple[Figure, ...] = figures()
    runs = {name: run for figure in shown for panel in figure.panels for name, run in panel.experiments.items()}
    a, b = runs["a-noise"], runs["b-noise"]
    assert (a.problem.d, a.problem.n_snr2, a.schedule.steps, len(a.seeds)) == (40_000, pytest.approx(8), 2_000, 5)
    assert (b.problem.d, b.schedule.lr, b.problem.init_std) == (400, 0.3, 0.01)
    assert runs["a-clean"].problem.taus == runs["b-clean"].problem.taus == (0, 0)
    digits = [run for run in runs.values() if isinstance(run, TrainRun)]
    assert sorted((run.noise, run.training.seed) for run in digits) == [
        (noise, seed) for noise in ("none", "symmetric:0.2") for seed in range(3)
    ]


def test_workers_end_with_a_main_process_that_is_killed():
    """Else they would go on writing into a folder in which the run is resumed."""
    script = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from labelnoise.reproduce import _end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""
    main = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    worker = int(main.stdout.readline())
    os.kill(worker, 0)  # alive
    main.kill()
    main.wait()
    main.stdout.close()
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists() or "\tZ" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")
