"""The second pass of an import: one instrument's messages, proven and mended, into the day parts of the lake."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidegate.marketdata.assemble import Assembler, ExchangeTimes
from tidegate.marketdata.binance_instruments import market_of
from tidegate.marketdata.chain import (
    C_LATE_QUOTES,
    C_LATE_TRADES,
    C_MISSING_TRADES,
    C_OLD,
    C_REDUNDANT,
    C_REPEATED,
)
from tidegate.marketdata.clock import ClockFit
from tidegate.marketdata.touch_audit import TouchAudit
from tidegate.model.event import Events
from tidegate.model.instrument import Instrument
from tidegate.model.time import DAY, day
from tidegate.store.import_report import GapReport, StreamReport
from tidegate.store.parse_captures import Stopped
from tidegate.store.part import Clock, PartInfo, PartWriter, Source
from tidegate.store.spool import Spool


@dataclass
class Job:
    """What one instrument's stream is made from: its spools in receive order, each with its session's clock."""

    instrument: Instrument
    spools: Sequence[tuple[Spool, ClockFit]]
    sources: list[Source]
    part_name: str
    code: str


@dataclass
class Written:
    """A stream on disk, still beside the lake's glob."""

    report: StreamReport
    parts: list[tuple[Path, PartInfo]]


class DayParts:
    """Writes a stream in receive order, a part a UTC day."""

    def __init__(self, folder: Path, job: Job, clock: ClockFit) -> None:
        self._folder, self._job, self._clock = folder, job, clock
        self._writer: PartWriter | None = None
        self._ends = 0
        self.done: list[tuple[Path, PartInfo]] = []

    def write(self, events: Events) -> None:
        """Add some events, dividing them at midnight."""
        while len(events):
            if self._writer is None or int(events["ts_recv"][0]) >= self._ends:
                self.close()
                self._writer = self._open(int(events["ts_recv"][0]))
            cut = int(np.searchsorted(events["ts_recv"], self._ends))
            self._writer.write(events[:cut])
            events = events[cut:]

    def close(self) -> None:
        """End the day that is being written."""
        if self._writer is not None:
            self.done.append((self._writer.path, self._writer.close()))
            self._writer = None

    def abandon(self) -> None:
        """Give up what is being written."""
        if self._writer is not None:
            self._writer.abandon()

    def _open(self, ts: int) -> PartWriter:
        self._ends = ts // DAY * DAY + DAY
        job, clock = self._job, self._clock
        info = PartInfo(
            instrument=job.instrument, day=day(ts), sources=job.sources, code=job.code,
            clock=Clock(clock.offset, clock.drift_ppm, clock.floor),
        )  # fmt: skip
        folder = self._folder / f"instrument={job.instrument.id}" / f"day={info.day}"
        return PartWriter(folder / job.part_name, info)


def write_stream(folder: Path, job: Job, progress: Callable[[int], None], stop: threading.Event) -> Written:
    """Assemble and write one instrument; the spools are given back as they are used up."""
    times = ExchangeTimes()
    for spool, clock in job.spools:
        for headers in spool.headers():
            times.add(headers, clock)
    assembler = Assembler(job.instrument, market_of(job.instrument).futures, times)
    audit, parts = TouchAudit(), DayParts(folder, job, job.spools[0][1])
    try:
        for spool, clock in job.spools:
            assembler.use(clock, spool.source)
            for messages, rows in spool.chunks():
                if stop.is_set():
                    raise Stopped
                for events in assembler.feed(messages, rows):
                    audit.feed(events)
                    parts.write(events)
                progress(len(messages))
            spool.delete()
        parts.close()
    except BaseException:
        parts.abandon()
        raise
    return Written(_report(job, assembler, audit, [info for _, info in parts.done]), parts.done)


def _report(job: Job, assembler: Assembler, audit: TouchAudit, parts: list[PartInfo]) -> StreamReport:
    count, rows = assembler.chain.count, Counter[str]()
    for info in parts:
        rows.update(info.kinds)
    dropped = {
        "older than the snapshot": count(C_OLD), "repeated": count(C_REPEATED),
        "snapshots not needed": count(C_REDUNDANT), "forgotten": assembler.forgotten,
        "without a snapshot": 0 if assembler.snapshots else assembler.held,
    }  # fmt: skip
    backwards, most = assembler.backwards
    return StreamReport(
        instrument=job.instrument.id, days=[info.day for info in parts], rows=dict(rows), size=0,
        first_recv=min((info.first_recv for info in parts), default=0),
        last_recv=max((info.last_recv for info in parts), default=0),
        gaps=[GapReport(g.source, g.line, g.ts_recv, g.expected, g.found) for g in assembler.gaps],
        dropped={rule: n for rule, n in dropped.items() if n},
        backwards=backwards, backwards_most=most, future=assembler.future,
        late_quotes=count(C_LATE_QUOTES), late_trades=count(C_LATE_TRADES),
        missing_trades=count(C_MISSING_TRADES), snapshots=len(assembler.snapshots),
        books=audit.books, crossed=audit.crossed, first_crossed=audit.first_crossed,
        compared=audit.compared, different=audit.different,
        delays={name: delays.summary() for name, delays in assembler.delays().items()},
    )  # fmt: skip
