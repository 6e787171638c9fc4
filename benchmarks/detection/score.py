"""What the records say of every candidate: rows of numbers, and the tables made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import peers
from grid import CHOOSING
from methods import CORRECTED, DECISIONS, MARGIN, MEAN_RANK, RATES, SCORES, STOPS, SUSPECTS
from records import Record
from seen import Seen, judged

OF_SEVERAL = (MEAN_RANK, CORRECTED, MARGIN)
"""Scores whose mean over several trainings is taken, beside the audit of all of them."""


def rows_of(record: Record, folds: dict[str, np.ndarray] | None, others: Sequence[Record] = ()) -> list[dict[str, Any]]:
    """A row for each candidate and metric of one record; peers that need folds are left out without them.

    With other trainings of the same labels, the audit of all of them and means of some scores stand beside it. A score,
    a decision and a rate each have the number of trainings that they take, and the CPU seconds of these if known.
    """
    noisy, one = record.noisy, {"trainings": 1.0, "seconds": known_seconds(record)}
    seen = Seen.of(record)
    scores, flags, rates = _of_one(seen)
    flags["`suspects`, the best number (truth known)"] = best_number(noisy, scores[SUSPECTS])
    rows = [row | one for row in _judged(noisy, scores, flags, rates)]
    if others:
        several = {"trainings": 1.0 + len(others), "seconds": sum(map(known_seconds, (record, *others)))}
        rows += [row | several for row in _judged(noisy, *_of_several([seen, *map(Seen.of, others)]))]
    if folds is not None:
        seconds = float(folds["seconds"]) if "watching" in folds else np.nan
        five = {"trainings": 5.0, "seconds": seconds}
        rows += [row | five for row in _judged(noisy, *_of_peers(record.given, folds))]
    setting = record.setting
    rows += [_row("stop", name, **regret(record, rule(seen))) for name, rule in STOPS.items()]
    rows += [_row("test", "best single epoch", accuracy=float(record.test_accuracy.max()))]
    common = {
        "data": setting.data, "learner": setting.learner, "noise": setting.noise, "schedule": setting.schedule,
        "seed": setting.seed, "half": "choosing" if setting.seed in CHOOSING else "reporting",
        "rate_true": float(noisy.mean()), "folds": folds is not None, "several": bool(others),
    }  # fmt: skip
    return [common | row for row in rows]


def known_seconds(record: Record) -> float:
    """CPU seconds of a training; NaN where a record of older versions has the tests of each epoch among them."""
    return float(record.seconds) if np.isfinite(record.watching) else np.nan


Judgement = tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, tuple[float, float, float]]]
"""Scores, flags and rates by name."""


def _of_one(seen: Seen) -> Judgement:
    flags = {name: method(seen) for name, method in DECISIONS.items()}
    return (
        {name: method(seen) for name, method in SCORES.items()},
        flags | {"flags nothing": peers.nothing(seen.given.size)},
        {name: method(seen) for name, method in RATES.items()},
    )


def _of_several(every: Sequence[Seen]) -> Judgement:
    """The audit of all trainings of the same labels, and means of their scores."""
    verdict, words = judged(every), f"{len(every)} trainings: "
    scores = {words + SUSPECTS: np.nan_to_num(verdict.score)}
    scores |= {words + name: np.mean([SCORES[name](seen) for seen in every], axis=0) for name in OF_SEVERAL}
    rates = verdict.rates
    interval = (rates.rate, rates.low, rates.high)
    return scores, {words + "`suspects`, counted": verdict.flagged}, {words + "`suspects`": interval}


def _of_peers(given: np.ndarray, folds: dict[str, np.ndarray]) -> Judgement:
    rates = {name: (rate, np.nan, np.nan) for name, rate in peers.cleanlab_rates(given, folds).items()}
    return peers.cleanlab_scores(given, folds), peers.cleanlab_flags(given, folds), rates


def _judged(
    noisy: np.ndarray,
    scores: dict[str, np.ndarray],
    flags: dict[str, np.ndarray],
    rates: dict[str, tuple[float, float, float]],
) -> list[dict[str, Any]]:
    """Their metrics, a row each; a score has none without wrong labels."""
    rows = [_row("score", name, **ranking(noisy, values)) for name, values in scores.items() if noisy.any()]
    rows += [_row("decision", name, **decided(noisy, mask)) for name, mask in flags.items()]
    return rows + [_row("rate", name, **estimated(float(noisy.mean()), *values)) for name, values in rates.items()]


def _row(what: str, name: str, **values: float) -> dict[str, Any]:
    return {"what": what, "name": name, **values}


def ranking(noisy: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Average precision, and the share of wrong labels among as many of the most suspicious as there are (P@k)."""
    order = np.argsort(-score, kind="stable")
    hits = noisy[order]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    return {"ap": float(precision[hits].mean()), "p_at_k": float(hits[: noisy.sum()].mean())}


def best_number(noisy: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Flag the most suspicious samples, as many as make F1 largest: what no decision by this score can exceed."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(noisy[order])
    f1 = 2 * hits / (np.arange(1, hits.size + 1) + noisy.sum())
    flagged = np.zeros(noisy.size, bool)
    flagged[order[: int(f1.argmax()) + 1]] = noisy.any()
    return flagged


def decided(noisy: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    """F1 (NaN without wrong labels), precision, recall and the share that is flagged."""
    both, total = float((noisy & flagged).sum()), float(noisy.sum() + flagged.sum())
    return {
        "f1": 2 * both / total if noisy.any() else np.nan,
        "precision": both / flagged.sum() if flagged.any() else np.nan,
        "recall": both / noisy.sum() if noisy.any() else np.nan,
        "flagged": float(flagged.mean()),
    }


def estimated(true: float, rate: float, low: float, high: float) -> dict[str, float]:
    """Error of an estimated rate, and whether its interval holds the true one."""
    covers = np.nan if np.isnan(low) else float(low <= true <= high)
    return {"rate": rate, "error": rate - true, "covers": covers, "width": high - low}


def regret(record: Record, stop: int) -> dict[str, float]:
    """Points of test accuracy lost against the best single epoch, and against the best average of five."""
    single, averaged = 100 * record.test_accuracy, 100 * record.test_accuracy_averaged
    best = float(single.max())
    lost = {"single": best - float(single[stop])}
    if not np.isnan(averaged).any():
        lost |= {"averaged": best - float(averaged[stop]), "averaged_best": float(averaged.max() - averaged[stop])}
    return lost
