"""Price-time priority, order types and times in force, one rule of docs/matching.md a test."""

from __future__ import annotations

import pytest
from matching_script import BUY, DAY, FOK, GTC, GTD, IOC, SELL, Script

from tidegate.kernel.matching_layout import MAX_QTY, MAX_SPAN, NO_PRICE, PRICE_LIMIT, Command
from tidegate.model.order import ExecInst, OrdType, SelfTrade


@pytest.fixture
def book() -> Script:
    return Script()


def test_a_limit_order_rests_and_is_acknowledged(book: Script) -> None:
    assert book.new(1, BUY, 5, 100) == ["NEW 1 5@100"]
    assert book.book() == ["1 5@100"]


def test_the_best_price_trades_first_at_the_resting_price(book: Script) -> None:
    book.new(1, SELL, 5, 102)
    book.new(2, SELL, 5, 101)
    assert book.new(3, BUY, 7, 102) == ["NEW 3 7@102", "TRADE 3x2 5@101 left 2/0", "TRADE 3x1 2@102 left 0/3"]


def test_at_one_price_the_first_come_is_first_served(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    book.new(2, BUY, 5, 100)
    assert book.new(3, SELL, 6, 100)[1:] == ["TRADE 3x1 5@100 left 1/0", "TRADE 3x2 1@100 left 0/4"]


def test_what_does_not_match_joins_the_book(book: Script) -> None:
    book.new(1, SELL, 2, 100)
    book.new(2, BUY, 5, 100)
    assert book.book() == ["2 3@100 filled 2"]


@pytest.mark.parametrize("price", [0, -1, -40, -PRICE_LIMIT])
def test_prices_may_be_zero_and_negative(book: Script, price: int) -> None:
    book.new(1, SELL, 2, price)
    assert book.new(2, BUY, 2, price + 1)[1:] == [f"TRADE 2x1 2@{price} left 0/0"]
    assert book.engine.last == price


def test_a_market_order_takes_any_price_and_never_rests(book: Script) -> None:
    book.new(1, SELL, 2, 100)
    book.new(2, SELL, 2, 5000)
    assert book.market(3, BUY, 5)[1:] == [
        "TRADE 3x1 2@100 left 3/0",
        "TRADE 3x2 2@5000 left 1/0",
        "CANCELED 3 1@- REMAINDER",
    ]
    assert book.market(4, SELL, 1) == ["NEW 4 1@-", "CANCELED 4 1@- REMAINDER"]
    assert book.book() == []


def test_immediate_or_cancel_cancels_the_rest(book: Script) -> None:
    book.new(1, SELL, 2, 100)
    assert book.new(2, BUY, 5, 100, tif=IOC)[1:] == ["TRADE 2x1 2@100 left 3/0", "CANCELED 2 3@100 REMAINDER"]


def test_fill_or_kill_trades_wholly_or_not_at_all(book: Script) -> None:
    book.new(1, SELL, 2, 100)
    book.new(2, SELL, 2, 101)
    assert book.new(3, BUY, 5, 101, tif=FOK) == ["NEW 3 5@101", "CANCELED 3 5@101 FILL_OR_KILL"]
    assert book.new(4, BUY, 3, 100, tif=FOK)[1:] == ["CANCELED 4 3@100 FILL_OR_KILL"]
    assert book.new(5, BUY, 4, 101, tif=FOK)[1:] == ["TRADE 5x1 2@100 left 2/0", "TRADE 5x2 2@101 left 0/0"]


def test_fill_or_kill_counts_hidden_quantity(book: Script) -> None:
    book.iceberg(1, SELL, 10, 100, shown=2)
    assert len(book.market(2, BUY, 10, tif=FOK)) == 10  # accepted, five trades, four refreshes


def test_fill_or_kill_stops_counting_at_an_order_that_would_end_it(book: Script) -> None:
    book.iceberg(1, SELL, 10, 100, shown=2)
    book.new(2, SELL, 5, 100, owner=7)
    newest = {"owner": 7, "tif": FOK, "stp": SelfTrade.CANCEL_NEWEST}
    assert book.new(3, BUY, 3, 100, **newest)[1:] == ["CANCELED 3 3@100 FILL_OR_KILL"]
    assert book.new(4, BUY, 2, 100, **newest)[1] == "TRADE 4x1 2@100 left 0/8"
    oldest = {"owner": 7, "tif": FOK, "stp": SelfTrade.CANCEL_OLDEST}
    assert book.new(5, BUY, 8, 100, **oldest)[1] == "CANCELED 2 5@100 SELF_TRADE"


def test_day_orders_expire_at_the_end_of_the_day_in_walking_order(book: Script) -> None:
    book.new(1, SELL, 1, 105, tif=DAY)
    book.stop(2, SELL, 1, stop=90, tif=DAY)
    book.new(3, BUY, 1, 99, tif=DAY)
    book.new(4, BUY, 1, 100, tif=GTC)
    book.new(5, BUY, 1, 100, tif=DAY)
    assert book.end_of_day() == [
        "EXPIRED 5 1@100 END_OF_DAY",
        "EXPIRED 3 1@99 END_OF_DAY",
        "EXPIRED 1 1@105 END_OF_DAY",
        "EXPIRED 2 1@- stop 90 END_OF_DAY",
    ]
    assert book.book() == ["4 1@100"]


def test_gtd_orders_expire_when_due_in_order_of_arrival(book: Script) -> None:
    book.new(1, BUY, 1, 100, tif=GTD, expiry=50)
    book.new(2, BUY, 1, 101, tif=GTD, expiry=40)
    book.new(3, BUY, 1, 102, tif=GTD, expiry=60)
    assert book.time(39) == []
    assert book.time(50) == ["EXPIRED 1 1@100 EXPIRY", "EXPIRED 2 1@101 EXPIRY"]
    assert book.new(4, BUY, 1, 100, tif=GTD, expiry=50) == ["REJECTED 4 1@100 TOO_LATE"]
    assert book.time(60) == ["EXPIRED 3 1@102 EXPIRY"]


def test_time_does_not_run_backwards(book: Script) -> None:
    book.time(50)
    assert book.time(50) == []
    assert book.time(49) == ["REJECTED 0 0@- TOO_LATE"]


def test_post_only_is_refused_rather_than_trade(book: Script) -> None:
    book.new(1, SELL, 5, 100)
    post = {"inst": ExecInst.POST_ONLY}
    assert book.new(2, BUY, 1, 100, **post) == ["REJECTED 2 1@100 POST_ONLY"]
    assert book.new(3, BUY, 1, 99, **post) == ["NEW 3 1@99"]
    assert book.replace(3, price=100) == ["CANCEL_REJECTED 3 1@100 POST_ONLY"]
    assert book.book() == ["3 1@99", "1 5@100"]


def test_an_iceberg_shows_its_parts_at_the_back_of_the_queue(book: Script) -> None:
    book.iceberg(1, SELL, 10, 100, shown=4)
    book.new(2, SELL, 3, 100)
    assert book.new(3, BUY, 9, 100)[1:] == [
        "TRADE 3x1 4@100 left 5/6",
        "RESTATED 1 4@100 of 6 REFRESH",
        "TRADE 3x2 3@100 left 2/0",
        "TRADE 3x1 2@100 left 0/4",
    ]
    assert book.book() == ["1 2+2@100 filled 6"]
    assert book.engine.depth(SELL, 5).tolist() == [[100, 2, 1]]


def test_an_incoming_iceberg_trades_with_all_it_has(book: Script) -> None:
    book.new(1, SELL, 6, 100)
    assert book.iceberg(2, BUY, 10, 100, shown=3)[1:] == ["TRADE 2x1 6@100 left 4/0"]
    assert book.book() == ["2 3+1@100 filled 6"]


def test_less_quantity_keeps_the_place_more_loses_it(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    book.new(2, BUY, 5, 100)
    assert book.replace(1, qty=3) == ["REPLACED 1 3@100"]
    assert book.book() == ["1 3@100", "2 5@100"]
    assert book.replace(1, qty=3, price=100) == ["REPLACED 1 3@100"]
    assert book.book() == ["1 3@100", "2 5@100"]
    book.replace(1, qty=4)
    assert book.book() == ["2 5@100", "1 4@100"]


def test_a_new_price_loses_the_place_and_may_trade(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    book.new(2, SELL, 2, 103)
    assert book.replace(1, price=103) == ["REPLACED 1 5@103", "TRADE 1x2 2@103 left 3/0"]
    assert book.book() == ["1 3@103 filled 2"]


def test_a_replace_counts_what_has_filled(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    book.new(2, SELL, 3, 100)
    assert book.replace(1, qty=3) == ["CANCEL_REJECTED 1 2@- BAD_QTY"]
    assert book.replace(1, qty=4) == ["REPLACED 1 4@100"]
    assert book.book() == ["1 1@100 filled 3"]


def test_an_iceberg_loses_hidden_quantity_first(book: Script) -> None:
    book.iceberg(1, BUY, 10, 100, shown=4)
    book.replace(1, qty=5)
    assert book.book() == ["1 4+1@100"]
    book.replace(1, qty=3)
    assert book.book() == ["1 3@100"]
    book.replace(1, qty=9)
    assert book.book() == ["1 4+5@100"]


def test_what_cannot_be_replaced(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    book.stop(2, BUY, 5, stop=110)
    assert book.replace(9, qty=1, price=7) == ["CANCEL_REJECTED 9 0@7 UNKNOWN_ORDER"]
    assert book.replace(1, stop=100) == ["CANCEL_REJECTED 1 5@- BAD_COMBINATION"]
    assert book.replace(2, price=100) == ["CANCEL_REJECTED 2 5@100 BAD_COMBINATION"]
    assert book.replace(1, qty=MAX_QTY + 1) == ["CANCEL_REJECTED 1 5@- BAD_QTY"]
    assert book.replace(1, price=PRICE_LIMIT + 1)[0].endswith("BAD_PRICE")
    assert book.replace(1, price=101 + MAX_SPAN) == [f"CANCEL_REJECTED 1 5@{101 + MAX_SPAN} PRICE_SPAN"]


def test_a_cancel_needs_a_live_order(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    assert book.cancel(1) == ["CANCELED 1 5@100 REQUESTED"]
    assert book.cancel(1) == ["CANCEL_REJECTED 1 0@- UNKNOWN_ORDER"]


def test_an_id_may_be_used_again_only_when_its_order_has_ended(book: Script) -> None:
    book.new(1, BUY, 5, 100)
    assert book.new(1, BUY, 5, 90) == ["REJECTED 1 5@90 DUPLICATE_ID"]
    book.cancel(1)
    assert book.new(1, SELL, 5, 90) == ["NEW 1 5@90"]


def test_a_mass_cancel_takes_one_owner_or_everybody_in_walking_order(book: Script) -> None:
    book.new(1, BUY, 1, 99, owner=7)
    book.new(2, BUY, 1, 100, owner=8)
    book.new(3, SELL, 1, 101, owner=7)
    book.stop(4, BUY, 1, stop=120, owner=7)
    book.stop(5, BUY, 1, stop=110, owner=7)
    book.peg(6, SELL, 1, ExecInst.PEG_PRIMARY, owner=7)
    assert book.mass_cancel(7) == [
        "CANCELED 1 1@99 MASS_CANCEL",
        "CANCELED 3 1@101 MASS_CANCEL",
        "CANCELED 6 1@101 MASS_CANCEL",
        "CANCELED 5 1@- stop 110 MASS_CANCEL",
        "CANCELED 4 1@- stop 120 MASS_CANCEL",
    ]
    assert book.mass_cancel(-1) == ["CANCELED 2 1@100 MASS_CANCEL"]
    assert book.mass_cancel(-1) == []


NEW = {"id": 1, "side": BUY, "qty": 5, "price": 100}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"side": 0}, "BAD_FIELD"),
        ({"side": 3}, "BAD_FIELD"),
        ({"kind": 0}, "BAD_FIELD"),
        ({"kind": 8}, "BAD_FIELD"),
        ({"tif": 2}, "BAD_FIELD"),
        ({"tif": 7}, "BAD_FIELD"),
        ({"stp": 5}, "BAD_FIELD"),
        ({"inst": ExecInst.REDUCE_ONLY}, "BAD_FIELD"),
        ({"inst": 1 << 8}, "BAD_FIELD"),
        ({"qty": 0}, "BAD_QTY"),
        ({"qty": -1}, "BAD_QTY"),
        ({"qty": MAX_QTY + 1}, "BAD_QTY"),
        ({"kind": OrdType.ICEBERG, "extra": 0}, "BAD_QTY"),
        ({"kind": OrdType.ICEBERG, "extra": 6}, "BAD_QTY"),
        ({"price": NO_PRICE}, "BAD_PRICE"),
        ({"price": PRICE_LIMIT + 1}, "BAD_PRICE"),
        ({"kind": OrdType.STOP}, "BAD_PRICE"),
        ({"kind": OrdType.STOP_LIMIT, "stop": -PRICE_LIMIT - 1}, "BAD_PRICE"),
        ({"kind": OrdType.TRAILING_STOP, "extra": 0}, "BAD_PRICE"),
        ({"kind": OrdType.PEGGED, "inst": ExecInst.PEG_MID, "extra": -1}, "BAD_PRICE"),
        ({"inst": ExecInst.PEG_MID}, "BAD_COMBINATION"),
        ({"kind": OrdType.PEGGED}, "BAD_COMBINATION"),
        ({"kind": OrdType.PEGGED, "inst": ExecInst.PEG_MID | ExecInst.PEG_MARKET}, "BAD_COMBINATION"),
        ({"kind": OrdType.PEGGED, "inst": ExecInst.PEG_MID, "tif": IOC}, "BAD_COMBINATION"),
        ({"kind": OrdType.ICEBERG, "extra": 1, "tif": FOK}, "BAD_COMBINATION"),
        ({"kind": OrdType.MARKET, "inst": ExecInst.POST_ONLY}, "BAD_COMBINATION"),
        ({"tif": IOC, "inst": ExecInst.POST_ONLY}, "BAD_COMBINATION"),
        ({"kind": OrdType.TRAILING_STOP, "extra": 1}, "NO_REFERENCE"),
    ],
)
def test_a_new_order_is_refused_with_its_reason(book: Script, change: dict[str, int], why: str) -> None:
    reports = book.new(**(NEW | change))  # type: ignore[arg-type]
    assert len(reports) == 1
    assert reports[0].startswith("REJECTED 1 ")
    assert reports[0].endswith(why)
    assert book.book() == []


def test_an_unknown_kind_of_command_is_refused(book: Script) -> None:
    assert book.send(0, 5, 0, 0, 0, 0, 0, 0) == ["REJECTED 5 0@- BAD_FIELD"]
    assert book.send(max(Command) + 1, 5, 0, 0, 0, 0, 0, 0) == ["REJECTED 5 0@- BAD_FIELD"]


def test_live_prices_span_a_bounded_range(book: Script) -> None:
    book.new(1, BUY, 1, 0)
    assert book.new(2, SELL, 1, MAX_SPAN) == [f"REJECTED 2 1@{MAX_SPAN} PRICE_SPAN"]
    assert book.new(3, SELL, 1, MAX_SPAN - 1) == [f"NEW 3 1@{MAX_SPAN - 1}"]
    assert book.stop(4, SELL, 1, stop=-1)[0].endswith("PRICE_SPAN")
    book.cancel(1)
    assert book.new(5, SELL, 1, MAX_SPAN) == [f"NEW 5 1@{MAX_SPAN}"]
