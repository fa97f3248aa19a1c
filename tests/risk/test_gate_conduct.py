"""How a strategy behaves: controls 14, 15, 24, 28 and 29 one by one, each to the figure at which it speaks."""

from __future__ import annotations

import pytest
from gate_desk import BTC, MAIN, MM, OIL, SECOND, Desk

from tidegate.errors import UserError
from tidegate.kernel import gate_state as g
from tidegate.model.order import Side, TimeInForce
from tidegate.model.time import DAY, MS
from tidegate.risk.gate import Gate
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import State


def sells(desk: Desk, n: int, **fields: object) -> list[int]:
    """`n` resting sells, each of 10 lots at a price of its own."""
    return [desk.send(-10, 601_000 + desk.number, **fields) for _ in range(n)]


# 14: order-to-trade ratio


def test_orders_are_held_to_the_trades_they_make_after_a_free_number() -> None:
    desk = Desk(accounts={"main": {"order_ratio": 4, "ratio_free": 3}}, firm={"duplicate_orders": 60})
    assert sells(desk, 5) == [R.NONE] * 5  # none has traded, which counts as one: 5 ÷ 1 − 1 is 4
    assert desk.gate.warnings >> 14 & 1, "above half"
    assert desk.send(-10, 602_000) == R.ORDER_TRADE_RATIO
    assert desk.figures == (4_000, 5_000, MAIN)
    assert desk.gate.control == 14
    assert desk.send(-10, 602_000, strategy=1, account=1) == R.NONE, "another account's ratio is its own"
    desk.ts += DAY
    assert desk.send(-10, 602_100) == R.NONE, "a new day"


def test_a_replace_counts_as_two_and_a_cancel_as_one() -> None:
    desk = Desk(firm={"order_ratio": 4, "ratio_free": 0})
    order = desk.order(-10, 601_000)
    assert desk.check(order) == R.NONE
    assert desk.replace(order, 0, 601_001) == R.NONE
    assert desk.gate.check_cancel(order, desk.ts) == R.NONE
    cell = desk.gate.state.cell[MAIN * 2 + BTC]
    assert cell[[g.C_SENT, g.C_SENT_LOTS]].tolist() == [4, 10 + 20 + 10]
    assert desk.replace(order, 0, 600_900) == R.ORDER_TRADE_RATIO
    assert desk.figures[:2] == (4_000, 5_000)
    assert desk.gate.check_cancel(order, desk.ts) == R.NONE, "a cancel is never held back by it"


def test_volume_is_judged_beside_the_number_and_trades_make_room() -> None:
    desk = Desk(firm={"volume_ratio": 2, "ratio_free": 1})
    desk.trade(10, 600_010)
    assert desk.send(20, 599_000) == R.NONE
    assert desk.send(2, 599_001) == R.VOLUME_TRADE_RATIO
    assert desk.figures[:2] == (2_000, 2_200)
    order = desk.order(-10, 600_000, time_in_force=TimeInForce.IOC)
    assert desk.check(order) == R.NONE, "it only reduces"
    desk.gate.fill(order, 10, 600_000, 0, desk.ts)
    assert desk.send(20, 599_002) == R.NONE


# 15: repeated execution


def run_of(desk: Desk, n: int, side: int = 1, after: int = 0) -> None:
    for _ in range(n):
        desk.trade(2 * side, 600_010 if side > 0 else 600_000)
        desk.ts += after
        desk.mark()


def test_executions_in_a_window_stop_the_side_until_a_person_acknowledges() -> None:
    desk = Desk(
        strategies={"mm": {"executions": 3, "execution_window": "10s"}}, firm={"duplicate_orders": 60}
    )
    desk.mark()
    run_of(desk, 3)
    assert desk.send(2, 599_000) == R.REPEATED_EXECUTION
    assert desk.figures == (3, 3, MM)
    assert desk.send(2, 599_000, strategy=1) == R.NONE, "another strategy goes on"
    assert desk.send(-6, 600_500) == R.NONE, "what reduces passes"
    desk.move(600_000, 600_010, after=3600 * SECOND)
    assert desk.send(2, 599_000) == R.REPEATED_EXECUTION, "time alone does not end it"
    desk.gate.acknowledge(0, BTC, Side.SELL, desk.ts)
    assert desk.send(2, 599_000) == R.REPEATED_EXECUTION, "the other side's was acknowledged"
    desk.gate.acknowledge(0, BTC, Side.BUY, desk.ts)
    assert desk.send(2, 599_000) == R.NONE


