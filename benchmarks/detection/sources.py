"""Data of the harness: images, tables and texts, small enough for two cores, each drawn anew by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.arrays import stream
from labelnoise.images.data import Data, load_data


@dataclass(frozen=True, eq=False)
class Source:
    """Samples with true labels, before any label is flipped."""

    x: Any
    """(n, ...) training samples: uint8 images, a table of floats, or a sparse matrix of words."""
    y: np.ndarray
    x_test: Any
    y_test: np.ndarray
    n_classes: int
    features: np.ndarray
    """(n, d) what noise that depends on the sample looks at."""
    images: Data | None = None
    epochs: int | None = None
    """Epochs to train for; None for the learner's own."""


def load_source(name: str, root: Path, seed: int) -> Source:
    """Read a data set of `SOURCES`, and draw its training and test samples by `seed`."""
    return SOURCES[name](root, seed)


def _images(
    name: str, size: int, per_class: int | None, n_test: int, epochs: int | None = None
) -> Callable[[Path, int], Source]:
    """Images averaged to size x size; `per_class` of them to train on, for so many epochs."""

    def load(root: Path, seed: int) -> Source:
        data = load_data(name, root=root, per_class=per_class, seed=seed)
        test = np.sort(stream(seed, "subset").permutation(len(data.y_test))[:n_test])
        data = replace(
            data, x_train=_shrunk(data.x_train, size), x_test=_shrunk(data.x_test[test], size), y_test=data.y_test[test]
        )
        flat = data.x_train.reshape(len(data.x_train), -1)
        return Source(data.x_train, data.y_true, data.x_test, data.y_test, data.n_classes, flat, data, epochs)

    return load


def _shrunk(images: np.ndarray, size: int) -> np.ndarray:
    n, channels, height, width = images.shape
    blocks = images.reshape(n, channels, size, height // size, size, width // size)
    return np.round(blocks.mean(axis=(3, 5))).astype(np.uint8)


def table(read: Callable[[Path, np.random.Generator], tuple[Any, Any]], n: int, n_test: int, scaled: bool = True):
    """A table of which n rows are trained on and n_test others are the test set."""

    def load(root: Path, seed: int) -> Source:
        rng = stream(seed, "split")
        x, y = read(root, rng)
        classes, y = np.unique(np.asarray(y), return_inverse=True)
        order = rng.permutation(len(y))
        train, test = order[:n], order[n : n + n_test]
        if scaled:
            spread = x[train].std(axis=0)
            x = ((x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
        return Source(x[train], y[train], x[test], y[test], len(classes), x[train])

    return load


def _of_sklearn(name: str) -> Callable[[Path, np.random.Generator], tuple[Any, Any]]:
    def read(root: Path, rng: np.random.Generator) -> tuple[Any, Any]:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(return_X_y=True)

    return read


def fried(root: Path, rng: np.random.Generator, n: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Friedman's function: 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + N(0, 1), x in [0, 1]^10; above its mean.

    x is even; the class is whether the value lies above its mean, noise included.
    """
    x = rng.random((n, 10))
    value = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    value += rng.standard_normal(n)
    return x, value > value.mean()


def planes(root: Path, rng: np.random.Generator, n: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Breiman's two planes: 3 + 3 x2 + 2 x3 + x4 where x1 = 1, else -3 + 3 x5 + 2 x6 + x7, + N(0, 1); above its mean.

    x1 is -1 or 1, the nine others -1, 0 or 1, evenly.
    """
    x = rng.integers(-1, 2, (n, 10)).astype(float)
    x[:, 0] = rng.choice([-1.0, 1.0], n)
    value = np.where(x[:, 0] > 0, 3 + 3 * x[:, 1] + 2 * x[:, 2] + x[:, 3], -3 + 3 * x[:, 4] + 2 * x[:, 5] + x[:, 6])
    value += rng.standard_normal(n)
    return x, value > value.mean()


def _adult(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as they are, categories as one column each."""
    import pandas as pd

    table = pd.read_csv(root / "adult.csv")
    y = table.pop("income")
    return pd.get_dummies(table).to_numpy(np.float32), y


def _banking77(root: Path, seed: int) -> Source:
    """TF-IDF of words and pairs of words; noise looks at 50 directions of them."""
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = pd.read_csv(root / "banking77.csv")
    order = stream(seed, "split").permutation(len(table))
    train, test = order[:4_000], order[4_000:6_000]
    classes, y = np.unique(table["category"], return_inverse=True)
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    x = words.fit_transform(table["text"].iloc[train])
    features = TruncatedSVD(50, random_state=0).fit_transform(x)
    return Source(x, y[train], words.transform(table["text"].iloc[test]), y[test], len(classes), features)


SOURCES: dict[str, Callable[[Path, int], Source]] = {
    "digits": _images("digits", 8, None, 10_000),
    "mnist": _images("mnist", 14, 200, 1_000, 30),
    "fashion": _images("fashion-mnist-small", 14, 200, 1_000, 30),
    "cifar10": _images("cifar10-ten-classes-small", 16, 200, 1_000, 30),
    "cifar-pair": _images("cifar10-airplane-automobile", 16, 1_000, 1_000, 30),
    "adult": table(_adult, 4_000, 4_000),
    "breast-cancer": table(_of_sklearn("breast_cancer"), 400, 169),
    "wine": table(_of_sklearn("wine"), 125, 53),
    "digits-table": table(_of_sklearn("digits"), 1_200, 597),
    "fried": table(fried, 2_000, 1_000),
    "2dplanes": table(planes, 2_000, 1_000),
    "banking77": _banking77,
}
"""Each data set by name: a function of the folder with data and a seed."""
