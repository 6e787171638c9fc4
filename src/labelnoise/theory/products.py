"""The compiled product of a training step, H = C K: of large runs by BLAS, of others by the processor's vectors.

A vector holds the same entry of `LANES` runs (see `lanes`), or neighbours in a row of a single run. A block of 4 x 2 or
4 x 3 vectors of H is summed in registers: the latter takes seven loads for twelve fused multiply-adds, and no matrix is
laid out anew, as BLAS does at each call. AVX-512 has twice the registers, twice as wide: there 8 x 3. In both layouts
an entry is the same sum in the same order, to the bit. Numba knows no vectors, so the block is written in LLVM's words.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from labelnoise.theory.lanes import LANES, SMALL

PANEL = 3 * LANES
"""Columns of a block of a single run."""
AVX512 = bool(binding.get_host_cpu_features().get("avx512f"))
MIDDLING = SMALL if AVX512 else 224
"""Patches up to which a single run goes without BLAS: the second cache holds its kernel. BLAS knows wider vectors."""
WIDE = (128, 360) if AVX512 else (0, 0)
"""Patches from and up to which vectors of 512 bits are quicker than BLAS, which lays out nothing anew for fewer."""
WIDE_PANEL = 24
"""Columns of a block of them."""

INLINED = "2141e35fddfba207"
"""Digest of `lanes`, whose numbers are compiled in; see `kernels`."""

INDEX, NUMBER = ir.IntType(64), ir.DoubleType()


class _Matrix:
    """A matrix of q columns, each of `lanes` numbers, read and written in vectors of `width` numbers."""

    def __init__(self, builder: Any, data: Any, q: Any, lanes: int, width: int) -> None:
        self.builder, self.data, self.q, self.lanes, self.width = builder, data, q, lanes, width
        self.kind = ir.VectorType(NUMBER, width)

    def place(self, row: Any, column: Any, further: int = 0) -> Any:
        """The place of the entry (row, column), and so many vectors further."""
        at = self.builder.mul(self.builder.add(self.builder.mul(row, self.q), column), INDEX(self.lanes))
        return self.builder.gep(self.data, [self.builder.add(at, INDEX(further * self.width))])

    def vector(self, place: Any) -> Any:
        return self.builder.load(self.builder.bitcast(place, self.kind.as_pointer()), align=8)  # as NumPy aligns

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, self.builder.bitcast(place, self.kind.as_pointer()), align=8)

    def factor(self, place: Any) -> Any:
        """The entry of each lane; of a single run the same number in the whole vector."""
        if self.lanes > 1:
            return self.vector(place)
        none, short = self.kind(ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(none, self.builder.load(place), short(0))
        return self.builder.shuffle_vector(first, none, ir.VectorType(short, self.width)([0] * self.width))


def _block_of(rows: int, columns: int, width: int, lanes: int) -> Any:
    """Return block(coefficients, kernel, products, k, p): `rows` x `columns` vectors of H from (k, p) on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_arrays = zip(signature.args[:3], arguments[:3], strict=True)
        arrays = [context.make_array(kind)(context, builder, array) for kind, array in of_arrays]
        q, (k, p) = cgutils.unpack_tuple(builder, arrays[1].shape, 2)[0], arguments[3:]
        coefficients, kernel, products = (_Matrix(builder, array.data, q, lanes, width) for array in arrays)
        kind, of_rows = products.kind, [builder.add(k, INDEX(row)) for row in range(rows)]
        three = ir.FunctionType(kind, [kind] * 3)
        multiply_add = cgutils.get_or_insert_function(builder.module, three, f"llvm.fmuladd.v{width}f64")
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        i, sums = builder.phi(INDEX), [[builder.phi(kind) for _ in range(columns)] for _ in range(rows)]
        left = [coefficients.factor(coefficients.place(row, i)) for row in of_rows]
        right = [kernel.vector(kernel.place(i, p, column)) for column in range(columns)]
        ahead, totals = builder.add(i, INDEX(1)), {}
        i.add_incoming(INDEX(0), before)
        i.add_incoming(ahead, loop)
        for row in range(rows):
            for column in range(columns):
                total = builder.call(multiply_add, [left[row], right[column], sums[row][column]])
                sums[row][column].add_incoming(kind([0.0] * width), before)
                sums[row][column].add_incoming(total, loop)
                totals[row, column] = total
        builder.cbranch(builder.icmp_signed("<", ahead, q), loop, after)
        builder.position_at_end(after)
        for (row, column), total in totals.items():
            products.store(total, products.place(of_rows[row], p, column))
        return context.get_dummy_value()

    @intrinsic
    def block(context: Any, coefficients: Any, kernel: Any, products: Any, k: Any, p: Any) -> Any:
        return types.void(coefficients, kernel, products, types.int64, types.int64), generate

    return block


_lanes_4x2, _lanes_1x1 = (_block_of(*sizes, LANES, LANES) for sizes in ((4, 2), (1, 1)))
_row_4x3, _row_1x3 = (_block_of(*sizes, LANES, 1) for sizes in ((4, 3), (1, 3)))
_wide_8x3, _wide_4x3 = (_block_of(*sizes, 8, 1) for sizes in ((8, 3), (4, 3)))
_entry = _block_of(1, 1, 1, 1)


compiled = partial(njit, cache=True, nogil=True, error_model="numpy")


@compiled()
def multiply(coefficients, kernel, products):
    """H = C K of each run; H and C (2m, q L), K (q, q L).

    The last block of a row or column begins early where it would not be full: what two blocks hold is summed twice,
    to the same.
    """
    filters, q = coefficients.shape[0], kernel.shape[0]
    if kernel.shape[1] > q:
        _multiply_group(coefficients, kernel, products, filters, q)
    elif WIDE[0] <= q <= WIDE[1] and filters >= 4:
        _multiply_wide(coefficients, kernel, products, filters, q)
    elif q > MIDDLING:
        np.dot(coefficients, kernel, products)
    elif q >= PANEL:
        _multiply_run(coefficients, kernel, products, filters, q)
    else:
        for k in range(filters):
            for p in range(q):
                _entry(coefficients, kernel, products, k, p)


@compiled()
def _multiply_group(coefficients, kernel, products, filters, q):
    """The products of `LANES` runs, row after row."""
    if filters < 4 or q < 2:
        for k in range(filters):
            for p in range(q):
                _lanes_1x1(coefficients, kernel, products, k, p)
        return
    for k in range(0, filters, 4):
        for p in range(0, q, 2):
            _lanes_4x2(coefficients, kernel, products, min(k, filters - 4), min(p, q - 2))


@compiled()
def _multiply_run(coefficients, kernel, products, filters, q):
    """The product of one run, `PANEL` columns of its kernel after the other: they stay in the first cache."""
    for p in range(0, q, PANEL):
        first = min(p, q - PANEL)
        if filters < 4:
            for k in range(filters):
                _row_1x3(coefficients, kernel, products, k, first)
        else:
            for k in range(0, filters, 4):
                _row_4x3(coefficients, kernel, products, min(k, filters - 4), first)


@compiled()
def _multiply_wide(coefficients, kernel, products, filters, q):
    """The same by vectors of 512 bits, eight filters at a time; what they leave, by four."""
    whole = filters // 8 * 8
    for p in range(0, q, WIDE_PANEL):
        first = min(p, q - WIDE_PANEL)
        for k in range(0, whole, 8):
            _wide_8x3(coefficients, kernel, products, k, first)
        for k in range(whole, filters, 4):
            _wide_4x3(coefficients, kernel, products, min(k, filters - 4), first)
