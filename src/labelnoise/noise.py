"""Label-noise models, for synthetic and real data alike.

A model says with which probability a label is replaced by which other one; `flip_labels` applies it. Classes are
0..K-1 here; the two-class world of the paper counts y = +1 as class 0 and y = -1 as class 1.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, did_you_mean, is_number


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Given labels and what is known of them: `y_given`, `y_true` and `noisy` (where they differ), each (n,)."""

    y_true: np.ndarray
    y_given: np.ndarray
    n_classes: int

    @property
    def noisy(self) -> np.ndarray:
        """Boolean mask (n,) of the samples whose given label is wrong."""
        return self.y_true != self.y_given

    @property
    def rate(self) -> float:
        """Realised share of wrong labels."""
        return float(self.noisy.mean())

    @property
    def rate_by_class(self) -> np.ndarray:
        """Realised share of wrong labels in each true class (K,); NaN for a class without samples."""
        counts = np.bincount(self.y_true, minlength=self.n_classes)
        wrong = np.bincount(self.y_true[self.noisy], minlength=self.n_classes)
        return np.divide(wrong, counts, out=np.full(self.n_classes, np.nan), where=counts > 0)

    def __str__(self) -> str:
        by_class = ", ".join(f"{rate:.3f}" for rate in self.rate_by_class)
        return f"{self.noisy.sum()} of {self.noisy.size} labels wrong ({self.rate:.3f}; by true class {by_class})"


class LabelNoise(Protocol):
    """What `flip_labels` needs of a model: its transition matrix, and whether the number of flips is fixed."""

    @property
    def exact(self) -> bool:
        """Whether exactly int(rate n) labels are flipped instead of each independently."""

    def matrix(self, n_classes: int) -> np.ndarray:
        """Return T (K, K) with T[a, b] = P(given = b | true = a)."""


@dataclass(frozen=True)
class Symmetric:
    """Each label is replaced with probability `rate` by one drawn evenly from the other classes."""

    rate: float
    """Probability in [0, 1]."""
    include_true: bool = field(default=False, kw_only=True)
    """Draw the new label from all classes, the true one included: only rate (K-1)/K of the labels become wrong."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels, as the paper's release does."""

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)
        if self.exact and self.include_true:
            raise InputError(
                "`exact` counts wrong labels and `include_true` lets a redrawn label stay right, got both; drop one"
            )

    def matrix(self, n_classes: int) -> np.ndarray:
        """T (K, K): 1 - rate on the diagonal (include_true: + rate/K), the rest spread evenly."""
        eye = np.eye(n_classes)
        if self.include_true:
            return (1 - self.rate) * eye + self.rate / n_classes
        return (1 - self.rate) * eye + self.rate * (1 - eye) / max(n_classes - 1, 1)


@dataclass(frozen=True)
class ClassConditional:
    """Two classes with a rate each, the paper's model: tau_+ = P(given - | true +), tau_- = P(given + | true -)."""

    tau_plus: float
    """Probability that a label of the + class (y = +1; the first listed class of real data) is flipped."""
    tau_minus: float
    """Probability that a label of the - class is flipped."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(tau n_class) labels of each class."""

    def __post_init__(self) -> None:
        _check_rate("tau_plus", self.tau_plus)
        _check_rate("tau_minus", self.tau_minus)

    def matrix(self, n_classes: int) -> np.ndarray:
        """T (2, 2) = [[1 - tau_+, tau_+], [tau_-, 1 - tau_-]]."""
        if n_classes != 2:
            raise InputError(
                f"`ClassConditional` needs two classes, got {n_classes}; use `Matrix` for more, or choose two classes"
            )
        return np.array([[1 - self.tau_plus, self.tau_plus], [self.tau_minus, 1 - self.tau_minus]])


@dataclass(frozen=True)
class Pair:
    """Each label is replaced with probability `rate` by the next class (the last by the first)."""

    rate: float
    """Probability in [0, 1]."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int(rate n) of all labels."""

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)

    def matrix(self, n_classes: int) -> np.ndarray:
        """T (K, K): 1 - rate on the diagonal, rate on the next class."""
        eye = np.eye(n_classes)
        return (1 - self.rate) * eye + self.rate * np.roll(eye, 1, axis=1)


