"""Which of several risk services acts: its lease, renewed whatever else is being done, for gateways watch how old it is.

A gateway lets out nothing that may add risk when the lease is older than a second. So it is renewed five times in that
time, also while its holder begins to act or is being stopped; and it is given back in order as the last thing of all.
Who holds it and cannot act gives it back: a lease that is renewed says that somebody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

from tidegate.log.base import Conflict, LogError
from tidegate.log.lease import Lease

TTL = 1.0
"""Seconds without a renewal after which another risk service acts."""
RENEW = TTL / 5
REST = 5.0
"""Seconds for which one that could not begin to act leaves the lease to others."""
PATIENCE = 3 * TTL
"""Seconds for which one that holds the lease tries to begin while the log does not let it."""
Step = Callable[[], Awaitable[None]]
Failed = Callable[[str, Exception], None]
"""Told the part that raised, and what."""


class Acting:
    """`begin` is awaited when the lease is won, `end` when it is lost or `begin` did not come to its end, never both at
    once."""

    def __init__(self, lease: Lease, begin: Step, end: Step, counts: Counter[str], failed: Failed) -> None:
        self.lease = lease
        self._begin, self._end, self._counts, self._failed = begin, end, counts, failed
        self._acts = False
        self._rests = self._unable = 0.0
        self._lost = False
        """The lease was not held for a while since what it began under it."""
        self._leaving, self._left = False, asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._turning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Act at once if no other does; the lease is renewed meanwhile."""
        await self._renew()
        loop = asyncio.get_running_loop()
        self._turning = loop.create_task(self._turn_or_rest())
        self._keeping = loop.create_task(self._keep())
        await self._turning

    async def leave(self, last: Step) -> None:
        """Act no more, do what is last, and only then let another act."""
        self._leaving = True
        if self._turning is not None:
            await asyncio.wait([self._turning])
        await self._end()
        await last()
        self._left.set()
        if self._keeping is not None:
            await self._keeping
        with contextlib.suppress(LogError, TimeoutError):
            await self.lease.release()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), RENEW)
                return
            if loop.time() < self._rests:
                continue
            await self._renew()
            idle = self._turning is None or self._turning.done()
            if idle and not self._leaving and self._should is not self._acts:
                self._turning = loop.create_task(self._turn_or_rest())

    async def _renew(self) -> None:
        try:
            await self.lease.step()
        except LogError:
            self._counts["lease_unanswered"] += 1
        except Exception as error:  # it must go on being renewed
            self._failed("its lease", error)
        self._lost |= not self.lease.held

    @property
    def _should(self) -> bool:
        """Whether it is to act. Who had lost the lease ends first: another may have acted, under whom it began nothing."""
        return self.lease.held and not (self._acts and self._lost)

    async def _turn(self) -> None:
        """Do as the lease says; what the log does not let us begin is begun again with the next renewal, and left to another
        after `PATIENCE`: who holds the lease and does not act keeps gateways from noticing that nobody does."""
        if self._should is self._acts:
            return
        try:
            if self._acts:
                await self._end()
            else:
                self._lost = False
                await self._begin()
            self._acts = not self._acts
            self._unable = 0.0
        except Conflict:  # another has begun since: no want of the log
            raise
        except LogError:
            self._counts["lease_unanswered"] += 1
            now = asyncio.get_running_loop().time()
            self._unable = self._unable or now
            if not self._acts and now - self._unable >= PATIENCE:
                self._unable = 0.0
                raise

    async def _turn_or_rest(self) -> None:
        try:
            await self._turn()
        except Exception as error:
            self._failed("ending to act" if self._acts else "beginning to act", error)
            if not self._acts:
                await self._give_up()

    async def _give_up(self) -> None:
        """Undo what was begun, and let another try."""
        self._rests = asyncio.get_running_loop().time() + REST
        try:
            await self._end()
        except Exception as error:
            self._failed("ending to act", error)
        with contextlib.suppress(LogError, TimeoutError):
            await self.lease.release()
