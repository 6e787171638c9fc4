"""Speed of the engines in coefficient space: against autograd, against their own matrix product, over n, m, d, batch.

python benchmarks/engine_speed.py                                     (about eight minutes; needs torch)
python benchmarks/engine_speed.py --figure docs/engine-cost.png       (cost against size alone, two minutes)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np
import torch

from harness import alternate, spread, verdict
from labelnoise.theory import compiled, span
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.engines import ENGINES, Training
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.products import multiply
from labelnoise.theory.simulation import simulate

STEPS = 2_000


def setting(d: int, n: int = 200, m: int = 20) -> tuple[SignalNoise, float]:
    """Return the problem at n SNR^2 = 8 and the learning rate that puts the scale of T1 at 20 steps."""
    problem = SignalNoise(n=n, d=d, m=m, mu_norm=float(np.sqrt(8 * d / n)), init_std=0.2 / d**0.5)
    return problem, n * m / (20 * d)


def autograd_loop(draw: Draw, lr: float) -> Callable[[int], np.ndarray]:
    """Return train(steps) -> outputs (n,): plain torch on explicit patches, float64, as one would write it."""
    v, m = draw.vectors, draw.m
    mu, xi = torch.tensor(v.mu[0]), torch.tensor(v.xi)
    y_true, y_given = torch.tensor(draw.y_true), torch.tensor(draw.y_given)
    x = torch.stack([y_true[:, None] * mu, xi], dim=1)  # (n, 2, d)
    readout = torch.cat([torch.ones(m), -torch.ones(m)]).double() / m

    def forward(w: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ w.T).sum(dim=1) @ readout

    def train(steps: int) -> np.ndarray:
        w = torch.tensor(v.w0, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.softplus(-y_given * forward(w)).mean().backward()
            optimizer.step()
        with torch.no_grad():
            return forward(w).numpy()

    return train


def in_units(times: dict[str, np.ndarray], unit: str, scale: float, per: str) -> None:
    """Print each time, scaled to microseconds a step, and its ratio to that of `unit`."""
    for name, seconds in times.items():
        print(f"  {name:16s}{spread(1e6 * seconds * scale, ' us'):32s}{spread(seconds / times[unit], per)}")


def against_autograd(d: int, dense_steps: int, goal: float, rounds: int) -> None:
    """Steps per second of `simulate`, outputs recorded at the first and last step, against the plain loop."""
    problem, lr = setting(d)
    draw = problem.sample(seed=0, vectors=True)
    train = autograd_loop(draw, lr)

    def run(steps: int, engine: str) -> np.ndarray:
        options = {"record_every": steps, "record": ("output",), "test_draws": 0, "engine": engine}
        return simulate(draw, lr=lr, steps=steps, **options).values["output"]

    gap = np.abs(run(dense_steps, "compiled")[-1] - train(dense_steps)).max()
    tasks = {engine: lambda engine=engine: run(STEPS, engine) for engine in ("compiled", "span")}
    times = alternate({**tasks, "autograd": lambda: train(dense_steps)}, rounds)
    rate = {name: (dense_steps if name == "autograd" else STEPS) / seconds for name, seconds in times.items()}
    print(f"n=200, d={d:,}, m=20 (outputs after {dense_steps} steps differ by {gap:.1e})")
    for name in rate:
        print(f"  {name:16s}{spread(rate[name], ' steps/s'):36s}{spread(rate[name] / rate['autograd'], 'x')}")
    print(f"  {verdict(float(np.median(rate['compiled'] / rate['autograd'])), goal, at_least=True)}\n")


@numba.njit(nogil=True)
def multiply_runs(first: int, last: int, count: int, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Products of some runs by BLAS: a run's matrices stay in the cache, as in the engine."""
    for run in range(first, last):
        for _ in range(count):
            np.dot(left[run], right[run], out[run])


@numba.njit(nogil=True)
def multiply_runs_by_engine(
    first: int, last: int, count: int, left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:
    """The same by the engine's own product."""
    for run in range(first, last):
        for _ in range(count):
            multiply(left[run], right[run], out[run])


def products(runs_of: Callable[..., None], left: np.ndarray, right: np.ndarray, threads: int) -> Callable[[int], None]:
    """Return task(count): the products of a batch (R, 2m, q)(R, q, q) alone, compiled, runs spread over threads."""
    out, cuts = np.empty_like(left), np.linspace(0, len(left), threads + 1).astype(int)

    def task(count: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda *runs: runs_of(*runs, count, left, right, out), cuts[:-1], cuts[1:]))

    return task


