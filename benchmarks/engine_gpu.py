"""The array engine on a GPU: a batch of runs in float64 and float32 against the compiled engine on two CPU cores.

python benchmarks/engine_gpu.py                  (two minutes; needs torch with a GPU)
python benchmarks/engine_gpu.py --device cpu     (the same comparison without one)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
from collections.abc import Callable

import numpy as np
import torch

from engine_speed import setting
from harness import alternate, spread
from labelnoise.devices import repeatable
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw
from labelnoise.theory.engines import ENGINES, Training
from labelnoise.theory.simulation import simulate

DRAWS, STEPS, CORES = 32, 50, 2
"""Draws that a batch repeats (speed does not depend on the numbers), steps that are timed, cores of the CPU."""


def started(draws: tuple[Draw, ...], engine: str, device: str | None, dtype: str, lr: float) -> Training:
    """Return a batch before its first step."""
    config = SimulateConfig(steps=STEPS)
    start = ENGINES[engine].init(draws, np.full(len(draws), lr), config, device, dtype)
    return Training(start, start, np.full(len(draws), -np.inf), np.full(len(draws), True))


def products(runs: int, rows: int, size: int, device: str, dtype: str) -> Callable[[], None]:
    """Return a task: `STEPS` products (runs, rows, size)(runs, size, size) alone."""
    left, right = (torch.randn(runs, k, size, device=device, dtype=getattr(torch, dtype)) for k in (rows, size))

    def multiply() -> None:
        for _ in range(STEPS):
            torch.bmm(left, right)
        synchronize(device)

    return multiply


def synchronize(device: str) -> None:
    """Wait for what the device was asked to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def compare(runs: int, device: str, rounds: int) -> None:
    """Print run-steps a second of a batch on both, and the share that the product alone would allow."""
    problem, lr = setting(2_000)
    draws = tuple(problem.sample(seed=seed) for seed in range(min(DRAWS, runs)))
    batch = draws * (runs // len(draws))
    q, rows = problem.n + 2, 2 * problem.m
    few = batch[:64]  # runs are independent of each other: the CPU's rate is that of 64
    cpu = started(few, "compiled", None, "float64", lr)
    tasks: dict[str, Callable[[], object]] = {"compiled, CPU float64": lambda: ENGINES["compiled"].advance(cpu, STEPS)}
    counts = {"compiled, CPU float64": len(few)}
    for dtype in ("float64", "float32"):
        training = started(batch, "span", device, dtype, lr)

        def advance(training: Training = training) -> None:
            ENGINES["span"].advance(training, STEPS)
            synchronize(device)

        tasks |= {
            f"span, {device} {dtype}": advance,
            f"product, {device} {dtype}": products(runs, rows, q, device, dtype),
        }
        counts |= {f"span, {device} {dtype}": runs, f"product, {device} {dtype}": runs}
    with repeatable():
        seconds = alternate(tasks, rounds)
    rates = {name: counts[name] * STEPS / times for name, times in seconds.items()}
    print(f"{runs} runs, n = {problem.n}, m = {problem.m}, tracked steps")
    for name, rate in rates.items():
        flops = 2 * rows * q * q * np.median(rate) / 1e12
        against = spread(rate / rates["compiled, CPU float64"], " times")
        print(f"  {name:24s}{spread(rate, ' run-steps/s'):44s}{against:30s}{flops:8.3g} TFLOP/s of products")
    print()


def matmul_rate(device: str, dtype: str, size: int = 8_192) -> float:
    """Return TFLOP/s of one large product, which is what the card can do."""
    left = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    with repeatable():
        task = {"product": lambda: (torch.mm(left, left), synchronize(device))}
        return 2 * size**3 / float(np.median(alternate(task, 5)["product"])) / 1e12


def agreement(device: str) -> None:
    """Print how far the outputs of both dtypes are from the compiled engine's after a training."""
    problem, lr = setting(2_000)
    plain = {"lr": lr, "steps": 200, "record_every": 200, "record": ("output",), "test_draws": 0}
    draw = problem.sample(seed=0)
    truth = simulate(draw, **plain).values["output"]
    for dtype in ("float64", "float32"):
        other = simulate(draw, device=device, dtype=dtype, **plain).values["output"]
        print(f"outputs after 200 steps, {device} {dtype} against compiled: {np.abs(other - truth).max():.1e}")
    print()


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="a torch device")
    parser.add_argument("--runs", type=int, nargs="+", default=[64, 512, 4_096], help="sizes of the batch")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each comparison")
    asked = parser.parse_args()
    harness.describe("The array engine on a GPU")
    os.environ["NUMBA_NUM_THREADS"] = str(CORES)
    if asked.device.startswith("cuda"):
        print(torch.cuda.get_device_name())
        for dtype in ("float64", "float32"):
            print(f"one product of 8,192 x 8,192, {dtype}: {matmul_rate(asked.device, dtype):.3g} TFLOP/s")
    agreement(asked.device)
    for runs in asked.runs:
        compare(runs, asked.device, asked.rounds)


if __name__ == "__main__":
    main()
