"""The paper's pair on VGG11: best, last and chosen test accuracy of three seeds, and what the margin rule finds.

python benchmarks/pair_stages.py DATA [FOLDER]

DATA is an .npz of CIFAR-10's airplanes and automobiles, or the folder of the official archive. 2,000 training images,
labels flipped at rate 0.2, 30 epochs: some 40 minutes a seed on one core without bfloat16. The runs are kept in FOLDER
(default runs/pair-stages); an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import sys
from pathlib import Path

import pandas as pd

from labelnoise.record.stopping import HeldOut
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import Run, read_run
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun

GOAL = 0.02
"""How far from the best test accuracy the stop that sees only given labels may end."""


def main() -> None:
    """Train three seeds and print what each stop is worth."""
    harness.describe("The pair at noise 0.2: VGG11, 2,000 training images, 30 epochs")
    data, folder = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/pair-stages")
    name, root = (data.stem, data.parent) if data.is_file() else ("cifar10", data)
    rows = []
    for seed in range(3):
        training = TrainConfig(
            epochs=30, lr=0.02, momentum=0.9, batch_size=64, precision="auto", checkpoint_every=5, seed=seed
        )
        run = TrainRun(
            data=name, root=str(root), classes=(0, 1), per_class=1000, noise="symmetric:0.2:exact", model="vgg11",
            outputs=10, training=training,
        )  # fmt: skip
        outcome = run_experiment(run, folder / f"seed{seed}", progress=lambda *told: print(*told, flush=True))
        rows.append(_worth(read_run(outcome.path), seed))
    table = pd.DataFrame(rows).set_index("seed")
    print(table.round(3).T.to_string())
    print("\nmean and range over seeds")
    for column in table.columns:
        values = table[column]
        print(f"  {column:32s} {values.mean():.3f} [{values.min():.3f}, {values.max():.3f}]")
    print(f"largest loss of the held-out stop: {harness.verdict(table['best - held_out'].max(), GOAL, at_least=False)}")


def _worth(run: Run, seed: int) -> dict[str, float]:
    """Test accuracy at the best epoch and at each stop (found in the samples' record), and the margin rule there."""
    history = run.history.set_index("epoch")
    best = history["test_accuracy"].idxmax()
    row = {"seed": seed, "best epoch": best, "best": history["test_accuracy"][best]}
    margin, losses = (run.samples[name][:, run.samples["held_out"]].astype(float) for name in ("margin", "loss"))
    rule = HeldOut(margin.shape[1], run.settings["training"]["patience"])
    accuracy, loss = (margin > 0).mean(1), losses.mean(1)
    epochs = {stop["rule"]: stop["at"] for stop in run.summary["stops"]}
    epochs["held_out"] = history.index[rule(accuracy, loss).chosen]
    row["best - held_out by accuracy alone"] = row["best"] - history["test_accuracy"].iloc[rule(accuracy).chosen]
    for rule_name, epoch in epochs.items():
        row |= {f"{rule_name} epoch": epoch, rule_name: history["test_accuracy"][epoch]}
        for name in ("train_accuracy_clean", "train_accuracy_noisy", "selection_precision", "selection_recall"):
            row[f"{rule_name} {name.removeprefix('train_').removeprefix('selection_')}"] = history[name][epoch]
    row["best - held_out"] = row["best"] - row["held_out"]
    return row


if __name__ == "__main__":
    main()
