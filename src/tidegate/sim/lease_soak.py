"""`python -m tidegate.sim.lease_soak --orders 10_000_000 --seed N`: lanes, leases and a faulty network on virtual time.

Lanes trade at full speed on what they were lent; messages between them and the allocator are lost, doubled, late and out
of order; lanes and allocators are replaced while the ones before them go on; limits are lowered and raised. After
every order it is checked that nobody uses more than was lent to it, and all together no more than is allowed.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tidegate.model.time import MS, SECOND
from tidegate.risk.leases.holder import HolderPolicy
from tidegate.risk.leases.holding import UNDER_WAY, PoolPolicy
from tidegate.risk.leases.lease import Key
from tidegate.sim import lease_soak_kernel as k
from tidegate.sim.lease_soak_world import (
    FIELDS,
    Entry,
    LeaseStream,
    SoakAllocator,
    SoakLane,
    Truth,
    Writer,
    keys_of,
)

US = 1_000
BEGIN = 20 * MS
"""When lanes begin to trade: the first leases have come."""


@dataclass(frozen=True)
class SoakPlan:
    """What is played. `demand` is the part of the firm's value limit that lanes would use together."""

    orders: int = 10_000_000
    seed: int = 1
    lanes: int = 6
    batch: int = 200
    """Steps of a lane in a millisecond."""
    faults: bool = True
    demand: float = 1.0
    limits: tuple[int, ...] = (300, 120_000, 900, 900, 900, 900)
    """The firm's: open orders, their value, and lots long and short of each instrument."""
    desk: float = 2 / 3
    """A desk's limits, as parts of the firm's."""
    delay: tuple[int, int] = (100 * US, 400 * US)
    """One way between a lane and the allocator, ns."""
    wander: int = 50 * MS
    """How often demand moves from one lane to another."""
    pool: PoolPolicy = field(default_factory=PoolPolicy)
    holder: HolderPolicy = field(default_factory=HolderPolicy)


@dataclass
class Soaked:
    """What it came to."""

    plan: SoakPlan
    orders: int = 0
    steps: int = 0
    """Orders, and ends of orders."""
    passed: int = 0
    refused: int = 0
    falsely: int = 0
    """Refused though the sum had room."""
    counts: Counter[str] = field(default_factory=Counter)
    virtual: float = 0.0
    real: float = 0.0
    """Seconds."""
    utilisation: float = 0.0
    """Of the firm's value limit, on average."""
    violation: str = ""


