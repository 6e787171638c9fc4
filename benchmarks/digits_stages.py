"""Both stages on digits: where each rule stops, and what the network is worth there and at the end.

python benchmarks/digits_stages.py            (about a minute; needs torch and scikit-learn)
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import tempfile
from pathlib import Path

import pandas as pd

from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun

COLUMNS = ["test_accuracy", "train_accuracy_clean", "train_accuracy_noisy", "selection_precision", "selection_recall"]


def main() -> None:
    """Train three seeds at the defaults and print their stops."""
    harness.describe("Stages on digits: ten classes, symmetric:0.2, 120 epochs")
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for seed in range(3):
            outcome = run_experiment(TrainRun(training=TrainConfig(seed=seed)), Path(folder) / str(seed))
            rows += read_run(outcome.path).summary["stops"]
    stops = pd.DataFrame(rows).set_index(["rule", "seed"])[["at", *COLUMNS, "gain_test_accuracy"]]
    print(stops.round(3).to_string())
    for rule in ("oracle", "held_out"):
        stop = stops.loc[rule]
        print(
            f"{rule}: smallest clean {stop['train_accuracy_clean'].min():.3f} (goal >= 0.95), "
            f"largest noisy {stop['train_accuracy_noisy'].max():.3f} (goal <= 0.10), "
            f"smallest gain {100 * stop['gain_test_accuracy'].min():.1f} points (goal >= 5)"
        )
    print(f"end: smallest noisy {stops.loc['last', 'train_accuracy_noisy'].min():.3f} (goal >= 0.95)")


if __name__ == "__main__":
    main()
