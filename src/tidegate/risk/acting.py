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

from tidegate.log.base import LogError
from tidegate.log.lease import Lease

TTL = 1.0
"""Seconds without a renewal after which another risk service acts."""
RENEW = TTL / 5
REST = 5.0
"""Seconds for which one that could not begin to act leaves the lease to others."""
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
        self._rests = 0.0
        self._leaving, self._left = False, asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._turning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Act at once if no other does."""
        await self._renew()
        await self._turn()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def leave(self, last: Step) -> None:
        """Act no more, do what is last, and only then let another act."""
        self._leaving = True
        if self._turning is not None:
            await self._turning
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
            if idle and not self._leaving and self.lease.held is not self._acts:
                self._turning = loop.create_task(self._turn_or_rest())

    async def _renew(self) -> None:
        try:
            await self.lease.step()
        except LogError:
            self._counts["lease_unanswered"] += 1
        except Exception as error:  # it must go on being renewed
            self._failed("its lease", error)

    async def _turn(self) -> None:
        """Do as the lease says; what the log does not let us begin is begun again with the next renewal."""
        if self.lease.held is self._acts:
            return
        try:
            await (self._end() if self._acts else self._begin())
            self._acts = not self._acts
        except LogError:
            self._counts["lease_unanswered"] += 1

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
