"""The system under test: every role a virtual process of its own, started again when it dies."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tidegate.access.audit import AuditTrail
from tidegate.access.replays import Replays
from tidegate.access.verify import Verifier
from tidegate.execution.service import OmsService
from tidegate.execution.writer import WriterSettings
from tidegate.log.base import LogError
from tidegate.log.memory import Faults
from tidegate.log.streams import declared
from tidegate.model.clock import Clock
from tidegate.ops.folder import DataFolder
from tidegate.ops.quick_sockets import QuickSockets
from tidegate.risk.leases.allocator import Allocator
from tidegate.risk.service import RiskService
from tidegate.sim.faults.exchange import Exchange
from tidegate.sim.faults.feed import TouchFeed
from tidegate.sim.faults.people import identities
from tidegate.sim.faults.plant import ACCOUNTS, PRICES, VENUE, Plant
from tidegate.sim.faults.sim_log import SimLog, SimServer
from tidegate.sim.faults.traders import Trader
from tidegate.sim.faults.venue import Session, Wire
from tidegate.sim.virtual_process import Machine, Outside, ProcessClock, ProcessLoop, VirtualProcess
from tidegate.sim.virtual_time import VirtualClock
from tidegate.strategy.service import StrategyService
from tidegate.venue.gateway import GatewayService, GatewaySettings

BACKOFF = (0.3, 5.0)
"""First and longest pause before what has died is started again, seconds; it doubles while deaths come fast."""
BOOT = 0.4
"""Seconds a process takes until its service starts."""
APART = 800_000_000
"""Clocks further apart than this (ns) may make a gateway take requests for old ones."""
CALM = (0.0002, 0.002)
"""One way to the log when all is well."""


class Service(Protocol):
    """What every role is."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


Maker = Callable[[VirtualProcess, SimLog, Clock], Service]


@dataclass
class Role:
    """One process as its supervisor sees it."""

    name: str
    make: Maker
    machine: Machine
    faults: Faults
    process: VirtualProcess | None = None
    log: SimLog | None = None
    service: Any = None
    session: Session | None = None
    clock: Clock | None = None
    wanted: bool = True
    """Whether it is to be started again when it ends."""
    backoff: float = BACKOFF[0]
    began: float = 0.0
    ready: bool = False
    """Whether its service has started."""
    starting: asyncio.TimerHandle | None = None


