"""A system with a slot for new versions, on virtual time: real strategy, order manager, gateway and deploy services over the
simulated exchange's core, the packaged records as its feed, and people who sign."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from live.parity_world import RATES, Desk, Session, runs

from tidegate.access.audit import AuditTrail
from tidegate.access.command import new, sign
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.signer import Signer
from tidegate.access.verify import Verifier
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.service import OmsService
from tidegate.execution.strategy_view import StrategyView
from tidegate.kernel.replay_engine import VenueModel
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.event import KIND_SHIFT, META, PRICE, PRICE2, TS_RECV, Kind
from tidegate.model.messages import Mark, OrderEvent
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import SECOND
from tidegate.model.wire import decode, pack
from tidegate.risk import slots as sharing
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.scopes import NEXT, Account, ScopeTable, Slots, StrategyScope
from tidegate.sim.backtest import Setup
from tidegate.sim.expect import envelope_of
from tidegate.sim.shadow import ShadowService, ShadowSetup
from tidegate.sim.stream import Source
from tidegate.sim.virtual_time import VirtualClock
from tidegate.strategy.deploy.service import DeployService
from tidegate.strategy.deploy.slot_host import SlotHost, Wanted
from tidegate.strategy.deploy.stages import WHOLE, DeployBoard, commanded
from tidegate.strategy.deploy.version import CONFIGURED, Version, Versions, WatchRules
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov
from tidegate.strategy.service import StrategyService
from tidegate.strategy.strategy import Strategy
from tidegate.venue.gateway import GatewayService, GatewaySettings
from tidegate.venue.sim.capture_files import load_capture

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
MODEL = VenueModel(fill="partial", entry_latency=(2_000_003,), response_latency=(1_400_001,))
PART = 200_000
WARM_UP = 2 * SECOND
MARKET = "BTCUSDT.BINANCE_USDM"
SCOPES = ScopeTable(
    [Account(name="main", capital=Decimal(10**7))],
    [
        StrategyScope(name="maker", accounts=("main",)),
        StrategyScope(name="maker" + NEXT, accounts=("main",), slot_of="maker", part=Decimal("0.2")),
    ],
)
SLOTS = Slots("maker", 0, 1, SCOPES.strategy_scope(0), SCOPES.strategy_scope(1), 0, 0, PART)
PEOPLE = {"olga": Role.OPERATOR, "rita": Role.RISK_OFFICER}
SIGNERS = {name: Signer.new(name) for name in PEOPLE}
VERIFIER = Verifier(
    Identities(Identity(name=n, person=n, role=role, key=SIGNERS[n].public) for n, role in PEOPLE.items())
)
Build = Callable[[str, int], Strategy]


def limits() -> Limits:
    """Of the strategy: 0.2 BTC, 20 open orders, 100 orders a second; of the rest nothing."""
    base = unlimited()
    every = base.strategies["*"]
    kind = type(every.gross)
    strategies = msgspec.structs.replace(
        every, position=kind("0.2"), open_orders=kind(20), orders_per_second=kind(100)
    )
    return Limits(firm=base.firm, accounts=base.accounts, strategies={"*": strategies})


def maker(name: str, number: int, size: int = 10) -> Strategy:
    """The demo's market maker."""
    return AvellanedaStoikov(
        name, number, 0, AvellanedaStoikov.Params(market=MARKET, size=size, max_position=100)
    )


