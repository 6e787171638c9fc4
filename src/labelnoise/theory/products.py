"""The compiled product of a training step, H = C K: by BLAS of one run, by vectors of `LANES` runs of a group of small ones.

A block of 4 x 2 entries of H is summed in eight vector registers: six loads for eight fused multiply-adds, no shuffle.
That takes under half of the time of BLAS at 20 x 22 by 22 x 22; numba has no vectors, so the block is written in LLVM's words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from labelnoise.theory.lanes import LANES

INDEX = ir.IntType(64)
VECTOR = ir.VectorType(ir.DoubleType(), LANES)


def _block_of(rows: int, columns: int) -> Any:
    """Return the compiled function block(coefficients, kernel, products, k, p) of a block of H that begins at (k, p)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [context.make_array(t)(context, builder, a) for t, a in zip(signature.args, arguments[:3], strict=False)]
        q = cgutils.unpack_tuple(builder, arrays[1].shape, 2)[0]
        from_coefficients, from_kernel, to_products = (builder.bitcast(a.data, VECTOR.as_pointer()) for a in arrays)
        k, p = arguments[3:]
        fused = ir.FunctionType(VECTOR, [VECTOR] * 3)
        multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fmuladd.v{LANES}f64")

        def at(pointer: Any, row: Any, offset: Any, column: Any, further: int) -> Any:
            row, column = (builder.add(a, INDEX(b)) for a, b in ((row, offset), (column, further)))
            return builder.gep(pointer, [builder.add(builder.mul(row, q), column)])

        def load(place: Any) -> Any:
            vector = builder.load(place)
            vector.align = 8  # as NumPy aligns
            return vector

        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(INDEX)
        sums = [[builder.phi(VECTOR) for _ in range(columns)] for _ in range(rows)]
        left = [load(at(from_coefficients, k, row, i, 0)) for row in range(rows)]
        right = [load(at(from_kernel, i, 0, p, column)) for column in range(columns)]
        ahead = builder.add(i, INDEX(1))
        i.add_incoming(INDEX(0), before)
        i.add_incoming(ahead, loop)
        for row in range(rows):
            for column in range(columns):
                total = builder.call(multiply_add, [left[row], right[column], sums[row][column]])
                sums[row][column].add_incoming(VECTOR([0.0] * LANES), before)
                sums[row][column].add_incoming(total, loop)
                sums[row][column] = total
        builder.cbranch(builder.icmp_signed("<", ahead, q), loop, after)
        builder.position_at_end(after)
        for row in range(rows):
            for column in range(columns):
                builder.store(sums[row][column], at(to_products, k, row, p, column)).align = 8
        return context.get_dummy_value()

    @intrinsic
    def block(context: Any, coefficients: Any, kernel: Any, products: Any, k: Any, p: Any) -> Any:
        return types.void(coefficients, kernel, products, types.int64, types.int64), generate

    return block


_four_by_two, _four_by_one, _one_by_two, _one_by_one = (_block_of(*sizes) for sizes in ((4, 2), (4, 1), (1, 2), (1, 1)))


@njit(cache=True, nogil=True, error_model="numpy")
def multiply(coefficients, kernel, products):
    """H = C K of each run, H and C (2m, q L), K (q, q L)."""
    filters, q = coefficients.shape[0], kernel.shape[0]
    if kernel.shape[1] == q:
        np.dot(coefficients, kernel, products)
        return
    for k in range(0, filters - 3, 4):
        for p in range(0, q - 1, 2):
            _four_by_two(coefficients, kernel, products, k, p)
        if q % 2:
            _four_by_one(coefficients, kernel, products, k, q - 1)
    for k in range(filters - filters % 4, filters):
        for p in range(0, q - 1, 2):
            _one_by_two(coefficients, kernel, products, k, p)
        if q % 2:
            _one_by_one(coefficients, kernel, products, k, q - 1)
