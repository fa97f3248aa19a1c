"""Self-trade prevention, stops, trailing stops, pegs and what they set off: one rule of docs/matching.md a test."""

from __future__ import annotations

import pytest
from matching_script import BUY, FOK, SELL, Script

from tidegate.kernel.matching_layout import MAX_SPAN, NO_PRICE
from tidegate.model.order import ExecInst, SelfTrade

PRIMARY, MARKET, MID, POST = ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID, ExecInst.POST_ONLY


@pytest.fixture
def book() -> Script:
    return Script()


def trade_at(book: Script, price: int) -> list[str]:
    """Make the last trade price this one, away from all else: reports of the second of two orders."""
    book.new(900, SELL, 1, price)
    return book.new(901, BUY, 1, price)


# Self-trade prevention.


def own_book(book: Script) -> None:
    book.new(1, SELL, 4, 100, owner=7)
    book.new(2, SELL, 4, 100, owner=8)


def test_without_a_mode_one_may_trade_with_oneself(book: Script) -> None:
    own_book(book)
    assert book.new(3, BUY, 4, 100, owner=7)[1:] == ["TRADE 3x1 4@100 left 0/0"]


def test_nobody_is_not_an_owner(book: Script) -> None:
    book.new(1, SELL, 4, 100)
    assert book.new(2, BUY, 4, 100, stp=SelfTrade.CANCEL_BOTH)[1:] == ["TRADE 2x1 4@100 left 0/0"]


def test_cancel_newest_ends_the_incoming_order(book: Script) -> None:
    book.new(9, SELL, 1, 99)
    own_book(book)
    assert book.new(3, BUY, 5, 100, owner=7, stp=SelfTrade.CANCEL_NEWEST)[1:] == [
        "TRADE 3x9 1@99 left 4/0",
        "CANCELED 3 4@100 SELF_TRADE",
    ]
    assert book.book() == ["1 4@100", "2 4@100"]


def test_cancel_oldest_ends_the_resting_order_and_goes_on(book: Script) -> None:
    own_book(book)
    assert book.new(3, BUY, 5, 100, owner=7, stp=SelfTrade.CANCEL_OLDEST)[1:] == [
        "CANCELED 1 4@100 SELF_TRADE",
        "TRADE 3x2 4@100 left 1/0",
    ]


def test_cancel_both_ends_the_resting_order_then_the_incoming(book: Script) -> None:
    own_book(book)
    assert book.market(3, BUY, 5, owner=7, stp=SelfTrade.CANCEL_BOTH)[1:] == [
        "CANCELED 1 4@100 SELF_TRADE",
        "CANCELED 3 5@- SELF_TRADE",
    ]


def test_decrement_takes_from_both_without_a_trade(book: Script) -> None:
    own_book(book)
    assert book.new(3, BUY, 6, 100, owner=7, stp=SelfTrade.DECREMENT)[1:] == [
        "CANCELED 1 4@100 SELF_TRADE",
        "RESTATED 3 2@100 of 2 SELF_TRADE",
        "TRADE 3x2 2@100 left 0/2",
    ]
    assert book.engine.last == 100


def test_decrement_of_the_larger_resting_order_restates_it(book: Script) -> None:
    own_book(book)
    assert book.new(3, BUY, 1, 100, owner=7, stp=SelfTrade.DECREMENT)[1:] == [
        "RESTATED 1 3@100 of 3 SELF_TRADE",
        "CANCELED 3 1@100 SELF_TRADE",
    ]
    assert book.engine.last is None
    assert book.replace(1, qty=1) == ["REPLACED 1 1@100"]


def test_decrement_takes_an_icebergs_displayed_part(book: Script) -> None:
    book.iceberg(1, SELL, 5, 100, shown=2, owner=7)
    assert book.new(3, BUY, 3, 100, owner=7, stp=SelfTrade.DECREMENT)[1:] == [
        "RESTATED 1 0@100 of 3 SELF_TRADE",
        "RESTATED 1 2@100 of 3 REFRESH",
        "RESTATED 3 1@100 of 1 SELF_TRADE",
        "RESTATED 1 1@100 of 2 SELF_TRADE",
        "CANCELED 3 1@100 SELF_TRADE",
    ]


# Stops.


def test_a_stop_waits_until_a_trade_reaches_its_price(book: Script) -> None:
    book.new(1, SELL, 9, 110)
    assert book.stop(2, BUY, 3, stop=105) == ["NEW 2 3@- stop 105"]
    assert len(trade_at(book, 104)) == 2
    assert trade_at(book, 105)[2:] == ["TRIGGERED 2 3@- stop 105", "TRADE 2x1 3@110 left 0/6"]


