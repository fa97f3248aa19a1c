"""Calling machine code by its address: what was compiled elsewhere is not compiled again.

Without compilation (NUMBA_DISABLE_JIT=1) an "address" is a key of `CALLS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tidegate.kernel.jit import JIT

CALLS: dict[int, Callable[..., Any]] = {}


def _call(builder: Any, address: Any, given: list[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
    builder.call(builder.inttoptr(address, kind.as_pointer()), given)


@intrinsic
def _call1(typing: Any, address: Any, a: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, args[0], list(args[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def _call3(typing: Any, address: Any, a: Any, b: Any, c: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, args[0], list(args[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), code


def plain_call(address: int, *args: Any) -> Any:
    """What stands for a call where nothing is compiled."""
    return CALLS[int(address)](*args)


call1: Callable[[int, Any], None] = cast(Any, _call1) if JIT else plain_call
"""Call what takes one int64."""
call3: Callable[[int, Any, int, int], None] = cast(Any, _call3) if JIT else plain_call
"""Call what takes three."""
