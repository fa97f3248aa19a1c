"""A durable consumer over any log: its cursor is a key in the `STATE` bucket, moved when a batch was handled.

JetStream has durable consumers of its own, but what one worker held when it was killed comes to the next only after
a timeout, and after newer messages; a cursor of our own keeps the order and goes on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tidegate.log.alert import spoiled_text
from tidegate.log.base import Conflict, Entry, Log, LogDown, Subscription

BATCH = 1000
"""Most entries in one call."""
AHEAD = 20_000
"""Entries fetched ahead of the handler, at most: then following stops until they are handled."""
RETRY = 0.1
"""Seconds before a batch whose handler failed, or a log that was away, is tried again."""
CURSOR = "consumer"


class Consumer:
    """One worker. Two of one name at the same time do the same work twice, each in order."""

    def __init__(
        self,
        log: Log,
        stream: str,
        name: str,
        handler: Callable[[list[Entry]], Awaitable[None]],
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._log, self._stream, self._handler, self._failed = log, stream, handler, failed
        self._bucket = log.bucket("STATE")
        self._key = f"{CURSOR}.{stream}.{name}"
        self._cursor = 0
        self._revision = 0
        self._fetched = 0
        self._queue: list[Entry] = []
        self._more = asyncio.Event()
        self._following: Subscription | None = None
        self._closed = False
        self._task = spawn(self._run())

    def close(self) -> None:
        """See `base.Subscription.close`. A batch in hand is not done: it comes again to the next worker."""
        self._closed = True
        self._task.cancel()
        self._unfollow()

    async def _run(self) -> None:
        await self._again(self._load)
        self._fetched = self._cursor
        while not self._closed:
            if self._following is None and len(self._queue) <= AHEAD // 2:
                self._following = self._log.follow(self._stream, self._take, after=self._fetched)
            if not self._queue:
                self._more.clear()
                await self._more.wait()
            batch = self._queue[:BATCH]
            await self._again(lambda batch=batch: self._handler(batch))  # type: ignore[misc]
            del self._queue[: len(batch)]
            self._cursor = batch[-1].seq
            await self._again(self._save)

    def _take(self, entries: list[Entry]) -> None:
        self._queue.extend(entries)
        self._fetched = entries[-1].seq
        self._more.set()
        if len(self._queue) > AHEAD:
            self._unfollow()

    def _unfollow(self) -> None:
        if self._following is not None:
            self._following.close()
            self._following = None

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it until it ends well."""
        while True:
            try:
                await work()
                return
            except LogDown:
                pass
            except Exception as error:
                self._failed(error)
            await asyncio.sleep(RETRY)

    async def _load(self) -> None:
        entry = await self._bucket.get(self._key)
        if entry is None or entry.value is None:
            return
        self._revision = entry.revision
        if entry.value.isdigit():
            self._cursor = max(int(entry.value), self._cursor)
        else:  # none of ours: it is written over, and who does not know his place begins anew
            self._failed(ValueError(spoiled_text(f"STATE {self._key}", entry.value)))

    async def _save(self) -> None:
        try:
            self._revision = await self._bucket.update(self._key, b"%d" % self._cursor, self._revision)
        except Conflict:  # another worker of this name, or our own write whose answer was lost
            own = self._cursor
            await self._load()
            if self._cursor <= own:
                self._revision = await self._bucket.update(self._key, b"%d" % own, self._revision)
            else:
                self._cursor = own
