"""How often there is a Stage I: counts over seeds in the reference settings, beside the reference counts.

python benchmarks/stage_table.py            (about a minute)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import time

import numpy as np

from labelnoise.noise.models import ClassConditional
from labelnoise.record.stages import Stages
from labelnoise.theory.draws import stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

STEPS, SCALE, M = 100, 20, 20

ROWS = [  # n, d, n SNR^2, tau, sigma_0, reference counts of 10 seeds (two disjoint sets), windows of first seeds
    (200, 2_000, 8, 0.1, 0.01, (10, 10), "5-41, 5-42, 5-55"),
    (200, 2_000, 8, 0.2, 0.01, (4, 6), "10-20, 7-25, 7-26"),
    (200, 40_000, 8, 0.2, 0.001, (10, 10), "4-47, 5-25, 6-22"),
    (200, 40_000, 16, 0.2, 0.001, (10, 10), "2-53, 2-36, 2-35"),
    (200, 4_000_000, 8, 0.2, 0.0001, (10, 10), "4-47, 5-23, 8-19"),
    (400, 160_000, 8, 0.2, 0.0005, (10, 10), "4-34, 4-41, 3-39"),
    (200, 40_000, 4, 0.1, 0.001, (10, 9), "6-44, 8-35, 19-19"),
    (200, 40_000, 8, 0.3, 0.001, (4, 2), "8-27, 4-26, 8-16"),
    (200, 40_000, 16, 0.4, 0.001, (1, 2), "5-16"),
]

INITIALISATIONS = (0.447, 0.2, 0.02, 0.002)
BY_INITIALISATION = [  # tau, d, reference counts of 40 seeds at each sigma_0 sqrt(d); None: no reference
    (0.2, 2_000, (21, 38, 40, None)),
    (0.2, 10_000, (29, 40, 40, None)),
    (0.2, 40_000, (28, 40, 40, None)),
    (0.2, 4_000_000, (28, 40, 40, None)),
    (0.3, 40_000, (1, 13, 39, 40)),
]
TOLERANCE = {10: 3, 40: 9}
"""Seeds beyond the reference that are flagged; 9 of 40 is two standard deviations of the difference at one half."""


def stages(n: int, d: int, n_snr2: float, tau: float, init_std: float, seeds: int) -> tuple[Stages, ...]:
    """Stages of seeds 0, 1, ... as one batch; lr puts n m / (lr noise_std^2 d) at 20."""
    problem = SignalNoise(
        n=n, d=d, m=M, mu_norm=float(np.sqrt(n_snr2 * d / n)), init_std=init_std, label_noise=ClassConditional(tau, tau)
    )
    draws = stack([problem.sample(seed=seed) for seed in range(seeds)])
    return simulate(draws, lr=n * M / (SCALE * d), steps=STEPS, record_every=STEPS, test_draws=0).stages


def flag(count: int, references: tuple[int, ...], seeds: int) -> str:
    """Mark a count that is more than the tolerance outside the references."""
    outside = max(min(references) - count, count - max(references), 0)
    return " <-- outside" if outside > TOLERANCE[seeds] else ""


def settings_table() -> None:
    """Print the first table: nine settings, ten seeds each."""
    print(f"{'n':>4s} {'d':>9s} {'n SNR^2':>8s} {'tau':>4s} {'sigma_0':>8s}  of 10  reference  windows (reference)")
    for n, d, n_snr2, tau, init_std, reference, expected in ROWS:
        windows = [s.window for s in stages(n, d, n_snr2, tau, init_std, 10) if s.window]
        three = ", ".join(f"{first}-{last}" for first, last in windows[:3])
        print(
            f"{n:4d} {d:9,d} {n_snr2:8g} {tau:4g} {init_std:8g}  {len(windows):5d}  "
            f"{reference[0]:4d}, {reference[1]:<3d}  {three} ({expected}){flag(len(windows), reference, 10)}"
        )
    print()


def initialisation_table() -> None:
    """Print the second table: 40 seeds at n=200, n SNR^2=8 for each initialisation, `count (reference)`."""
    print(f"{'tau':>4s} {'d':>10s}  of 40 at sigma_0 sqrt(d) = " + ", ".join(map(str, INITIALISATIONS)))
    for tau, d, references in BY_INITIALISATION:
        cells = []
        for scale, reference in zip(INITIALISATIONS, references, strict=True):
            if reference is None:
                continue
            count = sum(s.window is not None for s in stages(200, d, 8, tau, scale / d**0.5, 40))
            cells.append(f"{count} ({reference}){flag(count, (reference,), 40)}")
        print(f"{tau:4g} {d:10,d}  " + "   ".join(cells))


def main() -> None:
    """Print both tables."""
    harness.describe("How often there is a Stage I")
    start = time.perf_counter()
    settings_table()
    initialisation_table()
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
