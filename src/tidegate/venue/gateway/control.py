"""Orders to the gateway itself, as JSON lines, over a Unix socket (which needs no log) and over the log.

`{"do": "cancel_all", "instrument": "BTCUSDT.BINANCE" or null, "by": …, "reason": …}`
`{"do": "disable", "by": …, "reason": …}`: no new order and no replace goes out; cancels pass. Survives a restart.
`{"do": "enable", "by": …, "approved_by": …, "reason": …}`: two people, and a clean reconciliation not long ago.
`{"do": "state"}`
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

LONGEST = 1 << 16
"""Bytes of one line."""
_PATH_MOST = 100
"""Bytes of a socket's path that the kernel surely takes."""


class Refused(Exception):
    """The order cannot be followed: says why."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line."""

    do: str
    instrument: str | int | None = None
    by: str = ""
    reason: str = ""
    approved_by: str = ""


Doer = Callable[[Order], Awaitable[dict[str, Any]]]


async def answer(line: bytes, doers: dict[str, Doer]) -> bytes:
    """Do what a line says; the answer's JSON. What goes wrong is told as `{"ok": false, "error": …}`."""
    try:
        order = msgspec.json.decode(line, type=Order)
        doer = doers.get(order.do)
        if doer is None:
            raise Refused(f"do: {order.do!r} is none of {', '.join(sorted(doers))}")
        if order.do != "state" and not (order.by and order.reason):
            raise Refused(f"{order.do} needs by and reason")
        said = {"ok": True, "do": order.do, **await doer(order)}
    except (msgspec.MsgspecError, Refused) as error:
        said = {"ok": False, "error": str(error)}
    except Exception as error:
        said = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return msgspec.json.encode(said, enc_hook=str)


async def listen(path: Path, doers: dict[str, Doer]) -> asyncio.Server:
    """Answer each line that comes to the socket, which only its owner may open."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(await answer(line, doers) + b"\n")
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


class DisabledFile:
    """Who disabled the account and why, in a file that outlives the process; nothing where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> dict[str, str]:
        """Empty where nobody did. A file that cannot be read counts as disabled."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            return {"by": "?", "reason": f"{self._path} cannot be read"}

    def write(self, who: dict[str, str]) -> None:
        """Keep it, on the disk before this returns; empty removes it. Raises `OSError`."""
        if self._path is None:
            return
        if not who:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(who))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
