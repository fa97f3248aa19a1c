"""From a connection's messages to one clean stream of an instrument: chain proven, clock mended, in order.

- **Order.** Receive time, then source order. A snapshot goes where it arrived; the diffs that came before it
  but follow it in sequence (Binance's buffering rule) come right after it, at its receive time, so that a
  reader who applies records as they come has the book. Diffs from before the first snapshot that it already
  holds are dropped and counted. After a gap diffs are handed on as they come, the first flagged GAP.
- **Receive time** is the recorder's, with its clock's offset taken out. Where it runs backwards it is held at
  the highest seen; that is counted.
- **Exchange time** is the transaction time `T` where the frame has one, else the event time `E`. A spot
  bookTicker and a spot snapshot have neither: their time is estimated as receive time less the stream's
  typical latency, kept between the `E` of the depth diffs whose ids enclose theirs, rising with the id, and
  flagged ESTIMATED_TIME. A stamp later than the receive time is wrong: it is set to that, flagged and
  counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.kernel.jit import inline, kernel
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    M_EVENT,
    M_FIRST,
    M_KIND,
    M_LAST,
    M_LINE,
    M_PREV,
    M_RECV,
    M_ROWS,
    M_TRADED,
    SNAPSHOT,
    TICKER,
    TRADE,
)
from tidegate.marketdata.chain import ADRIFT, BROKEN, C_GAPS, EMPTY, GAP, HELD, NEEDED, PASS, Chain
from tidegate.marketdata.clock import ClockFit, offset_at
from tidegate.marketdata.delays import BUCKETS, Delays, observe
from tidegate.model.event import FLAGS_SHIFT, META, TS_EVENT, TS_RECV, Events, Flag, Words, from_words
from tidegate.model.instrument import Instrument

HELD_ROWS = 500_000
"""Diffs kept for a snapshot that may come; the oldest are forgotten beyond this, and counted."""
STREAMS = {DEPTH: "depth", TICKER: "bookTicker", TRADE: "trade", SNAPSHOT: "snapshot"}

(A_KNOT, A_RECV, A_RAW, A_BACKWARDS, A_BACK_MOST, A_FUTURE, A_PENDING_GAP, A_ESTIMATE, A_PLACE, A_TYPICAL,
 A_SEEN) = range(11)  # fmt: skip
ASSEMBLY_WORDS = 11
_GAP, _ESTIMATED = int(Flag.GAP) << FLAGS_SHIFT, int(Flag.ESTIMATED_TIME) << FLAGS_SHIFT


@inline
def _estimate(recv: int, update: int, enclosing: Any, state: Any) -> Any:
    """When the exchange made update `update` that reached us at `recv`: see the module's text."""
    n, d = len(enclosing), state[A_PLACE]
    while d < n and enclosing[d, 0] < update:
        d += 1
    while d > 0 and enclosing[d - 1, 0] >= update:
        d -= 1
    state[A_PLACE] = d
    ts = recv - state[A_TYPICAL]
    if d < n:
        ts = min(ts, enclosing[d, 1])
    if d > 0:
        ts = max(ts, enclosing[d - 1, 1])
    ts = min(max(ts, state[A_ESTIMATE]), recv)
    state[A_ESTIMATE] = ts
    return ts


@kernel(
    "int64(int64[:,::1], uint8[::1], int64, int64, int64[:,::1], int64, int64[:,::1], int64[:,::1],"
    " int64[:,::1], int64[::1], int64[:,::1], int64[:,::1])",
    nogil=True,
)
def emit(
    messages: Any, verdicts: Any, start: int, stop: int, rows: Any, row: int, knots: Any, enclosing: Any,
    out: Any, state: Any, counts: Any, extremes: Any,
) -> int:  # fmt: skip
    """Write the events of the messages that pass, with mended times, to `out`; returns how many.

    `row` is where the first message's events start in `rows`. A replay of held diffs is the same: their
    receive times lie before A_RECV, and are lifted to it.
    """
    n = 0
    for i in range(start, stop):
        kind, verdict, count = messages[i, M_KIND], verdicts[i], messages[i, M_ROWS]
        offset, state[A_KNOT] = offset_at(knots, state[A_KNOT], messages[i, M_RECV])
        recv = messages[i, M_RECV] - offset
        if verdict != PASS and verdict != GAP and verdict != ADRIFT and verdict != NEEDED:
            row += count
            continue
        on_time = recv >= state[A_RECV] or state[A_SEEN] == 0
        if not on_time:
            recv = state[A_RECV]
        state[A_RECV] = recv
        state[A_SEEN] = 1
        flags = np.int64(0)
        ts = messages[i, M_TRADED]
        if ts == 0:
            ts = messages[i, M_EVENT]
        if ts == 0:
            ts = _estimate(recv, messages[i, M_LAST], enclosing, state)
            flags |= _ESTIMATED
        elif ts > recv:
            ts = recv
            flags |= _ESTIMATED
            state[A_FUTURE] += 1
        elif on_time:
            observe(counts, extremes, kind, recv - ts)
        if verdict == GAP:
            state[A_PENDING_GAP] = 1
        elif verdict == NEEDED:
            state[A_PENDING_GAP] = 0
        for k in range(row, row + count):
            for word in range(8):
                out[n, word] = rows[k, word]
            out[n, TS_EVENT] = ts
            out[n, TS_RECV] = recv
            out[n, META] = rows[k, META] | flags
            if state[A_PENDING_GAP] and kind == DEPTH:
                out[n, META] |= _GAP
                state[A_PENDING_GAP] = 0
            n += 1
        row += count
    return n


