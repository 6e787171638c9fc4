"""What an audit costs and finds: Adult, banking77 and made vectors with flipped labels, one line a case.

    python benchmarks/audit.py --data-root FOLDER [--cases adult banking77 vectors] [--folds 0]

FOLDER holds adult.csv (last column the class) and banking77.csv (columns text, category); LABELNOISE_DATA names it,
too. Each case runs in a process of its own, whose peak of memory beyond the data is shown.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

import labelnoise as ln

NOISE = {
    "none": None,
    "symmetric:0.2": ln.Symmetric(0.2),
    "class-conditional:0.05,0.30": ln.ClassConditional(0.05, 0.3),
}


def adult(root: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 14 columns, mixed and with gaps, and two classes."""
    frame = pd.read_csv(root / "adult.csv")
    return frame.iloc[:, :-1], pd.factorize(frame.iloc[:, -1], sort=True)[0]


def banking77(root: Path) -> tuple[pd.Series, np.ndarray]:
    """Return texts, and 77 classes."""
    frame = pd.read_csv(root / "banking77.csv")
    return frame["text"], pd.factorize(frame["category"], sort=True)[0]


def vectors(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return 100,000 made vectors of 384 numbers, and 20 classes."""
    generator = np.random.Generator(np.random.PCG64(0))
    true = generator.integers(20, size=100_000)
    centres = 0.25 * generator.normal(size=(20, 384)).astype(np.float32)
    return centres[true] + generator.standard_normal((100_000, 384), dtype=np.float32), true


CASES = {"adult": adult, "banking77": banking77, "vectors": vectors}


def peak() -> float:
    """Return the peak of memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: str, noise: str, root: Path, folds: int) -> str:
    """Return one line of the table."""
    samples, true = CASES[case](root)
    given = ln.flip_labels(true, NOISE[noise], int(true.max()) + 1, 0).y_given
    classes = np.arange(40) % 2
    ln.LabelAuditor(folds=1).fit(np.arange(80.0).reshape(40, 2) + classes[:, None], classes)  # loads what is lazy
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    auditor = ln.LabelAuditor(folds=folds or None).fit(samples, given)
    wall, cpu, memory = time.perf_counter() - start, time.process_time() - cpu, peak() - before
    wrong, flagged = given != true, auditor.flagged_
    order = auditor.suspects_["index"].to_numpy()
    hits = wrong[order]
    precision = (np.cumsum(hits) / np.arange(1, hits.size + 1))[hits].mean() if wrong.any() else np.nan
    f1 = 2 * (flagged & wrong).sum() / max(flagged.sum() + wrong.sum(), 1)
    low, high = auditor.noise_rate_interval_
    first = auditor.suspects_["confidence"].head(100).mean()
    cells = (
        case, noise, f"{wrong.mean():.3f}", f"{auditor.noise_rate_:.3f} [{low:.3f}, {high:.3f}]", f"{precision:.3f}",
        f"{f1:.3f}", f"{flagged.mean():.3f}", f"{100 * first:.0f} / {hits[:100].sum()}", f"{wall:.0f}", f"{cpu:.0f}",
        f"{memory:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--folds", type=int, default=0)
    given = parser.parse_args()
    print("| data | flips | wrong | estimated | AP | F1 | flagged | first 100: expected / wrong | s | CPU s | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in given.cases:
        for noise in NOISE if case == "adult" else list(NOISE)[:2] if case == "banking77" else list(NOISE)[1:2]:
            with get_context("spawn").Pool(1) as pool:
                print(pool.apply(measure, (case, noise, given.data_root, given.folds)), flush=True)


if __name__ == "__main__":
    main()
