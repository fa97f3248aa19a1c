"""What a live stream knows of exchange time: the last depth diffs, and the typical latency so far.

The import looks at a whole capture before it estimates (`ExchangeTimes`); a live stream has only its past, and keeps
little of it, so that memory and the cost of a frame do not grow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import kernel
from tidegate.marketdata.assemble import ExchangeTimes
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    M_EVENT,
    M_KIND,
    M_LAST,
    M_RECV,
    M_TRADED,
    TRADE,
)
from tidegate.marketdata.clock import ClockFit, offset_at
from tidegate.marketdata.delays import BUCKETS, Delays, observe
from tidegate.model.event import Words

KEPT = 16
"""Depth diffs remembered: a quote is at most that many late."""
_OFTEN = 1024
"""The typical latency is taken anew after so many frames (sooner at first)."""
_TRADES, _DEPTHS = 0, 1


@kernel("int64(int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1])", nogil=True)
def learn(messages: Any, knots: Any, recent: Any, counts: Any, extremes: Any) -> int:
    """Take in headers: depth diffs to the end of `recent`, latencies to `counts`; how many latencies."""
    known = 0
    for i in range(len(messages)):
        kind, event = messages[i, M_KIND], messages[i, M_EVENT]
        if event == 0 or (kind != DEPTH and kind != TRADE):
            continue
        offset, _ = offset_at(knots, 0, messages[i, M_RECV])
        stamp = messages[i, M_TRADED] if messages[i, M_TRADED] > 0 else event
        observe(counts, extremes, _DEPTHS if kind == DEPTH else _TRADES, messages[i, M_RECV] - offset - stamp)
        known += 1
        last = len(recent) - 1
        if kind == DEPTH and messages[i, M_LAST] > recent[last, 0]:
            for k in range(last):
                recent[k, 0], recent[k, 1] = recent[k + 1, 0], recent[k + 1, 1]
            recent[last, 0], recent[last, 1] = messages[i, M_LAST], max(event, recent[last, 1])
    return known


class LiveTimes(ExchangeTimes):
    """`ExchangeTimes` of a stream without end."""

    def __init__(self) -> None:
        self._recent = np.zeros((KEPT, 2), np.int64)
        self._counts = np.zeros((2, BUCKETS), np.int64)
        self._extremes = np.zeros((2, 3), np.int64)
        self._known = 0
        self._due = 1
        self._median = 0

    def add(self, messages: Words, clock: ClockFit) -> None:
        """See `ExchangeTimes.add`."""
        self._known += int(learn(messages, clock.knots, self._recent, self._counts, self._extremes))
        if self._known >= self._due:
            self._due = self._known + min(self._known, _OFTEN)
            row = _TRADES if self._extremes[_TRADES, 2] else _DEPTHS
            least, most, _ = self._extremes[row].tolist()
            self._median = max(Delays(self._counts[row], least, most).quantile(0.5), 0)

    @property
    def typical(self) -> int:
        """See `ExchangeTimes.typical`."""
        return self._median

    def enclosing(self) -> Words:
        """See `ExchangeTimes.enclosing`; the last few."""
        return self._recent
