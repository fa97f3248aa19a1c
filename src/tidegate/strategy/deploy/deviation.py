"""When behaviour has left the range that was expected: out of the soft range in k of n intervals, or beyond the hard one
once. Pure: the same figures give the same answer.

What only grows within an interval (orders, changes) or must not wait for its end (inventory, losses) is held against the
hard range as it happens, not when the interval is over.
"""

from __future__ import annotations

from collections import deque

import msgspec

from tidegate.strategy.deploy.envelope import LONGEST, Envelope, Range, value_of
from tidegate.strategy.deploy.measure import Figures

_AT_ONCE = ("orders", "changes", "inventory", "pnl")


class Deviation(msgspec.Struct, frozen=True):
    """A figure that is not as expected, with what was expected. `hard`: once was enough."""

    ts: int
    figure: str
    horizon: int
    value: float
    expected: str
    hard: bool

    def text(self, interval: int) -> str:
        """In one line, for people."""
        span = f"{self.horizon * interval / 1e9:g} s"
        how = "beyond any doubt" if self.hard else "again and again"
        return f"{self.figure} over {span} is {self.value:.6g}, expected {self.expected}: out of range {how}"


class Judge:
    """Holds figures against an envelope: out in `k` of the last `n` looks at one range is a deviation."""

    def __init__(self, envelope: Envelope, k: int = 3, n: int = 5) -> None:
        if not 1 <= k <= n:
            raise ValueError(f"{k} of {n} looks cannot be")
        self.envelope = envelope
        self._k = k
        self._windows: deque[Figures] = deque(maxlen=LONGEST)
        self._out: dict[Range, deque[bool]] = {r: deque(maxlen=n) for r in envelope.ranges}
        self._quick = [r for r in envelope.ranges if r.figure in _AT_ONCE and r.horizon <= _BRIEF]

    def ended(self, figures: Figures) -> Deviation | None:
        """An interval has ended: the first deviation, if it shows one."""
        self._windows.append(figures)
        for wanted, looks in self._out.items():
            if len(self._windows) < wanted.horizon:
                continue
            value = value_of(wanted.figure, list(self._windows)[-wanted.horizon :])
            if value is None:
                continue
            if wanted.outside(value, hard=True):
                return self._found(figures.ts, wanted, value, True)
            looks.append(wanted.outside(value))
            if sum(looks) >= self._k:
                return self._found(figures.ts, wanted, value, False)
        return None

    def running(self, ts: int, figures: Figures) -> Deviation | None:
        """The interval that runs, with those before it, against the hard ranges."""
        for wanted in self._quick:
            before = list(self._windows)[-(wanted.horizon - 1) :] if wanted.horizon > 1 else []
            value = value_of(wanted.figure, [*before, figures])
            if value is not None and wanted.outside(value, hard=True):
                return self._found(ts, wanted, value, True)
        return None

    @staticmethod
    def _found(ts: int, wanted: Range, value: float, hard: bool) -> Deviation:
        return Deviation(ts, wanted.figure, wanted.horizon, value, wanted.text(), hard)


_BRIEF = 6
"""Horizons up to this many intervals are looked at as things happen."""
