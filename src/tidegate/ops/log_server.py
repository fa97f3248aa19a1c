"""The embedded log server as one of the supervisor's processes: first to start, last to stop, kept alive like the rest."""

from __future__ import annotations

import secrets
from pathlib import Path

from tidegate.log import opening
from tidegate.log.embedded import Embedded
from tidegate.log.grants import Grant, User, user_of
from tidegate.log.nats import connect
from tidegate.log.streams import declared
from tidegate.ops.topology import STOP_ORDER, Process, Started


class LogServer:
    """Put `process()` first into the topology, and `close` when the supervisor has stopped.

    Other processes of the data folder find the server by `log.embedded.find`. It listens on the same port in every
    life, so that clients reconnect. Streams and buckets of `lanes` lanes are there once it is up.
    """

    def __init__(self, data: Path, durability: str, lanes: int = 1) -> None:
        self._data, self._durability, self._lanes = data, durability, lanes
        self._users: list[User] = []
        self._embedded: Embedded | None = None
        self._port = 0

    def admit(self, process: str, grant: Grant) -> dict[str, str]:
        """Let a process in, with these rights; what it needs in its environment. Before the server starts."""
        user = User(user_of(process), secrets.token_urlsafe(24), grant)
        self._users.append(user)
        return {opening.USER: user.name, opening.PASSWORD: user.password}

    def process(self) -> Process:
        """What the supervisor keeps alive."""
        return Process("log", start=self._start, health=False, wait=True, order_of_stop=STOP_ORDER["log"])

    async def close(self) -> None:
        """Give the log's folder back."""
        if self._embedded is not None:
            await self._embedded.stop()

    async def _start(self) -> Started:
        await self.close()
        self._embedded = Embedded(self._data, self._durability, port=self._port, users=self._users)
        running = await self._embedded.start()
        self._port = int(running.url.rpartition(":")[2])
        log = await connect(  # its users may not set streams up themselves
            running.url, name="setup", declared=declared(self._lanes, self._durability), user=running.user,
            password=running.password,
        )  # fmt: skip
        await log.close()
        return Started(self._embedded.pid)
