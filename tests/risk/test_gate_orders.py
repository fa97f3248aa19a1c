"""Controls on one order, 1 to 13: each refuses at its limit, with the figures it compared."""

from __future__ import annotations

from typing import Any

import pytest
from gate_desk import ARB, BTC, DESK, FIRM, GENEROUS, MAIN, MM, OIL, SECOND, T0, Desk

from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import State

USDT = 1_000_000


def test_a_sound_order_passes_and_is_charged_to_every_scope_of_its_chain() -> None:
    desk = Desk()
    assert desk.send(10, 600_000) == R.NONE
    # Valued at the worse of its limit and the ask: 10 lots × 60,001.0 × 0.001.
    assert [desk.gate.state.scope[s, 5] for s in range(6)] == [600_010_000] * 3 + [0, 600_010_000, 0]


@pytest.mark.parametrize(
    ("changes", "order", "reason", "control"),
    [
        ({"strategies": {"mm": {"trade": ["*.Y"]}}}, {}, R.INSTRUMENT_NOT_PERMITTED, 1),
        ({"strategies": {"mm": {"sides": ["sell"]}}}, {}, R.SIDE_NOT_PERMITTED, 1),
        ({"accounts": {"main": {"order_types": ["market"]}}}, {}, R.ORD_TYPE_NOT_PERMITTED, 1),
        ({"firm": {"time_in_force": ["ioc", "fok"]}}, {}, R.TIF_NOT_PERMITTED, 1),
        ({}, {"account": 1}, R.ACCOUNT_NOT_PERMITTED, 1),
        ({}, {"account": 2}, R.UNKNOWN_ACCOUNT, 1),
        ({}, {"account": -1}, R.UNKNOWN_ACCOUNT, 1),
        ({}, {"strategy": 2}, R.UNKNOWN_STRATEGY, 1),
        ({}, {"instrument": 7}, R.UNKNOWN_INSTRUMENT, 1),
        ({"firm": {"instruments": {"BTCUSDT.X": {"restricted": True}}}}, {}, R.RESTRICTED, 2),
        ({"firm": {"instruments": {"BTCUSDT.X": {"restricted": True}}},
          "strategies": {"mm": {"restricted": False}}}, {}, R.RESTRICTED, 2),
        ({"firm": {"restricted_from": "2023-11-14T22:13:20", "restricted_to": "2023-11-14T22:13:21"}}, {},
         R.RESTRICTED_WINDOW, 2),
        ({"firm": {"instruments": {"CL.Y": {"expiry_window": "100s"}}}}, {"instrument": OIL, "price": 5_000},
         R.RESTRICTED_WINDOW, 2),
        ({}, {"side": 3}, R.INVALID_SIDE, 3),
        ({}, {"ord_type": 9}, R.INVALID_ORD_TYPE, 3),
        ({}, {"time_in_force": 2}, R.INVALID_TIF, 3),
        ({}, {"ord_type": OrdType.ICEBERG, "display_qty": 1, "time_in_force": TimeInForce.FOK}, R.INVALID_TIF, 3),
        ({}, {"ord_type": OrdType.MARKET, "time_in_force": TimeInForce.GTD}, R.INVALID_TIF, 3),
        ({}, {"time_in_force": TimeInForce.GTD, "expire_ts": T0}, R.INVALID_EXPIRY, 3),
        ({}, {"qty": 0}, R.INVALID_QTY, 3),
        ({}, {"qty": 1}, R.BELOW_MIN_QTY, 3),
        ({}, {"qty": 100_001}, R.ABOVE_MAX_QTY, 3),
        ({"firm": {"price_collar": "unlimited"}}, {"qty": 2, "price": 200_000}, R.BELOW_MIN_NOTIONAL, 3),
        ({}, {"price": 0, "ord_type": OrdType.LIMIT}, R.INVALID_PRICE, 3),
        ({}, {"price": -5}, R.INVALID_PRICE, 3),
        ({}, {"ord_type": OrdType.STOP}, R.STOP_PRICE_MISSING, 3),
        ({}, {"ord_type": OrdType.TRAILING_STOP}, R.INVALID_OFFSET, 3),
        ({}, {"ord_type": OrdType.ICEBERG}, R.INVALID_DISPLAY, 3),
        ({}, {"display_qty": 11}, R.INVALID_DISPLAY, 3),
        ({}, {"ord_type": OrdType.MARKET, "exec_inst": int(ExecInst.POST_ONLY)}, R.INVALID_EXEC_INST, 3),
        ({}, {"ord_type": OrdType.PEGGED}, R.INVALID_EXEC_INST, 3),
        ({}, {"exec_inst": int(ExecInst.PEG_MID)}, R.INVALID_EXEC_INST, 3),
        ({}, {"price": 1 << 50}, R.OUT_OF_RANGE, 3),
        ({}, {"qty": 1 << 51}, R.OUT_OF_RANGE, 3),
        ({}, {"instrument": OIL, "price": 5_000, "ts": 100 * SECOND}, R.INSTRUMENT_EXPIRED, 3),
    ],
)  # fmt: skip
def test_permissions_the_restricted_list_and_static_validity(
    changes: dict[str, Any], order: dict[str, Any], reason: R, control: int
) -> None:
    desk = Desk(**changes)
    desk.ts += order.pop("ts", 0)
    given = {"price": 600_000, "ord_type": OrdType.LIMIT, **order}
    assert desk.send(10, **given) == reason
    assert desk.gate.control == control == reason.control


