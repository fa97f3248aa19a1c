"""A pure exchange as background: one matching engine an instrument, seeded agents, and our orders among theirs.

Deterministic: the same seed and the same orders at the same times give the same market, whenever `advance` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tidegate.errors import UserError
from tidegate.kernel.exchange_orders import R_FOK, R_IOC, R_NO_LIQUIDITY, R_WOULD_CROSS
from tidegate.kernel.matching_engine import MatchingEngine
from tidegate.kernel.matching_layout import (
    NO_PRICE,
    R_CONTRA,
    R_CONTRA_LEAVES,
    R_ID,
    R_LEAVES,
    R_PRICE,
    R_QTY,
    R_WHAT,
    Command,
    Reason,
    exec_type,
    reason,
    side_of,
    what,
)
from tidegate.model.event import Words
from tidegate.model.order import ExecInst, ExecType, OrdType, Side, TimeInForce
from tidegate.model.scale import ScaleError
from tidegate.venue.sim.agents import AgentsConfig, Maker, Momentum, Noise, Row, Scene, cast
from tidegate.venue.sim.background import Sink
from tidegate.venue.sim.listing import Listing, Listings
from tidegate.venue.sim.order import Execution, Order

_TIME, _CANCEL, _REPLACE = (int(what(kind)) for kind in (Command.TIME, Command.CANCEL, Command.REPLACE))
_REASONS = {Reason.POST_ONLY: R_WOULD_CROSS, Reason.FILL_OR_KILL: R_FOK}
_UNFILLED = (Reason.REMAINDER, Reason.FILL_OR_KILL, Reason.SELF_TRADE)


class Print(NamedTuple):
    """A public trade: when, price (ticks), lots, and the aggressor's side."""

    ts: int
    price: int
    qty: int
    side: int


class Venue:
    """One instrument's book and traders."""

    def __init__(self, listing: Listing, config: AgentsConfig, seed: int) -> None:
        try:
            start = listing.instrument.ticks(config.price)
        except ScaleError as error:
            raise UserError(f"agents of {listing.instrument.id}: {error}") from None
        self.listing = listing
        self.book = MatchingEngine()
        self.scene = Scene(config, start, f"{seed} {listing.instrument.id}")
        self.traders = cast(config)
        self.owner: dict[int, Maker | Noise | Momentum] = {}
        """Whose an agent's order is."""
        self.prints: list[Print] = []
        self.changed = True
        self.next_step = 0


