"""What a desk keeps for its successor: one key of STATE, written when it has changed."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.log.base import Log, LogError


class Kept:
    """`changed` is for its owner to set."""

    def __init__(self, log: Log, key: str) -> None:
        self.changed = False
        self._log, self._key = log, key

    async def load(self) -> bytes:
        """What was kept last; empty where nothing was. Raises `LogError`."""
        entry = await self._log.bucket("STATE").get(self._key)
        return entry.value or b"" if entry is not None else b""

    async def keep(self, value: Callable[[], bytes]) -> None:
        """Keep the value, if it has changed; raises `LogError`, and it is kept with the next call."""
        if not self.changed:
            return
        self.changed = False  # what changes while it is written is kept with the next call
        try:
            await self._log.bucket("STATE").put(self._key, value())
        except LogError:
            self.changed = True
            raise
