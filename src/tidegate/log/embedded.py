"""The log's own server, for one machine: started under the data folder when no server is configured.

`<data>/log/` holds `store/` (what is logged), `server.conf`, `server.log`, `server.json` (address and password; only
the owner may read it) and `lock`, held by whoever runs the server. Other processes of the same data folder `find` it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from tidegate.errors import UserError
from tidegate.log import private
from tidegate.log.grants import User
from tidegate.log.server_process import ServerProcess, configuration, free_port, port_taken, write_private

NAME = "tidegate"
LEAST_FREE = 256 << 20
"""Bytes that must be free on the disk for a start."""
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 5.0
_LOCK_TRIES = 20


class Running(msgspec.Struct, frozen=True):
    """Where an embedded server listens, what it asks for, and who runs it."""

    url: str
    user: str
    password: str
    owner: int
    durability: str


def folder(data: Path) -> Path:
    """Where the log of a data folder lives."""
    return data / "log"


def find(data: Path) -> Running | None:
    """The server that runs on this data folder now; None where none does."""
    file = folder(data) / "server.json"
    try:
        with (folder(data) / "lock").open("rb") as lock:
            if _locked(lock, shared=True):
                return None
        return msgspec.json.decode(file.read_bytes(), type=Running)
    except (FileNotFoundError, ValueError):
        return None


def last_durability(data: Path) -> str:
    """How durable the server was that ran on this data folder last; the safest where none did."""
    try:
        return msgspec.json.decode((folder(data) / "server.json").read_bytes(), type=Running).durability
    except (OSError, ValueError):
        return "machine"


class Embedded:
    """The server of one data folder, and its owner's part. `port` 0: any free one, the same after a restart."""

    def __init__(
        self,
        data: Path,
        durability: str = "machine",
        *,
        port: int = 0,
        least_free: int = LEAST_FREE,
        users: Sequence[User] = (),
    ) -> None:
        self.data, self.durability = data, durability
        self.users = users
        """Who may connect beside its owner, who may do all."""
        self.restarts = 0
        """How often it died and was started again."""
        self._port, self._least_free = port, least_free
        self._lock: IO[bytes] | None = None
        self._server: ServerProcess | None = None
        self._running: Running | None = None

    @property
    def running(self) -> Running:
        """Where it listens."""
        assert self._running is not None, "not started"
        return self._running

    @property
    def pid(self) -> int:
        """The server's process; 0 where it does not run."""
        return self._server.pid if self._server is not None else 0

    @property
    def free(self) -> int:
        """Bytes free on its disk. At none appends get no answer (`LogDown`), and nothing acknowledged is lost."""
        return shutil.disk_usage(folder(self.data)).free

    async def start(self) -> Running:
        """Start the server; raises `UserError` where the folder, the disk, the port or another owner is in the way."""
        home = folder(self.data)
        if sys.platform == "win32":
            raise UserError("log: no embedded server on Windows; run nats-server and name its URL")
        if self.durability == "replicated":
            raise UserError(
                "log: durability 'replicated' needs a cluster's URLs; an embedded server is only one"
            )
        self._prepare(home)
        try:
            return await self._start(home)
        except BaseException:
            self._release()
            raise

    def _prepare(self, home: Path) -> None:
        """The folder, its lock and room on its disk."""
        try:
            private.folder(home / "store")
            lock = (home / "lock").open("a+b")
        except OSError as error:
            raise _unwritable(home, error) from None
        if not os.access(home / "store", os.W_OK):
            lock.close()
            raise UserError(
                f"log: {home / 'store'} is not writable; mend its rights or choose another data folder"
            )
        if not _locked(lock):
            lock.close()
            raise _taken(self.data)
        self._lock = lock
        free = self.free
        if free < self._least_free:
            self._release()
            raise UserError(
                f"log: the disk of {home} is full: {free >> 20} MiB are free, {self._least_free >> 20} MiB are needed; "
                "free some or choose another data folder"
            )

    async def _start(self, home: Path) -> Running:
        if self._port and port_taken(self._port):
            raise UserError(f"log: port {self._port} is taken; configure another one, or 0 for any free one")
        try:
            last = msgspec.json.decode((home / "server.json").read_bytes(), type=Running)
            user, password = last.user, last.password
        except (FileNotFoundError, ValueError):
            user, password = NAME, secrets.token_urlsafe(24)
        for attempt in range(3):
            port = self._port or free_port()
            name = f"{NAME}-{secrets.token_hex(4)}"
            text = configuration(
                port=port,
                store=home / "store",
                name=name,
                users=[User(user, password), *self.users],
                sync=self.durability == "machine",
            )
            server = ServerProcess(home / "server.conf", home / "server.log", name, port, _environment())
            try:
                write_private(home / "server.conf", text)
                await server.start()
            except OSError as error:
                raise _unwritable(home, error) from None
            except UserError:
                if self._port or attempt == 2 or not port_taken(port):
                    raise
                continue  # somebody took the port between our look and the server's
            self._server = server
            break
        url = f"nats://127.0.0.1:{port}"
        self._running = Running(url, user, password, os.getpid(), self.durability)
        write_private(home / "server.json", msgspec.json.encode(self._running).decode())
        return self._running

    async def watch(self, died: Callable[[int], None] = lambda code: None) -> None:
        """Start the server again whenever it dies, on the same port and store, with a rising pause; `died` is told its
        return code. Run as a task, and cancel it before `stop`."""
        assert self._server is not None, "not started"
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._server.wait()
            self.restarts += 1
            died(code)
            if loop.time() - began > 60.0:
                pause = _FIRST_PAUSE
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
                try:
                    await self._server.start()
                    break
                except UserError:
                    died(1)

    async def stop(self) -> None:
        """Stop the server; what it holds is on the disk."""
        if self._server is not None:
            await self._server.stop()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _locked(lock: IO[bytes], shared: bool = False) -> bool:
    """Take the lock, if nobody holds it. Whoever only looks holds it for an instant."""
    import fcntl  # not on Windows

    for _ in range(1 if shared else _LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        if not shared:
            time.sleep(0.01)
    return False


def _taken(data: Path) -> UserError:
    who = find(data)
    shown = f" (process {who.owner}, {who.url})" if who is not None else ""
    return UserError(f"log: a server runs on {data} already{shown}; stop it, or choose another data folder")


def _unwritable(home: Path, error: OSError) -> UserError:
    if error.errno == errno.ENOSPC:
        return UserError(f"log: the disk of {home} is full; free some or choose another data folder")
    return UserError(
        f"log: {home} is not writable: {error.strerror}; mend its rights or choose another data folder"
    )


def _environment() -> dict[str, str]:
    """What the server is given of our environment: nothing that may hold a key."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "SYSTEMROOT") if name in os.environ}
