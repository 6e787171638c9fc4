"""The loop: a batch is advanced from record to record, and looked at there and at its best separation."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.devices import repeatable
from labelnoise.runs.kinds import Progress
from labelnoise.theory.engines import Engine, State, Training, find_engine
from labelnoise.theory.keeping import Records
from labelnoise.theory.observables import TRACKED, tracked
from labelnoise.theory.records import Columns, Observer


@dataclass(frozen=True, eq=False)
class History:
    """What is left of the training of R runs."""

    values: Columns
    """Recorded arrays (R, k, ...)."""
    table: Columns
    """Columns (R, k)."""
    track: Columns
    """Series (R, steps + 1); NaN where nothing can be said."""
    at_best: Columns
    """Columns (R,) at the best separation, which is T1 if it separates."""
    broken: np.ndarray
    """(R,) the first step at which an output is not finite; -1 where all are."""


def train(
    observer: Observer,
    rates: np.ndarray,
    recorded: np.ndarray,
    engine: str = "auto",
    device: str | None = None,
    dtype: str = "float64",
    *,
    at_best: bool = True,
    staged: bool = True,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a batch of draws and record it.

    Args:
        observer: looks at the networks; it knows the draws and how to train.
        rates: (R,) learning rates.
        recorded: ascending steps of the records, the last one of the training.
        engine: a name of `ENGINES`, or "auto".
        device: a torch device, or None.
        dtype: "float64" or "float32".
        at_best: whether somebody reads the columns at the best separation.
        staged: whether somebody reads these or the series; if not, the series may be NaN.
        folder: where recorded arrays are kept; None for memory.
        progress: called as progress(step, steps) at each record.

    Raises:
        InputError: the engine does not cover what is asked, or the folder has no room.
    """
    chosen = find_engine(engine, observer.draws, observer.config, device, dtype)
    with ExitStack() as stack:
        exact: AbstractContextManager[Any] = repeatable() if device or engine == "dense" else nullcontext()
        stack.enter_context(exact)  # float32 is not TF32
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # a run that diverges is reported
        start = chosen.init(observer.draws, rates, observer.config, device, dtype)
        records = Records(recorded.size, folder)
        return _train(chosen, start, observer, recorded, records, at_best, staged, progress)


def _train(
    engine: Engine[State],
    start: State,
    observer: Observer,
    recorded: np.ndarray,
    records: Records,
    at_best: bool,
    staged: bool,
    progress: Progress | None,
) -> History:
    series, finite = tracked(engine.view(start))
    track, whole = [series[..., None]], [finite[:, None]]
    training = Training(start, start, np.full(finite.size, -np.inf), finite, staged)
    rows, steps = [], int(recorded[-1])
    for before, step in pairwise([0, *recorded.tolist()]):
        training, series, finite = engine.advance(training, step - before)
        track.append(series)
        whole.append(finite)
        view = engine.view(training.now)
        rows.append(_blank(observer.row(view), training.whole))
        records.add(_blank(observer.arrays(view), training.whole))
        if progress:
            progress(step, steps)
        if not training.whole.any():
            break
    finite = np.concatenate(whole, axis=-1)
    broken = np.where(finite.all(-1), -1, finite.argmin(-1))
    return History(
        values=records.whole(),
        table=_joined(rows, recorded.size),
        track=_tracked_series(np.concatenate(track, axis=-1), broken, steps),
        at_best=observer.row(engine.view(training.best)) if at_best else {},
        broken=broken,
    )


def _tracked_series(series: np.ndarray, broken: np.ndarray, steps: int) -> Columns:
    """Series (4, R, steps made) by name, each (R, steps + 1): NaN where nothing can be said."""
    whole = np.pad(series, [(0, 0), (0, 0), (0, steps + 1 - series.shape[-1])], constant_values=np.nan)
    whole[:, (broken[:, None] >= 0) & (np.arange(steps + 1) >= broken[:, None])] = np.nan
    return dict(zip(TRACKED, np.where(np.isfinite(whole), whole, np.nan), strict=True))


def _blank(row: Columns, finite: np.ndarray) -> Columns:
    """NaN for the runs that broke."""
    if finite.all():
        return row
    return {name: np.where(finite.reshape(-1, *[1] * (value.ndim - 1)), value, np.nan) for name, value in row.items()}


def _joined(rows: list[Columns], length: int) -> Columns:
    """Rows (R,) side by side: (R, length), NaN where the batch ended early."""
    columns = {}
    for name in rows[0]:
        values = np.stack([row[name] for row in rows], axis=1)
        columns[name] = np.pad(values, [(0, 0), (0, length - len(rows))], constant_values=np.nan)
    return columns
