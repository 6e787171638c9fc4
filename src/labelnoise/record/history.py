"""The epochs of a record, in memory as long as they fit a budget, then in files; and views that read them."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from labelnoise.runs.files import write_whole

if TYPE_CHECKING:
    from jaxtyping import Float, Int

COLUMNS = {"margin": np.float32, "loss": np.float32, "prediction": np.int32}
"""What is kept of a sample in an epoch, and as what."""
BYTES = sum(np.dtype(dtype).itemsize for dtype in COLUMNS.values())
"""Bytes of a sample in an epoch."""


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """What one epoch recorded, each (n,); NaN and -1 for a sample that was not seen."""

    margin: Float[np.ndarray, " n"]
    """Given label's logit minus the best other one, float32; above 0 the sample is fitted to its given label."""
    loss: Float[np.ndarray, " n"]
    """Cross-entropy of the given label, float32."""
    prediction: Int[np.ndarray, " n"]
    """Predicted class, int32; it equals the given label exactly where the margin is above 0."""


class History:
    """Epochs in their order; what would exceed the budget of memory lies in a temporary folder that ends with them.

    Args:
        n: samples.
        budget: bytes of memory that epochs may take; 0 puts each into files.
    """

    def __init__(self, n: int, budget: int) -> None:
        self.n, self.budget = n, budget
        self._rows: list[EpochRecord | Path] = []
        self._folder: Path | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: with every epoch in memory, for the folder belongs to this one."""
        return {"n": self.n, "budget": self.budget, "_folder": None, "_rows": [*map(self.read, range(len(self)))]}

    @property
    def spilt(self) -> int:
        """Epochs that lie in files."""
        return sum(isinstance(row, Path) for row in self._rows)

    def append(self, record: EpochRecord) -> None:
        """Keep an epoch.

        Raises:
            InputError: there is no room for it on the disk.
        """
        held = (len(self) - self.spilt) * BYTES * self.n
        self._rows.append(record if held + BYTES * self.n <= self.budget else self._write(record))

    def append_empty(self, epochs: int) -> None:
        """Keep so many epochs in which no sample was seen."""
        for _ in range(epochs):
            fill = (np.full(self.n, -1 if dtype is np.int32 else np.nan, dtype) for dtype in COLUMNS.values())
            self.append(EpochRecord(*fill))

    def drop_last(self) -> None:
        """Forget the last epoch."""
        self._rows.pop()

    def column(self, name: str, at: int) -> np.ndarray:
        """One quantity of one epoch, (n,): not a copy; that of a file is read where it is used."""
        row = self._rows[at]
        if isinstance(row, EpochRecord):
            return getattr(row, name)
        return np.load(_file(row, name), mmap_mode="r", allow_pickle=False)

    def read(self, at: int) -> EpochRecord:
        """One epoch, in memory."""
        return EpochRecord(*(np.array(self.column(name, at)) for name in COLUMNS))

    def stack(self, name: str) -> np.ndarray:
        """One quantity of all epochs, (epochs, n)."""
        whole = np.empty((len(self), self.n), COLUMNS[name])
        for at in range(len(self)):
            whole[at] = self.column(name, at)
        return whole

    def _write(self, record: EpochRecord) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="labelnoise-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        row = self._folder / f"{len(self):06}"
        for name in COLUMNS:
            write_whole(_file(row, name), lambda file, name=name: np.save(file, getattr(record, name)))  # type: ignore[misc]
        return row


def _file(row: Path, name: str) -> Path:
    return row.with_name(f"{row.name}.{name}.npy")


class EpochSeries(NDArrayOperatorsMixin):
    """One quantity (epochs, n) of a record, read where it is indexed: `margin[-1]` copies one epoch, not all.

    It does what an array does: an integer, a slice, masks and positions give arrays, `np.asarray` the whole, and so do
    arithmetic, comparisons, NumPy's functions and an array's methods. Nothing can be written through it.
    """

    def __init__(self, history: History, name: str) -> None:
        self._history, self._name = history, name

    @property
    def shape(self) -> tuple[int, int]:
        """Number of epochs, number of samples."""
        return len(self._history), self._history.n

    @property
    def dtype(self) -> np.dtype:
        """Type of a value."""
        return np.dtype(COLUMNS[self._name])

    @property
    def ndim(self) -> int:
        """Epochs and samples: 2."""
        return 2

    def __len__(self) -> int:
        return len(self._history)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        first, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(first, bool) or len(others) > 1 or any(other is None or other is Ellipsis for other in others):
            return np.asarray(self)[key]
        if isinstance(first, int | np.integer):
            return self._row(int(first), others)
        if isinstance(first, slice):
            rows = range(len(self))[first]
            picked = [self._row(at, others) for at in rows]
            return np.stack(picked) if picked else np.empty((0, self.shape[1]), self.dtype)[(slice(None), *others)]
        return np.asarray(self)[key]

    def _row(self, at: int, others: list[Any]) -> Any:
        """A copy of an epoch, or of the samples that are named."""
        if not -len(self) <= at < len(self):
            raise IndexError(f"epoch {at} is out of range: there are {len(self)}")
        row = self._history.column(self._name, at)
        return np.array(row[tuple(others)])[()] if others else np.array(row)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("the epochs lie apart, so an array of them is a copy")
        whole = self._history.stack(self._name)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(value) if isinstance(value, EpochSeries) else value for value in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # else NumPy would take the address of an array that is gone
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"<{self._name} of {self.shape[0]} epochs, {self.shape[1]} samples>"
