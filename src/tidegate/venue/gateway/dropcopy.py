"""Drop copy: the venue's history of fills beside what its stream told, each fill in both, or people hear of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.model.messages import Report
from tidegate.model.order import ExecType
from tidegate.venue.port import VenueFill

Key = tuple[int, int]
"""(ClOrdID, ExecID). Of a stranger's order the ClOrdID is 0."""


class Findings(msgspec.Struct):
    """`fresh` are fills to append; the other two are for alerts, each told once."""

    fresh: list[VenueFill] = []
    untold: list[VenueFill] = []
    unknown: list[Report] = []


class DropCopy:
    """Times in ns: `stream_grace` until a fill the stream has not told is alarming, `history_after` until one is
    that the history does not have."""

    def __init__(self, stream_grace: int, history_after: int) -> None:
        self._stream_grace, self._history_after = stream_grace, history_after
        self._told: dict[Key, tuple[int, Report]] = {}
        """What the stream told and the history has not shown yet: when, and what."""
        self._seen: dict[Key, int] = {}
        """What the history has shown: venue time."""
        self._late: dict[Key, tuple[int, VenueFill]] = {}
        """What the history has shown and the stream has not told yet: since when."""
        self._untold: set[Key] = set()
        """Told by the stream, and to be found again all the same."""

    def __len__(self) -> int:
        return len(self._told) + len(self._seen)

    def tell(self, report: Report, now: int) -> None:
        """The stream told of this."""
        if report.exec_type is ExecType.TRADE:
            key = (report.cl_ord_id, report.exec_id)
            self._late.pop(key, None)
            if key not in self._seen:
                self._told[key] = (now, report)
        elif report.exec_type in (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
            self._told.pop((report.cl_ord_id, report.ref_exec_id), None)  # it leaves the history

    def compare(self, fills: Iterable[VenueFill], now: int, expected: bool = False) -> Findings:
        """The history as read now, from `oldest` or before. `expected`: after a gap, when nothing missed is news."""
        found = Findings(fresh=[], untold=[], unknown=[])
        for fill in fills:
            key = (fill.report.cl_ord_id, fill.report.exec_id)
            if key in self._seen:
                continue
            self._seen[key] = fill.report.ts_venue
            if self._told.pop(key, None) is None:
                found.fresh.append(fill)
                if not expected and key not in self._untold:
                    self._late[key] = (now, fill)
                self._untold.discard(key)
        for key, (at, fill) in list(self._late.items()):
            if now - at >= self._stream_grace:
                found.untold.append(fill)
                del self._late[key]
        for key, (at, report) in list(self._told.items()):
            if now - at >= self._history_after:
                found.unknown.append(report)
                del self._told[key]
                self._seen[key] = report.ts_venue
        return found

    def untell(self, report: Report) -> None:
        """A fill could not be kept: it is to be found again."""
        key = (report.cl_ord_id, report.exec_id)
        self._told.pop(key, None)
        self._seen.pop(key, None)
        self._late.pop(key, None)
        self._untold.add(key)

    @property
    def settled(self) -> bool:
        """Whether every fill is in both."""
        return not self._told and not self._late

    @property
    def oldest(self) -> int | None:
        """Venue time of the oldest fill that the history has still to show; None where there is none."""
        return min((report.ts_venue for _, report in self._told.values()), default=None)

    def forget(self, before: int) -> None:
        """Fills before this venue time will not be read again."""
        if len(self._seen) > 1000:
            self._seen = {key: ts for key, ts in self._seen.items() if ts >= before}
