"""`LabelAuditor`: an audit as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from labelnoise.arrays import stream
from labelnoise.audit.decisions import DECISIONS
from labelnoise.audit.duplicates import duplicate_notes
from labelnoise.audit.judging import Verdict, check_name, judge
from labelnoise.audit.labels import (
    GivenLabels,
    amount_notes,
    check_lengths,
    order_notes,
    read_labels,
    shown,
    spelling_notes,
)
from labelnoise.audit.materials import Material, as_pandas, read_material
from labelnoise.audit.recording import record_trainings
from labelnoise.audit.scores import SCORES
from labelnoise.audit.self_test import SelfTest, compare_verdicts, plant_flips
from labelnoise.audit.telling import telling_notes
from labelnoise.errors import InputError, check_boolean, check_integer, first_few

if TYPE_CHECKING:
    from labelnoise.audit.kept_trainings import KeptTrainings
    from labelnoise.audit.materials import Labels, Model, Samples
    from labelnoise.runs.kinds import Progress


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit of somebody's samples and labels."""

    verdict: Verdict
    material: Material
    labels: GivenLabels
    model: str
    """What was trained, in words."""
    self_test: SelfTest | None = None
    """How well planted flips were found, where that was asked for."""


def audit_samples(
    X: Samples,
    y: Labels,
    model: Model = None,
    folds: int | None = None,
    score: str | None = None,
    decision: str = "counted",
    seed: int = 0,
    progress: Progress | None = None,
    self_test: bool = False,
    kept: KeptTrainings | None = None,
    names: Sequence[object] | None = None,
) -> Audit:
    """Train on samples with given labels, and judge every label.

    Args:
        X: a DataFrame, texts, vectors or images, see `materials.read_material`.
        y: (n,) given labels: integers or texts.
        model: None for the default of the kind of X; a classifier of scikit-learn, or a torch module.
        folds: trainings, each sample held out of one; 1 holds a tenth out of a single one; None for the default.
        score: a key of `scores.SCORES`; None for the default.
        decision: a key of `decisions.DECISIONS`.
        seed: of folds, weights and batches.
        progress: called as progress(done, total, name) after each training.
        self_test: flip a twentieth of the labels at random and audit again, with as many trainings, to see how many of
            them are flagged.
        kept: where the records of trainings lie that an interrupted run had finished; None keeps none.
        names: what notes call the samples; None for their positions.

    Raises:
        InputError: samples, labels or settings that are refused.
    """
    _check_settings(folds, score, decision, self_test, seed)
    check_lengths(X, y)
    material, labels = read_material(X), read_labels("y", y)
    if labels.positions.size != material.n:
        raise InputError(
            f"`y` must hold one label a sample of `X` ({material.n}), got {labels.positions.size}; match them"
        )
    train = partial(record_trainings, material, model=model, seed=seed, kept=kept)
    trainings, words = train(labels, folds=folds, progress=_part(progress, 0, 1 + self_test))
    verdict = judge(trainings, score, decision, seed)
    tested = None
    if self_test and verdict.decided:
        planted = plant_flips(labels, verdict.flagged, seed)
        folds = min(len(trainings), int(planted.counts.max()))
        again, _ = train(planted, folds=folds, progress=_part(progress, 1, 2), name="self-test")
        moved = planted.positions != labels.positions
        tested = compare_verdicts(verdict, judge(again, score, decision, seed), moved)
    notes = [*material.notes, *duplicate_notes(material, labels, names)]
    if self_test and not tested:
        notes.append("the self-test was left out: where nothing is decided, nothing is flagged")
    notes += _single_notes(labels)
    telling = telling_notes(material, labels, seed)  # first of all, as what stands before it: they may undo the rest
    first = (*order_notes(X, y), *amount_notes(labels), *spelling_notes(labels), *telling)
    return Audit(replace(verdict, notes=(*first, *verdict.notes, *notes)), material, labels, words, tested)


def _check_settings(folds: Any, score: Any, decision: Any, self_test: Any, seed: Any) -> None:
    """Refuse settings before any data are looked at."""
    if folds is not None:
        check_integer("folds", folds, 1, 5)
    if score is not None:
        check_name("score", score, SCORES)
    check_name("decision", decision, DECISIONS)
    check_boolean("self_test", self_test)
    stream(seed, "audit")  # refuses a seed that is none


def _single_notes(labels: GivenLabels) -> list[str]:
    """What is to be said of classes of one sample."""
    singles = [shown(name) for name, count in zip(labels.names, labels.counts, strict=True) if count == 1]
    words = f"classes of one sample, whose label cannot be checked ({len(singles)}): {first_few(singles)}"
    return [words] if singles else []


def _part(progress: Progress | None, at: int, parts: int) -> Progress | None:
    """The progress of one of several equal parts of the work."""
    if progress is None or parts == 1:
        return progress
    return lambda done, total, name="": progress(at * total + done, parts * total, name)


FITTED = (
    "suspects_", "flagged_", "noise_rate_", "noise_rate_interval_", "transition_", "classes_", "notes_", "self_test_",
    "audit_",
)  # fmt: skip
"""Attributes that `fit` makes."""


