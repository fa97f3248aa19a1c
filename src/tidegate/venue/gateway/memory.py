"""What outlives the gateway's process: bucket STATE, key `gw.<VENUE>.<account>`."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import msgspec

from tidegate.log.base import Bucket, LogError

EVERY = 1.0
"""Seconds between two saves."""


class Saved(msgspec.Struct):
    """`cursor` is the venue time of the last fill adopted, 0 before the first start. `positions` (by instrument id)
    and `balances` are differences that have been told (`reconcile.Looks`)."""

    cursor: int = 0
    positions: dict[str, int] = {}
    balances: dict[str, Decimal] = {}


class Memory:
    """`saved` as it should be; `save` writes it when it has changed."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.saved = Saved()
        self._bucket, self._key = bucket, key
        self._written = b""

    async def load(self) -> None:
        """What was saved last; raises `LogDown`."""
        entry = await self._bucket.get(self._key)
        self._written = entry.value if entry and entry.value else b""
        self.saved = msgspec.json.decode(self._written, type=Saved) if self._written else Saved()

    async def run(self, counts: Counter[str]) -> None:
        """Save every second."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.save()
            except LogError:
                counts["memory_unsaved"] += 1

    async def save(self) -> None:
        """Write it if it has changed; raises `LogDown`."""
        data = msgspec.json.encode(self.saved)
        if data != self._written:
            await self._bucket.put(self._key, data)
            self._written = data
