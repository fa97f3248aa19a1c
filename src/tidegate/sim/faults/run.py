"""One run: the system, its faults, and what was found."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.log.base import LogDown
from tidegate.risk.gate import Gate
from tidegate.risk.scopes import State
from tidegate.sim.faults.audit import audit, standing
from tidegate.sim.faults.control import LOOK, Control
from tidegate.sim.faults.inject import Injector
from tidegate.sim.faults.lifeline import Lifeline
from tidegate.sim.faults.people import People
from tidegate.sim.faults.plant import Plant
from tidegate.sim.faults.schedule import Fault, draw
from tidegate.sim.faults.system import System
from tidegate.sim.faults.venue import Request
from tidegate.sim.faults.watch import Watch
from tidegate.sim.virtual_process import ProcessLoop
from tidegate.strategy.service import StrategyService

WALK = 1.0
"""Seconds between two steps of the market."""
SWEEP = 30
"""Steps between two sweeps of Python's garbage."""
SETTLE = 90.0
"""Seconds after the last fault within which all must agree."""
RECOVERY = 5.0
"""Seconds after the death of any one process within which all trade again."""
ALONE = (25.0, 8.0)
"""A kill with no other fault so long before and after it is timed."""
CALM = 30.0
"""So long after the last fault, seconds, all must trade, and what is halted is known and empty everywhere."""
EMPTY = 12.0
"""So long after the last fault, seconds, nothing is open of what is cancelled."""
QUIET = 10.0
"""So long after the last fault, seconds, whoever is not halted is expected to trade."""
UP = 90.0
"""Seconds within which people let up all that is halted, once the faults have ended."""
PROOF = 60.0
"""Seconds within which a strategy that nothing keeps back sends something."""
MEMORY = Path("/dev/shm")
"""Where the machines' disks are, if there is such a place: nothing is really to be kept."""


@dataclass
class Outcome:
    """What a run came to. `digest` is the same for the same seed and faults, on every machine."""

    seed: int
    minutes: float
    faults: list[Fault]
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    """(role, seconds until all traded again) of kills that came alone."""
    virtual: float = 0.0
    """Minutes simulated."""
    real: float = 0.0
    """Seconds it took."""
    digest: str = ""


