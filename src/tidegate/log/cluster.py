"""A replicated log on one machine: servers that know each other, for tests and measurements."""

from __future__ import annotations

import asyncio
import secrets
import signal
from pathlib import Path

from tidegate.log.grants import User
from tidegate.log.nats import NatsLog
from tidegate.log.server_process import ServerProcess, configuration, free_port, write_private


class Cluster:
    """Servers on the loopback, each with a store of its own under `base`."""

    def __init__(self, size: int, base: Path, *, sync: bool = False) -> None:
        self.user, self.password = "tidegate", secrets.token_urlsafe(24)
        self.servers: list[ServerProcess] = []
        ports = [(free_port(), free_port()) for _ in range(size)]
        self.urls = [f"nats://127.0.0.1:{port}" for port, _ in ports]
        routes = ", ".join(f'"nats-route://127.0.0.1:{route}"' for _, route in ports)
        for n, (port, route) in enumerate(ports):
            home = base / f"node-{n}"
            home.mkdir(parents=True, exist_ok=True)
            cluster = f'cluster {{ name: local, listen: "127.0.0.1:{route}", routes: [{routes}], no_advertise: true }}\n'
            text = configuration(
                port=port,
                store=home / "store",
                name=f"node-{n}",
                users=[User(self.user, self.password)],
                sync=sync,
                cluster=cluster,
            )
            write_private(home / "server.conf", text)
            self.servers.append(ServerProcess(home / "server.conf", home / "server.log", f"node-{n}", port))

    async def start(self) -> None:
        """Start all; raises `UserError`. Leaders are elected after that."""
        await asyncio.gather(*(server.start() for server in self.servers))

    async def stop(self) -> None:
        """Stop all."""
        await asyncio.gather(*(server.stop() for server in self.servers))

    async def leader(self, log: NatsLog, stream: str) -> ServerProcess:
        """The server that leads a stream."""
        info = await log.calls.api(f"STREAM.INFO.{stream}")
        name = info["cluster"]["leader"]
        return next(server for server in self.servers if server.name == name)

    async def kill(self, server: ServerProcess) -> None:
        """As kill -9."""
        server.kill(signal.SIGKILL)
        await server.wait()
