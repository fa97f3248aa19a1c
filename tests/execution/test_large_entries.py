"""An entry of very many messages, and entries that very many events follow from: a lane's events go on."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from writer_world import World, run

from tidegate.execution.event_pipe import EventPipe
from tidegate.execution.lane_log import LETTER
from tidegate.log.base import TooLarge
from tidegate.log.streams import MAX_PAYLOAD
from tidegate.model.messages import CancelAll, CancelOrder, Funding, Mark, OrderEvent, SendCancel
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.wire import MOST, decode, pack
from tidegate.risk.reasons import Reason


def agree(world):
    events, made = world.due()
    assert world.told() == events
    return made


def test_an_entry_of_too_many_messages_is_refused_counted_and_put_aside_and_the_lane_goes_on():
    async def main():
        world = World()
        writer = await world.writer("a", 1)
        await world.orders(2)
        most, more = ([CancelOrder(world.clock.now(), 7)] * count for count in (MOST, MOST + 1))
        world.put(*most)
        huge = pack([CancelOrder(world.clock.now(), 7)] * 300_000)
        seqs = [world.put(*more), world.put(data=huge)]
        assert LETTER < len(huge) < MAX_PAYLOAD
        await world.orders(3)
        await asyncio.sleep(1)
        assert writer.lane.counts[Reason.ENTRY_TOO_LARGE] == writer.counts.dead == 2
        first, second = world.letters()
        assert [first.seq, second.seq] == seqs
        assert first.reason == f"{MOST + 1} messages in one entry; {MOST} are allowed"
        assert second.reason.endswith(f"(the first {LETTER} of {len(huge)} bytes)")
        assert second.data == huge[:LETTER]
        assert agree(world).state_hash() == writer.lane.state_hash()
        assert len(world.told()) >= MOST, "each of as many as may come is answered"
        assert world.stops == []
        return True

    assert run(main())


def test_the_largest_envelope_of_events_fits_a_message_of_the_log():
    low = -(1 << 63)
    fields = dict.fromkeys(OrderEvent.__struct_fields__, low)
    fields |= {"status": OrdStatus.DENIED, "exec_type": ExecType.TRADE, "maker": False, "side": 2}
    event = OrderEvent(**fields)
    data = pack([event] * MOST, trace=low, ts=low, lane=low, epoch=low, seq=low, part=low)
    assert len(data) < MAX_PAYLOAD // 2
    assert len(pack([Funding(low, low, low, low, low)])) < len(data) // MOST


@pytest.mark.parametrize("die_after", range(1, 4))
def test_events_of_one_entry_that_take_several_envelopes_are_told_once_wherever_the_writer_dies(
    monkeypatch, die_after
):
    """Nine orders are cancelled by one command: three envelopes. The writer dies with so many of all stored."""
    monkeypatch.setattr("tidegate.execution.event_pipe.MOST", 4)

    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(9)
        await asyncio.sleep(0.5)
        stream, died = world.server.streams["EVT_0"], asyncio.Event()
        until = stream.last + die_after

        def stored(name, seq):
            if name == "EVT_0" and seq == until:
                died.set()
                world.loop.call_soon(world.kill, "a")

        world.server.appended.append(stored)
        world.put(CancelAll(world.clock.now()))
        world.put(CancelAll(world.clock.now()))
        world.order()
        world.order()
        await asyncio.sleep(0.5)
        assert died.is_set()
        await world.writer("b", 2)
        await world.orders(6)
        await asyncio.sleep(0.5)
        agree(world)
        sizes = [len(decode(entry.data).messages) for entry in stream.entries]
        assert max(sizes) == 4
        assert any(decode(entry.data).part for entry in stream.entries)
        return True

    assert run(main())


def test_requests_of_one_entry_that_are_too_many_for_one_message_leave_in_several(monkeypatch):
    monkeypatch.setattr("tidegate.execution.writer.MOST", 4)

    async def main():
        world = World()
        await world.writer("a", 1)
        await world.orders(9)
        world.put(CancelAll(world.clock.now()))
        await asyncio.sleep(0.5)
        envelopes = [e for _, e in world.sent if type(e.messages[0]) is SendCancel]
        assert [len(e.messages) for e in envelopes] == [4, 4, 1]
        assert len({e.seq for e in envelopes}) == 1
        agree(world)
        return True

    assert run(main())


def test_what_the_house_says_of_very_many_instruments_is_written_in_entries_that_are_taken():
    async def main():
        world = World()
        writer = await world.writer("a", 1)
        now = world.clock.now()
        marks = [Mark(now, n % len(world.plant.universe), 20_000, 20_002) for n in range(MOST + 10)]
        stored = world.processes["a"].run(lambda: writer.append(*marks))
        await stored
        await asyncio.sleep(0.1)
        entries = [e for e in world.server.streams["LANE_0"].entries if e.subject == "lane.0.sys"]
        assert [len(decode(e.data).messages) for e in entries] == [MOST, 10]
        assert writer.counts.dead == 0
        return True

    assert run(main())


def refusing(world, error, subject="evt.0"):
    """The log takes nothing on a subject from now on."""
    store = world.server.store

    def refuse(at, *more):
        if at == subject:
            raise error
        return store(at, *more)

    world.server.store = refuse
    return store


def test_events_that_the_log_will_never_take_break_the_lane_with_the_reason():
    async def main():
        world = World()
        oms = await world.oms("a")
        await asyncio.sleep(2)
        await world.orders(2)
        await asyncio.sleep(0.5)
        store = refusing(world, TooLarge("evt.0: test: more than it takes"))
        await world.orders(1)
        await asyncio.sleep(2)
        assert not oms.writers
        why = oms.health()["why"]
        assert "lane 0 is broken: its events up to entry" in why
        assert "TooLarge: evt.0: test: more than it takes" in why
        (alert,) = [e for e in world.server.streams["ALERT"].entries if e.subject == "alert.lane_broken"]
        assert "test: more than it takes" in msgspec.json.decode(alert.data)["text"]
        world.server.store = store
        await world.inside(world.processes["a"], oms._ownership.mend(0))
        await asyncio.sleep(2)
        assert set(oms.writers) == {0}
        agree(world)
        return True

    assert run(main())


def test_events_that_no_message_can_say_break_the_lane_with_the_reason():
    async def main():
        world = World()
        _, log = world.process("a")
        stops = []
        pipe = EventPipe(log, 0, 1, lambda *said: stops.append(said))
        await pipe.open()
        event = OrderEvent(1, 1, 1, 0, 0, 0, OrdStatus.NEW, None, 1, 0)
        pipe.put(7, [event], 0, 1)
        assert await pipe.settled() == 2
        pipe.put(9, [msgspec.structs.replace(event, fee=1 << 70)], 0, 1)
        ((kind, why),) = stops
        assert kind == "broken"
        assert why.startswith("its events up to entry 9 cannot be told: OverflowError")
        return True

    assert run(main())
