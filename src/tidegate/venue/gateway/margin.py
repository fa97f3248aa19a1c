"""The venue's wallets and margin: fetched, compared with ours, and told to whoever watches over them.

Every `margin_every` seconds, and within a second of a change of money that no fill explains, the account's wallets and
margin are asked for, and once an hour its tiers. What differs from our own sum over the same positions is an alert, at
most once a minute for each figure. The statement is published as it came, on `margin.<VENUE>.<account>`. Of spot it is
what is held.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import msgspec

from tidegate.errors import UserError
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.time import HOUR
from tidegate.risk.margin.compare import Difference, VenueMargin, differences, tier_differences
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.port import MarginVenue, Venue, VenueDown, VenueRefused

TIERS_EVERY = HOUR
FIRST = 1.0
"""Seconds between tries until the venue has answered once; the least between two looks."""


class MarginCheck:
    """`last` is the last statement; `differs` what it did not agree on, for people."""

    def __init__(
        self, name: str, venue: Venue, universe: Universe, log: Log, clock: Clock, alerts: Alerts,
        counts: Counter[str], every: float,
    ) -> None:  # fmt: skip
        self.last: VenueMargin | None = None
        self.differs: list[str] = []
        self._subject, self._venue_name = f"margin.{name}", name.partition(".")[0]
        self._venue, self._universe, self._log, self._clock = venue, universe, log, clock
        self._alerts, self._counts, self._every = alerts, counts, every
        self._tiers_due = 0

    async def run(self) -> None:
        """Look again and again, as long as the venue has wallets, and soon after they have changed."""
        changed = asyncio.Event()
        if isinstance(self._venue, MarginVenue):
            self._venue.on_money(changed.set)
        while self._every and await self.once():
            await asyncio.sleep(min(self._every, FIRST))
            if self.last is not None:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), max(0.0, self._every - FIRST))
            changed.clear()

    async def once(self) -> bool:
        """One look; False where there is no margin to look at."""
        venue = self._venue
        if not isinstance(venue, MarginVenue):
            return False
        if not venue.connected:
            return True
        now = self._clock.now()
        try:
            said = await venue.margin(with_tiers=now >= self._tiers_due)
        except (VenueDown, VenueRefused):
            self._counts["margin_unanswered"] += 1
            return True
        except UserError as error:  # tiers that make no table: the figures are asked for without them
            self._tiers_due = now + TIERS_EVERY
            self._alerts.say(
                "margin_tiers", "high", f"the venue's margin tiers cannot be read: {error}", key="tiers"
            )
            return True
        if said is None:
            return False
        self._counts["margin_looks"] += 1
        self.last = said
        found = differences(self._universe, said)
        if said.tiers:
            self._tiers_due = now + TIERS_EVERY
            found += tier_differences(self._universe, self._venue_name, said.tiers)
        self.differs = [difference.text for difference in found]
        for difference in found:
            self._tell(difference)
        self._log.publish(self._subject, msgspec.structs.replace(said, tiers={}).encode())
        return True

    def _tell(self, found: Difference) -> None:
        self._counts["margin_differs"] += 1
        self._alerts.say(
            "margin_differs", "high", found.text, key=(found.what, found.of), what=found.what, of=found.of,
            ours=found.ours, theirs=found.theirs,
        )  # fmt: skip
