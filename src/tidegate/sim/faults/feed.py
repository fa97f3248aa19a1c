"""The feed of the simulation: the exchange's touch on `md.*` and `touch.*`, and for those who ask on `snap.*`."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import Any

from tidegate.log.base import Log, Subscription
from tidegate.model.clock import Clock
from tidegate.model.event import Flag, Kind, meta
from tidegate.model.instrument import Universe
from tidegate.model.messages import Mark, Message
from tidegate.model.wire import pack
from tidegate.sim.faults.exchange import Exchange

_ROW = struct.Struct("<8q")


class TouchFeed:
    """Publishes every `every` seconds what has changed."""

    def __init__(
        self, exchange: Exchange, universe: Universe, log: Log, clock: Clock, every: float = 1.0
    ) -> None:
        self._exchange, self._universe, self._log, self._clock, self._every = (
            exchange,
            universe,
            log,
            clock,
            every,
        )
        self._served: list[Subscription] = []
        self._told: list[tuple[int, int]] = []
        self._seq = 0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Serve, and publish until stopped."""
        for number, item in enumerate(self._universe.instruments):
            answer = partial(self._answer, number)
            self._served.append(self._log.serve(f"snap.{item.venue}.{item.symbol}", answer))
        self._publish()

    async def stop(self) -> None:
        """Publish nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        for served in self._served:
            served.close()

    def health(self) -> dict[str, Any]:
        """How it stands."""
        return {"ok": True, "why": ""}

    def _answer(self, number: int, _: bytes) -> bytes:
        return self._row(number)

    def _row(self, number: int) -> bytes:
        bid, ask = self._exchange.touch[number]
        now = self._clock.now()
        return _ROW.pack(now, now, self._seq, bid, 10, ask, 10, meta(number, Kind.QUOTE, 0, Flag.LAST))

    def _publish(self) -> None:
        self._seq += 1
        now = self._clock.now()
        touch = list(self._exchange.touch)
        marks: list[Message] = []
        for number, item in enumerate(self._universe.instruments):
            if not self._told or touch[number] != self._told[number]:
                self._log.publish(f"md.{item.venue}.{item.symbol}", self._row(number))
                marks.append(Mark(now, number, *touch[number]))
        if marks:
            self._log.publish(f"touch.{self._universe[0].venue}", pack(marks, ts=now))
        self._told = touch
        self._timer = asyncio.get_running_loop().call_later(self._every, self._publish)