def test_negative_prices_pass_where_the_instrument_has_them() -> None:
    desk = Desk()
    desk.touch[OIL] = (-3_765, -3_760)
    assert desk.send(2, -3_763, instrument=OIL) == R.NONE
    assert desk.gate.state.scope[FIRM, 5] == 2 * 1000 * 37.63 * USDT


def test_order_quantity_is_refused_above_its_limit() -> None:
    desk = Desk(strategies={"mm": {"order_qty": "0.5"}})
    assert desk.send(500, 600_000) == R.NONE
    assert desk.send(501, 600_000) == R.MAX_ORDER_QTY
    assert desk.figures == (500, 501, MM)


def test_order_value_warns_above_half_and_refuses_above_its_limit() -> None:
    desk = Desk(firm={"order_value": 60_001})
    assert desk.send(500, 600_010) == R.NONE
    assert desk.gate.warnings == 0
    assert desk.send(501, 600_010) == R.NONE
    assert desk.gate.warnings == 1 << 5
    assert desk.send(1001, 600_010) == R.MAX_ORDER_VALUE
    assert desk.figures == (60_001 * USDT, 60_061_001_000, FIRM)


def test_a_market_order_is_valued_at_its_collar_price() -> None:
    desk = Desk(firm={"order_value": 62_999})
    # 1 BTC at the upper collar, 60,000.5 × 1.05 = 63,000.525: no higher tick than 63,000.5.
    assert desk.send(1_000) == R.MAX_ORDER_VALUE
    assert desk.gate.value == 63_000_500_000
    # A sell may trade down to the lower collar, but is worth what the bid pays.
    desk = Desk(firm={"order_value": 59_999})
    assert desk.send(-1_000) == R.MAX_ORDER_VALUE
    assert desk.gate.value == 60_000 * USDT


def test_a_sell_far_below_the_market_is_valued_at_the_market() -> None:
    desk = Desk(firm={"order_value": 50_000, "price_collar": "90%"})
    assert desk.send(-1_000, 100_000) == R.MAX_ORDER_VALUE
    assert desk.gate.value == 60_000 * USDT


def test_a_parent_and_a_basket_are_judged_whole_before_slicing() -> None:
    desk = Desk(desks={"desk": {"parent_value": 100_000}})
    legs = [desk.order(900, 600_010), desk.order(900, 600_010)]
    refs = [(600_000, 600_010, desk.ts)] * 2
    assert desk.gate.check_parent(legs[:1], refs[:1], desk.ts) == R.NONE
    before = desk.gate.state_bytes()
    assert desk.gate.check_parent(legs, refs, desk.ts) == R.MAX_PARENT_VALUE
    assert desk.figures == (100_000 * USDT, 108_001_800_000, DESK)
    assert desk.send(1_700, 600_010) == R.MAX_PARENT_VALUE
    other = Desk(desks={"desk": {"parent_value": 100_000}})
    other.gate.check_parent(legs[:1], refs[:1], desk.ts)
    assert before == other.gate.state_bytes(), "a parent's check leaves no trace"


