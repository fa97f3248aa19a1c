"""One instrument's live stream: what `assemble` does, at the least cost for a message or two.

- **Time.** The import looks at a whole capture before it estimates (`ExchangeTimes`); a live stream has only its past,
  and keeps little of it (`LiveTimes`), so that memory and the cost of a frame do not grow.
- **The usual case in one call.** While the chain is whole and stays so, one kernel proves, learns and emits. Whatever
  else comes (the first book, a gap, a snapshot) goes through `Assembler.feed`, message for message the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import kernel
from tidegate.marketdata.assemble import A_TYPICAL, Assembler, ExchangeTimes, backwards, emit
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    M_EVENT,
    M_KIND,
    M_LAST,
    M_RECV,
    M_TRADED,
    TRADE,
)
from tidegate.marketdata.chain import BROKEN, C_GAPS, C_PHASE, CHAIN_WORDS, EMPTY, prove
from tidegate.marketdata.clock import ClockFit, offset_at
from tidegate.marketdata.delays import BUCKETS, Delays, observe
from tidegate.model.event import Words, words
from tidegate.model.instrument import Instrument

KEPT = 16
"""Depth diffs remembered: a quote is at most that many late."""
_OFTEN = 1024
"""The typical latency is taken anew after so many batches (sooner at first)."""
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


@kernel(
    "int64(int64, int64[:,::1], int64[:,::1], int64[::1], int64[::1], uint8[::1], int64[:,::1], int64[:,::1],"
    " int64[:,::1], int64[:,::1], int64[:,::1], int64[::1], int64[:,::1], int64[:,::1])",
    nogil=True,
)
def advance(
    futures: int, messages: Any, rows: Any, chain: Any, before: Any, verdicts: Any, knots: Any, recent: Any,
    delays: Any, ends: Any, out: Any, state: Any, counts: Any, extremes: Any,
) -> Any:  # fmt: skip
    """Prove, learn and emit a batch that leaves the chain whole; returns how many events, or −1 for one that does
    not, with the chain as it was.
    """
    before[:] = chain
    if chain[C_PHASE] == EMPTY or chain[C_PHASE] == BROKEN:
        return -1
    n = len(messages)
    if prove(futures, messages, 0, n, chain, verdicts) < n or chain[C_GAPS] != before[C_GAPS]:
        chain[:] = before
        return -1
    backwards(messages, state)
    learn(messages, knots, recent, delays, ends)
    return emit(messages, verdicts, 0, n, rows, 0, knots, recent, out, state, counts, extremes)


class LiveTimes(ExchangeTimes):
    """`ExchangeTimes` of a stream without end."""

    def __init__(self) -> None:
        self.recent = np.zeros((KEPT, 2), np.int64)
        self.counts = np.zeros((2, BUCKETS), np.int64)
        self.extremes = np.zeros((2, 3), np.int64)
        self._batches = 0
        self._due = 1
        self._median = 0

    def add(self, messages: Words, clock: ClockFit) -> None:
        """See `ExchangeTimes.add`."""
        learn(messages, clock.knots, self.recent, self.counts, self.extremes)
        self.reckon()

    def reckon(self) -> bool:
        """Called after every batch: takes the typical latency anew where that is due; whether it did."""
        self._batches += 1
        if self._batches < self._due:
            return False
        self._due = self._batches + min(self._batches, _OFTEN)
        row = _TRADES if self.extremes[_TRADES, 2] else _DEPTHS
        least, most, seen = self.extremes[row].tolist()
        self._median = max(Delays(self.counts[row], least, most).quantile(0.5), 0) if seen else 0
        return True

    @property
    def typical(self) -> int:
        """See `ExchangeTimes.typical`."""
        return self._median

    def enclosing(self) -> Words:
        """See `ExchangeTimes.enclosing`; the last few."""
        return self.recent


class LiveAssembler(Assembler):
    """An `Assembler` of a stream that is received now, by our own clock."""

    def __init__(self, instrument: Instrument, futures: bool, clock: ClockFit, source: str) -> None:
        self._live = LiveTimes()
        super().__init__(instrument, futures, self._live)
        self.use(clock, source)
        self._futures = int(futures)
        self._before = np.zeros(CHAIN_WORDS, np.int64)
        self._verdicts = np.zeros(64, np.uint8)
        self._out = np.zeros((1024, 8), np.int64)

    def take(self, messages: Words, rows: Words) -> Words:
        """Some messages and their events to finished events, as rows that live until the next call."""
        if len(messages) > len(self._verdicts):
            self._verdicts = np.zeros(2 * len(messages), np.uint8)
        if len(rows) > len(self._out):
            self._out = np.zeros((2 * len(rows), 8), np.int64)
        live = self._live
        n = advance(
            self._futures, messages, rows, self.chain.state, self._before, self._verdicts, self._clock.knots,
            live.recent, live.counts, live.extremes, self._out, self._state, self._counts, self._extremes,
        )  # fmt: skip
        if n >= 0:
            if live.reckon():
                self._state[A_TYPICAL] = live.typical
            return self._out[:n]
        live.add(messages, self._clock)
        parts = [words(events) for events in self.feed(messages, rows) if len(events)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else self._out[:0]
