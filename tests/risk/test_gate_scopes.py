"""Controls on what a scope may have in all, 16 to 27: worst cases, losses, states, and what only reduces."""

from __future__ import annotations

from decimal import Decimal

import pytest
from gate_desk import BTC, DESK, FIRM, GENEROUS, MAIN, MM, OIL, OTHER, SECOND, UNIVERSE, Desk

from tidegate.kernel import gate_state as g
from tidegate.model import money
from tidegate.model.order import ExecInst, TimeInForce
from tidegate.model.time import DAY
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

USDT = 1_000_000
REDUCE = int(ExecInst.REDUCE_ONLY)


def position(desk: Desk, scope: int, instrument: int = BTC) -> int:
    return int(desk.gate.state.cell[scope * len(UNIVERSE) + instrument, g.C_POS])


def test_open_orders_are_counted_and_valued() -> None:
    desk = Desk(strategies={"mm": {"open_orders": 2}}, accounts={"main": {"open_value": 1_500}})
    first = desk.order(10, 600_010)
    assert desk.check(first) == R.NONE
    assert desk.send(20, 600_010, strategy=1) == R.OPEN_VALUE
    assert desk.figures == (1_500 * USDT, 1_800_030_000, MAIN)
    assert desk.send(10, 600_009) == R.NONE
    assert desk.send(2, 600_000) == R.OPEN_ORDERS
    assert desk.figures == (2, 3, MM)
    desk.gate.release(first, 10, desk.ts)
    assert desk.send(2, 600_000) == R.NONE


@pytest.mark.parametrize("scope", [MM, MAIN, FIRM])
def test_worst_case_position_counts_open_orders_of_one_side(scope: int) -> None:
    table = {"position": "0.1"}
    desk = Desk(**({"firm": table} if scope == FIRM else {"accounts": {"main": table}} if scope == MAIN
                   else {"strategies": {"mm": table}}))  # fmt: skip
    desk.trade(60, 600_010)
    assert desk.send(30, 599_000) == R.NONE
    assert desk.send(11, 599_100) == R.POSITION_LIMIT
    assert desk.figures == (100, 101, scope)
    assert desk.send(10, 599_100) == R.NONE
    # Sells count from the position down: 60 long may sell 160.
    assert desk.send(-160, 601_000) == R.NONE
    assert desk.send(-2, 601_100) == R.POSITION_LIMIT
    assert desk.figures == (100, 102, scope)


def test_long_and_short_limits_may_differ() -> None:
    desk = Desk(strategies={"mm": {"long": "0.05", "short": 0}})
    assert desk.send(51, 600_000) == R.POSITION_LIMIT
    assert desk.send(-2, 600_020) == R.POSITION_LIMIT
    assert desk.send(50, 600_000) == R.NONE


def test_gross_and_net_notional_take_the_worst_case_at_the_dearer_side_of_the_mark() -> None:
    desk = Desk(accounts={"main": {"gross": 200_000, "net": 101_000}})
    desk.mark()
    desk.mark(OIL)
    assert desk.send(1_700, 600_000) == R.NET_NOTIONAL
    assert desk.figures == (101_000 * USDT, 102_001_700_000, MAIN)  # 1.7 BTC × 60,001.0
    assert desk.send(1_500, 600_000) == R.NONE
    # A lot of oil is 1000 × 50.02. Two sold leave 190,041.5 gross; a third would be too much.
    assert desk.send(-3, 5_002, instrument=OIL) == R.GROSS_NOTIONAL
    assert desk.figures == (200_000 * USDT, 240_061_500_000, MAIN)
    assert desk.send(-2, 5_002, instrument=OIL) == R.NONE
    totals = desk.gate.state.scope[MAIN]
    assert totals[g.P_GROSS] == 190_041_500_000
    # If all buys fill the account is 90,001.5 long, if all sells fill 100,040 short.
    assert (totals[g.P_LONG], totals[g.P_SHORT]) == (90_001_500_000, -100_040_000_000)


def test_margin_of_the_worst_case_must_leave_the_buffer() -> None:
    # Capital 10,000, a tenth as margin, a tenth as buffer: 90,000 of notional.
    scopes = ScopeTable(
        [Account(name="main", capital=Decimal(10_000))], [StrategyScope(name="mm", accounts=("main",))]
    )
    desk = Desk()
    limits = Limits.load(GENEROUS)
    desk.gate = Gate(UNIVERSE, scopes, limits)
    assert desk.send(1_500, 600_000) == R.MARGIN
    assert desk.figures == (9_000 * USDT, 9_000_150_000, 1)
    assert desk.send(1_499, 600_000) == R.NONE


