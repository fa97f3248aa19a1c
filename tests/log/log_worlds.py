"""The logs that the contract is checked on, each with the same means of trouble."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tidegate.log.base import KvEntry, Log
from tidegate.log.embedded import Embedded
from tidegate.log.memory import MemoryServer
from tidegate.log.nats import connect
from tidegate.log.streams import declared

DECLARED = declared(2, "process")
PATIENCE = 20.0
"""Seconds after which what is awaited is taken never to come."""


class Got(list[Any]):
    """What a handler was called with, one after another; and waiting for it."""

    def __init__(self, *, each: bool = True) -> None:
        super().__init__()
        self.each = each
        self._more = asyncio.Event()

    def __call__(self, item: Any, data: bytes | None = None) -> None:
        if data is not None:
            self.append((item, data))
        elif self.each and isinstance(item, list):
            self.extend(item)
        else:
            self.append(item)
        self._more.set()

    async def until(self, enough: Callable[[Got], object]) -> Got:
        """Wait until it is enough."""
        async with asyncio.timeout(PATIENCE):
            while not enough(self):
                self._more.clear()
                await self._more.wait()
        return self

    async def count(self, n: int) -> Got:
        """Wait until there are so many."""
        return await self.until(lambda got: len(got) >= n)

    @property
    def seqs(self) -> list[int]:
        """The sequences of entries."""
        return [entry.seq for entry in self]

    @property
    def values(self) -> dict[str, bytes]:
        """Keys and values as a watcher's entries leave them."""
        found: dict[str, bytes] = {}
        entry: KvEntry
        for entry in self:
            found.pop(entry.key, None)
            if entry.value is not None:
                found[entry.key] = entry.value
        return found


class World:
    """A log's server, and clients of it."""

    async def client(self, name: str) -> Log:
        """A new client."""
        raise NotImplementedError

    async def freeze(self) -> None:
        """The server answers no more."""
        raise NotImplementedError

    async def thaw(self) -> None:
        """It goes on."""
        raise NotImplementedError

    async def crash(self) -> None:
        """Every client loses its connection; the server comes back by itself."""
        raise NotImplementedError


class MemoryWorld(World):
    def __init__(self) -> None:
        self.server = MemoryServer(7, log=DECLARED)

    async def client(self, name: str) -> Log:
        return self.server.client(name)

    async def freeze(self) -> None:
        for name in self.server.clients:
            self.server.partition(name)

    async def thaw(self) -> None:
        for name in self.server.clients:
            self.server.heal(name)

    async def crash(self) -> None:
        await self.freeze()
        asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(self.thaw()))


class NatsWorld(World):
    def __init__(self, server: Embedded) -> None:
        self.server = server
        self.clients: list[Log] = []

    async def client(self, name: str) -> Log:
        at = self.server.running
        self.clients.append(
            await connect(at.url, name=name, declared=DECLARED, user=at.user, password=at.password)
        )
        return self.clients[-1]

    def _signal(self, number: int) -> None:
        os.kill(self.server.pid, number)

    async def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        threads = list(Path(f"/proc/{self.server.pid}/task").glob("*/stat"))
        while not all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads):
            await asyncio.sleep(0)  # the signal takes a moment to reach them all

    async def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def crash(self) -> None:
        self._signal(signal.SIGKILL)


@asynccontextmanager
async def world(kind: str, folder: Path) -> AsyncIterator[World]:
    """A log of this kind, and its end."""
    if kind == "memory":
        found = MemoryWorld()
        yield found
        for client in list(found.server.clients.values()):
            await client.close()
        return
    server = Embedded(folder, "process")
    await server.start()
    watching = asyncio.create_task(server.watch())
    live = NatsWorld(server)
    try:
        yield live
    finally:
        for client in live.clients:
            await client.close()
        watching.cancel()
        if server.pid:
            os.kill(server.pid, signal.SIGCONT)
        await server.stop()


async def settled(*logs: Log) -> None:
    """Wait until the server has seen all that these clients subscribed to."""
    await asyncio.gather(*(log.last("ALERT") for log in logs))


async def again(act: Callable[[], Awaitable[Any]], error: type[Exception]) -> Any:
    """Do it until it no longer raises this error."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await act()
            except error:
                await asyncio.sleep(0.05)


async def all_of(log: Log, stream: str, **bounds: Any) -> list[Any]:
    """Everything in a stream."""
    return [entry async for batch in log.read(stream, **bounds) for entry in batch]
