"""A desk in little for the gateway: the log in memory, the real order manager, an exchange of a few orders.

The exchange is `execution.lane_world`'s; what is added here is its session: a stream of reports that may lose some,
queries that may go unanswered, a history, positions, a dead man's switch. All of it runs on virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import msgspec
from execution import lane_world
from execution.lane_world import CountingGate, new, universe
from risk.halting import VERIFIER, signed

from tidegate.access.audit import AuditTrail
from tidegate.access.audit_chain import read
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.service import OmsService
from tidegate.execution.state import Settings
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.messages import (
    CancelOrder,
    Message,
    Report,
    ScopeState,
    SendCancel,
    SendNew,
    SendReplace,
    SendStatus,
)
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.wire import decode, pack
from tidegate.risk.ledger import Ledger
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.sim.virtual_time import VirtualClock
from tidegate.venue.gateway import GatewayService, GatewaySettings
from tidegate.venue.port import VenueDown, VenueFill, VenueOrder, VenueRefused

ACCOUNT, SCOPE = 1, 3
SCOPES = ScopeTable(
    [Account(name="other"), Account(name="main", desk="desk")],
    [StrategyScope(name=name, accounts=("other", "main")) for name in ("none", "right", "left")],
    desks=["desk"],
)
FOREIGN = 1 << 62
"""Keys from here on are orders of somebody else: the venue shows no id of ours for them."""


class Exchange:
    """The truth at the venue, and what it lets sessions know."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.book = lane_world.Venue()
        self.history: list[VenueFill] = []
        self.held: Counter[int] = Counter()
        self.sessions: list[SmallVenue] = []
        self.log: list[tuple[float, Message]] = []
        """(loop time, request) as they arrived."""
        self.lose = 0
        """How many of the next stream reports are lost."""
        self.silent = False
        """Queries are not answered, nor requests taken."""
        self.deaf = False
        """Queries are not answered; requests are taken."""
        self.refuse = ""
        self.countdown = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, m: Message) -> None:
        if self.silent:
            return
        self.log.append((asyncio.get_running_loop().time(), m))
        self.tell(self.book.handle(m, self.clock.now()))

    def tell(self, reports: list[Report]) -> None:
        for r in reports:
            if self.lose:
                self.lose -= 1
                continue
            r = msgspec.structs.replace(r, cl_ord_id=0 if r.cl_ord_id >= FOREIGN else r.cl_ord_id)
            for session in self.sessions:
                session.hear(r)

    def fill(self, key: int, qty: int = 1) -> Report:
        """A trade, told to whoever listens."""
        order = self.book.orders[key].request
        r = self.book.fill(key, qty, self.clock.now())
        shown = msgspec.structs.replace(r, cl_ord_id=0) if key >= FOREIGN else r
        self.history.append(VenueFill(shown, order.instrument, order.side, str(key)))
        self.held[order.instrument] += r.last_qty * order.side.sign
        self.tell([r])
        return r

    def open(self) -> list[int]:
        return [key for key, order in self.book.orders.items() if order.open]

    def requests(self, kind: type) -> list[Message]:
        return [m for _, m in self.log if isinstance(m, kind)]

    def foreign(self, n: int = 0) -> int:
        """Somebody else places an order."""
        request = lane_world.SendNew(
            0,
            FOREIGN + n,
            0,
            0,
            Side.BUY,
            lane_world.OrdType.LIMIT,
            5,
            90,
            0,
            lane_world.TimeInForce.GTC,
            0,
            0,
            0,
            0,
        )
        self.book.orders[FOREIGN + n] = lane_world.VenueOrder(request, 5, 90)
        return FOREIGN + n

    def mass_cancel(self, instrument: int | None) -> None:
        for key in self.open():
            if instrument in (None, self.book.orders[key].request.instrument):
                self.tell([self.book.end(key, ExecType.CANCELED, self.clock.now())])

    def arm(self, seconds: float) -> None:
        self.countdown = seconds
        if self._timer is not None:
            self._timer.cancel()
        if seconds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.mass_cancel, None)


