"""The shell around Python strategies in a replay: it carries messages between strategies, the lane and the kernel.

A handler's commands go through the lane at once, and what the lane lets through is on its way to the exchange
when the handler returns. Order events are delivered after the handler that caused them, never inside it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

import numpy as np

from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.book import (
    B_ASK,
    B_BID,
    B_DEPTH,
    B_LAST_PRICE,
    B_LAST_SIZE,
    B_QUOTED,
    B_TS,
    B_USABLE,
    BOOK_WORDS,
    NO_ASK,
    NO_BID,
)
from tidegate.kernel.layout import ORDER_WORDS, PENDING_NEW
from tidegate.kernel.replay_engine import Engine
from tidegate.kernel.wake import PythonCall
from tidegate.model.event import Words
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    Message,
    NewOrder,
    OrderEvent,
    ReplaceOrder,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
)
from tidegate.model.order import ExecType
from tidegate.risk.ledger import Ledger
from tidegate.sim.recorder import FundingRows, Recorder, pay
from tidegate.strategy.strategy import Strategy
from tidegate.strategy.views import Bar, Book, Quote, Trade

_ORDER = struct.Struct(f"<{ORDER_WORDS}q")
_REQUEST = struct.Struct("<8q")
_REPORT = struct.Struct("<16q")
_EXEC = {int(kind): kind for kind in ExecType}
_FINAL = frozenset((ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED))
_NEW, _TRADE = ExecType.NEW, ExecType.TRADE


class Shell:
    """Runs Python strategies over one engine and one lane."""

    def __init__(self, engine: Engine, lane: Lane, ledger: Ledger, recorder: Recorder) -> None:
        self.engine = engine
        self.lane = lane
        self.ledger = ledger
        self.recorder = recorder
        self.strategies: dict[int, Strategy] = {}
        self.queue: deque[OrderEvent] = deque()
        self._slots: dict[int, int] = {}
        self._timers: list[str] = []
        self._bars: dict[int, int] = {}
        self.stop_reasons: dict[int, str] = {}
        self.funding: FundingRows = {}
        self._synced = 0
        engine.on_resize(self._view)
        engine.bind_after(PythonCall(self.drain, None))

    def _view(self) -> None:
        state = self.engine.state
        self.scalars = state.s.data
        self.books = state.book.data.cast("B").cast("q")
        self.shown = state.cur.data
        self.positions = state.pos.data.cast("B").cast("q")
        self._free = state.free.data
        self._orders = state.orders.data.cast("B")
        self._inbox = state.inbox.data.cast("B")
        self._report = state.cur.data.cast("B")
        self._journal = state.journal.data.cast("B").cast("q")

    # Strategies.

    def add(self, strategy: Strategy) -> None:
        """Take a strategy in: give it its host and let the kernel call its reports and timers."""
        self.strategies[strategy.number] = strategy
        strategy.host = SimulatedHost(self, strategy)
        bind = self.engine.bind
        number = strategy.number
        bind(number, k.G_REPORT, PythonCall(self._on_report, None))
        bind(number, k.G_TIMER, PythonCall(self._on_timer, strategy))
        bind(number, k.G_BAR, PythonCall(self._on_bar, strategy))
        self.engine.state.strat[number, k.G_ACCOUNT] = strategy.account

    def bind_views(self, strategy: Strategy) -> None:
        """Let the kernel call the handlers of market events, each with its view."""
        markets = [strategy.market_number(n) for n in range(len(self.engine.universe))]
        for column, handler, view in (
            (k.G_QUOTE, strategy.on_quote, Quote(self.shown, markets)),
            (k.G_TRADE, strategy.on_trade, Trade(self.shown, markets)),
            (k.G_BOOK, strategy.on_book, Book(self.shown, markets)),
        ):
            self.engine.bind(strategy.number, column, PythonCall(handler, view))

    def drain(self, _argument: None = None) -> None:
        """Deliver the order events that are due."""
        queue = self.queue
        self.scalars[k.S_QUEUED] = 0
        while queue:
            event = queue.popleft()
            strategy = self.strategies.get(event.strategy)
            if strategy is not None:
                strategy.deliver(event)

    def _on_timer(self, strategy: Strategy) -> None:
        strategy.on_timer(self._timers[self.shown[k.C_TIMER]])

    def _on_bar(self, strategy: Strategy) -> None:
        cur = self.shown
        market = strategy.market_number(cur[7] & 0xFFFFFFFF)
        interval = self._bars[cur[k.C_TIMER]]
        strategy.on_bar(Bar(market, cur[0], interval, cur[2], cur[5], cur[6], cur[3], cur[4]))

    # Messages.

    def journal(self, rows: Words) -> None:
        """Take journal rows off the kernel."""
        self._sync(len(rows))
        self._synced = 0
        self.recorder.journal(rows)

    def _sync(self, written: int) -> None:
        """Let the lane know the marks and fundings among the journal's first rows that it has not seen."""
        journal, seen = self._journal, self._synced
        rows: Iterable[int] = range(seen, written)
        if written - seen > 64:  # mostly orders of compiled strategies: the few others are found at once
            kinds = self.engine.state.journal[seen:written, 0]
            rows = (seen + np.flatnonzero((kinds == k.J_MARK) | (kinds == k.J_FUNDING))).tolist()
        for row in rows:
            at = row * k.JOURNAL_WORDS
            kind = journal[at]
            if kind == k.J_MARK:
                ts, instrument, bid, ask = journal[at + 1 : at + 5]
                self.lane.state.marks[instrument] = (bid, ask, ts)
            elif kind == k.J_FUNDING:
                ts, instrument, rate, price = journal[at + 1 : at + 5]
                pay(self.funding, self.ledger, instrument, rate, price, ts)
        self._synced = written

    def _apply(self, message: Message) -> None:
        """One message enters the lane; what follows from it goes out."""
        written = self.scalars[k.S_JOURNAL]
        if written != self._synced:
            self._sync(written)
        self.recorder.command(message, written)
        self._route(self.lane.apply(message))

    def flush_requests(self) -> None:
        """Put requests made outside the kernel (at the start) on their way, and deliver what is due."""
        self.drain()
        self.engine.send_requests()

    def command(self, message: NewOrder | CancelOrder | ReplaceOrder | CancelAll) -> None:
        """A strategy's command enters the lane."""
        self._apply(message)

    def _on_report(self, _argument: None) -> None:
        (
            time, kind, _slot, order_id, ts_venue, exec_id, last_qty, last_px, fee, maker, qty, price, cum, leaves,
            reason, _strategy,
        ) = _REPORT.unpack_from(self._report, 8 * k.C_REPORT)  # fmt: skip
        exec_type = _EXEC[kind]
        if exec_type is _TRADE:
            self.recorder.fill_touch = (qty, price)
            self.recorder.ts_venue = ts_venue
            qty = price = 0
        elif exec_type is _NEW:
            self.recorder.queue_ahead = last_qty
            last_qty = 0
        report = Report(
            time, order_id, exec_type, ts_venue, exec_id, last_qty, last_px, fee, bool(maker), qty, price, cum, leaves,
            reason=reason,
        )  # fmt: skip
        self._apply(report)
        if exec_type in _FINAL or (exec_type is _TRADE and leaves == 0):
            self._slots.pop(order_id, None)

    def _route(self, messages: list[Message]) -> None:
        for message in messages:
            kind = type(message)
            if kind is OrderEvent:
                self.recorder.event(message)  # type: ignore[arg-type]
                self.queue.append(message)  # type: ignore[arg-type]
                self.scalars[k.S_QUEUED] = 1
            elif kind is SendNew:
                self._send_new(message)  # type: ignore[arg-type]
            elif kind is SendCancel:
                self._request(k.Q_CANCEL, message.cl_ord_id, 0, 0)  # type: ignore[attr-defined]
            elif kind is SendReplace:
                self._request(k.Q_REPLACE, message.cl_ord_id, message.qty, message.price)  # type: ignore[attr-defined]
            else:
                raise RuntimeError(f"nothing in a replay answers a {kind.__name__}")

    def _send_new(self, m: SendNew) -> None:
        left = self.scalars[k.S_FREE] - 1
        if left < 0:
            raise RuntimeError("one handler sent more orders than the engine has room for")
        self.scalars[k.S_FREE] = left
        slot = self._free[left]
        self._slots[m.cl_ord_id] = slot
        strategy = self._owner(m.cl_ord_id)
        _ORDER.pack_into(
            self._orders, slot * ORDER_WORDS * 8, m.cl_ord_id, m.ts, m.account, strategy, m.instrument, m.side,
            m.ord_type, m.time_in_force, m.exec_inst, m.qty, m.price, m.stop_price, m.display_qty, m.offset,
            m.expire_ts, PENDING_NEW, m.qty, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        self._put(k.Q_NEW, slot, m.cl_ord_id, m.qty, m.price, strategy)

    def _request(self, kind: int, cl_ord_id: int, qty: int, price: int) -> None:
        slot = self._slots[cl_ord_id]
        self._put(kind, slot, cl_ord_id, qty, price, self._owner(cl_ord_id))

    def _owner(self, cl_ord_id: int) -> int:
        order = self.lane.order(cl_ord_id)
        if order is None:
            raise RuntimeError(f"the lane sends for order {cl_ord_id}, which it does not know")
        return order.strategy

    def _put(self, kind: int, slot: int, cl_ord_id: int, qty: int, price: int, strategy: int) -> None:
        at = self.scalars[k.S_INBOX]
        if at >= 4096:
            raise RuntimeError("one handler made more than 4096 requests")
        _REQUEST.pack_into(self._inbox, at * 64, 0, kind, slot, cl_ord_id, qty, price, 0, strategy)
        self.scalars[k.S_INBOX] = at + 1

    # What hosts ask.

    def touch(self, instrument: int) -> tuple[int, int, int]:
        """See `strategy.host.Host.touch`."""
        base = (2 * instrument + 1) * BOOK_WORDS
        books = self.books
        bid, ask = books[base + B_BID], books[base + B_ASK]
        if bid == NO_BID or ask == NO_ASK or not books[base + B_USABLE]:
            usable = books[base + B_USABLE]
            if usable and not books[base + B_DEPTH] and not books[base + B_QUOTED]:
                bid = ask = books[base + B_LAST_PRICE]  # only trades are known here
            bid = 0 if bid == NO_BID or not usable else bid
            ask = 0 if ask == NO_ASK or not usable else ask
        return bid, ask, books[base + B_TS]

    def add_timer(self, strategy: int, interval: int, first: int, name: str) -> None:
        """See `strategy.host.Host.timer`."""
        self._timers.append(name)
        self.engine.add_timer(first, interval, k.TIMER_STRATEGY, strategy, len(self._timers) - 1)

    def add_bars(self, strategy: int, instrument: int, interval: int, now: int) -> None:
        """See `strategy.host.Host.subscribe_bars`."""
        first = (now // interval + 1) * interval
        self._bars[self.engine.add_bars(strategy, instrument, interval, first)] = interval


class SimulatedHost:
    """One strategy's host in a replay: the port `strategy.host.Host` over the shared shell."""

    def __init__(self, shell: Shell, strategy: Strategy) -> None:
        self.universe = shell.engine.universe
        self._shell = shell
        self._number = strategy.number
        self.touch = shell.touch
        self.command = shell.command

    def now(self) -> int:
        return self._shell.scalars[k.S_NOW]

    def level_qty(self, instrument: int, side: int, price: int) -> int:
        return self._shell.engine.level(instrument, side, price)

    def levels(self, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
        return self._shell.engine.depth(instrument, side, count)

    def last_trade(self, instrument: int) -> tuple[int, int]:
        base = (2 * instrument + 1) * BOOK_WORDS
        books = self._shell.books
        return books[base + B_LAST_PRICE], books[base + B_LAST_SIZE]

    def position(self, instrument: int) -> int:
        return self._shell.positions[self._number * len(self.universe) + instrument]

    def subscribe(self, instrument: int, wake: int) -> None:
        self._shell.engine.subscribe(self._number, instrument, wake)

    def subscribe_bars(self, instrument: int, interval: int) -> None:
        self._shell.add_bars(self._number, instrument, interval, self.now())

    def timer(self, interval: int, first: int, name: str) -> None:
        self._shell.add_timer(self._number, interval, first, name)

    def stop(self, reason: str) -> None:
        self._shell.engine.unsubscribe(self._number)
        self._shell.stop_reasons[self._number] = reason
        self._shell.command(CancelAll(self.now(), account=-1, strategy=self._number))
