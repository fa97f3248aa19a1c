"""The venue's history of fills: read from the cursor, compared with the stream, adopted; the cursor follows."""

from __future__ import annotations

import asyncio
from collections import Counter

from tidegate.model.clock import Clock
from tidegate.model.order import ExecType, Side
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.dropcopy import DropCopy
from tidegate.venue.gateway.memory import Memory
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.port import Venue, VenueFill


class History:
    """`read` is called by the drop copy, as often as the venue bears, and by reconciliations, one after another."""

    def __init__(
        self,
        venue: Venue,
        reports: Reports,
        dropcopy: DropCopy,
        memory: Memory,
        alerts: Alerts,
        clock: Clock,
        counts: Counter[str],
    ) -> None:
        self._venue, self._reports, self._dropcopy, self._memory = venue, reports, dropcopy, memory
        self._alerts, self._clock, self._counts = alerts, clock, counts
        self._lock = asyncio.Lock()
        self._next: tuple[int, dict[int, int]] | None = None
        self.read_at = float("-inf")
        """When it was last read, loop time."""

    @property
    def idle(self) -> bool:
        """Whether stream and history agree on every fill."""
        return self._dropcopy.settled and self._next is None and self._reports.lost_from is None

    async def read(self, overlap: float, expected: bool) -> list[VenueFill]:
        """Adopt what the stream has not told, and give it. `expected`: the stream had a gap. Raises `VenueDown`."""
        async with self._lock:
            memory, lost = self._memory.saved, self._reports.lost_from
            if not memory.cursor:
                memory.cursor = self._clock.now()
            since = memory.cursor - round(overlap * 1e9)
            for earlier in (lost, self._dropcopy.oldest):
                since = since if earlier is None else min(since, earlier)
            fills = await self._venue.fills(max(since, 0))
            self.read_at = asyncio.get_running_loop().time()
            found = self._dropcopy.compare(fills, self._clock.now(), expected)
            self._reports.lost_from = None
            if found.fresh:
                self._reports.from_history(found.fresh)
            for fill in found.untold:
                self._alarm(
                    "fill_untold",
                    f"the venue's stream did not tell a fill of {fill.report.last_qty} lots",
                    fill,
                )
            for report in found.unknown:
                text = f"the venue's history lacks a fill of {report.last_qty} lots that its stream told"
                self._alarm("fill_unknown", text, VenueFill(report, -1, Side.BUY))
            self._advance(max((fill.report.ts_venue for fill in fills), default=0))
            self._dropcopy.forget(since - round(overlap * 1e9))
            return found.fresh

    def _alarm(self, kind: str, text: str, fill: VenueFill) -> None:
        r = fill.report
        self._counts[kind] += 1
        self._alerts.say(
            kind, "high", text, cl_ord_id=r.cl_ord_id, exec_id=r.exec_id, last_qty=r.last_qty, last_px=r.last_px,
            instrument=fill.instrument, exec_type=ExecType(r.exec_type).name,
        )  # fmt: skip

    def _advance(self, latest: int) -> None:
        """The cursor moves to what an earlier reading showed, once all that was delivered by then is stored."""
        marks = self._reports.marks()
        if self._next is not None and self._reports.passed(self._next[1]):
            self._move(self._next[0])
            self._next = None
        if self._next is None and latest > self._memory.saved.cursor:
            self._next = (latest, marks)
            if self._reports.passed(marks):
                self._move(latest)
                self._next = None

    def _move(self, cursor: int) -> None:
        lost = self._reports.lost_from
        if lost is not None:
            cursor = min(cursor, lost - 1)
        self._memory.saved.cursor = max(self._memory.saved.cursor, cursor)
