"""Which order-manager instance writes which lane: leases in the log's LEASE bucket, by compare-and-set.

Every instance renews `oms.<name>`; `lane.<n>` names the owner and its epoch, which rises with every change of
hands. An instance whose key has not changed for `TTL` by the watcher's own clock is taken for dead, and its lanes
are shared out. An instance that joins is given lanes by those that have more than their share. A lease only says
who should write: what fences a zombie is the epoch in the lane's own log, at the gateways and in EVT_<n>.

Lanes are taken and lost one after another, which may take long; the instance renews meanwhile. One lane that gets no
further, or fails, is given up, told and tried again later: it keeps no other lane waiting for ever. An instance that
settles nothing any more does not renew either.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from tidegate.execution.lane_plan import plan
from tidegate.log.base import Bucket, Conflict, KvEntry, LogError

RENEW = 0.5
"""Seconds between two renewals."""
TTL = 1.6
"""Seconds without a renewal after which an instance is taken for dead."""
STUCK = 30.0
"""Seconds after which the taking or losing of a lane is given up that gets no further (`Ownership.moved`)."""
RETRY, LONGEST = 5.0, 60.0
"""Seconds after which a lane that could not be taken is tried again; doubles up to the longest."""


class Lease(msgspec.Struct, frozen=True):
    """A lane's lease. `owner` is an instance's id, empty when it was handed back; `broken` says why nobody may
    write the lane until a person has looked."""

    owner: str = ""
    epoch: int = 0
    broken: str = ""


class Written(msgspec.Struct, frozen=True):
    """What every lease that was written as one has: what else stands under a lane's key is no lease."""

    owner: str
    epoch: int
    broken: str = ""


class Beat(msgspec.Struct, frozen=True):
    """An instance's sign of life: `id` is its own in this life, `count` rises. `refuses` are lanes it cannot write."""

    id: str
    count: int
    refuses: tuple[int, ...] = ()


