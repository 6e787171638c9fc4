"""Compiled random draws of many runs: the numbers of NumPy's generators to the bit, without a call for each run.

The distributions are Numba's, which are NumPy's algorithms. They ask for the next 64 bits, and get them from a PCG64
that is an array of four words: its state and what is added at each step, high words first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numba.np.random.distributions import random_chisquare, random_standard_normal
from numba.np.random.generator_core import next_double, next_uint64

from labelnoise.arrays import stream_words

WORD, DOUBLE_WORD = ir.IntType(64), ir.IntType(128)
PCG_FACTOR = 0x2360ED051FC65DA44385DF649FCCF645
"""Multiplier of PCG64 (O'Neill 2014)."""
UNIT = 2.0**-53

compiled = partial(njit, cache=True, nogil=True, error_model="numpy")


def _step(context: Any, high: Any, low: Any, add_high: Any, add_low: Any) -> Any:
    """The state modulo 2^128 one step later: state x factor + what is added."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = [builder.zext(word, DOUBLE_WORD) for word in arguments]
        state, added = (builder.or_(builder.shl(words[at], DOUBLE_WORD(64)), words[at + 1]) for at in (0, 2))
        state = builder.add(builder.mul(state, DOUBLE_WORD(PCG_FACTOR)), added)
        halves = [builder.trunc(half, WORD) for half in (builder.lshr(state, DOUBLE_WORD(64)), state)]
        return context.make_tuple(builder, signature.return_type, halves)

    return types.UniTuple(types.uint64, 2)(high, low, add_high, add_low), generate


_stepped: Any = intrinsic(_step)


@overload(next_uint64)
def _next_word(bitgen: Any) -> Any:
    def next_word(bitgen: Any) -> Any:
        bitgen[0], bitgen[1] = _stepped(bitgen[0], bitgen[1], bitgen[2], bitgen[3])
        mixed, turn = bitgen[0] ^ bitgen[1], bitgen[0] >> np.uint64(58)
        return mixed >> turn | mixed << (np.uint64(64) - turn & np.uint64(63))

    return next_word if isinstance(bitgen, types.Array) else None


@overload(next_double)
def _next_uniform(bitgen: Any) -> Any:
    def next_uniform(bitgen: Any) -> Any:
        return (next_uint64(bitgen) >> np.uint64(11)) * UNIT

    return next_uniform if isinstance(bitgen, types.Array) else None


@compiled()
def _seed(words, state):
    """The first state: one step after the sum of the words and of what is added, which is odd."""
    one = np.uint64(1)
    state[2], state[3] = words[2] << one | words[3] >> np.uint64(63), words[3] << one | one
    low = words[1] + state[3]
    high = words[0] + state[2] + (one if low < state[3] else np.uint64(0))
    state[0], state[1] = _stepped(high, low, state[2], state[3])


@compiled()
def _fill_coins(words, out):
    state = np.empty(4, np.uint64)
    for run in range(len(out)):
        _seed(words[run], state)
        word = np.uint64(0)
        for i in range(out.shape[1]):
            word = word >> np.uint64(32) if i % 2 else next_uint64(state)
            out[run, i] = word >> np.uint64(31) & np.uint64(1)


def _filler(next_number):
    """What fills a row a run with one number after the other."""

    @compiled()
    def fill(words, out):
        state = np.empty(4, np.uint64)
        for run in range(len(out)):
            _seed(words[run], state)
            for i in range(out.shape[1]):
                out[run, i] = next_number(state)

    return fill


_fill_uniforms, _fill_normals = _filler(next_double), _filler(random_standard_normal)


@compiled()
def _fill_triangles(words, rests, axes, start, out):
    state = np.empty(4, np.uint64)
    count = out.shape[1]
    for run in range(len(out)):
        _seed(words[run], state)
        for k in range(count):
            for axis in range(axes):
                out[run, k, axis] = random_standard_normal(state)
        for k in range(count):
            for p in range(min(rests[run], start + count)):
                number = random_standard_normal(state)
                if p < start + k:
                    out[run, k, axes + p] = number
        for k in range(min(rests[run] - start, count)):
            out[run, k, axes + start + k] = np.sqrt(random_chisquare(state, float(rests[run] - start - k)))


class CompiledNumbers:
    """Compiled, of two classes; every call begins its stream anew."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds

    def classes(self, name: str, size: int, n_classes: int) -> np.ndarray:
        """As `Numbers` says."""
        return self._filled(_fill_coins, name, np.empty((len(self.seeds), size), np.int64))

    def uniforms(self, name: str, size: int) -> np.ndarray:
        """As `Numbers` says."""
        return self._filled(_fill_uniforms, name, np.empty((len(self.seeds), size)))

    def normals(self, name: str, size: int) -> np.ndarray:
        """As `Numbers` says."""
        return self._filled(_fill_normals, name, np.empty((len(self.seeds), size)))

    def fill_triangles(self, name: str, rests: np.ndarray, axes: int, start: int, out: np.ndarray) -> None:
        """As `Numbers` says."""
        _fill_triangles(stream_words(self.seeds, name), rests, axes, start, out)

    def _filled(self, fill: Callable[..., None], name: str, out: np.ndarray) -> np.ndarray:
        fill(stream_words(self.seeds, name), out)
        return out
