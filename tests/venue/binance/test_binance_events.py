"""What Binance says of orders, as reports: documented payloads of each product."""

from __future__ import annotations

import pytest
from binance_desk import COINM, ORDER, SPOT, TEXT, USDM, Desk, execution_report, new_order, order_trade_update

from tidegate.model.messages import SendCancel, SendReplace
from tidegate.model.order import ExecType, Side
from tidegate.model.time import MS
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.answers import Pending
from tidegate.venue.binance.errors import reason

NOW = 1_700_000_000_000 * MS


def test_a_new_order_is_told_once_by_whichever_way_comes_first():
    desk = Desk()
    known = desk.orders.place(new_order())
    answer = {
        "symbol": "BTCUSDT",
        "orderId": 4293153,
        "orderListId": -1,
        "clientOrderId": TEXT,
        "transactTime": 1,
    }
    [report] = desk.answers.done(Pending(known.new, known), answer, 5, NOW)
    assert (report.cl_ord_id, report.exec_type, report.ts, report.ts_venue) == (ORDER, ExecType.NEW, 5, MS)
    assert desk.events.order(execution_report(), 6) == []
    other = Desk()
    other.orders.place(new_order())
    [report] = other.events.order(execution_report(), 6)
    assert (report.exec_type, report.ts_venue) == (ExecType.NEW, 1499405658657 * MS)


def test_a_fill_on_spot_has_its_fee_in_the_settlement_currency():
    desk = Desk()
    desk.orders.place(new_order())
    bought = execution_report(
        x="TRADE", X="PARTIALLY_FILLED", l="0.10000000", z="0.30000000", L="50000.01000000", n="0.00010000", N="BTC",
        t=77, m=True,
    )  # fmt: skip
    [report] = desk.events.order(bought, 5)
    assert report.exec_type == ExecType.TRADE
    assert (report.last_qty, report.last_px, report.maker) == (10_000, 5_000_001, True)
    assert (report.cum_qty, report.leaves_qty) == (30_000, 70_000)
    assert report.fee == 500_000_100  # 0.0001 BTC at 50000.01 are 5.000001 USDT
    sold = bought | {"n": "5.00000000", "N": "USDT", "t": 78}
    assert desk.events.order(sold, 6)[0].fee == 500_000_000
    rebate = bought | {"n": "-0.5", "N": "USDT", "t": 79}
    assert desk.events.order(rebate, 7)[0].fee == -50_000_000


def test_a_fee_in_a_third_asset_is_booked_as_nothing_and_counted():
    desk = Desk("BINANCE_USDM")
    [report] = desk.events.order(
        order_trade_update(x="TRADE", X="FILLED", l="0.001", z="0.001", L="50000", n="0.01", N="BNB", t=5), 1
    )
    assert report.fee == 0
    assert desk.counts["fees in another asset: BNB"] == 1


def test_exec_ids_are_the_venues_trade_ids_apart_by_symbol():
    ids = set()
    for venue, number in (
        ("BINANCE", SPOT),
        ("BINANCE_USDM", USDM),
        ("BINANCE_COINM", COINM),
        ("BINANCE", SPOT + 1),
    ):
        symbol = Desk(venue).symbols.by_number[number]
        found = symbol.exec_id(3_735_683_259)
        assert found & ((1 << 44) - 1) == 3_735_683_259
        assert 0 < found < 1 << 63
        assert found == Desk(venue).symbols.by_number[number].exec_id(3_735_683_259)
        ids.add(found)
    assert len(ids) == 4


def test_an_inverse_contract_pays_its_fee_in_its_coin():
    desk = Desk("BINANCE_COINM")
    [report] = desk.events.order(
        order_trade_update(
            s="BTCUSD_PERP", q="5", p="61793.0", x="TRADE", X="FILLED", l="5", z="5", L="61793.0", n="0.00000081",
            N="BTC", t=9,
        ),
        1,
    )  # fmt: skip
    assert (report.last_qty, report.last_px, report.fee, report.leaves_qty) == (5, 617_930, 8_100, 0)