class Ownership:
    """One instance's part in sharing out the lanes.

    `take(lane, epoch)` is awaited when a lane has become ours, `lose(lane, handover)` when it has to go: with
    `handover` before the lease is given back, without it the lane is somebody else's already. What either raises is
    that lane's alone: `failed(lane, why)` is called with it, and with lane −1 when nothing is settled any more.
    """

    def __init__(
        self,
        name: str,
        ident: str,
        lanes: Iterable[int],
        bucket: Bucket,
        take: Callable[[int, int], Awaitable[None]],
        lose: Callable[[int, bool], Awaitable[None]],
        failed: Callable[[int, str], None] = lambda lane, why: None,
    ) -> None:
        self.name, self.ident = name, ident
        self.leases: dict[int, tuple[Lease, int]] = {lane: (Lease(), 0) for lane in lanes}
        """Each lane's lease and its revision in the bucket."""
        self.spoiled: dict[int, int] = {}
        """How often a lane's key held what is no lease: a user of the log can have the server write its answers there."""
        self._mend: set[int] = set()
        self.mine: set[int] = set()
        self.refused: set[int] = set()
        """Lanes this instance cannot write (a newer version's entries, another configuration)."""
        self.usurped = False
        """Another instance has come up under our name: we must write nothing more."""
        self.failures: dict[int, str] = {}
        """Lanes that could not be taken when it was tried last, and why."""
        self.ended = ""
        """Why nothing is settled any more; empty while it is."""
        self._bucket, self._take, self._lose, self._failed = bucket, take, lose, failed
        self._retries: dict[int, tuple[float, float]] = {}
        """When such a lane is tried again (loop time), and after what pause."""
        self._limit: asyncio.Timeout | None = None
        """Of the lane that is being taken or lost now."""
        self._beats: dict[str, tuple[Beat, float]] = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._began = 0.0
        self._breaking: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew, and take what is due to us."""
        self._began = asyncio.get_running_loop().time()
        await self._renew()
        self._watches = [
            self._bucket.watch(self._on_lease, "lane."),
            self._bucket.watch(self._on_beat, "oms."),
        ]
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def stop(self) -> None:
        """Hand all lanes over and leave."""
        await _cancelled(self._task)
        self._task = None
        self.refused.update(self.leases)  # what is given back is not for us
        with contextlib.suppress(LogError):
            await self._renew()
        for lane in sorted(self.mine):
            await self._give_back(lane)
        await _cancelled(self._beating)
        for watch in self._watches:
            watch.close()
        with contextlib.suppress(LogError):
            if not self.usurped:
                await self._bucket.delete(f"oms.{self.name}")

    def live(self) -> dict[str, tuple[int, ...]]:
        """Instances that show signs of life, this one among them, each with the lanes it refuses."""
        now = asyncio.get_running_loop().time()
        found = {beat.id: beat.refuses for beat, at in self._beats.values() if now - at < TTL}
        if not self.usurped:
            found[self.ident] = tuple(sorted(self.refused))
        return found

    def _on_lease(self, entry: KvEntry) -> None:
        _, _, number = entry.key.partition(".")
        lane = int(number) if number.isdecimal() else -1
        if lane in self.leases:
            self._know(lane, self._read(lane, entry), entry.revision)
            self._wake.set()

    def _read(self, lane: int, entry: KvEntry) -> Lease:
        """The lease in an entry. What is none, or of an epoch that is over, leaves the lane whose it was: its owner
        writes its lease again."""
        if not entry.value:
            return Lease()
        known, revision = self.leases[lane]
        try:
            found = msgspec.json.decode(entry.value, type=Written)
        except ValueError:
            found = None
        if found is not None and (found.epoch >= known.epoch or entry.revision <= revision):
            return Lease(found.owner, found.epoch, found.broken)
        self.spoiled[lane] = self.spoiled.get(lane, 0) + 1
        self._mend.add(lane)
        return known

    def _know(self, lane: int, lease: Lease, revision: int) -> None:
        """A lane's lease, unless a later one is known: the watch may be ahead of an acknowledgement."""
        if revision >= self.leases[lane][1]:
            self.leases[lane] = (lease, revision)

    def _on_beat(self, entry: KvEntry) -> None:
        name = entry.key.removeprefix("oms.")
        if entry.value is None:
            self._beats.pop(name, None)
            self._wake.set()
            return
        try:
            beat = msgspec.json.decode(entry.value, type=Beat)
        except ValueError:
            return  # no sign of life; the next one is
        known = self._beats.get(name)
        self._beats[name] = (beat, asyncio.get_running_loop().time())
        if name == self.name and beat.id > self.ident:  # ids begin with the time their process began
            self.usurped = True
        if known is None or (known[0].id, known[0].refuses) != (beat.id, beat.refuses):
            self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), RENEW)
                self._wake.clear()
                now = asyncio.get_running_loop().time()
                for lane in [lane for lane, (due, _) in self._retries.items() if due <= now]:
                    self._retries[lane] = math.inf, self._retries[lane][1]
                    self.refused.discard(lane)
                with contextlib.suppress(LogError):
                    await self._settle()
        except Exception as error:
            self.ended = f"lanes are not shared out any more: {_text(error)}"
            self._failed(-1, self.ended)

    async def _beat(self) -> None:
        """Renew, whatever is being settled: what hangs the process ends this too."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._task is None or not self._task.done():
            due = max(due + RENEW, loop.time())
            await asyncio.sleep(due - loop.time())
            with contextlib.suppress(LogError):
                await self._renew()

    async def _renew(self) -> None:
        if not self.usurped:
            self._count += 1
            beat = msgspec.json.encode(Beat(self.ident, self._count, tuple(sorted(self.refused))))
            await self._bucket.put(f"oms.{self.name}", beat)

    async def _settle(self) -> None:
        """Do what separates the leases as they are from what they should be."""
        for lane in sorted(self._mend):
            self._mend.discard(lane)
            lease, revision = self.leases[lane]
            if lane in self.mine and lease.owner == self.ident:
                key, value = f"lane.{lane}", msgspec.json.encode(lease)
                try:
                    self._know(lane, lease, await self._bucket.update(key, value, revision))
                except Conflict:
                    pass  # the watch will tell what stands there now
                except LogError:
                    self._mend.add(lane)
                    raise
        wanted = self._wanted()
        for lane in sorted(self.leases):
            if lane not in self._breaking and await self._settled(lane, wanted.get(lane) == self.ident):
                wanted = self._wanted()  # time has passed

    def _wanted(self) -> dict[int, str]:
        """Who should own each lane now."""
        usable = {n: lease.owner for n, (lease, _) in self.leases.items() if not lease.broken}
        return plan(usable, self.live())

    async def _settled(self, lane: int, ours: bool) -> bool:
        """Take or lose a lane, if that is due; whether it was. `ours`: it should be."""
        lease, revision = self.leases[lane]
        held = lane in self.mine
        if held and lease.owner != self.ident and lease.epoch:
            self.mine.discard(lane)
            await self._step(lane, self._lose(lane, False))
            return True
        able = ours and lane not in self.refused
        if (held or lease.owner == self.ident) and not able:
            await self._give_back(lane)  # also where its writer has stopped by itself, or never came to be
            return True
        if not held and able and (lease.owner == self.ident or self._gone(lease.owner)):
            await self._claim(lane, lease, revision)
            return True
        return False

    async def _step(self, lane: int, work: Awaitable[None]) -> str:
        """Await the taking or losing of a lane; why it failed, empty where it did not. Nothing of it ends the others."""
        try:
            async with asyncio.timeout(STUCK) as self._limit:
                await work
            return ""
        except Exception as error:
            stuck = self._limit is not None and self._limit.expired()
            return f"it got no further for {STUCK:g} s" if stuck else _text(error)
        finally:
            self._limit = None

    def moved(self) -> None:
        """What is being taken or lost gets on: it is not stuck."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + STUCK)

    def _gone(self, owner: str) -> bool:
        """Whether an owner is dead. One not heard of yet may only be unheard: we have just begun; but an older life of our
        own name is over."""
        if owner in self.live():
            return False
        older = owner.partition("-")[2] == self.name
        return not owner or older or asyncio.get_running_loop().time() - self._began >= TTL

    async def _claim(self, lane: int, lease: Lease, revision: int) -> None:
        mine = Lease(self.ident, lease.epoch + 1)
        try:
            new = await self._bucket.update(f"lane.{lane}", msgspec.json.encode(mine), revision)
        except Conflict:
            return  # the watch will tell whose it is
        self._know(lane, mine, new)
        if self.leases[lane][0] == mine:
            self.mine.add(lane)
            if why := await self._step(lane, self._take(lane, mine.epoch)):
                await self._give_up(lane, why)
            elif lane in self.mine:
                self.failures.pop(lane, None)
                self._retries.pop(lane, None)

    async def _give_up(self, lane: int, why: str) -> None:
        """A lane could not be taken: others may, and we try again later."""
        self.mine.discard(lane)
        await self._step(lane, self._lose(lane, False))  # what there is of it
        pause = min(2 * self._retries[lane][1], LONGEST) if lane in self._retries else RETRY
        text = f"lane {lane} could not be taken: {why}"
        self._failed(lane, f"{text}; it is tried again in {pause:g} s")
        with contextlib.suppress(LogError):
            await self.refuse(lane)
        self.failures[lane] = text
        self._retries[lane] = asyncio.get_running_loop().time() + pause, pause

    async def _give_back(self, lane: int) -> None:
        self.mine.discard(lane)
        if why := await self._step(lane, self._lose(lane, True)):
            self._failed(lane, f"lane {lane} was not handed over as it should be: {why}")
        lease, revision = self.leases[lane]
        if lease.owner == self.ident:
            free = Lease("", lease.epoch)
            with contextlib.suppress(LogError):
                new = await self._bucket.update(f"lane.{lane}", msgspec.json.encode(free), revision)
                self._know(lane, free, new)

    async def refuse(self, lane: int) -> None:
        """This instance cannot write the lane: another may."""
        self.refused.add(lane)
        self.failures.pop(lane, None)
        self._retries.pop(lane, None)
        self._wake.set()
        await self._renew()

    async def broken(self, lane: int, why: str) -> None:
        """Nobody may write the lane until a person has looked: see `mend`."""
        lease, revision = self.leases[lane]
        self.mine.discard(lane)
        if lease.owner == self.ident:
            value = Lease("", lease.epoch, why)
            self._breaking.add(lane)  # it is not to be claimed again meanwhile
            with contextlib.suppress(LogError):
                new = await self._bucket.update(f"lane.{lane}", msgspec.json.encode(value), revision)
                self._know(lane, value, new)
            self._breaking.discard(lane)

    async def mend(self, lane: int) -> str:
        """A person has looked: the lane may be written again. What it was broken by; empty where it was not.

        Its epoch stays, so that the next writer's is above all that went before. A lane whose log still breaks it
        breaks again at once. Raises `LogError`.
        """
        lease, revision = self.leases[lane]
        if lease.broken:
            value = Lease("", lease.epoch)
            self._know(
                lane, value, await self._bucket.update(f"lane.{lane}", msgspec.json.encode(value), revision)
            )
            self._wake.set()
        return lease.broken


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