def test_a_sell_stop_triggers_from_above_and_at_negative_prices(book: Script) -> None:
    book.new(1, BUY, 9, -20)
    book.stop(2, SELL, 3, stop=-10)
    assert len(trade_at(book, -9)) == 2
    assert trade_at(book, -11)[2:] == ["TRIGGERED 2 3@- stop -10", "TRADE 2x1 3@-20 left 0/6"]


def test_a_triggered_stop_limit_is_a_limit_order(book: Script) -> None:
    book.new(1, SELL, 2, 106)
    book.stop_limit(2, BUY, 5, stop=105, price=107)
    assert trade_at(book, 105)[2:] == ["TRIGGERED 2 5@107 stop 105", "TRADE 2x1 2@106 left 3/0"]
    assert book.book() == ["2 3@107 filled 2"]
    assert book.replace(2, qty=4) == ["REPLACED 2 4@107"]


def test_a_stop_that_is_reached_already_triggers_at_once(book: Script) -> None:
    trade_at(book, 100)
    assert book.stop_limit(1, BUY, 5, stop=100, price=90)[1:] == ["TRIGGERED 1 5@90 stop 100"]
    assert book.stop(2, BUY, 5, stop=101) == ["NEW 2 5@- stop 101"]
    assert book.replace(2, stop=99)[1:] == ["TRIGGERED 2 5@- stop 99", "CANCELED 2 5@- REMAINDER"]


def test_what_traded_before_a_stop_came_does_not_trigger_it(book: Script) -> None:
    trade_at(book, 105)
    trade_at(book, 100)
    assert book.stop(1, BUY, 1, stop=103) == ["NEW 1 1@- stop 103"]
    book.cancel(1)
    trade_at(book, 90)
    trade_at(book, 100)
    assert book.stop(2, SELL, 1, stop=95) == ["NEW 2 1@- stop 95"]


def test_time_in_force_and_post_only_count_from_the_trigger(book: Script) -> None:
    book.new(1, SELL, 1, 106)
    book.stop_limit(2, BUY, 5, stop=105, price=107, tif=FOK)
    book.stop_limit(3, BUY, 5, stop=105, price=107, inst=POST)
    assert trade_at(book, 105)[2:] == [
        "TRIGGERED 2 5@107 stop 105",
        "CANCELED 2 5@107 FILL_OR_KILL",
        "TRIGGERED 3 5@107 stop 105",
        "CANCELED 3 5@107 POST_ONLY",
    ]


def test_stops_trigger_in_price_order_then_time_buys_first(book: Script) -> None:
    for id, side, stop in ((1, BUY, 103), (2, BUY, 102), (3, BUY, 102), (4, SELL, 107), (5, SELL, 108)):
        book.stop_limit(id, side, 1, stop=stop, price=50 if side == BUY else 150)
    assert [text.split()[1] for text in trade_at(book, 105)[2:]] == ["2", "3", "1", "5", "4"]


def test_a_sweep_triggers_by_its_first_and_last_price_after_it_is_done(book: Script) -> None:
    book.new(1, SELL, 1, 100)
    book.new(2, SELL, 1, 104)
    book.stop_limit(3, SELL, 1, stop=100, price=200)
    book.stop_limit(4, BUY, 1, stop=103, price=50)
    assert book.market(5, BUY, 2) == [
        "NEW 5 2@-",
        "TRADE 5x1 1@100 left 1/0",
        "TRADE 5x2 1@104 left 0/0",
        "TRIGGERED 3 1@200 stop 100",
        "TRIGGERED 4 1@50 stop 103",
    ]


def test_stops_trigger_stops(book: Script) -> None:
    book.new(1, SELL, 1, 102)
    book.new(2, SELL, 1, 104)
    book.stop(3, BUY, 1, stop=101)
    book.stop(4, BUY, 1, stop=102)
    assert trade_at(book, 101)[2:] == [
        "TRIGGERED 3 1@- stop 101",
        "TRADE 3x1 1@102 left 0/0",
        "TRIGGERED 4 1@- stop 102",
        "TRADE 4x2 1@104 left 0/0",
    ]


def test_the_queue_of_triggered_stops_is_first_in_first_out(book: Script) -> None:
    book.new(1, SELL, 1, 110)
    book.stop(2, BUY, 1, stop=101)
    book.stop(3, BUY, 1, stop=101)
    book.stop(4, BUY, 1, stop=110)
    ids = [text.split()[1] for text in trade_at(book, 101) if text.startswith("TRIGGERED")]
    assert ids == ["2", "3", "4"]


