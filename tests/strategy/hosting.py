"""A small exchange and host for strategies under test: the real order lane, a scripted gate, simple fills.

Requests and reports take `latency` ns each way. The exchange has one price and size a side: a market order or
a marketable IOC takes what is shown there, a resting order fills whole when the other side's price reaches it
or the market trades through it, a stop triggers on the last trade. Everything happens in time order, in
`advance`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from tidegate.execution.core import Lane
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import Message, NewOrder, OrderEvent, Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecInst, ExecType, Order, OrdType, Side, TimeInForce
from tidegate.model.time import SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.strategy import WAKE_BOOK, WAKE_QUOTE, WAKE_TRADE, Strategy
from tidegate.strategy.views import Bar, Book, Quote, Trade

START = 1_700_000_000 * SECOND

LINEAR = Instrument(
    symbol="BTCUSDT", venue="LIN", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT",
    tick=Decimal("0.1"), lot=Decimal("0.001"), taker_fee=Decimal("0.0005"), maker_fee=Decimal("0.0002"),
)  # fmt: skip
INVERSE = Instrument(
    symbol="BTCUSD", venue="INV", kind=InstrumentKind.INVERSE_PERPETUAL, base="BTC", quote="USD",
    tick=Decimal("0.1"), lot=Decimal(1), multiplier=Decimal(100), taker_fee=Decimal("0.0005"),
)  # fmt: skip
SPOT = Instrument(
    symbol="BTCUSDT", venue="SPOT", kind=InstrumentKind.SPOT, base="BTC", quote="USDT",
    tick=Decimal("0.01"), lot=Decimal("0.00001"), min_notional=Decimal(5), taker_fee=Decimal("0.001"),
)  # fmt: skip


class ScriptedGate:
    """Lets everything pass but what `deny` or `deny_cancel` names a reason for."""

    def __init__(self) -> None:
        self.deny: Callable[[Order], int] = lambda order: 0
        self.deny_cancel: Callable[[Order], int] = lambda order: 0
        self.limit = self.value = self.scope = 0

    def check(self, order: Order, *_: Any) -> int:
        return self.deny(order)

    def check_replace(self, order: Order, *_: Any) -> int:
        return self.deny(order)

    def check_cancel(self, order: Order, ts: int) -> int:
        return self.deny_cancel(order)

    def replaced(self, *_: Any) -> None: ...
    def replace_rejected(self, *_: Any) -> None: ...
    def fill(self, *_: Any) -> None: ...
    def unfill(self, *_: Any) -> None: ...
    def release(self, *_: Any) -> None: ...
    def mark(self, *_: Any) -> None: ...
    def funding(self, *_: Any) -> None: ...
    def set_state(self, *_: Any) -> None: ...
    def tick(self, *_: Any) -> None: ...
    def clock_limit(self) -> int:
        return 0

    def load(self, data: bytes) -> None: ...
    def state_bytes(self) -> bytes:
        return b""


class NoLedger:
    """Books nothing: positions are kept by the world."""

    def apply_fill(self, *_: Any) -> None: ...
    def bust(self, *_: Any) -> None: ...
    def apply_funding(self, *_: Any) -> None: ...
    def load(self, data: bytes) -> None: ...
    def state_bytes(self) -> bytes:
        return b""


@dataclass
class Touch:
    """What a market shows; `seen` is when it last changed."""

    bid: int = 0
    ask: int = 0
    bid_qty: int = 0
    ask_qty: int = 0
    last: int = 0
    seen: int = 0
    bids: list[tuple[int, int]] = field(default_factory=list)
    asks: list[tuple[int, int]] = field(default_factory=list)


class World:
    """Instruments, their exchange, one lane, and strategies on it."""

    def __init__(self, *instruments: Instrument, latency: int = 0) -> None:
        self.universe = Universe(list(instruments))
        self.now = START
        self.latency = latency
        self.gate = ScriptedGate()
        self.lane = Lane(0, self.universe, self.gate, NoLedger())
        self.touches = [Touch() for _ in instruments]
        self.resting: dict[int, SendNew] = {}
        self.leaves: dict[int, int] = {}
        self.filled: dict[int, int] = {}
        self.strategies: dict[int, Strategy] = {}
        self.hosts: dict[int, WorldHost] = {}
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.sent: list[SendNew] = []
        """Every order that reached the gateway, in order."""
        self.events: list[OrderEvent] = []
        self.requests = 0
        """Orders, replaces and cancels that reached the gateway."""
        self.halted = False
        """A halted exchange rejects new orders."""
        self._count = 0
        self._exec = 0

    # Set-up.

    def add(self, cls: type[Strategy], name: str = "s", start: bool = True, **params: Any) -> Any:
        """A strategy with its parameters converted as from a configuration file."""
        number = len(self.strategies)
        strategy = cls(name, number, 0, msgspec.convert(params, cls.Params))
        self._host(strategy)
        if start:
            strategy.on_start()
            self.settle()
        return strategy

    def _host(self, strategy: Strategy) -> None:
        strategy.host = self.hosts[strategy.number] = WorldHost(self, strategy)
        self.strategies[strategy.number] = strategy

    def restart(self, old: Strategy) -> Any:
        """The strategy as a new process would start it: state taken back, open orders and positions kept."""
        state = msgspec.json.decode(msgspec.json.encode(old.save_state()))
        new = type(old)(old.name, old.number, old.account, old.params)
        positions = self.hosts[old.number].positions
        self._host(new)
        self.hosts[old.number].positions = positions
        for cmd_id, order in old.orders.items():
            order.market = new.market_number(order.market.number)
            new.orders[cmd_id] = order
        counter = "_Strategy__commands"  # what a restart takes from the lane's view
        setattr(new, counter, getattr(old, counter))
        new.load_state(state)
        new.on_start()
        self.settle()
        return new

    # Time.

    def later(self, delay: int, action: Callable[[], None]) -> None:
        """Do `action` after `delay` ns."""
        self._count += 1
        heapq.heappush(self.agenda, (self.now + delay, self._count, action))

    def advance(self, ns: int) -> None:
        """Let time pass, and everything happen that falls due."""
        end = self.now + ns
        while self.agenda and self.agenda[0][0] <= end:
            ts, _, action = heapq.heappop(self.agenda)
            self.now = max(self.now, ts)
            action()
        self.now = end

    def settle(self) -> None:
        """Let everything happen that is due at this moment."""
        self.advance(0)

    # The market.

    def quote(self, n: int, bid: int, ask: int, bid_qty: int = 1000, ask_qty: int = 1000) -> None:
        """The best bid and ask change."""
        t = self.touches[n]
        t.bid, t.ask, t.bid_qty, t.ask_qty, t.seen = bid, ask, bid_qty, ask_qty, self.now
        t.bids, t.asks = [(bid, bid_qty)], [(ask, ask_qty)]
        self._cross(n)
        words = np.array([self.now, self.now, 0, bid, bid_qty, ask, ask_qty, n, *[0] * 8], np.int64)
        self._wake(n, WAKE_QUOTE, "on_quote", Quote, words)
        self.settle()

    def book(self, n: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """A depth message: levels, best first."""
        t = self.touches[n]
        t.bids, t.asks, t.seen = bids, asks, self.now
        (t.bid, t.bid_qty), (t.ask, t.ask_qty) = bids[0], asks[0]
        self._cross(n)
        words = np.zeros(16, np.int64)
        words[7], words[8:13] = n, (self.now, t.bid, t.bid_qty, t.ask, t.ask_qty)
        self._wake(n, WAKE_BOOK, "on_book", Book, words)
        self.settle()

    def gone(self, n: int) -> None:
        """The book becomes unusable, without a word to anybody."""
        t = self.touches[n]
        t.bid = t.ask = t.bid_qty = t.ask_qty = 0

    def trade(self, n: int, price: int, qty: int, side: Side) -> None:
        """The market trades; `side` is the aggressor's."""
        self.touches[n].last = price
        for cl, m in list(self.resting.items()):
            if m.instrument != n:
                continue
            if m.ord_type in (OrdType.STOP, OrdType.TRAILING_STOP):
                if price >= m.stop_price if m.side is Side.BUY else price <= m.stop_price:
                    del self.resting[cl]
                    self._report(cl, ExecType.TRIGGERED)
                    self._take(m)
            elif m.side is not side and (price <= m.price if m.side is Side.BUY else price >= m.price):
                left = self.leaves[cl]
                self._fill(cl, min(qty, left) if price == m.price else left, m.price, True)
        words = np.array([self.now, self.now, 0, price, qty, 1, 0, n | (int(side) << 40), *[0] * 8], np.int64)
        self._wake(n, WAKE_TRADE, "on_trade", Trade, words)
        self.settle()

    def bar(self, n: int, close: int, high: int = 0, low: int = 0, ts: int = 0) -> None:
        """A bar ends for every strategy that subscribed to bars of the market."""
        for number, host in list(self.hosts.items()):
            for interval in host.bars.get(n, ()):
                strategy = self.strategies[number]
                market, high, low = strategy.market_number(n), high or close, low or close
                strategy.on_bar(Bar(market, ts or self.now, interval, close, high, low, close, 1))
        self.settle()

    def _wake(self, n: int, wake: int, handler: str, view: Any, words: Any) -> None:
        for number, host in list(self.hosts.items()):
            if (n, wake) in host.subscribed:
                strategy = self.strategies[number]
                markets = [strategy.market_number(i) for i in range(len(self.universe))]
                getattr(strategy, handler)(view(memoryview(words), markets))

    # The exchange.

    def _cross(self, n: int) -> None:
        t = self.touches[n]
        for cl, m in list(self.resting.items()):
            if m.instrument == n and m.ord_type is OrdType.LIMIT:
                if (t.ask and m.price >= t.ask) if m.side is Side.BUY else (t.bid and m.price <= t.bid):
                    self._fill(cl, self.leaves[cl], m.price, True)

    def new(self, m: SendNew) -> None:
        """An order reaches the exchange."""
        if self.halted:
            self._report(m.cl_ord_id, ExecType.REJECTED, reason=Reason.VENUE_HALTED)
            return
        t = self.touches[m.instrument]
        other = t.ask if m.side is Side.BUY else t.bid
        meets = other and (m.price >= other if m.side is Side.BUY else m.price <= other)
        if m.exec_inst & ExecInst.POST_ONLY and meets:
            self._report(m.cl_ord_id, ExecType.REJECTED, reason=Reason.WOULD_CROSS)
            return
        self.leaves[m.cl_ord_id], self.filled[m.cl_ord_id] = m.qty, 0
        self._report(m.cl_ord_id, ExecType.NEW)
        if m.ord_type in (OrdType.STOP, OrdType.TRAILING_STOP):
            self.resting[m.cl_ord_id] = m
        elif m.ord_type is OrdType.MARKET or meets or m.time_in_force is TimeInForce.IOC:
            self._take(m, bool(meets) or m.ord_type is OrdType.MARKET)
        else:
            self.resting[m.cl_ord_id] = m

    def _take(self, m: SendNew, meets: bool = True) -> None:
        t = self.touches[m.instrument]
        price, shown = (t.ask, t.ask_qty) if m.side is Side.BUY else (t.bid, t.bid_qty)
        qty = min(self.leaves[m.cl_ord_id], shown) if price and meets else 0
        if qty:
            self._fill(m.cl_ord_id, qty, price, False)
        if self.leaves.get(m.cl_ord_id):
            self.leaves.pop(m.cl_ord_id)
            self._report(m.cl_ord_id, ExecType.EXPIRED, reason=Reason.IOC_REMAINDER)

    def _fill(self, cl: int, qty: int, price: int, maker: bool) -> None:
        self._exec += 1
        self.leaves[cl] -= qty
        self.filled[cl] += qty
        if self.leaves[cl] == 0:
            self.resting.pop(cl, None)
        self._report(cl, ExecType.TRADE, last_qty=qty, last_px=price, maker=maker, exec_id=self._exec)
        if self.leaves[cl] == 0:
            del self.leaves[cl]

    def cancel(self, cl: int) -> None:
        """A cancel reaches the exchange."""
        if cl in self.resting:
            del self.resting[cl]
            self.leaves.pop(cl)
            self._report(cl, ExecType.CANCELED)
        else:
            self._report(cl, ExecType.CANCEL_REJECTED, reason=Reason.TOO_LATE_TO_CANCEL)

    def replace(self, cl: int, qty: int, price: int) -> None:
        """A replace reaches the exchange; one that would make a post-only order trade is refused."""
        m = self.resting.get(cl)
        if m is None:
            self._report(cl, ExecType.CANCEL_REJECTED, qty=qty, price=price, reason=Reason.TOO_LATE_TO_CANCEL)
            return
        t = self.touches[m.instrument]
        if (t.ask and price >= t.ask) if m.side is Side.BUY else (t.bid and price <= t.bid):
            self._report(cl, ExecType.CANCEL_REJECTED, qty=qty, price=price, reason=Reason.WOULD_CROSS)
            return
        m.qty, m.price = qty, price
        self.leaves[cl] = qty - self.filled[cl]
        self._report(cl, ExecType.REPLACED, qty=qty, price=price)

    def _report(self, cl: int, kind: ExecType, **fields: Any) -> None:
        fields["reason"] = int(fields.get("reason", 0))
        fields["cum_qty"], fields["leaves_qty"] = self.filled.get(cl, 0), self.leaves.get(cl, 0)

        def arrive() -> None:
            self.route(self.lane.apply(Report(self.now, cl, kind, self.now, **fields)))

        self.later(self.latency, arrive)

    # The lane.

    def route(self, messages: list[Message]) -> None:
        """Hand on what the lane says: events to strategies after the running handler, requests to the venue."""
        for m in messages:
            if isinstance(m, OrderEvent):
                self.later(0, lambda m=m: self._deliver(m))
                continue
            self.requests += 1
            if isinstance(m, SendNew):
                self.sent.append(m)
                self.later(self.latency, lambda m=m: self.new(m))
            elif isinstance(m, SendCancel):
                self.later(self.latency, lambda m=m: self.cancel(m.cl_ord_id))
            elif isinstance(m, SendReplace):
                self.later(self.latency, lambda m=m: self.replace(m.cl_ord_id, m.qty, m.price))

    def _deliver(self, event: OrderEvent) -> None:
        self.events.append(event)
        if event.exec_type is ExecType.TRADE:
            order = self.lane.order(event.cl_ord_id)
            assert order is not None
            held = self.hosts[event.strategy].positions
            held[event.instrument] = held.get(event.instrument, 0) + order.side.sign * event.last_qty
        self.strategies[event.strategy].deliver(event)

    def denied(self) -> int:
        """How many orders and replaces the gate refused."""
        return sum(1 for event in self.events if 0 < event.reason < 200)


