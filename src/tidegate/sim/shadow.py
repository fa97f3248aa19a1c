"""A version on the live feed whose orders go nowhere: a backtest that is fed as the market moves.

Everything is the backtest's: the replay kernel with both its clocks, a lane, a gate and a ledger of its own, fills by the
same written rules, latencies drawn from the same distributions. Only the records come from the feed. They are replayed
`max_delay` behind, so that at the simulated exchange, too, everything happens in its order; time in a shadow is that of
the records. What it would have done is published on `shadow.<strategy>`: new orders, order events, marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.errors import UserError
from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.replay_engine import Engine, VenueModel
from tidegate.log.base import Log, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.model.event import TS_EVENT, TS_RECV, Words
from tidegate.model.instrument import Universe
from tidegate.model.messages import Mark, Message, NewOrder, OrderEvent
from tidegate.model.order import ExecType, Order, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.model.wire import pack
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.sim.audit import PYTHON_LANE
from tidegate.sim.recorder import Recorder
from tidegate.sim.shell import Shell
from tidegate.strategy.compiled import CompiledStrategy
from tidegate.strategy.runner import Command
from tidegate.strategy.strategy import Strategy

_log = logging.getLogger("tidegate.shadow")
BATCH = 0.05
"""Seconds of records that are replayed together."""
_ASK_PAUSE = 0.2
_MOST = 2000
"""Messages in one publication."""


def subject(strategy: str) -> str:
    """Where a shadow of this strategy says what it would have done."""
    return f"shadow.{strategy}"


@dataclass
class ShadowSetup:
    """What a shadow is made of. `positions`, in lots, are taken as held from the first touch on."""

    universe: Universe
    gate: Gate
    ledger: Ledger
    venues: dict[str, VenueModel]
    positions: Mapping[int, int]
    sample: int = SECOND
    max_delay: int = 500 * MS
    seed: int = 1


class _Tap(Recorder):
    """Keeps nothing: what a recorder is told is passed on."""

    def __init__(self, out: list[Message]) -> None:
        super().__init__()
        self._out = out

    def command(self, message: Message, journal_rows: int) -> None:
        if type(message) is NewOrder:
            self._out.append(message)

    def event(self, event: OrderEvent) -> None:
        self._out.append(event)

    def journal(self, rows: Words) -> None:
        for row in rows[rows[:, 0] == k.J_MARK].tolist():
            self._out.append(Mark(*row[1:5]))


class _Shell(Shell):
    """Tells before a command enters the lane: what is held from the beginning is booked before anything is judged."""

    before: Callable[[], None]

    def command(self, message: Command) -> None:
        self.before()
        super().command(message)


class ShadowService:
    """Runs `strategy` as a shadow of the strategy called `name`."""

    def __init__(
        self, name: str, strategy: Strategy, setup: ShadowSetup, log: Log, clock: Clock, state: dict[str, Any] | None
    ) -> None:  # fmt: skip
        if isinstance(strategy, CompiledStrategy):
            raise UserError(f"strategy {name}: compiled strategies run in backtests only")
        self.strategy = strategy
        self.error = ""
        """Why it was stopped; empty while it runs."""
        self.counters = {"records": 0, "out_of_order": 0, "orders": 0, "fills": 0, "published": 0}
        self._name, self._setup, self._log, self._clock, self._state = name, setup, log, clock, state
        self._out: list[Message] = []
        number = strategy.number
        self._engine = Engine(setup.universe, setup.venues, number + 1, setup.gate.state, setup.seed)
        self._lane = Lane(PYTHON_LANE, setup.universe, setup.gate, setup.ledger)
        self._shell = _Shell(self._engine, self._lane, setup.ledger, _Tap(self._out))
        self._opening = {n: lots for n, lots in setup.positions.items() if lots}
        self._shell.before = self._open_all
        self._rows: list[Words] = []
        self._latest = 0
        self._markets: dict[str, int] = {}
        self._joining = set(range(len(setup.universe)))
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    async def start(self) -> None:
        """Listen to the feed; the strategy starts with the first records."""
        if self._state is not None:
            self._guarded(lambda: self.strategy.load_state(self._state or {}))
        for number, item in enumerate(self._setup.universe.instruments):
            market = f"md.{item.venue}.{item.symbol}"
            self._markets[market] = number
            self._subscriptions.append(self._log.subscribe(market, self._on_market))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._join()), loop.create_task(self._replay())]

    async def stop(self) -> None:
        """Hear no more; what it had open is forgotten with it."""
        for task in self._tasks:
            task.cancel()
        for subscription in self._subscriptions:
            subscription.close()
        if self._running:
            self._guarded(self.strategy.on_stop)
        self._running = False

    def health(self) -> dict[str, Any]:
        """What people want to know of it."""
        held = self._engine.state.pos[self.strategy.number]
        positions = {
            item.id: int(lots)
            for item, lots in zip(self._setup.universe.instruments, held, strict=True)
            if lots
        }
        figures = {"open": len(self.strategy.orders), "positions": positions, "shadow": True}
        why = self.error or ("waits for books" if self._joining else "")
        return {
            "ok": not self.error,
            "why": why,
            "strategies": {self._name: figures},
            "counters": self.counters,
        }

    def save_state(self) -> dict[str, Any]:
        """What its strategy would keep."""
        return self.strategy.save_state()

    # Records in.

    async def _join(self) -> None:
        while self._joining:
            for number in sorted(self._joining):
                item = self._setup.universe[number]
                with contextlib.suppress(LogError):
                    data = await self._log.request(f"snap.{item.venue}.{item.symbol}", b"", 1.0)
                    self._joining.discard(number)
                    self._take(data)
            if self._joining:
                await asyncio.sleep(_ASK_PAUSE)

    def _on_market(self, market: str, data: bytes) -> None:
        if self._markets[market] not in self._joining:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if len(data) >= 64 and len(data) % 64 == 0:
            self._rows.append(np.frombuffer(bytearray(data), np.int64).reshape(-1, 8))

    async def _replay(self) -> None:
        while not self.error:
            await asyncio.sleep(BATCH)
            if self._rows:
                rows, self._rows = np.concatenate(self._rows), []
                self._guarded(lambda: self._feed(rows))  # noqa: B023
                self._publish()

    def _feed(self, rows: Words) -> None:
        """Replay what has gathered. The feeds' records come in the order of their times but for the odd one: it is taken
        to have come with the one before it."""
        before = rows[:, TS_RECV].copy()
        np.maximum.accumulate(np.maximum(before, self._latest), out=rows[:, TS_RECV])
        self.counters["out_of_order"] += int((rows[:, TS_RECV] != before).sum())
        rows[:, TS_EVENT] = np.minimum(
            rows[:, TS_EVENT], rows[:, TS_RECV]
        )  # clocks differ; no event is foreseen
        self._latest = int(rows[-1, TS_RECV])
        self.counters["records"] += len(rows)
        if not self._running:
            self._begin(int(rows[0, TS_RECV]))
        self._engine.feed(rows, self._shell.journal, self._setup.max_delay)
        self._engine.drain(self._shell.journal)
        self._open_all()

    def _begin(self, now: int) -> None:
        engine, shell, sample = self._engine, self._shell, self._setup.sample
        engine.state.s[k.S_NOW] = now
        engine.add_timer(now - now % sample + sample, sample, k.TIMER_MARK, 0)
        for instrument, lots in self._opening.items():
            engine.state.pos[self.strategy.number, instrument] = lots
        self._running = True
        shell.add(self.strategy)
        self.strategy.on_start()
        shell.bind_views(self.strategy)
        shell.flush_requests()

    def _open_all(self) -> None:
        for instrument in list(self._opening):
            self._open(instrument)

    def _open(self, instrument: int) -> None:
        """Book what was held at the beginning, at the first touch."""
        bid, ask, _ = self._shell.touch(instrument)
        if not bid or not ask:
            return
        lots, price, now = self._opening.pop(instrument), (bid + ask) // 2, self._engine.now
        account, number, side = (
            self.strategy.account,
            self.strategy.number,
            Side.BUY if lots > 0 else Side.SELL,
        )
        order = Order(0, 0, account, number, instrument, side, OrdType.MARKET, TimeInForce.IOC, abs(lots))
        self._setup.gate.book(order, abs(lots), price, 0, now)
        self._setup.ledger.apply_fill(account, number, instrument, lots, price, 0, now)
        event = OrderEvent(
            now, 0, 0, account, number, instrument, OrdStatus.FILLED, ExecType.TRADE, 0, 0, last_qty=abs(lots),
            last_px=price, side=side,
        )  # fmt: skip
        self._out.append(event)

    def _publish(self) -> None:
        out, self._out[:] = self._out[:], []
        for at in range(0, len(out), _MOST):
            part = out[at : at + _MOST]
            self.counters["published"] += 1
            data = pack(part, ts=self._clock.now(), seq=self.counters["published"])
            self._log.publish(subject(self._name), data)
        self.counters["orders"] += sum(type(m) is NewOrder for m in out)
        self.counters["fills"] += sum(
            type(m) is OrderEvent and m.exec_type is ExecType.TRADE and bool(m.cl_ord_id) for m in out
        )

    def _guarded(self, act: Callable[[], object]) -> None:
        """An exception of the strategy's own ends it, not the process."""
        try:
            act()
        except Exception as error:
            _log.exception("the shadow of %s is stopped", self._name)
            self.error, self._running = f"{type(error).__name__}: {error}", False
