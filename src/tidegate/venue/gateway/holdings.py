"""`{"do": "holdings"}`: what the account holds at the venue and in our books, looked at now, for people to judge."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec

from tidegate.execution.holdings import Holding, Holdings, explain
from tidegate.execution.ids import lane_of
from tidegate.execution.lane_view import LaneView
from tidegate.log.base import LogError
from tidegate.model import money
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.time import DAY
from tidegate.risk.position import Terms
from tidegate.venue.gateway.control import Order, Refused
from tidegate.venue.gateway.history import History
from tidegate.venue.gateway.reconciler import Reconciler
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.port import HoldingVenue, Venue, VenueDown, VenueOrder

LOOK_BACK = DAY
"""How far back the venue's trades are read for what explains a difference."""
_ORDERS = 50
"""Foreign orders named at most."""


class HoldingsDesk:
    """Looks as reconciliation does: whatever the venue showed, the lanes have had their chance to know."""

    def __init__(
        self,
        venue_name: str,
        account_name: str,
        lanes: Sequence[int],
        venue: Venue,
        universe: Universe,
        clock: Clock,
        reports: Reports,
        history: History,
        reconciler: Reconciler,
        settings: GatewaySettings,
    ) -> None:
        self._venue_name, self._account_name, self._lanes = venue_name, account_name, list(lanes)
        self._venue, self._universe, self._clock = venue, universe, clock
        self._reports, self._history, self._reconciler = reports, history, reconciler
        self._settings = settings

    async def answer(self, _: Order) -> dict[str, Any]:
        """See `execution.holdings.Holdings`."""
        try:
            found = await self.look()
        except (VenueDown, LogError) as error:
            raise Refused(f"{self._venue_name}: {error}") from None
        return {k: v for k, v in msgspec.to_builtins(found).items() if k not in ("ok", "do")}

    async def look(self) -> Holdings:
        """A look of its own; raises `VenueDown`, `LogError`, or `Refused` where it cannot be finished."""
        if not self._venue.connected:
            raise Refused("the venue's session is lost")
        began = self._clock.now()
        since = began - LOOK_BACK
        before = await self._venue.positions()
        await self._history.read(self._settings.overlap, False)
        trades = await self._venue.fills(since)
        orders = await self._venue.open_orders()
        if not await self._reports.drained(self._settings.ask_for):
            raise Refused("reports could not be stored")
        ids = {fill.report.cl_ord_id for fill in trades} | {order.cl_ord_id for order in orders}
        views = await self._reconciler.views(ids - {0})
        after = await self._venue.positions()
        entries = await self._venue.entries() if isinstance(self._venue, HoldingVenue) else {}
        told = [view for view in views.values() if view is not None]
        if len(told) < len(views):
            raise Refused("a lane does not answer: see `tidegate ps`")
        known = {order.cl_ord_id: order for view in told for order in (*view.orders, *view.closed)}
        why = explain(trades, known)
        rows = [
            self._row(n, lots, before.get(n, 0) != lots, told, entries.get(n), why.get(n, (0, 0, ())))
            for n, lots in sorted(after.items())
        ]
        foreign = [order for order in orders if lane_of(order.cl_ord_id) not in views or not order.cl_ord_id]
        return Holdings(
            venue=self._venue_name,
            account=self._account_name,
            lane=self._lanes[0],
            ts=began,
            since=since,
            rows=tuple(row for row in rows if row.venue or row.ours or row.nobody),
            orders=tuple(map(self._order, foreign[:_ORDERS])),
        )

    def _row(
        self,
        n: int,
        lots: int,
        moving: bool,
        views: Sequence[LaneView],
        entry: Decimal | None,
        why: tuple[int, int, tuple[str, ...]],
    ) -> Holding:
        item = self._universe[n]
        price = int((entry / item.tick).to_integral_value(ROUND_HALF_EVEN)) if entry else 0
        lost, foreign, trades = why
        settle = item.settle_currency
        worth = money.from_units(Terms(item).cost(lots, price), settle) if price and lots else None
        return Holding(
            instrument=item.id,
            venue=lots,
            ours=sum(view.positions.get(n, 0) for view in views),
            nobody=sum(view.nobody.get(n, 0) for view in views),
            entry=f"{entry.normalize():f}" if entry else "",
            price=price,
            tick=str(item.tick),
            value="" if worth is None else str(worth),
            currency=settle,
            moving=moving,
            lost=lost,
            foreign=foreign,
            trades=trades,
        )

    def _order(self, order: VenueOrder) -> str:
        item = self._universe[order.instrument]
        if order.unread:
            return f"{item.id}: cannot be read: {order.unread} ({order.text_id!r})"
        side = order.side.name.lower()
        return f"{item.id}: {side} {order.leaves_qty} lots at {order.price * item.tick:f} ({order.text_id!r})"