@pytest.mark.parametrize(
    ("side", "good", "bad"), [(1, 630_005, 630_006), (1, 570_005, 570_004), (-1, 570_005, 570_004)]
)
def test_the_static_collar_is_a_fraction_of_the_middle(side: int, good: int, bad: int) -> None:
    # The middle is 600,005 and the band 5 %, 30,000.25 ticks.
    desk = Desk(firm={"dynamic_collar": "unlimited"})
    assert desk.send(10 * side, good) == R.NONE
    assert desk.send(10 * side, bad) == R.PRICE_COLLAR
    assert desk.figures == (50_000, 50_002 if bad > 600_000 else 50_001, FIRM) or desk.gate.limit == 50_000


def test_the_collar_has_a_floor_in_price_for_prices_near_zero() -> None:
    desk = Desk()
    desk.touch[OIL] = (-1, 2)
    assert desk.send(1, 100, instrument=OIL) == R.NONE
    assert desk.send(1, 101, instrument=OIL) == R.PRICE_COLLAR


def test_a_market_order_meets_the_collar_at_the_touch() -> None:
    desk = Desk(ask=680_000)
    assert desk.send(10) == R.PRICE_COLLAR
    assert desk.gate.value == 62_500  # 680,000 against a middle of 640,000


def test_a_stop_limit_is_collared_by_its_stop() -> None:
    desk = Desk()
    kind = {"ord_type": OrdType.STOP_LIMIT, "stop_price": 500_000}
    assert desk.send(-10, 480_000, **kind) == R.NONE
    assert desk.send(-10, 470_000, **kind) == R.PRICE_COLLAR
    assert desk.send(-10, 0, ord_type=OrdType.STOP, stop_price=500_000) == R.NONE


def test_the_dynamic_collar_follows_volatility_after_twenty_marks() -> None:
    desk = Desk(firm={"dynamic_floor": 0})
    for n in range(19):
        desk.move(600_000 + 10 * (n % 2), 600_010 + 10 * (n % 2))
    assert desk.send(10, 601_000) == R.NONE, "too few marks to judge by"
    for n in range(200):
        desk.move(600_000 + 10 * (n % 2), 600_010 + 10 * (n % 2))
    # σ is 10 ticks a second; k = 8 allows 80 through the touch, and 40 without a warning.
    touch = desk.touch[BTC][1]
    for through, reason, warned in ((35, R.NONE, False), (45, R.NONE, True), (85, R.DYNAMIC_COLLAR, True)):
        assert desk.send(10, touch + through) == reason
        assert bool(desk.gate.warnings & 1 << 8) is warned
    assert 70 <= desk.gate.limit <= 80
    assert desk.gate.value == 85
    assert desk.send(10, touch - 10_000) == R.NONE, "a passive price does not reach through"


def test_the_period_collar_stops_a_strategy_that_moves_the_market() -> None:
    desk = Desk(strategies={"mm": {"period_window": "60s", "period_drift": "1%"}})
    desk.trade(100, 600_010)
    for price in (603_000, 606_100):
        desk.ts += SECOND
        desk.touch[BTC] = (price - 10, price)
        desk.trade(100, price)
    desk.ts += SECOND
    assert desk.send(100, 606_100) == R.PERIOD_COLLAR
    assert desk.figures == (10_000, 10_158, MM)  # 606,100 against 600,005
    assert desk.send(100, 606_000) == R.NONE, "a passive order moves nothing"
    sell = desk.order(-100, 606_090)
    assert desk.check(sell) == R.NONE, "nor does one the other way"
    desk.gate.release(sell, 100, desk.ts)
    assert desk.send(100, 606_100, strategy=1, account=1) == R.NONE, "another strategy moved nothing"
    desk.ts += 60 * SECOND
    assert desk.send(100, 606_100) == R.NONE, "the window is over"


