"""What must happen when a strategy's process hangs or is gone for good: its orders are cancelled, people are told.

The supervisor's own hand in the log. Cancels are written into the lanes' logs, so that they are done whether or not
the strategy ever comes back, and whichever process writes the lane by then. One that crashed and is started again keeps
its orders: it learns them from its lane.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from tidegate.errors import UserError
from tidegate.execution.flood import FLOOD
from tidegate.log.alert import alert
from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import CancelAll
from tidegate.model.wire import pack
from tidegate.ops.ending import End, How
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process
from tidegate.risk import halt
from tidegate.risk.scope_name import split

PATIENCE = 3.0
"""Seconds a restart waits for the cancels to be stored; they are written later all the same."""
AGAIN = 0.2
"""Seconds after which the cancel is written once more: what the process sent as it died may have come in after the first."""
_RETRY = 0.5


class Place(NamedTuple):
    """A strategy's number, and its lane."""

    number: int
    lane: int


class Guard:
    """Give `gone` to the supervisor as `on_end`, and `run` beside it once the system is up.

    `open_log` opens a client of the log that may write cancels and alerts; it is called when first needed.
    """

    def __init__(
        self, strategies: Mapping[str, Place], clock: Clock, open_log: Callable[[], Awaitable[Log]]
    ) -> None:
        self.counters = {"cancelled": 0, "condemned": 0}
        self._strategies, self._clock, self._open_log = strategies, clock, open_log
        self._log: Log | None = None
        self._outbox: Outbox | None = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: Subscription | None = None
        self._count = 0

    async def gone(self, process: Process, end: End) -> None:
        """A process ended as nobody wished; returns when the cancels are stored, or `PATIENCE` has passed."""
        if not process.strategies:
            return
        task = asyncio.get_running_loop().create_task(self._act(process, end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE)

    async def run(self, supervisor: Supervisor) -> None:
        """From now on, stop for good the process of a strategy that floods its lane (`execution.flood`)."""
        await self._out()
        assert self._log is not None

        def entries(found: list[Entry]) -> None:
            for entry in found:
                with contextlib.suppress(ValueError):
                    event = halt.decode(entry.data)
                    if event.trigger == FLOOD:
                        self._condemn(supervisor, event)

        self._following = self._log.follow(halt.STREAM, entries, since=self._clock.now())

    async def close(self) -> None:
        """Finish what is under way, for a moment, and leave the log."""
        if self._following is not None:
            self._following.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=PATIENCE)
        for task in self._tasks:
            task.cancel()
        if self._outbox is not None:
            self._outbox.close()
        if self._log is not None:
            await self._log.close()

    def _condemn(self, supervisor: Supervisor, event: halt.HaltEvent) -> None:
        kind, name = split(event.scope)
        for child in supervisor.children.values():
            if kind == "strategy" and name in child.process.strategies:
                self.counters["condemned"] += 1
                child.condemn(event.reason)

    async def _act(self, process: Process, end: End) -> None:
        outbox = await self._out()
        cancel = end.final or end.how in (How.HUNG, How.CONDEMNED)
        places = [(name, self._strategies[name]) for name in process.strategies if name in self._strategies]
        for name, _ in places:
            after = "it is not started again" if end.final else "it is started again"
            text = f"{end.text}; {after}" + ("; its orders are cancelled" if cancel else "; its orders stay")
            self._put(outbox, *alert(
                self._clock.now(), f"strategy_{end.how}", "critical" if end.final else "high", f"strategy:{name}", text
            ))  # fmt: skip
        if cancel:
            self.counters["cancelled"] += 1
            for _ in range(2):
                for _, place in places:
                    now = self._clock.now()
                    message = CancelAll(now, account=-1, strategy=place.number)
                    self._put(outbox, f"lane.{place.lane}.cmd", pack([message], ts=now, lane=place.lane))
                await outbox.drained()
                await asyncio.sleep(AGAIN)
        await outbox.drained()

    def _put(self, outbox: Outbox, subject: str, data: bytes) -> None:
        self._count += 1
        outbox.put(subject, data, f"guard-{self._clock.now()}-{self._count}")

    async def _out(self) -> Outbox:
        async with self._opening:
            while self._outbox is None:
                try:
                    self._log = await self._open_log()
                    self._outbox = Outbox(self._log)
                except (LogError, UserError, OSError):
                    await asyncio.sleep(_RETRY)
            return self._outbox
