"""The live services on virtual time, over the simulated exchange's own core: every way takes as long as in a backtest.

Real are strategy, order manager and gateway services, and the exchange with its capture core. In the place of sockets
stand ways of a constant length; in the place of the feed's process, the capture's records at the times they were
received. The log takes no time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from tidegate.access.audit import AuditTrail
from tidegate.access.identity import Identities
from tidegate.access.verify import Verifier
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.service import OmsService
from tidegate.kernel.replay_engine import VenueModel
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.event import META, TS_RECV
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.order import ExecInst, ExecType
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.live_run import LiveRun
from tidegate.sim.virtual_time import VirtualClock
from tidegate.strategy.service import StrategyService
from tidegate.strategy.strategy import Strategy
from tidegate.venue.binance.errors import reason
from tidegate.venue.gateway import GatewayService, GatewaySettings
from tidegate.venue.port import VenueFill, VenueOrder, client_id
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.capture_market import CaptureMarket, Records
from tidegate.venue.sim.config import AccountConfig, VenueConfig
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.timeline import Timeline

WARM_UP = 10_000_000_000
"""So long before the first record the services come up, ns."""
RATES: dict[str, str | Decimal] = {"BTC": "60000", "USD": "1"}
RICH = {
    "BINANCE": {"USDT": "1000000000", "BTC": "1000000"},
    "BINANCE_USDM": {"USDT": "1000000000"},
    "BINANCE_COINM": {"BTC": "1000000"},
}
_HAPPENED = {
    "NEW": ExecType.NEW, "TRADE": ExecType.TRADE, "CANCELED": ExecType.CANCELED, "EXPIRED": ExecType.EXPIRED,
    "AMENDMENT": ExecType.REPLACED, "REPLACED": ExecType.REPLACED,
}  # fmt: skip


class Way:
    """A way of a constant length: what enters leaves in the same order. (A loop's timers of one instant have none.)"""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()

    def carry(self, seconds: float, act: Callable[[], object]) -> None:
        self._waiting.append(act)
        asyncio.get_running_loop().call_later(seconds, lambda: self._waiting.popleft()())


class Desk:
    """The exchange's core, and its sessions' ways in and out."""

    def __init__(
        self, universe: Universe, rows: Any, max_delay: int, model: VenueModel, clock: VirtualClock
    ) -> None:
        self.loop, self.clock = asyncio.get_running_loop(), clock
        self.entry, self.response = model.entry_latency[0], model.response_latency[0]
        rich = AccountConfig(name="one", api_key="k", api_secret="s", balances=RICH)
        config = VenueConfig(accounts=[rich], spot_fee="quote", max_open_orders=10_000)
        self.exchange = Exchange(Listings(universe), config, self)
        first = int(rows[:, 0].min())
        line = Timeline(first)
        line.start(first)  # the server's time is the capture's
        records = Records(lambda: [rows], max_delay, False)
        core = VenueModel(fill=model.fill, queue=model.queue, queue_exponent=model.queue_exponent)
        self.exchange.stand_on(CaptureMarket(universe, core, records, line, self.exchange.executed))
        self.sessions: dict[str, Session] = {}
        self.orders: dict[int, Order] = {}
        self.names: dict[int, int] = {}
        self.way_in, self.way_out = Way(), Way()
        self._armed: asyncio.TimerHandle | None = None

    def arrive(self, request: SendNew | SendCancel | SendReplace) -> None:
        """A request reaches the exchange."""
        now = self.clock.now()
        try:
            if isinstance(request, SendNew):
                self._place(request, now)
            elif isinstance(request, SendCancel):
                self.exchange.cancel(self.orders[request.cl_ord_id], now)
            else:
                self.exchange.replace(self.orders[request.cl_ord_id], request.qty, request.price, now)
        except Refused as no:
            new = isinstance(request, SendNew)
            kind = ExecType.REJECTED if new else ExecType.CANCEL_REJECTED
            replace = isinstance(request, SendReplace)
            futures = self.exchange.listings[request.instrument].futures
            report = Report(
                0, request.cl_ord_id, kind, ts_venue=now, qty=request.qty if replace else 0,
                price=request.price if replace else 0, reason=reason(no.code, no.text, "futures" if futures else "spot"),
            )  # fmt: skip
            self._tell(request.instrument, report)
        self._arm()

    def _place(self, m: SendNew, now: int) -> None:
        listing = self.exchange.listings[m.instrument]
        order = Order(self.exchange.accounts[0], listing, m.side, m.ord_type, m.ord_type.name, m.qty)
        order.price, order.stop, order.tif = m.price, m.stop_price, m.time_in_force
        order.post_only = bool(m.exec_inst & ExecInst.POST_ONLY)
        order.client_id = client_id(m.cl_ord_id)
        self.orders[m.cl_ord_id] = order
        self.names[id(order)] = m.cl_ord_id
        self.exchange.place(order, now)

    def _arm(self) -> None:
        """While orders rest, be there at every record of the market."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        due = self.exchange.background.next_due()
        if self.exchange.live and due < NEVER:
            self._armed = self.loop.call_later((due - self.clock.now()) / 1e9, self._pump)

    def _pump(self) -> None:
        self._armed = None
        self.exchange.advance(self.clock.now())
        self._arm()

    # What the exchange says.

    def on_order(self, order: Order, happened: str, ts: int, trade: Trade | None) -> None:
        """See `exchange.Listener`."""
        key = self.names[id(order)]
        report = Report(0, key, _HAPPENED[happened], ts_venue=ts, cum_qty=order.cum, leaves_qty=order.leaves)
        if trade is not None:
            report.last_qty, report.last_px, report.exec_id = trade.qty, trade.price, trade.id
            report.fee, report.maker = trade.fee, trade.maker
        elif report.exec_type is ExecType.REPLACED:
            report.qty, report.price = order.qty, order.price
        self._tell(order.listing.number, report)

    def on_money(self, *_: object) -> None:
        """Not told."""

    def _tell(self, instrument: int, report: Report) -> None:
        session = self.sessions[self.exchange.listings[instrument].instrument.venue]
        report.ts = report.ts_venue + self.response
        self.way_out.carry((report.ts - self.clock.now()) / 1e9, lambda: session.on_reports([report]))


class Session:
    """`venue.port.Venue` of one venue of the desk."""

    connected = True

    def __init__(self, desk: Desk, venue: str) -> None:
        self.desk = desk
        self.on_reports: Callable[[list[Report]], None] = lambda reports: None
        desk.sessions[venue] = self

    async def open(
        self, on_reports: Callable[[list[Report]], None], on_change: Callable[[bool], None]
    ) -> None:
        self.on_reports = on_reports

    async def close(self) -> None:
        pass

    def send(self, request: SendNew | SendCancel | SendReplace) -> None:
        self.desk.way_in.carry(self.desk.entry / 1e9, lambda: self.desk.arrive(request))

    async def status(self, request: SendStatus) -> list[Report]:
        raise AssertionError(f"nothing was ever unanswered, yet {request} is asked")

    async def open_orders(self) -> list[VenueOrder]:
        return []

    async def fills(self, since: int) -> list[VenueFill]:
        return []

    async def positions(self) -> dict[int, int]:
        return {}

    async def balances(self) -> dict[str, Decimal]:
        return {}

    async def cancel_all(self, instrument: int | None = None) -> None:
        pass

    async def countdown(self, seconds: float) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {}


def runs(rows: Any) -> list[tuple[int, int, Any]]:
    """Records as the feed hands them on: (received, instrument, rows), what came at once of one instrument together."""
    instruments = rows[:, META] & 0xFFFF_FFFF
    cuts = np.flatnonzero(np.diff(rows[:, TS_RECV]) | np.diff(instruments)) + 1
    return [(int(p[0, TS_RECV]), int(p[0, META] & 0xFFFF_FFFF), p) for p in np.split(rows, cuts)]


async def live(
    universe: Universe, rows: Any, max_delay: int, strategies: list[Strategy], model: VenueModel
) -> LiveRun:
    """Run the services over the records; the run, folded from the lane's log."""
    loop = asyncio.get_running_loop()
    clock = VirtualClock(loop, int(rows[0, TS_RECV]) - WARM_UP)
    scopes, server = ScopeTable.simple(len(strategies)), MemoryServer(1, clock=clock, log=declared(1))

    def gate() -> Gate:
        return Gate(universe, scopes, unlimited(), base_currency="USDT", fx=RATES)

    def ledger() -> Ledger:
        return Ledger(universe, base_currency="USDT", fx=RATES)

    kind = LaneKind(
        "parity",
        lambda n: Lane(n, universe, gate(), ledger()),
        lambda data: Lane.restore(data, universe, gate(), ledger()),
    )
    desk = Desk(universe, rows, max_delay, model, clock)
    accounts = [account.name for account in scopes.accounts]
    feed = server.client("feed")
    for item in universe.instruments:
        feed.serve(f"snap.{item.venue}.{item.symbol}", lambda data: b"")
    services: list[Any] = [
        OmsService(
            "oms",
            range(1),
            kind,
            universe,
            accounts,
            server.client("oms"),
            clock,
            scopes=scopes,
            check=Verifier(Identities()).verify,
            note=lambda *_: None,
            sample=3600.0,
        )
    ]
    for venue in dict.fromkeys(item.venue for item in universe.instruments):
        # Nothing is lost here, so there is nothing to look for after the start.
        settings = GatewaySettings(drop_copy=3600.0, reconcile_every=3600.0)
        log = server.client(f"gw-{venue}")
        services.append(
            GatewayService(
                venue,
                accounts[0],
                0,
                Session(desk, venue),
                universe,
                log,
                clock,
                [0],
                settings,
                scopes,
                Verifier(Identities()).verify,
                AuditTrail(log, clock, f"gw-{venue}"),
            )
        )
    for strategy in strategies:
        services.append(
            StrategyService(
                strategy, 0, universe, gate(), server.client(strategy.name), clock, cancel_on_stop=False
            )
        )
    for service in services:
        await service.start()
    for received, instrument, piece in runs(rows):
        if received > clock.now():
            await asyncio.sleep((received - clock.now()) / 1e9)
        item = universe[instrument]
        feed.publish(f"md.{item.venue}.{item.symbol}", piece.tobytes())
    await asyncio.sleep(1.0)  # what is on its way arrives
    for service in reversed(services):
        await service.stop()
    run = LiveRun(kind, universe, scopes, "USDT", RATES, "parity", 10**9)
    run.begin(0)
    run.take(0, server.streams["LANE_0"].entries)
    return run
