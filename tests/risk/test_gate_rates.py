"""A rate over several lanes: each has its part of it, and of what may come at once never more than the whole, nor nothing."""

from __future__ import annotations

import pytest
from gate_desk import MM, SCOPES, T0, UNIVERSE, merged

from tidegate.kernel import gate_state as g
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import ScopeTable

RATES = {
    "order_burst": ("orders_per_second", g.P_NEW_GAP, g.P_NEW_BURST),
    "cancel_burst": ("cancels_per_second", g.P_CANCEL_GAP, g.P_CANCEL_BURST),
    "fill_burst": ("fills_per_second", g.P_FILL_GAP, g.P_FILL_BURST),
}


def one_of(lanes: int, **limits: int) -> Gate:
    """The gate of one lane, where strategy `mm` lies over so many."""
    scopes = ScopeTable(SCOPES.accounts, SCOPES.strategies, desks=SCOPES.desks)
    scopes.spread = {MM: lanes} if lanes > 1 else {}
    return Gate(UNIVERSE, scopes, Limits.load(merged({"strategies": {"*": limits}})))


@pytest.mark.parametrize("lanes", [1, 2, 4, 7])
@pytest.mark.parametrize("burst", list(RATES))
def test_each_lane_has_its_part_of_a_burst_and_one_at_least(burst: str, lanes: int) -> None:
    rate, gap, most = RATES[burst]
    for at_once in range(1, 20):
        row = one_of(lanes, **{rate: 100, burst: at_once}).state.scope[MM]
        assert row[gap] == 10_000_000 * lanes
        assert row[most] // row[gap] + 1 == max(1, at_once // lanes)
    row = one_of(lanes, **{rate: 100}).state.scope[MM]
    assert row[most] // row[gap] + 1 == 100 // lanes, "a second's worth of the part"


def test_of_a_burst_of_three_one_of_four_lanes_passes_one() -> None:
    gate = one_of(4, orders_per_second=100, order_burst=3)
    gate.mark(0, 600_000, 600_010, T0)
    passed = 0
    for n in range(1, 30):
        order = Order(
            n, n, 0, 0, 0, Side.BUY, OrdType.LIMIT, TimeInForce.GTC, 10 + n, leaves_qty=10 + n, price=590_000
        )
        passed += gate.check(order, 600_000, 600_010, T0, T0) == 0
    assert passed == 1
