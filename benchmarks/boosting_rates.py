"""How well the record of boosting tells the rate of wrong labels on small tables, beside an audit by folds.

    python benchmarks/boosting_rates.py

Two tables of scikit-learn (breast cancer; digits 1, 3 and 8), labels flipped with probability 0.1 and 0.2, four seeds
each. `HistGradientBoostingClassifier(max_iter=60)` is recorded by its stages: once, with a quarter of the
samples held out; and four times, each sample held out once. `LabelAuditor` trains the same model on its folds.

For each way: how often the 90% interval holds the true rate, and the mean of estimate minus truth. For the first way
also which share of the wrong labels that were trained on, and of those that were held out, most stages up to the stop
predict: what is memorised before the stop.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier

import labelnoise as ln
from labelnoise.adapters.sklearn import record_stages
from labelnoise.audit.recorded import read_training

Answer = tuple[float, float, float]
"""Rate and ends of its interval."""


def model() -> HistGradientBoostingClassifier:
    """Return what is trained."""
    return HistGradientBoostingClassifier(max_iter=60, random_state=0)


def tables() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield samples and true classes of each table."""
    cancer, digits = load_breast_cancer(), load_digits()
    three = np.isin(digits.target, (1, 3, 8))
    yield cancer.data, cancer.target
    yield digits.data[three], np.unique(digits.target[three], return_inverse=True)[1]


def of_records(X: np.ndarray, given: np.ndarray, masks: list[np.ndarray]) -> tuple[Answer, list[ln.Recorder]]:
    """Return the rate by one record or several, and these."""
    records = [record_stages(model(), X, given, held_out=mask) for mask in masks]
    said = ln.suspects(records).attrs
    return (said["rate"], *said["interval"]), records


def by_auditor(X: np.ndarray, given: np.ndarray) -> Answer:
    """Return the rate by an audit."""
    auditor = ln.LabelAuditor(model()).fit(X, given)
    return auditor.noise_rate_, *auditor.noise_rate_interval_


def memorised(record: ln.Recorder, given: np.ndarray, wrong: np.ndarray, mask: np.ndarray) -> list[float]:
    """Return the share of wrong labels that most stages up to the stop predict: trained on, and held out."""
    training = read_training(record)
    fits = training.predicted(slice(0, training.stop))[0] == given
    return [float(fits[wrong & part].mean()) for part in (~mask, mask)]


def main() -> None:
    """Print a line a way."""
    ways: dict[str, list[Answer]] = {"one record": [], "four records": [], "LabelAuditor": []}
    truth, learnt = [], []
    for X, true in tables():
        for rate in (0.1, 0.2):
            for seed in range(4):
                given = ln.flip_labels(true, ln.Symmetric(rate), int(true.max()) + 1, seed).y_given
                wrong, fold = given != true, np.random.default_rng(seed).permutation(len(true)) % 4
                one, (record,) = of_records(X, given, [fold == 0])
                ways["one record"].append(one)
                ways["four records"].append(of_records(X, given, [fold == k for k in range(4)])[0])
                ways["LabelAuditor"].append(by_auditor(X, given))
                truth.append(wrong.mean())
                learnt.append(memorised(record, given, wrong, fold == 0))
    print("| way | interval holds | mean of estimate - truth |")
    print("|---|---|---|")
    for name, answers in ways.items():
        rates, low, high = np.array(answers).T
        holds = int(((low <= truth) & (truth <= high)).sum())
        print(f"| {name} | {holds} of {len(truth)} | {np.mean(rates - np.array(truth)):+.3f} |")
    trained, held = np.mean(learnt, axis=0)
    print(f"wrong labels that most stages up to the stop predict: trained on {trained:.2f}, held out {held:.2f}")


if __name__ == "__main__":
    main()