def product_over_sizes(rounds: int) -> None:
    """The engine's own product of a single run in those of BLAS, over n and m."""
    print("the engine's own product in those of BLAS, one run, one thread (1 where it is left to BLAS)")
    sizes = 5, 10, 20, 40
    print("  n     " + "".join(f"m = {m:<20d}" for m in sizes))
    for n in (20, 64, 100, 126, 150, 200, 300, 350):
        row = []
        for m in sizes:
            rng, q = np.random.default_rng(0), n + 2
            matrices = rng.standard_normal((1, 2 * m, q)), rng.standard_normal((1, q, q)), 1
            kinds, count = {"blas": multiply_runs, "own": multiply_runs_by_engine}, 10**8 // (m * q * q)
            times = alternate({name: partial(products(kind, *matrices), count) for name, kind in kinds.items()}, rounds)
            row.append(spread(times["own"] / times["blas"]))
        print(f"  {n:<6d}" + "".join(f"{words:24s}" for words in row))
    print()


def against_own_product(runs: int, steps: int, threads: int, rounds: int) -> None:
    """A tracked step of a batch in units of the (2m x q)(q x q) products that it cannot avoid."""
    problem, lr = setting(2_000)
    draws = tuple(problem.sample(seed=seed) for seed in range(runs))
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    start = span.init(draws, np.full(runs, lr), SimulateConfig(steps=steps), None, "float64")
    training = Training(start, start, np.full(runs, -np.inf), np.full(runs, True))
    matrices = start.products.copy(), np.ascontiguousarray(start.system.bank.kernel), threads
    by_blas, by_engine = products(multiply_runs, *matrices), products(multiply_runs_by_engine, *matrices)
    tasks = {
        "product": lambda: by_blas(steps),
        "own product": lambda: by_engine(steps),
        "compiled": lambda: compiled.advance(training, steps),
        "span": lambda: ENGINES["span"].advance(training, steps),
    }
    times = alternate(tasks, rounds)
    print(f"a tracked step of {runs} runs, {threads} threads, against its own (40 x 202)(202 x 202) products by BLAS")
    in_units(times, "product", 1 / steps / runs, " products")
    step, share = times["compiled"] / times["product"], times["product"] / times["compiled"]
    if runs == 1:
        print(f"  compiled in products: {verdict(float(np.median(step)), 1.4, at_least=False)}\n")
        return
    print(f"  share of the product's rate: {verdict(float(np.median(share)), 0.85, at_least=True)}")
    print(f"  against span: {verdict(float(np.median(times['span'] / times['compiled'])), 3, at_least=True)}\n")


SIZES = {
    "n": (100, 200, 500, 1_000, 2_000), "m": (5, 20, 50, 200), "d": (10**3, 10**5, 10**7, 10**9),
    "runs": (1, 8, 64, 256, 1_024),
}  # fmt: skip
"""What is varied around n = 200, m = 20, d = 10,000 and one run."""


def over_sizes(rounds: int) -> dict[str, np.ndarray]:
    """Print and return median seconds of `simulate`, 100 steps, and peak MiB, (2, values) for each of `SIZES`."""
    costs = {}
    print("one thread, 100 steps, draw included")
    for name, values in SIZES.items():
        rows = []
        for value in values:
            size = {"n": 200, "m": 20, "d": 10_000, "runs": 1, name: value}
            problem, lr = setting(size["d"], size["n"], size["m"])

            def task(problem=problem, lr=lr, runs=size["runs"]) -> object:
                draws = stack([problem.sample(seed=seed) for seed in range(runs)])
                return simulate(draws, lr=lr, steps=100, record_every=100, test_draws=0)

            (seconds,) = alternate({"simulate": task}, rounds).values()
            tracemalloc.start()
            task()
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            rows.append((np.median(seconds), peak))
            print(f"  {name:5s}{value:>14,}   {spread(1e3 * seconds, ' ms'):32s}peak {peak:8.1f} MiB")
        costs[name] = np.array(rows).T
    print()
    return costs


