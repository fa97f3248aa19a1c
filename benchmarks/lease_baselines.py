"""What leases are compared with, on the very demand of `sim.lease_soak.calm`: fixed parts, a sum that is told late and
trips, and a central check by a real request and reply for every order."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate.log.base import LogDown
from tidegate.log.embedded import Embedded
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared
from tidegate.model.messages import LeaseGrant
from tidegate.model.time import MS, SECOND
from tidegate.model.wire import decode, pack
from tidegate.sim import lease_soak_kernel as k
from tidegate.sim.lease_soak import BEGIN, LeaseSoak, SoakPlan
from tidegate.sim.lease_soak_world import FAR


@dataclass
class Outcome:
    """`false` and `over` are parts of one: orders refused though the sum had room, and the most used above the limit."""

    use: float
    false: float
    over: float = 0.0
    grants: float = 0.0
    """Grants and recalls a second."""


def leases(plan: SoakPlan) -> Outcome:
    """Lent limits."""
    done = LeaseSoak(plan).run()
    assert not done.violation, done.violation
    seconds = done.virtual - BEGIN / SECOND
    changes = done.counts["grants"] + done.counts["recalls"]
    return Outcome(done.utilisation, done.falsely / done.orders, 0.0, changes / seconds)


class Parts(LeaseSoak):
    """Each lane has its fixed part of the limit, and nothing moves."""

    def __init__(self, plan: SoakPlan) -> None:
        super().__init__(plan)
        for writer in self.writers:
            for n, key in enumerate(writer.lane.keys):
                self._append(writer.lane.number, ("grant", key, self.limits[key] // plan.lanes))
                assert writer.lane.held[n].amount

    def _look(self, lane: int) -> None:
        self.writers[lane].lane.lacking[:] = 0

    def _decide(self) -> None:
        self._deciding = False


def parts(plan: SoakPlan) -> Outcome:
    """Static split."""
    done = Parts(plan).run()
    return Outcome(done.utilisation, done.falsely / done.orders)


class Told(Parts):
    """Every lane tells what it uses every `every` ns; the sum comes `plan.delay` later, and at the limit all are stopped
    until it is below again. Between two words each lane may do as it likes."""

    every = 10 * MS

    def __init__(self, plan: SoakPlan) -> None:
        LeaseSoak.__init__(self, plan)
        self.known = [0] * plan.lanes
        self.most = 0
        for writer in self.writers:
            writer.lane.leases[:] = FAR
        self.truth.ceilings[:] = FAR  # nothing holds it: what it overshoots is measured
        for lane in range(plan.lanes):
            self.later(BEGIN + self.every * lane // plan.lanes, self._tell, lane)

    def _tell(self, lane: int) -> None:
        used = int(self.writers[lane].lane.used[k.VALUE])
        self.later(2 * self.rng.randint(*self.plan.delay), self._heard, lane, used)
        self.later(self.every, self._tell, lane)

    def _heard(self, lane: int, used: int) -> None:
        self.known[lane] = used
        tripped = sum(self.known) >= self.plan.limits[k.VALUE]
        for writer in self.writers:
            mine = writer.lane
            mine.leases[:, k.VALUE] = max(0, int(mine.used[k.VALUE])) if tripped else FAR

    def _trade(self, lane: int) -> None:
        super()._trade(lane)
        self.most = max(self.most, int(self.truth.totals[0, k.VALUE]))


def told(plan: SoakPlan) -> Outcome:
    """An asynchronous aggregate that trips."""
    soak = Told(plan)
    done = soak.run()
    limit = plan.limits[k.VALUE]
    return Outcome(done.utilisation, done.falsely / done.orders, max(0, soak.most - limit) / limit)


def in_vain(plan: SoakPlan) -> SoakPlan:
    """The same, with more wanted than the limit: what holds it then is the method."""
    return replace(plan, demand=1.1)


# The central check, for real.


async def central(seconds: float = 3.0, in_flight: int = 32) -> tuple[float, float]:
    """Orders a second when each asks a server of its own process over the log, and µs for one that goes alone.

    `in_flight` orders are under way at once, and the answer is nothing but a sum and a comparison.
    """
    with tempfile.TemporaryDirectory() as folder:
        embedded = Embedded(Path(folder), "process")
        server = await embedded.start()
        try:
            asker, keeper = [
                await connect(
                    server.url, name=name, declared=declared(1), user=server.user, password=server.password
                )
                for name in ("asker", "keeper")
            ]
            try:
                return await _measure(asker, keeper, seconds, in_flight)
            finally:
                await asker.close()
                await keeper.close()
        finally:
            await embedded.stop()


async def _measure(asker: NatsLog, keeper: NatsLog, seconds: float, in_flight: int) -> tuple[float, float]:
    used = 0

    def check(data: bytes) -> bytes:
        nonlocal used
        (m,) = decode(data).messages
        assert type(m) is LeaseGrant
        fits = used + m.granted <= FAR
        used += m.granted if fits else 0
        return b"1" if fits else b"0"

    served = keeper.serve("risk.check", check)
    question = pack([LeaseGrant(0, 0, 0, -1, 1)])
    for _ in range(100):  # until the server knows who serves
        try:
            await asker.request("risk.check", question)
            break
        except LogDown:
            await asyncio.sleep(0.02)
    alone = []
    for _ in range(300):
        began = time.perf_counter()
        assert await asker.request("risk.check", question) == b"1"
        alone.append(time.perf_counter() - began)
    count, end = 0, time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await asker.request("risk.check", question)
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(in_flight)))
    rate = count / (time.perf_counter() - began)
    served.close()
    return rate, sorted(alone)[len(alone) // 2] * 1e6
