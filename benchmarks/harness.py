"""What the benchmarks share. Import it before NumPy: one thread unless OMP_NUM_THREADS says otherwise."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
os.environ["MKL_NUM_THREADS"] = os.environ.get("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

THREADS = int(os.environ["OPENBLAS_NUM_THREADS"])


def describe(title: str) -> None:
    """Print the title, the machine, the versions and the number of threads."""
    print(f"{title}\n{'-' * len(title)}")
    print(f"{_cpu()}, {os.cpu_count()} cores, {platform.system()}; threads: {THREADS}")
    print(f"Python {platform.python_version()}, " + ", ".join(map(_version, ("labelnoise", "numpy", "torch"))) + "\n")


def alternate(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Time the tasks in turn, `rounds` times after one untimed round, so that all see the same machine.

    Returns:
        Seconds (rounds,) of each task.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def spread(values: np.ndarray, unit: str = "") -> str:
    """Write the median with the interquartile range."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g}{unit} [{low:.3g}, {high:.3g}]"


def verdict(value: float, goal: float, at_least: bool) -> str:
    """Write the goal and whether it is met."""
    met = value >= goal if at_least else value <= goal
    return f"goal {'>=' if at_least else '<='} {goal:g}: {'met' if met else 'MISSED'}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
