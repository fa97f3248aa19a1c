"""Following and watching the in-process log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.log.base import EntryHandler, KvEntry, Subscription, WatchHandler
from tidegate.log.memory import BucketState, Link, Stream
from tidegate.log.streams import checked_key

if TYPE_CHECKING:
    from tidegate.log.memory_client import MemoryLog

BATCH = 512
"""Most entries in one call while catching up."""


class Follow:
    """A follower: the server tells it how far the stream goes, and it takes what it has not had."""

    def __init__(self, client: MemoryLog, stream: Stream, handler: EntryHandler, after: int) -> None:
        self.stream = stream
        self.closed = False
        self._client, self._handler, self._next = client, handler, after + 1
        self._link = Link(client.loop)
        client.follows.append(self)
        client.retold[self] = self._catch_up
        client.server.appended.append(self._appended)
        self._catch_up()

    def close(self) -> None:
        """See `base.Subscription.close`."""
        if not self.closed:
            self.closed = True
            self._client.follows.remove(self)
            self._client.retold.pop(self, None)
            self._client.server.appended.remove(self._appended)

    def own(self, seq: int) -> None:
        """This client's own append was acknowledged: take it at once if it is next."""
        if seq == self._next:
            self._take(seq)

    def _appended(self, stream: str, seq: int) -> None:
        if stream == self.stream.name:
            self._catch_up()

    def _catch_up(self) -> None:
        """From the server: everything up to its last is on its way."""
        client = self._client
        if not client.is_cut and not client.server.away and self.stream.last >= self._next:
            delay = client.server.delay(client.faults)
            self._link.carry(delay, self._arrive, client.life, self.stream.last)

    def _arrive(self, life: int, upto: int) -> None:
        if life == self._client.life:
            self._client.deliver(self._take, upto)

    def _take(self, upto: int) -> None:
        if self.closed or self._next > upto:
            return
        first = max(self._next, self.stream.trimmed + 1)
        batch = self.stream.between(first - 1, min(upto, first + BATCH - 1))
        self._next = first + len(batch)
        if self._next <= upto:
            self._client.loop.call_soon(self._client.deliver, self._take, upto)
        if self._client.faults.skip:
            server, chance = self._client.server, self._client.faults.skip
            batch = [entry for entry in batch if not server.chance(chance, "kept back")]
        if batch:
            self._handler(batch)


class MemoryBucket:
    """A bucket as one client sees it; see `base.Bucket`."""

    def __init__(self, client: MemoryLog, state: BucketState) -> None:
        self._client, self._state = client, state

    async def get(self, key: str) -> KvEntry | None:
        """See `base.Bucket.get`."""
        checked_key(key)
        entry = await self._client.call(lambda: self._state.entries.get(key))
        return entry if entry is not None and entry.value is not None else None

    async def put(self, key: str, value: bytes) -> int:
        """See `base.Bucket.put`."""
        return await self._write(key, value, None)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See `base.Bucket.update`."""
        return await self._write(key, value, revision)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See `base.Bucket.delete`."""
        await self._write(key, None, revision)

    async def _write(self, key: str, value: bytes | None, revision: int | None) -> int:
        checked_key(key)
        return await self._client.call(lambda: self._state.write(key, value, revision), writes=True)

    async def keys(self) -> list[str]:
        """See `base.Bucket.keys`."""
        return await self._client.call(
            lambda: sorted(key for key, entry in self._state.entries.items() if entry.value is not None)
        )

    def watch(self, handler: WatchHandler, prefix: str = "") -> Subscription:
        """See `base.Bucket.watch`."""
        return Watch(self._client, self._state, handler, prefix)


class Watch:
    """A watcher. It knows which keys it was told of, so that it learns of a deletion it missed, and only of such."""

    def __init__(self, client: MemoryLog, state: BucketState, handler: WatchHandler, prefix: str) -> None:
        self._client, self._state, self._handler, self._prefix = client, state, handler, prefix
        self._link = Link(client.loop)
        self._told: set[str] = set()
        self._closed = False
        state.watchers.append(self._changed)
        client.retold[self] = self._all
        self._all()

    def close(self) -> None:
        """See `base.Subscription.close`."""
        if not self._closed:
            self._closed = True
            self._state.watchers.remove(self._changed)
            self._client.retold.pop(self, None)

    def _all(self) -> None:
        for key in sorted(self._state.entries):
            self._changed(self._state.entries[key])

    def _changed(self, entry: KvEntry) -> None:
        client = self._client
        if entry.key.startswith(self._prefix) and not client.is_cut and not client.server.away:
            self._link.carry(client.server.delay(client.faults), self._arrive, client.life, entry)

    def _arrive(self, life: int, entry: KvEntry) -> None:
        outdated = self._state.entries[entry.key].revision > entry.revision
        if outdated and self._client.server.rng.random() < 0.5:
            return  # a bucket keeps only the last: a change may be gone before it is told
        if life == self._client.life:
            self._client.deliver(self._tell, entry)

    def _tell(self, entry: KvEntry) -> None:
        if self._closed:
            return
        if entry.value is not None:
            self._told.add(entry.key)
        elif entry.key in self._told:
            self._told.discard(entry.key)
        else:
            return
        self._handler(entry)
