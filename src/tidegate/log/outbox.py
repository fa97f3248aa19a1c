"""Appends that must be stored, in order, each under a message id of its own, however long the log is away."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from tidegate.log.base import Full, Log, LogDown, LogError

PAUSE, LONGEST = 0.1, 0.5
"""Seconds between two tries to reach the log; doubles up to the longest: what a dead leader has cost ends so soon after
another was elected."""
BOUND = 100_000
"""Appends that may wait while the log is away."""
TIMEOUT = 1.0
"""Seconds after which an append that was not acknowledged is made again."""


class Item:
    """One append. `size` is what it counts for in the bound."""

    __slots__ = ("data", "done", "flown", "msg_id", "size", "subject")

    def __init__(self, subject: str, data: bytes, msg_id: str, size: int) -> None:
        self.subject, self.data, self.msg_id, self.size = subject, data, msg_id, size
        self.flown = self.done = False


class Outbox:
    """Many appends in flight while all goes well; after a failure one is tried until it is stored, then the rest,
    in order. `alive` is called with every acknowledgement, `lost` with what the log will never take."""

    def __init__(
        self,
        log: Log,
        bound: int = BOUND,
        counts: Counter[str] | None = None,
        alive: Callable[[], None] = lambda: None,
        lost: Callable[[Item, LogError], None] = lambda item, error: None,
    ) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.last = 0
        """Highest sequence that an append of ours was given."""
        self.put_count = self.stored_count = 0
        self._log, self._bound, self._alive, self._lost = log, bound, alive, lost
        self._pending: deque[Item] = deque()
        self._size = 0
        self._flying = 0
        self._failing = self._probing = False
        self._pause = PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def pending(self) -> int:
        """What waits, in sizes."""
        return self._size

    def put(self, subject: str, data: bytes, msg_id: str, size: int = 1) -> bool:
        """Append, now or when the log is back; False where there is no room: nothing was kept. What waits alone has
        room, whatever its size."""
        if self._pending and self._size + size > self._bound:
            return False
        self._pending.append(Item(subject, data, msg_id, size))
        self._size += size
        self.put_count += 1
        self._empty.clear()
        if not self._failing and not self._probing:
            self._fly(self._pending[-1])
        return True

    def passed(self, mark: int) -> bool:
        """Whether everything up to the `put_count` that was `mark` is stored."""
        return self.stored_count >= mark

    async def drained(self, timeout: float | None = None) -> bool:
        """Wait until everything is stored, at most so long; whether it is."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def drop(self) -> None:
        """Try what waits no longer; what is under way may still be stored. What is put from here on is appended."""
        for item in self._pending:
            item.done = True
        self.counts["append_dropped"] += len(self._pending)
        self._pending.clear()
        self._size = 0
        self._empty.set()

    def close(self) -> None:
        """Try no longer."""
        if self._timer is not None:
            self._timer.cancel()
        self._failing = True

    def _fly(self, item: Item) -> None:
        item.flown = True
        self._flying += 1
        future = self._log.append(item.subject, item.data, msg_id=item.msg_id, timeout=TIMEOUT)
        future.add_done_callback(lambda done: self._landed(item, done))

    def _landed(self, item: Item, future: asyncio.Future[int]) -> None:
        self._flying -= 1
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self.last = max(self.last, future.result())
            self._alive()
            self._settle(item)
        elif isinstance(error, LogError) and not isinstance(error, (LogDown, Full)):
            self.counts["append_refused"] += 1
            self._settle(item)
            self._lost(item, error)
        else:
            item.flown = False
            self._failing = True
            self.counts["append_retried"] += 1
        if self._failing and not self._flying and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._probe)
            self._pause = min(2 * self._pause, LONGEST)

    def _settle(self, item: Item) -> None:
        item.done = True
        while self._pending and self._pending[0].done:
            self._size -= self._pending.popleft().size
            self.stored_count += 1
        if self._probing:
            self._probing, self._pause = False, PAUSE
            for waiting in self._pending:
                if not waiting.flown and not waiting.done:
                    self._fly(waiting)
        if not self._pending:
            self._empty.set()

    def _probe(self) -> None:
        """Try the first that waits."""
        self._timer = None
        self._failing = False
        first = next((item for item in self._pending if not item.done), None)
        if first is not None:
            self._probing = True
            self._fly(first)
