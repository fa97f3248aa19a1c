"""The stream HALT, read from its start and then followed: what keeps a board of halts up to date in a service.

An entry that did not come in its place is a gap (control 29). What comes after it is applied all the same, for it may be
a halt; the whole stream is read again, and folded again, until nothing is missing. What the log has no more, nobody will
ever know: then the firm only reduces until people have looked, and the gap ends once that is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.risk.halt import STREAM, Change, HaltBoard, HaltEvent, Status, post
from tidegate.risk.scope_name import FIRM
from tidegate.risk.scopes import State

BOARD = "ctl.halts"
"""Where order managers answer with their `Board`, in JSON."""
LOOK = 5.0
"""Seconds between two looks at how far the stream goes: of a last entry that does not come, no later one tells."""
PAUSE, LONGEST = 0.05, 5.0
"""Seconds until the stream is read again, doubling."""


class Board(msgspec.Struct, frozen=True):
    """Every scope of which something was ever said, up to entry `seq` of HALT; and why the last events that were not
    followed were not, by their place."""

    seq: int
    scopes: list[Status]
    refused: dict[str, str] = {}
    waits: dict[str, str] = {}
    """Why what is to be flattened is not closed just now, in the lanes of the order manager that answers."""

    def status(self, scope: str) -> Status:
        """A scope's own state; ACTIVE where nothing was ever said of it."""
        return next((status for status in self.scopes if status.scope == scope), Status(scope=scope))


Told = Callable[[Entry, list[Change]], None]
"""Called with every entry once it is applied; `board.refused` says why it was not followed, where that is so."""
OnGap = Callable[[str], None]
"""Called with what is missing, for people, when that is found and when it changes; with nothing once all is known."""


class HaltFeed:
    """Folds HALT into `board`. `start` returns when all that was there has been applied. `gap` is what is missing."""

    def __init__(
        self, log: Log, board: HaltBoard, told: Told, on_gap: OnGap = lambda text: None, look: float = LOOK
    ) -> None:
        self.board = board
        self.gap = ""
        self._log, self._told, self._on_gap, self._every = log, told, on_gap, look
        self._following: Subscription | None = None
        self._missing: dict[int, None] = {}
        """Places of entries that did not come."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._mending = False
        self._looked = 0

    async def start(self) -> None:
        """Read what is there, then follow. Raises `LogError`."""
        first = await self._log.first(STREAM)
        if not self.board.seq:
            self.board.seq = first - 1  # what is older was dropped by the stream's limits
        async for entries in self._log.read(STREAM, self.board.seq):
            self._apply(entries)
        if self._following is None:
            self._following = self._log.follow(STREAM, self._apply, after=self.board.seq)
            self._spawn(self._watch())
        self._mend_soon()

    def close(self) -> None:
        """Follow no longer."""
        for task in self._tasks:
            task.cancel()
        if self._following is not None:
            self._following.close()
            self._following = None

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.seq > self.board.seq:
                if entry.seq > self.board.seq + 1:
                    self._miss(range(self.board.seq + 1, entry.seq))
                self._told(entry, self.board.apply(entry.seq, entry.ts, entry.data))

    # Gaps.

    def _miss(self, places: range) -> None:
        self._missing.update(dict.fromkeys(places))
        self._say(
            f"{len(self._missing)} entries of {STREAM} have not come, the first is {min(self._missing)}"
        )
        self._mend_soon()

    def _mend_soon(self) -> None:
        if self._missing and not self._mending:
            self._mending = True
            self._spawn(self._mend())

    def _say(self, text: str) -> None:
        if text != self.gap:
            self.gap = text
            self._on_gap(text)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        """See that the last entry has come: twice, for it may be on its way."""
        while True:
            await asyncio.sleep(self._every)
            try:
                last = await self._log.last(STREAM)
            except LogError:
                continue
            reached, self._looked = last.seq if last else 0, self.board.seq
            await asyncio.sleep(self._every / 5)
            if reached > self.board.seq == self._looked:
                self._miss(range(self.board.seq + 1, reached + 1))

    async def _mend(self) -> None:
        """Read the stream again until nothing is missing."""
        pause = PAUSE
        try:
            while self._missing:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST)
                try:
                    await self._read_again()
                except LogError:
                    continue
        finally:
            self._mending = False
        self._say("")

    async def _read_again(self) -> None:
        first = await self._log.first(STREAM)
        found: list[Entry] = []
        async for entries in self._log.read(STREAM, 0, max(self.board.seq, *self._missing)):
            found += entries
        if gone := [seq for seq in self._missing if seq < first]:
            await self._gone(gone, found[-1].ts if found else 0)
            return
        there = {entry.seq: entry for entry in found}
        if any(seq not in there for seq in range(max(first, 1), max(self.board.seq, *self._missing) + 1)):
            return
        missing, self._missing = self._missing, {}
        changes = self.board.anew([(e.seq, e.ts, e.data) for e in found], first)
        by_place = {change.after.seq: change for change in changes}
        for seq in sorted({*missing, *by_place} & there.keys()):
            self._told(there[seq], [by_place[seq]] if seq in by_place else [])

    async def _gone(self, places: list[int], ts: int) -> None:
        """What these entries said will never be known, and each may have been a halt. Raises `LogError`."""
        reason = f"entry {places[0]} of {STREAM} has never come, and the log has it no more"
        self._say(reason)
        event = HaltEvent(
            ts=ts, scope=FIRM, state=State.REDUCE_ONLY, reason=f"{reason}: it may have been a halt", trigger="halt_lost",
            source="whoever follows",
        )  # fmt: skip
        instead = await post(self._log, event)
        for seq in places:
            del self._missing[seq]
        if instead > self.board.seq:
            self._missing[instead] = None
