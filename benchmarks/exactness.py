"""Exactness of the span engine: against the dense engine on explicit vectors, and a batch against its single runs.

python benchmarks/exactness.py            (about two minutes; needs torch)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse

import numpy as np
import torch

from harness import verdict
from labelnoise.noise.models import ClassConditional
from labelnoise.theory.draws import stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate
from labelnoise.theory.trajectory import Trajectory

RECORD = ("output", "gamma", "rho")


def gaps(run: Trajectory, reference: Trajectory) -> dict[str, float]:
    """Largest gap of each recorded array over all records, relative to the largest entry of the reference."""
    pairs = {name: (run.values[name], reference.values[name]) for name in RECORD}
    return {name: float(np.abs(a - b).max() / np.abs(b).max()) for name, (a, b) in pairs.items()}


def report(label: str, each: dict[str, float], goal: float) -> None:
    """Print the gaps of one comparison beside the goal."""
    numbers = ", ".join(f"{name} {gap:.1e}" for name, gap in each.items())
    print(f"  {label:34s}{numbers}; {verdict(max(each.values()), goal, at_least=False)}")


def against_dense(steps: int, seeds: int) -> None:
    """Span against dense at n=200, d=2,000, m=20, n SNR^2 = 8, with two initialisations."""
    print(f"span against dense, n=200, d=2,000, m=20, {steps:,} steps, every 50th compared")
    for seed in range(seeds):
        for init_std in (0.01, 0.001):
            problem = SignalNoise(n=200, d=2_000, m=20, mu_norm=80**0.5, init_std=init_std)
            draw = problem.sample(seed=seed, vectors=True)
            options = {"lr": 0.1, "steps": steps, "record_every": 50, "record": RECORD, "test_draws": 0}
            exact, reference = simulate(draw, **options), simulate(draw, engine="dense", **options)
            label = f"seed {seed}, init_std {init_std:g}, T1 {exact.stages.t1}"
            report(label, gaps(exact, reference), 1e-10)
            if exact.stages != reference.stages:
                print(f"    the stages differ: {exact.stages} and {reference.stages}")
    print()


def batch_against_singles(steps: int) -> None:
    """Three different draws in one batch against the three alone."""
    problems = [
        SignalNoise(n=200, d=2_000, m=20, mu_norm=80**0.5, init_std=0.01),
        SignalNoise(n=200, d=40_000, m=20, mu_norm=10.0, label_noise=ClassConditional(0.3, 0.1)),
        SignalNoise(n=200, d=10**9, m=20, mu_norm=100.0, noise_std=0.01, init_std=1e-5, orthogonal_noise=True),
    ]
    draws = [problem.sample(seed=seed) for seed, problem in enumerate(problems)]
    options = {"lr": 0.05, "steps": steps, "record_every": 50, "record": RECORD, "test_draws": 0}
    batch = simulate(stack(draws), **options)
    print(f"a batch of three different draws against single runs, {steps:,} steps")
    for r, draw in enumerate(draws):
        report(f"draw {r}, status {batch[r].status}", gaps(batch[r], simulate(draw, **options)), 1e-12)


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000, help="gradient steps of each run")
    parser.add_argument("--seeds", type=int, default=2, help="draws compared with the dense engine")
    arguments = parser.parse_args()
    torch.set_num_threads(harness.THREADS)
    harness.describe("Exactness of the span engine")
    against_dense(arguments.steps, arguments.seeds)
    batch_against_singles(arguments.steps)


if __name__ == "__main__":
    main()
