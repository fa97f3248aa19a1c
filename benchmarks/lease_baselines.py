"""What leases are compared with, on the very demand of `sim.lease_soak.calm`: fixed parts, a sum that is told late and
trips, and a central check by real requests and replies."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from tidegate.log.base import LogDown
from tidegate.log.embedded import Embedded
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared
from tidegate.model.time import MS, SECOND
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

UNDER_WAY, TOGETHER = 32, 20
"""Questions under way at once, and orders in one question: as many as a lane's writer takes from its log at a time."""


@dataclass
class Central:
    """Orders a second that one central check answers: `alone`, where who asks waits for each answer; with `UNDER_WAY`
    questions under way, of one order and of `TOGETHER`."""

    alone: float
    under_way: float
    together: float


async def central(seconds: float = 3.0) -> Central:
    """Each order is asked for over the log's server. The keeper has a process of its own, as the asker has and the
    server, and answers with nothing but a sum and a comparison: no other central check could be quicker at that."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = Embedded(Path(folder), "process")
        server = await embedded.start()
        keeper = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            server.url,
            env=os.environ | {"KEEPER": f"{server.user}:{server.password}"},
        )
        try:
            asker = await _connect(server.url, server.user, server.password, "asker")
            try:
                return await _measure(asker, seconds)
            finally:
                await asker.close()
        finally:
            keeper.terminate()
            await keeper.wait()
            await embedded.stop()


async def _connect(url: str, user: str, password: str, name: str) -> NatsLog:
    return await connect(url, name=name, declared=declared(1), user=user, password=password)


async def keep(url: str, user: str, password: str) -> None:
    """The keeper's process, until it is ended: one number for the whole firm."""
    used, log = 0, await _connect(url, user, password, "keeper")

    def check(data: bytes) -> bytes:
        nonlocal used
        answers = bytearray()
        for (need,) in struct.iter_unpack("<q", data):
            fits = used + need <= FAR
            used += need if fits else 0
            answers.append(fits)
        return bytes(answers)

    log.serve("risk.check", check)
    await asyncio.Event().wait()


async def _measure(asker: NatsLog, seconds: float) -> Central:
    one = struct.pack("<q", 1)
    for _ in range(200):  # until the keeper has begun
        try:
            await asker.request("risk.check", one, timeout=0.5)
            break
        except LogDown:
            await asyncio.sleep(0.05)
    alone = []
    for _ in range(2_000):
        began = time.perf_counter()
        assert await asker.request("risk.check", one) == b"\x01"
        alone.append(time.perf_counter() - began)
    return Central(
        1 / sorted(alone)[len(alone) // 2],
        await _rate(asker, one, 1, seconds),
        await _rate(asker, one * TOGETHER, TOGETHER, seconds),
    )


async def _rate(asker: NatsLog, question: bytes, orders: int, seconds: float) -> float:
    count, began = 0, time.perf_counter()

    async def ask() -> None:
        nonlocal count
        while time.perf_counter() < began + seconds:
            assert len(await asker.request("risk.check", question)) == orders
            count += orders

    await asyncio.gather(*(ask() for _ in range(UNDER_WAY)))
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    who, _, secret = os.environ["KEEPER"].partition(":")
    uvloop.run(keep(sys.argv[1], who, secret))
