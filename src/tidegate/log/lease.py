"""Who acts, where one of several may (a gateway for its account, a risk service): by a key in the LEASE bucket that it
renews by compare-and-set.

A holder is taken for dead when the key has not changed for `ttl` by the watcher's own clock, of which only the time
counts in which the log answered: an outage of the log is nobody's death.

An epoch is the bucket's revision at which the lease was taken, or above it. Revisions rise with every write, also with
deletions and with what others put there: so an epoch is above all before it even where nobody can read those any more.

What stands at the key and is no holder's word (a user of the log can have the server write its answers there) frees
nothing: its owner writes its own again, others wait as if it were a renewal. It hides the owner's words for `HIDDEN`
times `ttl` at most, so that whoever writes it again and again cannot keep a dead owner's lease from the living.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from tidegate.log.base import Bucket, Conflict, KvEntry, LogDown

HIDDEN = 5
"""Times `ttl` after which a lease is free of which nothing but noise was seen."""


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key's value, every field of it written. `owner` is empty where it was given back, `life` is when the owner's
    process began, `beat` rises with every renewal."""

    owner: str
    epoch: int
    life: int
    beat: int


NOBODY, UNKNOWN = Holder("", 0, 0, 0), Holder("unknown", 0, 0, 0)


def holder(value: bytes) -> Holder | None:
    """The holder's word in a value; None where it is none."""
    try:
        return msgspec.json.decode(value, type=Holder)
    except ValueError:
        return None


class Lease:
    """`step` takes, renews or waits; call it about four times in `ttl`. `held` says how it stands. `spoiled` is told of
    each value that was no holder's word."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        owner: str,
        life: int,
        ttl: float,
        spoiled: Callable[[bytes], None] = lambda value: None,
    ) -> None:
        self.held = False
        self.epoch = 0
        """Of our last taking. It rises also where we wrote over noise, for what that hides is not known."""
        self.renewed = float("-inf")
        """Loop time at which the last renewal that was stored was asked for."""
        self.holder = NOBODY
        self._bucket, self._key, self._owner, self._life, self._ttl = bucket, key, owner, life, ttl
        self._spoiled = spoiled
        self._revision = 0
        self._beat = 0
        self._known = 0
        """The highest epoch seen."""
        self._seen: tuple[int, float] | None = None
        self._heard: float | None = None
        """When something else than noise was seen last, loop time."""
        self._noise = 0
        """The revision of the noise that was told last."""

    async def step(self) -> bool:
        """Whether the lease is ours now. Raises `LogDown` where the log does not say: nothing has changed then."""
        began = asyncio.get_running_loop().time()
        try:
            if self.held:
                await self._renew()
            else:
                await self._try(began)
        except TimeoutError:
            self._seen = self._heard = None
            raise LogDown("the log did not answer in time") from None
        except LogDown:
            self._seen = self._heard = None
            raise
        if self.held:
            self.renewed = began
        return self.held

    async def release(self) -> None:
        """Let another take it at once."""
        if self.held:
            self.held = False
            with contextlib.suppress(Conflict):
                await self._write(Holder("", self.epoch, 0, 0))

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
            # A renewal that was stored and not acknowledged moved the revision; or another has taken over; or it is noise:
            # under that nobody has taken what was renewed less than `ttl` ago.
            noise = not self._read(await self._get())
            young = asyncio.get_running_loop().time() - self.renewed < self._ttl
            ours = (self.holder.owner, self.holder.life) == (self._owner, self._life)
            if not (young if noise else ours):
                self.held = False
                return
            try:
                await self._write(mine)
            except Conflict:
                raise LogDown("an earlier renewal is still on its way") from None
            if noise:
                self._rise(self.epoch)

    async def _try(self, now: float) -> None:
        read = self._read(await self._get())
        if self._seen is None or self._seen[0] != self._revision:
            self._seen = (self._revision, now)
        if read or self._heard is None:
            self._heard = now
        silent = now - self._seen[1] >= self._ttl or now - self._heard >= HIDDEN * self._ttl
        older = self.holder.owner == self._owner and self.holder.life < self._life
        if self.holder.owner and not silent and not older:
            return
        mine = Holder(self._owner, max(self._known, self._revision) + 1, self._life, self._beat)
        with contextlib.suppress(Conflict):
            await self._write(mine)
            self._rise(mine.epoch)
            self.held = True
            self._seen = self._heard = None

    def _rise(self, epoch: int) -> None:
        """Our epoch is this one, or the revision that has just been written."""
        self.epoch = self._known = max(epoch, self._known, self._revision)

    def _read(self, entry: KvEntry | None) -> bool:
        """Learn who holds it; False where that is noise."""
        self._revision = entry.revision if entry else 0
        found = holder(entry.value) if entry and entry.value is not None else NOBODY
        if found is not None:
            self.holder = found
            self._known = max(self._known, found.epoch)
            return True
        self.holder = UNKNOWN
        if entry and self._revision != self._noise:
            self._noise = self._revision
            self._spoiled(entry.value or b"")
        return False
