"""The stream HALT, read from its start and then followed: what keeps a board of halts up to date in a service."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.log.base import Entry, Log, Subscription
from tidegate.risk.halt import STREAM, Change, HaltBoard, Status

BOARD = "ctl.halts"
"""Where order managers answer with their `Board`, in JSON."""


class Board(msgspec.Struct, frozen=True):
    """Every scope of which something was ever said, up to entry `seq` of HALT; and why the last events that were not
    followed were not, by their place."""

    seq: int
    scopes: list[Status]
    refused: dict[str, str] = {}

    def status(self, scope: str) -> Status:
        """A scope's own state; ACTIVE where nothing was ever said of it."""
        return next((status for status in self.scopes if status.scope == scope), Status(scope=scope))


Told = Callable[[Entry, list[Change]], None]
"""Called with every entry once it is applied; `board.refused` says why it was not followed, where that is so."""


class HaltFeed:
    """Folds HALT into `board`. `start` returns when all that was there has been applied."""

    def __init__(self, log: Log, board: HaltBoard, told: Told) -> None:
        self.board = board
        self._log, self._told = log, told
        self._following: Subscription | None = None

    async def start(self) -> None:
        """Read what is there, then follow. Raises `LogError`."""
        async for entries in self._log.read(STREAM, self.board.seq):
            self._apply(entries)
        if self._following is None:
            self._following = self._log.follow(STREAM, self._apply, after=self.board.seq)

    def close(self) -> None:
        """Follow no longer."""
        if self._following is not None:
            self._following.close()
            self._following = None

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.seq > self.board.seq:
                self._told(entry, self.board.apply(entry.seq, entry.ts, entry.data))
