"""A recorded market as background: the replay's own kernel and fill rules, driven a step at a time.

The kernel runs in capture time with no latency: an order arrives the instant it is placed, behind everything the
records hold up to then. So an order placed at the same time fills here as it does in a backtest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tidegate.kernel import engine as k
from tidegate.kernel.book import B_ASK, B_BID, B_LAST_PRICE, BOOK_WORDS, NO_ASK, NO_BID
from tidegate.kernel.gate_state import empty_gate
from tidegate.kernel.layout import ORDER_WORDS, PENDING_NEW
from tidegate.kernel.replay_engine import Engine, VenueModel
from tidegate.kernel.wake import PythonCall
from tidegate.model.event import KIND_SHIFT, META, SEQ, TS_EVENT, TS_RECV, Kind, Status, Words, meta
from tidegate.model.instrument import Universe
from tidegate.model.order import ExecType
from tidegate.venue.sim.background import NEVER, Sink
from tidegate.venue.sim.order import Execution, Order
from tidegate.venue.sim.timeline import Timeline

_ORDER = struct.Struct(f"<{ORDER_WORDS}q")
_REQUEST = struct.Struct("<8q")
_REPORT = struct.Struct("<16q")
_EXEC = {int(kind): kind for kind in ExecType}
_FINAL = frozenset((ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED))
_MARKET = tuple(
    int(kind)
    for kind in (Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END, Kind.STATUS)
)
PIECE = 4096
LOOP_PAUSE = 1_000_000_000
"""Between the end of a capture and its next beginning, capture ns."""


class Records:
    """The records of a capture in the order the exchange saw them, one run of it or for ever.

    `make` gives the merged chunks of one run, sorted by receive time; no record is received later than `max_delay`
    ns after its exchange time. Each further run has its times and sequences raised above those of the last one.
    """

    def __init__(self, make: Callable[[], Iterable[Words]], max_delay: int, loop: bool) -> None:
        self._make, self._max_delay, self._loop = make, max_delay, loop

    def __iter__(self) -> Iterator[Words]:
        time_shift = seq_shift = 0
        while True:
            first = last = high = low = 0
            held = np.empty((0, 8), np.int64)
            for rows in _pieces(self._make()):
                first = first or int(rows[0, TS_RECV])
                low = low or int(rows[:, SEQ].min())
                last, high = int(rows[-1, TS_RECV]), max(high, int(rows[:, SEQ].max()))
                held = np.concatenate([held, rows])
                done = held[:, TS_EVENT] < last - self._max_delay
                if done.any():
                    yield _shifted(held[done], time_shift, seq_shift)
                    held = held[~done]
            if len(held):
                yield _shifted(held, time_shift, seq_shift)
            if not self._loop or not first:
                return
            time_shift += last - first + LOOP_PAUSE
            seq_shift += high - low + 1


def _pieces(chunks: Iterable[Words]) -> Iterator[Words]:
    """Chunks cut small, so that taking in the next one never holds the server up."""
    for chunk in chunks:
        rows = _usable(chunk)
        for low in range(0, len(rows), PIECE):
            yield rows[low : low + PIECE]


def _usable(chunk: Words) -> Words:
    """The rows that are the market's; fundings and bars are no part of a venue's book."""
    rows = np.ascontiguousarray(chunk).view(np.int64).reshape(-1, 8)
    keep = np.isin((rows[:, META] >> KIND_SHIFT) & 0xFF, _MARKET)
    return rows if keep.all() else rows[keep]


def _shifted(rows: Words, time_shift: int, seq_shift: int) -> Words:
    """Rows by exchange time, which is the only time there is here."""
    made = rows[np.argsort(rows[:, TS_EVENT], kind="stable")]
    made[:, TS_EVENT] += time_shift
    made[:, SEQ] += seq_shift
    made[:, TS_RECV] = made[:, TS_EVENT]
    return made


class CaptureMarket(Engine):
    """The background `Background` over a capture's records."""

    own_orders_meet = False

    def __init__(
        self, universe: Universe, model: VenueModel, records: Iterable[Words], timeline: Timeline, sink: Sink,
        seed: int = 1,
    ) -> None:  # fmt: skip
        models = {item.venue: model for item in universe.instruments}
        super().__init__(universe, models, 1, empty_gate(), seed)
        self._timeline, self._sink = timeline, sink
        self._records = iter(records)
        self._rows, self._order = np.empty((0, 8), np.int64), np.empty(0, np.int64)
        self._due = NEVER
        self._slots: dict[int, int] = {}
        self._last, self._wall = -NEVER, 0
        self.on_resize(self._view)
        self.bind(0, k.G_REPORT, PythonCall(self._on_report, None))
        self._read()

    def _view(self) -> None:
        state = self.state
        self._scalars = state.s.data
        self._orders = state.orders.data.cast("B")
        self._inbox = state.inbox.data.cast("B")
        self._report = state.cur.data.cast("B")
        self._free = state.free.data
        self._books = state.book.data.cast("B").cast("q")

    def _read(self) -> bool:
        """Put the next records behind the window; False at the end of the capture."""
        chunk = next(self._records, None)
        if chunk is not None:
            self._rows = chunk if not len(self._rows) else np.concatenate([self._rows, chunk])
            self._order = np.arange(len(self._rows))
        self._due = int(self._rows[0, TS_EVENT]) if len(self._rows) else NEVER
        return chunk is not None

    # Time.

    def advance(self, now: int) -> None:
        """See `Background.advance`."""
        self._wall = now
        self._advance(self._timeline.capture(now))

    def _advance(self, at: int) -> None:
        at = self._last = max(at, self._last)
        while self._due <= at and int(self._rows[-1, TS_EVENT]) <= at and self._read():
            pass
        if self._due <= at or self._scalars[k.S_NEXT] <= at:
            self._play(at)
        if self._scalars[k.S_NOW] < at:
            self._scalars[k.S_NOW] = at

    def _play(self, at: int) -> None:
        """Everything up to `at`."""
        if not self._drive(self._rows, self._order, at, self._no_journal):
            raise RuntimeError("the capture's kernel stopped")
        done = self._scalars[k.S_X]
        if done:
            self._rows = self._rows[done:]
            self._order = self._order[: len(self._rows)]
            if len(self._rows):
                self._due = int(self._rows[0, TS_EVENT])
            else:
                self._read()

    @staticmethod
    def _no_journal(rows: Words) -> None:
        raise RuntimeError(f"a capture's kernel wrote {len(rows)} rows of a journal nobody keeps")

    def next_due(self) -> int:
        """See `Background.next_due`: the next record, or an order's expiry."""
        return self._timeline.wall(min(self._due, self._scalars[k.S_NEXT]))

    # Orders.

    def place(self, order: Order, now: int) -> None:
        """See `Background.place`."""
        self.advance(now)
        left = self._scalars[k.S_FREE] - 1
        if left < 0:
            raise RuntimeError("the capture's kernel has no room for an order")
        self._scalars[k.S_FREE] = left
        slot = self._free[left]
        self._slots[order.id] = slot
        expire = self._timeline.capture(order.expire) if order.expire else 0
        inst = 1 if order.post_only else 0
        _ORDER.pack_into(
            self._orders, slot * ORDER_WORDS * 8, order.id, now, 0, 0, order.listing.number, order.side,
            order.ord_type, order.tif, inst, order.qty, order.price, order.stop, order.display, order.offset,
            expire, PENDING_NEW, order.qty, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        self._ask(k.Q_NEW, slot, order.id, order.qty, order.price)

    def cancel(self, order: Order, now: int) -> None:
        """See `Background.cancel`."""
        self.advance(now)
        slot = self._slots.get(order.id)
        if slot is not None:
            self._ask(k.Q_CANCEL, slot, order.id, 0, 0)

    def replace(self, order: Order, qty: int, price: int, now: int) -> None:
        """See `Background.replace`."""
        self.advance(now)
        slot = self._slots.get(order.id)
        if slot is not None:
            self._ask(k.Q_REPLACE, slot, order.id, qty, price)

    def _ask(self, kind: int, slot: int, order_id: int, qty: int, price: int) -> None:
        _REQUEST.pack_into(self._inbox, 0, 0, kind, slot, order_id, qty, price, 0, 0)
        self._scalars[k.S_INBOX] = 1
        self.send_requests()
        self._play(self._last)

    def _on_report(self, _argument: None) -> None:
        (
            _time, code, _slot, order_id, ts_venue, _exec_id, last_qty, last_px, _fee, maker, qty, price, _cum, leaves,
            reason, _strategy,
        ) = _REPORT.unpack_from(self._report, 8 * k.C_REPORT)  # fmt: skip
        kind = _EXEC[code]
        if kind in _FINAL or (kind is ExecType.TRADE and leaves == 0):
            self._slots.pop(order_id, None)
        if kind is not ExecType.TRADE:
            last_qty = last_px = 0
        ts = min(self._timeline.wall(ts_venue), self._wall)  # a capture that does not run yet knows no time
        self._sink(
            Execution(kind, order_id, ts, last_qty, last_px, maker != 0, qty, price, leaves, reason)
        )  # fmt: skip

    # The market.

    def halt(self, instrument: int, halted: bool, now: int) -> None:
        """See `Background.halt`."""
        self.advance(now)
        row = np.zeros((1, 8), np.int64)
        row[0, TS_EVENT] = row[0, TS_RECV] = self._last
        row[0, 3] = int(Status.HALTED if halted else Status.TRADING)
        row[0, META] = meta(instrument, int(Kind.STATUS))
        self._rows = np.concatenate([row, self._rows])
        self._order = np.arange(len(self._rows))
        self._play(self._last)

    def touch(self, instrument: int) -> tuple[int, int]:
        """See `Background.touch`."""
        base = 2 * instrument * BOOK_WORDS
        bid, ask = self._books[base + B_BID], self._books[base + B_ASK]
        return (0 if bid == NO_BID else bid), (0 if ask == NO_ASK else ask)

    def last(self, instrument: int) -> int:
        """See `Background.last`."""
        return int(self._books[2 * instrument * BOOK_WORDS + B_LAST_PRICE])