def plant_of(seed: int) -> Plant:
    """One lane or two, and how much is going on, by the seed."""
    return Plant(
        lanes=1 + seed % 2,
        pace=(2_000, 4_000, 6_000)[seed // 2 % 3],
        risks=2 if seed % 2 else seed // 2 % 3,
        drawdown=300 if seed % 5 == 4 else 0,
    )


def leaves(seed: int) -> bool:
    """Whether what is halted when the faults end is left so, and looked at then; else people let it up first."""
    return seed // 6 % 3 == 2


def run(seed: int, minutes: float, faults: Sequence[Fault] | None = None) -> Outcome:
    """Simulate; `faults` are drawn from the seed where none are given."""
    plant = plant_of(seed)
    chosen = list(draw(seed, minutes * 60, plant) if faults is None else faults)
    outcome = Outcome(seed, minutes, chosen)
    began = time.perf_counter()
    gc.collect()
    gc.freeze()
    gc.disable()  # it runs at times of its own, and what it finalises would differ from machine to machine
    try:
        memory = MEMORY if MEMORY.is_dir() else None
        with (
            tempfile.TemporaryDirectory(prefix="tidegate-", dir=memory) as folder,
            asyncio.Runner(loop_factory=ProcessLoop) as runner,
        ):
            runner.run(_Run(outcome, plant, Path(folder)).main())
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()
    outcome.real = time.perf_counter() - began
    return outcome


class _Run:
    def __init__(self, outcome: Outcome, plant: Plant, folder: Path) -> None:
        self.outcome, self.plant, self.folder = outcome, plant, folder

    async def main(self) -> None:
        self.loop = asyncio.get_running_loop()
        seed, people = self.outcome.seed, People(self.outcome.seed)
        self.system = System(seed, self.plant, self.folder)
        system = self.system
        self.watch = Watch(system.server, system.exchange, self.plant, self.loop.time, people.intents)
        self.lifeline = Lifeline(system, self.watch.fail)
        self._connect()
        self.control = Control(system, people, self.watch.halts, seed)
        self.injector = Injector(system, self.control, seed)
        system.server.on_append = self.injector.appends
        self.idle, self.sent = [0] * self.plant.strategies, [0] * self.plant.strategies
        """By strategy: calm seconds in which it might have sent something, since it has; what it had sent then."""
        self.loop.set_exception_handler(self._nobody_caught)
        self.quiet = self.healed = False
        self.disturbed = 0.0
        """When the last fault ends."""
        work = asyncio.create_task(self._story())
        failed = asyncio.create_task(self.watch.failed.wait())
        await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        else:
            work.cancel()
        failed.cancel()
        self._conclude()

    def _connect(self) -> None:
        """Let the checks see what passes."""
        system, watch = self.system, self.watch
        system.server.on_send = watch.sent
        system.server.on_halt = watch.halts.told
        system.server.on_now = watch.halts.now
        system.server.buckets["LEASE"].watchers.append(self.lifeline.renewed)
        system.wire.on_placed = watch.placed
        system.wire.on_sent = self._sent
        system.wire.on_arrived = watch.halts.arrived
        system.on_end = watch.halts.ended
        system.loop.sockets.heard = lambda name, _, data: watch.halts.heard(name, data, system.clock.now())

    def _sent(self, account: int, request: Request) -> None:
        self.watch.halts.sent(account, request)
        self.lifeline.sent(account, request)

    def _nobody_caught(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, RuntimeError) and "asynchronous generator is already running" in str(error):
            return  # what a killed process was reading is collected: only the interpreter says this
        if not isinstance(error, LogDown | asyncio.CancelledError):
            self.watch.fail(f"{context['message']}: {error!r}")

    async def _story(self) -> None:
        system, now = self.system, self.loop.time
        for name in list(system.roles):
            system.begin(name)
        walking = asyncio.create_task(self._walk())
        for number, fault in enumerate(self.outcome.faults):
            await asyncio.sleep(fault.at - now())
            self.injector.apply(fault)
            self.disturbed = max(self.disturbed, fault.at + fault.seconds)
            if fault.kind == "kill" and self._alone(number):
                await self._time_recovery(fault.target)
        await asyncio.sleep(self.outcome.minutes * 60 - now())
        await self.injector.settle()
        self.injector.heal()
        await asyncio.sleep(10)
        await self._up()
        await self._prove()
        self._hush()
        await asyncio.sleep(SETTLE)
        walking.cancel()
        for text in audit(system, self.watch):
            self.watch.fail(text)

    async def _walk(self) -> None:
        for step in itertools.count(1):
            await asyncio.sleep(WALK)
            if step % SWEEP == 0:
                gc.collect()
            if not self.quiet:
                self.system.exchange.walk()
                self.watch.limits()
            if step % LOOK == 0 and not self.healed:
                self.control.look()
            if self.loop.time() > self.disturbed + CALM:
                self._calm(step)
            if self.loop.time() > self.disturbed + QUIET and not self.quiet:
                self._others()
            if self.loop.time() > self._settled() + EMPTY:
                for text in self.watch.halts.not_empty():
                    self.watch.fail(f"{EMPTY:g} s without a fault, and {text}")

    def _settled(self) -> float:
        """When the last fault ended, or a scope's state last changed, s."""
        return max(self.disturbed, *self.watch.halts.changed.values(), 0.0)

    def _calm(self, step: int) -> None:
        """A step of a time in which nothing has happened for long."""
        watch, began = self.watch, f"{CALM:g} s without a fault, and "
        if step % 5 == 0 and (why := self.system.trading()):
            watch.fail(f"{began}not all trade: {why}")
        if self.loop.time() > self._settled() + CALM:
            for text in standing(self.system, watch):
                watch.fail(began + text)

    async def _up(self) -> None:
        """People let up all that is halted."""
        self.healed = True
        self.control.stays.clear()
        if leaves(self.outcome.seed):
            return
        end = self.loop.time() + UP
        while halted := self.control.halted(0.0):
            if self.loop.time() > end:
                self.watch.fail(f"{UP:g} s after the last fault {', '.join(halted)} cannot be let up")
                return
            for scope in halted:
                self.control.resume(scope)
            await asyncio.sleep(5)

    async def _prove(self) -> None:
        """Whoever is not halted trades."""
        halts = self.watch.halts
        before, idle = halts.sent_by.copy(), set(range(self.plant.strategies))
        end = self.loop.time() + PROOF
        while idle and self.loop.time() < end:
            await asyncio.sleep(1)
            idle = {n for n in idle if self._free(n) and halts.sent_by[n] == before[n]}
        for n in sorted(idle):
            self.watch.fail(
                f"strategy {self.plant.traders[n][0]} is not halted and sends nothing for {PROOF:g} s"
            )

    def _free(self, strategy: int) -> bool:
        """Whether nothing keeps a strategy from trading: no halt, no gate, no clock."""
        account = self.plant.traders[strategy][1]
        gate = self.watch.lanes[self.plant.lane_of(account)].lane.state.gate
        assert isinstance(gate, Gate)
        down = gate.scope_state(self.plant.scopes.strategy_scope(strategy)) > State.RECOVERING
        return self.watch.halts.free(strategy) and not down and self.system.free(strategy)

    def _others(self) -> None:
        """A calm second: halts keep nobody else from trading."""
        halts = self.watch.halts
        for n, (name, _) in enumerate(self.plant.traders):
            if halts.sent_by[n] != self.sent[n]:
                self.sent[n], self.idle[n] = halts.sent_by[n], 0
            elif self._free(n):
                self.idle[n] += 1
            if self.idle[n] > PROOF:
                self.watch.fail(f"strategy {name} is not halted and sent nothing in {PROOF:g} calm seconds")

    def _hush(self) -> None:
        """Nobody trades any more, and the market stands."""
        self.quiet = True
        for role in self.system.roles.values():
            if isinstance(role.service, StrategyService):
                role.service.strategy.quiet = True  # type: ignore[attr-defined]

    def _alone(self, number: int) -> bool:
        faults = self.outcome.faults
        at = faults[number].at
        near = (
            f
            for f in faults
            if f is not faults[number] and f.at < at + ALONE[1] and f.at + f.seconds > at - ALONE[0]
        )
        return at > ALONE[0] and next(near, None) is None

    async def _time_recovery(self, target: str) -> None:
        """How long it takes until all trade again after a death."""
        began = self.loop.time()
        while why := self.system.trading():
            if self.loop.time() - began > RECOVERY:
                self.watch.fail(f"{RECOVERY:g} s after {target} was killed not all trade again: {why}")
                return
            await asyncio.sleep(0.05)
        self.outcome.recoveries.append((target, round(self.loop.time() - began, 3)))

    def _conclude(self) -> None:
        outcome, system, watch = self.outcome, self.system, self.watch
        outcome.violations = watch.violations
        outcome.virtual = self.loop.time() / 60
        steps = self.loop.steps  # type: ignore[attr-defined]
        more = {
            "faults": sum(self.injector.counts.values()),
            "venue fills": system.exchange.fills,
            "steps": steps,
        }
        more |= {f"fault: {name}": n for name, n in self.injector.counts.items()}
        outcome.counts = {
            **watch.counts, **watch.leases.counts, **watch.halts.counts, **self.control.counts, **system.counts,
            **system.server.counts, **system.wire.counts, **self.lifeline.counts, **more,
        }  # fmt: skip
        text = repr((steps, sorted(outcome.counts.items()), outcome.violations, outcome.recoveries))
        states = [w.lane.state_hash() for w in watch.lanes.values()]
        outcome.digest = hashlib.sha256("".join([text, *states]).encode()).hexdigest()[:16]
        for name in system.roles:
            role = system.roles[name]
            role.wanted = False
            system.kill(name)