@pytest.mark.parametrize(
    ("touch", "age", "reason", "figures"),
    [
        ((0, 600_010), 0, R.MARKET_DATA_MISSING, (0, BTC)),
        ((600_020, 600_010), 0, R.MARKET_DATA_CROSSED, (600_020, 600_010)),
        ((600_000, 600_010), SECOND + 1, R.MARKET_DATA_STALE, (SECOND, SECOND + 1)),
    ],
)
def test_no_risk_is_added_on_stale_crossed_or_missing_data(
    touch: tuple[int, int], age: int, reason: R, figures: tuple[int, int]
) -> None:
    desk = Desk()
    fresh = Desk()
    for d in (desk, fresh):
        d.trade(-100, 600_000)
        d.gate.state.inst[BTC, 7] = 0  # forget the mark: only the order's own reference counts
    desk.touch[BTC], desk.age = touch, age
    assert desk.send(101, 600_000) == reason
    assert (desk.gate.limit, desk.gate.value) == figures
    assert fresh.send(100, 600_000) == R.NONE
    if reason is not R.MARKET_DATA_MISSING:
        assert desk.send(100, 600_000) == R.NONE, "what only reduces the position passes"
    else:
        assert desk.send(100, 600_000) == R.NO_REFERENCE, "but never without any reference for the collar"


def test_the_gates_own_mark_serves_where_the_order_brings_no_reference() -> None:
    desk = Desk()
    desk.mark()
    desk.touch[BTC] = (0, 0)
    assert desk.send(10, 600_000) == R.NONE
    desk.ts += 2 * SECOND
    assert desk.send(10, 600_000) == R.MARKET_DATA_STALE


def test_the_fourth_of_the_same_orders_within_a_second_is_a_duplicate() -> None:
    desk = Desk()
    assert [desk.send(10, 600_000) for _ in range(3)] == [0, 0, 0]
    assert desk.send(10, 600_000) == R.DUPLICATE_ORDER
    assert desk.figures == (3, 4, FIRM)
    assert desk.send(11, 600_000) == R.NONE
    assert desk.send(10, 599_999) == R.NONE
    desk.ts += SECOND
    assert desk.send(10, 600_000) == R.NONE, "the window has passed"


def test_a_client_order_id_is_used_once() -> None:
    desk = Desk()
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    order.price -= 1
    assert desk.check(order) == R.DUPLICATE_ID
    assert desk.gate.value == order.cl_ord_id


def test_no_order_reaches_an_own_resting_order_of_the_group() -> None:
    desk = Desk()
    resting = desk.order(-10, 600_050)
    assert desk.check(resting) == R.NONE
    assert desk.send(10, 600_050, strategy=1) == R.SELF_MATCH
    assert desk.figures == (600_050, 600_050, MAIN)
    assert desk.send(10, strategy=1) == R.SELF_MATCH, "a market order may sweep that far"
    assert desk.send(10, 600_049, strategy=1) == R.NONE
    assert desk.send(10, 600_060, strategy=1, account=1) == R.NONE, "another account, another group"
    desk.gate.release(resting, 10, desk.ts)
    assert desk.send(10, 600_050, strategy=1) == R.NONE


def test_self_match_knows_the_best_of_many_and_forgets_the_gone() -> None:
    desk = Desk()
    asks = [desk.order(-10, 600_050 + 5 * n) for n in (3, 1, 2, 4, 0)]
    assert [desk.check(order) for order in asks] == [0] * 5
    for order in sorted(asks, key=lambda order: order.price):
        assert desk.send(10, order.price) == R.SELF_MATCH
        assert desk.gate.limit == order.price
        desk.gate.release(order, 10, desk.ts)
    assert desk.send(10, 600_075) == R.NONE


