"""Columns that alone tell the given labels: what is made from the label hides every wrong one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelnoise.arrays import stream
from labelnoise.errors import first_few

if TYPE_CHECKING:
    from labelnoise.audit.labels import GivenLabels
    from labelnoise.audit.materials import Material

TELLS = 0.98
"""Share of given labels, of samples that the rule has not seen, from which on a column tells them."""
LEFT = 0.1
"""The same against the most frequent class: so much of its errors the rule may make, at most."""
LOOKED_AT = 2_000
"""Samples that are looked at; the rule is made from half of them."""
FEWEST = 50
"""Samples below which a column may tell all labels by chance."""
LEAVES = 4
"""Leaves of the rule for each class: a tree of one column."""


def telling_notes(material: Material, labels: GivenLabels, seed: int) -> list[str]:
    """Return a note on the columns that alone tell nearly every given label, if there are such.

    The rule of a column is a tree of few leaves, made from one half of some samples and tested on the other: it finds a
    code of the classes as well as numbers that lie apart, and learns nothing from names that seldom repeat. On easy
    data with few wrong labels a good feature does as much, so that nothing is left out.

    Args:
        material: the samples; only a table and vectors have columns.
        labels: their given labels.
        seed: of the samples that are looked at.
    """
    shares = _telling_shares(material, labels.positions, seed) if material.kind in ("table", "dense") else {}
    if not shares:
        return []
    first = next(iter(shares))
    which = first_few([f"{name} {share:.1%}" for name, share in shares.items()])
    return [
        f"columns that alone tell nearly every given label ({which}): where such a column "
        "is made from the label (a copy, a code, filled in later), the model reads wrong labels off it too, and this "
        f"audit misses them; leave it out (--ignore {first}; in Python drop it from `X`) and audit again; a "
        "good feature of easy data looks the same and may stay"
    ]


def _telling_shares(material: Material, given: np.ndarray, seed: int) -> dict[str, float]:
    """Columns that tell the labels, and the share of them that each tells."""
    from sklearn.tree import DecisionTreeClassifier

    if material.n < FEWEST:
        return {}
    rows = stream(seed, "audit").permutation(material.n)[:LOOKED_AT]
    made, tested = rows[::2], rows[1::2]
    usual = np.bincount(given[made]).argmax()
    least = max(TELLS, 1 - LEFT * float((given[tested] != usual).mean()))
    shares = {}
    for name, column in _columns(material):
        tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES * int(given.max() + 1), random_state=0)
        with warnings.catch_warnings():  # of many classes, which a note may name
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            tree.fit(column[made, None], given[made])
        share = float((tree.predict(column[tested, None]) == given[tested]).mean())
        if share >= least:
            shares[name] = share
    return shares


def _columns(material: Material) -> Iterator[tuple[str, np.ndarray]]:
    """Name and numbers (n,) of each column; of categories their codes, NaN where there is none."""
    if material.kind == "dense":
        yield from ((str(at), material.samples[:, at]) for at in range(material.samples.shape[1]))
        return
    for name, column in material.samples.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy(float)
            yield str(name), np.where(codes < 0, np.nan, codes)
        else:
            yield str(name), column.to_numpy(float)
