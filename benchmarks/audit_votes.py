"""Which samples may vote on the rate of an audit with folds, and which score ranks best there: one line a case.

    python benchmarks/audit_votes.py --data-root FOLDER [--cases adult banking77]

Anchors are the surest held-out samples; fifths are taken of what each sample's own fold predicts of it up to the stop
(out of fold), and of what the trainings that saw it do (trained). Average precision: of the audit's score, of the
left-out margin that it corrects by class, of the margin without that, and of the mean rank of the first and the
corrected probability.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import labelnoise as ln
from audit import CASES, NOISE
from labelnoise.audit.contradiction import Predictions, fifths
from labelnoise.audit.judging import judge
from labelnoise.audit.labels import read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.recording import record_trainings
from labelnoise.audit.scores import left_out_margin, margin_to_twice


def precision(score: np.ndarray, wrong: np.ndarray) -> float:
    """Average precision; NaN where no label is wrong."""
    hits = wrong[np.argsort(-score, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, hits.size + 1))[hits].mean()) if hits.any() else np.nan


def rank(score: np.ndarray) -> np.ndarray:
    """Place of each sample, the least suspicious first."""
    return np.argsort(np.argsort(score, kind="stable"))


def measure(case: str, noise: str, root: Path) -> str:
    """Return one line of the table."""
    samples, true = CASES[case](root)
    given = ln.flip_labels(true, NOISE[noise], int(true.max()) + 1, 0).y_given
    trainings, _ = record_trainings(read_material(samples), read_labels("y", given), None, None, 0)
    early = [one.predicted(slice(0, one.stop)) for one in trainings]
    outside = np.array([one.held_out for one in trainings])
    first, everyone = outside.argmax(axis=0), np.arange(given.size)
    predicted, sure = (np.array(part) for part in zip(*early, strict=True))
    held_out = predicted[first, everyone]
    own = fifths([Predictions.of(held_out, sure[first, everyone], given)])[0]
    votes = [(np.where(mask, -1, p), s) for mask, (p, s) in zip(outside, early, strict=True)]
    trained = fifths([Predictions.of(p, s, given) for p, s in votes])[0]
    verdict, wrong = judge(trainings), given != true
    left_out, margin = (
        np.mean([score(one) for one in trainings], axis=0) for score in (left_out_margin, margin_to_twice)
    )
    chance = judge(trainings, "given-probability").score
    scores = (verdict.score, left_out, margin, (rank(left_out) + rank(chance)).astype(float))
    cells = [f"{value:.3f}" for value in (wrong.mean(), verdict.rates.rate, own, trained)]
    return f"| {case} | {noise} | {' | '.join(cells + [f'{precision(score, wrong):.3f}' for score in scores])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--cases", nargs="*", choices=("adult", "banking77"), default=["adult", "banking77"])
    given = parser.parse_args()
    columns = "data, flips, wrong, anchors, fifths out of fold, fifths trained, AP, left out, margin, mean rank"
    print(f"| {' | '.join(columns.split(', '))} |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in given.cases:
        for noise in NOISE if case == "adult" else list(NOISE)[:2]:
            print(measure(case, noise, given.data_root), flush=True)


if __name__ == "__main__":
    main()
