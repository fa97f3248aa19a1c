"""Unix sockets between virtual processes: what `asyncio.start_unix_server` and `open_unix_connection` make on a
`ProcessLoop`. Only the last part of a path counts.

What is written arrives in order after `DELAY`, in the process it is for: late where that one is stopped. The sockets of a
process that was killed are gone with it, and who is at the other end reads an end of file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.sim.virtual_process import ProcessLoop, VirtualProcess

DELAY = 0.00005
"""Seconds from one end to the other."""
Factory = Callable[[], asyncio.BaseProtocol]


class Sockets:
    """All of one loop. `heard` is told (name, process, bytes) of what a listening process is handed."""

    def __init__(self, loop: ProcessLoop) -> None:
        self.heard: Callable[[str, VirtualProcess | None, bytes], None] = lambda _name, _process, _data: None
        self._loop = loop
        self._listening: dict[str, Listener] = {}
        self._ends: dict[End, None] = {}

    def listen(self, factory: Factory, path: str, process: VirtualProcess | None) -> Listener:
        """Take connections in this process, in the place of whoever listened there."""
        name = os.path.basename(path)
        found = self._listening[name] = Listener(self, name, factory, process)
        with contextlib.suppress(OSError):
            Path(path).touch()  # who looks for sockets finds it, also when its process was killed
        return found

    def connect(self, factory: Factory, path: str, process: VirtualProcess | None) -> End:
        """A connection to whoever listens; raises `FileNotFoundError`, `ConnectionRefusedError`."""
        name = os.path.basename(path)
        listener = self._listening.get(name)
        if listener is None:
            raise FileNotFoundError(2, "No such file or directory")
        if listener.process is not None and listener.process.dead:
            raise ConnectionRefusedError(111, "Connection refused")
        here, there = End(self, process, ""), End(self, listener.process, name)
        here.other, there.other = there, here
        self._ends |= {here: None, there: None}
        here.begin(factory)
        there.soon(there.begin, listener.factory)
        return here

    def unlisten(self, listener: Listener) -> None:
        """Take no more connections there."""
        if self._listening.get(listener.name) is listener:
            del self._listening[listener.name]

    def ended(self, process: VirtualProcess) -> None:
        """A process was killed: the other ends of its connections are told."""
        for end in list(self._ends):
            if end.process is process:
                end.abort()
                self.drop(end)

    def drop(self, end: End) -> None:
        """A connection is over."""
        self._ends.pop(end, None)


class Listener:
    """As much of an `asyncio.Server` as is used."""

    def __init__(self, sockets: Sockets, name: str, factory: Factory, process: VirtualProcess | None) -> None:
        self.name, self.factory, self.process = name, factory, process
        self._sockets = sockets

    def close(self) -> None:
        """See `asyncio.Server.close`: connections there are go on."""
        self._sockets.unlisten(self)

    async def wait_closed(self) -> None:
        """See `asyncio.Server.wait_closed`."""


class Credentials:
    """What the kernel says of the other end of a socket: a process of the same user."""

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """See `socket.SO_PEERCRED`."""
        return struct.pack("3i", 0, os.getuid(), os.getgid())


class End(asyncio.Transport):
    """One end of a connection. `name` is what was connected to, empty at the end that asked."""

    other: End

    def __init__(self, sockets: Sockets, process: VirtualProcess | None, name: str) -> None:
        super().__init__()
        self.process, self.name = process, name
        self._sockets = sockets
        self._loop = sockets._loop
        self._protocol: Any = None
        self._closing = False

    def begin(self, factory: Factory) -> None:
        """The connection is made."""
        if not self._closing:
            self._protocol = factory()
            self._protocol.connection_made(self)

    def soon(self, act: Callable[..., None], *args: object) -> None:
        """Call `act` in this end's process when what was sent now arrives."""
        if self.process is None:
            self._loop.call_later(DELAY, act, *args)
        elif not self.process.dead:
            self.process.run(self._loop.call_later, DELAY, act, *args)

    # As a transport.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See `asyncio.WriteTransport.write`."""
        if not self._closing:
            self.other.soon(self.other._arrived, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """See `asyncio.WriteTransport.writelines`."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport.can_write_eof`."""
        return False

    def close(self) -> None:
        """See `asyncio.BaseTransport.close`."""
        if not self._closing:
            self._closing = True
            self.other.soon(self.other._ended)
            self.soon(self._lost)

    def abort(self) -> None:
        """See `asyncio.WriteTransport.abort`."""
        self.close()

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport.is_closing`."""
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport.get_extra_info`."""
        return Credentials() if name == "socket" else default

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport.pause_reading`: nobody writes so much here."""

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport.resume_reading`."""

    def _arrived(self, data: bytes) -> None:
        if self._protocol is not None and not self._closing:
            if self.name:
                self._sockets.heard(self.name, self.process, data)
            self._protocol.data_received(data)

    def _ended(self) -> None:
        if self._protocol is not None and not self._closing and not self._protocol.eof_received():
            self.close()

    def _lost(self) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(None)
        self._sockets.drop(self)
