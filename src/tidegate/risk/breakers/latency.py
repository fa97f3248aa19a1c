"""Venues that answer late, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tidegate.model.messages import OrderEvent
from tidegate.model.order import OrdStatus
from tidegate.model.time import SECOND
from tidegate.risk.breakers.settings import LatencyRule
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.exposure import Open

LATENCY = "latency"


class LatencyBreaker:
    """From a new order's request to the venue's first word on it, as its gateway heard it: what waited in the lane's
    log before is no venue's fault. `names` are the venues' scopes."""

    def __init__(self, rule: LatencyRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self._late: list[deque[bool]] = [deque(maxlen=rule.of) for _ in names]

    def apply(self, e: OrderEvent, before: Open | None, venue: int) -> Trip | None:
        """An event of an order that was open; it is marked as answered here."""
        if before is None or before.acked or e.status == OrdStatus.PENDING_NEW:
            return None
        if e.exec_type is None and e.status == OrdStatus.PENDING_CANCEL:
            return None  # our own wish, and no answer
        if e.status == OrdStatus.UNKNOWN:
            before.doubted = True
            return None
        before.acked = True
        if before.doubted and e.status >= OrdStatus.FILLED and not e.cum_qty:
            return None  # the venue never had it: it was lost on our side, in a gateway that died
        late = before.doubted or e.ts - before.sent > self.rule.limit
        last = self._late[venue]
        last.append(late)
        rule, share = self.rule, self.rule.share
        if not late or len(last) < rule.of or not share.is_finite() or sum(last) < float(share) * rule.of:
            return None
        name = self.names[venue]
        text = f"{sum(last)} of the last {rule.of} orders at {name} were not answered within {rule.limit / SECOND:g} s"
        return Trip(e.ts, name, rule.to, LATENCY, text, rule.limit / SECOND, (e.ts - before.sent) / SECOND)

    def rearm(self, venue: int) -> None:
        """People re-armed it."""
        self._late[venue].clear()
