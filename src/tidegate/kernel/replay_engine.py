"""The owner of one replay's state: feeds the kernel, grows its tables, drains its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tidegate.kernel import engine as k
from tidegate.kernel.bitmap import bitmap_words
from tidegate.kernel.book import B_BASE, B_BITS, B_CROSSED, B_LEVELS, B_SIZE, B_WORDS
from tidegate.kernel.gate_play import GatePlay, Played
from tidegate.kernel.gate_state import GateState
from tidegate.kernel.jit import JIT
from tidegate.kernel.latency import quantile_table
from tidegate.kernel.merge import joined
from tidegate.kernel.queue import QUEUE_MODELS
from tidegate.kernel.replay import local_depth, local_level, move_books, move_l3, replay, send_inbox
from tidegate.kernel.state import table
from tidegate.kernel.survey import number_rows
from tidegate.kernel.wake import PythonCall
from tidegate.model.event import TS_EVENT, TS_RECV, Words
from tidegate.model.instrument import Universe

FIRST_WINDOW, LARGEST_WINDOW = 1 << 16, 1 << 22
"""Ticks of a book's window at first, and at most; records beyond the largest are counted, not kept."""
_Number = TypeVar("_Number", np.int64, np.float64)
JournalSink = Callable[[Words], None]
_FIRST = np.zeros(1, np.int64)


def _nowhere(_rows: Words) -> None:
    """Where the journal of a live engine goes: its exchange side is elsewhere."""


@dataclass(frozen=True)
class VenueModel:
    """How a simulated venue behaves. Latencies are samples in ns: one is a constant, more a distribution."""

    fill: str = "no_partial"
    queue: str = "power"
    queue_exponent: float = 2.0
    entry_latency: tuple[int, ...] = (0,)
    response_latency: tuple[int, ...] = (0,)


