"""How a kernel calls a strategy: a Python handler through the interpreter's own call, a compiled step by address.

A Python handler that raises stops the kernel. Nothing about the strategy is compiled into the kernel, so one
compiled kernel serves all. Kernels that call back hold the interpreter's lock, as whoever called them does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from tidegate.kernel.calls import CALLS, call3, plain_call
from tidegate.kernel.engine import C_STRATEGY, G_COMPILED, G_STEP, S_AFTER, S_QUEUED
from tidegate.kernel.jit import JIT, inline

_RAISED = 2  # words of a PythonCall: function, argument, then the exception's type, value and traceback


@intrinsic
def _call_python(typing: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        words = builder.inttoptr(args[0], pointer.as_pointer())

        def word(n: int) -> Any:
            return builder.gep(words, [ir.Constant(ir.IntType(64), n)])

        def call(name: str, result: Any, *given: Any) -> Any:
            kind = ir.FunctionType(result, [value.type for value in given])
            return builder.call(get_or_insert_function(builder.module, kind, name), given)

        made = call("PyObject_CallOneArg", pointer, builder.load(word(0)), builder.load(word(1)))
        failed = builder.icmp_unsigned("==", made, ir.Constant(pointer, None))
        with builder.if_else(failed, likely=False) as (raised, returned):
            with raised:
                call("PyErr_Fetch", ir.VoidType(), *(word(_RAISED + n) for n in range(3)))
            with returned:
                call("Py_DecRef", ir.VoidType(), made)
        return builder.zext(failed, ir.IntType(64))

    return types.int64(types.int64), code


call_python: Callable[..., int] = _call_python if JIT else plain_call
_restore = ctypes.PYFUNCTYPE(None, *[ctypes.c_void_p] * 3)(("PyErr_Restore", ctypes.pythonapi))


class PythonCall:
    """A Python function of one argument that a kernel can call, and the exception it raised, if any.

    An exception cannot pass through the kernel: it is kept, the kernel stops, and the caller raises it again.
    """

    def __init__(self, function: Callable[[Any], object], argument: Any) -> None:
        self._kept = (function, argument)  # the words hold addresses, no references
        self._words = np.array([id(function), id(argument), 0, 0, 0], np.int64)
        self._error: BaseException | None = None
        self.address = self._words.ctypes.data
        if not JIT:
            CALLS[self.address] = self._plain

    def _plain(self) -> int:
        function, argument = self._kept
        try:
            function(argument)
        except BaseException as error:
            self._error = error
            return 1
        return 0

    def take_error(self) -> BaseException | None:
        """What the function raised, if it did; it is then forgotten."""
        kept = [int(word) for word in self._words[_RAISED:]]
        self._words[_RAISED:] = 0
        if kept[0]:
            try:
                _restore(*kept)
            except BaseException as error:
                self._error = error
        taken, self._error = self._error, None
        return taken


@inline
def wake(e: Any, strategy: int, column: int, kind: int, here: int) -> int:
    """Call one strategy; `column` is where its row keeps the address of a Python handler for this `kind`.

    What a Python handler has left in the shell's queue is delivered after it.
    """
    from_python = e.strat[strategy, G_COMPILED] == 0
    address = e.strat[strategy, column if from_python else G_STEP]
    if address == 0:
        return 0
    e.cur[C_STRATEGY] = strategy
    if not from_python:
        call3(address, here, strategy, kind)
        return 0
    result = call_python(address)
    if result == 0 and e.s[S_QUEUED] != 0:
        result = call_python(e.s[S_AFTER])
    return result
