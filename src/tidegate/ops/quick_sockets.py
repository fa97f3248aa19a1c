"""A component's halt by the sockets of this machine's gateways: needs no log at all."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from tidegate.ops.folder import DataFolder
from tidegate.ops.gateways import ask_all, gateways
from tidegate.risk.halt import HaltEvent

TIMEOUT_S = 2.0


class QuickSockets:
    """Called with an event, it asks every gateway at once and waits for none; `counts` says what they answered."""

    def __init__(self, folder: DataFolder) -> None:
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __call__(self, event: HaltEvent) -> None:
        """Tell them; while they are being told of this event, not again."""
        key = event.id
        if key not in self._tasks:
            self._tasks[key] = asyncio.get_running_loop().create_task(self._ask(key, event))

    async def _ask(self, key: str, event: HaltEvent) -> None:
        try:
            request = {"do": "halt", "event": msgspec.to_builtins(event)}
            for answer in await ask_all(gateways(self._folder), request, TIMEOUT_S):
                self.counts["sockets_failed" if answer.error else "sockets_told"] += 1
        finally:
            del self._tasks[key]