class Engine:
    """One replay over `universe`. Prices ticks, sizes lots, times ns.

    `venues` maps a venue's name to its model. Strategies are numbered 0 … `strategies` − 1.
    """

    def __init__(
        self,
        universe: Universe,
        venues: dict[str, VenueModel],
        strategies: int,
        gate: GateState,
        seed: int = 1,
    ) -> None:
        names = list(dict.fromkeys(item.venue for item in universe.instruments))
        self.universe = universe
        self.venue_names = names
        self.state = k.allocate(len(universe), len(names), strategies)
        self._gate = gate
        self.processed = 0
        self.late = 0
        self.start_time = self.end_time = 0
        self.far_capped: set[int] = set()
        self._calls: list[PythonCall] = []
        self._refresh: list[Callable[[], None]] = []
        self._table = np.zeros((1, 4), np.int64)
        self._order = np.empty(0, np.int64)
        self._rest = np.empty((0, 8), np.int64)
        self._pending = np.empty(0, np.int64)
        self._horizon = -k.NEVER
        state = self.state
        state.s[k.S_RANDOM] = (seed * 0x9E3779B97F4A7C15 + 0x2545F491) & ((1 << 62) - 1) or 1
        for number, item in enumerate(universe.instruments):
            model = venues[item.venue]
            row = state.inst[number]
            row[k.I_VENUE] = names.index(item.venue)
            row[k.I_FILL] = k.FILL_MODELS[model.fill]
            row[k.I_QUEUE] = QUEUE_MODELS[model.queue]
            row[k.I_INVERSE] = int(item.inverse)
            numerator, denominator = item.value_ratio
            shape = float(item.lot) if model.queue in ("log", "log2") else model.queue_exponent
            state.finst[number] = (
                float(item.maker_fee),
                float(item.taker_fee),
                numerator / denominator,
                shape,
            )
        for n, name in enumerate(names):
            state.latency[n] = quantile_table(venues[name].entry_latency)
            state.latency[len(names) + n] = quantile_table(venues[name].response_latency)
        self._rebuild()

    # Set-up.

    def on_resize(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` now and whenever arrays have moved, for views into them."""
        self._refresh.append(refresh)
        refresh()

    def bind(self, strategy: int, column: int, call: PythonCall) -> None:
        """Let the kernel make `call` for a Python strategy; `column` is one of `G_*`."""
        self._calls.append(call)
        self.state.strat[strategy, column] = call.address

    def bind_after(self, call: PythonCall) -> None:
        """Let the kernel make `call` after a handler that left something to be delivered (S_QUEUED)."""
        self._calls.append(call)
        self.state.s[k.S_AFTER] = call.address

    def bind_compiled(self, strategy: int, address: int, params: tuple[float, ...]) -> None:
        """Let the kernel call a compiled strategy's step."""
        row = self.state.strat[strategy]
        row[k.G_COMPILED], row[k.G_STEP] = 1, address
        self.state.params[strategy, : len(params)] = params

    def subscribe(self, strategy: int, instrument: int, wake: int) -> None:
        """Wake a strategy by a kind of event (`WAKE_*`)."""
        self.state.subs[strategy, instrument] |= 1 << wake
        self.state.inst[instrument, k.I_SUBS] |= 1 << wake

    def unsubscribe(self, strategy: int) -> None:
        """Wake a strategy by market events and its timers no more; its reports still reach it."""
        self.state.subs[strategy] = 0
        s, timers = self.state.s, self.state.timers
        for at in range(int(s[k.S_TIMERS])):
            bar_of = timers[at, k.T_KIND] == k.TIMER_BAR and (
                self.state.bars[timers[at, k.T_OWNER], k.A_STRATEGY] == strategy
            )
            if bar_of or (timers[at, k.T_KIND] == k.TIMER_STRATEGY and timers[at, k.T_OWNER] == strategy):
                timers[at, k.T_TIME] = k.NEVER
                timers[at, k.T_INTERVAL] = 0

    def send_requests(self) -> None:
        """Put what is in the inbox on its way to the venues."""
        send_inbox(self.address)

    def level(self, instrument: int, side: int, price: int) -> int:
        """Size at a price of the local book, lots."""
        return int(local_level(self.address, instrument, side, price))

    def depth(self, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
        """Up to `count` (price, size) of one side of the local book, best first."""
        out = np.empty((count, 2), np.int64)
        found = local_depth(self.address, instrument, side, out)
        return [(int(price), int(size)) for price, size in out[:found]]

    @property
    def address(self) -> Any:
        """What kernels take for the engine's state."""
        return self._table.ctypes.data if JIT else self.state

    def add_timer(self, first: int, interval: int, kind: int, owner: int, ident: int = 0) -> None:
        """Fire at `first` and, with an interval, every so often after."""
        s = self.state.s
        at = int(s[k.S_TIMERS])
        if at == len(self.state.timers):
            raise ValueError(f"more than {at} timers in one run")
        self.state.timers[at, :5] = (first, interval, kind, owner, ident)
        s[k.S_TIMERS] = at + 1
        s[k.S_NEXT] = min(int(s[k.S_NEXT]), first)

    def add_bars(self, strategy: int, instrument: int, interval: int, first: int) -> int:
        """Build bars of `interval` ns for a strategy, the first ending at `first`; the bars' number."""
        used = int((self.state.bars[:, k.A_INTERVAL] > 0).sum())
        if used == len(self.state.bars):
            raise ValueError(f"more than {used} bar subscriptions in one run")
        row = self.state.bars[used]
        row[:] = 0
        row[k.A_INSTRUMENT], row[k.A_INTERVAL], row[k.A_STRATEGY] = instrument, interval, strategy
        self.state.inst[instrument, k.I_BARS] += 1
        self.add_timer(first, interval, k.TIMER_BAR, used)
        return used

    @property
    def now(self) -> int:
        """The local clock, ns."""
        return int(self.state.s[k.S_NOW])

    # The run.

    def run(
        self,
        chunks: Iterable[Words],
        journal: JournalSink,
        progress: Callable[[int], None],
        max_delay: int = 0,
    ) -> None:
        """Replay everything; re-raises what a strategy raised. `progress` is told rows consumed so far.

        Chunks are sorted by receive time, and no event is received before its exchange time; `max_delay` (ns)
        bounds how long after it. An event later than that, in a later chunk than the one its time was in, is seen
        at the exchange when it can be, and counted. Where chunks are cut makes no difference otherwise.
        """
        for chunk in chunks:
            if len(chunk):
                if not self.feed(chunk, journal, max_delay):
                    return
                progress(self.processed)
        if self._drive(self._rest, self._pending, self.end_time, journal):
            self.drain(journal)
        self.processed += int(self.state.s[k.S_L])
        progress(self.processed)

    def feed(self, chunk: Words, journal: JournalSink, max_delay: int) -> bool:
        """Replay one chunk more, as far as nothing can follow that belongs before it; False when a strategy stopped the
        run. See `run`."""
        self.start_time = self.start_time or int(chunk[0, TS_RECV])
        rows = joined(self._rest, np.ascontiguousarray(chunk))
        rows, order = self._ordered(rows, len(self._rest), self._pending, self._horizon)
        self.end_time = int(rows[-1, TS_RECV])
        self._horizon = self.end_time - max_delay - 1  # the next chunk may go on at the same instant
        if not self._drive(rows, order, self._horizon, journal):
            return False
        done_local, done_exchange = int(self.state.s[k.S_L]), int(self.state.s[k.S_X])
        self._rest = rows[done_local:]
        self._pending = order[done_exchange:] - done_local
        self.processed += done_local
        return True

    def _ordered(self, rows: Words, carried: int, pending: Words, horizon: int) -> tuple[Words, Words]:
        """The rows, and the numbers of those the exchange has yet to see, by exchange time.

        Exchange times of rows after the first `carried` are moved behind `horizon` where the replay has passed
        them already.
        """
        if len(self._order) < len(rows):
            self._order = np.empty(2 * len(rows), np.int64)
        order = self._order[: len(pending) + len(rows) - carried]
        unsorted, late = number_rows(rows, carried, pending, horizon, order)
        if late:
            self.late += late
            rows = rows.copy()
            event, recv = rows[carried:, TS_EVENT], rows[carried:, TS_RECV]
            event[:] = np.where(event <= horizon, np.minimum(horizon + 1, recv), event)
        if unsorted or late:
            order = order[np.argsort(rows[order, TS_EVENT], kind="stable")]
        return rows, order

    def _drive(self, rows: Words, order: Words, horizon: int, journal: JournalSink) -> bool:
        """Run the kernel over one window up to `horizon`; False when a strategy stopped the run."""
        state = self.state
        state.s[k.S_X] = state.s[k.S_L] = 0
        while True:
            status = replay(self.address, rows, order, len(rows), horizon)
            if status in (k.DONE, k.NEED_DATA):
                return True
            if status == k.STOPPED:
                self.drain(journal)
                self._raise()
                return False
            self._make_room(status, journal)

    def live(self, rows: Words, now: int) -> None:
        """Take in records as they come from a feed, and let pass what is due at `now`; orders are elsewhere.

        The exchange's side sees the records too: it is what makes room in the books. Re-raises what a strategy raised.
        """
        order = _FIRST[: len(rows)] if len(rows) < 2 else np.argsort(rows[:, TS_EVENT], kind="stable")
        self.state.s[k.S_X] = self.state.s[k.S_L] = 0
        while True:
            status = replay(self.address, rows, order, len(rows), now)
            if status in (k.DONE, k.NEED_DATA):
                break
            if status == k.STOPPED:
                self._raise()
                break
            self._make_room(status, _nowhere)
        self.processed += int(self.state.s[k.S_L])

    def _raise(self) -> None:
        for call in self._calls:
            error = call.take_error()
            if error is not None:
                raise error

    def drain(self, journal: JournalSink) -> None:
        """Hand the rows the kernel has journaled to `journal`, and begin anew."""
        count = int(self.state.s[k.S_JOURNAL])
        if count:
            journal(self.state.journal[:count].copy())
            self.state.s[k.S_JOURNAL] = 0

    # Growing.

    def _make_room(self, status: int, journal: JournalSink) -> None:
        if status == k.GROW_BOOK:
            s = self.state.s
            self._grow_book(int(s[k.S_GROW_INSTRUMENT]), int(s[k.S_GROW_PRICE]))
        elif status == k.GROW_ORDERS:
            self._grow_orders()
        elif status == k.GROW_RINGS:
            self._grow_rings()
        elif status == k.GROW_L3:
            self._grow_l3()
        elif status == k.JOURNAL_FULL:
            self.drain(journal)
        elif status == k.OVERFLOW:
            raise RuntimeError(
                f"one instant of the replay made more than the {self.state.ring.shape[1]} requests or reports it has "
                f"room for: the run is void"
            )
        else:
            raise RuntimeError(f"the replay kernel came back with status {status}")

    def _grow_book(self, instrument: int, price: int) -> None:
        """Make the window of an instrument's two books hold `price`, or cap it where that is too far."""
        state = self.state
        header = state.book[2 * instrument]
        base, size = int(header[B_BASE]), int(header[B_SIZE])
        if size == 0:
            base, size = price - FIRST_WINDOW // 2, FIRST_WINDOW
        else:
            low, high = min(base, price), max(base + size, price + 1)
            while size < high - low:
                size *= 2
            if size > LARGEST_WINDOW:
                state.inst[instrument, k.I_CAPPED] = 1
                self.far_capped.add(instrument)
                return
            spare = size - (high - low)
            base = low - (spare if price < base else 0)
        geometry = np.zeros((len(state.book), 5), np.int64)
        start = tree = 0
        for b, row in enumerate(state.book):
            mine = b // 2 == instrument
            n = size if mine else int(row[B_SIZE])
            if n:
                width = bitmap_words(n)
                geometry[b] = (base if mine else int(row[B_BASE]), n, start, tree, width)
                start, tree = start + 2 * n, tree + 2 * width
        levels, bits = np.zeros(start, np.int64), np.zeros(max(tree, 1), np.int64)
        move_books(self.address, geometry, levels, bits)
        for b in (2 * instrument, 2 * instrument + 1):
            state.book[b, [B_BASE, B_SIZE, B_LEVELS, B_BITS, B_WORDS]] = geometry[b]
        self.state = state._replace(levels=levels, bits=bits)
        self._rebuild()

    def _grow_orders(self) -> None:
        state = self.state
        old = len(state.orders)
        free = np.empty(2 * old, np.int64)
        count = int(state.s[k.S_FREE])
        free[:old] = np.arange(2 * old - 1, old - 1, -1)
        free[old : old + count] = state.free[:count]
        state.s[k.S_FREE] = old + count
        self.state = state._replace(
            orders=_doubled(state.orders), xo=_doubled(state.xo), queue=_doubled(state.queue), free=free
        )
        self._rebuild()

    def _grow_rings(self) -> None:
        state = self.state
        size = state.ring.shape[1]
        ring = np.zeros((state.ring.shape[0], 2 * size, k.RING_WORDS), np.int64)
        for r in range(state.ring.shape[0]):
            head, tail = int(state.ringh[r, k.H_HEAD]), int(state.ringh[r, k.H_TAIL])
            at = np.arange(head, tail)
            ring[r, at % (2 * size)] = state.ring[r, at % size]
        self.state = state._replace(ring=ring)
        self._rebuild()

    def _grow_l3(self) -> None:
        """Tables four times as large as what is in them."""
        live = int(((self.state.l3[:, :, k.L_STATE] & 1) != 0).sum(axis=1).max())
        size = 4096
        while size < 4 * live:
            size *= 2
        into = np.zeros((2, size, k.L3_WORDS), np.int64)
        move_l3(self.address, into)
        self.state = self.state._replace(l3=into)
        self._rebuild()

    def _rebuild(self) -> None:
        self._played = Played(GatePlay(self._gate, self.state.orders, self.state.asked))
        self.state.s[k.S_GATE], self.state.s[k.S_GATE_PLAY] = self._played.call()
        self._table = table(self.state)
        for refresh in self._refresh:
            refresh()

    @property
    def counters(self) -> dict[str, int]:
        """What happened to the data and the requests, in numbers."""
        s, books = self.state.s, self.state.book
        return {
            "events": int(s[k.S_EVENTS]),
            "crossed_levels": int(books[1::2, B_CROSSED].sum()),
            "records_beyond_book_window": int(s[k.S_FAR]),
            "requests_refused_tables_full": int(s[k.S_DROPPED_REQUESTS]),
            "orphan_reports": int(s[k.S_ORPHANS]),
            "records_past_their_delay_bound": self.late,
            "fundings_without_a_price": int(s[k.S_UNPAID]),
        }


def _doubled(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    return np.concatenate([array, np.zeros_like(array)])
