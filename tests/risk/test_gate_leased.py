"""Additive limits by field: what is lent holds, what is used is what the gate compares, and both are restored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gate_desk import BTC, FIRM, MAIN, MM, OIL, Desk

from tidegate.kernel.gate_state import MICRO, UNLIMITED
from tidegate.risk.leases.fields import Field
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import State

WHOLE = [field for field in Field if not field.per_instrument]


def busy() -> Desk:
    """Long 10 at 600,005, with a resting buy of 5 and a resting sell of 30."""
    desk = Desk()
    desk.mark()
    desk.trade(10, 600_010)
    assert desk.send(5, 599_990) == R.NONE
    assert desk.send(-30, 600_100) == R.NONE
    return desk


def test_use_is_what_the_gate_compares_with_the_limit() -> None:
    desk = busy()
    unit = 60_001_000  # micro-USDT of a lot at the ask, the dearer side
    used = [desk.gate.use(MM, field) for field in WHOLE]
    value = 5 * 60_001_000 + 30 * 60_010_000  # a buy is worth the ask at least, a sell its limit
    assert used == [2, value, 20 * unit, 15 * unit, 20 * unit, 10 * 60_001_000 + value]
    assert [desk.gate.use(MM, f, BTC) for f in (Field.LONG, Field.SHORT)] == [15, 20]
    assert desk.gate.use(MM, Field.LONG, OIL) == 0


def test_use_is_below_zero_on_the_other_side() -> None:
    desk = Desk()
    desk.mark()
    desk.trade(10, 600_010)
    assert desk.gate.use(FIRM, Field.SHORT, BTC) == -10
    assert desk.gate.use(FIRM, Field.NET_SHORT) == -10 * 60_001_000


@pytest.mark.parametrize(
    ("field", "instrument", "lots", "price", "reason"),
    [
        (Field.ORDERS, -1, 1, 600_000, R.OPEN_ORDERS),
        (Field.OPEN_VALUE, -1, 1, 600_000, R.OPEN_VALUE),
        (Field.GROSS, -1, -6, 600_200, R.GROSS_NOTIONAL),
        (Field.NET_LONG, -1, 1, 600_000, R.NET_NOTIONAL),
        (Field.NET_SHORT, -1, -6, 600_200, R.NET_NOTIONAL),
        (Field.TRADED, -1, 1, 600_000, R.TRADED_VALUE),
        (Field.LONG, BTC, 1, 600_000, R.POSITION_LIMIT),
        (Field.SHORT, BTC, -6, 600_200, R.POSITION_LIMIT),
    ],
)
def test_what_is_lent_is_held_to_the_unit_and_no_more_than_it(
    field: Field, instrument: int, lots: int, price: int, reason: R
) -> None:
    """One order takes what is left exactly; with one unit less it is refused with that limit."""
    for scope in (MM, MAIN, FIRM):
        probe = busy()
        order = probe.order(lots, price)
        order.qty = order.leaves_qty = max(2, abs(lots))
        assert probe.check(order) == R.NONE
        needed = probe.gate.use(scope, field, instrument)
        for given, expected in ((needed, R.NONE), (needed - 1, reason)):
            desk = busy()
            desk.gate.set_limit(scope, field, instrument, given)
            order = desk.order(lots, price)
            order.qty = order.leaves_qty = max(2, abs(lots))
            assert desk.check(order) == expected, (scope, field)
            if expected:
                assert desk.figures == (needed - 1, needed, scope)


def test_long_and_short_of_the_net_are_judged_apart() -> None:
    desk = busy()
    desk.gate.set_limit(MM, Field.NET_LONG, -1, 0)
    assert desk.send(5, 599_990) == R.NET_NOTIONAL
    assert desk.send(-5, 600_200) == R.NONE
    desk.gate.set_limit(MM, Field.NET_LONG, -1, UNLIMITED)
    desk.gate.set_limit(MM, Field.NET_SHORT, -1, 0)
    assert desk.send(5, 599_980) == R.NONE
    assert desk.send(-5, 600_210) == R.NET_NOTIONAL


def test_a_buy_that_turns_a_large_short_into_a_long_above_the_limit_is_refused() -> None:
    desk = Desk(strategies={"mm": {"net": 500}})
    desk.mark()
    desk.gate.set_state(MM, State.ACTIVE, desk.ts)
    desk.trade(-8, 600_000)  # short 480 USDT
    assert desk.send(15, 600_000) == R.NONE  # worst long: 7 lots
    assert desk.send(2, 599_990) == R.NET_NOTIONAL  # 9 lots would be 540, though that is less than was short


def test_a_lease_never_lifts_what_people_set_and_can_be_taken_off() -> None:
    desk = Desk(strategies={"mm": {"open_orders": 2}})
    gate = desk.gate
    gate.set_limit(MM, Field.ORDERS, -1, 50)
    assert (gate.limit_of(MM, Field.ORDERS), gate.human_limit(MM, Field.ORDERS)) == (2, 2)
    gate.set_limit(MM, Field.ORDERS, -1, 1)
    assert gate.limit_of(MM, Field.ORDERS) == 1
    gate.set_limit(MM, Field.ORDERS, -1, UNLIMITED)
    assert gate.limit_of(MM, Field.ORDERS) == 2
    assert gate.limit_of(FIRM, Field.ORDERS) == UNLIMITED


def test_what_only_reduces_passes_a_lease_that_is_used_up() -> None:
    desk = Desk()
    desk.mark()
    desk.trade(10, 600_010)
    for field in (Field.GROSS, Field.NET_LONG, Field.NET_SHORT, Field.TRADED):
        desk.gate.set_limit(MM, field, -1, 0)
    for field in (Field.LONG, Field.SHORT):
        desk.gate.set_limit(MM, field, BTC, 0)
    assert desk.send(-10, 600_000) == R.NONE
    assert desk.send(-2, 600_000) != R.NONE


def test_leases_are_part_of_the_state_and_come_back_with_it() -> None:
    desk, other = busy(), Desk()
    before = desk.gate.state_bytes()
    desk.gate.set_limit(MM, Field.GROSS, -1, 7 * MICRO)
    desk.gate.set_limit(MAIN, Field.LONG, BTC, 15)
    data = desk.gate.state_bytes()
    assert data != before
    other.gate.load(data)
    assert other.gate.state_bytes() == data
    assert other.gate.limit_of(MAIN, Field.LONG, BTC) == 15
    assert other.send(1, 599_000) == desk.send(1, 599_000) != R.NONE
    # Taken off after the restart, what people set is in force again.
    other.gate.set_limit(MM, Field.GROSS, -1, UNLIMITED)
    assert other.gate.limit_of(MM, Field.GROSS) == desk.gate.human_limit(MM, Field.GROSS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda gate: gate.set_limit(99, 0, -1, 1), "scope 99 of 6"),
        (lambda gate: gate.set_limit(-1, 0, -1, 1), "scope -1 of 6"),
        (lambda gate: gate.set_limit(0, 8, -1, 1), "field 8 is none of ORDERS 0"),
        (lambda gate: gate.set_limit(0, Field.GROSS, 0, 1), "GROSS is the scope's own"),
        (lambda gate: gate.set_limit(0, Field.LONG, -1, 1), "instrument -1 of 2"),
        (lambda gate: gate.set_limit(0, Field.LONG, 2, 1), "instrument 2 of 2"),
        (lambda gate: gate.set_limit(0, Field.GROSS, -1, -1), "limit -1 is not between"),
        (lambda gate: gate.use(99, Field.GROSS), "scope 99 of 6"),
        (lambda gate: gate.set_state(99, State.KILLED, 0), "scope 99 of 6"),
        (lambda gate: gate.set_state(-1, State.KILLED, 0), "scope -1 of 6"),
        (lambda gate: gate.set_state(0, 6, 0), "6 is not a valid State"),
    ],
)
def test_what_does_not_exist_is_refused_and_changes_nothing(
    call: Callable[[object], None], message: str
) -> None:
    desk = Desk()
    before = desk.gate.state_bytes()
    with pytest.raises(ValueError, match=message):
        call(desk.gate)
    assert desk.gate.state_bytes() == before


def test_the_kernel_writes_nothing_for_a_scope_or_state_that_does_not_exist() -> None:
    from tidegate.kernel import gate_commands as do

    desk = Desk()
    before = desk.gate.state_bytes()
    for scope, state in ((1 << 40, 4), (-1, 4), (6, 4), (0, -1), (0, 6)):
        desk.gate._tell(do.SET_STATE, scope, state, desk.ts, 0)
    assert desk.gate.state_bytes() == before


def test_recovering_leaves_each_lane_a_quarter_of_its_lease_and_leases_that_wander_bring_the_sum_above_a_quarter() -> (
    None
):
    """The bound that docs/risk.md gives for two lanes: 1 − (3/4)² of the limit, and it is reached."""
    one, two = Desk(), Desk()
    limit, used = 64, [0, 0]

    def fill(lane: int, desk: Desk, lease: int) -> None:
        desk.mark()
        desk.gate.set_limit(FIRM, Field.ORDERS, -1, lease)
        desk.gate.set_state(FIRM, State.RECOVERING, desk.ts)
        while (reason := desk.send(2, 599_900 - used[lane])) == R.NONE:
            used[lane] += 1
        assert reason == R.OPEN_ORDERS

    fill(0, one, limit)
    one.gate.set_limit(FIRM, Field.ORDERS, -1, used[0])  # it gives back all that it does not use
    fill(1, two, limit - used[0])
    assert used == [16, 12]
    assert sum(used) == limit * (1 - (3 / 4) ** 2)