def test_margin_follows_equity_as_the_market_moves() -> None:
    desk = Desk(accounts={"main": {"margin_buffer": "50%"}})
    desk.trade(50_000, 600_010)  # 3,000,050 of notional, 300,005 of margin against 500,000
    desk.move(590_000, 590_010)
    lost = 50_000 * 10_010 * 100  # lots × ticks × 1e-6 USDT a tick and lot
    equity = 1_000_000 * USDT - lost
    assert desk.gate.state.scope[MAIN, g.P_PNL] == -lost
    assert desk.send(40_000, 590_000) == R.MARGIN
    assert desk.gate.limit == equity // 2


def test_a_loss_warns_at_half_and_leaves_only_reducing_at_the_limit() -> None:
    desk = Desk(strategies={"mm": {"loss": 1_000}})
    desk.trade(1_000, 600_010)
    desk.move(595_020, 595_030)
    assert desk.gate.scope_state(MM) is State.ACTIVE
    desk.move(595_010, 595_020)  # the bid is 5,000 ticks lower: 500 USDT
    assert desk.gate.scope_state(MM) is State.WARN
    assert desk.send(10, 595_020, time_in_force=TimeInForce.IOC) == R.NONE
    assert desk.gate.warnings == 1 << 23
    desk.move(590_010, 590_020)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY
    assert desk.send(10, 590_001) == R.LOSS_LIMIT
    assert desk.figures == (1_000 * USDT, 1_000 * USDT, MM)
    assert desk.gate.control == 23
    assert desk.send(-1_000, 590_010) == R.NONE, "what reduces passes"
    desk.move(620_000, 620_010)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY, "never up by itself"
    assert desk.gate.scope_state(MAIN) is State.ACTIVE


def test_drawdown_counts_from_the_highest_profit_and_starts_anew_when_people_raise_the_scope() -> None:
    desk = Desk(firm={"drawdown": 2_000})
    desk.trade(1_000, 600_010)
    desk.move(640_000, 640_010)
    desk.move(620_000, 620_010)
    assert desk.gate.scope_state(FIRM) is State.REDUCE_ONLY
    assert desk.send(10, 620_001) == R.DRAWDOWN_LIMIT
    assert desk.figures == (2_000 * USDT, 2_000 * USDT, FIRM)
    desk.gate.set_state(FIRM, State.ACTIVE, desk.ts)
    assert desk.gate.scope_state(FIRM) is State.REDUCE_ONLY, "that comes by time, and takes people first"
    desk.gate.set_state(FIRM, State.RECOVERING, desk.ts)
    desk.move(619_000, 619_010)
    assert desk.gate.scope_state(FIRM) is State.RECOVERING
    assert desk.send(10, 619_001) == R.NONE


def test_the_drawdown_counts_on_from_where_people_let_the_scope_up_when_its_recovery_ends() -> None:
    desk = Desk(firm={"drawdown": 2_000})
    desk.trade(1_000, 600_010)
    desk.gate.set_state(FIRM, State.REDUCE_ONLY, desk.ts)
    desk.move(640_000, 640_010)
    desk.gate.set_state(FIRM, State.RECOVERING, desk.ts)
    desk.move(630_000, 630_010)
    desk.gate.set_state(FIRM, State.ACTIVE, desk.ts)
    desk.move(620_000, 620_010)
    assert desk.gate.scope_state(FIRM) is State.REDUCE_ONLY
    assert desk.gate.state.scope[FIRM, g.P_CAUSE_VALUE] == 2_000 * USDT


def test_fees_funding_and_realised_losses_count_against_the_day() -> None:
    desk = Desk(strategies={"mm": {"loss": 100}})
    order = desk.order(1_000, 600_010)
    assert desk.check(order) == R.NONE
    desk.gate.fill(order, 1_000, 600_010, money.to_units("60", "USDT"), desk.ts)
    desk.move(600_010, 600_020)
    assert desk.gate.scope_state(MM) is State.WARN
    # 1 BTC × 60,001 × 0.1 % is 60.001 more.
    desk.gate.funding(BTC, 100_000, 600_010, desk.ts)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY
    assert desk.gate.state.scope[MM, g.P_PNL] == -120_001_000


def test_a_new_day_forgets_losses_and_traded_value() -> None:
    desk = Desk(accounts={"main": {"traded_value": 100_000}}, strategies={"mm": {"loss": 1_000}})
    desk.trade(1_000, 600_010)
    desk.move(594_000, 594_010)
    assert desk.gate.scope_state(MM) is State.WARN
    assert desk.send(700, 594_000) == R.TRADED_VALUE
    assert desk.figures == (100_000 * USDT, 60_001 * USDT + 41_580_700_000, MAIN)
    desk.move(594_000, 594_010, after=DAY)
    desk.gate.set_state(MM, State.ACTIVE, desk.ts)
    desk.move(590_010, 590_020)
    assert desk.gate.scope_state(MM) is State.ACTIVE, "399 USDT are lost since the day began"
    assert desk.send(700, 590_000) == R.NONE


