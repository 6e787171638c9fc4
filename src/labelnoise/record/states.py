"""A recorder's state as arrays, for checkpoints, and read back out of what claims to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from labelnoise.arrays import on_host
from labelnoise.errors import InputError, described
from labelnoise.record.history import COLUMNS, EpochRecord, History
from labelnoise.record.sums import RUNNING, TO_STOP, TO_TWICE, Accumulator

HISTORY: dict[str, type] = {"given": np.int64, **COLUMNS}
"""The arrays of a state with every epoch, and their types."""
SUMS: dict[str, type] = {
    "given": np.int64,
    **{f"sum_{name}": np.float32 if name in ("margin", "probability") else np.int32 for name in RUNNING},
}
"""The arrays of a state without: what is summed."""
COPIES = {f"sum_{copy}": SUMS[f"sum_{name}"] for names in (TO_STOP, TO_TWICE) for name, copy in names.items()}
"""The copies of them at the stop and at twice the stop, where there are any."""


def pack_state(given: np.ndarray, sums: Accumulator, history: History | None) -> dict[str, np.ndarray]:
    """Everything as arrays."""
    arrays: dict[str, np.ndarray]
    arrays = _sums_state(sums) if history is None else {name: history.stack(name) for name in COLUMNS}
    if sums.held_out is not None:
        arrays["held_out"] = sums.held_out.copy()
    if not np.isnan(sums.loss).all():
        arrays["held_out_loss"] = sums.loss.copy()
    return {**arrays, "given": given}


def read_mask(state: Any, own: np.ndarray | None, n: int) -> np.ndarray | None:
    """The mask of held-out samples: a recorder's own, or that of the state.

    Raises:
        InputError: the state's is no mask of n samples, or another one.
    """
    if not isinstance(state, Mapping) or "held_out" not in state:
        return own
    mask = on_host(state["held_out"])
    if mask.dtype.kind != "b" or mask.shape != (n,):
        raise InputError(
            f"`held_out` of the state must be a mask ({n},), got {described(mask)}; take that of this data"
        )
    if own is not None and not np.array_equal(own, mask):
        raise InputError("`held_out` of the state must name this recorder's samples, got others; take that of this run")
    return mask.copy() if mask.any() else None


def load_state(state: Any, sums: Accumulator, history: History | None, n_classes: int) -> np.ndarray:
    """Fill fresh sums and a fresh history, where there is one, from a state; return its given labels.

    Raises:
        InputError: it does not fit.
    """
    if history is None and isinstance(state, Mapping) and any(name in state for name in SUMS if name != "given"):
        return _load_sums(sums, state, n_classes)
    arrays = _checked_history(state, len(sums.arrays["seen"]), n_classes)
    records = [*map(EpochRecord, *(arrays[name] for name in COLUMNS))]
    sums.add_all(records, _held_out_loss(state, len(records)))
    if history is not None:
        for record in records:
            history.append(record)
    return arrays["given"]


def _held_out_loss(state: Mapping[str, Any], epochs: int | None) -> np.ndarray | None:
    """The held-out losses (epochs,) of a state; None where it has none.

    Raises:
        InputError: they are no such series.
    """
    if "held_out_loss" not in state:
        return None
    loss = on_host(state["held_out_loss"])
    if loss.dtype.kind != "f" or loss.ndim != 1 or epochs not in (None, loss.size):
        rule = "a float an epoch" if epochs is None else f"a float an epoch ({epochs},)"
        raise InputError(f"`held_out_loss` of the state must hold {rule}, got {described(loss)}; take that of this run")
    return loss.astype(float)


def _checked_history(state: Any, n_samples: int, n_classes: int) -> dict[str, np.ndarray]:
    """Copies of the arrays of a state with every epoch; refused unless of so many samples and classes."""
    arrays = _arrays(state, HISTORY)
    epochs: Any = len(arrays["margin"]) if arrays["margin"].ndim == 2 else "epochs"
    shapes = {name: (n_samples,) if name == "given" else (epochs, n_samples) for name in HISTORY}
    _check(arrays, HISTORY, shapes, {"given": n_classes, "prediction": n_classes})
    return {name: arrays[name].astype(dtype) for name, dtype in HISTORY.items()}


def _sums_state(sums: Accumulator) -> dict[str, np.ndarray]:
    """The sums as arrays, as narrow as they are."""
    arrays = {f"sum_{name}": array.copy() for name, array in sums.arrays.items()}
    settled = np.array(-1 if sums.settled is None else sums.settled, np.int64)
    return {**arrays, "held_out_loss": sums.loss.copy(), "settled": settled}


def _load_sums(sums: Accumulator, state: Any, n_classes: int) -> np.ndarray:
    """Fill fresh sums from a state without history; return its given labels.

    Raises:
        InputError: it does not fit.
    """
    n = len(sums.arrays["seen"])
    copies = {name: dtype for name, dtype in COPIES.items() if isinstance(state, Mapping) and name in state}
    types = {**SUMS, **copies}
    arrays = _arrays(state, {**types, "held_out_loss": float, "settled": np.int64})
    loss, settled = _held_out_loss(state, None), arrays["settled"]
    assert loss is not None
    if settled.dtype.kind not in "iu" or settled.ndim or not -1 <= int(settled) < max(loss.size, 1):
        raise InputError(f"`settled` of the state must be an epoch or -1, got {described(settled)}; save it again")
    bounds = {name: loss.size + 1 for name, dtype in types.items() if dtype is np.int32}
    _check(arrays, types, dict.fromkeys(types, (n,)), {**bounds, "given": n_classes, "sum_rival": n_classes})
    sums.load({name.removeprefix("sum_"): arrays[name] for name in types if name != "given"}, loss, int(settled))
    return arrays["given"]


def _arrays(state: Any, names: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(state, Mapping):
        raise InputError(f"the state must be what `state_dict` returned, got {described(state)}; save that")
    absent = [name for name in names if name not in state]
    if absent:
        if "margin" in absent and "sum_margin" in state:
            raise InputError(
                "the state must hold the history as the recorder does, got one without; "
                "load it into a Recorder with history=False"
            )
        raise InputError(f"the state must hold {', '.join(names)}, got no {absent[0]}; take it from `state_dict`")
    return {name: on_host(state[name]) for name in names}


def _check(
    arrays: Mapping[str, np.ndarray],
    types: Mapping[str, type],
    shapes: Mapping[str, tuple],
    bounds: Mapping[str, int],
) -> None:
    """Refuse an array of another type or shape, or with integers outside -1..bound-1."""
    for name, dtype in types.items():
        array, real = arrays[name], np.dtype(dtype).kind == "f"
        kinds, words = ("f", "floats") if real else ("iu", "integers")
        if array.dtype.kind not in kinds:
            rule, got, remedy = f"be {words}", described(array), "take them from `state_dict`"
        elif array.shape != shapes[name]:
            rule, got = f"have shape {shapes[name]}".replace("'", ""), str(array.shape)
            remedy = "take that of this data"
        elif not real and (outside := (array < -1) | (array >= bounds[name])).any():
            rule, got = f"lie in -1..{bounds[name] - 1}", str(array[outside][0])
            remedy = "take that of a recorder of as many classes"
        else:
            continue
        raise InputError(f"`{name}` of the state must {rule}, got {got}; {remedy}")
