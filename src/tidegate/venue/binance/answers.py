"""Answers to requests for orders: what was done, what was refused, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecType
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.errors import THROTTLED, UNKNOWN_ORDER, UNKNOWN_OUTCOME
from tidegate.venue.binance.events import Events
from tidegate.venue.binance.limits import Limits
from tidegate.venue.binance.orders import Known, Orders
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.requests import Params
from tidegate.venue.binance.symbols import Symbols

Request = SendNew | SendCancel | SendReplace
_LONGEST_WAIT = 1_000_000
"""Seconds; a longer wait is no wait but a time."""
_PARTLY, _NEITHER = -2021, -2022
"""A cancel-and-replace (spot) that cancelled only; that did nothing."""


@dataclass
class Pending:
    """A request on its way, and the order it is about; or a question whose answer `future` takes."""

    request: Request | None
    known: Known | None
    future: asyncio.Future[Any] | None = None
    method: str = ""
    params: Params = field(default_factory=dict)
    sent: int = 0
    tries: int = 1
    expected: int = 0
    """Lots filled when a replace on spot was sent."""


class Answers:
    """Turns answers into reports."""

    def __init__(
        self,
        product: Product,
        symbols: Symbols,
        orders: Orders,
        events: Events,
        limits: Limits,
        counts: Counter[str],
    ) -> None:
        self._product, self._symbols, self._orders = product, symbols, orders
        self._events, self._limits, self._counts = events, limits, counts

    def done(self, pending: Pending, result: dict[str, Any], ts: int, venue_now: int) -> list[Report]:
        """The request was carried out."""
        known, request = pending.known, pending.request
        assert known is not None
        if isinstance(request, SendNew):
            return self._events.placed(known, result, ts, venue_now)
        if isinstance(request, SendCancel):
            return self._events.canceled(known, result, ts, venue_now)
        if self._product.chains:
            return self._events.succeeded(known, result, ts, venue_now)
        return self._events.modified(known, result, ts, venue_now)

    def too_large(self, pending: Pending) -> bool:
        """Whether a successor was placed for more than the order has left, for a fill crossed the replace on the wire:
        it must be replaced again at once."""
        known = pending.known
        if not self._product.chains or not isinstance(pending.request, SendReplace) or known is None:
            return False
        before = sum(lots for number, lots in known.filled.items() if number < known.generation)
        if before <= pending.expected:
            return False
        self._counts["replaces corrected"] += 1
        return True

    def failed(
        self, pending: Pending, status: int, code: int, message: str, data: Any, ts: int, venue_now: int
    ) -> list[Report]:
        """The venue answered with an error. Nothing is reported where it may have acted all the same."""
        request, known = pending.request, pending.known
        if status in (418, 429) or code in THROTTLED:
            self._throttled(status, data, venue_now)
        elif status >= 500 or code in UNKNOWN_OUTCOME:
            self._counts["outcomes unknown"] += 1
            return []
        if isinstance(request, SendReplace) and known is not None:
            known.replacing = False
            if self._product.chains and isinstance(data, dict):
                if code == _PARTLY:
                    return self._successor_refused(pending, data, ts, venue_now)
                inner = data.get("cancelResponse")
                if code == _NEITHER and isinstance(inner, dict):
                    code, message = int(inner.get("code", 0)), str(inner.get("msg", ""))
        reason = self._events.refused(code, message)
        if (
            isinstance(request, SendCancel)
            and code in UNKNOWN_ORDER
            and known is not None
            and known.new is None
        ):
            self._orders.end(known)  # it is nobody's
        if reason == Reason.DUPLICATE_CL_ORD_ID and isinstance(request, SendNew):
            # The id is taken: by this very order, sent before. Whether it lives is for the venue to say.
            self._counts["orders sent twice"] += 1
            return []
        self._counts["requests refused"] += 1
        assert request is not None
        report = self.refusal(request, reason, ts)
        report.ts_venue = venue_now
        if isinstance(request, SendNew) and known is not None:
            if not known.once(ExecType.REJECTED):
                return []
            self._orders.end(known)
        return [report]

    def refusal(self, request: Request, reason: int, ts: int) -> Report:
        """The report of a request that was refused."""
        if isinstance(request, SendNew):
            return Report(ts, request.cl_ord_id, ExecType.REJECTED, leaves_qty=0, reason=int(reason))
        report = Report(ts, request.cl_ord_id, ExecType.CANCEL_REJECTED, reason=int(reason))
        if isinstance(request, SendReplace):
            report.qty, report.price = request.qty, request.price
        return report

    def crossed(self, pending: Pending, data: Any) -> bool:
        """Whether a replace on spot was refused because the order had filled on the way, and can be sent again for
        what is left."""
        request, known = pending.request, pending.known
        if not isinstance(request, SendReplace) or known is None or not isinstance(data, dict):
            return False
        refused = data.get("cancelResponse") or {}
        if "restriction" not in str(refused.get("msg", "")).lower():
            return False
        return pending.expected < known.cum < request.qty

    def _successor_refused(
        self, pending: Pending, data: dict[str, Any], ts: int, venue_now: int
    ) -> list[Report]:
        """The order was cancelled, its successor refused: it is over."""
        known, why = pending.known, data.get("newOrderResponse") or {}
        assert known is not None
        self._counts["replaces that only canceled"] += 1
        found = self._events.canceled(known, {**data["cancelResponse"], "status": "CANCELED"}, ts, venue_now)
        for report in found:
            report.reason = self._events.refused(int(why.get("code", 0)), str(why.get("msg", "")))
        return found

    def _throttled(self, status: int, data: Any, venue_now: int) -> None:
        """The venue said "too many", and how long to wait: until a time in ms of its clock, or for some seconds."""
        self._counts["rate limit hit"] += 1
        after = data.get("retryAfter") if isinstance(data, dict) else None
        seconds = float(after) if isinstance(after, int) else None
        if seconds is not None and seconds > _LONGEST_WAIT:
            seconds = max(0.0, (seconds * MS - venue_now) / SECOND)
        self._limits.block(venue_now, seconds, banned=status == 418)