class SmallVenue:
    """One session at the exchange; see `venue.port.Venue`."""

    def __init__(self, exchange: Exchange, latency: float = 0.001) -> None:
        self.exchange, self.latency = exchange, latency
        self.connected = False
        self.mass = True
        """Whether the mass cancel works."""
        self._on_reports: Callable[[list[Report]], None] = lambda reports: None
        self._on_change: Callable[[bool], None] = lambda up: None

    async def open(self, on_reports, on_change) -> None:
        if self.exchange.silent:
            raise VenueDown("no answer")
        if self.exchange.refuse:
            raise VenueRefused(self.exchange.refuse)
        self._on_reports, self._on_change = on_reports, on_change
        self.connected = True
        self.exchange.sessions.append(self)

    async def close(self) -> None:
        self.connected = False
        with contextlib.suppress(ValueError):
            self.exchange.sessions.remove(self)

    def drop(self) -> None:
        """The session is lost."""
        self.connected = False
        self.exchange.sessions.remove(self)
        self._on_change(False)

    def back(self) -> None:
        self.connected = True
        self.exchange.sessions.append(self)
        self._on_change(True)

    def hear(self, r: Report) -> None:
        asyncio.get_running_loop().call_later(self.latency, self._hear, r)

    def _hear(self, r: Report) -> None:
        if self.connected:
            self._on_reports([msgspec.structs.replace(r, ts=self.exchange.clock.now())])

    def send(self, request) -> None:
        asyncio.get_running_loop().call_later(self.latency, self.exchange.take, request)

    async def _ask(self) -> None:
        await asyncio.sleep(self.latency)
        if self.exchange.silent or self.exchange.deaf:
            raise VenueDown("no answer")

    async def status(self, request: SendStatus) -> list[Report]:
        await self._ask()
        return self.exchange.book.status(request.cl_ord_id, self.exchange.clock.now())

    async def open_orders(self) -> list[VenueOrder]:
        await self._ask()
        found = []
        for key in self.exchange.open():
            o = self.exchange.book.orders[key]
            status = OrdStatus.PARTIALLY_FILLED if o.cum else OrdStatus.NEW
            found.append(
                VenueOrder(
                    0 if key >= FOREIGN else key, o.request.instrument, o.request.side, o.qty, o.price, o.cum, o.leaves,
                    status, self.exchange.clock.now(), str(key),
                )
            )  # fmt: skip
        return found

    async def fills(self, since: int) -> list[VenueFill]:
        await self._ask()
        return [fill for fill in self.exchange.history if fill.report.ts_venue >= since]

    async def positions(self) -> dict[int, int]:
        await self._ask()
        return {n: self.exchange.held[n] for n in range(3)}

    async def balances(self) -> dict[str, Decimal]:
        await self._ask()
        return {}

    async def cancel_all(self, instrument: int | None = None) -> None:
        await self._ask()
        if self.mass:
            self.exchange.mass_cancel(instrument)

    async def countdown(self, seconds: float) -> None:
        await self._ask()
        self.exchange.arm(seconds)

    def counters(self) -> dict[str, int]:
        return {}


def order(do: str, scope: str, by: str, now: int, *others: str, **args: str) -> bytes:
    """A line for the gateway's control: a signed command."""
    made = signed(do, scope, by, now, *others, **args)
    return json.dumps({"do": "command", "signed": json.loads(made.encode())}).encode()


def lane_kind(settings: Settings | None = None) -> LaneKind:
    u = universe()
    parts = lambda: (CountingGate(), Ledger(u))  # noqa: E731
    return LaneKind(
        "test",
        lambda n: Lane(n, u, *parts(), settings or Settings()),
        lambda data: Lane.restore(data, u, *parts()),
    )


