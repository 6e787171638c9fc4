"""Small runs side by side in the lanes of the processor's vectors: a layout in which their products need no shuffles.

An array (R, ..., x) of R runs becomes (G, ..., x L): in each group of L runs the last axis counts the runs fastest. The
last group is filled with copies of the last run. What is done to an element is the same in every lane, so a run comes
out to the bit as it would alone.
"""

from __future__ import annotations

import numpy as np

LANES = 4
"""Runs of a group: as many float64 as a vector of 256 bits holds; one of 512 gains little at these sizes."""
SMALL = 32
"""Patches up to which runs are grouped: the first cache holds the kernels of a group."""
STEPS = 16
"""Steps from which on it pays to lay out anew what they work on."""


def lanes_of(patches: int, runs: int, steps: int) -> int:
    """Return how many of these runs, of so many patches each, go side by side for so many steps.

    That is a matter of time alone: no number depends on it.
    """
    return LANES if patches <= SMALL and runs > LANES // 2 and steps >= STEPS else 1


def pack(array: np.ndarray, lanes: int) -> np.ndarray:
    """(R, ..., x) -> (G, ..., x L), a copy; with one lane the array itself."""
    if lanes == 1:
        return np.ascontiguousarray(array)
    groups = -(-len(array) // lanes)
    packed = np.empty((groups, *array.shape[1:], lanes), array.dtype)
    for lane in range(lanes):
        of_lane = array[lane::lanes]
        packed[: len(of_lane), ..., lane], packed[len(of_lane) :, ..., lane] = of_lane, array[-1]
    return packed.reshape(groups, *array.shape[1:-1], array.shape[-1] * lanes)


def unpack(packed: np.ndarray, lanes: int, runs: int) -> np.ndarray:
    """(G, ..., x L) -> (R, ..., x), what `pack` packed."""
    if lanes == 1:
        return packed
    by_group = packed.reshape(*packed.shape[:-1], packed.shape[-1] // lanes, lanes)
    array = np.empty((runs, *by_group.shape[1:-1]), packed.dtype)
    for lane in range(lanes):
        array[lane::lanes] = by_group[: len(array[lane::lanes]), ..., lane]
    return array
