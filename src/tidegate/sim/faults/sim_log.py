"""The in-process log, whose clients belong to virtual processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.log.memory import Faults, MemoryServer
from tidegate.log.memory_client import MemoryLog
from tidegate.log.streams import Declared
from tidegate.model.clock import Clock
from tidegate.sim.virtual_process import Outside, ProcessLoop, VirtualProcess


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

    def client_of(self, process: VirtualProcess, faults: Faults) -> SimLog:
        """The client of a process that begins, in the place of its earlier life's."""
        client = SimLog(self, process.name, faults, process)
        self.clients[process.name] = client
        return client
