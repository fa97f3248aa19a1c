"""The C entry of a compiled strategy: what the replay kernel calls with the address of the engine's table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import cfunc, types

from tidegate.kernel.calls import CALLS
from tidegate.kernel.jit import JIT, use_cache
from tidegate.kernel.replay import ENGINE


class PlainEntry:
    """A step called as Python, where nothing is compiled; its "address" is a key of `CALLS`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.address = id(self)
        CALLS[self.address] = function


def entry(function: Callable[..., Any]) -> Any:
    """An object whose `address` the replay kernel can call for `function(e, s, kind)`; compiled once per source."""
    if not JIT:
        return PlainEntry(function)
    # What is typed into a prompt has no source to be found again by.
    cached = Path(function.__code__.co_filename).is_file() and function.__module__ in sys.modules
    if cached:
        use_cache(function)
    # A state is the address of its table, in C as in a kernel. As in `inline`, nothing is allocated.
    signature = types.void(ENGINE, types.int64, types.int64)
    options: dict[str, Any] = {"cache": cached, "error_model": "numpy", "_nrt": False}
    return cfunc(signature, **options)(function)
