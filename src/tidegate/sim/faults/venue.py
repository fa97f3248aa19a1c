"""A gateway's session at the exchange, over a network that loses, delays, doubles and reorders."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import msgspec

from tidegate.model import money
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.order import ExecType
from tidegate.risk.reasons import Reason
from tidegate.sim.faults.exchange import Exchange, Truth
from tidegate.sim.virtual_process import Outside, ProcessLoop, VirtualProcess
from tidegate.venue.port import VenueDown, VenueFill, VenueOrder, client_id

T = TypeVar("T")
Request = SendNew | SendCancel | SendReplace
TIMEOUT = 2.0
"""Seconds after which an unanswered query is given up."""
YOUNG = 5 * 10**9
"""An order that was placed or changed so lately (ns) may be unknown to a venue's query; the reconciliation window of a
lane is longer."""


@dataclass
class Network:
    """What lies between gateways and the venue; may be changed at any time. Chances from 0 to 1, times in seconds."""

    delay: tuple[float, float] = (0.002, 0.02)
    lose_request: float = 0.0
    lose_report: float = 0.0
    double_report: float = 0.0
    late_report: float = 0.0
    """Chance that a report is held for up to `hold`, while others overtake it."""
    hold: float = 2.0
    unknown: float = 0.0
    """Chance that a query answers "unknown order" about one that is young."""


class Wire:
    """The network between all sessions and the exchange."""

    def __init__(self, loop: ProcessLoop, rng: random.Random, universe: Universe) -> None:
        self.outside = Outside(loop)
        self.rng, self.universe = rng, universe
        self.network = Network()
        self.counts: Counter[str] = Counter()
        self.sessions: dict[int, list[Session]] = {}
        """By account."""
        self.down: set[int] = set()
        """Accounts whose sessions are cut off."""
        self.exchange: Exchange
        self.on_placed: Callable[[SendNew], None] = lambda _: None
        self.on_sent: Callable[[int, Request], None] = lambda _account, _request: None
        self.on_arrived: Callable[[int, Request], None] = lambda _account, _request: None
        """Told of every request that a gateway puts on the wire, and when it comes to the venue."""
        self._alarms: dict[int, asyncio.TimerHandle] = {}

    def chance(self, probability: float, name: str) -> bool:
        """Whether a fault happens now; counted if it does."""
        if probability <= 0 or self.rng.random() >= probability:
            return False
        self.counts[name] += 1
        return True

    def carry(self, act: Callable[..., object], *args: object, extra: float = 0.0) -> None:
        """Call `act` after one way's time."""
        self.outside.call_later(self.rng.uniform(*self.network.delay) + extra, act, *args)

    def tell(self, account: int, report: Report) -> None:
        """The exchange reports: to every session of the account, through the network."""
        net = self.network
        for session in self.sessions.get(account, ()):
            if account in self.down or self.chance(net.lose_report, "reports lost"):
                continue
            for _ in range(2 if self.chance(net.double_report, "reports doubled") else 1):
                held = self.rng.uniform(0, net.hold) if self.chance(net.late_report, "reports late") else 0.0
                self.carry(session.hear, report, session.line, extra=held)

    def cut(self, account: int) -> None:
        """The sessions of an account are disconnected; what was on the way to them is lost."""
        self.down.add(account)
        for session in self.sessions.get(account, ()):
            session.line += 1
            session.told(False)

    def mend(self, account: int) -> None:
        """They connect again."""
        if account in self.down:
            self.down.discard(account)
            for session in self.sessions.get(account, ()):
                session.told(True)

    def countdown(self, account: int, seconds: float) -> None:
        """The venue's dead man's switch."""
        if alarm := self._alarms.pop(account, None):
            alarm.cancel()
        if seconds:
            self._alarms[account] = self.outside.call_later(seconds, self.exchange.cancel_all, account, None)


