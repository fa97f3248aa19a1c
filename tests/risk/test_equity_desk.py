"""Control 26's figures: the equity at each venue from its statements, told to every lane once all venues have spoken."""

from __future__ import annotations

import asyncio
from decimal import Decimal as D

import msgspec
import pytest
from risk.risk_room import Room
from risk.test_margin_book import Desk

from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Universe
from tidegate.model.messages import VenueEquity
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import unlimited
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.collateral import HaircutTier
from tidegate.risk.margin.compare import VenueMargin, VenueWallet
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.sim.virtual_time import run

SHARE = {"firm": {"venue_share": "80%"}}
MILLION = 1_000_000
BTC_SPOT = BINANCE[0]


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


SPOT = Universe(
    [
        BTC_SPOT,
        msgspec.structs.replace(BTC_SPOT, symbol="USDCUSDT", base="USDC", tick=D("0.0001"), lot=D("0.01")),
        msgspec.structs.replace(BTC_SPOT, symbol="ETHBTC", base="ETH", quote="BTC", tick=D("0.00001")),
    ]
)


def book(**more):
    scopes = ScopeTable([Account(name="main")], [StrategyScope(name="mm", accounts=("main",))])
    exposure = Exposure(SPOT, scopes, fx={"BTC": "BTCUSDT.BINANCE"})
    return MarginBook(exposure, unlimited(), coins=("USDC",), **more)


def mark(book, n, bid, ask, now):
    assert book.exposure.mark(n, bid, ask, now)


def held(now, **wallets):
    return VenueMargin(now, {c: VenueWallet(D(w), D(0), D(0)) for c, w in wallets.items()}, [])


def test_spot_wallets_are_worth_their_marks_and_a_stablecoin_never_more_than_one():
    made, now = book(), 10**18
    assert made.statement("BINANCE", "main", held(now, USDT="1000", BTC="2", USDC="500", ETH="10", BNB="3"))
    assert made.equity("BINANCE", now) is None, "marks are waited for"
    mark(made, 0, 5_000_000, 5_000_100, now)
    mark(made, 1, 10_020, 10_021, now)
    mark(made, 2, 5_000, 5_001, now)
    usd = 1000 + 2 * 50_000.5 + 500 + 10 * 0.05 * 50_000.5
    assert made.equity("BINANCE", now) == pytest.approx(usd * MILLION)
    assert made.worth.missing(now) == [("BINANCE", "BNB")]
    mark(made, 1, 9_000, 9_001, now)
    assert made.equity("BINANCE", now) == pytest.approx((usd - 50) * MILLION), "off its peg it loses at once"
    later = now + 61 * 10**9
    mark(made, 0, 5_000_000, 5_000_100, later)
    mark(made, 2, 5_000, 5_001, later)
    assert made.equity("BINANCE", later) is None, "its mark is too old, and is waited for"
    later += 10**10
    assert made.equity("BINANCE", later) == pytest.approx((usd - 500) * MILLION)
    assert made.worth.missing(later) == [("BINANCE", "BNB"), ("BINANCE", "USDC")]


def test_haircuts_of_the_venue_s_table_and_what_it_does_not_name_counts_for_nothing():
    cut = {"BINANCE": {"BTC": (HaircutTier(ratio=D("0.9"), cap=D(50_000)), HaircutTier(ratio=D("0.5")))}}
    made, now = book(collateral=cut), 10**18
    for n, price in ((0, 5_000_000), (1, 10_000), (2, 5_000)):
        mark(made, n, price, price, now)
    assert made.statement("BINANCE", "main", held(now, USDT="1000", BTC="2", USDC="500"))
    assert made.equity("BINANCE", now) == (1000 + 45_000 + 25_000) * MILLION
    assert made.at("BINANCE", 0, "USDT", now) is None, "no contracts, no margin"
    assert list(made.accounts(now)) == []


def test_a_wallet_without_a_mark_is_said_once():
    async def main(room):
        service = await room.service()
        for _ in range(3):
            state(room, "X", "5000", BNB="10")
            state(room, "Y", "2000")
            await asyncio.sleep(2)
        assert [a["text"] for a in room.alerts("wallet_unpriced")] == [
            "what is held of BNB at X counts for nothing: no mark says what it is worth"
        ]
        assert told(room) == [(0, 5_000), (1, 2_000)]
        await service.stop()

    story(main, **SHARE)
