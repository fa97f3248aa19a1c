"""Cancel all: the venue's mass cancel, then order by order, until its open set is empty. Works without the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendCancel, SendStatus
from tidegate.model.order import ExecType, OrdStatus
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.session import Session
from tidegate.venue.port import Venue, VenueDown, VenueOrder

PAUSE = 0.25
"""Seconds between two rounds."""
INFLIGHT = 5_000_000_000
"""So long (ns) after it was sent, an order of which nothing was heard may still come to rest."""
_ENDS = {
    ExecType.CANCELED: "canceled", ExecType.REJECTED: "rejected", ExecType.EXPIRED: "expired",
}  # fmt: skip
_STATUS_ENDS = {
    OrdStatus.FILLED: "filled", OrdStatus.CANCELED: "canceled", OrdStatus.REJECTED: "rejected",
    OrdStatus.EXPIRED: "expired",
}  # fmt: skip


class Sweeper:
    """New orders are held back while it works. One at a time."""

    def __init__(
        self,
        venue: Venue,
        account: int,
        session: Session,
        reports: Reports,
        clock: Clock,
        counts: Counter[str],
        seconds: float,
    ) -> None:
        self._venue, self._account, self._session, self._reports = venue, account, session, reports
        self._clock, self._counts, self._seconds = clock, counts, seconds
        self._lock = asyncio.Lock()
        self._ends: dict[int, str] = {}

    async def cancel_all(self, instrument: int | None, why: str) -> dict[str, Any]:
        """What became of each order: canceled, filled, open, unknown … `empty` is whether the venue shows none."""
        async with self._lock:
            self._session.holds["cancel_all"] = why
            self._reports.listeners.append(self._hear)
            self._ends = {}
            try:
                return await self._sweep(instrument)
            finally:
                self._reports.listeners.remove(self._hear)
                del self._session.holds["cancel_all"]

    def _hear(self, r: Report) -> None:
        if r.exec_type is ExecType.ORDER_STATUS and r.status in _STATUS_ENDS:
            self._ends[r.cl_ord_id] = _STATUS_ENDS[r.status]
        elif r.exec_type is ExecType.TRADE and r.leaves_qty == 0:
            self._ends[r.cl_ord_id] = "filled"
        elif r.exec_type in _ENDS:
            self._ends[r.cl_ord_id] = _ENDS[r.exec_type]

    async def _sweep(self, instrument: int | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began, rounds = loop.time(), 0
        left: list[VenueOrder] | None
        failed, left = await asyncio.gather(self._mass(instrument), self._open(instrument))
        wanted = {order.cl_ord_id: order.instrument for order in left or () if order.cl_ord_id}
        while True:
            rounds += 1
            if failed:
                failed = await self._mass(instrument)
            young = self._young(instrument)
            wanted |= young
            self._cancel(young)
            left = await self._open(instrument)
            if left is not None:
                ours = {order.cl_ord_id: order.instrument for order in left if order.cl_ord_id}
                wanted |= ours
                self._cancel(ours)
                failed |= any(not order.cl_ord_id for order in left)
            if (left == [] and not self._young(instrument)) or loop.time() - began >= self._seconds:
                break
            await asyncio.sleep(PAUSE)
        for key in self._ends.keys() - wanted.keys():
            if instrument in (None, self._session.instrument(key)):
                wanted[key] = -1  # it ended before it was seen open
        orders = await self._outcomes(wanted, left)
        return {
            "empty": left == [], "orders": orders, "foreign_left": sum(not o.cl_ord_id for o in left or ()),
            "rounds": rounds, "seconds": round(loop.time() - began, 3),
        }  # fmt: skip

    async def _mass(self, instrument: int | None) -> bool:
        """The venue's mass cancel; whether it failed."""
        try:
            await self._venue.cancel_all(instrument)
        except VenueDown:
            self._counts["cancel_all_unanswered"] += 1
            return True
        return False

    async def _open(self, instrument: int | None) -> list[VenueOrder] | None:
        """What is open; None where the venue does not say."""
        try:
            orders = await self._venue.open_orders()
        except VenueDown:
            self._counts["open_orders_unanswered"] += 1
            return None
        return [order for order in orders if instrument in (None, order.instrument)]

    def _young(self, instrument: int | None) -> dict[int, int]:
        """Orders sent a moment ago, of which nothing has been heard."""
        since = self._clock.now() - INFLIGHT
        return {
            key: m.instrument
            for key, m in self._session.inflight.items()
            if m.ts >= since and instrument in (None, m.instrument)
        }

    def _cancel(self, orders: dict[int, int]) -> None:
        now = self._clock.now()
        for key, instrument in orders.items():
            self._venue.send(SendCancel(now, key, self._account, instrument))
        self._counts["sweep_cancels"] += len(orders)

    async def _outcomes(self, wanted: dict[int, int], left: list[VenueOrder] | None) -> dict[str, str]:
        open_still = {order.cl_ord_id for order in left or ()}
        for key, instrument in wanted.items():
            if key in open_still:
                self._ends[key] = "open"
            elif key not in self._ends:
                self._ends[key] = "unknown"
                question = SendStatus(self._clock.now(), key, self._account, instrument)
                try:
                    self._reports.deliver(await self._venue.status(question))
                except VenueDown:
                    self._counts["status_unanswered"] += 1
        return {str(key): self._ends[key] for key in sorted(wanted)}
