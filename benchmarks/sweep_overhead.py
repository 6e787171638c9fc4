"""What a sweep costs beside its runs: scheduling, writing and columns through Dask, resuming, and traffic.

python benchmarks/sweep_overhead.py            (about three minutes)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distributed import LocalCluster

import labelnoise
from labelnoise.runs.reading import read_run
from labelnoise.sweeps import dataset, execution
from labelnoise.sweeps.chunks import Store, run_chunk
from labelnoise.sweeps.experiment import SweepRun, sweep
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.problem import SignalNoise

CELL = 0.010
"""Seconds of work of a cell, as it runs in a chunk of many."""
CELLS, SEEDS, WORKERS = 10_000, 4, 2
RESUMED = 10_000
"""Cells of the sweep that is resumed."""
BASE = SweepRun(
    SignalNoise(n=20, d=300, m=5, mu_norm=6.0),
    SimulateConfig(lr=0.05, steps=100, test_draws=200),
    grid=(f"mu_norm=lin:2:9:{CELLS // 100}", "tau=lin:0.05:0.4:100"),
    seeds=SEEDS,
)


def with_steps(config: SweepRun, steps: int) -> SweepRun:
    """Return the sweep with so many steps a run."""
    return replace(config, simulation=replace(config.simulation, steps=steps))


def of_ten_milliseconds() -> SweepRun:
    """Return `BASE` with as many steps as make a cell take `CELL` seconds."""
    config = BASE
    for _ in range(3):  # the cost is not quite proportional to the steps
        chunk = config.plan().chunk(0)
        seconds = np.median([run_chunk(chunk, labelnoise.__version__).seconds for _ in range(3)])
        each = seconds / (len(chunk.seeds) / SEEDS)
        config = with_steps(config, max(round(config.simulation.steps * CELL / each), 1))
    return config


class Stopwatch:
    """Sums the time spent in functions that it is put around."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, owner: Any, name: str, part: str) -> None:
        """Put it around the function of that name; its time counts as this part."""
        plain: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **settings: Any) -> Any:
            start = time.perf_counter()
            try:
                return plain(*arguments, **settings)
            finally:
                self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)


def overhead(config: SweepRun, address: str, watch: Stopwatch) -> None:
    """Run a sweep on the cluster and print its parts relative to the work of its runs."""
    watch.seconds.clear()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        sweep(config, Path(folder) / "map", scheduler=address)
        wall = time.perf_counter() - start
        work = read_run(Path(folder) / "map").summary["seconds"]
    cells, sizes = int(np.prod([len(axis.values) for axis in config.axes])), np.diff(config.plan().bounds)
    gather, file, write = (watch.seconds[part] for part in ("gather", "netcdf", "write"))
    idle = WORKERS * (wall - gather - file) - work
    print(
        f"{cells:,} cells of {SEEDS} runs, {config.simulation.steps} steps, {sizes.size} chunks of {sizes.max()} runs"
    )
    print(f"  work {work:.2f} s ({1e3 * work / cells:.1f} ms a cell), wall {wall:.2f} s with {WORKERS} workers")
    for part, seconds in (("scheduling and waiting", idle), ("of it, writing chunks", write)):
        print(f"  {part:24s} {seconds / work:6.1%}   ({1e3 * seconds / sizes.size:.1f} ms a chunk)")
    print(f"  columns and sweep.nc     {WORKERS * (gather + file) / work:6.1%}   ({gather:.2f} s and {file:.2f} s)")
    total = (WORKERS * wall - work) / work
    print(f"  in all                   {total:6.1%}   {harness.verdict(total, 0.05, False)}")


def resume() -> None:
    """Print how long it takes to go on with a sweep of `RESUMED` cells of which all chunks but one are there."""
    tiny = with_steps(replace(BASE, problem=SignalNoise(n=4, d=50, m=1, mu_norm=3.0), seeds=1), 1)
    tiny = replace(tiny, grid=(f"mu_norm=lin:2:9:{RESUMED // 100}", "tau=lin:0:0.4:100"), chunk=100)
    plan = tiny.plan()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "map"

        def stop(done: int, total: int, words: str = "") -> None:
            if done == total:
                raise KeyboardInterrupt

        try:
            sweep(tiny, out, workers=1, progress=stop)
        except KeyboardInterrupt:
            (out / "chunks" / f"{plan.chunks - 1:06d}.npz").unlink()
        first = []
        start = time.perf_counter()
        sweep(tiny, out, workers=1, progress=lambda *state: first.append(time.perf_counter() - start))
        whole = time.perf_counter() - start
        size = (out / "sweep.nc").stat().st_size
    print(
        f"{RESUMED:,} cells in {plan.chunks} chunks, one of them missing: {first[0]:.2f} s until it is run, "
        f"{whole:.2f} s until sweep.nc ({size / 1e6:.1f} MB) is there   {harness.verdict(whole, 2.0, False)}"
    )


def traffic(config: SweepRun) -> None:
    """Print the bytes that a chunk and its result are, and the time to plan and hold them."""
    start = time.perf_counter()
    plan = config.plan()
    planned = time.perf_counter() - start
    chunk = plan.chunk(0)
    result = run_chunk(chunk, labelnoise.__version__)
    runs = len(chunk.seeds)
    print(
        f"a chunk of {runs} runs: {len(pickle.dumps(chunk)) / runs:.0f} bytes a run to the worker, "
        f"{len(pickle.dumps(result)) / runs:.0f} bytes a run back ({len(result.columns)} columns); "
        f"planning {1e6 * planned / len(plan.cells):.0f} us a cell"
    )


def main() -> None:
    """Print all of it."""
    harness.describe("What a sweep costs beside its runs")
    watch = Stopwatch()
    watch.around(Store, "write", "write")
    watch.around(execution, "gather", "gather")
    watch.around(dataset, "write_dataset", "netcdf")
    config = of_ten_milliseconds()
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        sweep(replace(config, seed=1, grid=("tau=0.1,0.2",)), tempfile.mkdtemp() + "/warm", scheduler=address)
        overhead(config, address, watch)
        overhead(replace(config, chunk=SEEDS, grid=("mu_norm=lin:2:9:20", "tau=lin:0.05:0.4:20")), address, watch)
    resume()
    traffic(config)


if __name__ == "__main__":
    main()