@pytest.mark.parametrize(
    ("changes", "kind", "why"),
    [
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "IOC"}, ExecType.EXPIRED, Reason.IOC_REMAINDER),
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "FOK"}, ExecType.EXPIRED, Reason.FOK_NOT_FILLABLE),
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "GTX"}, ExecType.EXPIRED, Reason.WOULD_CROSS),
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "GTD"}, ExecType.EXPIRED, Reason.ORDER_EXPIRED),
        ({"x": "EXPIRED", "X": "EXPIRED", "o": "MARKET"}, ExecType.EXPIRED, Reason.NO_LIQUIDITY),
        ({"x": "EXPIRED", "X": "EXPIRED_IN_MATCH"}, ExecType.EXPIRED, Reason.VENUE_SELF_TRADE),
        ({"x": "CANCELED", "X": "CANCELED"}, ExecType.CANCELED, Reason.VENUE_CANCELED),
        ({"x": "REJECTED", "X": "REJECTED", "r": "INSUFFICIENT_BALANCES"}, ExecType.REJECTED, Reason.INSUFFICIENT_FUNDS),
    ],
)  # fmt: skip
def test_ends_of_an_order_have_their_reason(changes, kind, why):
    desk = Desk()
    desk.orders.place(new_order())
    [report] = desk.events.order(execution_report(**changes), 1)
    assert (report.exec_type, report.reason, report.leaves_qty, report.cum_qty) == (kind, why, 0, 0)
    assert desk.orders.find(ORDER).over
    assert desk.events.order(execution_report(**changes), 2) == []


def test_a_cancel_names_the_order_as_original_client_id():
    desk = Desk()
    desk.orders.place(new_order()).cancel_asked = True
    event = execution_report(x="CANCELED", X="CANCELED", c="cancel_1", C=TEXT, z="0.25")
    [report] = desk.events.order(event, 1)
    assert (report.cl_ord_id, report.exec_type, report.cum_qty, report.reason) == (
        ORDER,
        ExecType.CANCELED,
        25_000,
        0,
    )


def test_events_of_others_are_counted_and_not_handed_on():
    desk = Desk()
    assert desk.events.order(execution_report(c="web_1"), 1) == []
    assert desk.events.order(execution_report(s="LTCBTC"), 1) == []
    assert desk.events.order(execution_report(x="NEVER_HEARD"), 1) == []
    assert desk.counts == {
        "events of foreign orders": 1, "events of unknown symbols": 1, "events not understood: NEVER_HEARD": 1,
    }  # fmt: skip


def test_an_amendment_is_a_replace_that_was_asked_or_a_restatement_that_was_not():
    desk = Desk("BINANCE_USDM")
    known = desk.orders.place(new_order(USDM, qty=1))
    known.replacing = True
    event = order_trade_update(x="AMENDMENT", q="0.002", p="50000.1")
    [report] = desk.events.order(event, 1)
    assert (report.exec_type, report.qty, report.price) == (ExecType.REPLACED, 2, 500_001)
    answer = {"orderId": 8886774, "status": "NEW", "origQty": "0.002", "price": "50000.1", "updateTime": 3}
    request = SendReplace(1, ORDER, 2, 500_001, 0, USDM, Side.SELL)
    assert desk.answers.done(Pending(request, known), answer, 2, NOW) == []
    [report] = desk.events.order(event | {"q": "0.003"}, 3)
    assert (report.exec_type, report.qty) == (ExecType.RESTATED, 3)


def test_a_stop_on_futures_that_becomes_a_market_order_has_triggered():
    desk = Desk("BINANCE_USDM")
    desk.orders.place(new_order(USDM))
    desk.events.order(order_trade_update(o="STOP_MARKET", ot="STOP_MARKET"), 1)
    [report] = desk.events.order(order_trade_update(o="MARKET", ot="STOP_MARKET"), 2)
    assert report.exec_type == ExecType.TRIGGERED


def test_a_bust_and_a_correction_name_the_fill():
    desk = Desk()
    desk.orders.place(new_order())
    trade = execution_report(
        x="TRADE", X="PARTIALLY_FILLED", l="0.3", z="0.3", L="50000", t=7, N="USDT", n="1"
    )
    [fill] = desk.events.order(trade, 1)
    [corrected] = desk.events.order(trade | {"x": "TRADE_CORRECT", "l": "0.2", "z": "0.2"}, 2)
    assert (corrected.exec_type, corrected.ref_exec_id, corrected.last_qty) == (
        ExecType.TRADE_CORRECT, fill.exec_id, 20_000,
    )  # fmt: skip
    [busted] = desk.events.order(trade | {"x": "TRADE_CANCEL", "l": "0.2", "z": "0"}, 3)
    assert (busted.exec_type, busted.ref_exec_id, busted.cum_qty) == (ExecType.TRADE_CANCEL, fill.exec_id, 0)


