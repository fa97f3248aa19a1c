"""What is asked of the supervisor, on the audit trail: first on the disk, then in the log when that can be reached. And
what the log says of who may ask no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from tidegate.access.audit import AuditTrail, leave
from tidegate.access.keyring import Keyring
from tidegate.errors import UserError
from tidegate.log.base import Log, LogError
from tidegate.model.clock import Clock

SOURCE = "up"
PATIENCE = 10.0
"""Seconds to wait for the log; what it does not have then, the next process that comes up sends."""


class Audited:
    """Notes acts; `open_log` opens a client that may write the trail."""

    def __init__(self, data: Path, clock: Clock, open_log: Callable[[], Awaitable[Log]]) -> None:
        self.counters: Counter[str] = Counter()
        self._data, self._clock, self._open_log = data, clock, open_log
        self._task: asyncio.Task[None] | None = None
        self._more = False

    def note(
        self, who: str, do: str, scope: str, outcome: str, detail: str = "", signed: bytes = b""
    ) -> None:
        """It is on the disk when this returns."""
        try:
            leave(self._data, self._clock, SOURCE, who, do, scope, outcome, detail, signed)
        except OSError:
            self.counters["not on disk"] += 1
        self._more = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._more:
            self._more = False
            try:
                log = await self._open_log()
            except (UserError, LogError):
                self.counters["log not reached"] += 1
                return
            try:
                trail = AuditTrail(log, self._clock, SOURCE, self._data)
                await trail.drained(PATIENCE)
                trail.close()
            finally:
                await log.close()

    async def close(self) -> None:
        """Wait for what is being sent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def hear(keyring: Keyring, open_log: Callable[[], Awaitable[Log]]) -> None:
    """Hear of revocations by the log, as every receiver does, until cancelled."""
    while True:
        try:
            log = await open_log()
        except (UserError, LogError):
            await asyncio.sleep(PATIENCE)
            continue
        try:
            keyring.listen(log)
            await asyncio.Event().wait()
        finally:
            keyring.close()
            await log.close()
