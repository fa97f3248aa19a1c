"""The recorder: keeps the feed's records and the lanes' entries in a lake, as they come.

Market data is written into parts of at most `PART` seconds, beside the glob and renamed in; what a part holds when the
process is killed is lost, entries of the lanes are not: the log gives them again until they are on disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.log.base import Entry, Log, Subscription
from tidegate.model.clock import Clock
from tidegate.model.event import TS_RECV, from_words
from tidegate.model.instrument import Universe
from tidegate.model.time import day
from tidegate.store.event_journal import EventJournal
from tidegate.store.part import PartInfo, PartWriter

PART = 600
_FLUSH = 0.5
"""Seconds for which records gather before they are handed to the part."""
_GATHER = 0.25
"""Seconds for which entries of a lane gather."""


class _Tape:
    """One instrument's records on their way into a part."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.writer: PartWriter | None = None
        self.target = Path()
        self.last = 0
        self.day = ""


class RecorderService:
    """Keeps `md.>` of `universe` and the streams LANE_<n> of `lanes` under `lake`."""

    def __init__(self, universe: Universe, lanes: Sequence[int], lake: Path, log: Log, clock: Clock) -> None:
        self.lake = lake
        self.rows = 0
        self.entries = 0
        self.late = 0
        """Records that came before one already written, by receive time; they are stamped with that one's."""
        self.failures = 0
        self._universe, self._log, self._clock = universe, log, clock
        self._tapes = {f"md.{item.venue}.{item.symbol}": (item, _Tape()) for item in universe.instruments}
        self._journals = {n: EventJournal(lake / "events" / f"LANE_{n}") for n in lanes}
        self._subscriptions: list[Subscription] = []
        self._timer: asyncio.TimerHandle | None = None
        self._opened = 0

    async def start(self) -> None:
        """Listen."""
        for subject in self._tapes:
            self._subscriptions.append(self._log.subscribe(subject, self._on_market))
        for number, journal in self._journals.items():
            keep = partial(self._keep, journal)
            self._subscriptions.append(self._log.consume(f"LANE_{number}", "recorder", keep))
        self._opened = self._clock.now()
        self._flush()

    async def stop(self) -> None:
        """End the parts and leave."""
        for subscription in self._subscriptions:
            subscription.close()
        if self._timer is not None:
            self._timer.cancel()
        self._write()
        self._end_parts()
        for journal in self._journals.values():
            journal.close()

    def health(self) -> dict[str, Any]:
        """What people want to know of it."""
        return {
            "ok": not self.failures,
            "why": f"{self.failures} writes failed" if self.failures else "",
            "counters": {
                "rows": self.rows, "entries": self.entries, "late": self.late, "failures": self.failures,
                "holes": sum(journal.holes for journal in self._journals.values()),
            },
        }  # fmt: skip

    async def _keep(self, journal: EventJournal, entries: list[Entry]) -> None:
        try:
            journal.write(entries)
        except OSError:
            self.failures += 1
            raise  # not done: the log gives them again
        self.entries += len(entries)
        # Each batch costs two syncs, the file's and the cursor's, on the disk that orders wait for: let some gather.
        await asyncio.sleep(_GATHER)

    def _on_market(self, subject: str, data: bytes) -> None:
        self._tapes[subject][1].pieces.append(data)

    def _flush(self) -> None:
        self._write()
        if self._clock.now() - self._opened > PART * 10**9:
            self._end_parts()
        self._timer = asyncio.get_running_loop().call_later(_FLUSH, self._flush)

    def _write(self) -> None:
        for item, tape in self._tapes.values():
            if not tape.pieces:
                continue
            data, tape.pieces = b"".join(tape.pieces), []
            rows = np.frombuffer(data, np.int64).reshape(-1, 8).copy()
            lifted = np.maximum(np.maximum.accumulate(rows[:, TS_RECV]), tape.last)
            self.late += int(np.count_nonzero(lifted != rows[:, TS_RECV]))
            rows[:, TS_RECV] = lifted
            tape.last = int(lifted[-1])
            now = day(int(lifted[0]))
            if tape.writer is not None and tape.day != now:
                self._end_part(tape)
            try:
                if tape.writer is None:
                    self._open_part(item, tape, now, int(lifted[0]))
                assert tape.writer is not None
                tape.writer.write(from_words(rows))
                self.rows += len(rows)
            except OSError:
                self.failures += 1

    def _open_part(self, item: Any, tape: _Tape, today: str, first: int) -> None:
        name = f"part-live-{first}.parquet"
        tape.day = today
        tape.target = self.lake / f"instrument={item.id}" / f"day={today}" / name
        tape.writer = PartWriter(
            self.lake / ".incoming" / item.id / name, PartInfo(instrument=item, day=today)
        )

    def _end_parts(self) -> None:
        self._opened = self._clock.now()
        for _, tape in self._tapes.values():
            self._end_part(tape)

    def _end_part(self, tape: _Tape) -> None:
        if tape.writer is None:
            return
        try:
            tape.writer.close()
            tape.target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(tape.writer.path, tape.target)
        except OSError:
            self.failures += 1
        tape.writer = None
