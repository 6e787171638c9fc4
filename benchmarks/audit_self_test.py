"""How optimistic the self-test of an audit is: planted flips beside the wrong labels of the data, one line a case.

    python benchmarks/audit_self_test.py --data-root FOLDER [--cases adult banking77]

Recall is that of the default decision, AP the average precision of the default score.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import labelnoise as ln
from audit import CASES, NOISE


def compare(case: str, noise: str, root: Path) -> str:
    """Return one line of the table."""
    samples, true = CASES[case](root)
    given = ln.flip_labels(true, NOISE[noise], int(true.max()) + 1, 0).y_given
    auditor = ln.LabelAuditor(self_test=True).fit(samples, given)
    wrong, test = given != true, auditor.self_test_
    hits = wrong[auditor.suspects_["index"].to_numpy()]
    precision = (np.cumsum(hits) / np.arange(1, hits.size + 1))[hits].mean() if wrong.any() else np.nan
    recall = auditor.flagged_[wrong].mean() if wrong.any() else np.nan
    numbers = (recall, test.recall, precision, test.average_precision)
    return f"| {case} | {noise} | {test.planted} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--cases", nargs="*", choices=("adult", "banking77"), default=["adult", "banking77"])
    given = parser.parse_args()
    print("| data | flips | planted | recall, wrong labels | recall, planted | AP, wrong labels | AP, planted |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for case in given.cases:
        for noise in NOISE if case == "adult" else list(NOISE)[:2]:
            print(compare(case, noise, given.data_root), flush=True)


if __name__ == "__main__":
    main()
