"""The replay the slow and obvious way: every happening is a tuple, and the smallest is next.

The rules are those at the top of `kernel.replay`: at one instant expiries, recorded events at the exchange,
requests by venue, reports by venue, timers in the order they were set, recorded events here.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from oracle.book import BUY, SELL, Book
from oracle.exchange import GAP, LAST, NO_ASK, NO_BID, ORDER, UNKNOWN_ORDER, Exchange, Market, Order
from oracle.replay_world import Action, World

from tidegate.kernel.engine import J_FUNDING, J_MARK, WAKE_BAR, WAKE_BOOK, WAKE_QUOTE, WAKE_TRADE
from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Kind
from tidegate.model.order import ExecType, OrdStatus, OrdType, TimeInForce

EXPIRY, RECORD, REQUEST, REPORT, TIMER, LOCAL = range(6)
WORDS = (
    "time", "exec", "slot", "id", "tsv", "exec_id", "last_qty", "last_px", "fee", "maker", "qty", "price", "cum",
    "leaves", "reason", "strategy",
)  # fmt: skip


def randoms(seed: int) -> Iterator[float]:
    """Marsaglia's xorshift64 with shifts 13, 7, 17, as numbers in [0, 1)."""
    mask = (1 << 64) - 1
    x = (seed * 0x9E3779B97F4A7C15 + 0x2545F491) & ((1 << 62) - 1) or 1
    while True:
        x ^= x << 13 & mask
        x ^= x >> 7
        x ^= x << 17 & mask
        yield (x >> 11) / (1 << 53)


def latency(samples: tuple[int, ...], draw: Iterator[float]) -> Callable[[], int]:
    """Draws from samples by their quantile function, linear between them."""
    points = sorted(samples)

    def sampled() -> int:
        place = next(draw) * (len(points) - 1)
        low = int(place)
        return points[low] + int((place - low) * (points[low + 1] - points[low]))

    return (lambda: points[0]) if len(points) == 1 else sampled


@dataclass
class Owned:
    """An order as its owner knows it."""

    order: Order
    asked_price: int
    open: bool = True
    status: OrdStatus = OrdStatus.PENDING_NEW
    qty: int = 0
    price: int = 0
    leaves: int = 0
    cum: int = 0
    value: int = 0


@dataclass
class Bar:
    """A bar in the making."""

    strategy: int
    instrument: int
    trades: list[tuple[int, int]] = field(default_factory=list)


def markets(world: World) -> list[Market]:
    """The instruments as the reference takes them."""
    names = list(dict.fromkeys(item.venue for item in world.universe.instruments))
    found = []
    for item in world.universe.instruments:
        model: VenueModel = world.venues[item.venue]
        numerator, denominator = item.value_ratio
        shape = float(item.lot) if model.queue in ("log", "log2") else model.queue_exponent
        found.append(
            Market(
                names.index(item.venue), model.fill == "partial", model.queue, shape, item.inverse,
                float(item.maker_fee), float(item.taker_fee), numerator / denominator,
            )
        )  # fmt: skip
    return found