@dataclass(frozen=True)
class Matrix:
    """Any row-stochastic transition matrix: row a holds the probabilities of each given label of true class a."""

    rows: tuple[tuple[float, ...], ...]
    """K rows of K probabilities (nested sequences or an array)."""
    exact: bool = field(default=False, kw_only=True)
    """Flip exactly int((1 - T[a, a]) n_a) labels of each class a."""

    def __post_init__(self) -> None:
        try:
            table = np.asarray(self.rows, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"`rows` must be a square table of numbers, got {self.rows!r}") from None
        if table.ndim != 2 or table.shape[0] != table.shape[1] or table.size == 0:
            raise InputError(f"`rows` must be a square table of numbers, got shape {table.shape}; give K rows of K")
        if not (np.isfinite(table).all() and (table >= 0).all()):
            raise InputError("`rows` must hold probabilities >= 0, got a negative or non-finite entry; correct it")
        off = np.abs(table.sum(axis=1) - 1)
        if off.max() > 1e-9:
            row = int(off.argmax())
            raise InputError(
                f"each row of `rows` must sum to 1, got {table[row].sum():.6g} in row {row}; divide it by its sum"
            )
        object.__setattr__(self, "rows", tuple(map(tuple, table.tolist())))

    def matrix(self, n_classes: int) -> np.ndarray:
        """T (K, K) as given."""
        if n_classes != len(self.rows):
            raise InputError(
                f"`Matrix` has {len(self.rows)} rows but the data has {n_classes} classes; give one row a class"
            )
        return np.array(self.rows)


MODELS = (Symmetric, ClassConditional, Pair, Matrix)
"""The models that are a transition matrix."""


@dataclass(frozen=True)
class FromFile:
    """Given labels read from a file, for example those that people gave.

    `load_data` takes one original class id for each training image of the source, in the source's order, and checks
    that order against the true labels; `flip_labels` takes one class position 0..K-1 a sample.
    """

    path: str
    """An .npz or .npy file, or text with one integer a line."""
    key: str = "y_given"
    """Which array of an .npz file to read; true labels beside it (`y_true` or `clean_label`) vouch for the order."""

    def read(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the given labels (n,) and the true ones that the file holds beside them, or None.

        Raises:
            InputError: a file that cannot be read, another number of labels, or labels that are not integers.
        """
        arrays = _read_arrays(Path(self.path), self.key, "y_true", "clean_label")
        integers = {key: self._integers(array.ravel(), n) for key, array in arrays.items()}
        return integers[self.key], integers.get("y_true", integers.get("clean_label"))

    def _integers(self, labels: np.ndarray, n: int) -> np.ndarray:
        if labels.size != n:
            raise InputError(f"{self.path} must hold one label a sample ({n}), got {labels.size}; check the file")
        wrong = np.flatnonzero(~(np.abs(labels) < 2**31) | (labels != np.round(labels)))
        if wrong.size:
            raise InputError(
                f"{self.path} must hold integers, got {labels[wrong[0]]} at position {wrong[0]}; number the classes"
            )
        return labels.astype(np.int64)


def flip_labels(
    y_true: np.ndarray,
    noise: LabelNoise | FromFile | None,
    n_classes: int,
    seed: int | np.random.Generator = 0,
) -> NoisyLabels:
    """Draw given labels for `y_true` under `noise` (None leaves them as they are).

    Independent flips: sample i is flipped where u_i < 1 - T[y_i, y_i], so with one seed the samples flipped at a
    low rate are among those flipped at a higher rate. `exact` takes the samples with the smallest u instead.

    Args:
        y_true: (n,) integers in 0..K-1.
        noise: a model of this module.
        n_classes: K.
        seed: of the stream `flips`, which moves nothing else; or a generator of your own.
    """
    y_true = np.asarray(y_true)
    if y_true.ndim != 1 or y_true.dtype.kind not in "iu" or y_true.size == 0:
        raise InputError(f"`y_true` must be a non-empty vector of integers, got {y_true.dtype} {y_true.shape}")
    if y_true.min() < 0 or y_true.max() >= n_classes:
        raise InputError(f"`y_true` must lie in 0..{n_classes - 1}, got {y_true.min()}..{y_true.max()}; remap it")
    y_true = y_true.astype(np.int64)
    if noise is None:
        return NoisyLabels(y_true, y_true.copy(), n_classes)
    if isinstance(noise, FromFile):
        return NoisyLabels(y_true, _read_positions(noise, y_true.size, n_classes), n_classes)
    if not isinstance(noise, MODELS):
        raise InputError(f"`label_noise` must be a model such as Symmetric(0.2), got {noise!r}; parse_noise reads text")
    transition = noise.matrix(n_classes)
    rng = seed if isinstance(seed, np.random.Generator) else stream(seed, "flips")
    whether, where = rng.random((2, y_true.size))
    leave = 1 - np.diag(transition)
    flip = _exact_flips(y_true, noise, leave, whether) if noise.exact else whether < leave[y_true]
    to_others = transition * (1 - np.eye(n_classes))
    cumulative = np.cumsum(to_others, axis=1)[y_true]
    target = (where[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return NoisyLabels(y_true, np.where(flip, target, y_true), n_classes)


def _read_positions(noise: FromFile, n: int, n_classes: int) -> np.ndarray:
    labels, _ = noise.read(n)
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise InputError(
            f"{noise.path} must hold class positions 0..{n_classes - 1}, got {labels[wrong[0]]} at position "
            f"{wrong[0]}; map the labels to positions first"
        )
    return labels


def _exact_flips(y_true: np.ndarray, noise: LabelNoise, leave: np.ndarray, whether: np.ndarray) -> np.ndarray:
    """Mask of the int(rate n) samples with the smallest draw: of all samples for one rate, else of each class."""
    if isinstance(noise, Symmetric | Pair):
        groups = [(np.arange(y_true.size), noise.rate)]
    else:
        groups = [(np.flatnonzero(y_true == label), rate) for label, rate in enumerate(leave)]
    flip = np.zeros(y_true.size, dtype=bool)
    for members, rate in groups:
        flip[members[np.argsort(whether[members])[: int(rate * members.size)]]] = True
    return flip


def parse_noise(text: str) -> LabelNoise | FromFile | None:
    """Read a model from the command line's form `kind:values[:exact]`, or `file:PATH[:KEY]`.

    Example:
        >>> parse_noise("symmetric:0.2")
        Symmetric(rate=0.2, include_true=False, exact=False)
        >>> parse_noise("class-conditional:0.1,0.3:exact")
        ClassConditional(tau_plus=0.1, tau_minus=0.3, exact=True)
        >>> parse_noise("none") is None
        True
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise InputError(f"label noise must be of the form kind:values, got {text!r}{did_you_mean(kind, KINDS)}")
    build, example = KINDS[kind]
    try:
        return build(rest)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"label noise {text!r} could not be read; write it like {example!r}") from None