def test_the_throttle_is_a_bucket_per_strategy_and_account() -> None:
    desk = Desk(strategies={"mm": {"orders_per_second": 10, "order_burst": 4}})
    assert [desk.send(10, 590_000 + n) for n in range(5)] == [0, 0, 0, 0, R.ORDER_THROTTLE]
    assert desk.figures == (SECOND // 10, SECOND // 10, MM)
    assert desk.send(10, 590_000, strategy=1) == R.NONE
    desk.ts += SECOND // 10
    assert [desk.send(10, 580_000 + n) for n in range(2)] == [0, R.ORDER_THROTTLE]
    desk.ts += SECOND
    assert [desk.send(10, 585_000 + n) for n in range(5)] == [0, 0, 0, 0, R.ORDER_THROTTLE]


def test_cancels_are_never_starved_by_new_orders() -> None:
    desk = Desk(accounts={"main": {"orders_per_second": 10, "order_burst": 2, "cancels_per_second": 5}})
    orders = [desk.order(10, 590_000 + n) for n in range(2)]
    assert [desk.check(order) for order in orders] == [0, 0]
    assert desk.send(10, 590_010) == R.ORDER_THROTTLE
    assert [desk.gate.check_cancel(orders[0], desk.ts) for _ in range(5)] == [0] * 5
    assert desk.gate.check_cancel(orders[0], desk.ts) == R.CANCEL_THROTTLE
    assert desk.figures[2] == MAIN
    for state in State:
        desk.gate.set_state(MAIN, state, desk.ts)
        desk.ts += SECOND
        assert desk.gate.check_cancel(orders[0], desk.ts) == R.NONE, f"{state.name} must let cancels pass"


def test_a_denied_order_takes_no_token_and_charges_nothing() -> None:
    desk = Desk(strategies={"mm": {"orders_per_second": 10, "order_burst": 1}})
    state = desk.gate.state
    desk.mark()
    before = [state.scope.tobytes(), state.cell.tobytes(), state.slot.tobytes()]
    assert desk.send(10, 700_000) == R.PRICE_COLLAR
    # (The first call of a day begins it: that is in the header's slot already, by the mark.)
    assert [state.scope.tobytes(), state.cell.tobytes(), state.slot.tobytes()] == before
    assert desk.send(10, 600_000) == R.NONE


def test_a_soft_warning_never_hides_a_hard_denial() -> None:
    desk = Desk(firm={"order_value": 100_000}, strategies={"mm": {"position": "0.9"}})
    assert desk.send(1_000, 600_000) == R.POSITION_LIMIT
    assert desk.gate.warnings == 1 << 5
    assert desk.gate.explain().startswith("POSITION_LIMIT")


@pytest.mark.parametrize(
    ("take", "control", "scope"),
    [
        (("firm", "sides"), 1, ARB), (("firm", "order_qty"), 4, ARB), (("firm", "order_value"), 5, ARB),
        (("firm", "parent_value"), 6, ARB), (("firm", "price_collar"), 7, ARB), (("firm", "dynamic_collar"), 8, ARB),
        (("firm", "period_drift"), 9, ARB), (("firm", "max_age"), 10, ARB), (("firm", "duplicate_orders"), 11, ARB),
        (("strategies", "cancels_per_second"), 13, ARB), (("accounts", "orders_per_second"), 13, MAIN),
        (("accounts", "open_value"), 16, MAIN), (("firm", "position"), 17, FIRM), (("strategies", "net"), 18, ARB),
        (("accounts", "margin_buffer"), 20, MAIN), (("firm", "drawdown"), 23, FIRM),
        (("accounts", "traded_value"), 25, MAIN),
    ],
)  # fmt: skip
def test_a_control_without_a_limit_refuses(take: tuple[str, str], control: int, scope: int) -> None:
    level, field = take
    table: Any = {field: None} if level == "firm" else {"*": {field: None}}
    desk = Desk(**{level: table})
    assert desk.send(10, 600_000, strategy=1) == R.NO_LIMIT
    assert (desk.gate.control, desk.gate.limit, desk.gate.scope) == (30, control, scope)
    assert f"control {control}" in desk.gate.explain()


def test_every_side_of_the_catalogue_can_be_sent_under_generous_limits() -> None:
    desk = Desk()
    kinds: list[dict[str, Any]] = [
        {"price": 0}, {"price": 600_000}, {"ord_type": OrdType.STOP, "stop_price": 610_000},
        {"ord_type": OrdType.STOP_LIMIT, "stop_price": 610_000, "price": 611_000},
        {"ord_type": OrdType.TRAILING_STOP, "offset": 500},
        {"ord_type": OrdType.ICEBERG, "price": 600_000, "display_qty": 3},
        {"ord_type": OrdType.PEGGED, "exec_inst": int(ExecInst.PEG_PRIMARY)},
        {"ord_type": OrdType.PEGGED, "exec_inst": int(ExecInst.PEG_MID), "price": 600_500},
        {"price": 600_010, "time_in_force": TimeInForce.FOK}, {"price": 599_000, "exec_inst": int(ExecInst.POST_ONLY)},
        {"price": 600_000, "time_in_force": TimeInForce.GTD, "expire_ts": T0 + SECOND},
    ]  # fmt: skip
    for fields in kinds:
        assert desk.send(10, **fields) == R.NONE, (fields, desk.gate.explain())
    assert desk.gate.state.scope[MM, 4] == len(kinds)
    assert Side.BUY.sign == 1
    assert set(GENEROUS) == {"firm", "accounts", "strategies"}
