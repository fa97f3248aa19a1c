"""Key-value buckets of JetStream: a stream that keeps the last message of every key, its sequence the revision."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tidegate.log.base import Conflict, KvEntry, Subscription, WatchHandler
from tidegate.log.nats_calls import NOT_FOUND, Refused
from tidegate.log.nats_pull import pull
from tidegate.log.nats_push import Watch, is_deletion
from tidegate.log.streams import checked_key

if TYPE_CHECKING:
    from tidegate.log.nats import NatsLog

TIMEOUT = 5.0
_EXPECT = "Nats-Expected-Last-Subject-Sequence: "


class NatsBucket:
    """A bucket as one client sees it; see `base.Bucket`. Reads are answered by the bucket's leader: never stale."""

    def __init__(self, log: NatsLog, name: str) -> None:
        self._log, self._name = log, name
        self._stream = f"KV_{name}"

    async def get(self, key: str) -> KvEntry | None:
        """See `base.Bucket.get`."""
        entry = await self._last(checked_key(key))
        return entry if entry is not None and entry.value is not None else None

    async def _last(self, key: str) -> KvEntry | None:
        """The key's last message, also where it is a deletion."""
        request = {"last_by_subj": f"$KV.{self._name}.{key}"}
        try:
            found = (await self._log.calls.api(f"STREAM.MSG.GET.{self._stream}", request))["message"]
        except Refused as error:
            if error.code in NOT_FOUND:
                return None
            raise
        gone = is_deletion(base64.b64decode(found.get("hdrs", "")))
        value = None if gone else base64.b64decode(found.get("data", ""))
        return KvEntry(key, value, found["seq"])

    async def put(self, key: str, value: bytes) -> int:
        """See `base.Bucket.put`."""
        return await self._write(checked_key(key), value, "")

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See `base.Bucket.update`."""
        try:
            return await self._write(checked_key(key), value, f"{_EXPECT}{revision}\r\n")
        except Conflict:
            if revision:
                raise
            last = await self._last(key)  # a deleted key has no value, but a last message
            if last is None or last.value is not None:
                raise
            return await self._write(key, value, f"{_EXPECT}{last.revision}\r\n")

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See `base.Bucket.delete`."""
        expect = "" if revision is None else f"{_EXPECT}{revision}\r\n"
        await self._write(checked_key(key), b"", f"KV-Operation: DEL\r\n{expect}")

    async def _write(self, key: str, value: bytes, headers: str) -> int:
        return await self._log.calls.append(f"$KV.{self._name}.{key}", value, headers, TIMEOUT)

    async def keys(self) -> list[str]:
        """See `base.Bucket.keys`."""
        skip = len(f"$KV.{self._name}.")
        newest = await self._last(">")
        if newest is None:
            return []
        everything = f"$KV.{self._name}.>"
        last = {"deliver_policy": "last_per_subject", "filter_subject": everything, "headers_only": True}
        keys: set[str] = set()
        async for batch in pull(self._log.calls, self._log.wire, self._stream, newest.revision, **last):
            for found in batch:
                (keys.discard if is_deletion(found.headers) else keys.add)(found.subject[skip:].decode())
        return sorted(keys)

    def watch(self, handler: WatchHandler, prefix: str = "") -> Subscription:
        """See `base.Bucket.watch`."""
        return Watch(self._log, self._name, handler, prefix)
