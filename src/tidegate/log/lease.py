"""Who acts, where one of several may (a gateway for its account, a risk service): by a key in the LEASE bucket that it
renews by compare-and-set.

A holder is taken for dead when the key has not changed for `ttl` by the watcher's own clock, of which only the time
counts in which the log answered: an outage of the log is nobody's death.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from tidegate.log.base import Bucket, Conflict, KvEntry, LogDown


class Holder(msgspec.Struct, frozen=True):
    """The key's value. `life` is when the owner's process began, `beat` rises with every renewal."""

    owner: str = ""
    epoch: int = 0
    life: int = 0
    beat: int = 0


class Lease:
    """`step` takes, renews or waits; call it about four times in `ttl`. `held` says how it stands."""

    def __init__(self, bucket: Bucket, key: str, owner: str, life: int, ttl: float) -> None:
        self.held = False
        self.epoch = 0
        self.renewed = float("-inf")
        """Loop time at which the last renewal that was stored was asked for."""
        self.holder = Holder()
        self._bucket, self._key, self._owner, self._life, self._ttl = bucket, key, owner, life, ttl
        self._revision = 0
        self._beat = 0
        self._seen: tuple[int, float] | None = None

    async def step(self) -> bool:
        """Whether the lease is ours now. Raises `LogDown` where the log does not say: nothing has changed then."""
        began = asyncio.get_running_loop().time()
        try:
            if self.held:
                await self._renew()
            else:
                await self._try(began)
        except TimeoutError:
            self._seen = None
            raise LogDown("the log did not answer in time") from None
        except LogDown:
            self._seen = None
            raise
        if self.held:
            self.renewed = began
        return self.held

    async def release(self) -> None:
        """Let another take it at once."""
        if self.held:
            self.held = False
            with contextlib.suppress(Conflict):
                await self._write(Holder("", self.epoch))

    async def _get(self) -> KvEntry | None:
        async with asyncio.timeout(self._ttl / 2):
            return await self._bucket.get(self._key)

    async def _write(self, holder: Holder) -> None:
        data = msgspec.json.encode(holder)
        async with asyncio.timeout(self._ttl / 2):
            self._revision = await self._bucket.update(self._key, data, self._revision)

    async def _renew(self) -> None:
        self._beat += 1
        mine = Holder(self._owner, self.epoch, self._life, self._beat)
        try:
            await self._write(mine)
        except Conflict:
            # A renewal that was stored and not acknowledged moved the revision; or another has taken over.
            entry = await self._get()
            self._read(entry)
            if (self.holder.owner, self.holder.life) != (self._owner, self._life):
                self.held = False
                return
            try:
                await self._write(mine)
            except Conflict:
                raise LogDown("an earlier renewal is still on its way") from None

    async def _try(self, now: float) -> None:
        entry = await self._get()
        self._read(entry)
        if self._seen is None or self._seen[0] != self._revision:
            self._seen = (self._revision, now)
        free = not self.holder.owner or now - self._seen[1] >= self._ttl
        if not free and not (self.holder.owner == self._owner and self.holder.life < self._life):
            return
        self.epoch = self.holder.epoch + 1
        with contextlib.suppress(Conflict):
            await self._write(Holder(self._owner, self.epoch, self._life, self._beat))
            self.held = True
            self._seen = None

    def _read(self, entry: KvEntry | None) -> None:
        self._revision = entry.revision if entry else 0
        self.holder = msgspec.json.decode(entry.value, type=Holder) if entry and entry.value else Holder()
