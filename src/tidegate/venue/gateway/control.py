"""Orders to the gateway itself, as JSON lines, over a Unix socket (which needs no log) and over the log.

`{"do": "state", "scope": …}`: how it stands; with a scope, whether that covers any of its orders, and how long ago and
how cleanly it was reconciled.
`{"do": "command", "signed": {"body": …, "signatures": […]}}`: a command that somebody has signed (`access.command`).
`{"do": "halt", "event": {…}}`: a halt that a component decided (`risk.quick`); by the socket only, from the same user.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate.access.command import Signed
from tidegate.risk.halt import HaltEvent

LONGEST = 1 << 16
"""Bytes of one line."""
_PATH_MOST = 100
"""Bytes of a socket's path that the kernel surely takes."""


class Refused(Exception):
    """The order cannot be followed: says why."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line."""

    do: str
    signed: Signed | None = None
    scope: str = ""
    event: HaltEvent | None = None


class Peer(NamedTuple):
    """The process at the other end of the socket, by the kernel's word; −1 where it does not say."""

    pid: int = -1
    uid: int = -1

    def __str__(self) -> str:
        return f"process {self.pid} of user {self.uid}"


Doer = Callable[[Order], Awaitable[dict[str, Any]]]


async def answer(line: bytes, doers: dict[str, Doer]) -> bytes:
    """Do what a line says; the answer's JSON. What goes wrong is told as `{"ok": false, "error": …}`."""
    try:
        order = msgspec.json.decode(line, type=Order)
        doer = doers.get(order.do)
        if doer is None:
            raise Refused(f"do: {order.do!r} is none of {', '.join(sorted(doers))}")
        said = {"ok": True, "do": order.do, **await doer(order)}
    except (ValueError, Refused) as error:
        said = {"ok": False, "error": str(error)}
    except Exception as error:
        said = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return msgspec.json.encode(said, enc_hook=str)


def _peer(writer: asyncio.StreamWriter) -> Peer:
    end, option = writer.get_extra_info("socket"), getattr(socket, "SO_PEERCRED", None)
    if end is None or option is None:
        return Peer()
    pid, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return Peer(pid, uid)


def file_of(path: Path) -> tuple[int, int]:
    """Which file is there: (device, inode); (−1, −1) for none."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino


async def listen(
    path: Path, doers: dict[str, Doer], ours: Callable[[Peer], dict[str, Doer]] = lambda peer: {}
) -> asyncio.Server:
    """Answer each line that comes to the socket, which only its owner may open; `ours` does what depends on the peer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = doers | ours(_peer(writer))
        try:
            while line := await reader.readline():
                writer.write(await answer(line, known) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # gone, or a line without end
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    short, folder = str(path), -1
    if len(os.fsencode(path)) > _PATH_MOST:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        short = f"/proc/self/fd/{folder}/{path.name}"
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(talk, short, limit=LONGEST)
    finally:
        os.umask(before)
        if folder >= 0:
            os.close(folder)
