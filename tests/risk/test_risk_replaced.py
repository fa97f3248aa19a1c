"""Of two risk services the one that was replaced says nothing more that counts, and takes nothing from its successor."""

from __future__ import annotations

import asyncio

import pytest
from risk.risk_room import Room

from tidegate.log.base import Conflict, LogDown
from tidegate.marketdata.pulse import Pulse
from tidegate.model.messages import DynamicLimit, LeaseGrant, LeaseReport, MarketReference, VenueEquity
from tidegate.model.wire import decode, pack
from tidegate.risk.leases.allocator import Allocator
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key
from tidegate.risk.numbers import BITS
from tidegate.sim.virtual_time import run

GROSS = Key(0, int(Field.GROSS))


def story(main, **room):
    """Run a story in a fresh room."""

    async def go():
        await main(Room(**room))

    run(go())


async def look(room, seconds, lots=900):
    """The first market, so deep, once a second."""
    for _ in range(seconds):
        room.pulse(0, bid=600_000, ask=600_010, bid_lots=lots, ask_lots=1_000)
        await asyncio.sleep(1)


def acting(*services):
    return [service.name for service in services if service.health()["risk"]["state"] == "acting"]


# Leases.


def test_who_lost_its_lease_while_its_allocator_began_does_not_fence_the_one_that_acts():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        room.server.kill("one")
        store, cut = room.server.store, []

        def lossy(subject, data, msg_id, expect):
            if subject == "lease.grant" and not cut:
                cut.append(msg_id)
                room.server.partition("two")  # its entry is lost on the way
                raise LogDown("cut")
            return store(subject, data, msg_id, expect)

        room.server.store = lossy
        await asyncio.sleep(2)
        third = await room.service("three")
        await asyncio.sleep(5)
        assert cut
        assert acting(second, third) == ["three"]
        room.server.heal("two")
        await asyncio.sleep(60)
        assert acting(second, third) == ["three"]
        assert not third.allocator.fenced
        for lane in (0, 1):
            asks = [
                LeaseReport(room.now, lane, *key, 0, 0, 0, lane * (key == GROSS))
                for key in third.allocator.pool.pools
            ]
            data = pack(asks, ts=room.now, lane=lane, epoch=1, seq=1)
            room.server.store("lease.report", data, "", None)
        await asyncio.sleep(1)
        assert [m for m in room.sent(1, LeaseGrant) if m.field == Field.GROSS]
        assert third.health()["ok"]
        assert first.allocator.epoch >> BITS < third.allocator.epoch >> BITS
        await third.stop()
        await second.stop()

    story(main, shared={0: (0, 1)})


def test_an_allocator_takes_over_from_its_own_term_and_earlier_ones_only():
    async def main(room):
        def make(name, term):
            return Allocator(
                room.server.client(name), room.clock, {0: (0, 1)}, {GROSS: 100}, name=name, term=lambda: term
            )

        older = pack([], ts=room.now, epoch=77)  # of a version that counted take-overs alone
        room.server.store("lease.grant", older, "", None)
        early, late, again = make("early", 5), make("late", 9), make("again", 9)
        await early.start()
        await late.start()
        await asyncio.sleep(1)
        assert early.fenced
        with pytest.raises(Conflict, match="lends in term 9, this one's is 5"):
            await make("early-2", 5).start()
        assert not late.fenced
        await again.start()
        await asyncio.sleep(1)
        assert (late.fenced, again.fenced) == (True, False)
        epochs = [decode(e.data).epoch for e in room.server.streams["LEASES"].entries]
        assert epochs == [77, (5 << BITS) + 1, (9 << BITS) + 1, (9 << BITS) + 2]
        await again.stop()

    story(main)


# Figures of markets and venues.


def test_who_stands_by_again_does_not_tell_that_markets_are_unknown():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        await look(room, 10)
        room.server.partition("one")
        await look(room, 4)
        room.server.heal("one")
        await look(room, 100)
        assert acting(first, second) == ["two"]
        assert {(m.depth_bid, m.depth_ask) for m in room.sent(0, MarketReference)} == {(900, 1_000)}
        await first.stop()
        await second.stop()

    story(main, firm={"depth_share": "20%"})


def test_what_was_not_stored_when_another_took_over_has_an_older_number():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        await look(room, 3, 500)
        heard = Pulse(0, room.now, 0, 600_000, 600_010, 9_000, 9_000, 0)
        first.market.pulses([heard], room.now, True)
        room.server.partition("one")
        await look(room, 20, 50)
        assert acting(second) == ["two"]
        room.server.heal("one")
        await look(room, 40, 50)
        told = [m for m in room.sent(0, MarketReference) if m.number]
        assert max(told, key=lambda m: m.number).depth_bid == 50, "whenever that of the first was stored"
        assert 9_000 in [m.depth_bid for m in told]
        await first.stop()
        await second.stop()

    story(main, firm={"depth_share": "20%"})


def test_who_ends_acting_tells_nothing_more_of_what_waits():
    async def main(room):
        service = await room.service()
        await look(room, 3, 500)
        count = len(room.sent(0, MarketReference))
        room.server.outage(True)
        service.market.pulses([Pulse(0, room.now, 0, 600_000, 600_010, 9_000, 9_000, 0)], room.now, True)
        service.margin.equity._facts.tell([VenueEquity(room.now, 0, 1)])
        await asyncio.sleep(3)
        service.market.end()
        service.margin.end()
        room.server.outage(False)
        await asyncio.sleep(5)
        assert len(room.sent(0, MarketReference)) == count
        assert room.sent(0, VenueEquity) == []
        await service.stop()

    story(main, firm={"depth_share": "20%"})


def test_numbers_of_what_is_told_rise_over_services():
    async def main(room):
        for name in ("one", "two"):
            service = await room.service(name)
            await look(room, 3, 500)
            service.margin.equity._facts.tell(
                [VenueEquity(room.now, 0, 1, service.margin.equity._numbers.next())]
            )
            await look(room, 3, 900)
            await service.stop()
        for kind, count in ((MarketReference, 4), (VenueEquity, 2)):
            numbers = [m.number for m in room.sent(1, kind)]
            assert numbers == sorted(set(numbers))
            assert len(numbers) == count
            assert numbers[0] > 0

    story(main, firm={"depth_share": "20%"})


# Dynamic limits.


def test_a_standby_that_takes_over_loosens_nothing_that_was_tightened_while_it_stood_by():
    async def main(room):
        first = await room.service("one")
        await look(room, 80)
        second = await room.service("two")  # too late to know what depth is usual
        await look(room, 30, 45)
        assert [m.factor for m in room.sent(0, DynamicLimit)] == [200_000]
        assert second.dynamic.factors() == {}
        room.server.kill("one")
        await look(room, 10, 45)
        assert acting(second) == ["two"]
        told = [m.factor for m in room.sent(0, DynamicLimit) if m.instrument == 0]
        assert set(told) == {200_000}
        assert len(told) > 1
        assert first.dynamic.factors() == {"BTCUSDT.X": "20% depth"}
        await second.stop()

    story(main)


def test_what_a_standby_finds_itself_holds_where_it_is_tighter_than_what_was_kept():
    async def main(room):
        service = await room.service()
        await room.feed.bucket("STATE").put("risk.dynamic", b'{"BTCUSDT.X": 800000, "CL.Y": 500000}')
        service.dynamic.each[0].resume(300_000)
        await service.dynamic.load()
        assert service.dynamic.told() == {0: 300_000, 1: 500_000}
        await service.stop()

    story(main)
