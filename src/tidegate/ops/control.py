"""One JSON line asked, one answered, over a Unix socket that only its owner may open."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

LONGEST = 1 << 20
"""Bytes of one line."""
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class _Short:
    """A name for a socket's path that is short enough for the kernel (107 bytes), however deep the folder."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self.path = str(path)
        if len(os.fsencode(path)) > 100 and Path("/proc/self/fd").is_dir():
            self._fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.path = f"/proc/self/fd/{self._fd}/{path.name}"

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    """Answer each line that comes; its `peer` is who sent it. What `answer` raises is told as `{"ok": false, "error":
    …}`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await _answer(line, answer, peer), enc_hook=str) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # gone, or a line without end
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    with _Short(path) as short:
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(talk, short, limit=LONGEST)
        finally:
            os.umask(before)


def _peer(writer: asyncio.StreamWriter) -> str:
    """Which user's process is at the other end, as the kernel says; `unknown` where it does not."""
    connection = writer.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if connection is None or option is None:
        return "unknown"
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return f"user:{name} (process {pid})"


async def _answer(line: bytes, answer: Answer, peer: str) -> dict[str, Any]:
    try:
        return await answer({**msgspec.json.decode(line, type=dict[str, Any]), "peer": peer})
    except Exception as error:
        return {"ok": False, "error": f"{error}" or type(error).__name__}


async def ask(path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """The answer to one request. Raises `OSError` when nobody is there or answers in time."""
    try:
        async with asyncio.timeout(timeout):
            with _Short(path) as short:
                reader, writer = await asyncio.open_unix_connection(short, limit=LONGEST)
            try:
                writer.write(msgspec.json.encode(request) + b"\n")
                try:
                    line = await reader.readline()
                except ValueError:
                    raise ConnectionError(f"its answer is longer than {LONGEST} bytes") from None
            finally:
                writer.close()
    except TimeoutError:
        raise TimeoutError(f"no answer in {timeout:g} s") from None
    if not line:
        raise ConnectionResetError("it hung up without an answer")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except ValueError as error:
        raise ConnectionError(f"its answer cannot be read: {error}") from None
