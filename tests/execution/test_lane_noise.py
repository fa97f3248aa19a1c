"""What a user of the log can have the server write where only order managers do (docs/security.md, "The reply subject")
keeps no lane from being written, and people are told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from writer_world import World, run

from tidegate.execution.lane_log import DeadLetter
from tidegate.execution.lane_snapshot import Header, header, headers, save
from tidegate.execution.strategy_view import StrategyView
from tidegate.execution.writer import Unusable
from tidegate.model.messages import Funding, LaneSkip, OrderEvent
from tidegate.model.order import OrdStatus
from tidegate.model.wire import Unreadable, decode, pack

NOISE = (
    b'{"stream":"LANE_0","seq":5}',
    b"",
    b"+OK",
    pack([OrderEvent(1, 1, 1, 0, 0, 0, OrdStatus.NEW, None, 1, 0)], lane=1, epoch=900, seq=900),
)
"""Acknowledgements, statuses, and what a consumer of another lane's events delivers."""


def told(world, lane=0):
    """The lane's own events, as listeners know them from noise."""
    found = []
    for entry in world.server.streams[f"EVT_{lane}"].entries:
        try:
            envelope = decode(entry.data)
        except Unreadable:
            continue
        found += envelope.messages if envelope.lane == lane else []
    return found


def agree(world):
    events, made = world.due()
    assert told(world) == events
    return made


def spoiled(world):
    """What people were told of it."""
    entries = [e for e in world.server.streams["ALERT"].entries if e.subject.endswith("_spoiled")]
    return [msgspec.json.decode(entry.data)["text"] for entry in entries]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("count", [1, 7])
def test_noise_among_the_events_stops_no_writer_and_no_successor(noise, count):
    async def main():
        world = World()
        a = await world.writer("a", 1)
        await world.orders(3)
        await asyncio.sleep(0.2)
        for _ in range(count):
            world.server.store("evt.0", noise, "", None)
        await world.orders(5)
        await asyncio.sleep(1)
        agree(world)
        assert a.counts.noise == count
        (text,) = spoiled(world)
        assert text.startswith(f"{count} entries on evt.0 are none of ours and were stepped over")
        world.kill("a")
        await world.orders(2)
        for _ in range(count):
            world.server.store("evt.0", noise, "", None)
        b = await world.writer("b", 2)
        await world.orders(2)
        await asyncio.sleep(1)
        agree(world)
        assert b.counts.noise == count
        assert world.stops == []
        return True

    assert run(main())


def test_noise_between_an_append_and_its_lost_acknowledgement_makes_no_event_come_twice():
    async def main():
        world = World()
        a = await world.writer("a", 1)
        await world.orders(1)
        await asyncio.sleep(0.2)
        faults = world.server.clients["a"].faults
        faults.lose_ack = 1.0
        before = world.server.streams["EVT_0"].last
        world.order()
        while world.server.streams["EVT_0"].last == before:
            await asyncio.sleep(0.001)
        world.server.store("evt.0", NOISE[0], "", None)
        faults.lose_ack = 0.0
        await world.orders(3, pause=0.5)
        await asyncio.sleep(3)
        agree(world)
        assert a.counts.noise == 1
        return True

    assert run(main())


def test_a_strategy_that_asks_where_it_stands_while_noise_comes_is_told_no_event_twice():
    """The place of the last event in its answer is where that event was stored, not where it was to be."""

    async def main():
        world = World()
        oms = await world.oms("a")
        await asyncio.sleep(2)
        await world.orders(2)
        await asyncio.sleep(0.2)
        under_way = asyncio.Event()

        def appended(_name, subject):
            if subject == "evt.0" and not under_way.is_set():
                world.server.store("evt.0", NOISE[0], "", None)
                under_way.set()

        world.server.on_append = appended
        world.order()
        await under_way.wait()
        question = msgspec.msgpack.encode(0)
        answer = await world.inside(world.processes["a"], oms._strategy(oms.writers[0], question))
        view = msgspec.msgpack.decode(answer, type=StrategyView)
        assert len(view.orders) == 3
        *_, noise, last = world.server.streams["EVT_0"].entries
        assert noise.data == NOISE[0]
        assert view.events_at == last.seq
        assert [event.cl_ord_id for event in decode(last.data).messages] == [view.orders[-1].event.cl_ord_id]
        return True

    assert run(main())


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("subject", ["lane.0.epoch", "lane.0.skip", "dead.0"])
def test_noise_on_the_order_managers_own_subjects_keeps_no_lane_from_being_taken_over(subject, noise):
    async def main():
        world = World()
        await world.oms("a")
        await asyncio.sleep(1)
        await world.orders(3)
        await asyncio.sleep(0.2)
        for _ in range(3):
            world.server.store(subject, noise, "", None)
        world.kill("a")
        b = await world.oms("b")
        await asyncio.sleep(5)
        assert set(b.writers) == {0}
        await world.orders(2)
        await asyncio.sleep(1)
        agree(world)
        texts = spoiled(world)
        assert [text for text in texts if f"3 entries on {subject} are none of ours" in text]
        health = b.health()
        assert health["ok"]
        assert health["lanes"]["0"]["noise"] == 3
        return True

    assert run(main())


