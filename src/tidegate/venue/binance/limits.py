"""The venue's rate limits, kept on our side: cancels go first, then orders, then questions, then polls.

Binance counts in windows aligned to its clock and says in every answer what it has counted: that is adopted where it
is more than ours; it is of the whole address, so processes that share one see each other in it. Each class stays within
its share of a limit, and leaves the rest to those before it; cancels are not held back by a count at all.
Once the venue has said "too many" (429, 418), orders and queries wait until its Retry-After; cancels still go, one at
a time: ten a second after 429, one a second under a ban (418), where more would only lengthen it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.model.time import SECOND
from tidegate.venue.binance.products import Limit, Product

SHARE = 0.8
"""Of new orders and replaces."""
QUESTIONS = 0.7
"""Of what must be known: an order's status, reconciliation, a book to build."""
POLLS = 0.5
"""Of what is asked again and again, and may come later."""
_UNITS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400, "S": 1, "M": 60, "H": 3600, "D": 86_400}
_HEADER = re.compile(r"x-mbx-(used-weight|order-count)-(\d+)([smhd])", re.IGNORECASE)
_LIMITED_PAUSE, _BANNED_PAUSE = SECOND // 10, SECOND
_AT_LEAST = 1.0
"""Seconds to wait after "too many" where the venue does not say how long."""


class Window:
    """One limit and what has been used of it in the window that holds now (ns)."""

    __slots__ = ("_number", "length", "limit", "used")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit.limit
        self.length = limit.seconds * SECOND
        self.used = 0
        self._number = 0

    def room(self, now: int, amount: int, share: float = SHARE) -> bool:
        """Whether `amount` more keeps within the share of the limit."""
        self._roll(now)
        return self.used + amount <= self.limit * share

    def add(self, now: int, amount: int) -> None:
        """It was used."""
        self._roll(now)
        self.used += amount

    def seen(self, now: int, used: int, limit: int = 0) -> None:
        """The venue's own count, and its limit where it says it."""
        self._roll(now)
        self.used = max(self.used, used)
        self.limit = limit or self.limit

    def wait(self, now: int) -> int:
        """Nanoseconds until the next window."""
        return self.length - now % self.length

    def _roll(self, now: int) -> None:
        number = now // self.length
        if number != self._number:
            self._number, self.used = number, 0


class Limits:
    """All limits of one key and address at one product. Times are the venue's, ns."""

    def __init__(self, product: Product) -> None:
        self.weight = Window(product.weight)
        self._order_weight = product.order_weight
        self.orders = {limit.seconds: Window(limit) for limit in product.orders}
        self.blocked_until = 0
        self.banned = False
        self._cancel_at = 0

    def blocked(self, now: int) -> bool:
        """Whether the venue's "too many" is still in force."""
        return now < self.blocked_until

    def order(self, now: int) -> bool:
        """Whether a new order may go; it is counted if so."""
        weight = self._order_weight
        if now < self.blocked_until or (weight and not self.weight.room(now, weight)):
            return False
        for window in self.orders.values():
            if not window.room(now, 1):
                return False
        self.weight.add(now, weight)
        for window in self.orders.values():
            window.add(now, 1)
        return True

    def query(self, now: int, weight: int, share: float = QUESTIONS) -> int:
        """Nanoseconds that a query must wait; 0: it may go, and is counted."""
        if now < self.blocked_until:
            return self.blocked_until - now
        if not self.weight.room(now, weight, share):
            return self.weight.wait(now)
        self.weight.add(now, weight)
        return 0

    def cancel(self, now: int, weight: int = 1) -> int:
        """Nanoseconds that a cancel must wait, 0 unless the venue said "too many"; it is counted if it may go."""
        if now < self.blocked_until:
            if now < self._cancel_at:
                return self._cancel_at - now
            self._cancel_at = now + (_BANNED_PAUSE if self.banned else _LIMITED_PAUSE)
        self.weight.add(now, weight)
        return 0

    def block(self, now: int, seconds: float | None, banned: bool) -> None:
        """The venue said "too many" (429), or that this address is banned for a while (418)."""
        self.blocked_until = max(self.blocked_until, now + round((seconds or _AT_LEAST) * SECOND))
        self.banned = banned

    def headers(self, now: int, headers: Mapping[str, str]) -> None:
        """What a REST answer says has been used."""
        for name, value in headers.items():
            found = _HEADER.fullmatch(name)
            if found and value.isdigit():
                seconds = int(found[2]) * _UNITS[found[3].upper()]
                weight = found[1].lower() == "used-weight"
                self._seen(now, "REQUEST_WEIGHT" if weight else "ORDERS", seconds, int(value), 0)

    def told(self, now: int, rate_limits: Iterable[Mapping[str, Any]]) -> None:
        """What `rateLimits` of a WS API answer or of exchangeInfo says."""
        for entry in rate_limits:
            seconds = _UNITS.get(entry["interval"], 0) * entry["intervalNum"]
            self._seen(now, entry["rateLimitType"], seconds, entry.get("count", 0), entry["limit"])

    def _seen(self, now: int, kind: str, seconds: int, used: int, limit: int) -> None:
        if kind == "REQUEST_WEIGHT" and seconds * SECOND == self.weight.length:
            self.weight.seen(now, used, limit)
        elif kind == "ORDERS" and seconds:
            window = self.orders.get(seconds)
            if window is None:
                if not limit:
                    return
                window = self.orders[seconds] = Window(Limit(limit, seconds))
            window.seen(now, used, limit)
