"""How much a strategy may write before its own process holds it: twice what the gate would let through.

What is within the limits never meets this; what is far beyond them does not reach the log, where everybody on the lane
would pay for its denial. New orders and replaces beyond it are refused, as the gate would refuse them; cancels wait
their turn, each order's once, and none is lost.

What the log's disk pays for is an entry, whatever is in it: so commands are written at twice the limits' pace too, and
what comes faster than that is gathered into one entry, for a few milliseconds at most. Whoever watches from outside
(`ops.connection_watch`) may then tell a flood by a few dozen entries.
"""

from __future__ import annotations

from tidegate.risk.pace import ENTRIES_AT_ONCE, Pace

FACTOR = 2
LEAST = 10
"""Messages that may always come at once."""
LEAST_ENTRIES = 100.0
"""Entries a second that may always be written."""
RUNAWAY, WITHIN = 20, 1_000_000_000
"""So many times its orders a second (and at least a thousand) refused within so many ns: it is out of control."""
_LEAST_RUNAWAY = 1000


class Runaway(Exception):
    """The strategy sends without end."""


class Bucket:
    """A token bucket: `rate` a second, `most` at once. Times in ns."""

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most, self._left, self._at = rate / 1e9, most, most, 0

    def take(self, now: int) -> bool:
        """Whether there is one now; it is taken."""
        if now > self._at:
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def due(self) -> int:
        """When there will be one, if it is now gone."""
        if self._rate <= 0:
            return 1 << 62
        return self._at + max(0, int((1.0 - self._left) / self._rate) + 1)


def entries(pace: Pace) -> Bucket:
    """Entries of the log that a strategy of these limits writes its commands in; no command waits longer than 10 ms."""
    return Bucket(max(pace.total * FACTOR, LEAST_ENTRIES), ENTRIES_AT_ONCE)


class Budget:
    """A strategy's two buckets, and how often it was refused."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.refused = 0
        """New orders and replaces refused so far."""
        self._orders = Bucket(pace.orders * FACTOR, pace.order_burst + LEAST)
        self.cancels = Bucket(pace.cancels * FACTOR, pace.cancel_burst + LEAST)
        self._most = max(_LEAST_RUNAWAY, RUNAWAY * pace.orders)
        self._window = self._in_window = 0

    def order(self, now: int) -> bool:
        """Whether a new order or a replace may be written; raises `Runaway` where it does not stop asking."""
        if self._orders.take(now):
            return True
        self.refused += 1
        if now - self._window > WITHIN:
            self._window, self._in_window = now, 0
        self._in_window += 1
        if self._in_window > self._most:
            raise Runaway(
                f"it sends without end: over {self._most:g} orders in a second beyond its limit of {self.pace.orders:g}"
            )
        return False
