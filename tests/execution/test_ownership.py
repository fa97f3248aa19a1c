"""Who writes which lane: the plan that every instance makes alike, and instances that come, go and race."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec
import pytest

from tidegate.execution.lane_plan import plan
from tidegate.execution.ownership import LONGEST, RENEW, RETRY, STUCK, TTL, Lease, Ownership
from tidegate.log.base import Conflict, KvEntry
from tidegate.sim.virtual_time import run


def loads(planned, live):
    return {name: sum(owner == name for owner in planned.values()) for name in live}


def test_free_lanes_go_to_whoever_has_least():
    planned = plan({0: "a", 1: "", 2: "", 3: "dead"}, {"a": (), "b": ()})
    assert planned == {0: "a", 1: "b", 2: "a", 3: "b"}


def test_one_that_joins_is_given_its_share_and_no_more_moves():
    owners = {n: "a" if n % 2 else "b" for n in range(8)}
    planned = plan(owners, {"a": (), "b": (), "c": ()})
    moved = {lane for lane in owners if planned[lane] != owners[lane]}
    assert loads(planned, "abc") == {"a": 3, "b": 3, "c": 2}
    assert len(moved) == 2
    assert all(planned[lane] == "c" for lane in moved)


def test_what_is_fair_already_stays():
    owners = {0: "a", 1: "a", 2: "b"}
    assert plan(owners, {"a": (), "b": ()}) == owners


def test_a_lane_goes_only_to_those_that_do_not_refuse_it():
    assert plan({0: "a", 1: "a"}, {"a": (0, 1), "b": (1,)}) == {0: "b"}
    assert plan({0: "", 1: "", 2: ""}, {"a": (0, 1, 2), "b": ()}) == {0: "b", 1: "b", 2: "b"}


def test_nobody_is_left_to_plan_for():
    assert plan({0: "a"}, {}) == {}


@pytest.mark.parametrize("seed", range(200))
def test_any_plan_is_fair_complete_settled_and_the_same_for_all(seed):
    rng = random.Random(seed)
    live = {name: tuple(n for n in range(12) if rng.random() < 0.15) for name in "abcde"[: rng.randint(1, 5)]}
    owners = {n: rng.choice(["", "dead", *live]) for n in range(rng.randint(1, 12))}
    planned = plan(owners, live)
    shuffled = list(live.items())
    rng.shuffle(shuffled)
    assert plan(dict(sorted(owners.items(), reverse=True)), dict(shuffled)) == planned
    for lane in owners:
        able = [name for name in live if lane not in live[name]]
        assert (planned.get(lane) in able) if able else lane not in planned
    assert plan(planned, live) == planned
    counts = loads(planned, live)
    for lane, owner in planned.items():
        for other in live:
            assert lane in live[other] or counts[owner] - counts[other] < 2


class Buckets:
    """The LEASE bucket in little: told changes after a delay of their own, as acknowledgements have theirs."""

    def __init__(self, rng=None):
        self.rng = rng or random.Random(0)
        self.entries: dict[str, KvEntry] = {}
        self.revision = 0
        self.watchers = []

    async def _way(self):
        await asyncio.sleep(self.rng.choice((0.001, 0.01, 0.1)))

    async def _write(self, key, value, revision):
        await self._way()
        last = self.entries[key].revision if key in self.entries and self.entries[key].value else 0
        if revision is not None and revision != last:
            raise Conflict(f"{key}: {last}, not {revision}")
        self.revision += 1
        entry = self.entries[key] = KvEntry(key, value, self.revision)
        for handler, prefix, delay in self.watchers:
            if key.startswith(prefix):
                asyncio.get_running_loop().call_later(delay, handler, entry)
        await self._way()
        return entry.revision

    async def put(self, key, value):
        return await self._write(key, value, None)

    async def update(self, key, value, revision):
        return await self._write(key, value, revision)

    async def delete(self, key, revision=None):
        await self._write(key, None, revision)

    def watch(self, handler, prefix=""):
        delay = self.rng.choice((0.001, 0.02, 0.2))
        self.watchers.append((handler, prefix, delay))
        for entry in list(self.entries.values()):
            if entry.key.startswith(prefix):
                asyncio.get_running_loop().call_later(delay, handler, entry)
        return self

    def close(self):
        pass


class Instance:
    """An instance that notes what it is told to write."""

    def __init__(self, name, bucket, lanes=range(4)):
        self.taken: list[tuple[int, int]] = []
        self.writes: set[int] = set()
        self.ownership = Ownership(name, f"{1:020d}-{name}", lanes, bucket, self._take, self._lose)

    async def _take(self, lane, epoch):
        self.taken.append((lane, epoch))
        self.writes.add(lane)
        await asyncio.sleep(0.02)

    async def _lose(self, lane, handover):
        self.writes.discard(lane)
        await asyncio.sleep(0.01)

    def die(self):
        self.ownership._task.cancel()


@pytest.mark.parametrize("seed", range(40))
def test_two_that_begin_at_once_share_the_lanes_whatever_comes_first(seed):
    """An acknowledgement that comes after the watch has told of a later owner must not undo it."""

    async def main():
        bucket = Buckets(random.Random(seed))
        a, b = Instance("a", bucket), Instance("b", bucket)
        await asyncio.gather(a.ownership.start(), b.ownership.start())
        await asyncio.sleep(5)
        assert sorted(map(len, (a.writes, b.writes))) == [2, 2]
        assert a.writes | b.writes == set(range(4))
        assert a.writes == a.ownership.mine
        assert b.writes == b.ownership.mine
        return True

    assert run(main())


SPOILED = (b'{"stream":"LANE_0","seq":5}', b"\xff\x00", b"[]", b'{"owner":"x","epoch":0}', b'{"epoch":9}')


@pytest.mark.parametrize("junk", SPOILED)
def test_what_is_no_lease_takes_no_lane_from_its_owner(junk):
    """What the log's server can be made to write under a lane's key."""

    async def main():
        bucket = Buckets()
        a, b = Instance("a", bucket), Instance("b", bucket)
        await a.ownership.start()
        await b.ownership.start()
        await asyncio.sleep(3)
        taken = [*a.taken], [*b.taken]
        for lane in range(4):
            await bucket.put(f"lane.{lane}", junk)
        await bucket.put("oms.a", junk)
        await asyncio.sleep(3)
        assert (a.taken, b.taken) == taken, "nothing changed hands"
        assert a.writes | b.writes == set(range(4))
        for lane, (lease, _) in a.ownership.leases.items():
            assert msgspec.json.decode(bucket.entries[f"lane.{lane}"].value, type=Lease) == lease
        assert a.ownership.spoiled == dict.fromkeys(range(4), 1)
        a.die()
        await asyncio.sleep(4)
        assert b.writes == set(range(4))
        return True

    assert run(main())


def test_the_lanes_of_one_that_died_are_taken_over_with_a_higher_epoch():
    async def main():
        loop = asyncio.get_running_loop()
        bucket = Buckets()
        a = Instance("a", bucket)
        await a.ownership.start()
        await asyncio.sleep(1)
        assert a.writes == set(range(4))
        b = Instance("b", bucket)
        await b.ownership.start()
        await asyncio.sleep(3)
        mine = set(a.writes)
        a.die()
        died = loop.time()
        while b.writes != set(range(4)):
            await asyncio.sleep(0.05)
        epochs = dict(b.taken)
        before = dict(a.taken)
        assert all(epochs[lane] > before[lane] for lane in mine)
        return loop.time() - died

    assert TTL - 0.5 < run(main()) < TTL + 1.5


def test_a_clean_leave_hands_all_over_at_once():
    async def main():
        loop = asyncio.get_running_loop()
        bucket = Buckets()
        a, b = Instance("a", bucket), Instance("b", bucket)
        await a.ownership.start()
        await b.ownership.start()
        await asyncio.sleep(3)
        left = loop.time()
        await a.ownership.stop()
        while b.writes != set(range(4)):
            await asyncio.sleep(0.01)
        assert not a.writes
        return loop.time() - left

    assert run(main()) < 1.5


def test_a_refused_lane_goes_to_the_other_and_a_broken_one_to_nobody():
    async def main():
        bucket = Buckets()
        a, b = Instance("a", bucket), Instance("b", bucket)
        await a.ownership.start()
        await b.ownership.start()
        await asyncio.sleep(3)
        lane = min(a.ownership.mine)
        a.writes.discard(lane)
        await a.ownership.refuse(lane)
        await asyncio.sleep(3)
        assert lane in b.writes
        other = min(b.ownership.mine - {lane})
        b.writes.discard(other)
        await b.ownership.broken(other, "an invariant")
        await asyncio.sleep(3)
        assert other not in a.writes | b.writes
        epoch = a.ownership.leases[other][0].epoch
        assert a.ownership.leases[other][0] == Lease("", epoch, "an invariant")
        assert await a.ownership.mend(other) == "an invariant"
        assert await a.ownership.mend(other) == ""
        await asyncio.sleep(3)
        assert other in a.writes | b.writes
        assert a.ownership.leases[other][0].epoch == epoch + 1
        return True

    assert run(main())


def test_an_older_life_of_the_same_name_gives_way():
    async def main():
        bucket = Buckets()
        old = Instance("a", bucket)
        await old.ownership.start()
        await asyncio.sleep(1)
        new = Instance("a", bucket)
        new.ownership.ident = f"{2:020d}-a"
        await new.ownership.start()
        await asyncio.sleep(5)
        assert old.ownership.usurped
        assert not old.writes
        assert new.writes == set(range(4))
        return True

    assert run(main())


def test_a_lane_that_could_not_be_taken_is_handed_on():
    """The lease is ours, the lane is not written: an instance that should have it must not wait for us for ever."""

    async def main():
        bucket = Buckets()
        a = Instance("a", bucket)
        take = a._take

        async def fails(lane, epoch):
            a.ownership.mine.discard(lane)  # as `OmsService` does when the log is away

        a.ownership._take = fails
        await a.ownership.start()
        await asyncio.sleep(1)
        b = Instance("b", bucket)
        await b.ownership.start()
        await asyncio.sleep(3)
        a.ownership._take = take
        await asyncio.sleep(1)
        assert a.writes | b.writes == set(range(4))
        assert len(b.writes) == 2
        return True

    assert run(main())


class Slow(Instance):
    """An instance whose taking and losing of a lane take their time. `events` is what all such instances did."""

    def __init__(self, name, bucket, cost, events, lanes=range(4)):
        super().__init__(name, bucket, lanes)
        self.cost, self.events = cost, events
        self.failed: list[tuple[int, str]] = []
        self.ownership._failed = lambda lane, why: self.failed.append((lane, why))

    async def _take(self, lane, epoch):
        self.events.append(("takes", lane, self.ownership.name))
        await asyncio.sleep(self.cost)
        self.taken.append((lane, epoch))
        self.writes.add(lane)

    async def _lose(self, lane, handover):
        await asyncio.sleep(self.cost)
        self.writes.discard(lane)
        self.events.append(("lost", lane, self.ownership.name))


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("cost", [0.9, 2.5, 20.0])
@pytest.mark.parametrize("seed", range(4))
def test_two_that_take_long_over_each_lane_take_each_once(seed, cost, lanes):
    """Together the lanes take far longer than the time after which one that does not renew is taken for dead."""

    async def main():
        bucket = Buckets(random.Random(seed))
        a, b = (Slow(name, bucket, cost, [], range(lanes)) for name in "ab")
        await asyncio.gather(a.ownership.start(), b.ownership.start())
        await asyncio.sleep(lanes * cost + 30)
        assert a.writes | b.writes == set(range(lanes))
        assert sorted(lane for lane, _ in a.taken + b.taken) == list(range(lanes))
        assert {epoch for _, epoch in a.taken + b.taken} == {1}
        assert len(a.writes) == len(b.writes)
        return True

    assert run(main())


def test_one_that_leaves_slowly_is_not_taken_for_dead_and_is_given_nothing_back():
    async def main():
        bucket, events = Buckets(), []
        a, b = (Slow(name, bucket, 3.0, events) for name in "ab")
        await a.ownership.start()
        await asyncio.sleep(30)
        assert a.writes == set(range(4))
        stopping = asyncio.create_task(a.ownership.stop())
        await b.ownership.start()
        await stopping
        await asyncio.sleep(30)
        assert b.writes == set(range(4))
        assert [epoch for _, epoch in b.taken] == [2] * 4
        for lane in range(4):
            assert [e for e in events if e[1] == lane] == [
                ("takes", lane, "a"),
                ("lost", lane, "a"),
                ("takes", lane, "b"),
            ]
        assert "oms.a" not in {key for key, entry in bucket.entries.items() if entry.value is not None}
        return True

    assert run(main())


async def fails(lane, epoch):
    raise ValueError("test: it cannot be")


async def hangs(lane, epoch):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("broken", "why"),
    [(fails, "ValueError: test: it cannot be"), (hangs, f"it got no further for {STUCK:g} s")],
)
def test_a_lane_that_cannot_be_taken_is_told_and_tried_again_and_keeps_no_other_waiting(broken, why):
    async def main():
        loop, bucket = asyncio.get_running_loop(), Buckets()
        a = Slow("a", bucket, 0.1, [])
        take, tries, whole = a._take, [], asyncio.Event()

        async def some(lane, epoch):
            if lane == 1 and not whole.is_set():
                tries.append(loop.time())
                await broken(lane, epoch)
            await take(lane, epoch)

        a.ownership._take = some
        await a.ownership.start()
        silent = asyncio.Event()
        heard = [loop.time()]

        def beat(entry):
            if loop.time() - heard[0] >= TTL:
                silent.set()
            heard[0] = loop.time()

        bucket.watch(beat, "oms.")
        await asyncio.sleep(60)
        assert a.writes == {0, 2, 3}
        assert a.ownership.failures == {1: f"lane 1 could not be taken: {why}"}
        assert a.failed[0] == (1, f"lane 1 could not be taken: {why}; it is tried again in {RETRY:g} s")
        await asyncio.sleep(900)
        pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
        assert len(a.failed) in (len(tries), len(tries) - 1)
        assert all(later > earlier - 1 for earlier, later in itertools.pairwise(pauses)), "ever longer"
        assert LONGEST <= pauses[-1] < LONGEST + STUCK + 2
        whole.set()
        await asyncio.sleep(LONGEST + STUCK + 2)
        assert a.writes == set(range(4))
        assert a.ownership.failures == {}
        assert not silent.is_set(), "it showed signs of life all the time"
        return True

    assert run(main())


def test_a_lane_that_one_cannot_take_goes_to_another_that_can():
    async def main():
        bucket = Buckets()
        a, b = (Slow(name, bucket, 0.1, []) for name in "ab")
        a.ownership._take = fails
        await asyncio.gather(a.ownership.start(), b.ownership.start())
        await asyncio.sleep(120)
        assert b.writes == set(range(4))
        assert a.failed
        return True

    assert run(main())


def test_a_lane_may_take_as_long_as_it_gets_on():
    async def main():
        a = Slow("a", Buckets(), 0.0, [])

        async def long(lane, epoch):
            for _ in range(10):
                await asyncio.sleep(STUCK - 1)
                a.ownership.moved()
            a.writes.add(lane)

        a.ownership._take = long
        await a.ownership.start()
        await asyncio.sleep(10 * STUCK)
        assert a.writes == {0}
        assert not a.failed
        return True

    assert run(main())


@pytest.mark.parametrize("handover", [True, False])
def test_a_lane_that_cannot_be_lost_well_is_given_back_all_the_same(handover):
    async def main():
        bucket = Buckets()
        a, b = (Slow(name, bucket, 0.1, []) for name in "ab")
        a.ownership._lose = hangs if handover else fails
        await a.ownership.start()
        await asyncio.sleep(5)
        await b.ownership.start()
        await asyncio.sleep(3 * STUCK)
        assert len(b.writes) == 2
        assert {lane for lane, _ in a.failed} == b.writes
        return True

    assert run(main())


def test_one_that_settles_nothing_any_more_is_dead_to_the_others_and_says_why():
    async def main():
        bucket = Buckets()
        a, b = (Slow(name, bucket, 0.1, []) for name in "ab")
        await asyncio.gather(a.ownership.start(), b.ownership.start())
        await asyncio.sleep(5)
        assert len(a.writes) == 2
        a.ownership.leases = None  # a mistake of ours, whatever it is
        await asyncio.sleep(RENEW + TTL + 3)
        assert b.writes == set(range(4))
        assert a.ownership.ended.startswith("lanes are not shared out any more: ")
        assert a.failed == [(-1, a.ownership.ended)]
        return True

    assert run(main())