def _numbers(model: Callable[..., LabelNoise], **options: bool) -> Callable[[str], LabelNoise]:
    def build(rest: str) -> LabelNoise:
        values, _, word = rest.partition(":")
        if word not in ("", "exact"):
            raise ValueError(word)
        exact = {"exact": True} if word else {}
        return model(*(float(value) for value in values.split(",")), **options, **exact)

    return build


def _none(rest: str) -> None:
    if rest:
        raise ValueError(rest)


def _from_file(rest: str) -> FromFile:
    path, colon, key = rest.rpartition(":")
    return FromFile(path, key) if colon and path.endswith(".npz") else FromFile(rest)


KINDS: dict[str, tuple[Callable[[str], LabelNoise | FromFile | None], str]] = {
    "none": (_none, "none"),
    "symmetric": (_numbers(Symmetric), "symmetric:0.2"),
    "symmetric-including-true": (_numbers(Symmetric, include_true=True), "symmetric-including-true:0.2"),
    "class-conditional": (_numbers(ClassConditional), "class-conditional:0.1,0.3"),
    "pair": (_numbers(Pair), "pair:0.2"),
    "matrix": (lambda rest: Matrix(_read_arrays(Path(rest), "matrix")["matrix"]), "matrix:T.csv"),  # type: ignore[arg-type]
    "file": (_from_file, "file:labels.npz:y_given"),
}
"""Each kind of label noise by the name the command line uses: how to read it, and an example."""


def _check_rate(name: str, rate: float) -> None:
    if not is_number(rate) or not 0 <= rate <= 1:
        raise InputError(f"`{name}` must be a probability in [0, 1], got {rate!r}; for 20 % write 0.2")


def _read_arrays(path: Path, key: str, *more: str) -> dict[str, np.ndarray]:
    """Read numbers from .npz (`key`, and what is there of `more`), or `key` alone from .npy or text; no pickle."""
    if not path.is_file():
        raise InputError(f"no file at {path}; give the path of an existing .npy, .npz or text file")
    try:
        if path.suffix == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                held = list(archive.files)
                arrays = {name: np.asarray(archive[name], dtype=float) for name in (key, *more) if name in held}
        elif path.suffix == ".npy":
            arrays = {key: np.asarray(np.load(path, allow_pickle=False), dtype=float)}
        else:
            text = path.read_text()
            if not text.strip():
                raise ValueError("the file is empty")
            arrays = {key: np.loadtxt(text.splitlines(), delimiter="," if "," in text else None, ndmin=1)}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} could not be read as numbers ({error}); save it with numpy.save") from None
    if key not in arrays:
        raise InputError(
            f"{path} must hold an array {key!r}, got {', '.join(held)}; save it under that name, or for labels write "
            f"file:{path}:NAME"
        )
    return arrays
