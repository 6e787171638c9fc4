"""Speed of the span engine: against autograd, against its own matrix product, and over the dimension.

python benchmarks/span_speed.py            (about two minutes; needs torch)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch

from harness import alternate, spread, verdict
from labelnoise.theory import span
from labelnoise.theory.draws import Draw
from labelnoise.theory.observables import tracked
from labelnoise.theory.problem import SignalNoise
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


def against_autograd(d: int, dense_steps: int, goal: float, rounds: int) -> None:
    """Steps per second of `simulate`, outputs recorded at the first and last step, against the plain loop."""
    problem, lr = setting(d)
    draw = problem.sample(seed=0, vectors=True)
    train = autograd_loop(draw, lr)

    def run(steps: int) -> np.ndarray:
        return simulate(draw, lr=lr, steps=steps, record_every=steps, record=("output",), test_draws=0).values["output"]

    gap = np.abs(run(dense_steps)[-1] - train(dense_steps)).max()
    times = alternate({"span": lambda: run(STEPS), "dense": lambda: train(dense_steps)}, rounds)
    span_rate, dense_rate = STEPS / times["span"], dense_steps / times["dense"]
    ratio = np.median(span_rate / dense_rate)
    print(f"n=200, d={d:,}, m=20 (outputs after {dense_steps} steps differ by {gap:.1e})")
    print(f"  simulate        {spread(span_rate)} steps/s")
    print(f"  autograd loop   {spread(dense_rate)} steps/s")
    print(f"  ratio           {spread(span_rate / dense_rate, 'x')}; {verdict(ratio, goal, at_least=True)}\n")


def against_own_product(rounds: int) -> None:
    """Cost of a step within `simulate` in units of the (2m x n)(n x n) product that it cannot avoid."""
    problem, lr = setting(2_000)
    draw = problem.sample(seed=0)
    state = span.init((draw,), lr)
    for _ in range(50):
        state = span.step(state)
    view, count = span.view(state), 100
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2 * problem.m, problem.n)), draw.gram.copy()

    def repeat(task: Callable[[], object]) -> Callable[[], None]:
        return lambda: [task() for _ in range(count)] and None

    product = repeat(lambda: left @ right)
    parts = {
        "product": product,
        "step": repeat(lambda: span.step(state)),
        "view": repeat(lambda: span.view(state)),
        "tracked": repeat(lambda: tracked(view)),
    }
    times = alternate(parts, 5 * rounds)
    print("a step against its own (40 x 200)(200 x 200) product")
    for name, seconds in times.items():
        in_products = spread(seconds / times["product"], " products")
        print(f"  {name:10s}{spread(1e6 * seconds / count, ' us'):28s}{in_products}")

    def whole() -> object:
        return simulate(draw, lr=lr, steps=STEPS, record_every=STEPS, test_draws=0)

    long = alternate({"product": product, "simulate": whole}, rounds)
    per_step, per_product = long["simulate"] / STEPS, long["product"] / count
    print(f"  {'simulate':10s}{spread(1e6 * per_step, ' us'):28s}{spread(per_step / per_product, ' products')} a step")
    for name, ratio in (("step", times["step"] / times["product"]), ("simulate", per_step / per_product)):
        print(f"  {name} in products: {verdict(float(np.median(ratio)), 2.2, at_least=False)}")
    print()


def over_dimension(rounds: int) -> None:
    """Time and peak memory of sampling and running at d = 10^9 against d = 10^4."""

    def task(d: int) -> Callable[[], object]:
        problem, lr = setting(d)
        return lambda: simulate(problem.sample(seed=0), lr=lr, steps=500, record_every=500, test_draws=0)

    tasks = {d: task(d) for d in (10**4, 10**9)}
    times = alternate({f"{d:.0e}": run for d, run in tasks.items()}, rounds)
    peaks = []
    for run in tasks.values():
        tracemalloc.start()
        run()
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    small, large = times.values()
    print("sampling and 500 steps over the dimension (n=200, m=20)")
    for name, seconds, peak in zip(times, times.values(), peaks, strict=True):
        print(f"  d={name}  {spread(seconds, ' s')}, peak {peak:.2f} MiB")
    time_ratio, memory_ratio = float(np.median(large / small)), peaks[1] / peaks[0]
    print(f"  time ratio      {spread(large / small)}; {verdict(time_ratio, 1.3, at_least=False)}")
    print(f"  memory ratio    {memory_ratio:.3f}; {verdict(memory_ratio, 1.3, at_least=False)}\n")


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
    rounds = parser.parse_args().rounds
    torch.set_num_threads(harness.THREADS)
    harness.describe("Speed of the span engine")
    against_autograd(2_000, dense_steps=200, goal=20, rounds=rounds)
    against_autograd(40_000, dense_steps=20, goal=300, rounds=rounds)
    against_own_product(rounds)
    over_dimension(rounds)
    recording(rounds)


if __name__ == "__main__":
    main()
