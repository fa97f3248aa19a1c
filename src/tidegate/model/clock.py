"""Time, from the one place that may ask for it: services are given a clock, cores never see one."""

from __future__ import annotations

import time
from typing import Protocol

SLEW = 100
"""A step of the system's clock is made good by at most one part in so many: 10 ms a second."""


class Clock(Protocol):
    """Where a service asks for the time."""

    def now(self) -> int:
        """Nanoseconds since the Unix epoch (UTC). Never runs backwards."""


class SystemClock:
    """The machine's time, monotonic: a step of the system's clock (NTP, an operator) is followed slowly.

    Every order's time, timeout and age is judged by this clock, so a step of two seconds must not make all orders
    overdue at once, nor let time run backwards.
    """

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()
        self._last = 0

    def now(self) -> int:
        """See `Clock.now`."""
        return time.monotonic_ns() + self._offset

    def drift(self) -> int:
        """How far the system's clock is ahead of this one, ns."""
        return time.time_ns() - self.now()

    def follow(self) -> int:
        """Move towards the system's clock as far as the time since the last call allows; the drift left, ns."""
        mono = time.monotonic_ns()
        most = (mono - self._last) // SLEW if self._last else 0
        self._last = mono
        self._offset += max(-most, min(most, self.drift()))
        return self.drift()