class Replay:
    """One run of a world. After `run` everything it came to is in its attributes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.exchange = Exchange(markets(world), self.send_report)
        self.books = [Book() for _ in world.universe.instruments]
        self.now = -((1 << 63) - 1)
        self.todo: list[tuple[Any, ...]] = []
        """(time, class, place within the class, number, what)"""
        self.number = 0
        draw = randoms(world.seed)
        names = list(dict.fromkeys(item.venue for item in world.universe.instruments))
        self.entry = [latency(world.venues[name].entry_latency, draw) for name in names]
        self.response = [latency(world.venues[name].response_latency, draw) for name in names]
        self.last: dict[tuple[int, int], int] = {}
        self.orders: list[Owned] = []
        self.by_id: dict[int, Owned] = {}
        self.holder: dict[int, int] = {}
        """Instrument of the order that last held a slot."""
        self.outbox: list[tuple[Any, ...]] = []
        self.slots: list[int] = []
        self.unused = 0
        self.fired = [0] * world.strategies
        self.reports: list[tuple[int, ...]] = []
        self.seen: list[tuple[int, ...]] = []
        self.journal: list[tuple[int, ...]] = []
        self.marks: dict[int, tuple[int, int]] = {}
        self.positions: dict[tuple[int, int], int] = {}
        self.events = self.orphans = self.unpaid = 0
        self.bars = [Bar(strategy, i) for strategy, i, _, _ in world.bars]

    # The loop.

    def run(self) -> Replay:
        world = self.world
        rows = [tuple(row) for row in world.rows.tolist()]
        for at, (strategy, first, interval) in enumerate(world.timers):
            self.later(first, TIMER, at, ("timer", strategy, interval))
        for at, (_, _, interval, first) in enumerate(world.bars):
            self.later(first, TIMER, len(world.timers) + at, ("bar", at, interval))
        recorded = sorted((row[0], RECORD, 0, n) for n, row in enumerate(rows))
        received = [(row[1], LOCAL, 0, n) for n, row in enumerate(rows)]
        end = rows[-1][1]
        market = heapq.merge(recorded, received)
        record = next(market, None)
        while record is not None or self.todo:
            if self.todo and (record is None or self.todo[0] < record):
                if self.todo[0][0] > end:
                    break
                ts, kind, place, _, what = heapq.heappop(self.todo)
                self.happen(ts, kind, place, what)
                continue
            assert record is not None
            ts, kind, _, n = record
            row = rows[n]
            i, what = row[7] & 0xFFFFFFFF, row[7] >> 32
            if kind == RECORD:
                self.exchange.record(row, i, what & 0xFF, what >> 8 & 0xFF, what >> 16)
            else:
                self.now = max(self.now, ts)
                self.receive(row, i, what & 0xFF, what >> 8 & 0xFF, what >> 16)
            record = next(market, None)
        return self

    def later(self, ts: int, kind: int, place: int, what: Any) -> None:
        self.number += 1
        heapq.heappush(self.todo, (ts, kind, place, self.number, what))

    def happen(self, ts: int, kind: int, place: int, what: Any) -> None:
        if kind == EXPIRY:
            self.exchange.expire(ts)
        elif kind == REQUEST:
            self.request_arrives(place, ts, *what)
        elif kind == REPORT:
            self.now = ts
            self.report_arrives(what)
        else:
            self.now = ts
            name, who, interval = what
            if interval:
                self.later(ts + interval, TIMER, place, what)
            if name == "bar":
                self.end_bar(self.bars[who], who)
            elif who < 0:
                self.sample()
            else:
                for action in self.world.script.get((who, self.fired[who]), ()):
                    self.act(who, action)
                self.fired[who] += 1
                self.send_requests()

    # What strategies ask.

    def act(self, strategy: int, action: Action) -> None:
        if action[0] == "new":
            _, i, side, kind, tif, inst, qty, price, stop, display, offset, expire = action
            slot = self.slots.pop() if self.slots else self.unused
            self.unused += slot == self.unused
            order = Order(
                len(self.orders) + 1, slot, strategy, i, side, OrdType(kind), TimeInForce(tif), inst, qty, price,
                stop, display, offset, expire,
            )  # fmt: skip
            owned = Owned(order, price, qty=qty, price=price, leaves=qty)
            self.orders.append(owned)
            self.by_id[order.id] = owned
            self.holder[slot] = i
            self.ask(owned, "new", qty, price, strategy)
            return
        age = action[1]
        if age >= len(self.orders):
            return
        owned = self.orders[-1 - age]
        if action[0] == "cancel":
            self.ask(owned, "cancel", 0, 0, strategy)
        else:
            self.ask(owned, "replace", action[2], owned.asked_price + action[3], strategy)

    def in_order(self, ring: tuple[int, int], ts: int) -> int:
        """Nothing overtakes on its way to or from one venue."""
        self.last[ring] = max(ts, self.last.get(ring, -(1 << 62)))
        return self.last[ring]

    def ask(self, owned: Owned, *request: Any) -> None:
        self.outbox.append((owned, *request))

    def send_requests(self) -> None:
        """What a handler asked for leaves when it returns, to the venue of whoever holds the order's slot then."""
        for request in self.outbox:
            venue = self.exchange.markets[self.holder[request[0].order.slot]].venue
            arrives = self.in_order((REQUEST, venue), self.now + self.entry[venue]())
            self.later(arrives, REQUEST, venue, request)
        self.outbox.clear()

    def request_arrives(
        self, venue: int, ts: int, owned: Owned, kind: str, qty: int, price: int, strategy: int
    ) -> None:
        order = owned.order
        if not owned.open:
            refusal = {"exec": int(ExecType.CANCEL_REJECTED), "slot": -1, "id": order.id, "tsv": ts}
            refusal |= {"qty": qty, "price": price, "reason": UNKNOWN_ORDER, "strategy": strategy}
            self.send_report(venue, ts, refusal)
        elif kind == "new":
            self.exchange.arrive(order, ts)
            if order.expires is not None:
                self.later(order.expires, EXPIRY, 0, None)
        elif kind == "cancel":
            self.exchange.cancel(order, ts)
        else:
            self.exchange.replace(order, qty, price, ts)

    # What comes back.

    def send_report(self, venue: int, ts: int, words: dict[str, int]) -> None:
        arrives = self.in_order((REPORT, venue), ts + self.response[venue]())
        self.later(arrives, REPORT, venue, words | {"time": arrives})

    def report_arrives(self, words: dict[str, int]) -> None:
        owned = self.by_id[words["id"]]
        mine = words["slot"] >= 0 and owned.open
        if not mine and words["slot"] >= 0:
            self.orphans += 1
        if mine:
            self.adopt(owned, words)
        self.reports.append((self.now, *[words.get(name, 0) for name in WORDS]))
        if len(self.reports) % 11 == 0 and self.world.reactions:
            at = len(self.reports) // 11 % len(self.world.reactions)
            self.act(words["strategy"], self.world.reactions[at])
            self.send_requests()
        kind = words["exec"]
        over = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)
        if mine and (kind in over or (kind == ExecType.TRADE and words["leaves"] == 0)):
            owned.open = False
            self.slots.append(owned.order.slot)

    def adopt(self, owned: Owned, words: dict[str, int]) -> None:
        kind = ExecType(words["exec"])
        if kind is ExecType.TRADE:
            qty = words["last_qty"]
            owned.cum += qty
            owned.leaves -= qty
            owned.value += qty * words["last_px"]
            key = (owned.order.strategy, owned.order.instrument)
            signed = qty if owned.order.side == BUY else -qty
            self.positions[key] = self.positions.get(key, 0) + signed
        elif kind is ExecType.REPLACED:
            owned.qty, owned.price = words["qty"], words["price"]
            owned.leaves = owned.qty - owned.cum
        elif kind is ExecType.RESTATED:
            owned.price = words["price"]
        if kind in (ExecType.NEW, ExecType.TRADE, ExecType.REPLACED, ExecType.CANCEL_REJECTED):
            pending = kind is ExecType.CANCEL_REJECTED and words["qty"] != 0
            if not pending:
                owned.status = OrdStatus.PARTIALLY_FILLED if owned.cum else OrdStatus.NEW

    # Recorded events here.

    def receive(self, row: tuple[int, ...], i: int, kind: int, side: int, flags: int) -> None:
        self.events += 1
        book = self.books[i]
        wake = -1
        if kind == Kind.DELTA:
            if flags & GAP:
                book.usable = False
            if flags & ORDER:
                book.order(row[5], side, row[3], row[4], 0)
            else:
                book.delta(row[2], side, row[3], row[4])
            wake = WAKE_BOOK if flags & LAST else -1
        elif kind == Kind.QUOTE:
            book.state_touch(row[2], *row[3:7])
            wake = WAKE_QUOTE
        elif kind == Kind.TRADE:
            book.last_price, book.last_size = row[3], row[4]
            for bar in self.bars:
                if bar.instrument == i:
                    bar.trades.append((row[3], row[4]))
            wake = WAKE_TRADE
        elif kind == Kind.SNAPSHOT_BEGIN:
            book.begin()
        elif kind == Kind.SNAPSHOT_END:
            book.end()
            wake = WAKE_BOOK
        elif kind == Kind.FUNDING:
            bid, ask = self.touch(i)
            if bid and ask:
                self.journal.append((J_FUNDING, row[1], i, row[3], (bid + ask) // 2))
            else:
                self.unpaid += 1
        book.ts = row[1]
        for strategy in range(self.world.strategies):
            if (strategy, i, wake) in self.world.subscriptions:
                self.seen.append((wake, strategy, *row, self.now, *self.shown(i)))

    def shown(self, i: int) -> tuple[int, int, int, int]:
        book = self.books[i]
        bid, ask = book.best(BUY), book.best(SELL)
        bids, asks = book.size(BUY, bid), book.size(SELL, ask)
        return NO_BID if bid is None else bid, bids, NO_ASK if ask is None else ask, asks

    def touch(self, i: int) -> tuple[int, int]:
        book = self.books[i]
        if not book.usable:
            return 0, 0
        if book.trades_only:
            return book.last_price, book.last_price
        return book.best(BUY) or 0, book.best(SELL) or 0

    def sample(self) -> None:
        for i in range(len(self.books)):
            touch = self.touch(i)
            if touch != self.marks.get(i, (0, 0)):
                self.marks[i] = touch
                self.journal.append((J_MARK, self.now, i, *touch))

    def end_bar(self, bar: Bar, number: int) -> None:
        if not bar.trades:
            return
        prices = [price for price, _ in bar.trades]
        volume = sum(qty for _, qty in bar.trades)
        words = (self.now, self.now, prices[0], prices[-1], volume, max(prices), min(prices))
        word = bar.instrument | int(Kind.BAR) << 32
        self.seen.append(
            (WAKE_BAR, bar.strategy, *words, word, self.now, *self.shown(bar.instrument), number)
        )
        bar.trades.clear()

    # What it came to.

    def state(self) -> dict[str, Any]:
        """Everything, as plain values, named."""
        return {
            "reports": self.reports,
            "seen": self.seen,
            "journal": self.journal,
            "exchange books": [book_state(side.book) for side in self.exchange.sides],
            "local books": [book_state(book) for book in self.books],
            "resting": [[self.order_state(o) for o in side.resting] for side in self.exchange.sides],
            "waiting": [[self.order_state(o) for o in side.waiting] for side in self.exchange.sides],
            "owned": sorted(
                (o.order.id, o.order.slot, int(o.status), o.qty, o.price, o.leaves, o.cum, o.value)
                for o in self.orders
                if o.open
            ),
            "positions": sorted((*key, lots) for key, lots in self.positions.items() if lots),
            "halted": [int(side.halted) for side in self.exchange.sides],
            "counters": (self.events, self.orphans, self.exchange.exec_id, self.unpaid),
        }

    @staticmethod
    def order_state(o: Order) -> tuple[Any, ...]:
        stop = o.stop if o.state == "waiting" else 0
        resting = o.state == "resting"
        place = (o.shown, o.place.front, o.place.traded) if resting else (0, 0.0, 0.0)
        return (o.id, o.slot, o.leaves, o.cum, o.qty, o.price, o.expires or 0, stop, *place)


def book_state(book: Book) -> tuple[Any, ...]:
    """A book as plain values."""
    bid, ask = book.best(BUY), book.best(SELL)
    return (
        sorted(book.levels[BUY].items()), sorted(book.levels[SELL].items()),
        NO_BID if bid is None else bid, NO_ASK if ask is None else ask, book.usable, book.quote_seq, book.depth,
        book.quoted, book.last_price, book.last_size, book.crossed, book.ts,
    )  # fmt: skip


def digest(state: dict[str, Any]) -> str:
    """SHA-256 of a state."""
    return hashlib.sha256(msgspec.msgpack.encode(state, order="deterministic")).hexdigest()


def first_difference(mine: Any, theirs: Any) -> str:
    """For a failing test: the first place where two states differ."""
    for name in mine:
        a, b = mine[name], theirs[name]
        if a == b:
            continue
        if isinstance(a, list) and isinstance(b, list):
            for n in range(max(len(a), len(b))):
                left = a[n] if n < len(a) else "nothing"
                right = b[n] if n < len(b) else "nothing"
                if left != right:
                    return f"{name}[{n}]: {left} against {right} (lengths {len(a)}, {len(b)})"
        return f"{name}: {a} against {b}"
    return ""


def plain(rows: Any) -> list[tuple[int, ...]]:
    """An int64 array's rows as tuples."""
    return [tuple(row) for row in np.asarray(rows).tolist()]