@kernel("int64(int64[:,::1], int64[::1])", nogil=True)
def backwards(messages: Any, state: Any) -> Any:
    """Count the messages received before the one they follow: (A_BACKWARDS, the largest step in A_BACK_MOST)."""
    for i in range(len(messages)):
        step = state[A_RAW] - messages[i, M_RECV]
        if step > 0:
            state[A_BACKWARDS] += 1
            state[A_BACK_MOST] = max(step, state[A_BACK_MOST])
        state[A_RAW] = messages[i, M_RECV]
    return state[A_BACKWARDS]


class ExchangeTimes:
    """What is known of exchange time from the frames that carry it, for those that do not.

    Feed it with headers (`add`): all of a capture before it is assembled, or those so far of a live stream.
    """

    def __init__(self) -> None:
        self._depth: list[Words] = []
        self._delays = {DEPTH: Delays(), TRADE: Delays()}
        self._enclosing: Words | None = None
        self._typical: int | None = None

    def add(self, messages: Words, clock: ClockFit) -> None:
        """Take in a batch of one instrument's headers, stamped by a recorder with this clock."""
        self._enclosing = self._typical = None
        depth = messages[(messages[:, M_KIND] == DEPTH) & (messages[:, M_EVENT] > 0)]
        self._depth.append(np.ascontiguousarray(depth[:, [M_LAST, M_EVENT]]))
        knots = clock.knots
        for kind, delays in self._delays.items():
            timed = messages[(messages[:, M_KIND] == kind) & (messages[:, M_EVENT] > 0)]
            stamp = np.where(timed[:, M_TRADED] > 0, timed[:, M_TRADED], timed[:, M_EVENT])
            offset = np.interp(timed[:, M_RECV] - knots[0, 0], knots[:, 0] - knots[0, 0], knots[:, 1])
            delays.add(timed[:, M_RECV] - stamp - np.rint(offset).astype(np.int64))

    @property
    def typical(self) -> int:
        """The median latency of trades (a bookTicker's path and pace), else of depth, else 0; ns."""
        if self._typical is None:
            counted = [d for d in (self._delays[TRADE], self._delays[DEPTH]) if d.count]
            self._typical = max(counted[0].quantile(0.5), 0) if counted else 0
        return self._typical

    def enclosing(self) -> Words:
        """(last update id, E) of the depth diffs, rising in both."""
        if self._enclosing is None:
            table = np.concatenate([np.zeros((0, 2), np.int64), *self._depth])
            self._depth = [table]
            self._enclosing = np.ascontiguousarray(np.maximum.accumulate(table, axis=0))
        return self._enclosing


@dataclass(frozen=True)
class Gap:
    """A break of the chain: the source and line of the diff that broke it, when, and what was missing."""

    source: str
    line: int
    ts_recv: int
    expected: int
    found: int


