"""The fill rules of `kernel.exchange`, sentence by sentence, with figures a person can check."""

from __future__ import annotations

from decimal import Decimal

import pytest
from oracle.stage import (
    BUY,
    DAY,
    FOK,
    GTD,
    IOC,
    MARKET,
    MID,
    POST_ONLY,
    PRIMARY,
    SELL,
    begin,
    buy,
    cancel,
    end,
    idle,
    level,
    new,
    order,
    play,
    quote,
    replace,
    sell,
    status,
    trade,
)

from tidegate.kernel import engine as k
from tidegate.model.instrument import InstrumentKind
from tidegate.model.money import unit
from tidegate.model.order import ExecType, OrdType
from tidegate.model.time import DAY as ONE_DAY

M, L = OrdType.MARKET, OrdType.LIMIT
STOP, STOP_LIMIT, TRAIL, ICEBERG, PEG = (
    OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP, OrdType.ICEBERG, OrdType.PEGGED,
)  # fmt: skip

# Bids 99 × 5, 98 × 10; asks 101 × 4, 102 × 6, 104 × 20.
BOOK = (
    level(1, BUY, 99, 5), level(1, BUY, 98, 10), level(1, SELL, 101, 4), level(1, SELL, 102, 6),
    level(1, SELL, 104, 20),
)  # fmt: skip

