"""The writer of a lane: it takes over, is fenced, keeps snapshots, and puts aside what it cannot read."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re

import msgspec
import pytest
from risk.halting import signed
from writer_world import World, run

from tidegate.execution import lane_log
from tidegate.execution.lane_log import DeadLetter, LaneKind, fold
from tidegate.execution.lane_snapshot import header, load, save
from tidegate.execution.signed_ear import Answer
from tidegate.execution.state import LaneBroken
from tidegate.execution.take_up import SUBJECT
from tidegate.execution.writer import Unusable
from tidegate.log.base import Conflict, LogDown
from tidegate.model.messages import Funding, LaneEpoch, SendNew, Tick
from tidegate.model.order import OrdStatus
from tidegate.model.wire import Envelope, Newer, Unreadable, decode, encode
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.virtual_process import current


def agree(world, lane=0):
    """Every event has been told, once, in order; the lane of that fold."""
    events, made = world.due(lane)
    assert world.told(lane) == events
    return made


def sends(world):
    """(who, epoch, ClOrdID) of every new order that was sent."""
    return [
        (name, envelope.epoch, m.cl_ord_id)
        for name, envelope in world.sent
        for m in envelope.messages
        if type(m) is SendNew
    ]


def test_a_successor_tells_what_was_not_told_and_sends_only_what_is_its_own():
    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(5)
        await asyncio.sleep(0.1)
        world.kill("a")
        await world.orders(3)
        b = await world.writer("b", 2)
        await world.orders(2)
        await asyncio.sleep(0.1)
        assert agree(world).state_hash() == b.lane.state_hash()
        found = sends(world)
        assert [name for name, _, _ in found] == ["a"] * 5 + ["b"] * 2, "what came between was sent by nobody"
        assert {epoch for name, epoch, _ in found if name == "b"} == {2}
        return True

    assert run(main())


def test_a_successor_from_a_snapshot_does_not_tell_again_what_was_told_after_it():
    async def main():
        world = World()
        await world.writer("a", 1, every=20)
        await world.orders(30)
        await asyncio.sleep(0.1)
        found = await header(world.server.client("probe").bucket("SNAP"), 0)
        assert 20 <= found.seq < 31
        world.kill("a")
        await world.writer("b", 2)
        await asyncio.sleep(0.1)
        agree(world)
        return True

    assert run(main())


def test_a_zombie_adds_no_event_and_sends_nothing_that_is_its_successor_s():
    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(3)
        await asyncio.sleep(0.1)
        world.pause("a")
        before = world.server.streams["LANE_0"].last
        await world.orders(4)
        await world.writer("b", 2)
        await asyncio.sleep(0.5)
        world.resume("a")
        await asyncio.sleep(0.5)
        await world.orders(2)
        await asyncio.sleep(0.5)
        agree(world)
        assert [(name, how) for name, _, how, _ in world.stops] == [("a", "fenced")]
        mark = next(
            e.seq for e in world.server.streams["LANE_0"].entries
            if e.seq > before and type(decode(e.data).messages[0]) is LaneEpoch
        )  # fmt: skip
        for name, envelope in world.sent:
            assert (name == "a") == (envelope.seq < mark)
        numbers = [key for _, _, key in sends(world)]
        assert len(numbers) == len(set(numbers))
        return True

    assert run(main())


@pytest.mark.parametrize("behind", range(1, 6))
def test_a_zombie_s_appends_fit_the_stream_at_no_place(behind):
    """It is cut off with several events untold; its successor has added just so many entries that one might fit."""

    async def main():
        world = World()
        a = await world.writer("a", 1)
        await world.orders(3)
        await asyncio.sleep(0.1)
        world.pause("a")
        await world.orders(behind)
        await world.writer("b", 2)
        for _ in range(3):
            await world.orders(1)
            await asyncio.sleep(0.05)
        world.resume("a")
        await asyncio.sleep(1)
        agree(world)
        assert a.counts.requests >= 3
        return True

    assert run(main())


def test_an_older_claim_does_not_mark_its_epoch_after_a_younger_one_s():
    async def main():
        world = World()
        await world.writer("b", 2)
        with pytest.raises(Conflict):
            await world.writer("a", 1)
        marks = [entry for entry in world.server.streams["LANE_0"].entries if entry.subject == "lane.0.epoch"]
        assert len(marks) == 1
        await world.orders(2)
        await asyncio.sleep(0.1)
        agree(world)
        assert {name for name, _, _ in sends(world)} == {"b"}
        return True

    assert run(main())


def test_a_snapshot_and_the_log_after_it_give_the_state_of_the_whole_log():
    async def main():
        world = World()
        await world.writer("a", 1, every=15)
        await world.orders(40)
        await asyncio.sleep(0.1)
        world.kill("a")
        b = await world.writer("b", 2)
        assert b.counts.folded_at_start < 20
        await world.orders(2)
        await asyncio.sleep(0.1)
        assert b.lane.state_hash() == agree(world).state_hash()
        return True

    assert run(main())


def test_no_snapshot_is_ahead_of_the_events_that_were_told():
    """A successor that began there would not tell them."""

    async def main():
        world = World()
        a = await world.writer("a", 1, every=10)
        await world.orders(2)
        store = world.server.store

        def refusing(subject, *more):
            if subject == "evt.0":
                raise LogDown("test: this subject is away")
            return store(subject, *more)

        world.server.store = refusing
        await world.orders(12)
        await asyncio.sleep(0.5)
        assert a.seq >= 14
        world.kill("a")
        world.server.store = store
        b = await world.writer("b", 2)
        await world.orders(2)
        await asyncio.sleep(0.1)
        assert b.lane.state_hash() == agree(world).state_hash()
        return True

    assert run(main())


def test_two_writers_that_keep_snapshots_at_once_do_not_mix_them():
    async def main():
        world = World()
        writer = await world.writer("a", 1)
        await world.orders(5)
        await asyncio.sleep(0.1)
        early, at = writer.lane.snapshot(), writer.seq
        await world.orders(5)
        await asyncio.sleep(0.1)
        late, then = writer.lane.snapshot(), writer.seq
        config = world.plant.kind.config
        for first, second in (("x", "y"), ("y", "x")):
            buckets = {name: world.process(name)[1].bucket("SNAP") for name in (first, second)}
            works = [save(buckets["x"], 0, early, at, config), save(buckets["y"], 0, late, then, config)]
            await asyncio.gather(*works, return_exceptions=True)
            found = await header(buckets["x"], 0)
            assert await load(buckets["x"], 0, found) == {at: early, then: late}[found.seq]
        return True

    assert run(main())


def test_what_cannot_be_read_is_put_aside_with_its_reason_and_the_lane_goes_on():
    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(2)
        seq = world.put(data=b"\xc1 nonsense")
        await world.orders(2)
        await asyncio.sleep(0.1)
        (letter,) = world.letters()
        assert (letter.stream, letter.seq, letter.data) == ("LANE_0", seq, b"\xc1 nonsense")
        assert letter.reason
        assert len(sends(world)) == 4
        agree(world)
        return True

    assert run(main())


@pytest.mark.parametrize("read", [False, True])
def test_a_dead_letter_is_written_once_though_its_finder_dies(read):
    """`read`: the first writer had put it aside already."""

    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(2)
        if not read:
            world.server.clients["a"].faults.lose = 1.0
        world.put(data=b"\xc1 nonsense")
        await asyncio.sleep(0.1)
        assert len(world.letters()) == read
        world.kill("a")
        await world.writer("b", 2)
        await asyncio.sleep(0.1)
        assert len(world.letters()) == 1
        return True

    assert run(main())


def test_an_entry_of_a_newer_version_stops_this_writer_not_the_lane():
    async def main():
        world = World()
        writer = await world.writer("a", 1)
        await world.orders(2)
        world.put(data=encode(Envelope([], version=2)))
        await world.orders(1)
        await asyncio.sleep(0.1)
        ((_, lane, how, why),) = world.stops
        assert (lane, how) == (0, "refused")
        assert "version 2" in why
        assert writer.lane.state.seq == 2, "nothing after it was applied"
        with pytest.raises(Unusable, match="version 2"):
            await world.writer("b", 2)
        return True

    assert run(main())


def other(kind, config="other"):
    return LaneKind(config, kind.make, kind.restore)


def test_another_configuration_is_refused_until_the_lane_was_closed():
    async def main():
        world = World()
        a = await world.writer("a", 1)
        await world.orders(3)
        await asyncio.sleep(0.1)
        world.kill("a")
        with pytest.raises(Unusable, match="another configuration"):
            await world.writer("b", 2, other(world.plant.kind))
        c = await world.writer("c", 3)
        await world.orders(1)
        await asyncio.sleep(0.1)
        await world.inside(world.processes["c"], c.stop(handover=True))
        d = await world.writer("d", 4, other(world.plant.kind))
        assert d.counts.folded_at_start == 1, "its own mark"
        assert len(d.lane.open_orders()) == len(a.lane.open_orders()) + 1
        return True

    assert run(main())


def test_a_log_that_lost_its_beginning_needs_a_snapshot():
    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(3)
        world.kill("a")
        world.server.trim("LANE_0", 3)
        with pytest.raises(Unusable, match="begins at entry 3"):
            await world.writer("b", 2)
        return True

    assert run(main())


# The service.


def breaking(kind):
    """A configuration whose lanes break at a funding."""

    def make(number):
        lane = kind.make(number)

        def broken(_state, _message):
            raise LaneBroken("test: it breaks here")

        lane._facts = {**lane._facts, Funding: broken}
        return lane

    return LaneKind(kind.config, make, kind.restore)


def test_a_broken_lane_is_written_by_nobody_until_a_person_has_looked_and_the_other_goes_on():
    async def main():
        world = World(lanes=2)
        kind = breaking(world.plant.kind)
        a, b = await world.oms("oms-a", kind), await world.oms("oms-b", kind)
        await asyncio.sleep(3)
        world.put(Funding(world.clock.now(), 0, 1, 1), lane=0, kind="sys")
        await asyncio.sleep(5)
        assert set(a.writers) | set(b.writers) == {1}
        for service in (a, b):
            health = service.health()
            assert not health["ok"]
            assert "lane 0 is broken: entry 2: test: it breaks here" in health["why"]
        assert "lane_broken" in world.alerts()
        world.order(lane=1)
        await asyncio.sleep(0.1)
        assert [event.status for event in world.told(1)] == [OrdStatus.DENIED], (
            "no risk service lends it limits here"
        )
        return True

    assert run(main())


def test_a_lane_whose_taking_fails_unforeseen_is_told_and_unwell_and_the_other_is_written():
    async def main():
        world = World(lanes=2)
        made, whole = world.plant.kind, asyncio.Event()

        def make(number):
            if number == 0 and not whole.is_set():
                raise RuntimeError("test: no such lane")
            return made.make(number)

        a = await world.oms("oms-a", LaneKind(made.config, make, made.restore))
        await asyncio.sleep(4)
        assert set(a.writers) == {1}
        health = a.health()
        assert not health["ok"]
        assert health["why"] == "lane 0 could not be taken: RuntimeError: test: no such lane"
        (alert,) = [e for e in world.server.streams["ALERT"].entries if e.subject == "alert.lane_not_taken"]
        body = msgspec.json.decode(alert.data)
        assert (body["scope"], body["severity"]) == ("lane.0", "critical")
        assert body["text"] == f"{health['why']}; it is tried again in 5 s"
        whole.set()
        await asyncio.sleep(10)
        assert set(a.writers) == {0, 1}
        assert "could not be taken" not in a.health()["why"]
        return True

    assert run(main())


def test_a_service_whose_lanes_are_not_shared_out_any_more_is_not_well():
    async def main():
        world = World()
        a = await world.oms("oms-a")
        await asyncio.sleep(2)
        a._ownership.refused = None  # a mistake of ours, whatever it is
        await asyncio.sleep(2)
        assert a.health()["why"].startswith("lanes are not shared out any more: TypeError: ")
        assert "lanes_not_shared" in world.alerts()
        return True

    assert run(main())


def asked(world, signed):
    """The answer to a command that takes a lane up."""
    process, log = world.process("person")

    async def ask():
        return msgspec.json.decode(await log.request(SUBJECT, signed.encode()), type=Answer)

    return world.inside(process, ask())


def test_two_people_take_a_broken_lane_up_and_one_that_breaks_again_says_so():
    async def main():
        world = World(lanes=2)
        a = await world.oms("oms-a", breaking(world.plant.kind))
        await asyncio.sleep(3)
        now = world.clock.now
        assert await asked(world, signed("take-up", "lane:0", "ann", now(), "bob")) == Answer(
            "lane:0 is not broken"
        )
        world.put(Funding(now(), 0, 1, 1), lane=0, kind="sys")
        await asyncio.sleep(1)
        epoch = a._ownership.leases[0][0].epoch
        alone = await asked(world, signed("take-up", "lane:0", "ann", now()))
        assert alone.error.startswith("NEEDS_TWO_PEOPLE")
        other = await asked(world, signed("take-up", "lane:7", "ann", now(), "bob"))
        assert other.error == "no lane is called 'lane:7'; there are lane:0, lane:1"
        assert set(a.writers) == {1}
        done = await asked(world, signed("take-up", "lane:0", "ann", now(), "bob"))
        assert "it breaks here" in done.was
        await asyncio.sleep(2)
        lease = a._ownership.leases[0][0]
        assert lease.epoch == epoch + 1
        assert "it breaks here" in lease.broken
        b = await world.oms("oms-b")  # a version that can follow the entry
        await a.stop()
        assert (await asked(world, signed("take-up", "lane:0", "ann", now(), "bob"))).was
        await asyncio.sleep(3)
        assert set(b.writers) == {0, 1}
        outcomes = [note[3].partition(":")[0] for note in world.notes if note[1] == "take-up"]
        assert outcomes == ["refused", "refused", "refused", "done", "done"]
        return True

    assert run(main())


def test_a_newer_version_s_entry_hands_the_lane_to_the_instance_that_reads_it(monkeypatch):
    """Old and new side by side: the old one refuses the lane, the new one takes it over where it stands."""

    def reads(data):
        try:
            return decode(data)
        except Newer:
            if current() is not None and current().name == "oms-new":
                return Envelope([])
            raise

    monkeypatch.setattr(lane_log, "decode", reads)

    async def main():
        world = World()
        old = await world.oms("oms-a")
        await asyncio.sleep(1)
        assert set(old.writers) == {0}
        newer = await world.oms("oms-new")
        await world.orders(2)
        world.put(data=encode(Envelope([], version=2)))
        await world.orders(2)
        await asyncio.sleep(5)
        assert (set(old.writers), set(newer.writers)) == (set(), {0})
        assert "lane_refused" in world.alerts()
        world.order()
        await asyncio.sleep(0.5)
        names = [name for name, _, _ in sends(world)]
        assert names == ["oms-a", "oms-a", "oms-new"]
        numbers = [key for _, _, key in sends(world)]
        assert len(numbers) == len(set(numbers))
        assert newer.writers[0].lane.state.seq == 5
        return True

    assert run(main())


def test_lanes_move_to_an_instance_that_joins_and_none_is_written_twice():
    async def main():
        world = World(lanes=2)
        a = await world.oms("oms-a")
        await asyncio.sleep(2)
        work = asyncio.create_task(world.orders(100, lane=1, pause=0.02))
        await world.orders(50, lane=0, pause=0.02)
        b = await world.oms("oms-b")
        await work
        await asyncio.sleep(3)
        assert len(a.writers) == len(b.writers) == 1
        for lane in (0, 1):
            agree(world, lane)
        numbers = [key for _, _, key in sends(world)]
        assert len(numbers) == len(set(numbers))
        return True

    assert run(main())


def test_a_clean_stop_leaves_a_snapshot_of_all_and_the_other_goes_on_from_it():
    async def main():
        world = World(lanes=2)
        a, b = await world.oms("oms-a"), await world.oms("oms-b")
        await asyncio.sleep(3)
        for lane in (0, 1):
            await world.orders(10, lane=lane)
        await world.inside(world.processes["oms-a"], a.stop())
        await asyncio.sleep(2)
        assert set(b.writers) == {0, 1}
        assert min(writer.counts.folded_at_start for writer in b.writers.values()) <= 2
        for lane in (0, 1):
            agree(world, lane)
        return True

    assert run(main())


def test_an_entry_that_always_breaks_its_lane_is_passed_over_by_two_people_for_everybody():
    async def main():
        world = World(lanes=2)
        kind = breaking(world.plant.kind)
        a = await world.oms("oms-a", kind)
        await asyncio.sleep(3)
        now = world.clock.now
        world.put(Funding(now(), 0, 1, 1), lane=0, kind="sys")
        await asyncio.sleep(1)
        (number,) = re.findall(r"^entry (\d+): ", a._ownership.leases[0][0].broken)

        def said(*others, skip=number):
            return signed("take-up", "lane:0", "ann", now(), *others, skip=skip)

        assert (await asked(world, said())).error.startswith("NEEDS_TWO_PEOPLE")
        for wrong in ("1", "x", "-2"):
            refused = await asked(world, said("bob", skip=wrong))
            assert refused.error.startswith(
                f"lane:0 was not broken by entry {wrong}, but by: entry {number}: "
            )
        assert set(a.writers) == {1}
        assert (await asked(world, said("bob"))).was.startswith(f"entry {number}: ")
        await asyncio.sleep(3)
        assert set(a.writers) == {0, 1}
        assert a.writers[0].lane.counts[Reason.ENTRY_SKIPPED] == 1
        assert (await asked(world, said("bob"))).error == "lane:0 is not broken"

        # It is in the log who said so and why; the entry is kept.
        entries = world.server.streams["LANE_0"].entries
        (skip,) = [e for e in entries if e.subject == "lane.0.skip"]
        assert decode(skip.data).messages[0].skips[0][:2] == (int(number), "ann and bob")
        (letter,) = [e for e in world.server.streams["DEAD"].entries if e.subject == "dead.skip.0"]
        kept = msgspec.msgpack.decode(letter.data, type=DeadLetter)
        assert (kept.seq, kept.reason.partition(":")[0]) == (int(number), "skipped by ann and bob")
        assert type(decode(kept.data).messages[0]) is Funding

        # Its accounts only reduce until people bring them up, and an order that adds is refused.
        board = a.halts.board
        held = {s.scope: (s.state, s.trigger) for s in board.scopes.values() if s.state is not State.ACTIVE}
        assert held
        assert set(held.values()) == {(State.REDUCE_ONLY, "entry_skipped")}
        assert all(scope.startswith("account:") for scope in held)

        # Whoever folds the log comes to the same: a successor of the kind that breaks, and a reader.
        await asyncio.sleep(1)
        lane, seq = a.writers[0].lane, a.writers[0].seq
        world.kill("oms-a")
        b = await world.oms("oms-b", kind)
        await asyncio.sleep(5)
        assert 0 in b.writers
        again = kind.make(0)
        for entry in entries[:seq]:
            with contextlib.suppress(Unreadable):
                fold(again, entry, {int(number)})
        assert again.state_hash() == lane.state_hash()

        # Another entry that breaks it is another matter, and what was passed over stays so.
        world.put(Funding(now(), 0, 1, 1), lane=0, kind="sys")
        await asyncio.sleep(3)
        (second,) = re.findall(r"^entry (\d+): ", b._ownership.leases[0][0].broken)
        assert int(second) > int(number)
        assert (await asked(world, said("bob", skip=second))).was
        await asyncio.sleep(3)
        assert b.writers[0].lane.counts[Reason.ENTRY_SKIPPED] == 2
        return True

    assert run(main())


def test_a_quiet_lane_is_told_the_time_while_an_order_s_is_held_to_it_and_only_then():
    def times(world):
        entries = world.server.streams["LANE_0"].entries
        return [m.ts for e in entries for m in decode(e.data).messages if type(m) is Tick]

    async def main():
        world = World()
        writer = await world.writer("a", 1)
        await asyncio.sleep(30)
        assert times(world) == [], "no limit, and nothing is awaited"
        began = world.clock.now()
        gate = writer.lane.state.gate
        firm = msgspec.structs.replace(gate.limits.firm, clock_skew=2_000_000_000)
        gate.set_limits(msgspec.structs.replace(gate.limits, firm=firm))
        await asyncio.sleep(30)
        ticks = [began, *times(world), world.clock.now()]
        assert 40 <= len(ticks) <= 65
        assert max(b - a for a, b in itertools.pairwise(ticks)) < 1_000_000_000
        return True

    assert run(main())
