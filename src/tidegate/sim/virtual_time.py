"""An event loop whose time jumps: services run on it unchanged, thousands of virtual minutes in a real one.

When nothing is ready to run, time moves to the next timer at once. There is no I/O, no thread and no other clock, so
the same program does the same things in the same order at the same times, always.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events
from collections.abc import Coroutine
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
    """`asyncio.Runner(loop_factory=VirtualLoop)`, or `run` below. Time begins at 0 and is in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Jump(self)

    def time(self) -> float:
        """Virtual seconds since the loop began."""
        return self._now

    def jump(self) -> None:
        """Move to the next timer."""
        self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]

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


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on a fresh virtual loop; raises `Stuck` where it waits for what cannot come."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