class Assembler:
    """Turns the messages of one instrument, in source order, into its stream.

    Say whose they are with `use` before the first `feed`, and again when another source follows.
    """

    def __init__(self, instrument: Instrument, futures: bool, times: ExchangeTimes) -> None:
        self.instrument = instrument
        self.chain = Chain(futures)
        self.gaps: list[Gap] = []
        self.snapshots: list[int] = []
        """Receive times of the snapshots taken: where a book can be started."""
        self.forgotten = 0
        """Diffs held for a snapshot and given up, for too many came before it."""
        self._clock = ClockFit(np.zeros((1, 2), np.int64), 0.0, 0, 0)
        self._source = ""
        self.times = times
        self._held: list[tuple[Words, Words]] = []
        self._held_rows = 0
        self._state = np.zeros(ASSEMBLY_WORDS, np.int64)
        self._counts = np.zeros((5, BUCKETS), np.int64)
        self._extremes = np.zeros((5, 3), np.int64)

    def use(self, clock: ClockFit, source: str) -> None:
        """What follows was recorded in `source`, by a recorder with this clock."""
        self._clock, self._source = clock, source
        self._state[A_KNOT] = 0

    def feed(self, messages: Words, rows: Words) -> Iterator[Events]:
        """Some messages and their events (as `binance_frames.Batch` has them) to finished events, in chunks."""
        self._state[A_TYPICAL] = self.times.typical
        enclosing = self.times.enclosing()
        backwards(messages, self._state)
        verdicts = np.zeros(len(messages), np.uint8)
        i = start = 0
        while i < len(messages):
            j = self._prove(messages, i, verdicts)
            # Live, nearly every batch ends here: what counts its rows is not worth their price.
            end = len(rows) if j == len(messages) else start + int(messages[i:j, M_ROWS].sum())
            yield self._emit(messages, verdicts, i, j, rows, start, end - start, enclosing)
            if self.chain.phase in (EMPTY, BROKEN):
                self._hold(messages[i:j], verdicts[i:j], rows[start:end])
            start = end
            if j < len(messages):
                count = int(messages[j, M_ROWS])
                yield self._emit(messages, verdicts, j, j + 1, rows, start, count, enclosing)
                yield from self._take(int(messages[j, M_LAST]), enclosing)
                start += count
            i = j + 1

    @property
    def held(self) -> int:
        """Diffs waiting for a snapshot; at the end of a stream that never had one, all of them."""
        return sum(len(messages) for messages, _ in self._held)

    @property
    def backwards(self) -> tuple[int, int]:
        """(messages received before the one they follow, the largest such step in ns)."""
        return int(self._state[A_BACKWARDS]), int(self._state[A_BACK_MOST])

    @property
    def future(self) -> int:
        """Messages stamped later than they were received."""
        return int(self._state[A_FUTURE])

    def delays(self) -> dict[str, Delays]:
        """Latency by stream, of the messages that have an exchange time."""
        found = {}
        for kind, name in STREAMS.items():
            least, most, seen = self._extremes[kind].tolist()
            if seen:
                found[name] = Delays(self._counts[kind].copy(), least, most)
        return found

    def _emit(
        self,
        messages: Words,
        verdicts: npt.NDArray[np.uint8],
        i: int,
        j: int,
        rows: Words,
        row: int,
        count: int,
        enclosing: Words,
    ) -> Events:
        out = np.empty((count, 8), np.int64)
        n = emit(
            messages, verdicts, i, j, rows, row, self._clock.knots, enclosing, out, self._state,
            self._counts, self._extremes,
        )  # fmt: skip
        return from_words(out[:n])

    def _prove(self, messages: Words, i: int, verdicts: npt.NDArray[np.uint8]) -> int:
        """Judge the messages from `i` on and note the gaps; where it stopped (`Chain.prove`)."""
        before, gaps = self.chain.last, self.chain.count(C_GAPS)
        j = self.chain.prove(messages, i, len(messages), verdicts)
        if self.chain.count(C_GAPS) != gaps:
            self._note_gaps(messages, verdicts, i, j, before)
        return j

    def _take(self, update: int, enclosing: Words) -> Iterator[Events]:
        """A snapshot has been handed on: the held diffs that follow it come next."""
        self.chain.take(update)
        self.snapshots.append(int(self._state[A_RECV]))
        held, self._held, self._held_rows = self._held, [], 0
        for messages, rows in held:
            verdicts = np.zeros(len(messages), np.uint8)
            self._prove(messages, 0, verdicts)
            yield self._emit(messages, verdicts, 0, len(messages), rows, 0, len(rows), enclosing)
            if self.chain.phase == BROKEN:
                self._hold(messages, verdicts, rows)

    def _hold(self, messages: Words, verdicts: npt.NDArray[np.uint8], rows: Words) -> None:
        keep = (verdicts == HELD) | (verdicts == GAP) | (verdicts == ADRIFT)
        self._held.append((messages[keep].copy(), rows[np.repeat(keep, messages[:, M_ROWS])].copy()))
        self._held_rows += len(self._held[-1][1])
        while self._held_rows > HELD_ROWS and len(self._held) > 1:
            oldest, dropped = self._held.pop(0)
            self.forgotten += len(oldest)
            self._held_rows -= len(dropped)

    def _note_gaps(
        self, messages: Words, verdicts: npt.NDArray[np.uint8], i: int, j: int, before: int
    ) -> None:
        for k in (i + np.flatnonzero(verdicts[i:j] == GAP)).tolist():
            earlier = np.flatnonzero((messages[i:k, M_KIND] == DEPTH) & (verdicts[i:k] == PASS))
            expected = int(messages[i + earlier[-1], M_LAST]) if len(earlier) else before
            found = int(messages[k, M_PREV if self.chain.futures else M_FIRST])
            ts = self._clock.correct(int(messages[k, M_RECV]))
            self.gaps.append(
                Gap(self._source, int(messages[k, M_LINE]), ts, expected + (not self.chain.futures), found)
            )
