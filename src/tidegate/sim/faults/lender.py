"""The part of a risk service that lends limits, as a process of its own: of two, the one that holds the lease acts."""

from __future__ import annotations

import asyncio
import contextlib

from tidegate.log.base import Log, LogError
from tidegate.log.lease import Lease
from tidegate.model.clock import Clock
from tidegate.risk.allocator import Allocator
from tidegate.risk.leases import leased
from tidegate.sim.faults.plant import Plant

TTL = 2.0
"""Seconds without a renewal after which the other acts."""


class Lender:
    """One instance."""

    def __init__(self, name: str, plant: Plant, log: Log, clock: Clock) -> None:
        self.allocator: Allocator | None = None
        self._name, self._plant, self._log, self._clock = name, plant, log, clock
        self._lease = Lease(log.bucket("LEASE"), "risk", name, clock.now(), TTL)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Act if no other does."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Let the other act."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._rest()
        with contextlib.suppress(LogError, TimeoutError):
            await self._lease.release()

    @property
    def acting(self) -> bool:
        """Whether it lends."""
        return self.allocator is not None and not self.allocator.fenced

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(LogError):
                held = await self._lease.step()
                if not held or (self.allocator is not None and self.allocator.fenced):
                    await self._rest()
                if held and self.allocator is None:
                    await self._act()
            await asyncio.sleep(TTL / 4)

    async def _act(self) -> None:
        plant = self._plant
        limits = leased(plant.gate(), plant.shared, len(plant.universe))
        allocator = Allocator(self._log, self._clock, plant.shared, limits, name=self._name)
        await allocator.start()
        self.allocator = allocator

    async def _rest(self) -> None:
        if self.allocator is not None:
            await self.allocator.stop()
            self.allocator = None
