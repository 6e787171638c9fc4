"""The experiments on real images: test accuracy of the best epoch and of each stop over three seeds, one row a file.

python benchmarks/image_experiments.py --data data/pair.npz experiments/pair-*.toml
python benchmarks/image_experiments.py --per-class 1000 --epochs 30 experiments/pair-noise-0.2.toml

Without `--data` the images are the official archive's. The runs are kept in `--out`, and an interrupted benchmark goes
on where it was. At its size (10,000 images, 60 epochs) a file takes a minute on a GPU and hours on two cores; with
`--per-class 1000 --epochs 30` a seed takes some 40 minutes of one core without bfloat16.
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from labelnoise.runs.folders import run_experiment
from labelnoise.runs.places import read_settings
from labelnoise.runs.reading import Run, read_run
from labelnoise.training.experiment import TrainRun
from labelnoise.training.seeds import read_members

SEEDS = (0, 1, 2)
STOPS = {"oracle": "T1", "held_out": "held-out stop", "last": "end"}
"""The stopping points of a run by the names that the table gives them."""


def plan(file: Path, asked: argparse.Namespace) -> TrainRun:
    """Return the experiment of a file with what the command line changes."""
    (config,) = read_settings(file, (TrainRun,))
    changes = {"data": asked.data, "classes": tuple(asked.classes or ()), "per_class": asked.per_class}
    training = replace(config.training, epochs=asked.epochs or config.training.epochs)
    return replace(config, seeds=SEEDS, training=training, **{name: new for name, new in changes.items() if new})


def worth(run: Run) -> dict[str, float]:
    """Return what one seed is worth at the best epoch and at each stop: accuracies, and what the margin rule finds."""
    history = run.history.set_index("epoch")
    test = history["test_accuracy"]
    stops = {STOPS[stop["rule"]]: stop["at"] for stop in run.summary["stops"] if stop["at"] is not None}
    epochs = {"best": int(test.idxmax())} | stops
    row = {}
    for name, epoch in epochs.items():
        row |= {f"{name}, epoch": epoch, f"{name}, test": test[epoch]}
        for measure in ("train_accuracy_clean", "train_accuracy_noisy", "selection_precision", "selection_recall"):
            row[f"{name}, {measure.partition('_')[2].replace('accuracy_', '')}"] = history[measure][epoch]
    lost = {name: test.max() - test[epoch] for name, epoch in epochs.items()}
    return row | {f"best - {name}": loss for name, loss in lost.items() if name != "best"}


def describe(values: pd.Series) -> str:
    """Write the mean and the range of the seeds."""
    digits = 1 if values.name.endswith("epoch") else 3
    if values.isna().all():
        return "-"
    return f"{values.mean():.{digits}f} [{values.min():.{digits}f}, {values.max():.{digits}f}]"


def main() -> None:
    """Train each file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files such as experiments/pair-clean.toml")
    parser.add_argument("--data", help="an .npz file with the classes that the files name")
    parser.add_argument("--classes", nargs="+", type=int, help="other classes than those of the files")
    parser.add_argument("--per-class", type=int, help="training images of each class; all if left out")
    parser.add_argument("--epochs", type=int, help="other than those of the files")
    parser.add_argument("--out", type=Path, default=Path("runs/images"), help="where the runs are kept")
    asked = parser.parse_args()
    harness.describe(f"Experiments on images, seeds {', '.join(map(str, SEEDS))}: mean [least, most]")
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
    columns = {}
    for file in asked.files:
        outcome = run_experiment(plan(file, asked), asked.out / file.stem, progress=print)
        rows = pd.DataFrame([worth(run) for run in read_members(read_run(outcome.path))])
        columns[file.stem] = rows.apply(describe)
    print(pd.DataFrame(columns).fillna("-").to_string())


if __name__ == "__main__":
    main()
