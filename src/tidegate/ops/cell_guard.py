"""What must happen when a strategy's process hangs or is gone for good: its orders are cancelled, people are told.

The supervisor's own hand in the log. Cancels are written into the lanes' logs, so that they are done whether or not
the strategy ever comes back, and whichever process writes the lane by then. One that crashed and is started again keeps
its orders: it learns them from its lane.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.execution.flood import FLOOD
from tidegate.execution.strategy_view import StrategyView
from tidegate.log.alert import alert
from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.log.grants import user_of
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import CancelAll, CancelOrder, Message
from tidegate.model.order import OrdStatus
from tidegate.model.wire import MOST, pack
from tidegate.ops.connection_watch import ConnectionWatch, allowed
from tidegate.ops.ending import End, How
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process
from tidegate.risk import halt
from tidegate.risk.breakers.orders import RUNAWAY
from tidegate.risk.pace import Pace
from tidegate.risk.scope_name import Kind, split, text_of
from tidegate.risk.scopes import State

PATIENCE = 3.0
"""Seconds a restart waits for the cancels to be stored; they are written later all the same."""
AGAIN = 0.2
"""Seconds after which the cancel is written once more: what the process sent as it died may have come in after the first."""
TRIES, PAUSE = 60, 1.0
"""How often, and how many seconds apart, what is still open is cancelled again."""
_RETRY = 0.5


class Place(NamedTuple):
    """A strategy's number, its lane, and how fast it may write."""

    number: int
    lane: int
    pace: Pace = Pace(math.inf, math.inf, math.inf, math.inf)


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
        """From now on, end for good the process of a strategy that floods its lane or runs away (`connection_watch`,
        `execution.flood`, the breaker `order_rate`): to refuse its orders is not enough while it goes on sending. Until
        cancelled."""
        await self._out()
        assert self._log is not None

        def entries(found: list[Entry]) -> None:
            for entry in found:
                with contextlib.suppress(ValueError):
                    event = halt.decode(entry.data)
                    if event.trigger in (FLOOD, RUNAWAY):
                        self._condemn(supervisor, event)

        self._following = self._log.follow(halt.STREAM, entries, since=self._clock.now())
        users = {
            user_of(name): child for name, child in supervisor.children.items() if child.process.strategies
        }

        def flood(user: str, text: str) -> None:
            child = users[user]
            self.counters["condemned"] += 1
            child.condemn(text)
            for name in child.process.strategies:
                self._halt(name, text)

        budgets = {
            user: allowed([self._pace(n) for n in child.process.strategies]) for user, child in users.items()
        }
        await ConnectionWatch(self._log, self._clock, budgets, flood).run()

    def _pace(self, strategy: str) -> Pace:
        return self._strategies[strategy].pace if strategy in self._strategies else Place(0, 0).pace

    def _halt(self, strategy: str, text: str) -> None:
        """What has come in of its flood is to be refused, everywhere."""
        assert self._log is not None
        event = halt.HaltEvent(
            ts=self._clock.now(), scope=text_of(Kind.STRATEGY, strategy), state=State.KILLED, reason=text,
            trigger=FLOOD, source="up",
        )  # fmt: skip
        future = halt.post(self._log, event)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def close(self) -> None:
        """Leave the log."""
        if self._following is not None:
            self._following.close()
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
        await outbox.drained()
        if cancel:
            self.counters["cancelled"] += 1
            for _ in range(2):
                for _, place in places:
                    self._command(
                        outbox, place, [CancelAll(self._clock.now(), account=-1, strategy=place.number)]
                    )
                await outbox.drained()
                await asyncio.sleep(AGAIN)
            for _, place in places:
                task = asyncio.get_running_loop().create_task(self._until_gone(outbox, place))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _until_gone(self, outbox: Outbox, place: Place) -> None:
        """Cancel what is still open of what was open then: a strategy's throttle of cancels holds a large number back."""
        old: int | None = None
        for _ in range(TRIES):
            view = await self._view(place)
            if view is not None:
                old = view.last_cmd if old is None else old
                left = [o.command.cmd_id for o in view.orders if o.event.status < OrdStatus.FILLED]
                left = [cmd_id for cmd_id in left if cmd_id <= old]
                if not left:
                    return
                self._command(outbox, place, [CancelOrder(self._clock.now(), cmd_id) for cmd_id in left])
            await asyncio.sleep(PAUSE)

    async def _view(self, place: Place) -> StrategyView | None:
        assert self._log is not None
        try:
            question = msgspec.msgpack.encode(place.number)
            answer = await self._log.request(f"oms.{place.lane}.strategy", question)
            return msgspec.msgpack.decode(answer, type=StrategyView) if answer else None
        except (LogError, ValueError):
            return None

    def _command(self, outbox: Outbox, place: Place, messages: list[Message]) -> None:
        """As the house's, on the lane's own subject."""
        now = self._clock.now()
        for at in range(0, len(messages), MOST):
            data = pack(messages[at : at + MOST], ts=now, lane=place.lane)
            self._put(outbox, f"lane.{place.lane}.cmd", data)

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
