"""The matching engine's rules (docs/matching.md) the slow and obvious way: lists, dictionaries, searches.

`Oracle.apply` takes command rows and returns report rows; `orders` and `state_hash` are the state as
`MatchingEngine` writes it out, so that both can be compared word by word and by hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from oracle.matching_book import Book
from oracle.matching_order import (
    MARKET,
    POST_ONLY,
    PRIMARY,
    STOPS,
    Order,
    Refused,
    check_terms,
    parse,
    price_of,
    word,
)

from tidegate.kernel.matching_layout import (
    ALL_OWNERS,
    KIND_BITS,
    MAX_QTY,
    NO_PRICE,
    PRICE_LIMIT,
    SIDE_SHIFT,
    Command,
    Reason,
)
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce


class Oracle(Book):
    """One book: commands in, reports out."""

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
        o = parse(what, id, owner, qty, extra, time)
        check_terms(o, price, stop)
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
