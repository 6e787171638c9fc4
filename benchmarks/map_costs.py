"""Seconds of one core that each map of docs/theory.md takes: all of its chunks, one thread, CPU time.

python benchmarks/map_costs.py map-selection map-snr-tau       (these maps; without names all but (f), some minutes)
python benchmarks/map_costs.py --every 8                       (every eighth chunk of each, times eight)
"""

from __future__ import annotations

from harness import describe  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
import time
from pathlib import Path

import labelnoise
from labelnoise.runs.places import read_settings
from labelnoise.sweeps.chunks import run_chunk
from labelnoise.sweeps.experiment import SweepRun

MAPS = Path(__file__).parents[1] / "experiments"


def main() -> None:
    """Run the chunks of each map and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = sorted(file.stem for file in MAPS.glob("map-*.toml"))
    parser.add_argument("maps", nargs="*", default=every, help="names of files under experiments/, without .toml")
    parser.add_argument("--every", type=int, default=1, help="run one chunk in so many")
    asked = parser.parse_args()
    os.environ["NUMBA_NUM_THREADS"] = "1"
    describe("Cost of the maps, one core")
    for name in asked.maps:
        (config,) = read_settings(MAPS / f"{name}.toml", (SweepRun,))
        plan = config.plan()
        chunks = [plan.chunk(at) for at in range(0, plan.chunks, asked.every)]
        runs = sum(len(chunk.seeds) for chunk in chunks)
        run_chunk(chunks[0], labelnoise.__version__)
        start = time.process_time()
        for chunk in chunks:
            run_chunk(chunk, labelnoise.__version__)
        seconds = (time.process_time() - start) * plan.runs / runs
        print(f"{name:24s}{plan.runs:>8,} runs {seconds:8.0f} s   ({runs:,} of them measured)", flush=True)


if __name__ == "__main__":
    main()
