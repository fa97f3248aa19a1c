"""A lane's order events into EVT_<n>, each once, whoever writes the lane.

Every append expects the sequence of the one before it, and waits for that one's acknowledgement: what comes meanwhile
goes together, as the next. (Many in flight, each with the sequence it will find if all goes well, would let a zombie
in: its first is refused, and a later one may fit by chance.) A writer begins with an envelope without events, so that
one it has replaced cannot add to the stream. An envelope's `seq` is the lane entry up to which all events have been
told, and `part` how many of those that follow: so a successor goes on exactly there, also where the events of one entry
(a cancel of all there is) take several envelopes. What no writer of the lane wrote is stepped over (`log.noise`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tidegate.log.base import Conflict, Entry, Log, LogDown
from tidegate.log.noise import Word, last_word
from tidegate.model.messages import Message
from tidegate.model.wire import MOST, Envelope, Newer, Unreadable, decode, pack

_PAUSE = 0.1
"""Seconds between two tries to reach the log."""
_AGAIN = 0.01
"""Seconds until the stream is looked at again that has moved meanwhile."""
_ANSWER = 1.0
"""Seconds after which an append counts as unanswered: the stream then says whether it was stored."""


class _Batch:
    """Events that become one envelope; `sealed` once nothing may be added."""

    __slots__ = ("events", "part", "sealed", "seq", "stored", "trace", "ts")

    def __init__(self, seq: int, part: int, events: list[Message], trace: int, ts: int) -> None:
        self.seq, self.part, self.events, self.trace, self.ts = seq, part, events, trace, ts
        self.sealed = False
        self.stored: asyncio.Future[int] | None = None


class EventPipe:
    """The one writer of a lane's event stream in one epoch.

    `stopped(kind, why)` is called where it cannot go on: "fenced" (another has taken over), "refused" (a later version
    writes there) or "broken"; `noise(count)` with entries found in the stream that no writer of the lane wrote, each
    once; `moved()` while it looks for the last that is one.
    """

    def __init__(
        self,
        log: Log,
        lane: int,
        epoch: int,
        stopped: Callable[[str, str], None],
        noise: Callable[[int], None] = lambda count: None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.lane, self.epoch = lane, epoch
        self.stored = 0
        """Sequence in EVT_<n> of the last append that was acknowledged."""
        self.told = 0
        """Lane entry up to which events are in the stream, or on their way."""
        self._log, self._stopped, self._noise, self._moved = log, stopped, noise, moved
        self._subject, self._stream = f"evt.{lane}", f"EVT_{lane}"
        self._last = 0
        """Sequence of the last entry there, as far as we know: ours, or noise after it."""
        self._part = self._again = 0
        """Events after entry `told` that are in the stream as well, and how many of them are still to come again."""
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
            head = (await self._look()).said or Envelope([])
            if head.epoch > self.epoch:
                raise Conflict(f"{self._subject}: epoch {head.epoch} has begun")
            mark = pack([], lane=self.lane, epoch=self.epoch, seq=head.seq, part=head.part)
            try:
                self.stored = self._last = await self._log.append(self._subject, mark, expect=self._last)
            except Conflict:
                continue
            self.told, self._part, self._again = head.seq, head.part, head.part
            return

    def put(self, seq: int, events: list[Message], trace: int, ts: int) -> None:
        """Tell the events of the entries up to `seq` that have not been put yet, in order."""
        if seq <= self.told or not events or self._closed:
            return
        if self._again:  # a predecessor has told some of them
            known = min(self._again, len(events))
            self._again, events = self._again - known, events[known:]
            if not events:
                return
        before, part = self.told, self._part
        self.told, self._part = seq, 0
        queue = self._queue
        if queue and not queue[-1].sealed and len(queue[-1].events) + len(events) <= MOST:
            batch = queue[-1]
            batch.seq, batch.trace, batch.ts = seq, trace or batch.trace, ts
            batch.events += events
            return
        idle = not queue
        for at in range(0, len(events), MOST):
            piece, end = events[at : at + MOST], at + MOST
            whole = end >= len(events)
            queue.append(_Batch(seq if whole else before, 0 if whole else part + end, piece, trace, ts))
        self._empty.clear()
        if idle:
            self._go()

    async def settled(self) -> int:
        """Wait until all that was put so far is stored: the sequence in EVT_<n> of the last of it. Raises `Conflict` where
        it is told by another now."""
        if self._closed:
            raise Conflict(f"{self._subject}: told by another now")
        if not self._queue:
            return self.stored
        batch = self._queue[-1]
        batch.sealed = True
        if batch.stored is None:
            batch.stored = asyncio.get_running_loop().create_future()
        return await asyncio.shield(batch.stored)

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

    def _stop(self, kind: str, why: str) -> None:
        """It cannot go on."""
        self._mending = None
        self.close()
        self._stopped(kind, why)

    async def _look(self) -> Word[Envelope]:
        """The last that was told, by whom and up to where; what else is there is counted."""
        word = await last_word(self._log, self._stream, self._subject, self._read, self._moved)
        if word.noise and (new := word.seq - max(word.at, self._last)) > 0:
            self._noise(new)
        self._last = word.seq
        return word

    def _read(self, entry: Entry) -> Envelope | None:
        """An envelope of this lane's events; None for what is none."""
        try:
            found = decode(entry.data)
        except Unreadable:
            return None
        return found if found.lane == self.lane and found.epoch > 0 else None

    def _go(self) -> None:
        """Append the first that waits; what comes of it is heard in `_answered`."""
        try:
            future = self._send()
        except Exception as error:
            self._stop("broken", self._untold(error))
        else:
            future.add_done_callback(self._answered)

    def _send(self) -> asyncio.Future[int]:
        batch = self._queue[0]
        batch.sealed = True
        data = pack(
            batch.events, trace=batch.trace, ts=batch.ts, lane=self.lane, epoch=self.epoch, seq=batch.seq,
            part=batch.part,
        )  # fmt: skip
        msg_id = f"e{self.lane}-{self.epoch}-{batch.seq}-{batch.part}"
        return self._log.append(self._subject, data, msg_id=msg_id, expect=self._last, timeout=_ANSWER)

    def _answered(self, future: asyncio.Future[int]) -> None:
        failed = future.cancelled() or future.exception() is not None
        if self._closed:
            return
        if failed:
            self._mending = asyncio.get_running_loop().create_task(self._mend())
            return
        self._done(future.result())
        if self._queue:
            self._go()

    def _done(self, seq: int) -> None:
        """The first is stored, as entry `seq`."""
        self.stored, self._last = seq, max(seq, self._last)
        batch = self._queue.popleft()
        if batch.stored is not None and not batch.stored.done():
            batch.stored.set_result(seq)
        if not self._queue:
            self._empty.set()

    async def _mend(self) -> None:
        """An append failed: see what the stream holds, and go on from there. What the log will never take ends it."""
        while self._queue:
            try:
                word = await self._look()
                head, first = word.said or Envelope([]), self._queue[0]
                if head.epoch > self.epoch:
                    self._stop("fenced", "its event stream has another writer")
                    return
                if (head.seq, head.part) >= (first.seq, first.part):
                    self._done(word.at)  # it was stored, and its acknowledgement lost
                else:
                    self._done(await self._send())
                break
            except LogDown:
                await asyncio.sleep(_PAUSE)
            except Conflict:
                await asyncio.sleep(_AGAIN)
            except Newer as error:
                self._stop("refused", str(error))
                return
            except Exception as error:
                self._stop("broken", self._untold(error))
                return
        self._mending = None
        if self._queue:
            self._go()

    def _untold(self, error: Exception) -> str:
        """For people."""
        first = self._queue[0]
        return f"its events up to entry {first.seq} cannot be told: {type(error).__name__}: {error}"
