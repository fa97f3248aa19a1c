"""The in-process log, whose clients belong to virtual processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from tidegate.log.base import Entry, EntryHandler, Subscription
from tidegate.log.memory import Faults, MemoryServer
from tidegate.log.memory_client import MemoryLog
from tidegate.log.streams import Declared
from tidegate.model.clock import Clock
from tidegate.sim.virtual_process import Outside, ProcessLoop, VirtualProcess

HALT, NOW = "HALT", "now.halt"


class SimLog(MemoryLog):
    """A process's client: what comes to it happens in that process."""

    def __init__(self, server: SimServer, name: str, faults: Faults, process: VirtualProcess) -> None:
        super().__init__(server, name, faults)
        self.process = process

    def deliver(self, act: Callable[..., object], *args: Any) -> None:
        """See `MemoryLog.deliver`."""
        if self.dead or self._held is not None or self.process.paused:
            super().deliver(act, *args)
        else:
            self.process.run(super().deliver, act, *args)

    def follow(
        self, stream: str, handler: EntryHandler, *, after: int = 0, since: int | None = None
    ) -> Subscription:
        """See `MemoryLog.follow`."""
        if stream != HALT:
            return super().follow(stream, handler, after=after, since=since)

        def told(entries: list[Entry]) -> None:
            self.server.on_halt(self.name, entries[-1].seq)  # type: ignore[attr-defined]
            handler(entries)

        return super().follow(stream, told, after=after, since=since)

    def heard(self, subject: str, data: bytes) -> None:
        """See `MemoryLog.heard`."""
        if subject == NOW and self.listeners.find(subject):
            self.server.on_now(self.name, data)  # type: ignore[attr-defined]
        super().heard(subject, data)

    def append(
        self, subject: str, data: bytes, *, msg_id: str = "", expect: int | None = None, timeout: float = 5.0
    ) -> asyncio.Future[int]:
        """See `MemoryLog.append`."""
        if not self.dead:
            self.server.on_append(self.name, subject)  # type: ignore[attr-defined]
        return super().append(subject, data, msg_id=msg_id, expect=expect, timeout=timeout)

    async def read(self, stream: str, after: int = 0, until: int | None = None) -> AsyncIterator[list[Entry]]:
        """See `MemoryLog.read`."""
        async for entries in super().read(stream, after, until):
            if stream == HALT:
                self.server.on_halt(self.name, entries[-1].seq)  # type: ignore[attr-defined]
            yield entries

    def send(self, subject: str, data: bytes) -> None:
        """See `MemoryLog.send`."""
        if not self.dead:
            self.server.on_send(self.name, subject, data)  # type: ignore[attr-defined]
        super().send(subject, data)


class SimServer(MemoryServer):
    """A server that runs outside of all processes."""

    def __init__(self, loop: ProcessLoop, seed: int, clock: Clock, log: Declared) -> None:
        super().__init__(seed, clock=clock, log=log)
        self.loop = Outside(loop)  # type: ignore[assignment]
        self.on_send: Callable[[str, str, bytes], None] = lambda _name, _subject, _data: None
        """Told (client, subject, data) of every point-to-point message that leaves."""
        self.on_append: Callable[[str, str], None] = lambda _name, _subject: None
        """Told (client, subject) of every append that leaves."""
        self.on_now: Callable[[str, bytes], None] = lambda _name, _data: None
        """Told (client, event) of halts that come before the log has them."""
        self.on_halt: Callable[[str, int], None] = lambda _name, _seq: None
        """Told (client, sequence) of how far HALT has come to a follower of it."""

    def client_of(self, process: VirtualProcess, faults: Faults) -> SimLog:
        """The client of a process that begins, in the place of its earlier life's."""
        client = SimLog(self, process.name, faults, process)
        self.clients[process.name] = client
        return client
