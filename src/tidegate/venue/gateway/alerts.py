"""Alerts: told once, kept until the log has them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from tidegate.log.alert import alert
from tidegate.log.base import Log
from tidegate.log.outbox import Outbox
from tidegate.log.said import Said
from tidegate.model.clock import Clock

BOUND = 10_000


class Alerts:
    """Appends to `alert.<kind>`: JSON of ts, kind, severity (info, warning, high, critical), scope, text, figures."""

    def __init__(
        self, log: Log, clock: Clock, scope: str, sender: str, counts: Counter[str], alive: Callable[[], None]
    ) -> None:
        self.recent: deque[dict[str, Any]] = deque(maxlen=20)
        self._clock, self._scope, self._sender, self._counts = clock, scope, sender, counts
        self._outbox = Outbox(log, BOUND, counts, alive, lambda item, error: None)
        self._said = Said()
        self._number = 0

    def say(self, kind: str, severity: str, text: str, key: object = None, **figures: Any) -> None:
        """Tell people; with a `key`, what has the same one is told once a minute, and at once where it gets worse."""
        ts = self._clock.now()
        if key is not None and not self._said.first(ts, kind, severity, key):
            self._counts["alerts_repeated"] += 1
            return
        self._number += 1
        self._counts["alerts"] += 1
        self.recent.append({"ts": ts, "severity": severity, "text": text})
        subject, data = alert(ts, kind, severity, self._scope, text, **figures)
        if not self._outbox.put(subject, data, f"{self._sender}-{ts}-{self._number}"):
            self._counts["alerts_dropped"] += 1

    async def drained(self, timeout: float) -> bool:
        """Wait until the log has them all, at most so long."""
        return await self._outbox.drained(timeout)

    def close(self) -> None:
        """Try no longer."""
        self._outbox.close()
