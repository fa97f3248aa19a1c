"""Cancel all of a target: the venue's mass cancel where it fits, then order by order, until its open set is empty.

Works without the log. Several sweeps may go on at once: a halt of the firm waits for none of a strategy.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendCancel, SendStatus
from tidegate.model.order import ExecType, OrdStatus
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.session import Session
from tidegate.venue.gateway.target import Target
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
Owners = Callable[[list[int]], Awaitable[dict[int, int]]]
"""Asks the lanes: the strategy of each of these orders that they know."""


class Sweeper:
    """Cancels at one venue for one account. New orders of the target are held back while it works."""

    def __init__(
        self,
        venue: Venue,
        account: int,
        session: Session,
        reports: Reports,
        clock: Clock,
        counts: Counter[str],
        seconds: float,
        owners: Owners,
    ) -> None:
        self.venue, self.account, self.session, self.reports = venue, account, session, reports
        self.clock, self.counts, self.seconds, self.owners = clock, counts, seconds, owners

    async def cancel_all(self, target: Target, why: str) -> dict[str, Any]:
        """What became of each order: canceled, filled, open, unknown … `empty` is whether the venue shows none, `failed`
        what went wrong unexpectedly, if anything did. Raises nothing."""
        sweep = _Sweep(self, target)
        self.session.sweeps[sweep] = target, why
        self.reports.listeners.append(sweep.hear)
        try:
            return await sweep.run()
        except Exception as error:
            sweep.fails("sweep_failed", error)
            return {
                "empty": False,
                "orders": {},
                "foreign_left": 0,
                "rounds": 0,
                "seconds": 0.0,
                "failed": sweep.failed,
            }
        finally:
            self.reports.listeners.remove(sweep.hear)
            del self.session.sweeps[sweep]


class _Sweep:
    """One of them."""

    def __init__(self, sweeper: Sweeper, target: Target) -> None:
        self._s, self._target = sweeper, target
        self._ends: dict[int, str] = {}
        self._strategies: dict[int, int] = {}
        """Of orders that this process did not send."""
        self.failed = ""

    def fails(self, count: str, error: Exception) -> None:
        """The venue, or its adapter, did what none should: the rest is cancelled all the same, and all is tried again."""
        self._s.counts[count] += 1
        if not isinstance(error, VenueDown):
            self.failed = repr(error)

    def hear(self, r: Report) -> None:
        """A report came: an end, or the word that an order in flight has come to rest."""
        if r.exec_type is ExecType.ORDER_STATUS and r.status in _STATUS_ENDS:
            self._ends[r.cl_ord_id] = _STATUS_ENDS[r.status]
        elif r.exec_type is ExecType.TRADE and r.leaves_qty == 0:
            self._ends[r.cl_ord_id] = "filled"
        elif r.exec_type in _ENDS:
            self._ends[r.cl_ord_id] = _ENDS[r.exec_type]
        elif r.exec_type is ExecType.NEW:
            instrument = self._s.session.instrument(r.cl_ord_id)
            if instrument >= 0 and self._ours(r.cl_ord_id, instrument):
                self._cancel({r.cl_ord_id: instrument})

    def _ours(self, key: int, instrument: int) -> bool:
        strategy = self._s.session.strategy(key)
        return self._target.covers(self._strategies.get(key, -1) if strategy < 0 else strategy, instrument)

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began, rounds = loop.time(), 0
        young = self._young()
        self._cancel(young)
        failed, left = await asyncio.gather(self._mass(), self._open())
        wanted = {order.cl_ord_id: order.instrument for order in left or () if order.cl_ord_id} | young
        while True:
            rounds += 1
            if failed:
                failed = await self._mass()
            young = self._young()
            wanted |= young
            self._cancel(young)
            left = await self._open()
            if left is not None:
                ours = {order.cl_ord_id: order.instrument for order in left if order.cl_ord_id}
                wanted |= ours
                self._cancel(ours)
                failed |= any(not order.cl_ord_id for order in left)
            if (left == [] and not self._young()) or loop.time() - began >= self._s.seconds:
                break
            await asyncio.sleep(PAUSE)
        for key in self._ends.keys() - wanted.keys():
            instrument = self._s.session.instrument(key)
            if self._target.whole or (instrument >= 0 and self._ours(key, instrument)):
                wanted[key] = -1  # it ended before it was seen open
        orders = await self._outcomes(wanted, left)
        return {
            "empty": left == [], "orders": orders, "foreign_left": sum(not o.cl_ord_id for o in left or ()),
            "rounds": rounds, "seconds": round(loop.time() - began, 3), "failed": self.failed,
        }  # fmt: skip

    async def _mass(self) -> bool:
        """The venue's mass cancel, where it takes no more than the target; whether it failed."""
        if self._target.strategy >= 0:
            return False
        try:
            await self._s.venue.cancel_all(None if self._target.whole else self._target.instrument)
        except Exception as error:
            self.fails("cancel_all_unanswered", error)
            return True
        return False

    async def _open(self) -> list[VenueOrder] | None:
        """What of the target is open; None where the venue does not say."""
        try:
            orders = await self._s.venue.open_orders()
        except Exception as error:
            self.fails("open_orders_unanswered", error)
            return None
        if self._target.strategy >= 0:
            orders = [order for order in orders if order.cl_ord_id]  # what others placed is no strategy's
            known = self._strategies
            asked = [
                o.cl_ord_id
                for o in orders
                if self._s.session.strategy(o.cl_ord_id) < 0 and o.cl_ord_id not in known
            ]
            if asked:
                known |= dict.fromkeys(asked, -1) | await self._s.owners(asked)
        return [order for order in orders if self._ours(order.cl_ord_id, order.instrument)]

    def _young(self) -> dict[int, int]:
        """Orders of the target sent a moment ago, of which nothing has been heard."""
        since = self._s.clock.now() - INFLIGHT
        return {
            key: m.instrument
            for key, m in self._s.session.inflight.items()
            if m.ts >= since and self._target.covers(m.strategy, m.instrument)
        }

    def _cancel(self, orders: dict[int, int]) -> None:
        now = self._s.clock.now()
        for key, instrument in orders.items():
            try:
                self._s.venue.send(SendCancel(now, key, self._s.account, instrument))
            except Exception as error:
                self.fails("send_failed", error)
        self._s.counts["sweep_cancels"] += len(orders)

    async def _outcomes(self, wanted: dict[int, int], left: list[VenueOrder] | None) -> dict[str, str]:
        open_still = {order.cl_ord_id for order in left or ()}
        for key, instrument in wanted.items():
            if key in open_still:
                self._ends[key] = "open"
            elif key not in self._ends:
                self._ends[key] = "unknown"
                question = SendStatus(self._s.clock.now(), key, self._s.account, instrument)
                try:
                    self._s.reports.deliver(await self._s.venue.status(question))
                except Exception as error:
                    self.fails("status_unanswered", error)
        return {str(key): self._ends[key] for key in sorted(wanted)}
