"""A lane's order events into EVT_<n>, each once, whoever writes the lane.

Every append expects the sequence of the one before it, so a writer that was replaced cannot add to the stream; an
envelope's `seq` is the lane entry up to which events have been told, so a successor goes on exactly there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tidegate.log.base import Conflict, Log, LogDown
from tidegate.model.messages import Message
from tidegate.model.wire import decode, pack

_PAUSE = 0.1
"""Seconds between two tries to reach the log."""


class EventPipe:
    """The one writer of a lane's event stream in one epoch; calls `fenced` when another has taken over."""

    def __init__(self, log: Log, lane: int, epoch: int, fenced: Callable[[], None]) -> None:
        self.lane, self.epoch = lane, epoch
        self.last = 0
        """Sequence in EVT_<n> of the last append, whether or not it has been acknowledged."""
        self.told = 0
        """Lane entry up to which events are in the stream, or on their way."""
        self.retries = 0
        self._log, self._fenced = log, fenced
        self._subject, self._stream = f"evt.{lane}", f"EVT_{lane}"
        self._pending: deque[tuple[int, bytes]] = deque()
        self._mending: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(self) -> None:
        """Find where the stream ends."""
        last = await self._log.last(self._stream)
        if last is not None:
            self.last, self.told = last.seq, decode(last.data).seq

    def put(self, seq: int, events: list[Message], trace: int, ts: int) -> None:
        """Tell the events of the entries up to `seq`, in order."""
        if seq <= self.told or not events:
            return
        self.told = seq
        data = pack(events, trace=trace, ts=ts, lane=self.lane, epoch=self.epoch, seq=seq)
        self._pending.append((seq, data))
        self._empty.clear()
        if self._mending is None:
            self._append(seq, data)

    async def flush(self) -> None:
        """Wait until everything told is stored."""
        await self._empty.wait()

    def close(self) -> None:
        """Tell nothing more."""
        if self._mending is not None:
            self._mending.cancel()
        self._pending.clear()
        self._empty.set()

    def _append(self, seq: int, data: bytes) -> None:
        future = self._log.append(self._subject, data, msg_id=f"e{self.lane}-{seq}", expect=self.last)
        self.last += 1
        future.add_done_callback(self._stored)

    def _stored(self, future: asyncio.Future[int]) -> None:
        if future.cancelled() or future.exception() is not None:
            if self._pending and self._mending is None:
                self._mending = asyncio.get_running_loop().create_task(self._mend())
            return
        if self._mending is None and self._pending:
            self._pending.popleft()
            if not self._pending:
                self._empty.set()

    async def _mend(self) -> None:
        """An append failed: see what the stream holds, and go on from there, one by one."""
        while self._pending:
            self.retries += 1
            try:
                last = await self._log.last(self._stream)
                self.last = last.seq if last else 0
                head = decode(last.data) if last else None
                if head is not None and head.epoch > self.epoch:
                    self.close()
                    self._fenced()
                    return
                while self._pending and head is not None and self._pending[0][0] <= head.seq:
                    self._pending.popleft()
                while self._pending:
                    seq, data = self._pending[0]
                    self.last = await self._log.append(
                        self._subject, data, msg_id=f"e{self.lane}-{seq}", expect=self.last
                    )
                    self._pending.popleft()
            except (LogDown, Conflict):
                await asyncio.sleep(_PAUSE)
        self._mending = None
        self._empty.set()
