"""What a breaker says when it trips, and the counting over windows of event time that breakers share."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.risk.halt import HaltEvent
from tidegate.risk.scopes import State

SOURCE = "risk"


class Trip(NamedTuple):
    """A breaker has tripped: `value` was compared with `limit`, in the unit that `reason` names. `ts` in ns."""

    ts: int
    scope: str
    state: State
    trigger: str
    reason: str
    limit: float
    value: float

    def event(self, source: str = SOURCE) -> HaltEvent:
        """As an entry of HALT."""
        return HaltEvent(
            ts=self.ts,
            scope=self.scope,
            state=self.state,
            reason=self.reason,
            trigger=self.trigger,
            source=source,
        )


class Window:
    """How many fell into the last `span` ns, to a tenth of it."""

    __slots__ = ("_at", "_counts", "_step", "total")

    def __init__(self, span: int) -> None:
        self._step = max(1, span // 10)
        self._counts = [0] * 10
        self._at = 0
        self.total = 0

    def add(self, ts: int, n: int = 1) -> int:
        """Count `n` at `ts`; how many there are now. What comes late counts as now."""
        at = ts // self._step
        if at > self._at:
            self._move(at)
        self._counts[self._at % 10] += n
        self.total += n
        return self.total

    def _move(self, at: int) -> None:
        counts = self._counts
        for n in range(max(self._at + 1, at - 9), at + 1):
            self.total -= counts[n % 10]
            counts[n % 10] = 0
        self._at = at


class Moments:
    """Mean and deviation of a stream, the older the lighter: `memory` is how many values weigh."""

    __slots__ = ("mean", "memory", "n", "variance")

    def __init__(self, memory: int) -> None:
        self.memory, self.n, self.mean, self.variance = memory, 0, 0.0, 0.0

    def add(self, x: float) -> None:
        """One more value."""
        self.n += 1
        part = 1.0 / min(self.n, self.memory)
        off = x - self.mean
        self.mean += part * off
        self.variance += part * (off * (x - self.mean) - self.variance)

    def z(self, x: float, least: float) -> float:
        """How many deviations `x` is above the mean; a deviation counts as at least `least`."""
        return float((x - self.mean) / max(self.variance**0.5, least))