def test_traded_value_counts_both_sides_and_what_is_open() -> None:
    desk = Desk(accounts={"main": {"traded_value": 200_000}})
    desk.trade(1_000, 600_010)
    desk.trade(-1_000, 600_000)
    assert desk.gate.state.scope[MAIN, g.P_TRADED] == 120_001 * USDT
    assert desk.send(1_000, 600_000) == R.NONE
    assert desk.send(-333, 600_010) == R.NONE
    assert desk.send(-2, 600_020) == R.TRADED_VALUE
    assert desk.gate.value == (120_001 + 60_001) * USDT + 19_980_333_000 + 120_004_000


@pytest.mark.parametrize("scope", [FIRM, DESK, MAIN, MM])
def test_the_most_severe_state_of_the_chain_rules(scope: int) -> None:
    desk = Desk()
    desk.trade(100, 600_010)
    for state, opening, reducing in (
        (State.ACTIVE, R.NONE, R.NONE),
        (State.WARN, R.NONE, R.NONE),
        (State.REDUCE_ONLY, R.SCOPE_REDUCE_ONLY, R.NONE),
        (State.CANCEL_ONLY, R.SCOPE_CANCEL_ONLY, R.SCOPE_CANCEL_ONLY),
        (State.KILLED, R.SCOPE_KILLED, R.SCOPE_KILLED),
        (State.RECOVERING, R.NONE, R.NONE),
    ):
        desk.ts += SECOND
        desk.gate.set_state(scope, state, desk.ts)
        assert desk.send(10, 600_000) == opening
        assert opening == R.NONE or desk.gate.scope == scope
        assert desk.send(-5, 600_010) == reducing
    desk.gate.set_state(OTHER, State.KILLED, desk.ts)
    desk.gate.set_state(scope, State.ACTIVE, desk.ts)
    desk.ts += SECOND
    assert desk.send(10, 600_000) == R.NONE, "a scope beside the chain does not matter"


def test_only_what_is_left_to_reduce_may_be_sold_while_reducing() -> None:
    desk = Desk()
    desk.trade(100, 600_010)
    desk.gate.set_state(MAIN, State.REDUCE_ONLY, desk.ts)
    assert desk.send(-101, 600_010) == R.SCOPE_REDUCE_ONLY
    assert desk.figures == (100, 101, MAIN)
    assert desk.send(-60, 600_010) == R.NONE
    assert desk.send(-41, 600_020) == R.SCOPE_REDUCE_ONLY, "the open sell counts"
    assert desk.send(-40, 600_020) == R.NONE


def test_a_reduce_only_order_never_exceeds_the_position_of_strategy_and_account() -> None:
    desk = Desk()
    assert desk.send(-10, 600_010, exec_inst=REDUCE) == R.REDUCE_ONLY_EXCEEDED
    assert desk.figures == (0, 10, MM)
    desk.trade(100, 600_010)
    assert desk.send(-60, 600_010, exec_inst=REDUCE) == R.NONE
    assert desk.send(-41, 600_020, exec_inst=REDUCE) == R.REDUCE_ONLY_EXCEEDED
    assert desk.figures == (100, 101, MM)
    assert desk.send(10, 600_000, exec_inst=REDUCE) == R.REDUCE_ONLY_EXCEEDED
    # Another strategy holds the opposite: at the venue the account has less to reduce.
    desk.trade(-70, 600_000, strategy=1)
    assert desk.send(-20, 600_030, exec_inst=REDUCE) == R.REDUCE_ONLY_EXCEEDED
    assert desk.figures == (30, 80, MAIN)
    assert desk.send(-40, 600_020) == R.NONE, "a plain order is free to go short"


def test_what_reduces_passes_10_17_18_20_and_25_but_never_5_and_7() -> None:
    tight = {"position": 0, "gross": 0, "net": 0, "traded_value": 0, "margin_buffer": "100%"}
    desk = Desk(accounts={"main": tight})
    assert desk.send(2, 600_000) == R.POSITION_LIMIT
    order = desk.order(100, 600_010)
    desk.gate.book(order, 100, 600_010, 0, desk.ts)
    desk.age = 10 * SECOND
    assert desk.send(-101, 600_010) == R.MARKET_DATA_STALE
    assert desk.send(-100, 600_010) == R.NONE


