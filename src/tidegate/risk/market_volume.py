"""A market's volume a day, from a counter of what was traded: known once a day was followed nearly without a gap. Pure."""

from __future__ import annotations

from tidegate.model.time import HOUR, MINUTE
from tidegate.risk.market_shares import UNKNOWN

HOURS = 24
"""The whole hours before this one that are summed."""
ENOUGH = 0.9
"""Part of them that must have been followed; the rest is taken to be like it."""


class MarketVolume:
    """One instrument's. `hours` has lots traded and time followed (ns) by the hour since the epoch."""

    def __init__(self) -> None:
        self.hours: dict[int, tuple[int, int]] = {}
        self._last = (0, 0)

    def look(self, now: int, traded: int) -> bool:
        """`traded` lots since the feed began; whether an hour has ended. A feed that begins anew, and a pause of more
        than a minute, leave a gap."""
        (at, before), self._last = self._last, (now, traded)
        if not at or not 0 < now - at <= MINUTE or traded < before:
            return False
        hour = now // HOUR
        ended = hour not in self.hours
        lots, followed = self.hours.get(hour, (0, 0))
        self.hours[hour] = lots + traded - before, followed + now - at
        if ended:
            for old in [h for h in self.hours if h < hour - HOURS]:
                del self.hours[old]
        return ended

    def a_day(self, now: int) -> int:
        """Lots a day, `UNKNOWN` before it is known."""
        hour = now // HOUR
        past = [found for h, found in self.hours.items() if hour - HOURS <= h < hour]
        followed = sum(time for _, time in past)
        if followed < ENOUGH * HOURS * HOUR:
            return UNKNOWN
        return sum(lots for lots, _ in past) * HOURS * HOUR // followed
