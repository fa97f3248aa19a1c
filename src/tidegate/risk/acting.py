"""Which of several risk services acts: its lease, renewed whatever else is being done, for gateways watch how old it is.

A gateway lets out nothing that may add risk when the lease is older than a second. So it is renewed five times in that
time, also while its holder begins to act or is being stopped; and it is given back in order as the last thing of all.
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
Step = Callable[[], Awaitable[None]]


class Acting:
    """`begin` is awaited when the lease is won, `end` when it is lost, never both at once."""

    def __init__(self, lease: Lease, begin: Step, end: Step, counts: Counter[str]) -> None:
        self.lease = lease
        self._begin, self._end, self._counts = begin, end, counts
        self._acts = False
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
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), RENEW)
                return
            await self._renew()
            idle = self._turning is None or self._turning.done()
            if idle and not self._leaving and self.lease.held is not self._acts:
                self._turning = asyncio.get_running_loop().create_task(self._turn())

    async def _renew(self) -> None:
        try:
            await self.lease.step()
        except LogError:
            self._counts["lease_unanswered"] += 1

    async def _turn(self) -> None:
        """Do as the lease says; what the log does not let us begin is begun again with the next renewal."""
        if self.lease.held is self._acts:
            return
        try:
            await (self._end() if self._acts else self._begin())
            self._acts = not self._acts
        except LogError:
            self._counts["lease_unanswered"] += 1