ARRIVAL = {
    "a market order takes the shown levels, best first": (
        "partial", [new(5, BUY, 12, kind=M)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 8 left", "5 TRADE 1: 6 at 102 taker, 2 left",
         "5 TRADE 1: 2 at 104 taker, 0 left"],
    ),
    "a market order to sell walks the bids down": (
        "partial", [new(5, SELL, 7, kind=M)],
        ["5 NEW 1", "5 TRADE 1: 5 at 99 taker, 2 left", "5 TRADE 1: 2 at 98 taker, 0 left"],
    ),
    "without partial fills a market order gets all at the best price": (
        "no_partial", [new(5, BUY, 1000, kind=M)], ["5 NEW 1", "5 TRADE 1: 1000 at 101 taker, 0 left"],
    ),
    "what a market order does not find expires": (
        "partial", [new(5, BUY, 40, kind=M)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 36 left", "5 TRADE 1: 6 at 102 taker, 30 left",
         "5 TRADE 1: 20 at 104 taker, 10 left", "5 EXPIRED 1 NO_LIQUIDITY"],
    ),
    "a limit order takes to its limit and rests with what is left": (
        "partial", [buy(5, 12, 102)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 8 left", "5 TRADE 1: 6 at 102 taker, 2 left"],
    ),
    "a limit order at the best price of the other side takes": (
        "no_partial", [sell(5, 7, 99)], ["5 NEW 1", "5 TRADE 1: 7 at 99 taker, 0 left"],
    ),
    "a limit order one tick short of it rests": ("no_partial", [sell(5, 7, 100)], ["5 NEW 1"]),
    "IOC: what is left expires": (
        "partial", [buy(5, 12, 101, tif=IOC)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 8 left", "5 EXPIRED 1 IOC"],
    ),
    "IOC that meets nothing expires whole": (
        "partial", [buy(5, 12, 100, tif=IOC)], ["5 NEW 1", "5 EXPIRED 1 IOC"],
    ),
    "FOK fills at once when enough is shown": (
        "partial", [buy(5, 10, 102, tif=FOK)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 6 left", "5 TRADE 1: 6 at 102 taker, 0 left"],
    ),
    "FOK expires when one lot is missing": (
        "partial", [buy(5, 11, 102, tif=FOK)], ["5 NEW 1", "5 EXPIRED 1 FOK"],
    ),
    "FOK without partial fills needs only the price": (
        "no_partial", [buy(5, 11, 101, tif=FOK)], ["5 NEW 1", "5 TRADE 1: 11 at 101 taker, 0 left"],
    ),
    "FOK away from the market expires": (
        "no_partial", [buy(5, 11, 100, tif=FOK)], ["5 NEW 1", "5 EXPIRED 1 FOK"],
    ),
    "POST_ONLY is rejected instead of taking, before it is acknowledged": (
        "partial", [buy(5, 1, 101, inst=POST_ONLY)], ["5 REJECTED 1 WOULD_CROSS"],
    ),
    "POST_ONLY rests where it would not take": ("partial", [buy(5, 1, 100, inst=POST_ONLY)], ["5 NEW 1"]),
    "a POST_ONLY peg to the other side's best is rejected too": (
        "partial", [new(5, BUY, 1, kind=PEG, inst=POST_ONLY | MARKET)], ["5 REJECTED 1 WOULD_CROSS"],
    ),
    "an iceberg takes with all its lots": (
        "partial", [buy(5, 9, 102, kind=ICEBERG, display=2)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 5 left", "5 TRADE 1: 5 at 102 taker, 0 left"],
    ),
    "our orders do not see each other: both get the same lots": (
        "partial", [buy(5, 4, 101), buy(5, 4, 101)],
        ["5 NEW 1", "5 TRADE 1: 4 at 101 taker, 0 left", "5 NEW 2", "5 TRADE 2: 4 at 101 taker, 0 left"],
    ),
    "our orders do not trade with each other": ("partial", [buy(5, 4, 100), sell(6, 4, 100)], ["5 NEW 1", "6 NEW 2"]),
    "an order whose expiry has passed on arrival expires unfilled": (
        "partial", [buy(5, 4, 101, tif=GTD, expire=5)], ["5 EXPIRED 1 EXPIRY"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", ARRIVAL)
def test_arrival(rule):
    fill, requests, expected = ARRIVAL[rule]
    assert play(*BOOK, *requests, fill=fill).lines == expected


def test_an_empty_book_has_no_price_for_a_market_order():
    assert play(idle(1), new(5, BUY, 3, kind=M)).lines == ["5 NEW 1", "5 EXPIRED 1 NO_LIQUIDITY"]


@pytest.mark.parametrize("fill", ["partial", "no_partial"])
def test_where_only_trades_are_recorded_the_last_price_stands_in_of_any_size(fill):
    played = play(
        trade(1, 100, 2, BUY), new(5, BUY, 50, kind=M), sell(6, 70, 100), buy(7, 80, 101, tif=FOK), buy(8, 9, 99),
        trade(9, 98, 1, SELL), new(10, SELL, 5, kind=M), fill=fill,
    )  # fmt: skip
    assert played.lines == [
        "5 NEW 1", "5 TRADE 1: 50 at 100 taker, 0 left",
        "6 NEW 2", "6 TRADE 2: 70 at 100 taker, 0 left",
        "7 NEW 3", "7 TRADE 3: 80 at 100 taker, 0 left",
        "8 NEW 4", "9 TRADE 4: 9 at 99 maker, 0 left",
        "10 NEW 5", "10 TRADE 5: 5 at 98 taker, 0 left",
    ]  # fmt: skip


def test_an_order_rests_behind_the_size_shown_at_its_price():
    played = play(*BOOK, buy(5, 3, 98), buy(5, 3, 97))
    assert (played.front(1), played.front(2)) == (10, 0)
    acknowledged = [report[1:] for report in played.state["reports"]]
    assert [r[k.R_LAST_QTY] for r in acknowledged] == [10, 0], "an acknowledgement tells what was shown there"


RESTING = {
    "a trade through its price fills it whole at its own price": (
        "partial", [buy(5, 3, 98), trade(6, 97, 1, SELL)], ["5 NEW 1", "6 TRADE 1: 3 at 98 maker, 0 left"],
    ),
    "the other side's best price reaching it fills it whole at its own price": (
        "partial", [buy(5, 30, 98), level(6, SELL, 98, 1)], ["5 NEW 1", "6 TRADE 1: 30 at 98 maker, 0 left"],
    ),
    "beyond it too": (
        "partial", [sell(5, 30, 102), level(6, BUY, 103, 1)], ["5 NEW 1", "6 TRADE 1: 30 at 102 maker, 0 left"],
    ),
    "only when the message is complete": (
        "partial", [buy(5, 3, 98), level(6, SELL, 98, 1, last=False), level(7, SELL, 98, 0)], ["5 NEW 1"],
    ),
    "five lots ahead: a trade of five fills nothing": (
        "partial", [buy(5, 3, 99), trade(6, 99, 5, SELL)], ["5 NEW 1"],
    ),
    "five lots ahead: a trade of six fills one (partial)": (
        "partial", [buy(5, 3, 99), trade(6, 99, 6, SELL)], ["5 NEW 1", "6 TRADE 1: 1 at 99 maker, 2 left"],
    ),
    "five lots ahead: a trade of six fills all (no_partial)": (
        "no_partial", [buy(5, 3, 99), trade(6, 99, 6, SELL)], ["5 NEW 1", "6 TRADE 1: 3 at 99 maker, 0 left"],
    ),
    "trades add up until the queue is used": (
        "partial", [buy(5, 9, 99), trade(6, 99, 3, SELL), trade(7, 99, 4, SELL), trade(8, 99, 30, SELL)],
        ["5 NEW 1", "7 TRADE 1: 2 at 99 maker, 7 left", "8 TRADE 1: 7 at 99 maker, 0 left"],
    ),
    "a trade of the own side's aggressor is none of its business": (
        "partial", [buy(5, 3, 99), trade(6, 99, 50, BUY), trade(7, 90, 50, BUY)], ["5 NEW 1"],
    ),
    "a trade whose aggressor is not known meets both sides": (
        "partial", [buy(5, 3, 98), sell(5, 3, 103), trade(6, 97, 1, 0), trade(7, 104, 1, 0)],
        ["5 NEW 1", "5 NEW 2", "6 TRADE 1: 3 at 98 maker, 0 left", "7 TRADE 2: 3 at 103 maker, 0 left"],
    ),
    "an order better than its side's best has nobody ahead": (
        "partial", [buy(5, 3, 99), level(6, BUY, 99, 0), trade(7, 99, 1, SELL)],
        ["5 NEW 1", "7 TRADE 1: 1 at 99 maker, 2 left"],
    ),
    "each fills as if it were alone": (
        "partial", [buy(5, 3, 99), buy(5, 3, 99), trade(6, 99, 7, SELL)],
        ["5 NEW 1", "5 NEW 2", "6 TRADE 1: 2 at 99 maker, 1 left", "6 TRADE 2: 2 at 99 maker, 1 left"],
    ),
    "an iceberg shows two; what the trade had beyond them is not for the next two": (
        "partial", [buy(5, 6, 97, kind=ICEBERG, display=2), trade(6, 97, 5, SELL), trade(7, 97, 1, SELL)],
        ["5 NEW 1", "6 TRADE 1: 2 at 97 maker, 4 left", "7 TRADE 1: 1 at 97 maker, 3 left"],
    ),
    "an iceberg's next lots join the back": (
        "no_partial",
        [buy(5, 6, 98, kind=ICEBERG, display=2), trade(6, 98, 11, SELL), trade(7, 98, 10, SELL), trade(8, 98, 1, SELL)],
        ["5 NEW 1", "6 TRADE 1: 2 at 98 maker, 4 left", "8 TRADE 1: 2 at 98 maker, 2 left"],
    ),
    "a trade through an iceberg takes its hidden lots too": (
        "partial", [buy(5, 6, 98, kind=ICEBERG, display=2), trade(6, 97, 1, SELL)],
        ["5 NEW 1", "6 TRADE 1: 6 at 98 maker, 0 left"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RESTING)
def test_a_resting_order(rule):
    fill, happenings, expected = RESTING[rule]
    # The trades before 5 would make the last price; here the book is of levels.
    assert play(*BOOK, *happenings, fill=fill).lines == expected


def test_a_quote_that_leaves_a_level_behind_says_nothing_of_who_is_ahead_there():
    played = play(
        quote(1, 99, 50, 101, 50), buy(5, 3, 99), quote(6, 100, 7, 101, 50), quote(7, 99, 20, 101, 50),
    )  # fmt: skip
    assert played.front(1) == 20, "fifty, until the level is seen again with twenty"
    assert play(quote(1, 99, 50, 101, 50), buy(5, 3, 99), quote(6, 100, 7, 101, 50)).front(1) == 50
    falls = play(quote(1, 99, 50, 101, 50), buy(5, 3, 99), quote(6, 98, 7, 101, 50))
    assert falls.front(1) == 0, "the best bid fell below it: nobody else is left at 99"


PEGS = {
    "primary, behind the own best": (PRIMARY, 1, 98, 102),
    "market, behind the other side's best": (MARKET, 1, 100, 100),
    "middle": (MID, 0, 100, 100),
    "middle, behind": (MID, 2, 98, 102),
}


@pytest.mark.parametrize("peg", PEGS)
def test_a_peg_stands_behind_its_reference(peg):
    inst, offset, bid, ask = PEGS[peg]
    orders = [new(5, side, 1, kind=PEG, inst=inst, offset=offset) for side in (BUY, SELL)]
    played = play(*BOOK, *orders)
    assert [played.resting(n)["price"] for n in (1, 2)] == [bid, ask]


def test_the_middle_is_rounded_to_the_own_side():
    touch = (level(1, BUY, 100, 5), level(1, SELL, 103, 5))
    played = play(*touch, new(5, BUY, 1, kind=PEG, inst=MID), new(5, SELL, 1, kind=PEG, inst=MID))
    assert [played.resting(n)["price"] for n in (1, 2)] == [101, 102]


def test_a_peg_follows_and_goes_to_the_back_each_time():
    played = play(
        *BOOK, new(5, BUY, 2, kind=PEG, inst=PRIMARY), level(6, BUY, 100, 7), level(7, BUY, 100, 3),
        level(8, BUY, 100, 0), trade(9, 99, 5, SELL), trade(10, 99, 1, SELL),
    )  # fmt: skip
    assert played.lines == [
        "5 NEW 1", "6 RESTATED 1: at 100", "8 RESTATED 1: at 99", "10 TRADE 1: 1 at 99 maker, 1 left",
    ]  # fmt: skip
    assert play(*BOOK, new(5, BUY, 2, kind=PEG, inst=PRIMARY), level(6, BUY, 100, 7)).front(1) == 7


def test_a_peg_without_both_best_prices_is_rejected_and_later_stays_where_it_is():
    bids = level(1, BUY, 99, 5)
    assert play(bids, new(5, BUY, 1, kind=PEG, inst=PRIMARY)).lines == ["5 REJECTED 1 NO_LIQUIDITY"]
    both = (bids, level(1, SELL, 101, 5))
    played = play(
        *both, new(5, BUY, 1, kind=PEG, inst=PRIMARY), level(6, SELL, 101, 0), level(7, BUY, 100, 5)
    )
    assert played.lines == ["5 NEW 1"]
    assert played.resting(1)["price"] == 99


def test_a_peg_to_the_other_side_takes_on_arrival():
    assert play(*BOOK, new(5, BUY, 2, kind=PEG, inst=MARKET)).lines == [
        "5 NEW 1", "5 TRADE 1: 2 at 101 taker, 0 left",
    ]  # fmt: skip


LAST = trade(2, 100, 1, BUY)
STOPS = {
    "a stop is triggered by a trade at its price and takes what is there": (
        [new(5, BUY, 2, kind=STOP, stop=101), trade(6, 100, 1, BUY), trade(7, 101, 1, BUY)],
        ["5 NEW 1", "7 TRIGGERED 1", "7 TRADE 1: 2 at 101 taker, 0 left"],
    ),
    "or beyond it": (
        [new(5, SELL, 2, kind=STOP, stop=99), trade(6, 95, 1, SELL)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 2 at 99 taker, 0 left"],
    ),
    "whichever side the aggressor was": (
        [new(5, BUY, 2, kind=STOP, stop=101), trade(6, 101, 1, SELL)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 2 at 101 taker, 0 left"],
    ),
    "not by what was before it arrived": ([new(5, SELL, 2, kind=STOP, stop=100)], ["5 NEW 1"]),
    "not by the touch where there are trades": (
        [new(5, BUY, 2, kind=STOP, stop=100), level(6, SELL, 101, 9)], ["5 NEW 1"],
    ),
    "a stop-limit becomes a limit order, and may rest": (
        [new(5, BUY, 6, 101, kind=STOP_LIMIT, stop=101), trade(6, 101, 1, BUY)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 4 at 101 taker, 2 left"],
    ),
    "a post-only stop-limit that would take is rejected when it is triggered": (
        [new(5, BUY, 6, 101, kind=STOP_LIMIT, stop=101, inst=POST_ONLY), trade(6, 101, 1, BUY)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 REJECTED 1 WOULD_CROSS"],
    ),
    "a trailing stop follows the best trade, from the last one before it": (
        [new(5, SELL, 1, kind=TRAIL, offset=3), trade(6, 98, 1, SELL), trade(7, 103, 1, BUY), trade(8, 101, 1, SELL),
         trade(9, 100, 1, SELL)],
        ["5 NEW 1", "9 TRIGGERED 1", "9 TRADE 1: 1 at 99 taker, 0 left"],
    ),
    "a trailing stop to buy follows downwards": (
        [new(5, BUY, 1, kind=TRAIL, offset=3), trade(6, 95, 1, SELL), trade(7, 97, 1, BUY), trade(8, 98, 1, BUY)],
        ["5 NEW 1", "8 TRIGGERED 1", "8 TRADE 1: 1 at 101 taker, 0 left"],
    ),
    "a trailing stop may come with a stop price": (
        [new(5, SELL, 1, kind=TRAIL, offset=3, stop=99), trade(6, 99, 1, SELL)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 1 at 99 taker, 0 left"],
    ),
    "a triggered stop with nothing to take expires": (
        [level(3, SELL, 101, 0), level(3, SELL, 102, 0), level(3, SELL, 104, 0),
         new(5, BUY, 1, kind=STOP, stop=101), trade(6, 101, 1, BUY)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 EXPIRED 1 NO_LIQUIDITY"],
    ),
    "a waiting stop can be cancelled": (
        [new(5, BUY, 2, kind=STOP, stop=101), cancel(6, 1), trade(7, 101, 1, BUY)], ["5 NEW 1", "6 CANCELED 1"],
    ),
    "a replace of a waiting stop changes quantity and limit, not the trigger": (
        [new(5, BUY, 2, 101, kind=STOP_LIMIT, stop=101), replace(6, 1, 3, 102), trade(7, 101, 1, BUY)],
        ["5 NEW 1", "6 REPLACED 1: 3 at 102, 3 left", "7 TRIGGERED 1", "7 TRADE 1: 3 at 101 taker, 0 left"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", STOPS)
def test_a_stop(rule):
    happenings, expected = STOPS[rule]
    assert play(*BOOK, LAST, *happenings).lines == expected


TOUCH = {
    "the other side's best price triggers a buy": (
        [new(5, BUY, 1, kind=STOP, stop=102), level(6, SELL, 101, 0)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 1 at 102 taker, 0 left"],
    ),
    "and a sell": (
        [new(5, SELL, 1, kind=STOP, stop=98), level(6, BUY, 99, 0)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 1 at 98 taker, 0 left"],
    ),
    "but not while a side has no price": (
        [new(5, BUY, 1, kind=STOP, stop=102), level(6, BUY, 99, 0), level(6, BUY, 98, 0), level(7, SELL, 101, 0)],
        ["5 NEW 1"],
    ),
    "a trailing stop follows the other side's best": (
        [new(5, BUY, 1, kind=TRAIL, offset=2), level(6, SELL, 100, 1), level(7, SELL, 100, 0),
         level(8, SELL, 101, 0)],
        ["5 NEW 1", "8 TRIGGERED 1", "8 TRADE 1: 1 at 102 taker, 0 left"],
    ),
    "until the first trade: then only trades count": (
        [new(5, BUY, 1, kind=STOP, stop=102), trade(6, 100, 1, BUY), level(7, SELL, 101, 0)], ["5 NEW 1"],
    ),
    "the end of a snapshot is such a look": (
        [new(5, BUY, 1, kind=STOP, stop=102), begin(6), level(6, BUY, 100, 1), level(6, SELL, 103, 1), end(6)],
        ["5 NEW 1", "6 TRIGGERED 1", "6 TRADE 1: 1 at 103 taker, 0 left"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", TOUCH)
def test_a_stop_where_nothing_has_traded(rule):
    happenings, expected = TOUCH[rule]
    assert play(*BOOK, *happenings).lines == expected


REPLACES = {
    "fewer lots at the same price keep the place": (
        [buy(5, 6, 99), level(6, BUY, 99, 30), replace(7, 1, 4, 99), trade(8, 99, 7, SELL)],
        ["5 NEW 1", "7 REPLACED 1: 4 at 99, 4 left", "8 TRADE 1: 2 at 99 maker, 2 left"],
    ),
    "more lots go to the back": (
        [buy(5, 6, 99), level(6, BUY, 99, 30), replace(7, 1, 8, 99), trade(8, 99, 31, SELL)],
        ["5 NEW 1", "7 REPLACED 1: 8 at 99, 8 left", "8 TRADE 1: 1 at 99 maker, 7 left"],
    ),
    "another price goes to the back there": (
        [buy(5, 6, 99), replace(7, 1, 6, 98), trade(8, 98, 11, SELL)],
        ["5 NEW 1", "7 REPLACED 1: 6 at 98, 6 left", "8 TRADE 1: 1 at 98 maker, 5 left"],
    ),
    "a new price may take": (
        [buy(5, 6, 99), replace(7, 1, 6, 101)],
        ["5 NEW 1", "7 REPLACED 1: 6 at 101, 6 left", "7 TRADE 1: 4 at 101 taker, 2 left"],
    ),
    "a post-only order's replace that would take is refused and the order stands": (
        [buy(5, 6, 99, inst=POST_ONLY), replace(7, 1, 6, 101), trade(8, 99, 6, SELL)],
        ["5 NEW 1", "7 CANCEL_REJECTED 1 WOULD_CROSS", "8 TRADE 1: 1 at 99 maker, 5 left"],
    ),
    "quantities are totals: what has filled counts": (
        [buy(5, 6, 99), trade(6, 99, 7, SELL), replace(7, 1, 5, 99), trade(8, 99, 9, SELL)],
        ["5 NEW 1", "6 TRADE 1: 2 at 99 maker, 4 left", "7 REPLACED 1: 5 at 99, 3 left",
         "8 TRADE 1: 3 at 99 maker, 0 left"],
    ),
    "a replace to no more than has filled cancels the rest": (
        [buy(5, 6, 99), trade(6, 99, 7, SELL), replace(7, 1, 2, 99)],
        ["5 NEW 1", "6 TRADE 1: 2 at 99 maker, 4 left", "7 CANCELED 1"],
    ),
    "fewer lots cut the shown part of an iceberg": (
        [buy(5, 9, 97, kind=ICEBERG, display=5), replace(6, 1, 3, 97), trade(7, 97, 9, SELL)],
        ["5 NEW 1", "6 REPLACED 1: 3 at 97, 3 left", "7 TRADE 1: 3 at 97 maker, 0 left"],
    ),
    "of a peg only the quantity changes": (
        [new(5, BUY, 6, kind=PEG, inst=PRIMARY), replace(6, 1, 4, 90), trade(7, 99, 6, SELL)],
        ["5 NEW 1", "6 REPLACED 1: 4 at 99, 4 left", "7 TRADE 1: 1 at 99 maker, 3 left"],
    ),
    "an order that has ended is refused; once its owner knows, it is unknown": (
        [buy(5, 1, 101), cancel(5, 1), replace(6, 1, 2, 101)],
        ["5 NEW 1", "5 TRADE 1: 1 at 101 taker, 0 left", "5 CANCEL_REJECTED 1 TOO_LATE",
         "6 CANCEL_REJECTED 1 UNKNOWN_ORDER"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", REPLACES)
def test_replace_and_cancel(rule):
    happenings, expected = REPLACES[rule]
    assert play(*BOOK, *happenings).lines == expected


def test_a_refused_replace_tells_what_was_asked_and_a_refused_cancel_nothing():
    played = play(*BOOK, buy(5, 1, 101), cancel(5, 1), replace(5, 1, 7, 97), replace(9, 1, 8, 96))
    refused = [r[1:] for r in played.state["reports"] if r[2] == ExecType.CANCEL_REJECTED]
    assert [(r[k.R_QTY], r[k.R_PRICE]) for r in refused] == [(0, 0), (7, 97), (8, 96)]


def test_a_reduction_keeps_its_place_even_where_the_last_trade_was_at_its_price():
    # Only trades are known: the last price stands in for the touch, and a resting order may stand at it.
    played = play(
        trade(1, 100, 1, SELL), buy(5, 6, 99, inst=POST_ONLY), trade(6, 99, 2, SELL), replace(7, 1, 4, 99),
    )  # fmt: skip
    assert played.lines == ["5 NEW 1", "6 TRADE 1: 2 at 99 maker, 4 left", "7 REPLACED 1: 4 at 99, 2 left"]


# Time.

EVE = ONE_DAY - 50


def test_day_orders_expire_at_midnight_and_gtd_at_their_time_to_the_nanosecond():
    early = tuple(level(EVE, side, price, 5) for side, price in ((BUY, 99), (SELL, 101)))
    played = play(
        *early, buy(EVE + 1, 1, 98, tif=DAY), buy(EVE + 1, 1, 98, tif=GTD, expire=EVE + 20),
        new(EVE + 2, BUY, 1, kind=STOP, stop=200, tif=DAY), buy(EVE + 2, 1, 98), idle(EVE + 300),
    )  # fmt: skip
    assert played.lines == [
        f"{EVE + 1} NEW 1", f"{EVE + 1} NEW 2", f"{EVE + 2} NEW 3", f"{EVE + 2} NEW 4",
        f"{EVE + 20} EXPIRED 2 EXPIRY", f"{ONE_DAY} EXPIRED 1 EXPIRY", f"{ONE_DAY} EXPIRED 3 EXPIRY",
    ]  # fmt: skip


def test_an_order_expires_before_anything_else_of_that_instant():
    played = play(
        *BOOK, buy(5, 1, 98, tif=GTD, expire=20), trade(20, 90, 1, SELL), cancel(20, 1), response=(3,)
    )  # fmt: skip
    assert played.lines == ["8 NEW 1", "23 EXPIRED 1 EXPIRY", "23 CANCEL_REJECTED 1 TOO_LATE"]


def test_an_order_expires_when_no_record_comes_at_that_time():
    played = play(*BOOK, buy(5, 1, 98, tif=GTD, expire=20), cancel(25, 1), trade(40, 90, 1, SELL))
    assert played.lines == ["5 NEW 1", "20 EXPIRED 1 EXPIRY", "25 CANCEL_REJECTED 1 UNKNOWN_ORDER"]


def test_a_replaced_order_keeps_its_expiry():
    played = play(*BOOK, buy(5, 1, 98, tif=GTD, expire=20), replace(10, 1, 2, 97), idle(30))
    assert played.lines == ["5 NEW 1", "10 REPLACED 1: 2 at 97, 2 left", "20 EXPIRED 1 EXPIRY"]


# Halts, gaps, snapshots.


def test_in_a_halt_orders_and_replaces_are_refused_and_cancels_go_on():
    played = play(
        *BOOK, buy(3, 2, 98), buy(3, 2, 97), status(4, 1), buy(5, 1, 98), new(5, BUY, 1, kind=M), replace(6, 1, 1, 98),
        cancel(7, 2), status(8, 0), buy(9, 1, 96),
    )  # fmt: skip
    assert played.lines == [
        "3 NEW 1", "3 NEW 2", "5 REJECTED 3 HALTED", "5 REJECTED 4 HALTED", "6 CANCEL_REJECTED 1 HALTED",
        "7 CANCELED 2", "9 NEW 5",
    ]  # fmt: skip


def test_in_a_halt_nothing_fills_triggers_or_follows_until_trading_resumes():
    played = play(
        *BOOK, LAST, buy(3, 2, 98), new(3, SELL, 1, kind=STOP, stop=99), new(3, BUY, 1, kind=PEG, inst=PRIMARY),
        status(4, 2), trade(5, 97, 9, SELL), level(6, SELL, 98, 3), level(7, BUY, 96, 4), idle(9), status(10, 0),
    )  # fmt: skip
    assert played.lines == [
        "3 NEW 1", "3 NEW 2", "3 NEW 3", "10 TRADE 1: 2 at 98 maker, 0 left", "10 TRADE 3: 1 at 99 maker, 0 left",
    ]  # fmt: skip


def test_in_a_halt_orders_expire():
    assert play(*BOOK, buy(3, 2, 98, tif=GTD, expire=6), status(4, 1), idle(9)).lines == [
        "3 NEW 1", "6 EXPIRED 1 EXPIRY",
    ]  # fmt: skip


def test_after_a_gap_depth_fills_nothing_until_the_next_snapshot_has_ended():
    played = play(
        *BOOK, buy(3, 2, 98), level(4, SELL, 97, 1, gap=True), level(5, SELL, 96, 1), begin(6),
        level(6, BUY, 90, 2), level(6, SELL, 98, 2), end(7),
    )  # fmt: skip
    assert played.lines == ["3 NEW 1", "7 TRADE 1: 2 at 98 maker, 0 left"]


def test_after_a_gap_trades_and_quotes_still_fill():
    gap = level(4, SELL, 105, 1, gap=True)
    assert (
        play(*BOOK, buy(3, 2, 98), gap, trade(5, 97, 1, SELL)).lines[-1] == "5 TRADE 1: 2 at 98 maker, 0 left"
    )
    assert (
        play(*BOOK, buy(3, 2, 98), gap, quote(5, 96, 1, 98, 1)).lines[-1]
        == "5 TRADE 1: 2 at 98 maker, 0 left"
    )


def test_after_a_snapshot_no_more_is_ahead_than_the_level_holds():
    shot = (begin(6), level(6, BUY, 98, 4), level(6, SELL, 101, 1), end(6))
    played = play(*BOOK, buy(3, 2, 98), buy(3, 2, 97), *shot)
    assert (played.front(1), played.front(2)) == (4, 0)
    gone = play(*BOOK, buy(3, 2, 98), begin(6), level(6, BUY, 99, 4), level(6, SELL, 101, 1), end(6))
    assert gone.front(1) == 0


# Latency, fees, prices.


def test_a_cancel_races_a_fill():
    # Requests take 10, reports 20: the trade at 104 is at the exchange before the cancel of 95 gets there.
    def run(traded):
        return play(
            *BOOK, buy(50, 3, 98), cancel(95, 1), trade(traded, 97, 1, SELL), entry=(10,), response=(20,)
        )

    assert run(104).lines == [
        "80 NEW 1", "124 TRADE 1: 3 at 98 maker, 0 left", "125 CANCEL_REJECTED 1 TOO_LATE",
    ]  # fmt: skip
    assert run(106).lines == ["80 NEW 1", "125 CANCELED 1"]
    # At the same instant the market goes first.
    assert run(105).lines == [
        "80 NEW 1", "125 TRADE 1: 3 at 98 maker, 0 left", "125 CANCEL_REJECTED 1 TOO_LATE",
    ]  # fmt: skip


def test_a_replace_races_a_fill():
    def run(traded):
        return play(*BOOK, buy(50, 3, 98), replace(95, 1, 3, 90), trade(traded, 97, 1, SELL), entry=(10,))

    assert run(104).lines[1:] == ["104 TRADE 1: 3 at 98 maker, 0 left", "105 CANCEL_REJECTED 1 UNKNOWN_ORDER"]
    assert run(106).lines[1:] == ["105 REPLACED 1: 3 at 90, 3 left"]


@pytest.mark.parametrize(
    ("maker", "taker", "paid"),
    [("0.0002", "0.0005", [505, 196]), ("-0.0001", "0.0004", [404, -98]), ("0", "0", [0, 0])],
)
def test_fees_are_a_fraction_of_the_value_and_a_rebate_is_negative(maker, taker, paid):
    # A lot of 0.001 at 101 ticks of 0.1 is worth 0.0101 USDT: 1,010,000 units of 1e-8. At 98 ticks 980,000.
    assert unit("USDT") == Decimal("1e-8")
    played = play(
        *BOOK, buy(5, 1, 101), buy(6, 1, 98), trade(7, 97, 1, SELL), maker_fee=Decimal(maker),
        taker_fee=Decimal(taker),
    )  # fmt: skip
    assert [r[1:][k.R_FEE] for r in played.state["reports"] if r[2] == ExecType.TRADE] == paid


def test_an_inverse_contract_is_charged_in_its_base():
    # Three contracts of 100 USD at 600,000 ticks of 0.1: 300 / 60,000 = 0.005 BTC; 0.05 % is 25,000e-10.
    played = play(
        level(1, SELL, 600_000, 9), new(5, BUY, 3, kind=M), kind=InstrumentKind.INVERSE_PERPETUAL, quote="USD",
        lot=Decimal(1), multiplier=Decimal(100),
    )  # fmt: skip
    assert [r[1:][k.R_FEE] for r in played.state["reports"] if r[2] == ExecType.TRADE] == [25_000]


def test_prices_at_and_below_zero_trade_like_any_other():
    book = (level(1, BUY, -2, 5), level(1, SELL, 1, 5))
    played = play(
        *book, buy(5, 2, 0), sell(5, 2, 0), buy(5, 1, -3), trade(6, 0, 2, SELL), trade(7, -4, 1, SELL),
        new(8, SELL, 3, kind=M), new(8, BUY, 1, kind=PEG, inst=MID), negative_prices=True,
    )  # fmt: skip
    assert played.lines == [
        "5 NEW 1", "5 NEW 2", "5 NEW 3", "6 TRADE 1: 2 at 0 maker, 0 left", "7 TRADE 3: 1 at -3 maker, 0 left",
        "8 NEW 4", "8 TRADE 4: 3 at -2 taker, 0 left", "8 NEW 5",
    ]  # fmt: skip
    assert played.resting(5)["price"] == -1, "the middle of -2 and 1, rounded down for a buy"


# L3.


def test_with_every_order_known_only_those_ahead_move_us_up():
    feed = (order(1, 11, BUY, 99, 4), order(2, 12, BUY, 99, 6), order(3, 13, SELL, 101, 5))
    behind = order(6, 14, BUY, 99, 9)

    def run(*after):
        return play(*feed, buy(5, 2, 99), behind, *after, queue="l3_fifo")

    assert run().front(1) == 10
    assert run(order(7, 12, BUY, 99, 0)).front(1) == 4, "an order ahead was canceled"
    assert run(order(7, 14, BUY, 99, 0)).front(1) == 10, "one behind"
    assert run(order(7, 12, BUY, 99, 5)).front(1) == 9, "one ahead lost a lot"
    assert run(order(7, 12, BUY, 99, 8)).front(1) == 4, "one that grows goes to the back"
    assert run(order(7, 11, BUY, 98, 4)).front(1) == 6, "so does one that moves"
    traded = run(trade(7, 99, 3, SELL), order(7, 11, BUY, 99, 1))
    assert traded.front(1) == 7, "a trade and the decrease it causes count once"
    filled = run(trade(7, 99, 11, SELL))
    assert filled.lines[-1] == "7 TRADE 1: 1 at 99 maker, 1 left"


def test_a_snapshot_of_orders_keeps_the_places_of_those_it_repeats():
    feed = (order(1, 11, BUY, 99, 4), order(2, 12, BUY, 99, 6), order(3, 13, SELL, 101, 5))
    shot = (begin(6), order(6, 12, BUY, 99, 5), order(6, 13, SELL, 101, 5), order(6, 15, BUY, 99, 7), end(6))

    def run(*after):
        return play(*feed, buy(5, 2, 99), *shot, *after, queue="l3_fifo")

    assert run().front(1) == 5, "order 11 is gone, 12 lost a lot, 15 is behind"
    assert dict(run().state["exchange books"][0][0]) == {99: 12}
    assert run(order(7, 15, BUY, 99, 0)).front(1) == 5
    assert run(order(7, 12, BUY, 99, 0)).front(1) == 0


def test_an_l3_feed_serves_the_estimating_models_by_the_sums_of_its_orders():
    feed = (order(1, 11, BUY, 99, 4), order(2, 12, BUY, 99, 6), order(3, 13, SELL, 101, 5))
    played = play(
        *feed, buy(5, 2, 99), order(6, 14, BUY, 99, 9), order(7, 11, BUY, 99, 0), queue="risk_averse"
    )
    assert played.front(1) == 10, "the level still holds fifteen"
    assert play(*feed, buy(5, 2, 99), order(7, 11, BUY, 99, 0), queue="risk_averse").front(1) == 6
