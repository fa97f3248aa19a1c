"""Fundings as the risk service tells lanes of them: each once, in order, none from before it came; and what is due next."""

from __future__ import annotations

import asyncio

from risk.risk_room import Room
from risk.test_margin_book import Desk

from tidegate.model.messages import Funding, MarketReference
from tidegate.sim.virtual_time import run

SECOND = 1_000_000_000
PERP = 0


def story(main, **room):
    async def go():
        await main(Room(**room))

    run(go())


def told(room, lane=0):
    return [(m.instrument, m.rate, m.price, m.due) for m in room.sent(lane, Funding)]


def test_each_payment_is_told_once_to_every_lane_in_order_and_none_from_before():
    async def main(room):
        first = await room.service("one")
        begun = room.now
        old = (begun - 8 * 3600 * SECOND, 10_000, 500)
        room.pulse(PERP, paid=(old,))
        await asyncio.sleep(2)
        assert told(room) == [], "nobody here held anything then"
        one, two = (room.now - SECOND, 12_000, 510), (room.now + SECOND, -3_000, 520)
        room.pulse(PERP, paid=(old, one))
        room.pulse(PERP, paid=(old, one))
        await asyncio.sleep(2)
        room.pulse(PERP, paid=(old, one, two))
        await asyncio.sleep(11)
        assert told(room, 0) == told(room, 1) == [(PERP, 12_000, 510, one[0]), (PERP, -3_000, 520, two[0])]
        assert room.alerts("funding_late") == []
        await first.stop()
        second = await room.service("two")
        await asyncio.sleep(3)
        late = (two[0] + SECOND, 500, 530)
        await asyncio.sleep(70)
        room.pulse(PERP, paid=(one, two, late))
        await asyncio.sleep(2)
        assert told(room)[2:] == [(PERP, 500, 530, late[0])], "a successor goes on where it was"
        assert len(room.alerts("funding_late")) == 1
        await second.stop()

    story(main)


def test_only_who_acts_tells_and_a_payment_before_the_first_look_of_a_new_contract_is_left():
    async def main(room):
        one, two = await room.service("one"), await room.service("two")
        paid = (room.now + SECOND, 100, 500)
        await asyncio.sleep(2)
        room.pulse(PERP, paid=(paid,))
        await asyncio.sleep(2)
        assert told(room) == [(PERP, 100, 500, paid[0])]
        await one.stop()
        await asyncio.sleep(5)
        room.pulse(PERP, paid=(paid,))
        await asyncio.sleep(2)
        assert len(told(room)) == 1
        await two.stop()

    story(main)


def test_a_payment_that_no_lanes_log_has_yet_is_told_by_a_successor():
    async def main(room):
        one = await room.service("one")
        old, paid = (room.now - SECOND, 100, 500), (room.now + 13 * SECOND, 100, 500)
        room.pulse(PERP, paid=(old,))
        await asyncio.sleep(14)
        append = one._log.append
        one._log.append = lambda subject, *a, **k: (
            room.loop.create_future() if subject.startswith("lane.") else append(subject, *a, **k)
        )
        room.pulse(PERP, paid=(old, paid))
        await asyncio.sleep(25)  # all it keeps was kept, more than once
        room.server.clients["one"].die()
        assert told(room) == []
        two = await room.service("two")
        await asyncio.sleep(5)
        room.pulse(PERP, paid=(paid,))
        await asyncio.sleep(2)
        assert told(room) == [(PERP, 100, 500, paid[0])]
        await two.stop()

    story(main)


def test_what_a_position_would_pay_next_is_taken_off_equity_and_what_it_would_get_is_not_added():
    desk = Desk()
    desk.trade(0, 10_000, 490_000)
    assert desk.say("5000", 10_000, "49000")
    account = desk.book.at("U", 0, "USDT", desk.now)
    desk.book.next_funding[0] = 10_000, 500_000
    paying = desk.book.at("U", 0, "USDT", desk.now)
    held = account.pools[0].holdings[0]
    due = held.contract.value(held.lots, 500_000) // 10_000
    assert due > 0
    assert account.equity - paying.equity == due
    desk.book.next_funding[0] = -10_000, 500_000
    assert desk.book.at("U", 0, "USDT", desk.now).equity == account.equity
    desk.book.next_funding[0] = 10_000, 500_000
    assert desk.book.whole(0, desk.now).pools[0].funding == due


def test_open_interest_is_told_as_it_is_known_and_a_silent_market_is_not_known():
    async def main(room):
        service = await room.service()
        for interest in (1000, 1010, 1200, -1):
            for _ in range(3):
                room.pulse(PERP, interest=interest)
                await asyncio.sleep(1)
        found = [(m.interest, m.depth_bid) for m in room.sent(1, MarketReference)]
        assert found == [(1000, 100), (1200, 100), (-1, 100)]
        room.pulse(PERP, interest=1200)
        await asyncio.sleep(65)
        last = room.sent(0, MarketReference)[-1]
        assert (last.volume, last.interest, last.depth_bid, last.depth_ask) == (-1, -1, -1, -1)
        count = len(room.sent(0, MarketReference))
        await asyncio.sleep(65)
        assert len(room.sent(0, MarketReference)) == count
        await service.stop()

    story(main, firm={"interest_share": "10%"})
