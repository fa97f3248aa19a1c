"""The embedded log server as one of the supervisor's processes: first to start, last to stop, kept alive like the rest."""

from __future__ import annotations

from pathlib import Path

from tidegate.log.embedded import Embedded
from tidegate.ops.topology import STOP_ORDER, Process, Started


class LogServer:
    """Put `process()` first into the topology, and `close` when the supervisor has stopped.

    Other processes of the data folder find the server by `log.embedded.find`. It listens on the same port in every
    life, so that clients reconnect.
    """

    def __init__(self, data: Path, durability: str) -> None:
        self._data, self._durability = data, durability
        self._embedded: Embedded | None = None
        self._port = 0

    def process(self) -> Process:
        """What the supervisor keeps alive."""
        return Process("log", start=self._start, health=False, wait=True, order_of_stop=STOP_ORDER["log"])

    async def close(self) -> None:
        """Give the log's folder back."""
        if self._embedded is not None:
            await self._embedded.stop()

    async def _start(self) -> Started:
        await self.close()
        self._embedded = Embedded(self._data, self._durability, port=self._port)
        running = await self._embedded.start()
        self._port = int(running.url.rpartition(":")[2])
        return Started(self._embedded.pid)
