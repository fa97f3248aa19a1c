"""The matching oracle's book: where orders rest and wait, what is reported, how an order matches."""

from __future__ import annotations

from oracle.matching_order import NO_MORE, Order, word

from tidegate.kernel.matching_layout import (
    MAX_SPAN,
    Reason,
)
from tidegate.model.order import ExecType, OrdType, SelfTrade, Side, TimeInForce


class Book:
    """Orders in lists, best first; reports in a list."""

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
