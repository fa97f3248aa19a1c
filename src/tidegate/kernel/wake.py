"""How a kernel calls a strategy: through the address of a C function.

A Python strategy's handler is a ctypes callback; a compiled one a Numba cfunc that is handed the address of the
engine's table. Either returns 0 to go on; anything else stops the kernel. Nothing about the strategy is compiled
into the kernel, so one compiled kernel serves all. Without compilation (NUMBA_DISABLE_JIT=1) an "address" is a
key of `CALLS`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sized
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tidegate.kernel.jit import JIT, inline

CALLS: dict[int, Callable[..., int]] = {}
CALLBACK = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


@intrinsic
def _call1(typing: Any, address: Any, a: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(function, [args[1]])

    return types.int64(types.int64, types.int64), code


@intrinsic
def _call3(typing: Any, address: Any, a: Any, b: Any, c: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word] * 3).as_pointer())
        return builder.call(function, list(args[1:]))

    return types.int64(types.int64, types.int64, types.int64, types.int64), code


def _plain_call1(address: int, a: int) -> int:
    return CALLS[int(address)](a)


def _plain_call3(address: int, a: int, b: int, c: int) -> int:
    return CALLS[int(address)](a, b, c)


call1: Callable[..., int] = _call1 if JIT else _plain_call1
call3: Callable[..., int] = _call3 if JIT else _plain_call3


class PythonCall:
    """A Python function a kernel can call, and the exception it raised, if any.

    The kernel's call becomes `function(argument)`; when that left something in `queue`, `after()` follows. An
    exception cannot pass through the kernel: it is kept, the kernel stops, and the caller re-raises it.
    """

    def __init__(
        self, function: Callable[[Any], object], argument: Any, queue: Sized, after: Callable[[], object]
    ) -> None:
        self.error: BaseException | None = None

        def guarded(_kind: int) -> int:
            try:
                function(argument)
                if queue:
                    after()
                return 0
            except BaseException as error:
                self.error = error
                return 1

        if JIT:
            self._callback = CALLBACK(guarded)
            self.address = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        else:
            self.address = id(self) & sys.maxsize
            CALLS[self.address] = guarded

    def close(self) -> None:
        """Forget the function; its address must not be called again."""
        CALLS.pop(self.address, None)


@inline
def wake(e: Any, strategy: int, column: int, kind: int, here: int) -> int:
    """Call one strategy; `column` is where its row keeps the address of a Python handler for this `kind`."""
    from_python = e.strat[strategy, 0] == 0
    address = e.strat[strategy, column if from_python else 9]
    if address == 0:
        return 0
    e.cur[14] = strategy
    return call1(address, kind) if from_python else call3(address, here, strategy, kind)