def draw_costs(costs: dict[str, np.ndarray], file: str) -> None:
    """Draw time and memory against each size on logarithmic axes, a dashed line of slope 1 (n: 2) beside each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(costs), sharex="col", sharey="row")
    names = {"n": "samples n", "m": "filters per sign m", "d": "dimension d", "runs": "runs in a batch"}
    for column, (name, rows) in zip(axes.T, costs.items(), strict=True):
        sizes = np.array(SIZES[name], dtype=float)
        for axis, values in zip(column, (1e3 * rows[0], rows[1]), strict=True):
            axis.loglog(sizes, values, "o-", color="tab:blue", markersize=4)
            power = {"n": 2, "d": 0}.get(name, 1)
            guide = values[-1] * (sizes / sizes[-1]) ** power
            axis.loglog(sizes, guide, "--", color="gray", linewidth=1, label=f"slope {power}")
            axis.grid(alpha=0.3)
            axis.legend(loc="upper left", frameon=False, fontsize="small")
        column[1].set_xlabel(names[name])
    axes[0, 0].set_ylabel("time of 100 steps, ms")
    axes[1, 0].set_ylabel("peak memory, MiB")
    figure.suptitle(
        "Cost of simulate, one thread, draw included; else n = 200, m = 20, d = 10,000, one run", fontsize="medium"
    )
    figure.savefig(file, dpi=120)
    print(f"figure: {file}")


def one_large_run() -> None:
    """Seconds of one run at n = 2,000, m = 50, d = 10^6, and of its products alone."""
    problem, lr = setting(10**6, 2_000, 50)
    draw, start = problem.sample(seed=0), time.perf_counter()
    simulate(draw, lr=lr, steps=1_000, record_every=1_000, test_draws=0)
    whole = time.perf_counter() - start
    by_blas = products(multiply_runs, np.ones((1, 100, 2_002)), np.ones((1, 2_002, 2_002)), 1)
    by_blas(1)
    start = time.perf_counter()
    by_blas(100)
    alone = 10 * (time.perf_counter() - start)
    print(
        f"n=2,000, m=50, d=10^6, 1,000 steps: {whole:.1f} s, its products alone {alone:.1f} s ({whole / alone:.2f})\n"
    )


def recording(rounds: int) -> None:
    """Cost of recording at every step, with and without rho."""
    problem, lr = setting(2_000)
    draw, steps = problem.sample(seed=0), 500
    plain = {"lr": lr, "steps": steps, "test_draws": 0}
    times = alternate(
        {
            "first and last step only": lambda: simulate(draw, record_every=steps, **plain),
            "table at every step": lambda: simulate(draw, record_every=1, **plain),
            "table and rho at every step": lambda: simulate(draw, record_every=1, record=("rho",), **plain),
        },
        rounds,
    )
    print("cost of recording (n=200, d=2,000, m=20, 500 steps)")
    base = times["first and last step only"]
    for name, seconds in times.items():
        print(f"  {name:30s}{spread(1e6 * seconds / steps, ' us a step'):34s}{spread(seconds / base, 'x')}")


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each comparison")
    parser.add_argument("--figure", help="PNG to draw of cost against n, m, d and runs, which alone is then measured")
    asked = parser.parse_args()
    rounds = asked.rounds
    torch.set_num_threads(harness.THREADS)
    harness.describe("Speed of the engines")
    if asked.figure:
        os.environ["NUMBA_NUM_THREADS"] = "1"
        draw_costs(over_sizes(max(rounds // 3, 1)), asked.figure)
        return
    against_own_product(1, 2_000, 1, rounds)
    against_own_product(64, 200, 1, rounds)
    against_own_product(64, 200, 2, rounds)
    product_over_sizes(rounds)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    against_autograd(2_000, dense_steps=200, goal=25, rounds=rounds)
    against_autograd(40_000, dense_steps=20, goal=500, rounds=rounds)
    over_sizes(max(rounds // 3, 1))
    one_large_run()
    recording(rounds)


if __name__ == "__main__":
    main()
