"""Given labels of anybody's data as positions of their classes, or a refusal that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, first_few
from labelnoise.record.inputs import as_labels

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

FEWEST_SAMPLES = 20
"""Samples below which nothing is learnt of labels."""
MOST_CLASSES = 0.5
"""Classes at most, as a share of the samples: labels of more values are no classes."""


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Given labels and their classes."""

    classes: Shaped[np.ndarray, " K"]
    """The values that labels take: ascending, or as an ordered Categorical has them."""
    positions: Int[np.ndarray, " n"]
    """(n,) position of each label among the classes."""

    @property
    def counts(self) -> Int[np.ndarray, " K"]:
        """Samples of each class."""
        return np.bincount(self.positions, minlength=len(self.classes))

    @property
    def names(self) -> list[str]:
        """The classes in words."""
        return [str(value) for value in self.classes]


def read_labels(name: str, values: Any) -> GivenLabels:
    """Read given labels: integers, truth values, texts or floats that are all whole.

    Classes ascend; those of an ordered Categorical keep its order.

    Raises:
        InputError: no vector of them, missing values, floats, objects, one class only, fewer than 20, or so many
            different ones that they are no classes.
    """
    order = None
    if isinstance(values, pd.Series | pd.Index | pd.Categorical):
        if isinstance(values.dtype, pd.CategoricalDtype) and values.dtype.ordered:
            order = values.dtype.categories
        values = np.asarray(values)
    labels = np.array(values, dtype=object) if _is_flat(values) else on_host(values)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    labels = as_labels(name, labels)
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64)
    check_size(labels.size)
    classes, positions = np.unique(labels, return_inverse=True)
    if order is not None:
        by_order = np.argsort(order.get_indexer(pd.Index(classes)))
        classes, positions = classes[by_order], np.argsort(by_order)[positions]
    if classes.size < 2:
        raise InputError(
            f"`{name}` must hold two classes or more, got 1 class, {classes[0]!s}; where all labels are the same no "
            "label can look wrong"
        )
    if classes.size > MOST_CLASSES * labels.size:
        raise InputError(
            f"`{name}` must hold classes, got {classes.size} different values for {labels.size} samples; give the "
            "column of the class, not of a name or a number"
        )
    return GivenLabels(classes, positions)


def check_size(n: int) -> None:
    """Refuse samples that are too few.

    Raises:
        InputError: they are.
    """
    if n < FEWEST_SAMPLES:
        raise InputError(
            f"there must be at least {FEWEST_SAMPLES} samples, got {n} sample(s) (n_samples={n}); with so few, look "
            "at each label yourself"
        )


def shown(name: str) -> str:
    """Return the name of a class as it is shown: in quotes where it has spaces that would not be seen."""
    return name if name == " ".join(name.split()) else repr(name)


def spelling_notes(labels: GivenLabels) -> list[str]:
    """Return a note on classes that differ only in spaces or case, if there are such.

    They are never merged: `US` and `us` may be two classes, and nobody would see that they became one.
    """
    alike: dict[str, list[str]] = {}
    for name, count in zip(labels.names, labels.counts, strict=True):
        alike.setdefault(" ".join(name.split()).casefold(), []).append(f"{name!r} ({count:,})")
    groups = [" and ".join(names) for names in alike.values() if len(names) > 1]
    if not groups:
        return []
    return [
        f"classes that differ only in spaces or case count as different ones: {first_few(groups, between='; ')}; where "
        "they mean the same, each of their labels may look wrong: spell them alike in the data and audit again"
    ]


def amount_notes(labels: GivenLabels) -> list[str]:
    """Return a note on labels that are many different numbers, each of few samples: perhaps no classes."""
    k, n = len(labels.classes), labels.positions.size
    if k <= MOST_CLASSES_OF_NUMBERS or n >= FEW_A_CLASS * k or not all(map(_is_number, labels.names)):
        return []
    return [
        f"the {n:,} labels are {k:,} different numbers: if these are amounts, such as prices or ages, and no classes, "
        "no label can be judged; sort them into a few ranges and audit these"
    ]


MOST_CLASSES_OF_NUMBERS, FEW_A_CLASS = 20, 10
"""Different numbers up to which labels are classes, and samples of each in the mean from which on they are."""


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def check_lengths(samples: Any, labels: Any) -> None:
    """Refuse labels that are not as many as the samples, before either is looked at: that says more than what follows.

    Raises:
        InputError: both have a length, and it differs.
    """
    n, given = (np.shape(values)[:1] if hasattr(values, "shape") else _length(values) for values in (samples, labels))
    if n and given and n != given:
        raise InputError(f"`y` must hold one label a sample of `X` ({n[0]}), got {given[0]}; match them")


def order_notes(samples: Any, labels: Any) -> list[str]:
    """Return a note where the pandas index of the labels is that of the samples in another order.

    Rows are matched by place, as everywhere in scikit-learn; either index may be no more than a count of the rows.
    """
    if not all(isinstance(values, pd.DataFrame | pd.Series) for values in (samples, labels)):
        return []
    rows, names = samples.index, labels.index
    if rows.equals(names) or not (rows.is_unique and names.is_unique and rows.isin(names).all()):
        return []
    return [
        "the index of `y` is that of `X` in another order, and rows were matched by their place: where the index is "
        "what belongs together, every label is that of another sample; give `y.loc[X.index]` and audit again"
    ]


def _length(values: Any) -> tuple[int, ...]:
    """The length of a list or tuple, () of anything else."""
    return (len(values),) if isinstance(values, list | tuple) else ()


def _is_flat(values: Any) -> bool:
    """Whether it is a list of single values, of which NumPy would make texts if one of them is a text."""
    single = (str, int, float, bool, type(None))
    return isinstance(values, list | tuple) and all(isinstance(value, single) for value in values)
