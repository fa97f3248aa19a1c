"""Lanes' questions about single orders, passed on to the venue: each once at a time, a few at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from tidegate.model.messages import SendStatus
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.port import Venue, VenueDown

AT_ONCE = 8


class Asker:
    """What the venue says becomes reports."""

    def __init__(self, venue: Venue, reports: Reports, counts: Counter[str]) -> None:
        self._venue, self._reports, self._counts = venue, reports, counts
        self._asked: set[int] = set()
        self._asking = asyncio.Semaphore(AT_ONCE)

    def new(self, m: SendStatus) -> bool:
        """Whether the question is not under way already; it is from now on."""
        if m.cl_ord_id in self._asked:
            return False
        self._asked.add(m.cl_ord_id)
        return True

    async def ask(self, m: SendStatus) -> None:
        """Ask; a venue that does not answer is asked again by the lane."""
        try:
            async with self._asking:
                self._reports.deliver(await self._venue.status(m))
        except VenueDown:
            self._counts["status_unanswered"] += 1
        finally:
            self._asked.discard(m.cl_ord_id)
