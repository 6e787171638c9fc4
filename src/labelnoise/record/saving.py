"""A recorder as one .npz file: its state, how many classes there are and, where they were given, their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.errors import InputError, check_path, check_regular, described
from labelnoise.npz import load_arrays
from labelnoise.record.recorder import Recorder
from labelnoise.runs.files import write_arrays

N_CLASSES, NAMES = "n_classes", "class_names"
"""The arrays of the file beside those of the state."""
REMEDY = "give a file that Recorder.save wrote"


def write_recorder(recorder: Recorder, path: str | Path, class_names: Sequence[str] | None = None) -> None:
    """Write a recorder's ended epochs, whole or not at all; see `Recorder.save`."""
    check_path("path", path)
    if Path(path).suffix != ".npz":
        raise InputError(f"`path` must end in .npz, by which an audit knows the file, got {str(path)!r}; add it")
    arrays = {**recorder.state_dict(), N_CLASSES: np.array(recorder.n_classes)}
    if class_names is not None:
        arrays[NAMES] = _checked_names(class_names, recorder.n_classes)
    write_arrays(Path(path), arrays)


def is_saved_recorder(names: Sequence[str]) -> bool:
    """Whether a file of arrays of these names is one that `write_recorder` wrote."""
    return {N_CLASSES, "given"} <= set(names) and ("margin" in names or "sum_margin" in names)


def read_recorder(path: str | Path) -> tuple[Recorder, list[str]]:
    """Read what `write_recorder` wrote: the recorder, and the names of its classes, numbers where none were given.

    Raises:
        InputError: no such file, a damaged one, or one of something else.
    """
    check_path("path", path)
    check_regular(Path(path), REMEDY)
    names, _ = load_arrays(Path(path), ())
    if not is_saved_recorder(names):
        raise InputError(f"{path} must hold a recorder, got {', '.join(names) or 'no array'}; {REMEDY}")
    _, state = load_arrays(Path(path), names)
    n_classes, given, words = state.pop(N_CLASSES), state["given"], state.pop(NAMES, None)
    if n_classes.ndim or n_classes.dtype.kind not in "iu" or given.ndim != 1:
        raise InputError(f"{path} must hold a number of classes and a label a sample, got others; {REMEDY}")
    recorder = Recorder(given.size, int(n_classes), history="margin" in state)
    recorder.load_state_dict(state)
    if words is None:
        return recorder, [str(k) for k in range(recorder.n_classes)]
    return recorder, _checked_names(words.tolist(), recorder.n_classes).tolist()


def _checked_names(class_names: Any, n_classes: int) -> np.ndarray:
    """Names of classes as an array, or a refusal."""
    names = list(class_names) if isinstance(class_names, list | tuple) else []
    texts = [name for name in names if isinstance(name, str)]
    if len(set(texts)) != n_classes or len(names) != n_classes:
        raise InputError(
            f"`class_names` must be {n_classes} different texts, one a class in its order, got "
            f"{described(class_names)}; leave them out for numbers"
        )
    return np.array(texts, dtype=np.str_)
