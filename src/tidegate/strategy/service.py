"""One strategy as a service: market data in, commands into its lane's log, order events back.

Subjects: `md.<VENUE>.<SYMBOL>` (records of the feed), `snap.<VENUE>.<SYMBOL>` (asked once for a whole book),
`oms.<lane>.strategy` (asked once for orders and positions), EVT_<lane>. What the strategy wants to keep is in the
STATE bucket under `strategy.<name>`; a key of the same name in LEASE says which process runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from tidegate.execution.lane_door import command_subject
from tidegate.execution.strategy_view import StrategyView
from tidegate.log.alert import alert
from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.log.outbox import Item, Outbox
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelAll, Message, OrderEvent
from tidegate.model.wire import MOST, Unreadable, decode, pack
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.strategy.budget import entries
from tidegate.strategy.live_runner import LiveRunner
from tidegate.strategy.strategy import Strategy

_log = logging.getLogger("tidegate.strategy")
_ASK_PAUSE = 0.2
_SAVE = 10.0
"""Seconds between two looks at whether the strategy's own state has changed."""
_LOOK = 0.5
"""Seconds between two looks at who runs the strategy."""
_CANCEL_WAIT = 5.0
"""Seconds a clean stop waits for the orders' ends."""


class StrategyService:
    """Runs `strategy` on lane `lane`. `cancel_on_stop`: a clean stop cancels its orders, else they stay.

    `ledger`, a fresh one, counts its profit for `health`.
    """

    def __init__(
        self,
        strategy: Strategy,
        lane: int,
        universe: Universe,
        gate: Gate,
        log: Log,
        clock: Clock,
        *,
        ledger: Ledger | None = None,
        cancel_on_stop: bool = True,
        on_hop: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.strategy, self.lane = strategy, lane
        self.error = ""
        """Why the strategy was stopped; empty while it runs."""
        self._log, self._clock, self._on_hop = log, clock, on_hop
        self.cancel_on_stop = cancel_on_stop
        self._universe = universe
        self._ident = f"{clock.now():020d}"
        self._runner = LiveRunner(strategy, universe, gate, clock, self._send, ledger)
        self._outbox = Outbox(log, lost=self._lost)
        self._commands = command_subject(self.lane, strategy.number)
        self._sent = 0
        self._entries = entries(self._runner.budget.pace)
        self._gathered: tuple[list[Message], int] = ([], 0)
        """Commands that wait for an entry to be written in, and the trace of the last of them."""
        self._gathering: asyncio.TimerHandle | None = None
        self._subscriptions: list[Subscription] = []
        self._markets: dict[str, int] = {}
        self._joining: set[int] = set(range(len(universe)))
        """Instruments whose book has not come whole yet."""
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._saved = b""
        self._ticks = 0
        self._busy = 0
        """Ns spent in the strategy's engine and handlers: for `health`, nothing follows from it."""
        self._throttled = False
        """People were told that it is held to its budget."""

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.strategy.name

    async def start(self) -> None:
        """Learn where the strategy stands, then let it run."""
        await self._claim()
        view = await self._view()
        state = await self._log.bucket("STATE").get(f"strategy.{self.name}")
        self._running = True
        if state is not None and state.value:
            self._saved = state.value
            kept = msgspec.json.decode(state.value)
            self._guarded(lambda: self.strategy.load_state(kept))
        if self._running:
            self._guarded(lambda: self._runner.start(view))
        self._subscriptions.append(
            self._log.follow(f"EVT_{self.lane}", self._on_events, after=view.events_at)
        )
        for number, item in enumerate(self._universe.instruments):
            subject = f"md.{item.venue}.{item.symbol}"
            self._markets[subject] = number
            self._subscriptions.append(self._log.subscribe(subject, self._on_market))
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work) for work in (self._join(), self._keep_state(), self._keep_claim())
        ]
        self._set_timer()

    async def stop(self) -> None:
        """`on_stop`; cancel what is open where that is wished, and wait for it; keep the state."""
        for task in self._tasks:
            task.cancel()
        if self._running:
            self._guarded(self._runner.stop)
            if self.cancel_on_stop and self.strategy.orders:
                await self._cancel_all()
            await self._save()
        self._running = False
        self._write_gathered()
        if self._timer is not None:
            self._timer.cancel()
        await self._outbox.drained(2.0)
        self._outbox.close()
        for subscription in self._subscriptions:
            subscription.close()

    def health(self) -> dict[str, Any]:
        """What people want to know of it."""
        runner, size = self._runner, len(self._universe)
        base = self.strategy.number * size
        held = {
            self._universe[n].id: lots for n in range(size) if (lots := int(runner.positions[base + n])) != 0
        }
        figures = {
            "lane": self.lane,
            "positions": held,
            "pnl": runner.pnl(),
            "open": len(self.strategy.orders),
            "orders": runner.commands,
            "fills": runner.fills,
            "ticks": self._ticks,
            "unstored": self._outbox.pending,
            "refused": runner.budget.refused,
            "cancels_waiting": runner.waiting,
            "busy": self._busy,
        }
        why = self.error or ("waits for books" if self._joining else "")
        return {"ok": not self.error, "why": why, "strategies": {self.name: figures}}

    # Coming up.

    async def _claim(self) -> None:
        """Say that this process runs the strategy; an older one that still does stops: at once where it hears it, else
        when it looks. (Nobody watches keys that strategies write: `log.grants`.)"""
        subject = f"claim.{self.name}"
        await self._log.bucket("LEASE").put(f"strategy.{self.name}", self._ident.encode())
        self._subscriptions.append(self._log.subscribe(subject, lambda _, ident: self._on_claim(ident)))
        self._log.publish(subject, self._ident.encode())

    def _on_claim(self, ident: bytes) -> None:
        """Another says that it runs the strategy. What is no ident is nobody's word (`docs/security.md`)."""
        if len(ident) == len(self._ident) and ident.isdigit() and ident > self._ident.encode():
            self._halt("another process has taken this strategy over", cancel=False)

    async def _keep_claim(self) -> None:
        bucket = self._log.bucket("LEASE")
        while True:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(LogError):
                entry = await bucket.get(f"strategy.{self.name}")
                if entry is not None and entry.value:
                    self._on_claim(entry.value)

    async def _view(self) -> StrategyView:
        question = msgspec.msgpack.encode(self.strategy.number)
        while True:
            try:
                answer = await self._log.request(f"oms.{self.lane}.strategy", question)
                if answer:
                    return msgspec.msgpack.decode(answer, type=StrategyView)
            except LogError:
                pass
            await asyncio.sleep(_ASK_PAUSE)

    async def _join(self) -> None:
        """Ask the feed for each market's whole book; what came before the answer is in it."""
        while self._joining:
            for number in sorted(self._joining):
                item = self._universe[number]
                with contextlib.suppress(LogError):
                    data = await self._log.request(f"snap.{item.venue}.{item.symbol}", b"", 1.0)
                    self._joining.discard(number)
                    if data:
                        self._feed(data)
            if self._joining:
                await asyncio.sleep(_ASK_PAUSE)

    # Running.

    def _on_market(self, subject: str, data: bytes) -> None:
        if self._markets[subject] not in self._joining:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if not self._running or len(data) < 64 or len(data) % 64:
            return
        rows = np.frombuffer(bytearray(data), np.int64).reshape(-1, 8)  # kernels take writable arrays
        self._ticks += len(rows)
        if self._on_hop:
            self._on_hop("strategy.in", int(rows[-1, 1]), self._clock.now())
        self._guarded(lambda: self._runner.on_rows(rows))
        self._set_timer()

    def _on_events(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not self._running:
                return
            if entry.subject != f"evt.{self.lane}":
                continue  # another lane's, delivered here for somebody
            try:
                envelope = decode(entry.data)
            except Unreadable:
                continue  # no event, nor any lane's word (`docs/security.md`): its writer counts and tells it
            events = [m for m in envelope.messages if type(m) is OrderEvent]
            self._guarded(lambda: self._runner.on_events(events))  # noqa: B023
        self._set_timer()

    def _on_time(self) -> None:
        self._timer = None
        if self._running:
            self._guarded(self._runner.on_time)
            self._set_timer()

    def _set_timer(self) -> None:
        due = self._runner.next_due
        if self._timer is not None:
            if due >= self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        delay = (due - self._clock.now()) / 1e9
        if self._running and delay < 86_400:
            self._timer_at = due
            self._timer = asyncio.get_running_loop().call_later(max(delay, 0.0), self._on_time)

    def _send(self, commands: list[Message], trace: int) -> None:
        now = self._clock.now()
        if self._on_hop and trace:
            self._on_hop("strategy.out", trace, now)
        if self._gathering is None and self._entries.take(now):
            self._put(commands, trace, now)
            return
        self._gathered = [*self._gathered[0], *commands], trace
        if self._gathering is None:
            delay = max(0.0, (self._entries.due() - now) / 1e9)
            self._gathering = asyncio.get_running_loop().call_later(delay, self._write_gathered)

    def _write_gathered(self) -> None:
        """Write what came faster than entries may: all of it in one."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            (commands, trace), self._gathered = self._gathered, ([], 0)
            now = self._clock.now()
            self._entries.take(now)
            self._put(commands, trace, now)

    def _put(self, commands: list[Message], trace: int, now: int) -> None:
        for at in range(0, len(commands), MOST):
            self._sent += 1
            data = pack(commands[at : at + MOST], trace=trace, ts=now, lane=self.lane)
            msg_id = f"s{self.strategy.number}-{self._ident}-{self._sent}"
            if not self._outbox.put(self._commands, data, msg_id):
                self._halt(f"the log is away and {self._outbox.pending} commands wait for it")
                return

    def _lost(self, item: Item, error: LogError) -> None:
        self._halt(f"the log refused a command: {error}")

    # Ending.

    def _guarded(self, act: Callable[[], None]) -> None:
        """An exception of the strategy's own ends it, not the process: its orders are cancelled, people are told."""
        began = time.perf_counter_ns()
        try:
            act()
        except (Exception, SystemExit) as error:
            _log.exception("strategy %s is stopped", self.name)  # with its stack: it is the user's to mend
            self._halt(f"{type(error).__name__}: {error}")
        self._busy += time.perf_counter_ns() - began
        if self._runner.budget.refused and not self._throttled:
            self._throttled = True
            pace = self._runner.budget.pace.orders
            self._alert(
                "strategy_throttled", "high", f"orders beyond twice its {pace:g} a second are refused"
            )

    def _alert(self, kind: str, severity: str, text: str) -> None:
        subject, data = alert(self._clock.now(), kind, severity, f"strategy.{self.name}", text)
        future = self._log.append(subject, data)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _halt(self, why: str, cancel: bool = True) -> None:
        """Stop the strategy; with `cancel` its orders too, unless another process has them now."""
        if self.error:
            return
        self.error, self._running = why, False
        now = self._clock.now()
        self._write_gathered()
        if cancel:
            self._put([CancelAll(now, account=-1, strategy=self.strategy.number)], 0, now)
        self._alert("strategy_stopped", "critical", why)

    async def _cancel_all(self) -> None:
        now = self._clock.now()
        self._send([CancelAll(now, account=-1, strategy=self.strategy.number)], 0)
        loop = asyncio.get_running_loop()
        end = loop.time() + _CANCEL_WAIT
        while self.strategy.orders and loop.time() < end:
            await asyncio.sleep(0.05)

    async def _keep_state(self) -> None:
        while True:
            await asyncio.sleep(_SAVE)
            await self._save()

    async def _save(self) -> None:
        found: list[bytes] = []

        def ask() -> None:
            if state := self.strategy.save_state():
                found.append(msgspec.json.encode(state))

        self._guarded(ask)
        for data in found:
            if data == self._saved:
                continue
            with contextlib.suppress(LogError):
                await self._log.bucket("STATE").put(f"strategy.{self.name}", data)
                self._saved = data
