"""What went wrong and nobody expected: counted, told, shown in health, and the service goes on.

A part of the service that raises must not take the others with it, nor end in silence: the margin call of one account is
not to end the breakers of all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tidegate.model.clock import Clock
from tidegate.model.time import MINUTE

AGAIN = MINUTE
"""What fails again is not told again for so long, ns; after so long without, it is not shown in health any more."""
Say = Callable[[str, str, str, str], None]
"""Tells people: (kind, severity, scope, text)."""


class Failures:
    """Call it with the name of the part and what it raised. `counts` has how often, by part."""

    def __init__(self, say: Say, counts: Counter[str], clock: Clock) -> None:
        self._say, self._counts, self._clock = say, counts, clock
        self._told: dict[str, int] = {}
        self._last: dict[str, tuple[int, str]] = {}

    def __call__(self, part: str, error: Exception) -> None:
        now = self._clock.now()
        text = f"{part} failed: {error!r}"
        self._counts[f"failed: {part}"] += 1
        self._last[part] = now, text
        message = f"a part of the risk service: {text}"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
        if now - self._told.get(part, -AGAIN) >= AGAIN:
            self._told[part] = now
            self._say("risk_failed", "critical", "firm", f"{text}; it is tried again")

    def why(self) -> str:
        """What has failed within the last minute, in one line; empty where nothing has."""
        now = self._clock.now()
        return "; ".join(text for at, text in self._last.values() if now - at < AGAIN)