def test_executions_that_are_far_enough_apart_never_stop_it() -> None:
    desk = Desk(
        strategies={"mm": {"executions": 3, "execution_window": "10s"}}, firm={"duplicate_orders": 60}
    )
    desk.mark()
    run_of(desk, 8, after=5 * SECOND)
    assert desk.send(2, 599_000) == R.NONE


def test_acknowledging_what_does_not_exist_is_refused() -> None:
    desk = Desk()
    for strategy, instrument, side in ((9, 0, 0), (0, 9, 0), (0, 0, 7), (-1, 0, 0)):
        with pytest.raises(ValueError, match=r"9 of 2|-1 of 2|7 is not a valid Side"):
            desk.gate.acknowledge(strategy, instrument, side, desk.ts)


# 24: anomalies


def test_too_many_fills_a_second_pause_the_strategy_with_the_cause() -> None:
    desk = Desk(strategies={"mm": {"fills_per_second": 4}}, firm={"duplicate_orders": 60})
    desk.mark()
    run_of(desk, 4)
    assert desk.gate.scope_state(MM) is State.ACTIVE
    run_of(desk, 1)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY
    assert desk.send(2, 599_000) == R.ANOMALY_FILLS
    assert desk.figures == (SECOND // 4, SECOND // 4, MM)
    assert desk.gate.control == 24
    assert desk.send(-10, 600_500) == R.NONE
    assert desk.send(2, 599_000, strategy=1) == R.NONE
    for state in (State.ACTIVE, State.WARN):
        desk.gate.set_state(MM, state, desk.ts)
        assert desk.gate.scope_state(MM) is State.REDUCE_ONLY, "time, or a warning, is nobody's resume"
    desk.gate.set_state(MM, State.RECOVERING, desk.ts)
    run_of(desk, 1)
    assert desk.gate.scope_state(MM) is State.RECOVERING, "people have looked: it counts anew"


def test_what_was_seen_before_a_recovery_ends_by_time_counts_on() -> None:
    desk = Desk(strategies={"mm": {"fills_per_second": 4}}, firm={"duplicate_orders": 60})
    desk.mark()
    desk.gate.set_state(MM, State.KILLED, desk.ts)
    desk.gate.set_state(MM, State.RECOVERING, desk.ts)
    run_of(desk, 4)
    desk.gate.set_state(MM, State.ACTIVE, desk.ts)
    run_of(desk, 1)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY


def rejected(desk: Desk, n: int) -> None:
    """Orders that the venue refuses."""
    for _ in range(n):
        order = desk.order(10, 599_000 + desk.number)
        assert desk.check(order) == R.NONE
        desk.gate.release(order, 10, desk.ts, refused=True)


def passed(desk: Desk, n: int) -> None:
    for _ in range(n):
        order = desk.order(10, 599_000 + desk.number)
        assert desk.check(order) == R.NONE
        desk.gate.release(order, 10, desk.ts)


def test_denials_and_refusals_of_the_last_fifty_orders_are_counted_together() -> None:
    desk = Desk(strategies={"mm": {"reject_share": "20%"}}, firm={"duplicate_orders": 60})
    passed(desk, 39)
    assert [desk.send(10, 0 if n % 2 else 900_000) for n in range(6)].count(R.NONE) == 3
    rejected(desk, 4)
    assert desk.gate.scope_state(MM) is State.ACTIVE, "49 orders are too few to judge by"
    rejected(desk, 3)
    assert desk.gate.scope_state(MM) is State.ACTIVE, "10 of the last 50"
    rejected(desk, 1)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY
    assert desk.send(10, 599_000) == R.ANOMALY_REJECTS
    assert desk.figures == (200_000, 220_000, MM)


def test_what_was_refused_long_ago_is_forgotten() -> None:
    desk = Desk(strategies={"mm": {"reject_share": "20%"}}, firm={"duplicate_orders": 60})
    rejected(desk, 10)
    passed(desk, 45)
    rejected(desk, 10)
    assert desk.gate.scope_state(MM) is State.ACTIVE
    desk.gate.set_state(MM, State.REDUCE_ONLY, desk.ts)
    desk.gate.set_state(MM, State.ACTIVE, desk.ts)
    assert not desk.gate.state.ring[0, [g.Q_OUTCOMES, g.Q_REJECTS, g.Q_JUDGED]].any()


def test_denials_for_a_state_stale_data_or_a_gap_are_no_fault_of_the_strategy() -> None:
    desk = Desk(strategies={"mm": {"reject_share": "20%"}}, firm={"duplicate_orders": 60})
    desk.gate.set_state(MAIN, State.KILLED, desk.ts)
    assert {desk.send(10, 599_000) for _ in range(60)} == {R.SCOPE_KILLED}
    desk.gate.set_state(MAIN, State.ACTIVE, desk.ts)
    desk.gate.set_gap(True)
    assert {desk.send(10, 599_000) for _ in range(60)} == {R.RISK_LOG_GAP}
    desk.gate.set_gap(False)
    desk.age = 5 * SECOND
    assert {desk.send(10, 599_000) for _ in range(60)} == {R.MARKET_DATA_STALE}
    assert desk.gate.scope_state(MM) is State.ACTIVE


def take(desk: Desk, slip: int) -> None:
    """Buy at the ask, or that many ticks beyond it."""
    order = desk.order(2, 600_010 + slip, time_in_force=TimeInForce.IOC)
    assert desk.check(order) == R.NONE, desk.gate.explain()
    desk.gate.fill(order, 2, 600_010 + slip, 0, desk.ts)


def test_slippage_far_from_the_strategys_usual_pauses_it() -> None:
    """A fill at the ask is 8 parts per million beyond the middle; deviations count in no less than 100."""
    desk = Desk(
        strategies={"mm": {"slippage_score": 6}}, firm={"duplicate_orders": 60, "period_drift": "unlimited"}
    )
    for _ in range(29):
        take(desk, 0)
    take(desk, 2_000)
    assert desk.gate.scope_state(MM) is State.ACTIVE, "thirty fills are needed"
    desk = Desk(
        strategies={"mm": {"slippage_score": 6}}, firm={"duplicate_orders": 60, "period_drift": "unlimited"}
    )
    for n in range(40):
        take(desk, 60 * (n % 2))
    assert desk.gate.scope_state(MM) is State.ACTIVE
    take(desk, 300)
    assert desk.gate.scope_state(MM) is State.ACTIVE, "some 450 beyond usual"
    take(desk, 600)
    assert desk.gate.scope_state(MM) is State.REDUCE_ONLY
    assert desk.send(2, 599_000) == R.ANOMALY_SLIPPAGE
    limit, value, scope = desk.figures
    assert (limit, scope) == (6_000, MM)
    assert 6_000 < value < 10_000


# 28: legs


def legged(**changes: object) -> Desk:
    """Two instruments that hedge each other up to 600 USDT, for a second."""
    legs = {"legs": ["BTCUSDT.X", "CL.Y"], "leg_value": 600, "leg_time": "1s", **changes}
    desk = Desk(strategies={"mm": legs})
    desk.touch[OIL] = (5_999, 6_000)  # one lot is worth 60,000 USDT
    desk.gate.set_state(MM, State.ACTIVE, desk.ts)
    for instrument in (BTC, OIL):
        desk.mark(instrument)
    return desk


def test_legs_may_be_out_of_balance_for_a_while_and_then_only_hedges_pass() -> None:
    desk = legged()
    desk.trade(9, 600_010)  # 540 USDT
    assert desk.send(2, 599_000) == R.NONE
    assert not desk.gate.warnings >> 28 & 1
    desk.trade(991, 600_010)  # 60,000 USDT long
    assert desk.send(2, 599_001) == R.NONE
    assert desk.gate.warnings >> 28 & 1, "out of balance warns"
    desk.move(600_000, 600_010, after=SECOND)
    assert desk.send(2, 599_002) == R.NONE, "not longer than allowed"
    desk.move(600_000, 600_010, after=1)
    assert desk.send(2, 599_003) == R.LEG_RISK
    assert desk.figures == (SECOND, SECOND + 1, MM)
    assert desk.send(2, 599_003, strategy=1) == R.NONE, "another strategy has no such legs"
    assert desk.send(-3, 6_010, instrument=OIL) == R.LEG_RISK, "180,000 the other way is no hedge"
    assert desk.send(-1, 6_010, instrument=OIL) == R.NONE
    desk.mark(OIL)
    order = desk.order(-1, 5_999, instrument=OIL, time_in_force=TimeInForce.IOC)
    desk.gate.fill(order, 1, 5_999, 0, desk.ts)
    assert desk.gate.state.scope[MM, g.P_LEG_SINCE] == 0
    assert desk.send(2, 599_004) == R.NONE


def test_what_only_reduces_a_leg_passes_however_long_it_has_been() -> None:
    desk = legged()
    desk.trade(100, 600_010)
    desk.move(600_000, 600_010, after=5 * SECOND)
    assert desk.send(-100, 600_500) == R.NONE


def test_marks_alone_can_put_legs_out_of_balance() -> None:
    desk = legged()
    desk.trade(9, 600_010)
    desk.move(700_000, 700_010)
    assert desk.gate.state.scope[MM, g.P_LEG_SINCE] == desk.ts
    desk.move(600_000, 600_010)
    assert desk.gate.state.scope[MM, g.P_LEG_SINCE] == 0


def test_an_instrument_that_becomes_a_leg_counts_with_its_position() -> None:
    desk, later = Desk(), legged()
    desk.mark()
    desk.trade(20, 600_010)
    desk.gate.set_limits(later.gate.limits)
    assert desk.gate.state.scope[MM, g.P_LEG_DELTA] == 20 * 60_001_000
    assert desk.gate.state.scope[MM, g.P_LEG_SINCE] == desk.ts
    again = Gate(desk.gate.universe, desk.gate.scopes, Desk().gate.limits)
    again.load(desk.gate.state_bytes())
    assert again.state_bytes() == desk.gate.state_bytes()
    desk.gate.set_limits(Desk().gate.limits)
    assert not desk.gate.state.scope[MM, [g.P_LEG_DELTA, g.P_LEG_SINCE]].any()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"legs": ["BTCUSDT.X", "CL.Y"]}, "risk.strategies.mm: legs and leg_value go together"),
        ({"leg_value": 5}, "risk.strategies.mm: legs and leg_value go together"),
        ({"legs": ["CL.Y", "CL.Y"], "leg_value": 5}, r"legs \['CL.Y', 'CL.Y'\]: two or more instruments"),
        ({"legs": ["CL.Y", "CL.Z"], "leg_value": 5}, "unknown leg 'CL.Z'; did you mean 'CL.Y'"),
        ({"order_burst": 5, "orders_per_second": None}, "order_burst is set and orders_per_second is not"),
        ({"order_value": 9, "parent_value": 8}, "order_value 9 is above parent_value 8"),
        ({"restricted_from": "2024-01-02", "restricted_to": "2024-01-01"}, "restricted_from is not before"),
    ],
)
def test_limits_that_contradict_each_other_are_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Desk(strategies={"mm": table})
    assert "\n" not in str(caught.value)


