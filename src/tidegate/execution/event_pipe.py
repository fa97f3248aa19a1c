"""A lane's order events into EVT_<n>, each once, whoever writes the lane.

Every append expects the sequence of the one before it, and waits for that one's acknowledgement: what comes meanwhile
goes together, as the next. (Many in flight, each with the sequence it will find if all goes well, would let a zombie
in: its first is refused, and a later one may fit by chance.) A writer begins with an envelope without events, so that
one it has replaced cannot add to the stream. An envelope's `seq` is the lane entry up to which events have been told,
so a successor goes on exactly there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tidegate.log.base import Conflict, Log, LogDown
from tidegate.model.messages import Message
from tidegate.model.wire import Envelope, decode, pack

_PAUSE = 0.1
"""Seconds between two tries to reach the log."""
_ANSWER = 1.0
"""Seconds after which an append counts as unanswered: the stream then says whether it was stored."""
MOST = 4000
"""Events in one envelope, about."""


class _Batch:
    """Events that become one envelope; `sealed` once nothing may be added."""

    __slots__ = ("events", "sealed", "seq", "stored", "trace", "ts")

    def __init__(self, seq: int, events: list[Message], trace: int, ts: int) -> None:
        self.seq, self.events, self.trace, self.ts = seq, events, trace, ts
        self.sealed = False
        self.stored: asyncio.Future[None] | None = None


class EventPipe:
    """The one writer of a lane's event stream in one epoch; calls `fenced` when another has taken over."""

    def __init__(self, log: Log, lane: int, epoch: int, fenced: Callable[[], None]) -> None:
        self.lane, self.epoch = lane, epoch
        self.stored = 0
        """Sequence in EVT_<n> of the last append that was acknowledged."""
        self.told = 0
        """Lane entry up to which events are in the stream, or on their way."""
        self._log, self._fenced = log, fenced
        self._subject, self._stream = f"evt.{lane}", f"EVT_{lane}"
        self._queue: deque[_Batch] = deque()
        """The first is on its way."""
        self._mending: asyncio.Task[None] | None = None
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(self) -> None:
        """Find where the stream ends, and mark the epoch there: what a predecessor has still under way is refused.

        Raises `Conflict` where a successor has been here.
        """
        while True:
            last = await self._log.last(self._stream)
            at, head = (last.seq, decode(last.data)) if last else (0, Envelope([]))
            if head.epoch > self.epoch:
                raise Conflict(f"{self._subject}: epoch {head.epoch} has begun")
            mark = pack([], lane=self.lane, epoch=self.epoch, seq=head.seq)
            try:
                self.stored = await self._log.append(self._subject, mark, expect=at)
            except Conflict:
                continue
            self.told = head.seq
            return

    def put(self, seq: int, events: list[Message], trace: int, ts: int) -> None:
        """Tell the events of the entries up to `seq`, in order."""
        if seq <= self.told or not events or self._closed:
            return
        self.told = seq
        queue = self._queue
        if queue and not queue[-1].sealed and len(queue[-1].events) < MOST:
            batch = queue[-1]
            batch.seq, batch.trace, batch.ts = seq, trace or batch.trace, ts
            batch.events += events
            return
        queue.append(_Batch(seq, list(events), trace, ts))
        self._empty.clear()
        if len(queue) == 1:
            self._send().add_done_callback(self._answered)

    @property
    def last(self) -> int:
        """Sequence in EVT_<n> of the append that tells the last of all events put so far."""
        return self.stored + len(self._queue)

    async def settled(self) -> None:
        """Wait until all that was put so far is stored, as `last` said; raises `Conflict` where another has taken over."""
        if self._queue:
            batch = self._queue[-1]
            batch.sealed = True
            if batch.stored is None:
                batch.stored = asyncio.get_running_loop().create_future()
            await asyncio.shield(batch.stored)

    async def flush(self) -> None:
        """Wait until everything told is stored."""
        await self._empty.wait()

    def close(self) -> None:
        """Tell nothing more."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
        for batch in self._queue:
            if batch.stored is not None:
                batch.stored.set_exception(Conflict(f"{self._subject}: told by another now"))
                batch.stored.exception()  # nobody need be waiting any more
        self._queue.clear()
        self._empty.set()

    def _send(self) -> asyncio.Future[int]:
        """Append the first that waits."""
        batch = self._queue[0]
        batch.sealed = True
        data = pack(
            batch.events, trace=batch.trace, ts=batch.ts, lane=self.lane, epoch=self.epoch, seq=batch.seq
        )
        msg_id = f"e{self.lane}-{self.epoch}-{batch.seq}"
        return self._log.append(self._subject, data, msg_id=msg_id, expect=self.stored, timeout=_ANSWER)

    def _answered(self, future: asyncio.Future[int]) -> None:
        failed = future.cancelled() or future.exception() is not None
        if self._closed:
            return
        if failed:
            self._mending = asyncio.get_running_loop().create_task(self._mend())
            return
        self._done(future.result())
        if self._queue:
            self._send().add_done_callback(self._answered)

    def _done(self, seq: int) -> None:
        """The first is stored, as entry `seq`."""
        self.stored = seq
        batch = self._queue.popleft()
        if batch.stored is not None and not batch.stored.done():
            batch.stored.set_result(None)
        if not self._queue:
            self._empty.set()

    async def _mend(self) -> None:
        """An append failed: see what the stream holds, and go on from there."""
        while self._queue:
            try:
                last = await self._log.last(self._stream)
                head = decode(last.data) if last else Envelope([])
                if head.epoch > self.epoch:
                    self._mending = None
                    self.close()
                    self._fenced()
                    return
                if last is not None and head.seq >= self._queue[0].seq:
                    self._done(last.seq)  # it was stored, and its acknowledgement lost
                else:
                    self._done(await self._send())
                break
            except (LogDown, Conflict):
                await asyncio.sleep(_PAUSE)
        self._mending = None
        if self._queue:
            self._send().add_done_callback(self._answered)
