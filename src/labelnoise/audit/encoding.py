"""Texts and tables as the numbers that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError

if TYPE_CHECKING:
    from labelnoise.audit.materials import Material


def tfidf(texts: Sequence[str]) -> Any:
    """Return the TF-IDF matrix (n, words) of texts, float32."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    for least in (2, 1):  # words of one text alone say nothing, unless there are no others
        try:
            return TfidfVectorizer(min_df=least, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
        except ValueError:
            continue
    raise InputError("`X` must hold texts with words of two letters or more, got none; give the column of the texts")


def as_numbers(material: Material) -> np.ndarray:
    """Return samples as numbers (n, d) float32: a column a category, the median for a missing number."""
    if material.kind == "dense":
        return material.samples
    if material.kind == "image":
        return material.samples.reshape(material.n, -1).astype(np.float32)
    import pandas as pd

    frame = material.samples
    numbers = frame.select_dtypes("number")
    numbers = numbers.fillna(numbers.median()).fillna(0.0)
    rest = frame.drop(columns=numbers.columns)
    rest = pd.get_dummies(rest, dtype=np.float32) if rest.shape[1] else rest
    return np.hstack([numbers.to_numpy(np.float32), rest.to_numpy(np.float32)])