# 29: clocks and gaps


def test_an_order_whose_time_is_far_from_the_lanes_is_refused() -> None:
    desk = Desk(firm={"clock_skew": "100ms"})
    desk.mark()
    assert (
        desk.gate.check(desk.order(10, 599_000), 600_000, 600_010, desk.ts - 100 * MS, desk.ts - 100 * MS)
        == R.NONE
    )
    late = desk.ts - 101 * MS
    assert desk.gate.check(desk.order(10, 599_001), 600_000, 600_010, late, late) == R.CLOCK_SKEW
    assert desk.figures == (100 * MS, 101 * MS, 0)
    ahead = desk.ts + 900 * MS
    assert desk.gate.check(desk.order(10, 599_002), 600_000, 600_010, ahead, ahead) == R.NONE, (
        "the market is quiet"
    )
    desk.gate.tick(desk.ts)
    assert desk.gate.check(desk.order(10, 599_003), 600_000, 600_010, ahead, ahead) == R.CLOCK_SKEW
    desk.gate.tick(ahead - 50 * MS)
    assert desk.gate.check(desk.order(10, 599_003), 600_000, 600_010, ahead, ahead) == R.NONE


def test_a_reference_from_the_future_is_refused_and_what_reduces_passes() -> None:
    desk = Desk(firm={"clock_skew": "100ms"})
    desk.mark()
    desk.trade(10, 600_010)
    future = desk.ts + 101 * MS
    assert (
        desk.gate.check(desk.order(10, 599_000), 600_000, 600_010, future, desk.ts) == R.REFERENCE_IN_FUTURE
    )
    assert desk.figures[:2] == (100 * MS, 101 * MS)
    assert desk.gate.check(desk.order(-10, 600_500), 600_000, 600_010, future, desk.ts) == R.NONE


def test_a_gap_in_the_risk_log_lets_nothing_pass_but_cancels() -> None:
    desk = Desk()
    desk.mark()
    desk.trade(10, 600_010)
    resting = desk.order(10, 599_000)
    assert desk.check(resting) == R.NONE
    desk.gate.set_gap(True)
    assert desk.send(-10, 600_500) == R.RISK_LOG_GAP
    assert desk.replace(resting, 5) == R.RISK_LOG_GAP
    assert desk.gate.check_cancel(resting, desk.ts) == R.NONE
    other = Desk()
    other.gate.load(desk.gate.state_bytes())
    assert other.send(-10, 600_500) == R.RISK_LOG_GAP, "a restored gate knows of it"
    desk.gate.set_gap(False)
    assert desk.send(-10, 600_500) == R.NONE


def test_no_new_control_is_needed_and_none_speaks_where_it_is_not_set() -> None:
    desk = Desk()
    assert desk.send(10, 600_000) == R.NONE
    assert desk.send(10, 600_000, strategy=1) == R.NONE
