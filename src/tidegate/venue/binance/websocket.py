"""A WebSocket that stays up: connected again after a pause that doubles, pinged, renewed before the venue ends it.

Frames are handed on by the read: all that one read of the socket brought come together, under one receive time, the
moment the first of them was seen.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tidegate.model.clock import Clock
from tidegate.venue.port import VenueDown, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
_picows = logging.getLogger("tidegate.venue.binance.picows")
_picows.setLevel(logging.WARNING)  # connections that come and go are told here, once
_TEXT, _CONTINUATION, _PING, _CLOSE = WSMsgType.TEXT, WSMsgType.CONTINUATION, WSMsgType.PING, WSMsgType.CLOSE
_MOST = 64 << 20
_MANY = 20
"""Failures after which the pause grows no more."""


@dataclass(frozen=True)
class Pace:
    """How a connection is watched and renewed; seconds."""

    first_pause: float = 0.1
    longest_pause: float = 30.0
    idle: float = 10.0
    """Without a frame for so long, it is pinged; without an answer for as long again, it is given up."""
    stale: float = 0.0
    """Without data for so long, pongs or not, it is given up; 0: data need not come."""
    life: float = 23.5 * 3600
    """Binance ends a connection after 24 hours; it is renewed before."""
    connect: float = 10.0


class _Listener(WSListener):
    """Gathers what one read brings."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._frames: list[bytes] = []
        self._parts: list[bytes] = []
        self._ts = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._socket._connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._socket._disconnected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:
            if not self._frames:
                self._ts = self._socket.clock.now()
            self._frames.append(frame.get_payload_as_bytes())
        else:
            self._rare(transport, frame, kind)
        if frame.last_in_buffer:
            self._socket._heard()
            if self._frames:
                frames, self._frames = self._frames, []
                self._socket._hand_on(frames, self._ts)

    def _rare(self, transport: WSTransport, frame: WSFrame, kind: WSMsgType) -> None:
        # Answered here, for a ping that picows answers itself hides that it was the last of its read.
        if kind is _PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is _CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind in (_TEXT, _CONTINUATION):
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                self._ts = self._ts if self._frames else self._socket.clock.now()
                self._frames.append(b"".join(self._parts))
                self._parts = []


class Socket:
    """One connection and its successors. `url` is asked before each; it may raise `VenueDown`, after which it is asked
    again, or `VenueRefused`, which ends it all where there never was a connection."""

    def __init__(
        self,
        name: str,
        url: Callable[[], Awaitable[str]],
        on_frames: Callable[[list[bytes], int], None],
        on_change: Callable[[bool], None],
        clock: Clock,
        pace: Pace = Pace(),
    ) -> None:
        self.name = name
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.error = ""
        """Why the last connection ended or could not be made."""
        self.refused: VenueRefused | None = None
        self._url, self._on_frames, self._on_change = url, on_frames, on_change
        self._pace = pace
        self._transport: WSTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._alive = self._fed = 0.0
        self._pinged = False
        self._random = random.Random()

    @property
    def up(self) -> bool:
        """Whether frames can be sent now."""
        return self._transport is not None

    async def open(self) -> None:
        """Start; returns after the first attempt, whatever came of it. Raises `VenueRefused`."""
        self.refused = None
        self._tried.clear()
        self._task = asyncio.create_task(self._run(), name=f"socket {self.name}")
        await self._tried.wait()
        if self.refused is not None:
            raise self.refused

    async def close(self) -> None:
        """End for good."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.drop("closed")

    def send(self, data: bytes) -> None:
        """Write a text frame to the socket now. Raises `VenueDown` where there is none."""
        if self._transport is None:
            raise VenueDown(f"{self.name}: not connected")
        self._transport.send(_TEXT, data)

    def drop(self, why: str) -> None:
        """End this connection; the next one is made at once."""
        transport = self._transport
        if transport is not None:
            self.error = why
            with suppress(Exception):
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    async def _run(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                transport, _ = await ws_connect(
                    lambda: _Listener(self), await self._url(), enable_auto_pong=False, max_frame_size=_MOST,
                    websocket_handshake_timeout=self._pace.connect, logger_name=_picows, read_buffer_init_size=1 << 18,
                )  # fmt: skip
                self._tried.set()
                await transport.wait_disconnected()
            except VenueRefused as error:
                self.error = str(error)
                if not self.counts["connections"]:
                    self.refused = error
                    self._tried.set()
                    return
                self.counts["refused"] += 1  # it was good before, and may be again
                failures = _MANY
                log.error("%s: %s", self.name, error)
            except (OSError, WSError, TimeoutError, VenueDown) as error:
                self.error = str(error) or type(error).__name__
                self.counts["connections failed"] += 1
            except Exception as error:  # a handler's: the connection is ended by picows, and made anew
                self.error = repr(error)
                self.counts["handlers failed"] += 1
                log.exception("%s: %s", self.name, error)
            self._tried.set()
            failures = 0 if loop.time() - began > self._pace.longest_pause else failures + 1
            log.info("%s: connection ended (%s), attempt %d", self.name, self.error, failures)
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        longest: float = min(
            self._pace.longest_pause, self._pace.first_pause * 2 ** max(0, min(failures, _MANY) - 1)
        )
        return longest * (0.5 + self._random.random() / 2)

    def _connected(self, transport: WSTransport) -> None:
        loop = asyncio.get_running_loop()
        self._transport = transport
        self._alive = self._fed = loop.time()
        self._pinged = False
        self.counts["connections"] += 1
        life = self._pace.life * (0.95 + self._random.random() / 20)
        self._timers = [loop.call_later(life, self.drop, "its 24 hours are nearly over")]
        self._watch()
        self._on_change(True)

    def _disconnected(self, transport: WSTransport) -> None:
        if transport is not self._transport:
            return
        self._transport = None
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if self._task is not None:
            self.counts["connections lost"] += 1
        self._on_change(False)

    def _heard(self) -> None:
        self._alive = asyncio.get_running_loop().time()
        self._pinged = False

    def _hand_on(self, frames: list[bytes], ts: int) -> None:
        self._fed = self._alive
        self._on_frames(frames, ts)

    def _watch(self) -> None:
        loop, pace = asyncio.get_running_loop(), self._pace
        now = loop.time()
        if pace.stale and now - self._fed > pace.stale:
            self.counts["stale"] += 1
            self.drop(f"no data for {now - self._fed:.1f} s")
            return
        if now - self._alive > pace.idle:
            if self._pinged:
                self.counts["pings unanswered"] += 1
                self.drop(f"no answer to a ping for {pace.idle:.1f} s")
                return
            self._pinged = True
            self._alive = now
            if self._transport is not None:
                self._transport.send_ping()
        every = min(pace.idle, pace.stale or pace.idle) / 2
        self._timers[1:] = [loop.call_later(every, self._watch)]

    def health(self) -> dict[str, Any]:
        """For people."""
        return {"name": self.name, "up": self.up, "error": self.error, **self.counts}
