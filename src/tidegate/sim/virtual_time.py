"""An event loop whose time jumps: services run on it unchanged, thousands of virtual minutes in a real one.

When nothing is ready to run, time moves to the next timer at once. There is no I/O, no thread and no other clock, so
the same program does the same things in the same order at the same times, always.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")
START = 1_700_000_000 * 10**9
"""What `VirtualClock` shows when a loop begins, ns since the epoch."""


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: what is awaited will never come."""


class _Jump:
    """Stands where a loop waits for sockets: waits for nothing, and lets time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is ready to run and no timer is set")
        if timeout > 0:
            self._loop.jump()
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """`asyncio.Runner(loop_factory=VirtualLoop)`, or `run` below. Time begins at 0 and is in seconds.

    It is kept in whole ns, and every wait above 0 takes one at least: so a program that waits until a time, and finds
    itself a rounding error before it, gets there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ns = 0
        self._clock_resolution = 1e-10
        self._selector = _Jump(self)

    def time(self) -> float:
        """Virtual seconds since the loop began."""
        return self._ns / 1e9

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio`."""
        ns = max(math.ceil(when * 1e9 - 1e-3), self._ns + (when > self.time()))
        return super().call_at(ns / 1e9, callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio`."""
        ns = self._ns + (max(1, math.ceil(delay * 1e9 - 1e-3)) if delay > 0 else 0)
        return self.call_at(ns / 1e9, callback, *args, context=context)

    def jump(self) -> None:
        """Move to the next timer."""
        when = self._scheduled[0].when()  # type: ignore[attr-defined]
        ns = max(self._ns, math.ceil(when * 1e9 - 1e-3))
        self._ns = ns if ns / 1e9 >= when else ns + 1

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """No other thread has to wake this loop."""


class VirtualClock:
    """The clock of services on a virtual loop: `START` plus the loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: int = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> int:
        """See `model.clock.Clock`."""
        return self._start + round(self._loop.time() * 1e9)

    def step(self, ns: int) -> None:
        """Set it forward by so much, as a system's clock may be; timers do not notice."""
        self._start += ns


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on a fresh virtual loop; raises `Stuck` where it waits for what cannot come."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
