"""Reports on their way into the lanes' logs: batched by loop iteration, stored in order, none lost unseen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from tidegate.execution.ids import lane_of
from tidegate.log.base import Log, LogError
from tidegate.log.outbox import Item, Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import Report
from tidegate.model.order import ExecType
from tidegate.model.wire import pack
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.dropcopy import DropCopy
from tidegate.venue.gateway.session import Session
from tidegate.venue.port import VenueFill

BATCH = 256
"""Most reports in one entry."""
TRACED = 16
"""Batches up to this size are split by the trace their orders carry; larger ones carry none."""
_ANSWERS = frozenset((ExecType.ORDER_STATUS, ExecType.NOT_FOUND, ExecType.CANCEL_REJECTED))
"""Reports of which two that say the same may still be two."""
_encode = msgspec.msgpack.Encoder().encode


def identity(reports: Sequence[Report]) -> str:
    """The message id of a batch: the same for the same reports, whenever they were received."""
    digest = blake2b(digest_size=12)
    for r in reports:
        digest.update(_encode(r if r.exec_type in _ANSWERS else msgspec.structs.replace(r, ts=0)))
    return f"r{digest.hexdigest()}"


class Reports:
    """`listeners` hear every report; `moved` collects, while it is a set, the ClOrdIDs of fills that come."""

    def __init__(
        self,
        lanes: Sequence[int],
        log: Log,
        clock: Clock,
        session: Session,
        dropcopy: DropCopy,
        alerts: Alerts,
        counts: Counter[str],
        bound: int,
        alive: Callable[[], None],
    ) -> None:
        self.outboxes = {lane: Outbox(log, bound, counts, alive, self._refused) for lane in lanes}
        self.listeners: list[Callable[[Report], None]] = []
        self.moved: set[int] | None = None
        self.lost_from: int | None = None
        """Venue time of the oldest fill that could not be kept."""
        self._clock, self._session, self._dropcopy = clock, session, dropcopy
        self._alerts, self._counts = alerts, counts
        self._waiting: dict[int, list[Report]] = {}
        self._scheduled = False

    def from_stream(self, reports: Sequence[Report]) -> None:
        """What the venue's session told."""
        now = self._clock.now()
        for r in reports:
            self._dropcopy.tell(r, now)
        self._counts["reports"] += len(reports)
        self.deliver(reports)

    def from_history(self, fills: Sequence[VenueFill]) -> None:
        """Fills that the venue's history has and its stream has not told."""
        self._counts["fills_recovered"] += len(fills)
        self.deliver([fill.report for fill in fills])

    def deliver(self, reports: Sequence[Report]) -> None:
        """Store them for their lanes, with all others of this loop iteration."""
        for r in reports:
            lane = lane_of(r.cl_ord_id)
            if not r.cl_ord_id or lane not in self.outboxes:
                self._orphan(r)
                continue
            self._session.inflight.pop(r.cl_ord_id, None)
            if self.moved is not None and r.exec_type is ExecType.TRADE:
                self.moved.add(r.cl_ord_id)
            for listener in self.listeners:
                listener(r)
            self._waiting.setdefault(lane, []).append(r)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def marks(self) -> dict[int, int]:
        """A mark for `passed`: all that has been delivered so far."""
        self.flush()
        return {lane: outbox.put_count for lane, outbox in self.outboxes.items()}

    def passed(self, marks: dict[int, int]) -> bool:
        """Whether all that had been delivered at the mark is stored."""
        return all(self.outboxes[lane].passed(mark) for lane, mark in marks.items())

    async def drained(self, timeout: float) -> bool:
        """Wait until everything is stored, at most so long for each lane."""
        self.flush()
        return all([await outbox.drained(timeout) for outbox in self.outboxes.values()])

    @property
    def pending(self) -> int:
        """Reports that are not stored yet."""
        return sum(outbox.pending for outbox in self.outboxes.values())

    def close(self) -> None:
        """Try no longer."""
        for outbox in self.outboxes.values():
            outbox.close()

    def flush(self) -> None:
        """Append what has been collected."""
        self._scheduled = False
        waiting, self._waiting = self._waiting, {}
        for lane, reports in waiting.items():
            for trace, batch in self._batches(reports):
                data = pack(list(batch), trace=trace, ts=self._clock.now(), lane=lane)
                if not self.outboxes[lane].put(f"lane.{lane}.rpt", data, identity(batch), len(batch)):
                    self._dropped(batch)

    def _batches(self, reports: list[Report]) -> list[tuple[int, list[Report]]]:
        """Runs of one trace where there are few; else just pieces."""
        if len(reports) > TRACED:
            return [(0, reports[at : at + BATCH]) for at in range(0, len(reports), BATCH)]
        runs: list[tuple[int, list[Report]]] = []
        for r in reports:
            trace = self._session.trace(r.cl_ord_id)
            if runs and runs[-1][0] == trace:
                runs[-1][1].append(r)
            else:
                runs.append((trace, [r]))
        return runs

    def _dropped(self, batch: list[Report]) -> None:
        """No room: the venue has them still, and a reconciliation will read them again."""
        self._counts["reports_dropped"] += len(batch)
        for r in batch:
            if r.exec_type is ExecType.TRADE:
                self._dropcopy.untell(r)
                self.lost_from = r.ts_venue if self.lost_from is None else min(self.lost_from, r.ts_venue)
        text = "the log is away and the buffer of reports is full: they will be read again from the venue"
        self._alerts.say("reports_dropped", "high", text, key="full", reports=self._counts["reports_dropped"])

    def _refused(self, item: Item, error: LogError) -> None:
        self._counts["reports_refused"] += item.size
        self._alerts.say(
            "reports_refused", "critical", f"the log will not take reports on {item.subject}: {error}"
        )

    def _orphan(self, r: Report) -> None:
        """Of an order that none of our lanes placed: nothing can be booked."""
        self._counts["orphans"] += 1
        kind = "foreign_fill" if r.exec_type is ExecType.TRADE else "orphan_report"
        text = f"{ExecType(r.exec_type).name} for an order that is not ours"
        severity = "high" if kind == "foreign_fill" else "warning"
        self._alerts.say(
            kind, severity, text, key=(r.cl_ord_id, r.exec_id), cl_ord_id=r.cl_ord_id, exec_id=r.exec_id,
            last_qty=r.last_qty, last_px=r.last_px,
        )  # fmt: skip
