"""The writer's care for its lane's leases: asks before they run out, gives back what is much, reports what changed.

Nothing here is on an order's way: it looks after requests have left, at most once in `EVERY`. Reports speak of the
lane after an entry of its log; any writer may send them, a zombie too, and twice does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from tidegate.execution.core import Lane
from tidegate.execution.leases import report
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.model.messages import LeaseReport, LeaseReturn, Message, OrderEvent
from tidegate.model.order import Side
from tidegate.model.time import MS
from tidegate.model.wire import MOST, pack
from tidegate.risk.gate import Gate
from tidegate.risk.leases.fields import NO_INSTRUMENT, Field
from tidegate.risk.leases.holder import LeaseHolder
from tidegate.risk.leases.holding import NOT_LENT
from tidegate.risk.leases.lease import Key, Lease
from tidegate.risk.leases.use import UseReader
from tidegate.risk.reasons import Reason

EVERY = 2 * MS
"""Least time between two looks, but for a refused order: so much for each `MANY` limits that are lent."""
MANY = 1_000
_FIELDS = {
    Reason.OPEN_ORDERS: (Field.ORDERS, Field.ORDERS),
    Reason.OPEN_VALUE: (Field.OPEN_VALUE, Field.OPEN_VALUE),
    Reason.GROSS_NOTIONAL: (Field.GROSS, Field.GROSS),
    Reason.NET_NOTIONAL: (Field.NET_LONG, Field.NET_SHORT),
    Reason.TRADED_VALUE: (Field.TRADED, Field.TRADED),
    Reason.POSITION_LIMIT: (Field.LONG, Field.SHORT),
}
"""What a refused buy, and a refused sell, lacked."""


class LeaseDesk:
    """Of one lane that shares limits with others. `seq` says which entry of its log was applied last."""

    def __init__(self, lane: Lane, epoch: int, log: Log, clock: Clock, seq: Callable[[], int]) -> None:
        self.reports = 0
        self._lane, self._epoch, self._log, self._clock, self._seq = lane, epoch, log, clock, seq
        self._next = 0
        self._urgent = True
        self._begin()

    def _begin(self) -> None:
        state = self._lane.state
        if not isinstance(state.gate, Gate):
            raise TypeError(f"leases need risk.gate.Gate, this lane has {type(state.gate).__name__}")
        self._leased = state.leased
        self._holder = LeaseHolder(list(state.leased))
        self._reader = UseReader(state.gate.state, self._holder.keys)
        amounts = [state.leases.get(key, Lease()).amount for key in self._holder.keys]
        self._amounts = np.array(amounts, np.int64)

    @property
    def waiting(self) -> int:
        """How many limits the lane was never lent any of."""
        leases = self._lane.state.leases
        return sum(key not in leases or not leases[key].granted for key in self._leased)

    def told(self, m: LeaseReport) -> None:
        """The lane's fold has changed a lease, or was asked to."""
        key = Key(m.scope, m.field, m.instrument)
        number = self._holder.number.get(key)
        if number is None:
            self._report([self._stands(key)], [])  # of a limit that is not shared now
            return
        self._amounts[number] = m.granted - m.returned
        self._holder.tell(key)
        self._urgent = True

    def refused(self, event: OrderEvent) -> None:
        """An order was refused: perhaps for want of a lease."""
        fields = _FIELDS.get(event.reason)  # type: ignore[call-overload]
        if fields is not None:
            field = fields[event.side is Side.SELL]
            instrument = event.instrument if field.per_instrument else NO_INSTRUMENT
            self._holder.refused(Key(event.scope, int(field), instrument), event.value - event.limit)
            self._urgent = True

    def look(self) -> None:
        """See whether something is to be asked for, given back or said."""
        now = self._clock.now()
        if now < self._next and not self._urgent:
            return
        self._next, self._urgent = now + EVERY * (1 + len(self._leased) // MANY), False
        state = self._lane.state
        if state.leased is not self._leased or state.gate.state is not self._reader.state:  # type: ignore[attr-defined]
            before = self._leased
            self._begin()
            ended = [self._stands(key) for key in before if key not in self._leased]
            for at in range(0, len(ended), MOST):
                self._report(ended[at : at + MOST], [])
        wishes, surplus = self._holder.look(now, self._amounts, self._reader.read())
        keys = self._holder.keys
        if wishes:
            reports = [self._stands(keys[wish.number], wish.wanted, wish.refused) for wish in wishes]
            numbers = [wish.number for wish in wishes]
            for at in range(0, len(reports), MOST):
                self._report(reports[at : at + MOST], numbers[at : at + MOST])
        if surplus:
            messages: list[Message] = [LeaseReturn(now, *keys[some.number], some.amount) for some in surplus]
            for at in range(0, len(messages), MOST):
                data = pack(messages[at : at + MOST], ts=now, lane=state.number)
                numbers = [some.number for some in surplus[at : at + MOST]]
                self._append(f"lane.{state.number}.sys", data, numbers)

    def _stands(self, key: Key, wanted: int = 0, refused: int = 0) -> LeaseReport:
        """How the lane stands with a limit, and by which limits it judges."""
        state = self._lane.state
        found = report(state, key, wanted, refused)
        found.version = state.limits_version if key in state.leased else NOT_LENT
        return found

    def _report(self, reports: list[LeaseReport], numbers: list[int]) -> None:
        self.reports += 1
        number, messages = self._lane.state.number, list[Message](reports)
        data = pack(messages, ts=self._clock.now(), lane=number, epoch=self._epoch, seq=self._seq())
        self._append("lease.report", data, numbers)

    def _append(self, subject: str, data: bytes, numbers: list[int]) -> None:
        holder = self._holder

        def stored(done: asyncio.Future[int]) -> None:
            if done.cancelled() or done.exception() is not None:
                for number in numbers:
                    holder.lost(number)

        self._log.append(subject, data).add_done_callback(stored)
