"""How many labels are wrong where a model errs a lot: rates of an audit, with and without what is taken for its errors.

    python benchmarks/audit_hard.py [--seeds 0 3]

Three tables that no model learns well, seven kinds of noise. Each is audited by one training of a small network, which
holds a tenth out, and by out-of-fold probabilities of logistic regression. The correction was chosen on seed 0; seed 3
is for reporting.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "detection"))
import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from grid import CHOOSING
from learners import LEARNERS
from records import Setting, labels_of
from score import decided
from sklearn.datasets import load_digits, make_blobs, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sources import Source, table

import labelnoise as ln
from labelnoise.audit import contradiction, rates
from labelnoise.audit.judging import Verdict, judge
from labelnoise.audit.recorded import RecordedTraining, read_training

torch.set_num_threads(harness.THREADS)
NOISES = (
    "none", "symmetric:0.05", "symmetric:0.2", "symmetric:0.4", "pair:0.2", "class-conditional:0.2", "instance:0.3",
)  # fmt: skip


def digits_in_noise(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The digits with normal noise of standard deviation 9 on pixels of 0 to 16."""
    x, y = load_digits(return_X_y=True)
    return x + rng.normal(0, 9, x.shape), y


def three_clouds(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three normal clouds that overlap, in four dimensions."""
    return make_blobs(3_000, 4, centers=3, cluster_std=6.0, random_state=int(rng.integers(10**6)))


def twenty_classes(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Twenty classes in twelve directions of thirty."""
    seed = int(rng.integers(10**6))
    sizes = {"n_features": 30, "n_informative": 12, "n_redundant": 4, "n_classes": 20, "n_clusters_per_class": 1}
    return make_classification(3_000, **sizes, random_state=seed)


TABLES = {
    "digits in noise": table(digits_in_noise, 1_200, 597),
    "three clouds": table(three_clouds, 2_000, 1_000),
    "twenty classes": table(twenty_classes, 2_000, 1_000),
}


def by_training(source: Source, given: np.ndarray, seed: int) -> RecordedTraining:
    """One training of the harness's network for tables."""
    left = LEARNERS["mlp"].train(source, given, "constant", seed, lambda outputs, averaged: None)
    recorder = ln.Recorder(given.size, source.n_classes)
    classes = {"prediction": left.prediction.astype(np.int32), "given": given.astype(np.int64)}
    recorder.load_state_dict({"margin": left.margin, "loss": left.loss, **classes})
    return read_training(recorder, left.held_out)


def by_folds(source: Source, given: np.ndarray, seed: int) -> RecordedTraining:
    """Logistic regression, each sample by the model of five that was not trained on it."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=300)
    chances = cross_val_predict(model, source.x, given, cv=folds, method="predict_proba")
    recorder = ln.Recorder(given.size, source.n_classes)
    recorder.update_proba(np.arange(given.size), chances, given)
    recorder.end_epoch()
    return read_training(recorder, np.ones(given.size, bool))


def without(training: RecordedTraining) -> Verdict:
    """The audit that takes nothing for errors of the model."""
    with patch.object(contradiction, "errors_of", _none), patch.object(rates, "errors_of", _none):
        return judge([training])


def _none(shares: np.ndarray, much: float) -> tuple[float, float]:
    return 0.0, 1.0


def rows_of(data: str, noise: str, seed: int) -> list[dict]:
    """Return a row for each way to audit, without and with the correction."""
    source = TABLES[data](Path(), seed)
    given = labels_of(Setting(data, "", noise, "", seed), source)
    wrong, rows = given != source.y, []
    facts = {"half": "choosing" if seed in CHOOSING else "reporting", "data": data}
    for way, train in (("one training", by_training), ("folds", by_folds)):
        training = train(source, given, seed)
        for name, verdict in (("without", without(training)), ("with", judge([training]))):
            rows.append(facts | {"audited by": way, "correction": name} | judged(wrong, verdict))
    return rows


def judged(wrong: np.ndarray, verdict: Verdict) -> dict[str, float]:
    """Say how far a rate is from the truth, and what the flags are worth; NaN where nothing was decided."""
    rate, true = verdict.rates, wrong.mean()
    holds = float(rate.low <= true <= rate.high) if rate.known else np.nan
    some = bool(wrong.any())
    return {
        "bias": rate.rate - true, "error": abs(rate.rate - true), "holds": holds,
        "F1": decided(wrong, verdict.flagged)["f1"] if some else np.nan,
        "clean flagged": np.nan if some else verdict.flagged.mean(), "undecided": not rate.known,
    }  # fmt: skip


def main() -> None:
    """Print a row for each half, table and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 3])
    given = parser.parse_args()
    harness.describe("Rates where a model errs a lot")
    frame = pd.DataFrame(
        [row for seed in given.seeds for data in TABLES for n in NOISES for row in rows_of(data, n, seed)]
    )
    columns = ["bias", "error", "holds", "F1", "clean flagged", "undecided"]
    print("| half | data | audited by | correction | " + " | ".join(columns) + " |\n" + "|---" * 10 + "|")
    for keys, part in frame.groupby(["half", "data", "audited by", "correction"], sort=False):
        cells = [f"{part[name].mean():.3f}" for name in columns[:-1]] + [str(int(part["undecided"].sum()))]
        print("| " + " | ".join([*keys, *cells]) + " |")


if __name__ == "__main__":
    main()