class World:
    """Everything that runs. `versions` gives each version's maker by its id."""

    def __init__(self, length: int) -> None:
        capture = load_capture([SAMPLE])
        last = capture.rows[0, TS_RECV] + length * SECOND
        self.universe, self.max_delay = capture.universe, capture.max_delay
        self.rows = capture.rows[capture.rows[:, TS_RECV] < last].copy()
        self.all_rows = capture.rows
        self.clock = VirtualClock(asyncio.get_running_loop(), int(self.rows[0, TS_RECV]) - WARM_UP)
        self.server = MemoryServer(1, clock=self.clock, log=declared(1))
        self.log = self.server.client("test")
        self.versions: dict[str, Build] = {CONFIGURED: maker}
        self.services: list[Any] = []
        self.candidate: SlotHost | None = None
        self.hosted: list[str] = []
        """Slot, stage and version of all that was ever started."""

    # Its parts.

    def gate(self) -> Gate:
        """A fresh gate, with the slot for new versions closed."""
        made = Gate(self.universe, SCOPES, limits(), base_currency="USDT", fx=RATES)
        sharing.share(made, len(self.universe), SLOTS.live_scope, SLOTS.next_scope, WHOLE, 0)
        return made

    def ledger(self) -> Ledger:
        """Fresh books."""
        return Ledger(self.universe, base_currency="USDT", fx=RATES)

    def board(self) -> DeployBoard:
        """A fresh fold of DEPLOY."""
        return DeployBoard(VERIFIER.verify, lambda name: PART if name == "maker" else 0)

    async def start(self) -> None:
        """Bring the whole up."""
        desk = Desk(self.universe, self.rows, self.max_delay, MODEL, self.clock)
        self.feed = self.server.client("feed")
        for item in self.universe.instruments:
            self.feed.serve(f"snap.{item.venue}.{item.symbol}", lambda data: b"")
        kind = LaneKind(
            "deploy",
            lambda n: Lane(n, self.universe, self.gate(), self.ledger()),
            lambda data: Lane.restore(data, self.universe, self.gate(), self.ledger()),
        )
        self.oms = OmsService(
            "oms", range(1), kind, self.universe, ["main"], self.server.client("oms"), self.clock, scopes=SCOPES,
            check=VERIFIER.verify, note=lambda *_: None, sample=0.2,
        )  # fmt: skip
        self.services.append(self.oms)
        for venue in dict.fromkeys(item.venue for item in self.universe.instruments):
            log = self.server.client(f"gw-{venue}")
            settings = GatewaySettings(drop_copy=3600.0, reconcile_every=3600.0)
            self.services.append(
                GatewayService(
                    venue, "main", 0, Session(desk, venue), self.universe, log, self.clock, [0], settings, SCOPES,
                    VERIFIER.verify, AuditTrail(log, self.clock, f"gw-{venue}"),
                )
            )  # fmt: skip
        trail = AuditTrail(self.server.client("audit"), self.clock, "deploy")
        self.deploy = DeployService(
            {"maker": SLOTS}, self.universe, "USDT", RATES, self.server.client("deploy"), self.clock, VERIFIER.verify,
            trail.note, self._process,
        )  # fmt: skip
        self.live = self.host(False)
        self.services += [self.live, self.deploy]
        for service in self.services:
            await service.start()

    def host(self, candidate: bool) -> SlotHost:
        """The process of a slot, as far as it has one."""
        log = self.server.client("strategy" + (NEXT if candidate else ""))
        return SlotHost("maker", candidate, self.board(), log, self.clock, self._make, _end)

    async def _process(self, slot: str, run: bool) -> bool:
        if run and self.candidate is None:
            self.candidate = self.host(True)
            await self.candidate.start()
        elif not run and self.candidate is not None:
            gone, self.candidate = self.candidate, None
            await gone.stop()
        return True

    async def _make(self, wanted: Wanted) -> Any:
        self.hosted.append(f"{wanted.slot} {wanted.stage} {wanted.version}")
        log = self.server.client(f"{wanted.slot}-{wanted.stage}")
        build = self.versions[wanted.version]
        if wanted.stage != "shadow":
            number = SLOTS.candidate if wanted.stage == "canary" else SLOTS.live
            return StrategyService(
                build(wanted.slot, number),
                0,
                self.universe,
                self.gate(),
                log,
                self.clock,
                ledger=self.ledger(),
            )
        view = msgspec.msgpack.decode(
            await log.request("oms.0.strategy", msgspec.msgpack.encode(0)), type=StrategyView
        )
        venues = {item.venue: MODEL for item in self.universe.instruments}
        setup = ShadowSetup(
            self.universe,
            self.gate(),
            self.ledger(),
            venues,
            dict(view.positions),
            200_000_000,
            self.max_delay,
        )
        state = msgspec.json.decode(wanted.state) if wanted.state else None
        return ShadowService("maker", build("maker", SLOTS.live), setup, log, self.clock, state)

    # What people do.

    async def know(self, name: str, build: Build, behaves: Build = maker, **watch: Any) -> str:
        """Keep a version called `name`, with an envelope from a backtest of what it says it does; its id."""
        version = Version(type="avellaneda_stoikov", params={"called": name}, watch=WatchRules(**watch))
        kept = Versions(self.log)
        self.versions[version.id] = build
        await kept.keep("maker", version)
        for number, ppm in ((SLOTS.live, WHOLE), (SLOTS.candidate, PART)):
            strategy = behaves("maker", number)
            setup = Setup(
                universe=self.universe, sources=[Source([self.all_rows.copy()], None, max_delay=self.max_delay)],
                strategies=[strategy], limits=limits(), scopes=SCOPES, rates=RATES, key=name,
                venues={item.venue: MODEL for item in self.universe.instruments},
            )  # fmt: skip
            await kept.keep_envelope("maker", envelope_of(setup, strategy, version.id, SECOND, ppm))
        return version.id

    async def say(self, do: str, version: str, who: str = "rita", ppm: int = 0) -> None:
        """Sign a command and put it on DEPLOY."""
        args = {"version": version} | ({"ppm": str(ppm)} if ppm else {})
        now = self.clock.now()
        command = new(do, "strategy:maker", "a test", who, now, args=args)
        event = commanded(sign(command, SIGNERS[who]).encode(), command, now)
        await self.log.append(event.subject, event.encode())

    # The market.

    async def play(self, until: float) -> None:
        """Let the records come, up to so many seconds after the first; the touch is told as a feed would."""
        end = int(self.rows[0, TS_RECV]) + round(until * SECOND)
        pieces = getattr(self, "_pieces", None)
        if pieces is None:
            pieces = self._pieces = runs(self.rows)
            self._at = 0
        while self._at < len(pieces) and pieces[self._at][0] <= end:
            received, instrument, piece = pieces[self._at]
            self._at += 1
            if received > self.clock.now():
                await asyncio.sleep((received - self.clock.now()) / 1e9)
            item = self.universe[instrument]
            self.feed.publish(f"md.{item.venue}.{item.symbol}", piece.tobytes())
            quotes = piece[(piece[:, META] >> KIND_SHIFT) & 0xFF == Kind.QUOTE]
            if len(quotes):
                mark = Mark(received, instrument, int(quotes[-1, PRICE]), int(quotes[-1, PRICE2]))
                self.feed.publish(f"touch.{item.venue}", pack([mark], ts=received))
        if end > self.clock.now():
            await asyncio.sleep((end - self.clock.now()) / 1e9)

    async def stop(self) -> None:
        """All of it, in order."""
        await self.deploy.stop()
        for service in [*([self.candidate] if self.candidate else []), *reversed(self.services)]:
            if service is not self.deploy:
                await service.stop()

    # What is found afterwards.

    @property
    def lane(self) -> Lane:
        """The lane as its writer has it."""
        return self.oms.writers[0].lane

    def events(self, strategy: int) -> list[tuple[int, OrderEvent]]:
        """A strategy's order events, with the time the log stored them."""
        return [
            (entry.ts, m)
            for entry in self.server.streams["EVT_0"].entries
            for m in decode(entry.data).messages
            if type(m) is OrderEvent and m.strategy == strategy
        ]

    def position(self, strategy: int) -> int:
        """Lots in the perpetual."""
        return self.lane.state.ledger.position(0, strategy, self.universe.number(MARKET)).lots  # type: ignore[attr-defined]

    def asked(self, strategy: int) -> list[int]:
        """When new orders of a strategy passed the gate."""
        return [
            m.ts
            for _, m in self.events(strategy)
            if m.status is OrdStatus.PENDING_NEW and m.exec_type is None
        ]

    def filled(self, strategy: int) -> int:
        """How many fills a strategy had."""
        return sum(m.exec_type is ExecType.TRADE and bool(m.cl_ord_id) for _, m in self.events(strategy))

    def stream(self, name: str) -> list[Any]:
        """The entries of a stream."""
        return list(self.server.streams[name].entries)


def between(times: list[int], begin: int, end: int) -> int:
    """How many lie in [begin, end)."""
    return bisect.bisect_left(times, end) - bisect.bisect_left(times, begin)


async def _end(hosted: Any) -> None:
    await hosted.stop()