# Spot's chains.


def replaced(desk: Desk, filled: str = "0", expected: int = 0):
    """A successor's answer: the order was replaced to 2 BTC in all at 49999."""
    known = desk.orders.find(ORDER) or desk.orders.place(new_order())
    request = SendReplace(1, ORDER, 200_000, 4_999_900, 0, SPOT, Side.BUY)
    known.replacing, known.sent_qty, known.sent_price = True, 200_000 - expected, 4_999_900
    result = {
        "cancelResult": "SUCCESS", "newOrderResult": "SUCCESS",
        "cancelResponse": {"symbol": "BTCUSDT", "orderId": 4293153, "executedQty": filled, "status": "CANCELED"},
        "newOrderResponse": {"orderId": 4293154, "clientOrderId": f"{TEXT}-1", "transactTime": 9},
    }  # fmt: skip
    pending = Pending(request, known, expected=expected)
    return pending, desk.answers.done(pending, result, 2, NOW)


def test_a_successor_is_told_as_a_replace_and_its_forerunners_end_is_not():
    desk = Desk()
    desk.orders.place(new_order())
    desk.events.order(execution_report(), 1)
    _, [report] = replaced(desk)
    assert (report.exec_type, report.qty, report.price) == (ExecType.REPLACED, 200_000, 4_999_900)
    gone = execution_report(x="CANCELED", X="CANCELED", c=f"r{TEXT}-0", C=TEXT)
    assert desk.events.order(gone, 3) == []
    born = execution_report(c=f"{TEXT}-1", q="2.00000000", p="49999.00000000", i=4293154)
    assert desk.events.order(born, 4) == []
    fill = born | {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.5", "z": "0.5", "L": "49999", "t": 3}
    [report] = desk.events.order(fill, 5)
    assert (report.cl_ord_id, report.cum_qty, report.leaves_qty) == (ORDER, 50_000, 150_000)


def test_fills_of_all_generations_add_up():
    desk = Desk()
    desk.orders.place(new_order())
    desk.events.order(execution_report(x="TRADE", X="PARTIALLY_FILLED", l="0.4", z="0.4", L="50000", t=1), 1)
    pending, [report] = replaced(desk, "0.40000000", expected=40_000)
    assert report.qty == 200_000
    assert not desk.answers.too_large(pending)
    fill = execution_report(
        c=f"{TEXT}-1", q="1.6", p="49999", x="TRADE", X="FILLED", l="1.6", z="1.6", L="49999", t=2, i=4293154
    )
    [report] = desk.events.order(fill, 5)
    assert (report.cum_qty, report.leaves_qty) == (200_000, 0)


def test_a_fill_that_crosses_the_replace_is_seen_and_the_successor_corrected():
    desk = Desk()
    desk.orders.place(new_order())
    pending, [report] = replaced(desk, "0.30000000", expected=0)
    assert report.qty == 230_000, "the truth, for now: the successor was sent for all"
    assert desk.answers.too_large(pending)
    assert desk.counts["replaces corrected"] == 1


def test_a_replace_that_only_cancelled_ends_the_order():
    desk = Desk()
    known = desk.orders.place(new_order())
    request = SendReplace(1, ORDER, 200_000, 4_999_900, 0, SPOT, Side.BUY)
    data = {
        "cancelResult": "SUCCESS", "newOrderResult": "FAILURE",
        "cancelResponse": {"symbol": "BTCUSDT", "orderId": 4293153, "executedQty": "0.1", "status": "CANCELED"},
        "newOrderResponse": {"code": -2010, "msg": "Account has insufficient balance for requested action."},
    }  # fmt: skip
    text = "Order cancel-replace partially failed."
    [report] = desk.answers.failed(Pending(request, known), 409, -2021, text, data, 1, NOW)
    assert (report.exec_type, report.reason) == (ExecType.CANCELED, Reason.INSUFFICIENT_FUNDS)
    assert report.cum_qty == 10_000


def test_a_replace_that_did_nothing_leaves_the_order():
    desk = Desk()
    known = desk.orders.place(new_order())
    request = SendReplace(1, ORDER, 200_000, 4_999_900, 0, SPOT, Side.BUY)
    data = {
        "cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None,
        "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
    }  # fmt: skip
    [report] = desk.answers.failed(Pending(request, known), 400, -2022, "failed", data, 1, NOW)
    assert (report.exec_type, report.reason) == (ExecType.CANCEL_REJECTED, Reason.UNKNOWN_ORDER)
    assert (report.qty, report.price) == (200_000, 4_999_900)
    data["cancelResponse"]["msg"] = "Order was not canceled due to cancel restrictions."
    pending = Pending(request, known)
    assert not desk.answers.crossed(pending, data), "nothing has been heard of a fill"
    known.has_filled(0, 5)
    assert desk.answers.crossed(pending, data)


# Refusals.


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (500, -1000, "x"), (503, -1008, "x"), (400, -1006, "unexpected response"), (400, -1007, "Timeout"), (504, 0, ""),
    ],
)  # fmt: skip
def test_nothing_is_said_where_nobody_knows(status, code, message):
    desk = Desk()
    known = desk.orders.place(new_order())
    if code == -1008:
        assert desk.answers.failed(Pending(known.new, known), 400, code, message, None, 1, NOW)
        return
    assert desk.answers.failed(Pending(known.new, known), status, code, message, None, 1, NOW) == []
    assert desk.counts["outcomes unknown"] == 1
    assert not known.over


