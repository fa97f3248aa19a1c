"""Control 26's figures: the equity at each venue from its statements, told to every lane once all venues have spoken."""

from __future__ import annotations

import asyncio
from decimal import Decimal as D

from risk.risk_room import Room
from risk.test_margin_book import Desk

from tidegate.model.messages import VenueEquity
from tidegate.risk.margin_compare import VenueMargin, VenueWallet
from tidegate.sim.virtual_time import run

SHARE = {"firm": {"venue_share": "80%"}}
MILLION = 1_000_000


def story(main, **room):
    async def go():
        await main(Room(**room))

    run(go())


def state(room, venue, wallet, account="main", **others):
    wallets = {"USDT": wallet, **others}
    said = VenueMargin(room.now, {c: VenueWallet(D(w), D(0), D(0)) for c, w in wallets.items()}, [])
    room.feed.publish(f"margin.{venue}.{account}", said.encode())


def told(room, lane=0):
    """(venue, equity in whole units) as a lane's log was told."""
    return [(m.venue, m.equity / MILLION) for m in room.sent(lane, VenueEquity)]


def test_equity_is_summed_over_accounts_and_told_when_it_has_moved_by_a_hundredth():
    async def main(room):
        service = await room.service()
        state(room, "X", "5000", BNB="10")
        await asyncio.sleep(2.5)
        assert told(room) == [], "what Y holds is not known"
        state(room, "X", "1000", account="other")
        state(room, "Y", "2000")
        await asyncio.sleep(2.5)
        assert told(room, 0) == told(room, 1) == [(0, 6_000), (1, 2_000)]
        state(room, "X", "5059")
        await asyncio.sleep(1.5)
        assert len(told(room)) == 2
        state(room, "X", "5061")
        state(room, "Y", "-50")
        await asyncio.sleep(1.5)
        assert told(room)[2:] == [(0, 6_061), (1, -50)]
        await service.stop()

    story(main, **SHARE)


def test_only_who_acts_tells_a_successor_tells_anew_and_nothing_without_a_limit():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        state(room, "X", "5000")
        state(room, "Y", "2000")
        await asyncio.sleep(2.5)
        assert told(room) == [(0, 5_000), (1, 2_000)]
        await first.stop()
        await asyncio.sleep(4)
        assert told(room) == 2 * [(0, 5_000), (1, 2_000)]
        assert (await room.limits("bob", firm={"venue_share": "unlimited"}))["ok"]
        state(room, "X", "9000")
        await asyncio.sleep(2.5)
        assert len(told(room)) == 4
        await second.stop()

    story(main, **SHARE)


def test_a_position_s_profit_counts_an_isolated_one_s_wallet_too_and_other_currencies_at_their_rate():
    desk = Desk()
    assert desk.book.equity("U", desk.now) is None
    desk.trade(0, 10_000, 490_000)
    assert desk.say("5000", 10_000, "49000")
    assert desk.book.equity("U", desk.now) == 15_000 * MILLION
    assert desk.say("5000", 10_000, "49000", isolated=D(700))
    assert desk.book.equity("U", desk.now) == 15_700 * MILLION
    assert desk.book.statement("C", "main", VenueMargin(desk.now, {"BTC": VenueWallet(D(2), D(0), D(0))}, []))
    assert desk.book.equity("C", desk.now) == 100_000 * MILLION