class LeaseSoak:
    """One run."""

    def __init__(self, plan: SoakPlan) -> None:
        self.plan, self.rng = plan, random.Random(f"{plan.seed} leases")
        self.done = Soaked(plan)
        self.now = 0
        desks = {lane: 1 + 2 * lane // plan.lanes for lane in range(plan.lanes)}
        self.shared = {0: tuple(range(plan.lanes))} | {
            desk: tuple(n for n, at in desks.items() if at == desk) for desk in (1, 2)
        }
        self.truth = Truth(3)
        self.limits: dict[Key, int] = {}
        for scope in (0, 1, 2):
            for n, key in enumerate(keys_of(scope)):
                self.limits[key] = int(plan.limits[n] * (plan.desk if scope else 1))
        self.place = {key: (key.scope, n % FIELDS) for n, key in enumerate(self.limits)}
        self.stream = LeaseStream()
        self.logs: list[list[Entry]] = [[] for _ in desks]
        self.bases = [SoakLane(n, desk, plan.seed) for n, desk in desks.items()]
        """A snapshot of each lane; its log begins there."""
        self.writers = [Writer(lane.copy(), plan.holder) for lane in self.bases]
        self.zombies: deque[tuple[SoakLane, int]] = deque(maxlen=8)
        self.alloc = SoakAllocator(self.stream, self.shared, self.limits, plan.pool)
        self.before: deque[SoakAllocator] = deque(maxlen=2)
        self.shares = [1.0] * plan.lanes
        self.debts: set[Key] = set()
        self._set_ceilings()
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()
        self._deciding = False
        self._used = 0.0

    # Time and the network.

    def later(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Let it happen after `delay` ns."""
        heapq.heappush(self._heap, (self.now + delay, next(self._count), act, args))

    def carry(self, act: Callable[..., None], *args: Any) -> None:
        """A message on its way: late, lost or doubled."""
        if not self.plan.faults:
            self.later(self.rng.randint(*self.plan.delay), act, *args)
            return
        fate = self.rng.random()
        if fate < 0.02:
            self.done.counts["lost"] += 1
            return
        for _ in range(2 if fate < 0.04 else 1):
            slow = self.rng.random() < 0.02
            self.later(self.rng.randint(*((MS, 200 * MS) if slow else self.plan.delay)), act, *args)

    def run(self) -> Soaked:
        """Play until so many orders and ends of orders have been."""
        began, plan = time.perf_counter(), self.plan
        for lane in range(plan.lanes):
            self.later(0, self._look, lane)
            self.later(BEGIN + lane * MS // plan.lanes, self._trade, lane)
        self.later(plan.wander, self._wander)
        self.later(20 * MS, self._repeat)
        if plan.faults:
            for act, pause in (
                (self._crash, 30),
                (self._replace, 400),
                (self._change, 150),
                (self._haunt, 20),
            ):
                self.later(pause * MS, self._fault, act, pause)
        while self.done.orders < plan.orders and not self.done.violation:
            self.now, _, act, args = heapq.heappop(self._heap)
            act(*args)
        for writer in self.writers:
            counts = writer.lane.counts
            self.done.passed += int(counts[k.PASSED])
            self.done.refused += int(counts[k.REFUSED])
            self.done.falsely += int(counts[k.FALSELY])
        self.done.virtual, self.done.real = self.now / SECOND, time.perf_counter() - began
        self.done.utilisation = self._used / max(1, self.done.steps) / plan.limits[1]
        return self.done

    # Lanes.

    def _trade(self, lane: int) -> None:
        plan = self.plan
        whole, used = plan.demand * plan.limits[1], int(self.writers[lane].lane.used[1])
        # Who wants more gets it as others come down: so all use as much together as was planned.
        room = max(0, int(whole - self.truth.totals[0, 1]))
        demand = min(int(whole * self.shares[lane] / sum(self.shares)), used + room)
        counts = self.writers[lane].lane.counts
        before = int(counts[k.PASSED] + counts[k.REFUSED])
        self._append(lane, ("orders", plan.batch, demand, max(1, plan.limits[1] // 200)))
        self.done.orders += int(counts[k.PASSED] + counts[k.REFUSED]) - before
        self.done.steps += plan.batch
        self._used += plan.batch * float(self.truth.totals[0, 1])
        self._look(lane)
        self.later(MS, self._trade, lane)

    def _append(self, lane: int, entry: Entry) -> int:
        """An entry comes into a lane's log, and its writer folds it; its place."""
        writer = self.writers[lane]
        self.logs[lane].append(entry)
        key, bad = writer.lane.fold(entry, self.truth)
        if bad >= 0:
            self._fail(
                f"lane {lane} after step {bad} of entry {writer.lane.at}: {self.truth.totals.tolist()} used"
            )
        if key is not None:
            writer.told(key)
        return writer.lane.at

    def _look(self, lane: int) -> None:
        reports, surplus = self.writers[lane].look(self.now)
        for report, seq in reports:
            self.carry(self._reported, report, seq)
        for key, amount in surplus:
            self.done.counts["offers"] += 1
            self.later(self.rng.randint(*self.plan.delay), self._return, lane, key, amount)

    def _return(self, lane: int, key: Key, amount: int) -> None:
        self._append(lane, ("return", key, amount))
        self._look(lane)

    def _wander(self) -> None:
        """One lane wants twice as much, another half."""
        up, down = self.rng.sample(range(self.plan.lanes), 2)
        self.shares[up], self.shares[down] = min(4.0, 2 * self.shares[up]), max(0.25, self.shares[down] / 2)
        self.later(self.plan.wander, self._wander)

    # The allocator.

    def _reported(self, report: Any, seq: int) -> None:
        self.stream.report(report, seq)
        self.done.counts["reports"] += 1
        self._settle_debts()
        self._stir()

    def _stir(self) -> None:
        if not self._deciding:
            self._deciding = True
            self.later(self.rng.randint(*self.plan.delay), self._decide)

    def _decide(self) -> None:
        self._deciding = False
        alloc = self.alloc
        alloc.read()
        found = alloc.decide(self.now)
        if found is None:
            raise AssertionError("the allocator that acts was fenced")
        for grant in found.grants:
            self.done.counts["grants"] += 1
            self.carry(self._granted, *grant)
        for recall in found.recalls:
            self.done.counts["recalls"] += 1
            alloc.pool.recalled(recall.lane, recall.key, UNDER_WAY, self.now)
            self.later(self.rng.randint(*self.plan.delay), self._recalled, alloc, *recall)

    def _granted(self, lane: int, key: Key, total: int) -> None:
        self._append(lane, ("grant", key, total))
        self._look(lane)

    def _recalled(self, alloc: SoakAllocator, lane: int, key: Key, amount: int) -> None:
        stored = not self.plan.faults or self.rng.random() > 0.02
        place = self._append(lane, ("return", key, amount)) if stored else 0
        alloc.pool.recalled(lane, key, place, self.now)
        self._look(lane)

    def _repeat(self) -> None:
        """What is not confirmed is told again; what waits for time is decided."""
        for grant in self.alloc.pool.unconfirmed():
            self.carry(self._granted, *grant)
        if self.alloc.pool.stirred:
            self._stir()
        self.later(20 * MS, self._repeat)

    # Faults.

    def _fault(self, act: Callable[[], None], pause: int) -> None:
        act()
        self.done.counts[act.__name__.lstrip("_")] += 1
        self.later(self.rng.randint(pause * MS // 2, pause * MS * 2), self._fault, act, pause)

    def _crash(self) -> None:
        """A lane's writer dies; the next folds the log, and comes to the same. The dead one may be only asleep."""
        lane = self.rng.randrange(self.plan.lanes)
        old, successor = self.writers[lane].lane, self.bases[lane]
        begin = successor.at
        self.zombies.append((successor.copy(), begin))
        for entry in self.logs[lane]:
            successor.fold(entry)
        if successor.state() != old.state() or successor.at != old.at:
            self._fail(f"lane {lane}: its log gives another state than its writer had")
        successor.counts[:] = old.counts
        self.logs[lane].clear()
        self.writers[lane] = Writer(successor.copy(), self.plan.holder)
        self._look(lane)

    def _haunt(self) -> None:
        """A writer that was replaced long ago says what it knew."""
        if self.zombies:
            lane, _ = self.rng.choice(self.zombies)
            for key in lane.keys:
                wanted = self.rng.randrange(100)
                self.carry(self._reported, lane.report(key, wanted, wanted), lane.at)
        for zombie in self.before:  # and so does an allocator
            found = zombie.pool.decide(self.now + 10 * SECOND)
            if found.grants and zombie.decide(self.now + 10 * SECOND) is not None:
                self._fail("an allocator that was replaced could grant")
            for grant in zombie.pool.unconfirmed()[:3]:
                self.carry(self._granted, *grant)

    def _replace(self) -> None:
        """Another allocator begins, by the log alone."""
        self.before.append(self.alloc)
        self.alloc = SoakAllocator(self.stream, self.shared, self.limits, self.plan.pool)
        self._settle_debts()

    def _change(self) -> None:
        """People lower or raise a limit."""
        key = self.rng.choice(list(self.limits))
        whole = self.plan.limits[self.place[key][1]]
        self.limits[key] = int(whole * (self.plan.desk if key.scope else 1) * self.rng.uniform(0.4, 1.2))
        self.alloc.read()
        self.alloc.pool.set_limits(self.limits)
        self._set_ceilings()
        self._stir()

    def _set_ceilings(self) -> None:
        """What is in force: a lowered limit as far as it has been returned."""
        for key, limit in self.limits.items():
            lent = self.stream.outstanding(key, self.plan.lanes)
            self.truth.limits[self.place[key]] = limit
            self.truth.ceilings[self.place[key]] = max(limit, lent)
            if lent > limit:
                self.debts.add(key)

    def _settle_debts(self) -> None:
        for key in list(self.debts):
            lent, limit = self.stream.outstanding(key, self.plan.lanes), self.limits[key]
            self.truth.ceilings[self.place[key]] = max(
                limit, min(lent, int(self.truth.ceilings[self.place[key]]))
            )
            if lent <= limit:
                self.debts.discard(key)

    def _fail(self, text: str) -> None:
        self.done.violation = self.done.violation or f"at {self.now / SECOND:.4f} s: {text}"


def calm(demand: float, share: float, orders: int = 100_000, seed: int = 3, batch: int = 5) -> SoakPlan:
    """Four lanes of 1,000 × `batch` steps a second each under one limit of some 5,000 orders, of which they use `demand`
    together; every 100 ms demand moves from one lane to another. No faults: for measurements."""
    far = 1 << 40
    return SoakPlan(
        orders, seed, lanes=4, batch=batch, faults=False, demand=demand, limits=(far, 2_700_000, far, far, far, far),
        desk=10.0, wander=100 * MS, pool=PoolPolicy(share=share),
    )  # fmt: skip


def main() -> int:
    """0: nothing was overshot; 1: something was."""
    ask = argparse.ArgumentParser(prog="python -m tidegate.sim.lease_soak", description=__doc__)
    ask.add_argument("--orders", type=int, default=10_000_000)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--lanes", type=int, default=6)
    chosen = ask.parse_args()
    done = LeaseSoak(SoakPlan(orders=chosen.orders, seed=chosen.seed, lanes=chosen.lanes)).run()
    counts = done.counts
    print(
        f"seed {chosen.seed}: {done.orders:,} orders on {chosen.lanes} lanes, {done.passed:,} passed, "
        f"{done.refused:,} refused, {done.steps:,} steps in {done.virtual:.1f} virtual seconds and {done.real:.1f} real ones; "
        f"{counts['grants']:,} grants, {counts['recalls']:,} recalls, {counts['offers']:,} offers, {counts['lost']:,} "
        f"messages lost; {counts['crash']} lanes and {counts['replace']} allocators replaced, {counts['change']} limits "
        f"changed"
    )
    print(f"OVERSHOOT {done.violation}" if done.violation else "no overshoot after any of them")
    return 1 if done.violation else 0


if __name__ == "__main__":
    sys.exit(main())
