"""The simulated exchange's written rules (`kernel.exchange`) with plain objects and lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from oracle import queue
from oracle.book import BUY, SELL, Book

from tidegate.model.event import Flag, Kind
from tidegate.model.order import ExecInst, ExecType, OrdType, TimeInForce

DAY_NS = 86_400 * 10**9
STOPS = (OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP)
WOULD_CROSS, UNKNOWN_ORDER, TOO_LATE, HALTED, NO_LIQUIDITY, NOT_AT_ONCE, NOT_WHOLE, EXPIRY = range(201, 209)
NO_BID, NO_ASK = -(1 << 62), 1 << 62
LAST, ORDER, GAP, POST_ONLY = int(Flag.LAST), int(Flag.ORDER), int(Flag.GAP), int(ExecInst.POST_ONLY)


@dataclass(frozen=True)
class Market:
    """How an instrument trades."""

    venue: int
    partial: bool
    queue: str
    shape: float
    inverse: bool
    maker_fee: float
    taker_fee: float
    value: float


@dataclass(eq=False)
class Order:
    """One of our orders, as the exchange holds it."""

    id: int
    slot: int
    strategy: int
    instrument: int
    side: int
    type: OrdType
    tif: TimeInForce
    inst: int
    qty: int
    price: int
    stop: int
    display: int
    offset: int
    expire: int
    leaves: int = 0
    cum: int = 0
    shown: int = 0
    expires: int | None = None
    state: str = "flying"
    place: queue.Place = field(default_factory=lambda: queue.Place(0.0))
    joined: int = 0

    def __post_init__(self) -> None:
        self.leaves = self.qty


@dataclass
class Side:
    """One instrument at the exchange."""

    book: Book = field(default_factory=Book)
    resting: list[Order] = field(default_factory=list)
    waiting: list[Order] = field(default_factory=list)
    halted: bool = False
    has_trades: bool = False


Send = Callable[[int, int, dict[str, int]], None]
"""Send a report: venue, time, words by name."""


class Exchange:
    """All venues at once; `send` carries reports away."""

    def __init__(self, markets: list[Market], send: Send) -> None:
        self.markets = markets
        self.sides = [Side() for _ in markets]
        self.send = send
        self.exec_id = 0
        self.arrivals = 0

    # Reports.

    def tell(self, o: Order, kind: ExecType, ts: int, **words: int) -> None:
        book = self.sides[o.instrument].book
        report = {
            "exec": int(kind), "slot": o.slot, "id": o.id, "tsv": ts, "qty": o.qty, "price": o.price,
            "cum": o.cum, "leaves": o.leaves, "strategy": o.strategy,
        }  # fmt: skip
        if kind is ExecType.NEW:
            report["last_qty"] = book.size(o.side, o.price)
        if kind is ExecType.CANCEL_REJECTED:
            report |= {"qty": 0, "price": 0}
        self.send(self.markets[o.instrument].venue, ts, report | words)

    def fill(self, o: Order, qty: int, price: int, maker: bool, ts: int) -> None:
        market, book = self.markets[o.instrument], self.sides[o.instrument].book
        o.leaves -= qty
        o.cum += qty
        if o.leaves == 0:
            self.take_off(o)
        self.exec_id += 1
        lots = market.value * qty
        value = abs(lots / price if market.inverse else lots * price)
        bid, ask = book.best(BUY), book.best(SELL)
        self.tell(
            o, ExecType.TRADE, ts, last_qty=qty, last_px=price, maker=int(maker), exec_id=self.exec_id,
            fee=round(value * (market.maker_fee if maker else market.taker_fee)),
            qty=NO_BID if bid is None else bid, price=NO_ASK if ask is None else ask,
        )  # fmt: skip

    def take_off(self, o: Order) -> None:
        side = self.sides[o.instrument]
        for orders in (side.resting, side.waiting):
            if o in orders:
                orders.remove(o)
        o.state = "done"

    def over(self, o: Order, kind: ExecType, ts: int, reason: int = 0) -> None:
        self.take_off(o)
        o.leaves = 0
        self.tell(o, kind, ts, reason=reason)

    # Orders that arrive.

    def taken_at(self, o: Order, side: int) -> int | None:
        """The best price an order of this side could take."""
        book = self.sides[o.instrument].book
        return book.last_price if book.trades_only else book.best(3 - side)

    def would_take(self, o: Order, limit: int | None) -> bool:
        other = self.taken_at(o, o.side)
        return other is not None and (limit is None or meets(o.side, limit, other))

    def arrive(self, o: Order, ts: int) -> None:
        if self.sides[o.instrument].halted:
            self.over(o, ExecType.REJECTED, ts, HALTED)
            return
        if o.tif is TimeInForce.DAY:
            o.expires = (ts // DAY_NS + 1) * DAY_NS
        elif o.tif is TimeInForce.GTD:
            o.expires = o.expire
        if o.expires is not None and o.expires <= ts:
            self.over(o, ExecType.EXPIRED, ts, EXPIRY)
            return
        if o.type is OrdType.PEGGED:
            price = self.peg(o)
            if price is None:
                self.over(o, ExecType.REJECTED, ts, NO_LIQUIDITY)
                return
            o.price = price
        if o.inst & POST_ONLY and o.type not in (*STOPS, OrdType.MARKET) and self.would_take(o, o.price):
            self.over(o, ExecType.REJECTED, ts, WOULD_CROSS)
            return
        self.tell(o, ExecType.NEW, ts)
        if o.type in STOPS:
            self.wait(o)
        else:
            self.execute(o, ts)

    def wait(self, o: Order) -> None:
        side = self.sides[o.instrument]
        if o.type is OrdType.TRAILING_STOP and o.stop == 0:
            start = side.book.last_price if side.has_trades else self.taken_at(o, o.side)
            if start is None:
                start = NO_ASK if o.side == BUY else NO_BID
            o.stop = start + o.offset if o.side == BUY else start - o.offset
        o.state = "waiting"
        side.waiting.append(o)

    def execute(self, o: Order, ts: int) -> None:
        market = self.markets[o.instrument]
        at_market = o.type in (OrdType.MARKET, OrdType.STOP, OrdType.TRAILING_STOP)
        limit = None if at_market else o.price
        if self.would_take(o, limit):
            if o.inst & POST_ONLY:
                self.over(o, ExecType.REJECTED, ts, WOULD_CROSS)
                return
            offers = self.offers(o, limit)
            if market.partial and o.tif is TimeInForce.FOK and sum(qty for _, qty in offers) < o.leaves:
                self.over(o, ExecType.EXPIRED, ts, NOT_WHOLE)
                return
            for price, qty in offers:
                if o.leaves:
                    self.fill(o, min(qty, o.leaves), price, False, ts)
            if o.leaves == 0:
                return
        if at_market:
            self.over(o, ExecType.EXPIRED, ts, NO_LIQUIDITY)
        elif o.tif is TimeInForce.IOC:
            self.over(o, ExecType.EXPIRED, ts, NOT_AT_ONCE)
        elif o.tif is TimeInForce.FOK:
            self.over(o, ExecType.EXPIRED, ts, NOT_WHOLE)
        else:
            o.state = "resting"
            self.join(o)
            self.sides[o.instrument].resting.append(o)

    def offers(self, o: Order, limit: int | None) -> list[tuple[int, int]]:
        """(price, lots) the order may take, best first."""
        book = self.sides[o.instrument].book
        best = self.taken_at(o, o.side)
        assert best is not None
        if not self.markets[o.instrument].partial or book.trades_only:
            return [(best, o.leaves)]
        levels = sorted(book.levels[3 - o.side].items(), reverse=o.side == SELL)
        return [(p, q) for p, q in levels if limit is None or meets(o.side, limit, p)]

    def join(self, o: Order) -> None:
        iceberg = o.type is OrdType.ICEBERG and o.display > 0
        o.shown = min(o.display, o.leaves) if iceberg else o.leaves
        o.place = queue.Place(float(self.sides[o.instrument].book.size(o.side, o.price)))
        self.arrivals += 1
        o.joined = self.arrivals

    def peg(self, o: Order) -> int | None:
        book = self.sides[o.instrument].book
        bid, ask = book.best(BUY), book.best(SELL)
        if bid is None or ask is None:
            return None
        if o.inst & ExecInst.PEG_PRIMARY:
            reference = bid if o.side == BUY else ask
        elif o.inst & ExecInst.PEG_MARKET:
            reference = ask if o.side == BUY else bid
        else:
            reference = (bid + ask) // 2 if o.side == BUY else (bid + ask + 1) // 2
        return reference - o.offset if o.side == BUY else reference + o.offset

    def cancel(self, o: Order, ts: int) -> None:
        if o.state in ("resting", "waiting"):
            self.over(o, ExecType.CANCELED, ts)
        else:
            self.tell(o, ExecType.CANCEL_REJECTED, ts, reason=TOO_LATE)

    def replace(self, o: Order, qty: int, price: int, ts: int) -> None:
        reason = 0
        new = o.price if o.type is OrdType.PEGGED else price
        keeps = new == o.price and qty <= o.qty
        if o.state not in ("resting", "waiting"):
            reason = TOO_LATE
        elif self.sides[o.instrument].halted:
            reason = HALTED
        elif qty <= o.cum:
            self.over(o, ExecType.CANCELED, ts)
            return
        elif o.inst & POST_ONLY and o.state == "resting" and not keeps and self.would_take(o, new):
            reason = WOULD_CROSS
        if reason:
            self.tell(o, ExecType.CANCEL_REJECTED, ts, qty=qty, price=price, reason=reason)
            return
        o.qty, o.price, o.leaves = qty, new, qty - o.cum
        self.tell(o, ExecType.REPLACED, ts)
        if keeps:
            o.shown = min(o.shown, o.leaves)
        elif o.state == "resting":
            self.sides[o.instrument].resting.remove(o)
            self.execute(o, ts)

    # The market.

    def record(self, row: tuple[int, ...], i: int, kind: int, side: int, flags: int) -> None:
        """One recorded event at its exchange time."""
        ts, _, seq, price, size, price2, size2 = row[:7]
        here, market = self.sides[i], self.markets[i]
        book = here.book
        if kind == Kind.DELTA:
            if flags & GAP:
                book.usable = False
            if flags & ORDER:
                self.arrivals += 1
                changes, removed = book.order(price2, side, price, size, self.arrivals)
                if market.queue == "l3_fifo":
                    self.leave_queue(here, removed)
                else:
                    self.resize(i, changes)
            else:
                before = book.delta(seq, side, price, size)
                if before is not None and before != size:
                    self.resize(i, [(side, price, before, size)])
            if flags & LAST and book.usable:
                self.look(i, ts)
        elif kind == Kind.QUOTE:
            levels = [(BUY, price, size), (SELL, price2, size2)]
            before_each = [book.size(s, p) if q else 0 for s, p, q in levels]
            book.state_touch(seq, price, size, price2, size2)
            for (s, p, q), before in zip(levels, before_each, strict=True):
                if q and before != q:
                    self.resize(i, [(s, p, before, q)])
            self.look(i, ts)
        elif kind == Kind.TRADE:
            book.last_price, book.last_size = price, size
            here.has_trades = True
            if not here.halted:
                self.traded(i, price, size, side, ts)
        elif kind == Kind.SNAPSHOT_BEGIN:
            book.begin()
        elif kind == Kind.SNAPSHOT_END:
            removed = book.end()
            if market.queue == "l3_fifo":
                self.leave_queue(here, removed)
            for o in here.resting:
                queue.at_most(o.place, book.size(o.side, o.price))
            self.look(i, ts)
        elif kind == Kind.STATUS:
            was, here.halted = here.halted, price != 0
            if was and not here.halted and book.usable:
                self.look(i, ts)
        book.ts = ts

    def resize(self, i: int, changes: list[tuple[int, int, int, int]]) -> None:
        market = self.markets[i]
        for side, price, before, after in changes:
            for o in self.sides[i].resting:
                if (o.side, o.price) == (side, price):
                    queue.level_changed(o.place, market.queue, market.shape, before, after)

    @staticmethod
    def leave_queue(here: Side, removed: list[tuple[int, int, int, int]]) -> None:
        for side, price, qty, arrival in removed:
            for o in here.resting:
                if (o.side, o.price) == (side, price) and arrival < o.joined:
                    queue.removed(o.place, qty)

    def traded(self, i: int, price: int, qty: int, aggressor: int, ts: int) -> None:
        here = self.sides[i]
        for o in list(here.resting):
            if o.side == aggressor:
                continue
            if o.price == price:
                queue.traded(o.place, qty)
                past = queue.executable(o.place)
                if past:
                    self.fill_shown(o, past if self.markets[i].partial else o.shown, ts)
            elif meets(o.side, o.price, price):
                self.fill(o, o.leaves, o.price, True, ts)
        self.trigger(i, price, price, ts)

    def fill_shown(self, o: Order, qty: int, ts: int) -> None:
        qty = min(qty, o.shown)
        o.shown -= qty
        self.fill(o, qty, o.price, True, ts)
        if o.leaves and not o.shown:
            self.join(o)

    def look(self, i: int, ts: int) -> None:
        """The best prices may have moved."""
        here = self.sides[i]
        if here.halted:
            return
        bid, ask = here.book.best(BUY), here.book.best(SELL)
        for o in list(here.resting):
            own, other = (bid, ask) if o.side == BUY else (ask, bid)
            if other is not None and meets(o.side, o.price, other):
                self.fill(o, o.leaves, o.price, True, ts)
            elif own is None or better(o.side, o.price, own):
                queue.at_most(o.place, 0)
        for o in here.resting:
            if o.type is OrdType.PEGGED:
                price = self.peg(o)
                if price is not None and price != o.price:
                    o.price = price
                    self.join(o)
                    self.tell(o, ExecType.RESTATED, ts)
        if not here.has_trades and bid is not None and ask is not None:
            self.trigger(i, ask, bid, ts)

    def trigger(self, i: int, for_buys: int, for_sells: int, ts: int) -> None:
        here = self.sides[i]
        for o in list(here.waiting):
            price = for_buys if o.side == BUY else for_sells
            if o.type is OrdType.TRAILING_STOP:
                o.stop = min(o.stop, price + o.offset) if o.side == BUY else max(o.stop, price - o.offset)
            if price >= o.stop if o.side == BUY else price <= o.stop:
                here.waiting.remove(o)
                o.state = "flying"
                self.tell(o, ExecType.TRIGGERED, ts)
                self.execute(o, ts)

    def expire(self, ts: int) -> None:
        for side in self.sides:
            for o in [*side.resting, *side.waiting]:
                if o.expires is not None and o.expires <= ts:
                    self.over(o, ExecType.EXPIRED, ts, EXPIRY)


def meets(side: int, price: int, other: int) -> bool:
    """Whether an order of `side` at `price` can trade at the other side's price."""
    return price >= other if side == BUY else price <= other


def better(side: int, price: int, own: int) -> bool:
    """Whether `price` goes before `own` on the same side."""
    return price > own if side == BUY else price < own
