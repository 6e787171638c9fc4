"""What an audit costs and finds: Adult, banking77 and made vectors with flipped labels, one line a case.

    python benchmarks/audit.py --data-root FOLDER [--cases adult banking77 vectors] [--folds 0]

FOLDER holds adult.csv (last column the class) and banking77.csv (columns text, category); LABELNOISE_DATA names it,
too. Each case runs in a process of its own, whose peak of memory beyond the data is shown. Beside it stands cleanlab on
the 5-fold probabilities of the same model, trained for as many passes, with its defaults: the order by self-confidence,
and the issues that it finds.
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
from labelnoise.audit import encoding, trainers
from labelnoise.audit.materials import read_material

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


def precision(score: np.ndarray, wrong: np.ndarray) -> float:
    """Return the average precision; NaN where no label is wrong."""
    hits = wrong[np.argsort(-score, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, hits.size + 1))[hits].mean()) if hits.any() else np.nan


def f1(flagged: np.ndarray, wrong: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall."""
    return 2 * (flagged & wrong).sum() / max(flagged.sum() + wrong.sum(), 1)


def same_model(samples: object) -> tuple[object, object]:
    """Return the model of an audit by default, as an estimator of scikit-learn, and the samples as it gets them."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    material = read_material(samples)
    if material.kind == "table":
        boosting = HistGradientBoostingClassifier(
            max_iter=trainers.STAGES, max_leaf_nodes=8, early_stopping=False, categorical_features="from_dtype",
            random_state=0,
        )  # fmt: skip
        return boosting, material.samples
    if material.kind == "text":
        passes = trainers.PASSES["text"]
        linear = SGDClassifier(loss="log_loss", alpha=1e-4, max_iter=passes, tol=None, random_state=0)
        return linear, encoding.tfidf(material.samples)
    network = MLPClassifier((64,), batch_size=200, max_iter=trainers.PASSES["dear"], random_state=0)
    return make_pipeline(StandardScaler(), network), material.samples


def peer(samples: object, given: np.ndarray, wrong: np.ndarray) -> tuple[str, ...]:
    """Return average precision, F1 and CPU seconds of cleanlab."""
    import warnings

    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    start = time.process_time()
    model, x = same_model(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the passes are as few as the audit's
        splits = StratifiedKFold(5, shuffle=True, random_state=0)
        chances = cross_val_predict(model, x, given, cv=splits, method="predict_proba")
        flagged = find_label_issues(given, chances, n_jobs=1)
        score = -get_label_quality_scores(given, chances)
    seconds = time.process_time() - start
    return f"{precision(score, wrong):.3f}", f"{f1(flagged, wrong):.3f}", f"{seconds:.0f}"


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
    low, high = auditor.noise_rate_interval_
    first = auditor.suspects_["confidence"].head(100).mean()
    score = precision(np.nan_to_num(auditor.audit_.verdict.score), wrong)
    cells = (
        case, noise, f"{wrong.mean():.3f}", f"{auditor.noise_rate_:.3f} [{low:.3f}, {high:.3f}]", f"{score:.3f}",
        f"{f1(flagged, wrong):.3f}", f"{flagged.mean():.3f}", f"{100 * first:.0f} / {hits[:100].sum()}",
        f"{wall:.0f}", f"{cpu:.0f}", f"{memory:.0f}", *peer(samples, given, wrong),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--folds", type=int, default=0)
    given = parser.parse_args()
    names = (
        "data", "flips", "wrong", "estimated", "AP", "F1", "flagged", "first 100: expected / wrong", "s", "CPU s", "MB",
        "cleanlab: AP", "its F1", "its CPU s",
    )  # fmt: skip
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    for case in given.cases:
        for noise in NOISE if case == "adult" else list(NOISE)[:2] if case == "banking77" else list(NOISE)[1:2]:
            with get_context("spawn").Pool(1) as pool:
                print(pool.apply(measure, (case, noise, given.data_root, given.folds)), flush=True)


if __name__ == "__main__":
    main()
