"""A strategy on live data: its engine is driven by the feed, its commands go into the lane's log, its order events
come from EVT_<lane>."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tidegate.errors import UserError
from tidegate.execution.strategy_view import StrategyView
from tidegate.kernel import engine as k
from tidegate.kernel.replay_engine import Engine, VenueModel
from tidegate.model.clock import Clock
from tidegate.model.event import TS_RECV, Words
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelAll, CancelOrder, Message, NewOrder, OrderEvent, ReplaceOrder
from tidegate.model.money import unit
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.booked import booked
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.pace import pace_of
from tidegate.risk.reasons import Reason
from tidegate.strategy.budget import Budget
from tidegate.strategy.compiled import CompiledStrategy
from tidegate.strategy.runner import Command, Runner
from tidegate.strategy.strategy import Strategy

_NO_ROWS = np.empty((0, 8), np.int64)
_LATER = 10_000_000
"""Ns after which our own refusals are told: a strategy that answers each with another order must leave room for others."""
_NEVER = 1 << 62


class LiveRunner(Runner):
    """Runs one strategy. No I/O: `send(commands, trace)` takes a handler's commands together, `now` is told.

    `gate` is only what the engine is built over, and knows how much the strategy may write (`budget`); orders are judged
    in the lane.
    """

    def __init__(
        self,
        strategy: Strategy,
        universe: Universe,
        gate: Gate,
        clock: Clock,
        send: Callable[[list[Message], int], None],
        ledger: Ledger | None = None,
    ) -> None:
        if isinstance(strategy, CompiledStrategy):
            raise UserError(
                f"strategy {strategy.name}: compiled strategies run in backtests only; live, write on_quote and the like"
            )
        venues = {item.venue: VenueModel() for item in universe.instruments}
        super().__init__(Engine(universe, venues, strategy.number + 1, gate.state))
        self.strategy = strategy
        self.fills = 0
        self.commands = 0
        self._clock, self._send, self._ledger = clock, send, ledger
        self.budget = Budget(pace_of(gate, strategy.number))
        self._refused: list[OrderEvent] = []
        self._waiting: dict[int, CancelOrder | CancelAll] = {}
        """Cancels beyond the budget, one an order (or one for all, under −1), oldest first."""
        self._later = _NEVER
        self._opening: dict[int, int] = {}
        self._out: list[Message] = []
        self._trace = 0
        self.scalars[k.S_NOW] = clock.now()
        self.add(strategy)

    def start(self, view: StrategyView) -> None:
        """Begin where the lane says that this strategy stands; calls `on_start`."""
        number, size = self.strategy.number, len(self.engine.universe)
        for instrument, lots in view.positions:
            self.positions[number * size + instrument] = self._opening[instrument] = lots
        self.strategy.restore(view)
        self.strategy.on_start()
        self.bind_views(self.strategy)
        self.flush()

    def command(self, message: Command) -> None:
        """A strategy's command: sent when its handler has ended, as far as its budget goes. Raises `Runaway`."""
        now = self.scalars[k.S_NOW]
        if isinstance(message, NewOrder | ReplaceOrder):
            if self.budget.order(now):
                self._out.append(message)
            else:
                self._refuse(message, now)
        elif not self._waiting and self.budget.cancels.take(now):
            self._out.append(message)
        else:
            self._waiting.setdefault(-1 if isinstance(message, CancelAll) else message.cmd_id, message)
            self._later = min(self._later, max(self.budget.cancels.due(), now))

    def _refuse(self, message: NewOrder | ReplaceOrder, now: int) -> None:
        """Say no as the gate would, a little later."""
        order = self.strategy.orders.get(message.cmd_id)
        if order is None:
            return
        new = isinstance(message, NewOrder)
        self._refused.append(
            OrderEvent(
                now, order.cl_ord_id, order.cmd_id, self.strategy.account, self.strategy.number, order.market.number,
                OrdStatus.DENIED if new else order.status, ExecType.REJECTED if new else ExecType.CANCEL_REJECTED,
                0 if new else order.leaves_qty, order.cum_qty, reason=Reason.ORDER_THROTTLE,
                limit=int(self.budget.pace.orders), value=self.budget.refused, side=order.side,
            )
        )  # fmt: skip
        self._later = min(self._later, now + _LATER)

    def _catch_up(self, now: int) -> None:
        """Tell what we refused, and send the cancels whose turn has come."""
        self._later = _NEVER
        told, self._refused = self._refused, []
        self.queue.extend(told)
        for key in list(self._waiting):
            if key >= 0 and key not in self.strategy.orders:  # it has ended meanwhile
                del self._waiting[key]
                continue
            if not self.budget.cancels.take(now):
                self._later = max(self.budget.cancels.due(), now + 1)
                break
            self._out.append(self._waiting.pop(key))

    @property
    def waiting(self) -> int:
        """How many cancels wait for their turn."""
        return len(self._waiting)

    def flush(self) -> None:
        """Send what the strategy has asked for since the last time."""
        self.drain()
        if self._out:
            self.commands += len(self._out)
            out, self._out = self._out, []
            self._send(out, self._trace)

    def on_rows(self, rows: Words) -> None:
        """Records from the feed, in the order they came."""
        now = max(self._clock.now(), int(rows[-1, TS_RECV]))  # the feed's machine may be ahead of ours
        self._trace = int(rows[-1, TS_RECV])
        self.engine.live(rows, now)
        self.flush()
        self._trace = 0

    def on_time(self) -> None:
        """Let pass what is due."""
        now = self._clock.now()
        if now >= self._later:
            self.scalars[k.S_NOW] = max(self.scalars[k.S_NOW], now)
            self._catch_up(now)
        self.engine.live(_NO_ROWS, now)
        self.flush()

    @property
    def next_due(self) -> int:
        """When `on_time` has to be called, ns; far away where no timer runs."""
        return min(int(self.scalars[k.S_NEXT]), self._later)

    def on_events(self, events: list[OrderEvent]) -> None:
        """Order events from the lane; those of other strategies are passed over. What they lead to has no tick."""
        number, size = self.strategy.number, len(self.engine.universe)
        mine = [event for event in events if event.strategy == number]
        if not mine:
            return
        self.scalars[k.S_NOW] = max(self.scalars[k.S_NOW], self._clock.now())
        for event in mine:
            sign = booked(event)
            if sign:
                lots = sign * event.side.sign * event.last_qty
                self.positions[number * size + event.instrument] += lots
                self._book(event.instrument, lots, event.last_px, event.fee * sign)
                self.fills += event.exec_type is ExecType.TRADE
            self.queue.append(event)
        self.flush()

    def pnl(self) -> float | None:
        """Profit since this process started, fees included, in the base currency; what was held then is counted from
        the first price seen. None where a price or a rate is missing. For people: the books are the lane's."""
        if self._ledger is None:
            return None
        marks = [
            (bid + ask) // 2 if bid and ask else 0 for bid, ask, _ in map(self.touch, self._instruments())
        ]
        for instrument in [n for n in self._opening if marks[n]]:
            self._book(instrument, self._opening.pop(instrument), marks[instrument], 0)
        held = [key[2] for key, position in self._ledger.positions() if position.lots]
        if any(not marks[n] for n in (*held, *self._opening)):
            return None
        try:
            units = self._ledger.equity(self.strategy.account, marks, self._ledger.base_currency)
        except LookupError:
            return None
        return units * float(unit(self._ledger.base_currency))

    def _instruments(self) -> range:
        return range(len(self.engine.universe))

    def _book(self, instrument: int, lots: int, price: int, fee: int) -> None:
        if self._ledger is not None and lots:
            account, number = self.strategy.account, self.strategy.number
            self._ledger.apply_fill(account, number, instrument, lots, price, fee, 0)

    def stop(self) -> None:
        """The run ends: `on_stop`, and what it asks for; no cancel waits for its turn any longer."""
        self.strategy.on_stop()
        self._out.extend(self._waiting.values())
        self._waiting.clear()
        self.flush()