def test_an_order_whose_id_is_taken_is_not_called_rejected():
    desk = Desk("BINANCE_USDM")
    known = desk.orders.place(new_order(USDM))
    pending = Pending(known.new, known)
    assert desk.answers.failed(pending, 400, -4116, "ClientOrderId is duplicated.", None, 1, NOW) == []
    assert desk.counts["orders sent twice"] == 1


def test_a_cancel_of_an_order_the_venue_does_not_know_is_refused():
    desk = Desk()
    known = desk.orders.place(new_order())
    pending = Pending(SendCancel(1, ORDER, 0, SPOT), known)
    [report] = desk.answers.failed(pending, 400, -2011, "Unknown order sent.", None, 1, NOW)
    assert (report.exec_type, report.reason, report.qty) == (
        ExecType.CANCEL_REJECTED,
        Reason.UNKNOWN_ORDER,
        0,
    )
    assert not known.over


def test_too_many_requests_hold_orders_back_until_the_time_the_venue_says():
    desk = Desk()
    known = desk.orders.place(new_order())
    later = {"serverTime": NOW // MS, "retryAfter": NOW // MS + 5_000}
    [report] = desk.answers.failed(Pending(known.new, known), 429, -1003, "Too many", later, 1, NOW)
    assert (report.exec_type, report.reason) == (ExecType.REJECTED, Reason.VENUE_THROTTLE)
    assert not desk.limits.order(NOW + 4_999 * MS)
    assert desk.limits.order(NOW + 5_000 * MS)


@pytest.mark.parametrize(
    ("code", "message", "scope", "why"),
    [
        (-2010, "Account has insufficient balance for requested action.", "spot", Reason.INSUFFICIENT_FUNDS),
        (-2010, "Order would immediately match and take.", "spot", Reason.WOULD_CROSS),
        (-2010, "Duplicate order sent.", "spot", Reason.DUPLICATE_CL_ORD_ID),
        (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE", "spot", Reason.VENUE_PRICE_BAND),
        (-1013, "Filter failure: LOT_SIZE", "spot", Reason.VENUE_INVALID_ORDER),
        (-1013, "Market is closed.", "spot", Reason.VENUE_CLOSED),
        (-1111, "Precision is over the maximum defined for this asset.", "futures", Reason.VENUE_INVALID_ORDER),
        (-2019, "Margin is insufficient.", "futures", Reason.INSUFFICIENT_FUNDS),
        (-2021, "Order would immediately trigger.", "futures", Reason.VENUE_INVALID_ORDER),
        (-2022, "ReduceOnly Order is rejected.", "futures", Reason.VENUE_REDUCE_ONLY),
        (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.", "futures",
         Reason.VENUE_PRICE_BAND),
        (-4164, "Order's notional must be no smaller than 100", "futures", Reason.VENUE_INVALID_ORDER),
        (-4120, "Order type not supported for this endpoint.", "futures", Reason.VENUE_INVALID_ORDER),
        (-5022, "Due to the order could not be executed as maker", "futures", Reason.WOULD_CROSS),
        (-1015, "Too many new orders.", "spot", Reason.VENUE_THROTTLE),
        (-9999, "Something new", "spot", Reason.VENUE_OTHER),
    ],
)  # fmt: skip
def test_codes_become_reasons(code, message, scope, why):
    assert reason(code, message, scope) is why