class WorldHost:
    """One strategy's host."""

    def __init__(self, world: World, strategy: Strategy) -> None:
        self.world = world
        self.strategy = strategy
        self.universe = world.universe
        self.subscribed: set[tuple[int, int]] = set()
        self.bars: dict[int, list[int]] = {}
        self.positions: dict[int, int] = {}
        self.stopped = ""

    def now(self) -> int:
        return self.world.now

    def touch(self, instrument: int) -> tuple[int, int, int]:
        t = self.world.touches[instrument]
        return t.bid, t.ask, t.seen

    def level_qty(self, instrument: int, side: int, price: int) -> int:
        return dict(self.levels(instrument, side, 100)).get(price, 0)

    def levels(self, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
        t = self.world.touches[instrument]
        return (t.bids if side == Side.BUY else t.asks)[:count]

    def last_trade(self, instrument: int) -> tuple[int, int]:
        return self.world.touches[instrument].last, 0

    def position(self, instrument: int) -> int:
        return self.positions.get(instrument, 0)

    def command(self, message: NewOrder | Message) -> None:
        self.world.route(self.world.lane.apply(message))

    def subscribe(self, instrument: int, wake: int) -> None:
        self.subscribed.add((instrument, wake))

    def subscribe_bars(self, instrument: int, interval: int) -> None:
        self.bars.setdefault(instrument, []).append(interval)

    def timer(self, interval: int, first: int, name: str) -> None:
        def fire() -> None:
            if self.world.strategies[self.strategy.number] is not self.strategy:
                return
            self.strategy.on_timer(name)
            if interval:
                self.world.later(interval, fire)

        self.world.later(first - self.world.now, fire)

    def stop(self, reason: str) -> None:
        self.stopped = reason