class AgentMarket:
    """The background `Background` of agents."""

    own_orders_meet = True

    def __init__(
        self, listings: Listings, configs: Mapping[str, AgentsConfig], sink: Sink, seed: int
    ) -> None:
        unknown = sorted(set(configs) - {item.instrument.id for item in listings.all})
        if unknown:
            raise UserError(f"agents are configured for {unknown[0]}, which is not listed")
        lost = [item.instrument.id for item in listings.all if item.instrument.id not in configs]
        if lost:
            raise UserError(f"no agents are configured for {lost[0]}")
        self._sink = sink
        self.venues = [Venue(item, configs[item.instrument.id], seed) for item in listings.all]
        self._orders: dict[int, Order] = {}
        self._owners: dict[str, int] = {}
        self._halted: set[int] = set()
        self._now = 0

    def begin(self, now: int) -> None:
        """The agents' first step is at `now`."""
        for venue in self.venues:
            venue.next_step = now
        self._now = now

    # Time.

    def advance(self, now: int) -> None:
        """See `Background.advance`."""
        while True:
            venue = min(self.venues, key=lambda item: item.next_step)
            if venue.next_step > now:
                break
            self._now = venue.next_step
            venue.next_step += venue.scene.step
            self._step(venue)
        self._now = max(self._now, now)

    def next_due(self) -> int:
        """See `Background.next_due`."""
        return min(venue.next_step for venue in self.venues)

    def _step(self, venue: Venue) -> None:
        """One instant of a market: the value moves, orders expire, traders act one after another."""
        scene = venue.scene
        scene.now = self._now
        scene.move()
        self._apply(venue, [[_TIME, 0, 0, 0, 0, 0, 0, self._now]])
        if venue.listing.number in self._halted:
            return
        for trader in venue.traders:
            scene.bid = venue.book.best(Side.BUY) or 0
            scene.ask = venue.book.best(Side.SELL) or 0
            scene.last = venue.book.last or 0
            rows = list(trader.act(scene))
            if rows:
                for row in rows:
                    if row[0] != _CANCEL:
                        venue.owner[row[1]] = trader
                self._apply(venue, rows)

    def _apply(self, venue: Venue, rows: list[Row]) -> None:
        reports = venue.book.apply(np.array(rows, np.int64))
        if len(reports):
            venue.changed = True
            self._read(venue, reports)

    # What the engine says.

    def _read(self, venue: Venue, reports: Words) -> None:
        for row in reports.tolist():
            kind = ExecType(int(exec_type(row[R_WHAT])))
            if kind is ExecType.TRADE:
                self._trade(venue, row)
            elif row[R_ID] in self._orders:
                self._ours(kind, row)
            elif kind in (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED):
                trader = venue.owner.pop(row[R_ID], None)
                if trader is not None:
                    trader.open.discard(row[R_ID])

    def _trade(self, venue: Venue, row: Row) -> None:
        side, qty, price = int(side_of(row[R_WHAT])), row[R_QTY], row[R_PRICE]
        venue.prints.append(Print(self._now, price, qty, side))
        sides = (
            (row[R_ID], side, row[R_LEAVES], False),
            (row[R_CONTRA], 3 - side, row[R_CONTRA_LEAVES], True),
        )
        for ident, own_side, leaves, maker in sides:
            trader = venue.owner.get(ident)
            if trader is not None:
                trader.traded(own_side, qty, price)
                if not leaves:
                    trader.open.discard(ident)
                    del venue.owner[ident]
            elif ident in self._orders:
                if not leaves:
                    del self._orders[ident]
                made = Execution(ExecType.TRADE, ident, self._now, qty, price, maker, leaves=leaves)
                self._sink(made)

    def _ours(self, kind: ExecType, row: Row) -> None:
        ident, why = row[R_ID], Reason(int(reason(row[R_WHAT])))
        order = self._orders[ident]
        if kind is ExecType.RESTATED and why is not Reason.SELF_TRADE:
            return  # an iceberg's next part, a trailing stop's move: nothing the dialect tells
        if kind in (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED):
            del self._orders[ident]
        code = _REASONS.get(why, int(why))
        if kind is ExecType.CANCELED and why in _UNFILLED:
            kind = ExecType.EXPIRED
            if why is Reason.REMAINDER:
                code = R_NO_LIQUIDITY if order.ord_type is OrdType.MARKET else R_IOC
        price = 0 if row[R_PRICE] == NO_PRICE else row[R_PRICE]
        self._sink(
            Execution(kind, ident, self._now, qty=row[R_QTY], price=price, leaves=row[R_LEAVES], reason=code)
        )

    # Orders.

    def _at(self, order: Order, now: int) -> Venue:
        self.advance(now)
        return self.venues[order.listing.number]

    def place(self, order: Order, now: int) -> None:
        """See `Background.place`."""
        venue = self._at(order, now)
        self._orders[order.id] = order
        owner = self._owners.setdefault(order.account.owner, len(self._owners) + 1)
        inst = ExecInst.POST_ONLY if order.post_only else 0
        code = what(Command.NEW, order.side, order.ord_type, order.tif, order.self_trade, inst)
        extra = order.display or order.offset
        stop = order.stop or NO_PRICE
        expire = order.expire if order.tif is TimeInForce.GTD else 0
        self._apply(
            venue, [[int(code), order.id, owner, order.qty, order.price or NO_PRICE, stop, extra, expire]]
        )

    def cancel(self, order: Order, now: int) -> None:
        """See `Background.cancel`."""
        self._apply(self._at(order, now), [[_CANCEL, order.id, 0, 0, NO_PRICE, NO_PRICE, 0, 0]])

    def replace(self, order: Order, qty: int, price: int, now: int) -> None:
        """See `Background.replace`. A total that has filled already ends the order, as a capture's does."""
        if qty <= order.cum:
            self.cancel(order, now)
            return
        row = [_REPLACE, order.id, 0, qty, price or NO_PRICE, NO_PRICE, 0, 0]
        self._apply(self._at(order, now), [row])

    def halt(self, instrument: int, halted: bool, now: int) -> None:
        """See `Background.halt`: the agents stand still, too."""
        self.advance(now)
        (self._halted.add if halted else self._halted.discard)(instrument)

    # The market.

    def touch(self, instrument: int) -> tuple[int, int]:
        """See `Background.touch`."""
        book = self.venues[instrument].book
        return book.best(Side.BUY) or 0, book.best(Side.SELL) or 0

    def last(self, instrument: int) -> int:
        """See `Background.last`."""
        return self.venues[instrument].book.last or 0