class LabelAuditor(BaseEstimator):
    """Find wrong labels in data of any kind, how many there are, and how sure that is.

    A model is trained for a while and recorded sample by sample; a label that it rejects before it memorises is
    suspicious. What it never trained on says how many labels are wrong.

    Args:
        model: None for the default of the kind of X: gradient boosting for tables (stages are its epochs), a linear
            model on TF-IDF for texts, a perceptron for vectors of 64 numbers or more, a small convolutional network for
            images. Or a classifier of scikit-learn (with stages, `partial_fit`, or only `predict_proba`), of which
            clones are fitted; or a torch module for vectors or images, of which copies are trained.
        folds: trainings, each sample held out of one of them; 1 holds a tenth out of a single one. None takes 3 for
            tables, given classifiers and up to 2,000 images, 5 for texts and few vectors, else 1.
        score: how suspicion is measured, a key of `labelnoise.audit.scores.SCORES`; None for the default.
        decision: how many are flagged: `counted`, `capped`, `rejected` or `mixture`.
        self_test: flip a twentieth of the labels at random after the audit and audit again, which takes as long once
            more: how many of them are flagged is an optimistic bound on how many real mistakes are.
        random_state: seed of folds, weights and batches, an integer; None for 0.

    Attributes:
        suspects_: DataFrame of all samples, the most suspicious first: index (position in X), given, suggested, score,
            confidence (that the label is wrong), flagged.
        flagged_: (n,) mask of the suspects, in the order of X.
        noise_rate_: estimated share of wrong labels; NaN where nothing can be said.
        noise_rate_interval_: ends of its 90% interval.
        transition_: DataFrame of P(given | true), a row a true class.
        classes_: the classes, ascending.
        notes_: what a reader must know, a sentence each.
        self_test_: planted flips, how many were flagged, their recall and the average precision; None without one.
        n_features_in_, feature_names_in_: columns of X, where it has such.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> y[:8] = 2  # eight wrong labels
        >>> auditor = LabelAuditor().fit(X, y)
        >>> sorted(auditor.suspects_["index"][:8])
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(
        self,
        model: Model = None,
        *,
        folds: int | None = None,
        score: str | None = None,
        decision: str = "counted",
        self_test: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.model = model
        self.folds = folds
        self.score = score
        self.decision = decision
        self.self_test = self_test
        self.random_state = random_state

    def fit(self, X: Samples, y: Labels | None = None) -> LabelAuditor:
        """Audit the labels `y` of the samples `X`.

        Args:
            X: a DataFrame (of pandas, polars or Arrow), texts, numbers (n, d) or images.
            y: (n,) given labels, integers or texts.

        Raises:
            InputError: samples, labels or settings that are refused.
        """
        if y is None:
            raise InputError(
                "`y` must hold the given labels, got None (requires y to be passed, but the target y is None); "
                "give one a sample"
            )
        X = as_pandas(X)
        seed = 0 if self.random_state is None else self.random_state
        audit = audit_samples(
            X, y, self.model, self.folds, self.score, self.decision, seed, self_test=self.self_test
        )  # fmt: skip
        self._keep_columns(X)
        self.audit_ = audit
        self.classes_ = audit.labels.classes
        frame = audit.verdict.to_frame()
        for name in ("given", "suggested"):
            frame[name] = self.classes_[frame[name].to_numpy()]
        self.suspects_ = frame
        self.flagged_ = audit.verdict.flagged
        rates = audit.verdict.rates
        self.noise_rate_ = rates.rate
        self.noise_rate_interval_ = (rates.low, rates.high)
        self.transition_ = pd.DataFrame(rates.transition, self.classes_, self.classes_)
        self.notes_ = list(audit.verdict.notes)
        self.self_test_ = audit.self_test
        return self

    if not TYPE_CHECKING:  # a checker is to know the attributes that there are

        def __getattr__(self, name: str) -> Any:
            """Refuse an attribute that `fit` makes, where it was not called, by NotFittedError, an AttributeError."""
            if name in FITTED:
                raise NotFittedError(
                    f"this LabelAuditor is not fitted yet, so that it has no `{name}`; call `fit(X, y)` first"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def clean_labels(self) -> np.ndarray:
        """Return the given labels (n,), those of the suspects replaced by the suggested ones.

        Where the model accepts a suspect's label, that is the suggested one, and stays. What is replaced was not
        reviewed; to leave the suspects out instead, use `~flagged_`.
        """
        check_is_fitted(self)
        positions = np.where(self.flagged_, self.audit_.verdict.suggested, self.audit_.labels.positions)
        return self.classes_[positions]

    def fit_predict(self, X: Samples, y: Labels | None = None) -> np.ndarray:
        """Audit, and return the mask (n,) of the suspects."""
        return self.fit(X, y).flagged_

    def _keep_columns(self, X: Samples) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)
        columns = np.ndim(X) == 2 if isinstance(X, list) else len(getattr(X, "shape", ())) == 2
        if columns:
            self.n_features_in_ = int(np.shape(X)[1])
        if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