def test_noise_behind_a_word_of_people_leaves_it_in_force():
    """An entry is skipped; then noise; the successor passes it over all the same, and people may skip another."""

    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(2)
        seq = world.put(Funding(world.clock.now(), 0, 1, 1), kind="sys")
        said = LaneSkip(world.clock.now(), ((seq, "ann and bob", "test"),))
        world.server.store("lane.0.skip", pack([said], lane=0), "", None)
        world.server.store("lane.0.skip", NOISE[0], "", None)
        world.kill("a")
        b = await world.writer("b", 2)
        assert b._skipped == {seq}
        return True

    assert run(main())


# Snapshots.


async def two_snapshots(world):
    """A lane that was written for a while; its snapshots, the latest first."""
    writer = await world.writer("a", 1, every=10)
    await world.orders(35)
    await asyncio.sleep(0.5)
    assert writer.counts.snapshots >= 3
    world.kill("a")
    found = await headers(world.server.client("probe").bucket("SNAP"), 0)
    assert len(found) == 2
    return found


def overwrite(world, key, value=NOISE[0]):
    return world.server.client("thief").bucket("SNAP").put(key, value)


@pytest.mark.parametrize("what", ["header", "part", "both headers", "all parts"])
def test_a_snapshot_that_was_overwritten_keeps_no_lane_from_being_written(what):
    async def main():
        world = World()
        latest, before = await two_snapshots(world)
        if what in ("header", "both headers"):
            await overwrite(world, "lane.0")
        if what == "both headers":
            await overwrite(world, "lane.0.copy")
        if what in ("part", "all parts"):
            await overwrite(world, f"lane.0.{latest.seq}.0")
        if what == "all parts":
            await overwrite(world, f"lane.0.{before.seq}.0")
        b = await world.writer("b", 2, every=10)
        start = {"header": latest.seq, "part": before.seq}.get(what, 0)
        assert b.counts.folded_at_start == world.server.streams["LANE_0"].last - start
        await world.orders(15)
        await asyncio.sleep(1)
        assert b.lane.state_hash() == agree(world).state_hash()
        kinds = {kind for kind in world.alerts() if kind.endswith("_spoiled")}
        of = {"header": {"key_spoiled"}, "both headers": {"key_spoiled"}}
        assert kinds == of.get(what, {"snapshot_spoiled"})
        assert b.counts.snapshots, "and it is kept anew"
        world.kill("b")
        c = await world.writer("c", 3)
        assert c.counts.folded_at_start < 20
        assert c.counts.noise == 0
        return True

    assert run(main())


def test_where_no_snapshot_is_whole_and_neither_is_the_log_that_is_said():
    async def main():
        world = World()
        latest, before = await two_snapshots(world)
        for one in (latest, before):
            await overwrite(world, f"lane.0.{one.seq}.0")
        world.server.trim("LANE_0", 5)
        with pytest.raises(
            Unusable, match=rf"no snapshot is whole \(after entries {latest.seq}, {before.seq}\)"
        ):
            await world.writer("b", 2)
        return True

    assert run(main())


def test_the_last_two_snapshots_are_kept_and_no_more():
    async def main():
        world = World()
        latest, before = await two_snapshots(world)
        bucket = world.server.client("probe").bucket("SNAP")
        assert latest.seq > before.seq
        parts = [f"lane.0.{one.seq}.{n}" for one in (latest, before) for n in range(one.parts)]
        assert await bucket.keys() == sorted(["lane.0", "lane.0.copy", *parts])
        assert await header(bucket, 0) == latest
        data = msgspec.json.encode(Header(1, 1, "old"))  # of a version that kept one
        await bucket.put("lane.1", data)
        assert (await save(bucket, 1, b"x", 5, "new")).before == Header(1, 1, "old")
        return True

    assert run(main())


def test_an_entry_of_another_writer_s_is_buried_once_though_noise_lies_among_the_dead_letters():
    async def main():
        world = World()
        await world.writer("a", 1)
        world.put(data=b"\xc1 nonsense")
        await asyncio.sleep(0.2)
        world.server.store("dead.0", NOISE[0], "", None)
        world.kill("a")
        await world.writer("b", 2)
        await asyncio.sleep(0.2)
        letters = [e for e in world.server.streams["DEAD"].entries if e.data != NOISE[0]]
        assert [msgspec.msgpack.decode(e.data, type=DeadLetter).data for e in letters] == [b"\xc1 nonsense"]
        return True

    assert run(main())
