"""The connection: nats-py's client, with its hot path replaced.

nats-py finds servers, connects, authenticates, upgrades to TLS, pings and reconnects; that is kept. Its parser (a
regular expression and a copy of the buffer a message), its queue and task per subscription and its task switch per
flush are not: bytes are parsed as the socket delivers them, handlers are plain functions called from there, and what
is written within one turn of the loop leaves in one piece. Beside plain nats-py in the same run, on two busy cores:
an append acknowledged in 39-52 us against 151-162 (p50), 71-103 k/s against 18-27 k/s in flight, catching up at
113-180 k/s against 62-122 k/s. It stands on private names of nats-py 2.x: the contract suite must pass with every new
version.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

from nats import errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from tidegate.errors import NotYet, UserError

Hook = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with (subject, reply subject, data, headers); the last two or three may be empty."""

_VIOLATION = re.compile(rb"-ERR 'Permissions Violation for (Publish|Subscription) to \"([^\"]+)\"")
BACKLOG = 64 << 20
"""Bytes waiting for the socket beyond which ephemeral messages are dropped (and counted)."""


class Wire(Client):
    """One connection, and what listens on it. `turn_ended` is called after each read's messages were handled,
    `forbidden(act, subject)` where the server refuses our user to "publish" or to hold a "subscription"."""

    def __init__(
        self,
        turn_ended: Callable[[], None],
        forbidden: Callable[[str, str], None] = lambda act, subject: None,
    ) -> None:
        super().__init__()
        self.forbidden = forbidden
        self.hooks: dict[bytes, Hook] = {}
        self.turn_ended = turn_ended
        self.refusals = 0
        """How often the server refused the credentials."""
        self.handlers_failed = 0
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[bytes] = []
        self._last: list[bytes] = []
        self._raw: asyncio.Transport | None = None
        self._last_problem: Exception | None = None
        self._refused: asyncio.Future[None] = self._loop.create_future()

    async def open(
        self,
        urls: list[str],
        *,
        name: str,
        timeout: float,
        lost: Callable[[], Awaitable[None]],
        back: Callable[[], Awaitable[None]],
        **credentials: Any,
    ) -> None:
        """Connect, and from then on reconnect for ever; raises `UserError`, `NotYet` where nobody answers."""
        attempt = self._loop.create_task(
            self.connect(
                urls,
                name=name,
                no_echo=True,
                error_cb=self._problem,
                disconnected_cb=lost,
                reconnected_cb=back,
                connect_timeout=2,
                reconnect_time_wait=cast("int", 0.1),
                max_reconnect_attempts=-1,
                ping_interval=2,
                max_outstanding_pings=2,
                **credentials,
            )
        )
        await asyncio.wait({attempt, self._refused}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if attempt.done() and attempt.exception() is None:
            return
        attempt.cancel()
        shown = ", ".join(url.rpartition("@")[2].removeprefix("nats://") for url in urls)
        problem = self._last_problem or (attempt.done() and not attempt.cancelled() and attempt.exception())
        await self._close(Client.CLOSED, False)
        if self._refused.done():
            raise UserError(
                f"log at {shown} refused the credentials; check the user and password given for it"
            )
        raise NotYet(
            f"log at {shown} cannot be reached: {str(problem or '') or f'no answer in {timeout:g} s'}"
        )

    async def _problem(self, error: Exception) -> None:
        self._last_problem = error
        task = asyncio.current_task()
        if (
            task is not None and task.cancelling()
        ):  # wait_for lets an error pass for a cancellation at the same time
            raise asyncio.CancelledError
        if "authorization" in str(error).lower():
            self.refusals += 1
            if not self._refused.done():
                self._refused.set_result(None)

    def server(self) -> tuple[tuple[int, ...], bool]:
        """The server's version, and whether it has JetStream."""
        numbers = re.findall(r"\d+", str(self._server_info.get("version", "")))[:2]
        return tuple(map(int, numbers)), bool(self._server_info.get("jetstream", False))

    @property
    def encrypted(self) -> bool:
        """Whether the connection is."""
        return self._raw is not None and self._raw.get_extra_info("cipher") is not None

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """nats-py goes on in the clear, password and all, where whoever answers says that he speaks no TLS."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise errors.Error("the server does not speak TLS, and we were told to")
        await super()._process_info(info, initial_connection)

    # Writing.

    @property
    def backlog(self) -> int:
        """Bytes that wait for the socket."""
        return self._raw.get_write_buffer_size() if self._raw is not None else 0

    def post(self, *parts: bytes, last: bool = False) -> None:
        """Write protocol at the end of this turn of the loop; must be connected. `last`: behind all else of the turn,
        so that a tick that is fanned out does not stand before the order that it led to."""
        if not self._outgoing and not self._last:
            self._loop.call_soon(self._write_out)
        (self._last if last else self._outgoing).extend(parts)

    def _write_out(self) -> None:
        outgoing = self._outgoing + self._last
        self._outgoing, self._last = [], []
        # What was written for a lost connection is not sent on the next one: it would come too late.
        if self._raw is not None and self.is_connected and not self._raw.is_closing():
            self._raw.write(b"".join(outgoing))

    def listen(self, subject: str, hook: Hook, queue: str = "") -> int:
        """Subscribe, now and after every reconnect: what comes is given to `hook`."""
        self._sid += 1
        self.hooks[b"%d" % self._sid] = hook
        # nats-py itself subscribes again, from this table, when it has reconnected.
        self._subs[self._sid] = Subscription(self, self._sid, subject, queue=queue)
        if self.is_connected:
            self.post(f"SUB {subject} {queue} {self._sid}\r\n".encode())
        return self._sid

    def unlisten(self, number: int) -> None:
        """End a subscription."""
        self.hooks.pop(b"%d" % number, None)
        self._subs.pop(number, None)
        if self.is_connected:
            self.post(b"UNSUB %d\r\n" % number)

    # Reading.

    async def _read_loop(self) -> None:
        """In the place of nats-py's: once connected the socket's bytes go straight to the parser."""
        streams = cast("Any", self._transport)
        raw, reader = streams._io_writer.transport, streams._io_reader
        feed = _Feed(self, raw.get_protocol())
        early = bytes(reader._buffer)
        reader._buffer.clear()
        self._raw = raw
        raw.set_protocol(feed)
        try:
            if early:
                feed.data_received(early)
            raw.resume_reading()
            await feed.lost
        except asyncio.CancelledError:
            return
        finally:
            if self._raw is raw:
                self._raw = None
        await self._process_op_err(errors.UnexpectedEOF())

    async def _process_err(self, err_msg: str) -> None:
        """In the place of nats-py's, which leaves for good upon most errors: report, and reconnect."""
        error = errors.Error(f"nats: {err_msg}")
        await self._problem(error)
        await self._process_op_err(error)

    def failed(self, error: Exception) -> None:
        """A handler raised: what comes next must be handled all the same."""
        self.handlers_failed += 1
        self._loop.call_exception_handler({"message": "a handler of the log failed", "exception": error})

    def control(self, line: bytes) -> None:
        """Handle what is no message."""
        if line.startswith(b"PING"):
            self.post(b"PONG\r\n")
        elif line.startswith(b"PONG"):
            if self._pongs:
                future = self._pongs.pop(0)
                if not future.done():
                    future.set_result(True)
                self._pings_outstanding = 0
        elif line.startswith(b"INFO"):
            self._loop.create_task(self._process_info(json.loads(line[5:])))
        elif violation := _VIOLATION.match(line):
            self.forbidden(violation[1].decode().lower(), violation[2].decode(errors="replace"))
        elif line.startswith(b"-ERR"):
            self._loop.create_task(self._process_err(line[5:].decode(errors="replace").lower().strip("' ")))


class _Feed(asyncio.Protocol):
    """Parses what the socket delivers. All else goes to the protocol of nats-py's streams, which it replaces."""

    def __init__(self, wire: Wire, streams: Any) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire, self._streams = wire, streams
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def pause_writing(self) -> None:
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        self._streams.resume_writing()

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._streams.connection_lost(error)
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
        rest = self._parse(data)
        self._parts = [rest] if rest else []
        self._have = len(rest)
        self._wire.turn_ended()

    def _parse(self, data: bytes) -> bytes:
        """Handle all whole messages; the rest. `_need` is how long that must get before another try is worth it."""
        wire, hooks, find = self._wire, self._wire.hooks, data.find
        at, size = 0, len(data)
        self._need = 0
        while at < size:
            end = find(b"\r\n", at)
            if end < 0:
                break
            kind = data[at]
            if kind != 77 and kind != 72:  # neither MSG nor HMSG
                wire.control(data[at:end])
                at = end + 2
                continue
            words = data[at:end].split()
            begin = end + 2
            stop = begin + int(words[-1])
            if stop + 2 > size:
                self._need = stop + 2 - at
                break
            at = stop + 2
            hook = hooks.get(words[2])
            if hook is None:
                continue
            try:
                if kind == 77:  # MSG subject sid [reply] size
                    hook(words[1], words[3] if len(words) == 5 else b"", data[begin:stop], b"")
                else:  # HMSG subject sid [reply] header-size size
                    body = begin + int(words[-2])
                    reply = words[3] if len(words) == 6 else b""
                    hook(words[1], reply, data[body:stop], data[begin:body])
            except Exception as error:
                wire.failed(error)
        return data[at:]
