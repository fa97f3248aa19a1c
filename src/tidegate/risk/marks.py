"""Marks that one bad tick cannot move: a jump values nothing before it is confirmed.

A touch within `jump` of the last good one is good at once. One beyond it waits: for a second touch near it, or until it
has stood for `stands`. A touch near the last good one that comes meanwhile shows the jump to have been a bad tick.
"""

from __future__ import annotations

from collections import Counter

from tidegate.model.time import SECOND

Touch = tuple[int, int, int]
"""(bid, ask, ts): ticks, ns."""


class Marks:
    """One filter for all instruments; `jump` in parts per million of the middle, `stands` in ns."""

    def __init__(self, jump: int = 20_000, stands: int = SECOND) -> None:
        self.jump, self.stands = jump, stands
        self.good: dict[int, Touch] = {}
        self.waiting: dict[int, Touch] = {}
        self.counts: Counter[str] = Counter()

    def offer(self, instrument: int, bid: int, ask: int, ts: int) -> Touch | None:
        """The touch, if it is good; None where it has to wait."""
        touch = bid, ask, ts
        last = self.good.get(instrument)
        if last is not None and not self._near(last, touch):
            waits = self.waiting.get(instrument)
            if waits is None or not self._near(waits, touch):
                self.waiting[instrument] = touch
                self.counts["jumps"] += 1
                return None
            self.counts["jumps_confirmed"] += 1
        elif instrument in self.waiting:
            self.counts["bad_ticks"] += 1
        self.waiting.pop(instrument, None)
        self.good[instrument] = touch
        return touch

    def confirmed(self, now: int) -> list[tuple[int, Touch]]:
        """Jumps that have stood for so long that they are good now: (instrument, touch)."""
        due = [(i, t) for i, t in self.waiting.items() if now - t[2] >= self.stands]
        for instrument, touch in due:
            del self.waiting[instrument]
            self.good[instrument] = touch
            self.counts["jumps_confirmed"] += 1
        return due

    def _near(self, a: Touch, b: Touch) -> bool:
        was, now = a[0] + a[1], b[0] + b[1]
        return abs(now - was) * 1_000_000 <= self.jump * max(abs(was), 2)
