"""Halts that reach a gateway before the log has them: by its socket from this machine, by `now.halt` from anywhere.

They hold at once, are kept in the gateway's file, and are appended to HALT by the gateway itself until the log has them.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

from tidegate.access.note import NOBODY, Note
from tidegate.risk.halt import HaltEvent, Ignored
from tidegate.risk.quick import AGAIN, read
from tidegate.risk.scopes import State
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.control import Doer, Order, Peer, Refused
from tidegate.venue.gateway.halts import Halts

BEHIND = 0.02
"""Seconds until what is not urgent is done, behind the first cancels: the file, the trail."""


class Quick:
    """`hear` is told of messages on `now.halt`; `doers` are the socket's for processes of the same user."""

    def __init__(self, subject: str, halts: Halts, alerts: Alerts, note: Note, counts: Counter[str]) -> None:
        self._subject, self._halts, self._alerts, self._noted = subject, halts, alerts, note
        self._counts = counts

    def hear(self, _: str, data: bytes) -> None:
        """A message on `now.halt`, whose publisher the log's server has let."""
        try:
            self._take(read(data, self._halts.place.known), "now.halt")
        except Ignored as why:
            self._ignored(why, "now.halt")

    def doers(self, peer: Peer) -> dict[str, Doer]:
        """What this peer may ask for."""

        async def halt(order: Order) -> dict[str, Any]:
            return await self._told(order, peer)

        return {"halt": halt}

    async def _told(self, order: Order, peer: Peer) -> dict[str, Any]:
        """It holds, and is on the disk, before it is answered."""
        if peer.uid != os.getuid():
            self._ignored(Ignored("peer", "it comes from a process of another user"), str(peer))
            raise Refused("a halt without a signature is taken from processes of the same user only")
        try:
            if order.event is None:
                raise Ignored("malformed", "it names no event")
            event = read(order.event, self._halts.place.known)
        except Ignored as why:
            self._ignored(why, str(peer))
            raise Refused(str(why)) from None
        new = self._take(event, f"socket, {peer}")
        await self._halts.kept()
        here = self._halts.place.target(event.scope) is not None
        return {
            "concerned": here, "state": self._halts.state_of(event.scope).name, "already": not new,
        }  # fmt: skip

    def _take(self, event: HaltEvent, way: str) -> bool:
        """Whether it is new here."""
        if not self._halts.early(event, BEHIND):
            return False
        self._counts["halts_early"] += 1
        if self._halts.place.target(event.scope) is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(BEHIND, self._note, event, way)
            loop.call_later(2 * AGAIN, self._late, event)
        return True

    def _note(self, event: HaltEvent, way: str) -> None:
        detail = f"{self._subject}: {event.trigger}: {event.reason} (by {way})"
        self._noted(event.source, "halt", event.scope, "done", detail, b"")

    def _late(self, event: HaltEvent) -> None:
        """People are told of what the log does not tell them."""
        if event.id in self._halts.pending:
            self._counts["halts_before_the_log"] += 1
            severity = "critical" if event.state is State.KILLED else "high"
            text = f"{event.scope} is {event.state.name} here, and the log has not brought it yet: {event.reason}"
            self._alerts.say(
                "halt_early", severity, f"{text} ({event.trigger}, by {event.source})", key=event.id
            )

    def _ignored(self, why: Ignored, way: str) -> None:
        self._counts["halts_early_ignored"] += 1
        self._noted(NOBODY, "halt", "?", f"refused: {why}", f"{self._subject}: by {way}", b"")
        self._alerts.say("halt_ignored", "high", f"a halt by {way} is not followed: {why}", key=why.code)
