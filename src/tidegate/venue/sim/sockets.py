"""Frames to many sockets: encoded once, gathered, written once a round of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web

LARGEST_BACKLOG = 64 << 20
"""Bytes a client may leave unread until it is cut off: nothing is dropped from the middle of a stream."""


def encode(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Outlet:
    """One client's socket, and what is to be written to it at the end of the round."""

    __slots__ = (
        "_transport",
        "address",
        "combined",
        "kind",
        "names",
        "owner",
        "pending",
        "socket",
        "subscribed",
    )

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, kind: str, address: str
    ) -> None:
        self.socket, self._transport = socket, transport
        self.kind, self.address = kind, address
        """`public`, `user` or `ws_api`."""
        self.pending: list[bytes] = []
        self.names: set[str] = set()
        self.owner = ""
        self.combined = False

    def write(self) -> bool:
        """Write what is pending; False where the client has left too much unread, and was cut off."""
        pending, transport = self.pending, self._transport
        if transport.is_closing():
            pending.clear()
            return True
        transport.write(pending[0] if len(pending) == 1 else b"".join(pending))
        pending.clear()
        if transport.get_write_buffer_size() > LARGEST_BACKLOG:
            transport.abort()
            return False
        return True

    def cut(self) -> None:
        """End the connection without a word."""
        self._transport.abort()


class Outlets:
    """All open sockets."""

    def __init__(self) -> None:
        self.open: set[Outlet] = set()
        self._due: list[Outlet] = []
        self.counters: Counter[str] = Counter()

    def push(self, outlet: Outlet, frame: bytes) -> None:
        """Have an encoded frame written at the end of the round."""
        if not outlet.pending:
            self._due.append(outlet)
        outlet.pending.append(frame)

    def flush(self) -> None:
        """Write everything that was pushed."""
        due, self._due = self._due, []
        for outlet in due:
            if not outlet.write():
                self.counters["slow_clients_cut_off"] += 1

    def cut(self, kind: str = "", owner: str = "") -> int:
        """Cut connections of a kind, or of an account, or all; how many."""
        hit = [o for o in self.open if (not kind or o.kind == kind) and (not owner or o.owner == owner)]
        for outlet in hit:
            outlet.cut()
        return len(hit)
