"""The audit trail as services write it: what was done, by whom, with what outcome. Nothing that is noted is lost.

A note is on this machine's disk before it is sent to the log, and stays there until the log has it. Many processes write
one chain: each appends behind the last record it knows, and where another was faster, behind that one's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.access.audit_chain import STREAM, SUBJECT, AuditRecord, follows, read, write
from tidegate.access.audit_files import Anchors, AuditQueue
from tidegate.log.base import Conflict, Entry, Log, LogError
from tidegate.model.clock import Clock

PAUSE, LONGEST = 0.1, 2.0
"""Seconds between two tries while the log does not answer."""
MOST_DETAIL, MOST_SIGNED = 4_000, 64 << 10
"""Characters of `detail`, bytes of `signed` that are kept."""


class AuditTrail:
    """Notes what is done. `source` names this process; `folder` is the data folder (None: notes wait in memory only).

    `note` may be called at any time, with the log away too. Notes that another process left behind unsent are sent too.
    """

    def __init__(self, log: Log, clock: Clock, source: str, folder: Path | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._log, self._clock, self._source = log, clock, source
        self._pending: deque[AuditRecord] = deque()
        self._unsure: set[str] = set()
        """Notes that may be in the log already."""
        self._last: Entry | None = None
        self._known = False
        self._count = 0
        self._queue = AuditQueue(folder / "run", source) if folder is not None else None
        self._anchors = Anchors(folder) if folder is not None else None
        self._task: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        if self._queue is not None and (left := self._queue.leftovers()):
            self.counters["adopted"] = len(left)
            self._pending.extend(left)
            self._unsure.update(record.id for record in left)
            self._go()

    def note(
        self, who: str, do: str, scope: str, outcome: str, detail: str = "", signed: bytes = b""
    ) -> None:
        """Note one act. `outcome` is `done`, or begins with `refused` or `failed` and says why."""
        ts = self._clock.now()
        self._count += 1
        record = AuditRecord(
            0, ts, "", who, do, scope, outcome, detail[:MOST_DETAIL], self._source,
            f"{self._source}-{ts}-{self._count}", signed if len(signed) <= MOST_SIGNED else b"",
        )  # fmt: skip
        self._pending.append(record)
        if self._queue is not None:
            self._kept(lambda queue: queue.put(record, sync=not self._log.connected))
        self._go()

    async def drained(self, timeout: float | None = None) -> bool:
        """Wait until the log has all that was noted, at most so many seconds; whether it has."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Send no more. What the log does not have yet stays on the disk, for the next process."""
        if self._task is not None:
            self._task.cancel()
        if self._queue is not None:
            self._queue.close()

    @property
    def pending(self) -> int:
        """How many notes the log does not have yet."""
        return len(self._pending)

    def _go(self) -> None:
        self._empty.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        pause = PAUSE
        while self._pending:
            try:
                if not self._known:
                    await self._catch_up()
                else:
                    await self._append(self._pending[0])
                    pause = PAUSE
            except Conflict:
                self.counters["chained again"] += 1
                self._known = False
            except LogError:
                self.counters["tried again"] += 1
                self._known = False
                self._kept(AuditQueue.sync)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST)
        self._kept(AuditQueue.clear)
        self._empty.set()

    async def _append(self, record: AuditRecord) -> None:
        """Store a note behind the last record there is."""
        seq, line = (self._last.seq, self._last.data) if self._last is not None else (0, None)
        n, prev = follows(line)
        n = n or seq + 1
        line, digest = write(msgspec.structs.replace(record, n=n, prev=prev))
        self._unsure.add(record.id)
        stored = await self._log.append(SUBJECT, line, msg_id=f"{record.id}-{seq}", expect=seq)
        self._last = Entry(stored, 0, SUBJECT, line)
        self._stored(record.id, n, digest)

    async def _catch_up(self) -> None:
        """Learn the last record, and which of the notes that were sent without an answer are in the log."""
        last = await self._log.last(STREAM, SUBJECT)
        if self._unsure and last is not None:
            after = self._last.seq if self._last is not None else 0
            async for entries in self._log.read(STREAM, after, last.seq):
                for entry in entries:
                    with contextlib.suppress(ValueError):
                        link = read(entry.data)
                        if link.record.id in self._unsure:
                            self._stored(link.record.id, link.record.n, link.hash)
        self._last, self._known = last, True

    def _stored(self, id: str, n: int, digest: str) -> None:
        self._unsure.discard(id)
        kept = [record for record in self._pending if record.id != id]
        if len(kept) < len(self._pending):
            self.counters["stored"] += 1
            self._pending = deque(kept)
            if self._anchors is not None:
                with contextlib.suppress(OSError):  # an anchor is one proof more; the record itself is stored
                    self._anchors.keep(n, digest)

    def _kept(self, act: Callable[[AuditQueue], None]) -> None:
        """Do something with the queue on the disk; where that fails the note still waits in memory."""
        if self._queue is None:
            return
        try:
            act(self._queue)
        except OSError:
            self.counters["not on disk"] += 1


def leave(
    folder: Path, clock: Clock, source: str, who: str, do: str, scope: str, outcome: str, detail: str = "",
    signed: bytes = b"",
) -> None:  # fmt: skip
    """Note one act on the disk of a data folder, with the log away: the next process there sends it. Raises `OSError`."""
    queue, ts = AuditQueue(folder / "run", source), clock.now()
    record = AuditRecord(
        0, ts, "", who, do, scope, outcome, detail[:MOST_DETAIL], source, f"{source}-{ts}-0", signed
    )
    queue.put(record, sync=True)
    queue.close()