class Desk:
    """`async with Desk() as desk`: lane 0, its order manager, the exchange, and a gateway once it is started."""

    def __init__(
        self, settings: GatewaySettings | None = None, lane: Settings | None = None, lanes: int = 1
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.server = MemoryServer(1, clock=self.clock, log=declared(lanes))
        self.exchange = Exchange(self.clock)
        self.settings = settings or GatewaySettings()
        self.lanes = lanes
        self.kind = lane_kind(lane)
        self.user = self.server.client("user")
        self.lives = 0
        self.cmd = 0
        self.hops: list[tuple[int, ...]] = []
        self.gateway: GatewayService
        self.venue: SmallVenue

    async def __aenter__(self) -> Desk:
        await self.start_oms()
        return self

    async def __aexit__(self, *_: object) -> None:
        if hasattr(self, "gateway"):
            await self.gateway.stop()
        if self.oms is not None:
            await self.oms.stop()
        for client in list(self.server.clients.values()):
            await client.close()

    async def start_oms(self) -> None:
        self.oms_log = self.server.client("oms")
        self.oms = OmsService(
            "oms-1", range(self.lanes), self.kind, universe(), ["other", "main"], self.oms_log, self.clock,
            scopes=SCOPES, check=VERIFIER.verify, note=lambda *_: None,
        )  # fmt: skip
        await self.oms.start()
        await self.until(lambda: len(self.oms.writers) == self.lanes)

    async def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Let virtual time pass until it holds."""
        end = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < end, f"did not come about in {seconds} s"
            await asyncio.sleep(0.01)

    def make_gateway(
        self, instance: str = "gateway", settings: GatewaySettings | None = None
    ) -> GatewayService:
        self.lives += 1
        self.gw_log = self.server.client(f"gw-{self.lives}")
        self.venue = SmallVenue(self.exchange)
        self.trail = AuditTrail(self.gw_log, self.clock, f"gw-{self.lives}")
        chosen = msgspec.structs.replace(settings or self.settings, instance=instance)
        return GatewayService(
            "X", "main", ACCOUNT, self.venue, universe(), self.gw_log, self.clock, range(self.lanes), chosen, SCOPES,
            VERIFIER.verify, self.trail.note, self.hops.append,
        )  # fmt: skip

    async def start_gateway(self, instance: str = "gateway") -> GatewayService:
        self.gateway = self.make_gateway(instance)
        await self.gateway.start()
        await self.until(lambda: not self.gateway.session.holds)
        return self.gateway

    async def kill_gateway(self) -> None:
        """As `kill -9`: its tasks end, its sessions close, nothing is told."""
        gw = self.gateway
        for task in [*gw._tasks, gw._leasing]:
            task.cancel()
        await asyncio.sleep(0)
        self.server.kill(f"gw-{self.lives}")
        await self.venue.close()

    # What people and strategies do.

    @property
    def lane(self) -> Lane:
        return self.oms.writers[0].lane

    async def command(self, *messages: Message, lane: int = 0, trace: int = 0) -> None:
        await self.user.append(
            f"lane.{lane}.cmd", pack(list(messages), ts=self.clock.now(), lane=lane, trace=trace)
        )

    async def place(self, qty: int = 10, trace: int = 0, **more) -> int:
        """A strategy's order; its ClOrdID, once the lane has given it."""
        self.cmd += 1
        cmd = self.cmd
        await self.command(new(cmd, qty, ts=self.clock.now(), **more), trace=trace)
        await self.until(lambda: self.lane.by_command(cmd) is not None)
        return self.lane.by_command(cmd).cl_ord_id

    async def rest(self, qty: int = 10, **more) -> int:
        """An order that has come to rest and is known to."""
        key = await self.place(qty, **more)
        await self.status(key, OrdStatus.NEW)
        return key

    async def cancel(self, key: int) -> None:
        await self.command(CancelOrder(self.clock.now(), self.lane.order(key).cmd_id))

    async def status(self, key: int, status: OrdStatus, seconds: float = 120.0) -> None:
        await self.until(lambda: self.lane.order(key).status is status, seconds)

    async def ask(self, do: str, scope: str, by: str = "oz", **args: str) -> dict:
        """What the gateway answers to a signed command that comes over the log."""
        line = order(do, scope, by, self.clock.now(), **args)
        return json.loads(await self.user.request("ctl.gw.X.main", line, 60.0))

    async def reconcile(self) -> None:
        """The next clean reconciliation has passed."""
        before = self.clock.now()
        self.gateway.reconciler.want("test")
        await self.until(lambda: self.gateway.reconciler.reconciled >= before)

    # What is in the log.

    def entries(self, stream: str, subject: str = ""):
        found = self.server.streams[stream].entries
        return [entry for entry in found if entry.subject.startswith(subject or stream.lower().split("_")[0])]

    def reports(self, kind: ExecType | None = None, lane: int = 0) -> list[Report]:
        """Every report stored for a lane."""
        told = [m for e in self.entries(f"LANE_{lane}", f"lane.{lane}.rpt") for m in decode(e.data).messages]
        return [r for r in told if kind in (None, r.exec_type)]

    def traces(self) -> list[int]:
        return [decode(e.data).trace for e in self.entries("LANE_0", "lane.0.rpt")]

    def scopes(self) -> list[ScopeState]:
        told = [m for e in self.entries("LANE_0", "lane.0.sys") for m in decode(e.data).messages]
        return [m for m in told if isinstance(m, ScopeState)]

    def audit(self) -> list[tuple[str, str, str, str]]:
        """(who, what, scope, outcome) of every act that was noted."""
        noted = [read(e.data).record for e in self.entries("AUDIT", "audit.record")]
        return [(r.who, r.do, r.scope, r.outcome) for r in noted]

    def alerts(self, kind: str = "") -> list[dict]:
        return [json.loads(e.data) for e in self.entries("ALERT", f"alert.{kind}")]

    def agree(self) -> None:
        """Books and venue hold the same."""
        for key, theirs in self.exchange.book.orders.items():
            if key < FOREIGN:
                ours = self.lane.order(key)
                assert (ours.cum_qty, ours.open) == (theirs.cum, theirs.open), key
        held = Counter()
        for (_, _, n), position in self.lane.state.ledger.positions():
            held[n] += position.lots
        assert {n: lots for n, lots in held.items() if lots} == {
            n: q for n, q in self.exchange.held.items() if q
        }
        self.lane.check()


__all__ = ["ACCOUNT", "SCOPE", "Desk", "Exchange", "SendCancel", "SendNew", "SendReplace", "SmallVenue"]
