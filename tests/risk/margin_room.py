"""An account in a margin call, whole and on virtual time: order manager, gate, gateway, risk service and log are the real
ones, each in a process that can be killed; the exchange is the simulated one, with its margin figures and its liquidator.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

from risk.halting import VERIFIER
from risk.sim_session import VENUE, Session, SimVenue

from tidegate.access.replays import Replays
from tidegate.execution.core import Lane
from tidegate.execution.ids import origin_of
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.service import OmsService
from tidegate.execution.state import Settings
from tidegate.log.memory import Faults
from tidegate.log.streams import declared
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import Mark, NewOrder, OrderEvent
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce
from tidegate.model.wire import decode, pack
from tidegate.risk.gate import Gate
from tidegate.risk.halt import decode as decode_halt
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.margin import file as margin_file
from tidegate.risk.margin.watch import MarginSettings
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.risk.service import RiskService, RiskSetup
from tidegate.sim.faults.sim_log import SimServer
from tidegate.sim.virtual_process import ProcessLoop, VirtualProcess
from tidegate.sim.virtual_time import VirtualClock
from tidegate.venue.gateway import GatewayService, GatewaySettings

TIERS = margin_file.packaged().instruments[f"BTCUSDT.{VENUE}"].tiers
UNIVERSE = Universe(
    [
        Instrument(
            symbol=symbol, venue=VENUE, kind=kind, base="BTC", quote="USDT", tick=Decimal("0.1"), lot=Decimal("0.001"),
            min_qty=Decimal("0.001"), min_notional=Decimal(5), taker_fee=Decimal("0.0005"), tiers=TIERS, **more,
        )
        for symbol, kind, more in (
            ("BTCUSDT", InstrumentKind.PERPETUAL, {}),
            ("BTCUSDT_261225", InstrumentKind.FUTURE, {"expiry": 2 * 10**18}),
        )
    ]
)  # fmt: skip
SCOPES = ScopeTable(
    [Account(name="main", capital=Decimal(1_000_000))],
    [StrategyScope(name=name, accounts=("main",)) for name in ("holder", "hedger")],
)
PRICE = 600_000
LONG, SHORT = 12_000, -3_000
"""12 BTC long, 3 BTC short of a future that moves with it."""


class Room:
    """All of it. `fall` moves the market; `starts` are instances of the order manager by name, each a process."""

    def __init__(self, wallet="14000", **settings) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.server = SimServer(self.loop, 1, self.clock, declared(1))
        self.limits = unlimited()
        self.venue = SimVenue(UNIVERSE, [(PRICE - 5, PRICE + 5)] * 2, wallet, self.clock)
        self.notes: list[tuple[str, ...]] = []
        self.note = lambda *said: self.notes.append(said)
        self.kind = LaneKind(
            "room", self.lane, lambda data: Lane.restore(data, UNIVERSE, self.gate(), Ledger(UNIVERSE))
        )
        self.processes: dict[str, VirtualProcess] = {}
        self.setup = RiskSetup(UNIVERSE, SCOPES, self.limits, [[0]], margin=MarginSettings(**settings))
        self.clients: dict[str, object] = {}
        self.cmds = [0, 1 << 40]

    def gate(self):
        return Gate(UNIVERSE, SCOPES, self.limits)

    def lane(self, number):
        return Lane(number, UNIVERSE, self.gate(), Ledger(UNIVERSE), Settings())

    async def _inside(self, name, make):
        """A service in a process of its own."""
        process = self.processes[name] = VirtualProcess(name, self.loop)
        log = self.clients[name] = self.server.client_of(process, Faults(delay=(0.0005, 0.002)))
        service, started = process.run(lambda: make(log)), self.loop.create_future()

        async def start():
            await service.start()
            started.set_result(None)

        process.spawn(start())
        await started
        return service

    async def oms(self, name):
        return await self._inside(
            name,
            lambda log: OmsService(
                name, range(1), self.kind, UNIVERSE, ["main"], log, self.clock, scopes=SCOPES, check=VERIFIER.verify,
                note=self.note, sample=0.5,
            ),
        )  # fmt: skip

    async def risk(self, name="risk"):
        return await self._inside(
            name,
            lambda log: RiskService(
                name, self.setup, log, self.clock, VERIFIER.verify, Replays().first, lambda *note: None
            ),
        )

    async def start(self) -> None:
        self.oms_one = await self.oms("oms-1")
        self.risk_one = await self.risk()
        settings = GatewaySettings(margin_every=5.0, countdown=0.0)
        self.gateway = await self._inside(
            "gateway",
            lambda log: GatewayService(
                VENUE, "main", 0, Session(self.venue), UNIVERSE, log, self.clock, [0], settings, SCOPES,
                VERIFIER.verify, lambda *note: None,
            ),
        )  # fmt: skip
        self.world = VirtualProcess("world", self.loop)
        self.log = self.server.client_of(self.world, Faults())
        self.ticking = self.loop.create_task(self._market())
        await asyncio.sleep(4)
        self.trade(0, 0, LONG)
        self.trade(1, 1, SHORT)
        await asyncio.sleep(6)
        assert self.held() == [LONG, SHORT]

    async def stop(self) -> None:
        self.ticking.cancel()
        for name, process in self.processes.items():
            process.kill()
            self.server.kill(name)

    def kill(self, name) -> None:
        self.processes.pop(name).kill()
        self.server.kill(name)

    async def _market(self) -> None:
        while True:
            now = self.clock.now()
            self.venue.step()
            marks = [Mark(now, n, *touch) for n, touch in enumerate(self.venue.market.touches)]
            self.log.publish(f"touch.{VENUE}", pack(marks, ts=now))
            await asyncio.sleep(0.1)

    def trade(self, strategy, instrument, lots, tif=TimeInForce.IOC, price=0) -> None:
        """A strategy's order."""
        self.cmds[strategy] += 1
        now, (bid, ask) = self.clock.now(), self.venue.market.touches[instrument]
        side = Side.BUY if lots > 0 else Side.SELL
        order = NewOrder(
            now, self.cmds[strategy], 0, strategy, instrument, side, OrdType.LIMIT, abs(lots),
            price or (ask if lots > 0 else bid), time_in_force=tif, ref_bid=bid, ref_ask=ask, ref_ts=now,
        )  # fmt: skip
        self.log.append(f"lane.0.cmd.{strategy}", pack([order], ts=now, lane=0))

    async def fall(self, ticks, seconds) -> None:
        """The market moves by so much, in steps of a tenth of a second."""
        steps, at = round(seconds * 10), [touch[0] for touch in self.venue.market.touches]
        for step in range(1, steps + 1):
            moved = ticks * step // steps
            self.venue.market.touches = [(bid - moved, bid - moved + 10) for bid in at]
            await asyncio.sleep(0.1)

    def held(self):
        return [self.venue.account.positions[n].lots for n in range(2)]

    @property
    def liquidated(self) -> int:
        return self.venue.exchange.counters.get("liquidations", 0)

    def halts(self):
        entries = self.server.streams["HALT"].entries
        return [(e.scope, e.state.name) for e in (decode_halt(entry.data) for entry in entries)]

    def alerts(self, kind):
        found = [json.loads(entry.data) for entry in self.server.streams["ALERT"].entries]
        return [alert["text"] for alert in found if alert["kind"] == kind]

    def fills(self):
        """(time, instrument, signed lots) of the margin call's orders."""
        told = [m for e in self.server.streams["EVT_0"].entries for m in decode(e.data).messages]
        return [
            (m.ts, m.instrument, m.side.sign * m.last_qty)
            for m in told
            if type(m) is OrderEvent and m.exec_type is ExecType.TRADE and origin_of(m.cmd_id) == "margin"
        ]


def story(main, **room):
    async def go():
        made = Room(**room)
        await made.start()
        try:
            await main(made)
        finally:
            await made.stop()

    with asyncio.Runner(loop_factory=ProcessLoop) as runner:
        return runner.run(go())
