"""Faults carried out on the system."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from tidegate.execution.service import OmsService
from tidegate.log.memory import Faults
from tidegate.log.streams import stream_of
from tidegate.model.messages import CancelOrder
from tidegate.model.wire import Envelope, encode
from tidegate.sim.faults.control import Control
from tidegate.sim.faults.plant import ACCOUNTS
from tidegate.sim.faults.schedule import Fault
from tidegate.sim.faults.sim_log import SimLog
from tidegate.sim.faults.system import CALM, System
from tidegate.sim.faults.venue import Network
from tidegate.strategy.service import StrategyService

SLOW = (0.02, 0.25)
"""One way to the log when it is slow, seconds."""


AMID = 0.005
"""Seconds after an append has left within which its process is killed: the acknowledgement takes about as long."""
RUNAWAY = 2.4
"""Seconds that a strategy runs away for, where it is halted amid that."""


class Injector:
    """Does what a schedule says; `heal` ends all that lasts."""

    def __init__(self, system: System, control: Control, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._system, self._control = system, control
        self._rng = random.Random(f"{seed} injector")
        self._doomed: dict[str, str] = {}
        """Processes that are killed with their next append to a stream."""
        self._tasks: dict[asyncio.Task[None], None] = {}

    def apply(self, fault: Fault) -> None:
        """Let it happen now."""
        self.counts[fault.kind] += 1
        name = "_" + fault.kind.replace(" ", "_")
        getattr(self, "_let_up" if name == "_resume" else name)(fault)

    def _later(self, seconds: float, act: Any, *args: Any) -> None:
        self._system.outside.call_later(seconds, act, *args)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def settle(self) -> None:
        """Wait until nothing is being stopped or started any more."""
        while self._tasks:
            await asyncio.sleep(0.1)

    # Processes.

    def _kill(self, fault: Fault) -> None:
        self._system.kill(fault.target)

    def _kill_amid(self, fault: Fault) -> None:
        """Kill it while one of its next appends is on the way, stored, or acknowledged: who knows."""
        doomed = self._doomed[fault.target] = fault.args["stream"]
        self._later(fault.seconds, self._spare, fault.target, doomed)

    def _spare(self, name: str, doomed: str) -> None:
        if self._doomed.get(name) == doomed:
            del self._doomed[name]

    def appends(self, name: str, subject: str) -> None:
        """A process appends to the log."""
        doomed = self._doomed.get(name)
        if doomed is not None and (stream_of(subject) or "").startswith(doomed):
            del self._doomed[name]
            self.counts["kills amid an append"] += 1
            self._later(self._rng.uniform(0, AMID), self._system.kill, name)

    def _pause(self, fault: Fault) -> None:
        if self._system.pause(fault.target):
            process = self._system.roles[fault.target].process
            self._later(fault.seconds, self._resume, fault.target, process)

    def _resume(self, name: str, process: object) -> None:
        if self._system.roles[name].process is process:
            self._system.resume(name)

    def _restart(self, fault: Fault) -> None:
        self._spawn(self._again(fault.target, 0.0))

    def _feed_stops(self, fault: Fault) -> None:
        self._spawn(self._again("feed", fault.seconds))

    async def _again(self, name: str, pause: float) -> None:
        await self._system.stop(name)
        await asyncio.sleep(pause)
        self._system.begin(name)

    def _oms_joins(self, fault: Fault) -> None:
        self._system.add_oms(fault.target)

    def _oms_leaves(self, fault: Fault) -> None:
        running = [
            r.name for r in self._system.roles.values() if r.ready and isinstance(r.service, OmsService)
        ]
        if fault.target in running and len(running) > 1:
            self._spawn(self._system.stop(fault.target))

    def _upgrade(self, fault: Fault) -> None:
        """Old and new side by side: one more comes up, then the others are restarted one by one."""
        self._spawn(self._roll())

    async def _roll(self) -> None:
        self._system.add_oms("oms-c")
        for name in ("oms-a", "oms-b"):
            await asyncio.sleep(2.0)
            await self._again(name, 0.0)
        await asyncio.sleep(2.0)
        await self._system.stop("oms-c")

    # The log.

    def _partition(self, fault: Fault) -> None:
        role = self._system.roles[fault.target]
        if role.log is not None and not role.log.dead:
            role.log.cut()
            self._later(fault.seconds, self._mend, fault.target, role.log)

    def _mend(self, name: str, log: SimLog) -> None:
        log.mend()
        self._system.revived[name] = self._system.loop.time()

    def _outage(self, fault: Fault) -> None:
        self._system.server.outage(True)
        self._later(fault.seconds, self._back)

    def _back(self) -> None:
        self._system.server.outage(False)
        for name in self._system.roles:
            self._system.revived[name] = self._system.loop.time()

    def _log(self, fault: Fault) -> None:
        names = list(self._system.roles) if fault.target == "all" else [fault.target]
        for name in names:
            faults = self._system.roles[name].faults
            for field, value in fault.args.items():
                setattr(faults, field, SLOW if field == "delay" else value)
            self._later(fault.seconds, self._calm, name)

    def _calm(self, name: str) -> None:
        self._system.revived[name] = self._system.loop.time()
        faults = self._system.roles[name].faults
        for field, value in vars(Faults(delay=CALM)).items():
            setattr(faults, field, value)

    def _poison(self, fault: Fault) -> None:
        """Something that no strategy of ours would write comes into a lane's log."""
        lane = self._system.plant.lane_of(fault.args["account"])
        good = encode(Envelope([CancelOrder(self._system.clock.now(), 1 << 50)]))
        data = [b"\xc1 no envelope", b"", good[: len(good) // 2], good][fault.args["form"]]
        self._system.server.store(f"lane.{lane}.cmd", data, "", None)

    # Clocks.

    def _clock(self, fault: Fault) -> None:
        machine = self._system.roles[fault.target].machine
        machine.step = max(-(2 * 10**9), min(2 * 10**9, machine.step + round(fault.args["step"] * 1e9)))

    # The venue.

    def _network(self, fault: Fault) -> None:
        for field, value in fault.args.items():
            setattr(self._system.wire.network, field, value)
        self._later(fault.seconds, self._clear)

    def _clear(self) -> None:
        for field, value in vars(Network()).items():
            setattr(self._system.wire.network, field, value)

    def _cut(self, fault: Fault) -> None:
        account = ACCOUNTS.index(fault.target)
        self._system.wire.cut(account)
        self._later(fault.seconds, self._system.wire.mend, account)

    def _storm(self, fault: Fault) -> None:
        self._system.exchange.storm = True
        self._later(fault.seconds, setattr, self._system.exchange, "storm", False)

    def _halt(self, fault: Fault) -> None:
        self._system.exchange.halted = True
        self._later(fault.seconds, setattr, self._system.exchange, "halted", False)

    def _late_fill(self, fault: Fault) -> None:
        self._system.exchange.late_fill(self._rng)

    def _bust(self, fault: Fault) -> None:
        self._system.exchange.take_back(self._rng, correct=False)

    def _correct(self, fault: Fault) -> None:
        self._system.exchange.take_back(self._rng, correct=True)

    def _unasked_cancel(self, fault: Fault) -> None:
        self._system.exchange.cancel_unasked(self._rng)

    # People, and those they watch over.

    def _person_halts(self, fault: Fault) -> None:
        """Now, or amid what a strategy sends without end; `slow` is how long order managers hear of it late."""
        if slow := fault.args.get("slow", 0.0):
            for name in ("oms-a", "oms-b"):
                self._log(Fault(fault.at, "log", name, slow, {"delay": 0.1}))
        if amid := fault.args.get("amid", ""):
            self._behave(amid, "busy")
            self._later(RUNAWAY, self._behave, amid, "")
        self._later(RUNAWAY / 2 if amid else 0.0, self._control.halt, fault)

    def _person_flattens(self, fault: Fault) -> None:
        self._control.flatten(fault)

    def _person_cancels(self, fault: Fault) -> None:
        self._control.cancel_all(fault)

    def _late_command(self, fault: Fault) -> None:
        self._control.late(fault)

    def _let_up(self, fault: Fault) -> None:
        halted = self._control.halted(0.0)
        if halted:
            self._control.resume(halted[fault.args["pick"] % len(halted)])

    def _false_resume(self, fault: Fault) -> None:
        self._control.false(fault)

    def _rogue(self, fault: Fault) -> None:
        self._behave(fault.target, fault.args["how"])
        self._later(fault.seconds, self._behave, fault.target, "")

    def _behave(self, name: str, how: str) -> None:
        service = self._system.roles[name].service
        if isinstance(service, StrategyService):
            service.strategy.rogue = how  # type: ignore[attr-defined]

    # The end.

    def heal(self) -> None:
        """End all faults, and start what does not run."""
        system = self._system
        self._doomed.clear()
        system.server.outage(False)
        for role in list(system.roles.values()):
            self._calm(role.name)
            if role.log is not None:
                role.log.mend()
            system.resume(role.name)
        for account in range(len(ACCOUNTS)):
            system.wire.mend(account)
        system.exchange.halted = system.exchange.storm = False
        self._clear()
        for name in system.roles:
            if name != "oms-c":
                system.begin(name)