def test_a_replaced_stop_keeps_its_place_only_for_less_quantity(book: Script) -> None:
    for id in (1, 2, 3):
        book.stop_limit(id, BUY, 5, stop=105, price=50)
    assert book.replace(1, qty=3) == ["REPLACED 1 3@50 stop 105"]
    assert book.replace(2, price=51) == ["REPLACED 2 5@51 stop 105"]
    assert [text.split()[1] for text in trade_at(book, 105)[2:]] == ["1", "3", "2"]


def test_a_triggered_limit_out_of_span_is_cancelled(book: Script) -> None:
    book.stop_limit(1, BUY, 5, stop=105, price=-MAX_SPAN)
    book.new(2, SELL, 1, 200)
    assert trade_at(book, 105)[2:] == [
        f"TRIGGERED 1 5@{-MAX_SPAN} stop 105",
        f"CANCELED 1 5@{-MAX_SPAN} PRICE_SPAN",
    ]


# Trailing stops.


def test_a_trailing_sell_follows_up_and_not_down(book: Script) -> None:
    book.new(1, BUY, 9, 50)
    trade_at(book, 100)
    assert book.trailing(2, SELL, 3, distance=4) == ["NEW 2 3@- stop 96"]
    assert trade_at(book, 103)[2:] == ["RESTATED 2 3@- stop 99 of 3 TRAIL"]
    assert len(trade_at(book, 100)) == 2
    assert trade_at(book, 99)[2:] == ["TRIGGERED 2 3@- stop 99", "TRADE 2x1 3@50 left 0/6"]


def test_a_trailing_buy_follows_down(book: Script) -> None:
    trade_at(book, 100)
    assert book.trailing(1, BUY, 3, distance=4) == ["NEW 1 3@- stop 104"]
    assert trade_at(book, 98)[2:] == ["RESTATED 1 3@- stop 102 of 3 TRAIL"]
    assert trade_at(book, 102)[2:] == ["TRIGGERED 1 3@- stop 102", "CANCELED 1 3@- REMAINDER"]


def test_a_trailing_stop_starts_at_the_nearer_of_stop_and_distance(book: Script) -> None:
    assert book.trailing(1, SELL, 3, distance=4, stop=90) == ["NEW 1 3@- stop 90"]
    assert trade_at(book, 93)[1:] == ["TRADE 901x900 1@93 left 0/0"]
    assert book.trailing(2, SELL, 3, distance=4, stop=80) == ["NEW 2 3@- stop 89"]
    assert book.trailing(3, SELL, 3, distance=4, stop=91) == ["NEW 3 3@- stop 91"]
    assert book.replace(2, stop=92) == ["REPLACED 2 3@- stop 92"]


def test_trailing_stops_move_before_stops_trigger(book: Script) -> None:
    trade_at(book, 100)
    book.trailing(1, SELL, 1, distance=1)
    book.new(2, SELL, 1, 105)
    book.new(3, BUY, 1, 103)
    book.stop(4, SELL, 1, stop=90)
    assert book.market(5, BUY, 1)[2:] == ["RESTATED 1 1@- stop 104 of 1 TRAIL"]
    assert book.market(6, SELL, 1)[2:] == ["TRIGGERED 1 1@- stop 104", "CANCELED 1 1@- REMAINDER"]


# Pegs.


def quoted(book: Script, bid: int = 98, ask: int = 103) -> None:
    book.new(1, BUY, 5, bid)
    book.new(2, SELL, 5, ask)


@pytest.mark.parametrize(
    ("side", "to", "offset", "price"),
    [
        (BUY, PRIMARY, 0, 98), (SELL, PRIMARY, 0, 103), (BUY, PRIMARY, 2, 96), (SELL, PRIMARY, 2, 105),
        (BUY, MARKET, 1, 102), (SELL, MARKET, 1, 99), (BUY, MID, 0, 100), (SELL, MID, 0, 101), (BUY, MID, 1, 99),
    ],
)  # fmt: skip
def test_where_a_peg_stands(book: Script, side: int, to: ExecInst, offset: int, price: int) -> None:
    quoted(book)
    assert book.peg(3, side, 4, to, offset) == [f"NEW 3 4@{price}"]


def test_a_peg_stands_no_better_than_its_worst_price(book: Script) -> None:
    quoted(book)
    assert book.peg(3, BUY, 4, PRIMARY, worst=97) == ["NEW 3 4@97"]
    assert book.peg(4, SELL, 4, PRIMARY, worst=97) == ["NEW 4 4@103"]
    assert book.replace(4, price=110) == ["REPLACED 4 4@110"]


