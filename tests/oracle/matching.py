"""The matching engine's rules (docs/matching.md) the slow and obvious way: lists, dictionaries, searches.

`Oracle.apply` takes command rows and returns report rows; `Oracle.orders` and `Oracle.lists` are the state as
`MatchingEngine` writes it out, so that both can be compared word by word and by hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.kernel.matching_layout import (
    ALL_OWNERS,
    INST_SHIFT,
    KIND_BITS,
    MAX_QTY,
    MAX_SPAN,
    NO_PRICE,
    PRICE_LIMIT,
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    Command,
    Reason,
)
from tidegate.model.order import ExecInst, ExecType, OrdType, SelfTrade, Side, TimeInForce

STOPS = {OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP}
POST_ONLY, PRIMARY, MARKET, MID = (
    int(i) for i in (ExecInst.POST_ONLY, ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID)
)
NO_MORE = {TimeInForce.IOC, TimeInForce.FOK}


@dataclass(eq=False)
class Order:
    """One live order."""

    id: int
    owner: int
    side: Side
    type: OrdType
    tif: TimeInForce
    stp: SelfTrade
    inst: int
    shown: int
    limit: int | None = None
    stop: int | None = None
    extra: int = 0
    expiry: int = 0
    hidden: int = 0
    cum: int = 0
    waiting: bool = False
    at: int | None = None
    """The price it rests at."""

    def __post_init__(self) -> None:
        self.sign = self.side.sign
        self.other = self.side.opposite

    @property
    def open(self) -> int:
        return self.shown + self.hidden

    @property
    def what(self) -> int:
        packed = self.side << SIDE_SHIFT | self.type << TYPE_SHIFT | self.tif << TIF_SHIFT
        return packed | self.stp << STP_SHIFT | self.inst << INST_SHIFT

    def reaches(self, price: int) -> bool:
        """Whether it would trade at this price of the other side."""
        return self.limit is None or (self.limit - price) * self.sign >= 0


def word(price: int | None) -> int:
    return NO_PRICE if price is None else price


def price_of(value: int) -> int | None:
    return None if value == NO_PRICE else value


class Refused(Exception):
    """A command that is not carried out."""

    def __init__(self, why: Reason) -> None:
        self.why = why


class Oracle:
    """One book."""

    def __init__(self, every_price: bool = False) -> None:
        self.every_price = every_price
        """Show stops every trade price, not just the first and the last of an order: the same but for reports."""
        self.live: dict[int, Order] = {}
        self.book: dict[Side, list[Order]] = {Side.BUY: [], Side.SELL: []}
        """Each side's resting orders, best first."""
        self.stops: dict[Side, list[Order]] = {Side.BUY: [], Side.SELL: []}
        """Each side's waiting orders, next to trigger first."""
        self.trailing: list[Order] = []
        self.pegs: list[Order] = []
        self.due: list[Order] = []
        self.triggered: list[Order] = []
        self.prices: list[int] = []
        """Trade prices that stops have not seen yet."""
        self.last: int | None = None
        self.now: int | None = None
        self.seq = -1
        self.out: list[tuple[int, ...]] = []

    # Reports.

    def say(
        self, execution: ExecType, side: int, why: Reason, id: int, price: int | None, qty: int, leaves: int,
        contra: int = 0, contra_leaves: int = 0,
    ) -> None:  # fmt: skip
        what = execution | side << 8 | why << 16
        self.out.append((what, id, contra, word(price), qty, leaves, contra_leaves, self.seq))

    def tell(
        self,
        o: Order,
        execution: ExecType,
        why: Reason = Reason.NONE,
        qty: int | None = None,
        leaves: int = 0,
    ) -> None:
        price = o.at if o.at is not None else o.limit
        if o.type is OrdType.PEGGED:
            price = o.at
        stop = word(o.stop) if o.waiting else 0
        self.say(execution, o.side, why, o.id, price, o.open if qty is None else qty, leaves, stop)

    # Places.

    def put(self, o: Order, price: int) -> None:
        """Behind all that are as good."""
        o.at = price
        side = self.book[o.side]
        i = len(side)
        while i and (price - side[i - 1].at) * o.sign > 0:  # type: ignore[operator]
            i -= 1
        side.insert(i, o)

    def put_stop(self, o: Order) -> None:
        assert o.stop is not None
        side = self.stops[o.side]
        i = len(side)
        while i and (side[i - 1].stop - o.stop) * o.sign > 0:  # type: ignore[operator]
            i -= 1
        side.insert(i, o)

    def take(self, o: Order) -> None:
        """Out of wherever it rests or waits."""
        for place in (self.book[o.side], self.stops[o.side], self.triggered):
            if o in place:
                place.remove(o)
        o.at = None

    def end(self, o: Order) -> None:
        self.take(o)
        del self.live[o.id]
        for place in (self.trailing, self.pegs, self.due):
            if o in place:
                place.remove(o)

    def remove(self, o: Order, execution: ExecType, why: Reason) -> None:
        self.tell(o, execution, why)
        self.end(o)

    def fits(self, price: int) -> bool:
        live = [o.at for s in self.book.values() for o in s] + [
            o.stop for s in self.stops.values() for o in s
        ]
        return max([price, *live]) - min([price, *live]) < MAX_SPAN  # type: ignore[type-var]

    def crosses(self, o: Order, price: int | None) -> bool:
        best = self.book[o.other][0].at if self.book[o.other] else None
        return price is not None and best is not None and (price - best) * o.sign >= 0

    def walk(self) -> list[Order]:
        parked = [o for o in self.pegs if o.at is None]
        sides = [self.book[Side.BUY], self.book[Side.SELL], self.stops[Side.BUY], self.stops[Side.SELL]]
        return [o for side in sides for o in side] + parked

    # Commands.

    def apply(self, rows: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
        """Carry out command rows; returns the report rows they caused."""
        self.out = []
        for row in rows:
            self.command(*(int(v) for v in row))
        return self.out

    def command(
        self, what: int, id: int, owner: int, qty: int, price: int, stop: int, extra: int, time: int
    ) -> None:  # fmt: skip
        self.seq += 1
        kind = what & KIND_BITS
        if kind == Command.NEW:
            try:
                self.new(what, id, owner, qty, price_of(price), price_of(stop), extra, time)
            except Refused as refused:
                side = what >> SIDE_SHIFT & 15
                self.say(ExecType.REJECTED, side, refused.why, id, price_of(price), qty, 0)
        elif kind == Command.CANCEL:
            if id in self.live:
                self.remove(self.live[id], ExecType.CANCELED, Reason.REQUESTED)
            else:
                self.say(ExecType.CANCEL_REJECTED, 0, Reason.UNKNOWN_ORDER, id, None, 0, 0)
        elif kind == Command.REPLACE:
            try:
                self.replace(id, qty, price_of(price), price_of(stop))
            except Refused as refused:
                o = self.live.get(id)
                side, leaves = (o.side, o.open) if o else (0, 0)
                self.say(ExecType.CANCEL_REJECTED, side, refused.why, id, price_of(price), leaves, leaves)
        elif kind == Command.TIME and (self.now is None or time >= self.now):
            self.now = time
            for o in [o for o in self.due if o.expiry <= time]:
                self.remove(o, ExecType.EXPIRED, Reason.EXPIRY)
        elif kind == Command.END_OF_DAY:
            for o in [o for o in self.walk() if o.tif is TimeInForce.DAY]:
                self.remove(o, ExecType.EXPIRED, Reason.END_OF_DAY)
        elif kind == Command.MASS_CANCEL:
            for o in [o for o in self.walk() if owner in (ALL_OWNERS, o.owner)]:
                self.remove(o, ExecType.CANCELED, Reason.MASS_CANCEL)
        else:
            why = Reason.TOO_LATE if kind == Command.TIME else Reason.BAD_FIELD
            self.say(ExecType.REJECTED, 0, why, id, None, 0, 0)
        self.settle()

    def parse(self, what: int, id: int, owner: int, qty: int, extra: int, time: int) -> Order:
        codes = [what >> shift & 15 for shift in (SIDE_SHIFT, TYPE_SHIFT, TIF_SHIFT, STP_SHIFT)]
        inst = what >> INST_SHIFT
        if inst & ~(POST_ONLY | PRIMARY | MARKET | MID):
            raise Refused(Reason.BAD_FIELD)
        try:
            side, kind, tif, stp = (
                Side(codes[0]),
                OrdType(codes[1]),
                TimeInForce(codes[2]),
                SelfTrade(codes[3]),
            )
        except ValueError:
            raise Refused(Reason.BAD_FIELD) from None
        return Order(id, owner, side, kind, tif, stp, inst, qty, extra=extra, expiry=time)

    def check_terms(self, o: Order, price: int | None, stop: int | None) -> None:
        def out_of_range(value: int | None) -> bool:
            return value is None or abs(value) > PRICE_LIMIT

        if not 1 <= o.shown <= MAX_QTY:
            raise Refused(Reason.BAD_QTY)
        if o.type is OrdType.ICEBERG and not 1 <= o.extra <= o.shown:
            raise Refused(Reason.BAD_QTY)
        if o.type in (OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.ICEBERG) and out_of_range(price):
            raise Refused(Reason.BAD_PRICE)
        if o.type is OrdType.PEGGED and price is not None and out_of_range(price):
            raise Refused(Reason.BAD_PRICE)
        if o.type in (OrdType.STOP, OrdType.STOP_LIMIT) and out_of_range(stop):
            raise Refused(Reason.BAD_PRICE)
        if o.type is OrdType.TRAILING_STOP and stop is not None and out_of_range(stop):
            raise Refused(Reason.BAD_PRICE)
        if o.type is OrdType.TRAILING_STOP and not 1 <= o.extra <= PRICE_LIMIT:
            raise Refused(Reason.BAD_PRICE)
        if o.type is OrdType.PEGGED and not 0 <= o.extra <= PRICE_LIMIT:
            raise Refused(Reason.BAD_PRICE)
        resting = o.type in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.PEGGED, OrdType.STOP_LIMIT)
        post = bool(o.inst & POST_ONLY)
        if o.tif in NO_MORE and (post or o.type in (OrdType.ICEBERG, OrdType.PEGGED)):
            raise Refused(Reason.BAD_COMBINATION)
        if post and not resting:
            raise Refused(Reason.BAD_COMBINATION)
        pegs = bin(o.inst & (PRIMARY | MARKET | MID)).count("1")
        if pegs != (1 if o.type is OrdType.PEGGED else 0):
            raise Refused(Reason.BAD_COMBINATION)

    def trail_start(self, o: Order, stop: int | None) -> int | None:
        if self.last is None:
            return stop
        near = self.last + o.sign * o.extra
        if stop is None:
            return near
        return min(stop, near) if o.side is Side.BUY else max(stop, near)

    def new(
        self,
        what: int,
        id: int,
        owner: int,
        qty: int,
        price: int | None,
        stop: int | None,
        extra: int,
        time: int,
    ) -> None:
        o = self.parse(what, id, owner, qty, extra, time)
        self.check_terms(o, price, stop)
        if o.tif is TimeInForce.GTD and self.now is not None and time <= self.now:
            raise Refused(Reason.TOO_LATE)
        if id in self.live:
            raise Refused(Reason.DUPLICATE_ID)
        if o.type in (OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.ICEBERG, OrdType.PEGGED):
            o.limit = price
        if o.type in STOPS:
            self.new_stop(o, stop)
            return
        goal = self.target(o, price, self.references()) if o.type is OrdType.PEGGED else o.limit
        if goal is not None:
            if not self.fits(goal):
                raise Refused(Reason.PRICE_SPAN)
            if o.inst & POST_ONLY and self.crosses(o, goal):
                raise Refused(Reason.POST_ONLY)
        self.live[id] = o
        if o.tif is TimeInForce.GTD:
            self.due.append(o)
        if o.type is OrdType.PEGGED:
            self.pegs.append(o)
        self.say(ExecType.NEW, o.side, Reason.NONE, id, goal, qty, qty)
        if o.type is OrdType.PEGGED and goal is None:
            return
        self.match(o, goal)

    def new_stop(self, o: Order, stop: int | None) -> None:
        o.stop = self.trail_start(o, stop) if o.type is OrdType.TRAILING_STOP else stop
        if o.stop is None:
            raise Refused(Reason.NO_REFERENCE)
        if not self.fits(o.stop):
            raise Refused(Reason.PRICE_SPAN)
        o.waiting = True
        self.live[o.id] = o
        if o.tif is TimeInForce.GTD:
            self.due.append(o)
        if o.type is OrdType.TRAILING_STOP:
            self.trailing.append(o)
        self.tell(o, ExecType.NEW, leaves=o.open)
        self.wait(o)

    def wait(self, o: Order) -> None:
        assert o.stop is not None
        if self.last is not None and (self.last - o.stop) * o.sign >= 0:
            self.trigger(o)
        else:
            self.put_stop(o)

    def replace(self, id: int, qty: int, price: int | None, stop: int | None) -> None:
        o = self.live.get(id)
        if o is None:
            raise Refused(Reason.UNKNOWN_ORDER)
        total = qty or o.cum + o.open
        if not o.cum < total <= MAX_QTY:
            raise Refused(Reason.BAD_QTY)
        if any(p is not None and abs(p) > PRICE_LIMIT for p in (price, stop)):
            raise Refused(Reason.BAD_PRICE)
        if o.waiting:
            self.replace_stop(o, total, price, stop)
            return
        if stop is not None:
            raise Refused(Reason.BAD_COMBINATION)
        limit = o.limit if price is None else price
        goal = self.target(o, limit, self.references()) if o.type is OrdType.PEGGED else limit
        if goal is not None:
            if not self.fits(goal):
                raise Refused(Reason.PRICE_SPAN)
            if o.inst & POST_ONLY and self.crosses(o, goal):
                raise Refused(Reason.POST_ONLY)
        o.limit = limit
        leaves = total - o.cum
        self.say(ExecType.REPLACED, o.side, Reason.NONE, id, goal, total, leaves)
        if goal == o.at and leaves <= o.open:
            gone = o.open - leaves
            from_hidden = min(gone, o.hidden)
            o.hidden -= from_hidden
            o.shown -= gone - from_hidden
            return
        self.take(o)
        o.shown, o.hidden = leaves, 0
        if goal is not None:
            self.match(o, goal)

    def replace_stop(self, o: Order, qty: int, price: int | None, stop: int | None) -> None:
        if price is not None and o.type is not OrdType.STOP_LIMIT:
            raise Refused(Reason.BAD_COMBINATION)
        limit = o.limit if price is None else price
        if stop is None:
            stop = o.stop
        elif o.type is OrdType.TRAILING_STOP:
            stop = self.trail_start(o, stop)
        assert stop is not None
        if not self.fits(stop):
            raise Refused(Reason.PRICE_SPAN)
        keeps = stop == o.stop and limit == o.limit and qty <= o.shown
        o.shown, o.limit = qty, limit
        if keeps:
            self.tell(o, ExecType.REPLACED, leaves=qty)
            return
        self.take(o)
        o.stop = stop
        self.tell(o, ExecType.REPLACED, leaves=qty)
        self.wait(o)

    # Matching.

    def match(self, o: Order, limit: int | None) -> None:
        """Match an order that stands nowhere, then rest or end it; `limit` None is any price."""
        cap, o.limit = o.limit, limit
        if o.tif is TimeInForce.FOK and not self.fills(o):
            self.tell(o, ExecType.CANCELED, Reason.FILL_OR_KILL)
            self.end(o)
            return
        other = self.book[o.other]
        while o.shown and other and o.reaches(other[0].at):  # type: ignore[arg-type]
            maker = other[0]
            if o.owner and o.owner == maker.owner and o.stp is not SelfTrade.ALLOW:
                self.prevent(o, maker)
                if o.id not in self.live:
                    return
            else:
                self.trade(o, maker)
        if not o.shown:
            self.end(o)
            return
        if o.type is OrdType.MARKET or o.tif in NO_MORE:
            self.say(ExecType.CANCELED, o.side, Reason.REMAINDER, o.id, o.limit, o.shown, 0)
            self.end(o)
            return
        if o.type is OrdType.ICEBERG:
            o.shown, o.hidden = min(o.shown, o.extra), max(0, o.shown - o.extra)
        assert limit is not None
        if o.type is OrdType.PEGGED:
            o.limit = cap
        self.put(o, limit)

    def trade(self, o: Order, maker: Order) -> None:
        assert maker.at is not None
        qty = min(o.shown, maker.shown)
        for side in (o, maker):
            side.shown -= qty
            side.cum += qty
        self.last = maker.at
        self.prices.append(maker.at)
        self.say(
            ExecType.TRADE, o.side, Reason.NONE, o.id, maker.at, qty, o.shown, maker.id, maker.open
        )  # fmt: skip
        if not maker.open:
            self.end(maker)
        elif not maker.shown:
            self.refresh(maker)

    def refresh(self, o: Order) -> None:
        assert o.at is not None
        price = o.at
        self.take(o)
        o.shown = min(o.extra, o.hidden)
        o.hidden -= o.shown
        self.put(o, price)
        self.tell(o, ExecType.RESTATED, Reason.REFRESH, qty=o.shown, leaves=o.open)

    def prevent(self, o: Order, maker: Order) -> None:
        why = Reason.SELF_TRADE
        if o.stp is SelfTrade.DECREMENT:
            qty = min(o.shown, maker.shown)
            if maker.open == qty:
                self.remove(maker, ExecType.CANCELED, why)
            else:
                maker.shown -= qty
                self.tell(maker, ExecType.RESTATED, why, qty=maker.shown, leaves=maker.open)
                if not maker.shown:
                    self.refresh(maker)
            o.shown -= qty
            if o.shown:
                self.say(ExecType.RESTATED, o.side, why, o.id, o.limit, o.shown, o.shown)
            else:
                self.say(ExecType.CANCELED, o.side, why, o.id, o.limit, qty, 0)
                self.end(o)
            return
        if o.stp in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            self.remove(maker, ExecType.CANCELED, why)
        if o.stp in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
            self.say(ExecType.CANCELED, o.side, why, o.id, o.limit, o.shown, 0)
            self.end(o)

    def fills(self, o: Order) -> bool:
        """Whether it would fill wholly: by playing it through on copies."""
        need = o.shown
        queue = [[m.at, m.shown, m.hidden, m.extra, m.owner] for m in self.book[o.other]]
        while need and queue and o.reaches(queue[0][0]):
            price, shown, hidden, part, owner = queue[0]
            if o.owner and owner == o.owner and o.stp is not SelfTrade.ALLOW:
                if o.stp is not SelfTrade.CANCEL_OLDEST:
                    return False
                del queue[0]
                continue
            need -= min(need, shown)
            del queue[0]
            if hidden:
                back = sum(1 for entry in queue if entry[0] == price)
                queue.insert(back, [price, min(part, hidden), hidden - min(part, hidden), part, owner])
        return need == 0

    # What a command sets off.

    def settle(self) -> None:
        while True:
            if self.prices and not self.every_price:
                first, last = self.prices[0], self.prices[-1]
                self.prices = [first] if first == last else [first, last]
            while self.prices:
                price = self.prices.pop(0)
                self.trail(price)
                for side in (Side.BUY, Side.SELL):
                    sign = 1 if side is Side.BUY else -1
                    for o in [o for o in self.stops[side] if (price - o.stop) * sign >= 0]:  # type: ignore[operator]
                        self.stops[side].remove(o)
                        self.trigger(o)
            if self.triggered:
                self.activate(self.triggered.pop(0))
            elif not self.move_a_peg():
                return

    def trail(self, price: int) -> None:
        for o in list(self.trailing):
            stop = price + o.sign * o.extra
            assert o.stop is not None
            if (o.stop - stop) * o.sign <= 0:
                continue
            assert self.fits(stop), "it lies between live prices"
            self.take(o)
            o.stop = stop
            self.put_stop(o)
            self.tell(o, ExecType.RESTATED, Reason.TRAIL, leaves=o.open)

    def trigger(self, o: Order) -> None:
        self.triggered.append(o)
        if o in self.trailing:
            self.trailing.remove(o)

    def activate(self, o: Order) -> None:
        self.tell(o, ExecType.TRIGGERED, leaves=o.open)
        o.waiting, o.stop = False, None
        if o.type is OrdType.STOP_LIMIT:
            o.type = OrdType.LIMIT
            assert o.limit is not None
            if not self.fits(o.limit):
                self.remove(o, ExecType.CANCELED, Reason.PRICE_SPAN)
                return
            if o.inst & POST_ONLY and self.crosses(o, o.limit):
                self.remove(o, ExecType.CANCELED, Reason.POST_ONLY)
                return
        else:
            o.type = OrdType.MARKET
        self.match(o, o.limit)

    def references(self) -> dict[Side, int | None]:
        """The best price of each side that an order which is not pegged stands at."""
        return {
            side: next((o.at for o in orders if o.type is not OrdType.PEGGED), None)
            for side, orders in self.book.items()
        }

    def target(self, o: Order, worst: int | None, references: dict[Side, int | None]) -> int | None:
        """Where a pegged order should stand."""
        own, other = references[o.side], references[o.other]
        if o.inst & PRIMARY:
            reference = own
        elif o.inst & MARKET:
            reference = other
        elif own is None or other is None:
            reference = None
        else:
            half = (own + other) // 2
            reference = half if o.side is Side.BUY or (own + other) % 2 == 0 else half + 1
        if reference is None:
            return None
        price = reference - o.sign * o.extra
        if worst is None:
            return price
        return min(price, worst) if o.side is Side.BUY else max(price, worst)

    def move_a_peg(self) -> bool:
        """Move the first peg that does not stand where it should; false when all do."""
        references = self.references()
        for o in self.pegs:
            goal = self.target(o, o.limit, references)
            if goal == o.at:
                continue
            if goal is not None and not self.fits(goal):
                self.remove(o, ExecType.CANCELED, Reason.PRICE_SPAN)
                return True
            if o.inst & POST_ONLY and self.crosses(o, goal):
                self.remove(o, ExecType.CANCELED, Reason.POST_ONLY)
                return True
            self.take(o)
            self.say(ExecType.RESTATED, o.side, Reason.PEG, o.id, goal, o.shown, o.shown)
            if goal is not None:
                self.match(o, goal)
            return True
        return False

    # State, as MatchingEngine writes it out.

    def orders(self) -> np.ndarray:
        """Rows of `matching_snapshot.S_*` words, in walking order."""
        rows = []
        for o in self.walk():
            place = (2 if o.waiting else 0) + o.side if o.waiting or o.at is not None else 5
            limit = word(o.limit) if o.waiting or o.type is OrdType.PEGGED else NO_PRICE
            keeps = o.type in (OrdType.ICEBERG, OrdType.PEGGED, OrdType.TRAILING_STOP)
            expiry = o.expiry if o.tif is TimeInForce.GTD else 0
            stop = word(o.stop) if o.waiting else 0
            rows.append(
                (place, o.id, o.what, o.owner, word(o.at), o.shown, o.hidden, o.cum, stop, limit,
                 o.extra if keeps else 0, expiry)
            )  # fmt: skip
        return np.array(rows, np.int64).reshape(-1, 12)

    def state_hash(self) -> str:
        """The same digest as `MatchingEngine.state_hash`."""
        scalars = [word(self.last), word(self.now), self.seq + 1, len(self.live)]
        digest = hashlib.sha256(np.array(scalars, np.int64).tobytes())
        digest.update(self.orders().tobytes())
        for listed in (self.trailing, self.pegs, self.due):
            digest.update(np.array([*(o.id for o in listed), len(listed)], np.int64).tobytes())
        return digest.hexdigest()
