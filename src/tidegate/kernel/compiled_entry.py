"""The C entry of a compiled strategy: from the address of the engine's table to a call of its step.

Its machine code is kept under a fingerprint of the step and of everything it calls, wherever that is written, so
that an edit anywhere is noticed and an unchanged strategy compiles once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from numba import cfunc, types

from tidegate.kernel.jit import JIT, cache_in, inline, source_hash
from tidegate.kernel.replay import engine_at
from tidegate.kernel.wake import CALLS

_PLAIN = (int, float, str, bytes, bool, tuple, type(None))


class PlainEntry:
    """A step called as Python, where nothing is compiled; its "address" is a key of `CALLS`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.address = id(self)

        def call(state: Any, strategy: int, kind: int) -> int:
            function(state, strategy, kind)
            return 0

        CALLS[self.address] = call


def _values(function: Any) -> Iterator[tuple[str, Any]]:
    """The globals, module attributes and closure variables a function's code names."""
    names = function.__code__.co_names
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield name, value.__name__
            yield from ((other, getattr(value, other)) for other in names if hasattr(value, other))
        else:
            yield name, value
    cells = function.__closure__ or ()
    yield from zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True)


def fingerprint(function: Callable[..., Any]) -> str:
    """Twelve hex digits over the code of a function, the constants it reads and the functions it calls."""
    digest, todo, seen = hashlib.sha256(source_hash(Path(__file__)).encode()), [function], set[int]()
    while todo:
        current: Any = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        constants = [c.co_code if isinstance(c, CodeType) else c for c in current.__code__.co_consts]
        digest.update(repr((current.__name__, current.__code__.co_code, constants)).encode())
        for name, value in _values(current):
            called = getattr(value, "py_func", value)
            if isinstance(called, FunctionType):
                todo.append(called)
            digest.update(repr((name, value if isinstance(value, _PLAIN) else type(value).__name__)).encode())
    return digest.hexdigest()[:12]


def entry(function: Callable[..., Any]) -> Any:
    """An object whose `address` the replay kernel can call for `function(e, s, kind)`."""
    if not JIT:
        return PlainEntry(function)

    def call(table: int, strategy: int, kind: int) -> int:
        step(engine_at(table), strategy, kind)
        return 0

    # What the step is becomes a global of its caller: Numba keeps no code of functions that close over others.
    names = {"step": inline(function), "engine_at": engine_at, "__name__": __name__}
    caller = FunctionType(call.__code__, names, f"{function.__name__}_entry")
    caller.__qualname__ = caller.__name__
    cache_in(f"{function.__name__}-{fingerprint(function)}")
    return cfunc(types.int64(types.int64, types.int64, types.int64), error_model="numpy", cache=True)(caller)
