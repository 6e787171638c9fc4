"""Samples that equal another one: what leaks, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from labelnoise.audit.labels import GivenLabels
from labelnoise.audit.materials import Material
from labelnoise.errors import first_few

MOST_GROUPS = 3
"""Groups of equal samples that a note names."""


def duplicate_notes(material: Material, labels: GivenLabels, names: Sequence[object] | None = None) -> list[str]:
    """Return what equal samples mean: they leak from the training into the held-out part, and may contradict.

    Args:
        material: the samples.
        labels: their given labels.
        names: what the samples are called; None for their positions.
    """
    keys = _keys(material)
    _, group, count = np.unique(keys, return_inverse=True, return_counts=True)
    extra = len(keys) - len(count)
    if not extra:
        return []
    pairs, first = np.unique(np.stack([group, labels.positions]), axis=1, return_index=True)
    earliest = np.full(len(count), material.n)
    np.minimum.at(earliest, pairs[0], first)
    contradicting = np.flatnonzero(np.bincount(pairs[0]) > 1)
    contradicting = contradicting[np.argsort(earliest[contradicting])]  # keys of bytes differ from run to run
    words = (
        f"samples that repeat another one: {extra}; copies of a held-out sample are trained on, so that the model "
        "seems surer of it than it is (they leak); remove them for sharper results"
    )
    if contradicting.size:
        called = range(material.n) if names is None else names
        groups = []
        for one in contradicting[: MOST_GROUPS + 1]:
            members = [f"{called[at]} ({labels.names[labels.positions[at]]})" for at in np.sort(first[pairs[0] == one])]
            groups.append(first_few(members, between=" and "))
        words += (
            f"; groups of equal samples with different labels: {contradicting.size}, of each label one: "
            f"{first_few(groups, most=MOST_GROUPS, between='; ')}"
        )
    return [words]


def _keys(material: Material) -> np.ndarray:
    """A number for each sample, equal for equal ones."""
    if material.kind == "table":
        return pd.util.hash_pandas_object(material.samples, index=False).to_numpy()
    if material.kind == "text":
        return pd.util.hash_array(np.array(material.samples, dtype=object))
    rows = material.samples.reshape(material.n, -1)
    return np.array([hash(row.tobytes()) for row in rows])
