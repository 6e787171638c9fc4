"""How often labels that an audit calls wrong with a chance of x % are wrong, and what it says of labels that are noise.

python benchmarks/detection/calibration.py --out runs/detection              (of the trainings that run.py left there)
python benchmarks/detection/calibration.py --noise --out runs/noise          (trains 60 small networks, 5 minutes)

With --noise half of the trainings have labels that say nothing (two classes flipped with rate 0.5, ten with 0.9), half
have 35 or 40% of wrong ones (70% of ten classes): how often is a decision made on each?
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
from collections.abc import Iterator

import numpy as np
import torch
from grid import CHOOSING, SCHEDULES
from records import Record, Setting, record_of
from seen import Seen

from labelnoise.audit.learning import learning_of
from labelnoise.audit.pooling import pool
from labelnoise.audit.recorded import read_training

torch.set_num_threads(harness.THREADS)

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0001)
NOISE = (
    ("2dplanes", "mlp", "symmetric:0.5"), ("fried", "mlp", "symmetric:0.5"), ("breast-cancer", "mlp", "symmetric:0.5"),
    ("adult", "boosting", "symmetric:0.5"), ("digits-table", "mlp", "symmetric:0.9"),
)  # fmt: skip
WRONG = (
    ("2dplanes", "mlp", "symmetric:0.35"), ("2dplanes", "mlp", "symmetric:0.4"), ("fried", "mlp", "symmetric:0.4"),
    ("adult", "boosting", "class-conditional:0.2"), ("adult", "boosting", "pair:0.3"),
)  # fmt: skip
SEEDS = range(10, 16)


def main() -> None:
    """Print both tables as markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", action="store_true", help="labels that say nothing, beside some that do")
    parser.add_argument("--data-root", default=os.environ.get("LABELNOISE_DATA", "data"), help="folder with data")
    parser.add_argument("--out", default="runs/detection", help="where the records are")
    arguments = parser.parse_args()
    harness.describe("Chances of an audit")
    root, out = Path(arguments.data_root), Path(arguments.out)
    if arguments.noise:
        _decisions(root, out)
    else:
        _calibration(root, out)


def _stored(root: Path, out: Path) -> Iterator[Record]:
    """Records of first trainings, but those with noise that is dominant in a subclass, which no score can see."""
    for path in sorted(out.glob("*.npz")):
        if ".folds" not in path.name:
            setting = Setting.from_name(path.stem)
            if not setting.member and not setting.noise.startswith("subclass"):
                yield record_of(setting, root, out)


def _calibration(root: Path, out: Path) -> None:
    """A row an interval of chances: the samples in it, their mean chance, and the share of them that is wrong."""
    chances: dict[str, list[np.ndarray]] = {"choosing": [], "reporting": []}
    wrong: dict[str, list[np.ndarray]] = {"choosing": [], "reporting": []}
    for record in _stored(root, out):
        verdict = Seen.of(record).verdict
        if verdict.rates.known:
            half = "choosing" if record.setting.seed in CHOOSING else "reporting"
            chances[half].append(verdict.confidence)
            wrong[half].append(record.noisy)
    for half in chances:
        print(f"\n{len(chances[half])} trainings, {half} seeds\n")
        print("| chances | labels | mean chance | wrong |\n|---|---|---|---|")
        said, true = np.concatenate(chances[half]), np.concatenate(wrong[half])
        for low, high in zip(EDGES, EDGES[1:], strict=False):
            of = (said >= low) & (said < high)
            if of.any():
                print(
                    f"| {low:.2f} to {min(high, 1):.2f} | {of.sum()} | {said[of].mean():.3f} | {true[of].mean():.3f} |"
                )


def _decisions(root: Path, out: Path) -> None:
    """A row a kind of data: in how many trainings the audit decides, and says that little speaks for it."""
    print("\n| data | labels | trainings | decided | of these with a warning | standard errors |")
    print("|---|---|---|---|---|---|")
    for kind, settings in (("noise alone", NOISE), ("partly wrong", WRONG)):
        for place, (data, learner, noise) in enumerate(settings):
            decided, warned, errors = 0, 0, []
            for seed in SEEDS:
                setting = Setting(data, learner, noise, SCHEDULES[(place + seed) % len(SCHEDULES)], seed)
                seen = Seen.of(record_of(setting, root, out))
                training, verdict = read_training(seen.recorder, seen.held_out), seen.verdict
                learning = learning_of(pool([training]), seen.given, training.n_classes)
                decided += verdict.rates.known
                warned += verdict.rates.known and bool(learning.doubt(verdict.rates.rate))
                errors.append(f"{learning.z:.1f}")
            cells = [data, f"{kind}, {noise}", len(SEEDS), decided, warned, " ".join(errors)]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
