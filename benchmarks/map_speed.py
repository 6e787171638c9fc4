"""Map (f), benign overfitting over signal and dimension: 100,000 runs, their parts, and the obvious script beside them.

python benchmarks/map_speed.py            (two minutes; needs torch)
"""

from __future__ import annotations

from harness import describe, spread, verdict  # before NumPy loads: it limits the threads

# isort: split
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import labelnoise
from labelnoise.runs.places import read_settings
from labelnoise.runs.workers import cores
from labelnoise.sweeps.chunks import run_chunk
from labelnoise.sweeps.experiment import SweepRun, sweep
from labelnoise.sweeps.parameters import parameters_of, set_up
from labelnoise.sweeps.plan import Chunk, Plan
from labelnoise.theory import cells, compiled, records
from labelnoise.theory.problem import SignalNoise

MAP = Path(__file__).parents[1] / "experiments" / "benign_overfitting.toml"
GOAL, RATIO = 30.0, 400.0
"""Seconds of the map, and how many times faster than the script."""
SAMPLE = 40
"""Cells on which the script is run."""


def script(problem: SignalNoise, lr: float, steps: int, second_layer: float, tests: int, seed: int) -> float:
    """Return the error against flipped test labels: explicit patches, autograd, one run, as one would write it."""
    rng = torch.Generator().manual_seed(seed)
    n, d, m, tau = problem.n, problem.d, problem.m, problem.taus[0]

    def data(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = 1.0 - 2.0 * torch.randint(2, (size,), generator=rng).double()
        signal = torch.zeros(size, d, dtype=torch.float64)
        signal[:, 0] = y * problem.mu_norm
        noise = torch.randn(size, d, generator=rng, dtype=torch.float64)
        flipped = torch.rand(size, generator=rng) < tau
        return torch.stack([signal, noise], dim=1), torch.where(flipped, -y, y)

    x, y = data(n)
    w = (problem.init_std * torch.randn(2 * m, d, generator=rng, dtype=torch.float64)).requires_grad_()
    b = (problem.init_std * torch.randn(2 * m, generator=rng, dtype=torch.float64)).requires_grad_()
    readout = second_layer * torch.cat([torch.ones(m), -torch.ones(m)]).double()

    def forward(patches: torch.Tensor) -> torch.Tensor:
        return torch.relu(patches @ w.T + b).sum(dim=1) @ readout

    optimizer = torch.optim.SGD([w, b], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.softplus(-y * forward(x)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        x, y = data(tests)
        return float((y * forward(x) <= 0).double().mean())


def parts(chunk: Chunk) -> None:
    """Print the share of each part of a chunk."""
    seconds: dict[str, float] = {}

    def clock(module: object, name: str, part: str) -> None:
        inner = getattr(module, name)

        def timed(*arguments: object, **options: object) -> object:
            start = time.process_time()
            result = inner(*arguments, **options)
            seconds[part] = seconds.get(part, 0.0) + time.process_time() - start
            return result

        setattr(module, name, timed)

    for module, name, part in (
        (cells, "sample_runs", "draws"),
        (compiled, "_spread", "steps"),
        (records, "sampled_errors", "test errors"),
    ):
        clock(module, name, part)
    run_chunk(chunk, labelnoise.__version__)
    seconds.clear()
    start = time.process_time()
    run_chunk(chunk, labelnoise.__version__)
    total = time.process_time() - start
    seconds["the rest"] = total - sum(seconds.values())
    runs = len(chunk.seeds)
    print(f"parts of a chunk of {runs} runs, one thread, CPU time: {1e6 * total / runs:.0f} us a run")
    for part, value in seconds.items():
        print(f"  {part:12s}{1e6 * value / runs:7.0f} us a run, {value / total:.0%}")


def on_sample(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and errors (SAMPLE,) of the script, one run of each of some cells."""
    names, seconds, errors = [parameters_of(plan.base)[name] for name in plan.names], [], []
    for seed, cell in enumerate(np.random.default_rng(0).choice(len(plan.cells), SAMPLE, replace=False)):
        problem, how = set_up(plan.base, dict(zip(names, plan.cells[cell], strict=True)))
        start = time.perf_counter()
        errors.append(script(problem, how.lr, how.steps, how.dynamics.second_layer, 2 * how.test_draws, seed))
        seconds.append(time.perf_counter() - start)
    return np.array(seconds), np.array(errors)


def main() -> None:
    """Run the map and the script, and print both."""
    describe("Map (f)")
    os.environ["NUMBA_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    (config,) = read_settings(MAP, (SweepRun,))
    plan = config.plan()
    parts(plan.chunk(plan.chunks // 2))
    each, errors = on_sample(plan)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = sweep(config, out=Path(folder) / "map")
        total = time.perf_counter() - start
    print(f"{plan.runs:,} runs, {cores()} processes: {total:.1f} s, {verdict(total, GOAL, at_least=False)}")
    ratio = each / (total / plan.runs)
    print(f"the script, one thread: {spread(1e3 * each, ' ms')} a run")
    print(
        f"rate of the map over the script's: {spread(ratio)}, {verdict(float(np.median(ratio)), RATIO, at_least=True)}"
    )
    print(f"mean error: map {float(result.test_error_given_fresh.mean()):.4f}, script's cells {errors.mean():.3f}")


if __name__ == "__main__":
    main()
