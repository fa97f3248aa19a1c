"""A timer finer than the event loop's whole milliseconds: a Linux timerfd, elsewhere the loop's own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from tidegate.model.time import SECOND

_MONOTONIC, _NONBLOCK_CLOEXEC = 1, 0o4000 | 0o2000000


class _Setting(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]


class Wakeup:
    """Calls `callback` once, `delay` ns after the last `after(delay)`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.Handle | None = None
        self._descriptor = -1
        if sys.platform == "linux":
            library = ctypes.CDLL(None, use_errno=True)
            with suppress(AttributeError, NotImplementedError):
                self._set = library.timerfd_settime
                self._descriptor = library.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
                if self._descriptor >= 0:
                    loop.add_reader(self._descriptor, self._rung)
        self._setting = _Setting(0, 0, 0, 0)
        self._pointer = ctypes.byref(self._setting)

    def _rung(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)
            self._callback()

    def after(self, delay: int) -> None:
        """Call in `delay` ns, and not at any earlier appointment."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._descriptor < 0:
            self._handle = self._loop.call_later(max(0, delay) / SECOND, self._callback)
            return
        setting = self._setting
        setting.first_s, setting.first_ns = divmod(max(1, delay), SECOND)
        self._set(self._descriptor, 0, self._pointer, None)

    def close(self) -> None:
        """Never call again."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
