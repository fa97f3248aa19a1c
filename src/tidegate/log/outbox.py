"""Appends that must be stored, in order, however long the log is away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tidegate.log.base import Log, LogDown, LogError

_PAUSE = 0.1
"""Seconds between two tries to reach the log."""


class Outbox:
    """Appends to one subject, many in flight. What was not acknowledged is appended again under the same message id,
    in order: stored once, as long as the log is back within the stream's duplicate window.

    `prefix` begins the message ids and must be this sender's alone in this life. What the log refuses for good is
    given to `lost(data, error)`.
    """

    def __init__(
        self, log: Log, subject: str, prefix: str, lost: Callable[[bytes, Exception], None] | None = None
    ) -> None:
        self.stored = 0
        self.retries = 0
        self.refused = 0
        self._log, self._subject, self._prefix, self._lost = log, subject, prefix, lost
        self._count = 0
        self._pending: deque[tuple[int, bytes]] = deque()
        self._mending: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many are not acknowledged yet."""
        return len(self._pending)

    def put(self, data: bytes) -> None:
        """Append; returns at once."""
        self._count += 1
        item = (self._count, data)
        self._pending.append(item)
        self._empty.clear()
        if self._mending is None:
            future = self._append(item)
            future.add_done_callback(lambda done: self._done(item, done))

    async def flush(self) -> None:
        """Wait until all is stored."""
        await self._empty.wait()

    def close(self) -> None:
        """Try no longer."""
        if self._mending is not None:
            self._mending.cancel()

    def _append(self, item: tuple[int, bytes]) -> asyncio.Future[int]:
        number, data = item
        return self._log.append(self._subject, data, msg_id=f"{self._prefix}-{number}")

    def _done(self, item: tuple[int, bytes], future: asyncio.Future[int]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if self._mending is not None:
            return
        if error is None and self._pending and self._pending[0] is item:
            self._pending.popleft()
            self.stored += 1
            if not self._pending:
                self._empty.set()
        elif self._pending:
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        """Append all that is pending again, one by one."""
        while self._pending:
            item = self._pending[0]
            try:
                await self._append(item)
                self.stored += 1
            except LogDown:
                self.retries += 1
                await asyncio.sleep(_PAUSE)
                continue
            except LogError as error:
                self.refused += 1
                if self._lost is not None:
                    self._lost(item[1], error)
            self._pending.popleft()
        self._mending = None
        self._empty.set()
