"""What outlives the gateway's process: bucket STATE, key `gw.<VENUE>.<account>`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import msgspec

from tidegate.log.base import Bucket, LogError

EVERY = 1.0
"""Seconds between two saves."""


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What has no cursor, or has other fields, is none of ours.

    `cursor` is the venue time of the last fill adopted, 0 before the first start. `positions` (by instrument id)
    and `balances` are differences that have been told (`reconcile.Looks`)."""

    cursor: int
    positions: dict[str, int] = {}
    balances: dict[str, Decimal] = {}


class Memory:
    """`saved` as it should be; `save` writes it when it has changed. `spoiled` is told of what stood there and is none of
    ours: it is written over, and a process that has known no better goes on from nothing."""

    def __init__(
        self, bucket: Bucket, key: str, spoiled: Callable[[bytes], None] = lambda value: None
    ) -> None:
        self.saved = Saved(0)
        self._bucket, self._key, self._spoiled = bucket, key, spoiled
        self._written = b""

    async def load(self) -> None:
        """What was saved last; raises `LogDown`."""
        entry = await self._bucket.get(self._key)
        self._written = entry.value if entry and entry.value is not None else b""
        try:
            self.saved = msgspec.json.decode(self._written, type=Saved) if entry else Saved(0)
        except ValueError:
            self._spoiled(self._written)

    async def look(self) -> None:
        """Notice where our value was overwritten: it is written again with the next `save`. Raises `LogDown`."""
        entry = await self._bucket.get(self._key)
        value = entry.value if entry else None
        if value is not None and value != self._written:
            try:
                msgspec.json.decode(value, type=Saved)
            except ValueError:
                self._written = value
                self._spoiled(value)

    async def run(self, counts: Counter[str]) -> None:
        """Look and save every second."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
                await self.save()
            except LogError:
                counts["memory_unsaved"] += 1

    async def save(self) -> None:
        """Write it if it has changed; raises `LogDown`."""
        data = msgspec.json.encode(self.saved)
        if data != self._written:
            await self._bucket.put(self._key, data)
            self._written = data