class Session:
    """`venue.port.Venue` of one account for one life of a gateway."""

    def __init__(self, wire: Wire, account: int, process: VirtualProcess, clock: Clock) -> None:
        self.account = account
        self.line = 0
        """Rises when the connection is lost."""
        self._wire, self._process, self._clock = wire, process, clock
        self._on_reports: Callable[[list[Report]], None] = lambda _: None
        self._on_change: Callable[[bool], None] = lambda _: None
        self._held: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    @property
    def connected(self) -> bool:
        """See `Venue.connected`."""
        return self.account not in self._wire.down

    def _deliver(self, act: Callable[..., object], *args: object) -> None:
        """Something reaches the process: now, or when it goes on."""
        if self._process.paused:
            self._wire.outside.call_later(0.05, self._deliver, act, *args)
        elif not self._process.dead:
            self._process.run(act, *args)

    def hear(self, report: Report, line: int) -> None:
        """A report arrives."""
        if line == self.line:
            self._deliver(self._heard, report)

    def _heard(self, report: Report) -> None:
        self._on_reports([msgspec.structs.replace(report, ts=self._clock.now())])

    def told(self, up: bool) -> None:
        """The connection is lost, or back."""
        self._deliver(self._on_change, up)

    async def open(
        self, on_reports: Callable[[list[Report]], None], on_change: Callable[[bool], None]
    ) -> None:
        """See `Venue.open`."""
        while not self.connected:
            await asyncio.sleep(0.2)
        self._on_reports, self._on_change = on_reports, on_change
        self._wire.sessions.setdefault(self.account, []).append(self)

    async def close(self) -> None:
        """See `Venue.close`."""
        self.gone()

    def gone(self) -> None:
        """The process has ended."""
        sessions = self._wire.sessions.get(self.account, [])
        if self in sessions:
            sessions.remove(self)

    # Orders.

    def send(self, request: Request) -> None:
        """See `Venue.send`."""
        wire = self._wire
        wire.on_sent(self.account, request)
        if not self.connected:
            new = type(request) is SendNew
            now = self._clock.now()
            self._process.run(
                asyncio.get_running_loop().call_soon,
                self._on_reports,
                [
                    Report(
                        now, request.cl_ord_id, ExecType.REJECTED if new else ExecType.CANCEL_REJECTED,
                        reason=int(Reason.VENUE_DOWN), qty=getattr(request, "qty", 0) if not new else 0,
                        price=getattr(request, "price", 0) if not new else 0,
                    )
                ],
            )  # fmt: skip
        elif not wire.chance(wire.network.lose_request, "requests lost"):
            wire.carry(self._arrive, request)

    def _arrive(self, request: Request) -> None:
        exchange = self._wire.exchange
        self._wire.on_arrived(self.account, request)
        if type(request) is SendNew:
            self._wire.on_placed(request)
            exchange.place(request)
        elif type(request) is SendCancel:
            exchange.cancel(request)
        elif type(request) is SendReplace:
            exchange.replace(request)

    # Queries.

    async def _ask(self, answer: Callable[[], T]) -> T:
        """A query's round trip: the exchange answers when it arrives there."""
        wire = self._wire
        found: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def back(value: T, line: int) -> None:
            if line == self.line and not found.done():
                self._deliver(_answer, found, value)

        def there(line: int) -> None:
            if line == self.line and self.connected:
                wire.carry(back, answer(), line)

        if not self.connected:
            raise VenueDown("not connected")
        if not wire.chance(wire.network.lose_request, "queries lost"):
            wire.carry(there, self.line)
        try:
            return await asyncio.wait_for(found, TIMEOUT)
        except TimeoutError:
            raise VenueDown("no answer") from None

    async def status(self, request: SendStatus) -> list[Report]:
        """See `Venue.status`."""
        found = await self._ask(lambda: self._status(request.cl_ord_id))
        now = self._clock.now()
        return [msgspec.structs.replace(report, ts=now) for report in found]

    def _status(self, key: int) -> list[Report]:
        wire, order = self._wire, self._wire.exchange.orders.get(key)
        now = wire.exchange.now()
        if order is None or (
            now - order.changed < YOUNG and wire.chance(wire.network.unknown, "orders unknown")
        ):
            return [Report(now, key, ExecType.NOT_FOUND, now)]
        last = Report(
            now, key, ExecType.ORDER_STATUS, now, status=order.status, cum_qty=order.cum, leaves_qty=order.leaves,
            qty=order.qty, price=order.price,
        )  # fmt: skip
        return [*order.history, last]

    async def open_orders(self) -> list[VenueOrder]:
        """See `Venue.open_orders`."""
        return await self._ask(self._open_orders)

    def _open_orders(self) -> list[VenueOrder]:
        return [_shown(o) for o in self._wire.exchange.open.values() if o.account == self.account]

    async def fills(self, since: int) -> list[VenueFill]:
        """See `Venue.fills`."""
        found = await self._ask(lambda: self._fills(since))
        now = self._clock.now()
        return [
            msgspec.structs.replace(fill, report=msgspec.structs.replace(fill.report, ts=now))
            for fill in found
        ]

    def _fills(self, since: int) -> list[VenueFill]:
        tape = self._wire.exchange.tape
        first = bisect_left(tape, since, key=lambda item: item[1].ts_venue)
        return [
            VenueFill(report, order.instrument, order.side, client_id(order.key))
            for order, report in tape[first:]
            if order.account == self.account
        ]

    async def positions(self) -> dict[int, int]:
        """See `Venue.positions`."""
        return await self._ask(self._positions)

    def _positions(self) -> dict[int, int]:
        held = self._wire.exchange.positions
        contracts = [n for n, item in enumerate(self._wire.universe.instruments) if not item.cash]
        return {n: held.get((self.account, n), 0) for n in contracts}

    async def balances(self) -> dict[str, Decimal]:
        """See `Venue.balances`."""
        return await self._ask(self._balances)

    def _balances(self) -> dict[str, Decimal]:
        held = self._wire.exchange.books.balances(self.account)
        return {name: money.from_units(units, name) for name, units in held.items()}

    async def cancel_all(self, instrument: int | None = None) -> None:
        """See `Venue.cancel_all`."""
        await self._ask(lambda: self._wire.exchange.cancel_all(self.account, instrument))

    async def countdown(self, seconds: float) -> None:
        """See `Venue.countdown`."""
        await self._ask(lambda: self._wire.countdown(self.account, seconds))

    def counters(self) -> dict[str, int]:
        """See `Venue.counters`."""
        return {}


def _answer(found: asyncio.Future[T], value: T) -> None:
    if not found.done():
        found.set_result(value)


def _shown(order: Truth) -> VenueOrder:
    return VenueOrder(
        order.key, order.instrument, order.side, order.qty, order.price, order.cum, order.leaves, order.status,
        order.changed, client_id(order.key),
    )  # fmt: skip
