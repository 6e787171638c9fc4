"""The main job, at a size that a test can bear: it resumes, and gives the same summary twice."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from labelnoise.errors import InputError
from labelnoise.reproduce import experiment as module
from labelnoise.reproduce.experiment import Reproduce, run_reproduce
from labelnoise.reproduce.plan import AuditOf, Setting, plan_sections
from labelnoise.reproduce.workers import run_all
from labelnoise.runs.reading import read_run
from labelnoise.sweeps.experiment import SweepRun
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.training.config import ExplainConfig
from labelnoise.training.experiment import TrainRun


@pytest.fixture
def small(monkeypatch):
    """The sections of the report, each experiment cut to almost nothing."""

    def cut(run):
        if isinstance(run, AuditOf):
            return run
        if isinstance(run, SimulateRun):
            problem = replace(run.problem, n=10, d=50, m=2, mu_norm=8.0)
            return replace(
                run, problem=problem, simulation=SimulateConfig(lr=0.02, steps=5, test_draws=9), seeds=(0, 1)
            )
        if isinstance(run, SweepRun):
            return replace(run, problem=replace(run.problem, n=10, d=100, m=2), simulation=SimulateConfig(steps=30))
        return replace(run, classes=(3, 8), per_class=12, model="mlp", training=replace(run.training, epochs=2))

    few = ExplainConfig(method="expected-gradients", nsamples=3, clean=2, noisy=2, background=4, reference=2)

    def sections(quick):
        return tuple(
            replace(
                section,
                explained=dict.fromkeys(section.explained, few),
                settings=tuple(
                    Setting(s.title, {name: cut(run) for name, run in s.experiments.items()}) for s in section.settings
                ),
            )
            for section in plan_sections(quick=True)
        )

    monkeypatch.setattr(module, "plan_sections", sections)


@pytest.mark.slow
def test_it_runs_every_experiment_resumes_and_gives_the_same_summary(world, small, tmp_path):
    told = []
    outcome = run_reproduce(Reproduce(), tmp_path / "a", progress=lambda *words: told.append(words))
    assert not outcome.reused and outcome.page.is_file() and [at for at, _, _ in told] == list(range(1, 9))
    whole = (tmp_path / "a/summary.json").read_bytes()
    summary = read_run(tmp_path / "a").summary
    assert summary["status"] == "ok" and set(summary["experiments"]) == {
        "a-noise", "a-clean", "b-noise", "b-clean", "map", "digits-noise-seed0", "digits-clean-seed0",
        "digits-audit",
    }  # fmt: skip
    assert {path.stem for path in (tmp_path / "a/figures").iterdir()} == {
        "synthetic-a-curves", "synthetic-b-curves", "digits-curves", "digits-margins", "digits-attribution",
        "digits-similarity", "map-stages", "audit-margins",
    }  # fmt: skip
    assert run_reproduce(Reproduce(), tmp_path / "a").reused

    # as if it had been killed: what is finished is kept, the rest runs again
    (tmp_path / "a/summary.json").unlink()
    (tmp_path / "a/b-noise/summary.json").unlink()
    kept = (tmp_path / "a/a-noise/history.csv").stat().st_mtime_ns
    told.clear()
    assert not run_reproduce(Reproduce(), tmp_path / "a", progress=lambda *words: told.append(words)).reused
    assert (tmp_path / "a/a-noise/history.csv").stat().st_mtime_ns == kept
    assert sum(name.endswith("already there") for _, _, name in told) == 6
    assert (tmp_path / "a/summary.json").read_bytes() == whole


@pytest.mark.slow
def test_a_finished_folder_whose_experiment_is_made_in_another_way_now_is_refused(small, tmp_path, monkeypatch):
    """Experiments run in processes of their own, as they do for who gives the command."""
    sections = module.plan_sections(True)[:1]
    monkeypatch.setattr(module, "plan_sections", lambda quick: sections)
    assert run_reproduce(Reproduce(), tmp_path / "a").status == "ok"
    (name, run), *_ = sections[0].settings[0].experiments.items()
    changed = replace(run, seeds=(0, 7))
    other = replace(sections[0], settings=(Setting("other", {name: changed}),))
    monkeypatch.setattr(module, "plan_sections", lambda quick: (other,))
    with pytest.raises(InputError, match=r"a-noise holds another one \(seeds is \[0, 1\] there, \[0, 7\] now\)"):
        run_reproduce(Reproduce(), tmp_path / "a")


def test_the_report_has_both_settings_with_and_without_noise_and_digits():
    runs = {name: run for section in plan_sections() for s in section.settings for name, run in s.experiments.items()}
    a, b = runs["a-noise"], runs["b-noise"]
    assert (a.problem.d, a.problem.n_snr2, a.simulation.steps, len(a.seeds)) == (40_000, pytest.approx(8), 2_000, 5)
    assert (b.problem.d, b.simulation.lr, b.problem.init_std) == (400, 0.3, 0.01)
    assert runs["a-clean"].problem.taus == runs["b-clean"].problem.taus == (0, 0)
    digits = [run for run in runs.values() if isinstance(run, TrainRun)]
    assert sorted((run.noise, run.training.seed) for run in digits) == [
        (noise, seed) for noise in ("none", "symmetric:0.2") for seed in range(3)
    ]


def test_a_worker_that_is_killed_ends_the_run_with_one_sentence(tmp_path):
    """As the kernel does where memory is short."""
    long = SimulateRun(simulation=SimulateConfig(steps=10_000_000, record_every=10_000_000, test_draws=0), seeds=(0,))

    def kill():
        worker = os.getpid()  # which looks into the folder first
        while worker == os.getpid():
            time.sleep(0.02)
            with contextlib.suppress(OSError, ValueError):
                worker = json.loads((tmp_path / "a/.lock").read_text())["pid"]
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InputError, match="a process of this run was killed, perhaps for want of memory; the same"):
        run_all({"a": long}, {}, tmp_path, print)
    killer.join()


def test_an_interrupt_of_the_main_process_alone_ends_the_workers_too(tmp_path):
    """They have hours of work before them."""
    script = f"""
import signal
from pathlib import Path
from labelnoise.reproduce.workers import run_all
from labelnoise.sweeps.experiment import SweepRun
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
long = SimulateRun(simulation=SimulateConfig(steps=10_000_000, record_every=10_000_000, test_draws=0), seeds=(0,))
run_all({{"a": long}}, {{}}, Path({str(tmp_path)!r}), print)
"""
    (tmp_path / "main.py").write_text(script)
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "a/.lock").exists():
        time.sleep(0.05)
    main.send_signal(signal.SIGINT)
    _, words = main.communicate(timeout=60)
    assert main.returncode and "KeyboardInterrupt" in words