def test_collar_and_value_hold_for_reducing_orders_too() -> None:
    desk = Desk(firm={"order_value": 5_000})
    desk.gate.book(desk.order(100, 600_010), 100, 600_010, 0, desk.ts)
    assert desk.send(-50, 700_000) == R.PRICE_COLLAR
    assert desk.send(-90, 600_010) == R.MAX_ORDER_VALUE


def test_a_replace_charges_the_worse_of_both_forms_until_the_venue_answers() -> None:
    desk = Desk()
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    cell = desk.gate.state.cell[MM * len(UNIVERSE) + BTC]
    assert desk.replace(order, 30, 599_000) == R.NONE
    assert cell[g.C_BUYS] == 30
    desk.gate.replace_rejected(order, 30, 599_000, desk.ts)
    assert cell[g.C_BUYS] == 10
    assert desk.replace(order, 5) == R.NONE
    assert cell[g.C_BUYS] == 10, "the smaller form is charged only when it is certain"
    desk.gate.replaced(order, 5, 600_000, desk.ts)
    assert cell[g.C_BUYS] == 5
    order.qty = order.leaves_qty = 5
    desk.gate.release(order, 5, desk.ts)
    assert cell[g.C_BUYS] == 0
    assert desk.replace(order, 7) == R.NOT_CHARGED


def test_a_replace_is_refused_by_the_limit_it_would_break_and_changes_nothing() -> None:
    desk = Desk(strategies={"mm": {"position": "0.02"}})
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    before = desk.gate.state_bytes()
    assert desk.replace(order, 21) == R.POSITION_LIMIT
    assert desk.figures == (20, 21, MM)
    assert desk.replace(order, 0, 700_000) == R.PRICE_COLLAR
    order.cum_qty = 4
    assert desk.replace(order, 4) == R.INVALID_QTY
    assert desk.gate.state_bytes() == before
    assert desk.replace(order, 20) == R.NONE


def test_a_replace_may_shrink_when_only_reducing_but_not_move_closer() -> None:
    desk = Desk()
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    desk.gate.set_state(MM, State.REDUCE_ONLY, desk.ts)
    assert desk.replace(order, 0, 600_001) == R.SCOPE_REDUCE_ONLY
    assert desk.replace(order, 11) == R.SCOPE_REDUCE_ONLY
    assert desk.replace(order, 9, 599_999) == R.NONE


def test_fills_during_a_replace_leave_nothing_behind() -> None:
    desk = Desk()
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    assert desk.replace(order, 30) == R.NONE
    desk.gate.fill(order, 10, 600_000, 0, desk.ts)
    assert position(desk, FIRM) == 10
    assert desk.gate.state.slot[0, g.H_USED] == 0
    assert not desk.gate.state.cell[:, [g.C_BUYS, g.C_SELLS]].any()


def test_a_bust_takes_position_cash_and_traded_value_back() -> None:
    desk = Desk()
    desk.mark()
    before = desk.gate.state.scope[:, [g.P_PNL, g.P_TRADED, g.P_GROSS]].tolist()
    order = desk.order(10, 600_010)
    assert desk.check(order) == R.NONE
    desk.gate.fill(order, 10, 600_010, 500, desk.ts)
    desk.gate.unfill(order, 10, 600_010, 500, desk.ts)
    assert desk.gate.state.scope[:, [g.P_PNL, g.P_TRADED, g.P_GROSS]].tolist() == before
    assert position(desk, MM) == 0


def test_a_late_fill_of_an_order_that_is_over_still_moves_the_position() -> None:
    desk = Desk()
    order = desk.order(10, 600_000)
    assert desk.check(order) == R.NONE
    desk.gate.release(order, 10, desk.ts)
    order.leaves_qty = 0
    desk.gate.fill(order, 10, 600_000, 0, desk.ts)
    assert [position(desk, s) for s in range(6)] == [10, 10, 10, 0, 10, 0]


def test_a_mark_that_cannot_be_true_is_counted_and_ignored() -> None:
    desk = Desk()
    desk.mark()
    for bid, ask in ((600_020, 600_010), (0, 600_010), (600_000, 0), (-5, 600_010)):
        desk.gate.mark(BTC, bid, ask, desk.ts)
    assert desk.gate.state.inst[BTC, [g.I_BID, g.I_ASK, g.I_BAD_MARKS]].tolist() == [600_000, 600_010, 4]


def test_the_gate_is_full_when_its_table_is() -> None:
    desk = Desk()
    small = Gate(UNIVERSE, desk.gate.scopes, Limits.load(GENEROUS), open_orders=2)
    desk.gate = small
    orders = [desk.order(10, 590_000 + n) for n in range(3)]
    assert [desk.check(o) for o in orders] == [R.NONE, R.NONE, R.GATE_FULL]
