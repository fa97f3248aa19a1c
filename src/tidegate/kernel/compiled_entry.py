"""The C entry of a compiled strategy: from the address of the engine's table to a call of its step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cfunc, types

from tidegate.kernel.jit import JIT, inline, use_cache
from tidegate.kernel.replay import engine_at
from tidegate.kernel.wake import CALLS


class PlainEntry:
    """A step called as Python, where nothing is compiled; its "address" is a key of `CALLS`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.address = id(self)

        def call(state: Any, strategy: int, kind: int) -> int:
            function(state, strategy, kind)
            return 0

        CALLS[self.address] = call


def entry(function: Callable[..., Any]) -> Any:
    """An object whose `address` the replay kernel can call for `function(e, s, kind)`."""
    if not JIT:
        return PlainEntry(function)
    step = inline(function)
    use_cache(function)

    def call(table: int, strategy: int, kind: int) -> int:
        step(engine_at(table), strategy, kind)
        return 0

    return cfunc(types.int64(types.int64, types.int64, types.int64), error_model="numpy")(call)
