"""What other tools make of the same model: cleanlab with 5-fold probabilities, and a row that flags nothing.

AUM, the moving average of the loss (Datumaro), the share of wrong predictions and the last loss need one training and
stand among the scores.
"""

from __future__ import annotations

import numpy as np

VARIANTS = {"end": "trained to the end", "stop": "stopped", "around": "stopped, mean of five epochs"}
"""Which probabilities of the folds: of the last epoch, of the epoch our own rule stops at, of the five around it."""
METHODS = ("self_confidence", "normalized_margin")
FILTERS = ("prune_by_noise_rate", "predicted_neq_given")
"""The default filter of cleanlab, and its plainest."""


def cleanlab_scores(given: np.ndarray, folds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Suspicion (n,) of each sample by each method on each variant."""
    from cleanlab.rank import get_label_quality_scores

    return {
        f"cleanlab {method}, folds {VARIANTS[variant]}": -get_label_quality_scores(given, folds[variant], method=method)
        for variant in VARIANTS
        for method in METHODS
    }


def cleanlab_flags(given: np.ndarray, folds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Flags (n,) of each filter on each variant."""
    from cleanlab.filter import find_label_issues

    return {
        f"cleanlab {name}, folds {VARIANTS[variant]}": find_label_issues(
            given, folds[variant], filter_by=name, n_jobs=1
        )
        for variant in VARIANTS
        for name in FILTERS
    }


def cleanlab_rates(given: np.ndarray, folds: dict[str, np.ndarray]) -> dict[str, float]:
    """Estimated share of wrong labels on each variant."""
    from cleanlab.count import num_label_issues

    return {
        f"cleanlab, folds {VARIANTS[variant]}": num_label_issues(given, folds[variant]) / len(given)
        for variant in VARIANTS
    }


def nothing(n: int) -> np.ndarray:
    """No sample is flagged: what a metric gives for it is what costs nothing."""
    return np.zeros(n, dtype=bool)