class System:
    """Everything, on the running `ProcessLoop`. `folder` is the machines' disk: what processes keep there outlives them."""

    def __init__(self, seed: int, plant: Plant, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ProcessLoop)
        self.loop, self.plant = loop, plant
        self.outside = Outside(loop)
        self.clock = VirtualClock(loop)
        self.counts: Counter[str] = Counter()
        self.server = SimServer(loop, seed, self.clock, declared(plant.lanes))
        self.wire = Wire(loop, random.Random(f"{seed} wire"), plant.universe)
        self.exchange = Exchange(
            plant.universe, PRICES, len(ACCOUNTS), random.Random(f"{seed} market"), self.clock.now, self.wire.tell
        )  # fmt: skip
        self.wire.exchange = self.exchange
        self.roles: dict[str, Role] = {}
        self.on_end: Callable[[str], None] = lambda _: None
        """Told the name of every process that has ended."""
        self.revived: dict[str, float] = {}
        """When a process last began, or came back from where nothing reached it, s."""
        self._seed, self._folder = seed, DataFolder(folder)
        self._check = Verifier(identities()).verify
        self._deployed()

    def _deployed(self) -> None:
        """The roles as they are at first."""
        self.add("feed", self._feed)
        for name in ("oms-a", "oms-b"):
            self.add(name, self._oms(name))
        for name in self.plant.watchers:
            self.add(name, self._risk(name))
        for number, _ in enumerate(ACCOUNTS):
            self.add(f"gw-{ACCOUNTS[number]}", self._gateway(number))
        for number, (name, _) in enumerate(self.plant.traders):
            self.add(f"s-{name}", self._strategy(number))

    def add(self, name: str, make: Maker) -> Role:
        """A role, not started yet."""
        role = self.roles[name] = Role(name, make, Machine(), Faults(delay=CALM))
        return role

    def add_oms(self, name: str) -> None:
        """One more order-manager instance, started."""
        if name not in self.roles:
            self.add(name, self._oms(name))
        self.begin(name)

    # Roles.

    def _feed(self, process: VirtualProcess, log: SimLog, clock: Clock) -> Service:
        return TouchFeed(self.exchange, self.plant.universe, log, clock)

    def _oms(self, name: str) -> Maker:
        def make(process: VirtualProcess, log: SimLog, clock: Clock) -> Service:
            plant = self.plant
            return OmsService(
                name, range(plant.lanes), plant.kind, plant.universe, ACCOUNTS, log, clock, scopes=plant.scopes,
                check=self._check, note=lambda *_: None, sample=5.0,
                settings=WriterSettings(tick=0.2, snapshot_entries=200),
            )  # fmt: skip

        return make

    def _risk(self, name: str) -> Maker:
        def make(process: VirtualProcess, log: SimLog, clock: Clock) -> Service:
            return RiskService(
                name, self.plant.risk_setup(), log, clock, self._check, Replays().first, lambda *_: None,
                QuickSockets(self._folder),
            )  # fmt: skip

        return make

    def _strategy(self, number: int) -> Maker:
        def make(process: VirtualProcess, log: SimLog, clock: Clock) -> Service:
            plant = self.plant
            name, account = plant.traders[number]
            trader = Trader(name, number, account, Trader.Params(seed=self._seed, pace=plant.pace))
            lane = plant.lane_of(account)
            return StrategyService(trader, lane, plant.universe, plant.gate(), log, clock)

        return make

    def _gateway(self, account: int) -> Maker:
        def make(process: VirtualProcess, log: SimLog, clock: Clock) -> Service:
            plant, name = self.plant, ACCOUNTS[account]
            session = Session(self.wire, account, process, clock)
            self.roles[f"gw-{name}"].session = session
            settings = GatewaySettings(
                instance=f"gw-{name}",
                reconcile_every=20.0,
                drop_copy=4.0,
                socket=self.socket(name),
                risk=bool(plant.watchers),
            )
            lanes = [plant.lane_of(account)]
            return GatewayService(
                VENUE, name, account, session, plant.universe, log, clock, lanes, settings, plant.scopes,
                self._check, AuditTrail(log, clock, f"gw-{name}").note,
            )  # fmt: skip

        return make

    def socket(self, account: str) -> Path:
        """Where an account's gateway listens."""
        return self._folder.run / f"gw.{VENUE}.{account}.sock"

    # Life and death.

    def begin(self, name: str) -> None:
        """Start a role that does not run."""
        role = self.roles[name]
        role.wanted = True
        if role.process is None and role.starting is None:
            self._start(role)

    def _start(self, role: Role) -> None:
        role.starting = None
        if role.process is not None or not role.wanted:
            return
        process = role.process = VirtualProcess(role.name, self.loop)
        role.began, role.ready = self.loop.time(), False
        self.revived[role.name] = role.began + BOOT
        role.log = self.server.client_of(process, role.faults)
        self.counts["started"] += 1
        role.clock = clock = ProcessClock(self.loop, role.machine)
        role.service = process.run(role.make, process, role.log, clock)
        process.spawn(self._run(role, process))

    async def _run(self, role: Role, process: VirtualProcess) -> None:
        """What a process's main does."""
        await asyncio.sleep(BOOT)
        try:
            await role.service.start()
            role.ready = True
        except LogError:  # the process ends with exit code 1
            self.counts["failed starts"] += 1
            self.outside.call_soon(self.died, role.name, process)

    def died(self, name: str, process: VirtualProcess) -> None:
        """A process has ended: clean up after it, and start it again after a while."""
        role = self.roles[name]
        if role.process is not process:
            return
        self._gone(role)
        lived = self.loop.time() - role.began
        role.backoff = BACKOFF[0] if lived > 10 else min(2 * role.backoff, BACKOFF[1])
        if role.wanted:
            role.starting = self.outside.call_later(role.backoff, self._start, role)

    def _gone(self, role: Role) -> None:
        process = role.process
        assert process is not None
        process.kill()
        self.on_end(role.name)
        if role.session is not None:
            role.session.gone()
            role.session = None
        if self.server.clients.get(role.name) is role.log:
            self.server.kill(role.name)
        role.process = role.log = role.service = None
        role.ready = False

    def kill(self, name: str) -> bool:
        """`kill -9`; False where it does not run."""
        role = self.roles.get(name)
        if role is None or role.process is None:
            return False
        self.died(name, role.process)
        return True

    def pause(self, name: str) -> bool:
        """SIGSTOP; False where it does not run."""
        role = self.roles.get(name)
        if role is None or role.process is None or role.process.paused:
            return False
        role.process.pause()
        self.server.pause(name)
        return True

    def resume(self, name: str) -> None:
        """SIGCONT."""
        role = self.roles[name]
        if role.process is not None and role.process.paused:
            role.process.resume()
            self.revived[name] = self.loop.time()
            self.server.resume(name)

    async def stop(self, name: str, timeout: float = 12.0) -> None:
        """A clean stop; what does not end in time is killed."""
        role = self.roles[name]
        role.wanted = False
        process = role.process
        if process is None:
            return
        if role.ready and not process.paused:
            done = asyncio.Event()

            async def leave() -> None:
                await role.service.stop()
                self.outside.call_soon(done.set)

            process.spawn(leave())
            try:
                await asyncio.wait_for(done.wait(), timeout)
            except TimeoutError:
                self.counts["stops too slow"] += 1
        if role.process is process:
            self._gone(role)

    # How it stands.

    def lenders(self) -> list[Allocator]:
        """Who lends limits."""
        services = (role.service for role in self.roles.values())
        found = [service.allocator for service in services if isinstance(service, RiskService)]
        return [allocator for allocator in found if allocator is not None and not allocator.fenced]

    def free(self, strategy: int) -> bool:
        """Whether a strategy's orders pass, as far as clocks go: its lane's writer and its gateway agree on the time."""
        account = self.plant.traders[strategy][1]
        lane, gateway = self.plant.lane_of(account), self.roles[f"gw-{ACCOUNTS[account]}"]
        writers = [
            r for r in self.roles.values() if isinstance(r.service, OmsService) and lane in r.service.writers
        ]
        if gateway.clock is None or len(writers) != 1 or writers[0].clock is None:
            return False
        return abs(gateway.clock.now() - writers[0].clock.now()) < APART

    def trading(self) -> str:
        """Empty where every strategy can trade; else what is missing."""
        written = {
            number
            for role in self.roles.values()
            if role.ready
            and isinstance(role.service, OmsService)
            and role.process
            and not role.process.paused
            for number in role.service.writers
        }
        for lane in range(self.plant.lanes):
            if lane not in written:
                return f"lane {lane} has no writer"
        if self.plant.shared and not self.lenders():
            return "nobody lends limits"
        for role in self.roles.values():
            if not role.wanted or isinstance(role.service, OmsService) or role.name.startswith("oms"):
                continue
            if not role.ready or role.process is None or role.process.paused:
                return f"{role.name} does not run"
            if isinstance(role.service, GatewayService) and not role.service.health()["ok"]:
                session = role.service.session
                if (
                    not session.sweeps or session.holds or session.brakes
                ):  # a sweep holds back what is halted alone
                    return f"{role.name}: {role.service.health()['why']}"
            if isinstance(role.service, StrategyService) and role.service.health()["why"]:
                return f"{role.name}: {role.service.health()['why']}"
        return ""