def test_a_peg_follows_to_the_back_of_the_queue(book: Script) -> None:
    quoted(book)
    book.peg(3, BUY, 4, PRIMARY)
    assert book.new(4, BUY, 1, 99) == ["NEW 4 1@99", "RESTATED 3 4@99 of 4 PEG"]
    assert book.new(5, BUY, 1, 99) == ["NEW 5 1@99"]
    assert book.cancel(4) == ["CANCELED 4 1@99 REQUESTED"]
    assert book.book()[:3] == ["3 4@99", "5 1@99", "1 5@98"]
    assert book.cancel(5) == ["CANCELED 5 1@99 REQUESTED", "RESTATED 3 4@98 of 4 PEG"]
    assert book.book()[:2] == ["1 5@98", "3 4@98"]


def test_a_peg_without_reference_is_parked_and_comes_back(book: Script) -> None:
    assert book.peg(1, BUY, 4, PRIMARY) == ["NEW 1 4@-"]
    assert book.book() == ["1 4@-"]
    assert book.new(2, BUY, 1, 90) == ["NEW 2 1@90", "RESTATED 1 4@90 of 4 PEG"]
    assert book.cancel(2) == ["CANCELED 2 1@90 REQUESTED", "RESTATED 1 4@- of 4 PEG"]
    assert book.replace(1, qty=9) == ["REPLACED 1 9@-"]
    assert book.cancel(1) == ["CANCELED 1 9@- REQUESTED"]


def test_a_market_peg_trades_where_it_meets_the_other_side(book: Script) -> None:
    quoted(book)
    assert book.peg(3, BUY, 4, MARKET) == ["NEW 3 4@103", "TRADE 3x2 4@103 left 0/1"]
    book.peg(4, BUY, 4, MARKET, offset=1)
    assert book.new(5, SELL, 1, 102)[1:] == ["TRADE 5x4 1@102 left 0/3"]


def test_mid_pegs_meet_in_the_middle(book: Script) -> None:
    quoted(book, 98, 102)
    book.peg(3, BUY, 4, MID)
    assert book.peg(4, SELL, 3, MID) == ["NEW 4 3@100", "TRADE 4x3 3@100 left 0/1"]


def test_a_post_only_peg_is_cancelled_rather_than_trade(book: Script) -> None:
    quoted(book, 98, 102)
    book.peg(3, SELL, 4, MID)
    assert book.peg(4, BUY, 1, MID, inst=POST) == ["REJECTED 4 1@- POST_ONLY"]
    book.peg(5, BUY, 1, MID, offset=1, inst=POST)
    assert book.new(6, BUY, 1, 100)[-1] == "TRADE 6x3 1@100 left 0/3"
    assert book.new(7, SELL, 1, 101)[1:] == ["RESTATED 5 1@98 of 1 PEG"]


def test_pegs_move_in_order_of_arrival_and_do_not_follow_pegs(book: Script) -> None:
    quoted(book)
    book.peg(3, BUY, 1, PRIMARY, offset=1)
    book.peg(4, BUY, 1, PRIMARY)
    assert book.cancel(1)[1:] == ["RESTATED 3 1@- of 1 PEG", "RESTATED 4 1@- of 1 PEG"]


def test_triggered_stops_come_before_pegs(book: Script) -> None:
    quoted(book)
    book.peg(3, SELL, 1, PRIMARY)
    book.stop(4, BUY, 5, stop=103)
    assert book.market(5, BUY, 5)[1:] == [
        "TRADE 5x2 5@103 left 0/0",
        "TRIGGERED 4 5@- stop 103",
        "TRADE 4x3 1@103 left 4/0",
        "CANCELED 4 4@- REMAINDER",
    ]


def test_a_peg_out_of_span_is_cancelled(book: Script) -> None:
    quoted(book, 98, 103)
    book.peg(3, BUY, 1, PRIMARY, offset=MAX_SPAN - 20)
    assert book.new(4, SELL, 1, 122) == ["REJECTED 4 1@122 PRICE_SPAN"]
    assert book.replace(1, price=90)[1:] == [f"RESTATED 3 1@{110 - MAX_SPAN} of 1 PEG"]
    assert book.replace(1, price=80)[1:] == [f"CANCELED 3 1@{110 - MAX_SPAN} PRICE_SPAN"]


def test_unused_words_are_not_looked_at(book: Script) -> None:
    assert book.new(1, BUY, 1, 100, stop=5, extra=-7, expiry=-1) == ["NEW 1 1@100"]
    assert book.market(2, BUY, 1, stop=NO_PRICE, extra=-7)[0] == "NEW 2 1@-"
