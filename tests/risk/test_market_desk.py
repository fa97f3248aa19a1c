"""Control 22's figures: depth and volume from the markets' pulses, told to every lane in steps, by who acts."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from risk.risk_room import Room

from tidegate.model.messages import MarketReference
from tidegate.model.time import HOUR, MINUTE, SECOND
from tidegate.risk.market_desk import KEY
from tidegate.risk.market_volume import HOURS, MarketVolume
from tidegate.sim.virtual_time import run

SHARE = {"strategies": {"*": {"depth_share": "20%"}}}
T0 = 472_222 * HOUR


def story(main, **room):
    async def go():
        await main(Room(**room))

    run(go())


def told(room, lane=0):
    """(instrument, volume, interest, bids, asks) as a lane's log was told."""
    return [
        (m.instrument, m.volume, m.interest, m.depth_bid, m.depth_ask)
        for m in room.sent(lane, MarketReference)
    ]


def test_depth_is_told_to_every_lane_when_it_has_moved_by_an_eighth():
    async def main(room):
        service = await room.service()
        for bids, asks in ((800, 900), (899, 810), (901, 810), (0, 0), (0, 5), (0, 0), (0, 0)):
            room.pulse(0, bid_lots=bids, ask_lots=asks)
            await asyncio.sleep(1)
        expected = [(0, -1, -1, 800, 900), (0, -1, -1, 901, 810)]
        expected += [(0, -1, -1, *depth) for depth in ((-1, -1), (0, 5), (-1, -1))]
        assert told(room, 0) == told(room, 1) == expected
        for lots in range(100, 1_000, 100):  # within one second
            room.pulse(0, bid_lots=lots, ask_lots=lots)
        room.pulse(1, bid_lots=7, ask_lots=7)
        await asyncio.sleep(0.5)
        assert told(room)[5:] == [(0, -1, -1, 100, 100), (1, -1, -1, 7, 7)]
        await service.stop()

    story(main, **SHARE)


def test_nothing_is_told_where_no_limit_compares_with_it_until_one_does():
    async def main(room):
        service = await room.service()
        room.pulse(0)
        await asyncio.sleep(1)
        assert told(room) == []
        assert (await room.limits(**SHARE))["ok"]
        room.pulse(0)
        await asyncio.sleep(1)
        assert told(room) == told(room, 1) == [(0, -1, -1, 100, 100)]
        await service.stop()

    story(main)


def test_only_who_acts_tells_and_a_successor_tells_all_anew():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        room.pulse(0)
        await asyncio.sleep(1)
        assert told(room) == [(0, -1, -1, 100, 100)]
        await first.stop()
        await asyncio.sleep(3)
        room.pulse(0)
        await asyncio.sleep(1)
        assert told(room) == 2 * [(0, -1, -1, 100, 100)]
        await second.stop()

    story(main, **SHARE)


def test_a_day_s_volume_is_told_once_it_was_followed_and_outlives_the_service():
    async def main(room):
        service, traded = await room.service(), 0
        while not (found := [one for one in told(room) if one[1] >= 0]):
            assert traded < 26 * 120, "a day and an hour"
            traded += 1
            room.pulse(0, traded=traded)
            room.clock.step(29 * SECOND)
            await asyncio.sleep(1)
        assert found == [(0, 24 * 120, -1, 100, 100)]
        await asyncio.sleep(15)
        await service.stop()
        assert (await room.feed.bucket("STATE").get(KEY)).value
        service = await room.service("two")
        room.pulse(0)
        await asyncio.sleep(1)
        assert told(room)[-1] == (0, 24 * 120, -1, 100, 100)
        await service.stop()

    story(main, **SHARE)


def test_a_feed_that_begins_anew_and_long_pauses_are_gaps():
    one, now = MarketVolume(), T0
    for minute in range(25 * 60):
        now = T0 + minute * MINUTE
        one.look(now, minute if minute < 12 * 60 else minute - 12 * 60)
    assert one.a_day(T0 + 24 * HOUR) == 1_440, "a minute is missing of a day; it was like the rest"
    assert one.a_day(T0 + 28 * HOUR) == -1, "three hours of the day are missing"
    two = MarketVolume()
    for at in range(0, 25 * HOUR, MINUTE + SECOND):
        two.look(T0 + at, at)
    assert two.hours == {}


@given(st.lists(st.tuples(st.integers(1, 2 * MINUTE), st.integers(0, 1_000)), max_size=200))
def test_what_is_counted_was_traded_and_no_more_hours_are_kept_than_needed(path):
    one, now, traded, most = MarketVolume(), T0, 0, 0
    for gap, lots in path:
        now, traded = now + gap, traded + lots
        one.look(now, traded)
        most += lots
        assert sum(lots for lots, _ in one.hours.values()) <= most
        assert len(one.hours) <= HOURS + 1
        assert all(0 < followed <= HOUR + MINUTE for _, followed in one.hours.values())
