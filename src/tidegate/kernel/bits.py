"""Bit operations of one machine word, as single instructions where compiled, as plain Python where not.

`ctz(word)`: index of the lowest set bit of an int64, 0 … 63. `msb(word)`: index of the highest. The word must
not be zero (the answer is undefined). `prefetch(array, index)`: ask for the cache line of `array[index]` ahead
of its use; any index is safe, for nothing is read. `scatter(word)`: 31 well-mixed bits of an int64, for hash tables
(Fibonacci hashing, Knuth, The Art of Computer Programming 6.4): arithmetic progressions spread evenly.
`at(index)`: an array index that is known not to be negative. Python's negative indexes count from the end, and
each compiled access tests for that; `a[at(i)]` does not, which is worth 30 % where nothing but accesses happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tidegate.kernel.jit import JIT

_GOLDEN = 0x9E37_79B9_7F4A_7C15  # 2⁶⁴ over the golden ratio, odd


@intrinsic
def _ctz(typing: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


@intrinsic
def _msb(typing: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.int64), code


@intrinsic
def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        )
        place = builder.bitcast(builder.gep(view.data, [args[1]]), byte)
        # For writing, into every level of cache, data rather than code.
        builder.call(function, [place, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


@intrinsic
def _scatter(typing: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        long = ir.IntType(64)
        return builder.lshr(builder.mul(args[0], ir.Constant(long, _GOLDEN)), ir.Constant(long, 33))

    return types.int64(types.int64), code


@intrinsic
def _at(typing: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return types.uint64(types.int64), code


def _ctz_plain(word: int) -> int:
    bits = int(word)
    return (bits & -bits).bit_length() - 1


def _msb_plain(word: int) -> int:
    return (int(word) & 0xFFFF_FFFF_FFFF_FFFF).bit_length() - 1


def _prefetch_plain(array: Any, index: int) -> None:
    pass


def _scatter_plain(word: int) -> int:
    return ((int(word) * _GOLDEN) & 0xFFFF_FFFF_FFFF_FFFF) >> 33


def _at_plain(index: int) -> int:
    return index


ctz: Callable[[int], int] = cast(Any, _ctz) if JIT else _ctz_plain
msb: Callable[[int], int] = cast(Any, _msb) if JIT else _msb_plain
prefetch: Callable[[Any, int], None] = cast(Any, _prefetch) if JIT else _prefetch_plain
scatter: Callable[[int], int] = cast(Any, _scatter) if JIT else _scatter_plain
at: Callable[[int], int] = cast(Any, _at) if JIT else _at_plain
