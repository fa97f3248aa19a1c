"""Two legs of one coin: entered on the basis, hedged fill by fill, and never left on one leg."""

import math

import msgspec
import pytest
from hosting import INVERSE, LINEAR, SPOT, World
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.basis_arbitrage import (
    LONG,
    SHORT,
    BasisArbitrage,
    Exposure,
    Phase,
)

NEAR, FAR = 0, 1
BASIC = {
    "near": "BTCUSDT.LIN", "far": "BTCUSD.INV", "qty": 0.02, "entry_bps": 3.0, "exit_bps": 0.5,
    "count_fees": False, "warmup": "1s", "half_life": "1h", "cooldown": "2s", "hedge_timeout": "500ms",
}  # fmt: skip
MID = 600_000


def arbitrage(latency=0, items=(LINEAR, INVERSE), **changes):
    world = World(*items, latency=latency)
    scale = [round(MID * 0.1 / float(item.tick)) for item in items]
    world.quote(NEAR, scale[0], scale[0] + 1)
    world.quote(FAR, scale[1], scale[1] + 1)
    s = world.add(BasisArbitrage, **(BASIC | changes))
    calm(world, 600, step=SECOND)
    return world, s


def calm(world, seconds, far=0.0, step=100 * MS):
    """Both markets quote; the far one stands `far` bps above the near one."""
    for _ in range(int(seconds * SECOND) // step):
        world.quote(NEAR, MID, MID + 1, 10_000, 10_000)
        place(world, far)
        world.advance(step)


def place(world, bps, qty=10_000):
    bid = round(MID * (1 + bps / 1e4))
    world.quote(FAR, bid, bid + 1, qty, qty)


def exposure(s) -> float:
    """Net base currency of both legs."""
    return sum(leg.position * Exposure(leg.instrument).per_lot(leg.mid) for leg in (s.near, s.far))


def test_lots_stand_for_base_currency_in_each_kind_of_contract():
    assert Exposure(LINEAR).per_lot(600_000) == pytest.approx(0.001)
    assert Exposure(SPOT).per_lot(6_000_000) == pytest.approx(0.00001)
    assert Exposure(INVERSE).per_lot(600_000) == pytest.approx(100 / 60_000)


def test_a_rich_far_market_is_sold_and_hedged_and_bought_back_when_the_basis_returns():
    world, s = arbitrage()
    calm(world, 1, far=2.0)
    assert s.phase is Phase.FLAT
    calm(world, 1, far=6.0)
    assert (s.side, s.phase) == (SHORT, Phase.HELD)
    assert s.far.position == -12  # 0.02 BTC of 100 USD contracts at 60,000
    assert s.near.position == 20
    assert abs(exposure(s)) < 0.001
    calm(world, 1, far=2.5)
    assert s.phase is Phase.HELD
    calm(world, 1, far=0.0)
    assert (s.far.position, s.near.position, s.phase) == (0, 0, Phase.FLAT)


def test_a_cheap_far_market_is_bought():
    world, s = arbitrage()
    calm(world, 1, far=-6.0)
    assert s.side == LONG
    assert (s.far.position, s.near.position) == (12, -20)


def test_the_edge_is_what_the_touch_gives_not_the_middle():
    world, s = arbitrage()
    world.quote(NEAR, MID, MID + 12)
    place(world, 3.15)
    far_bid = round(MID * 1.000315)
    at_mids = 1e4 * (math.log((far_bid + 0.5) / (MID + 6)) - s.usual.value)
    assert at_mids > 3.0
    s.work()
    assert s.edge(SHORT) == pytest.approx(1e4 * (math.log(far_bid / (MID + 12)) - s.usual.value))
    assert s.edge(SHORT) < 3.0
    assert s.edge(LONG) == pytest.approx(1e4 * (s.usual.value - math.log((far_bid + 1) / MID)))
    assert s.phase is Phase.FLAT


def test_fees_of_the_round_trip_are_asked_for_on_top():
    world, s = arbitrage(count_fees=True)
    assert s.costs == pytest.approx(20.0)
    calm(world, 1, far=21.0)
    assert s.phase is Phase.FLAT
    calm(world, 1, far=24.0)
    assert s.side == SHORT


def test_the_leading_leg_is_bounded_at_the_price_that_leaves_the_edge():
    world, s = arbitrage(latency=5 * MS)
    calm(world, 0.1, far=6.0)
    lead = world.sent[0]
    assert (lead.instrument, lead.side, lead.time_in_force) == (FAR, Side.SELL, TimeInForce.IOC)
    bound = s.usual.value * 1e4 + 3.0
    assert 1e4 * math.log(lead.price / (MID + 1)) == pytest.approx(bound, abs=0.05)


def test_a_leading_order_that_misses_leaves_nothing_behind():
    world, s = arbitrage(latency=5 * MS)
    place(world, 6.0)
    world.touches[FAR].bid = MID  # gone before the order arrives
    world.advance(50 * MS)
    assert len(world.sent) == 1
    assert (s.far.position, s.near.position, s.phase) == (0, 0, Phase.FLAT)


def test_only_what_the_leading_leg_filled_is_hedged_and_the_rest_is_not_chased():
    world, s = arbitrage(latency=5 * MS)
    place(world, 6.0, qty=5)
    world.advance(SECOND)
    calm(world, 1, far=6.0)
    assert s.far.position == -5
    assert s.near.position == 8  # 5 × 100/60,000 = 0.0083
    assert s.phase is Phase.HELD


def test_a_hedge_filled_in_parts_is_completed():
    world, s = arbitrage()
    world.quote(NEAR, MID, MID + 1, 7, 7)
    place(world, 6.0)
    for _ in range(5):
        world.advance(100 * MS)
    assert s.near.position == 20
    assert [m.qty for m in world.sent if m.instrument == NEAR] == [20, 13, 6]


def test_a_hedge_that_cannot_be_done_takes_the_leading_leg_off_again():
    world, s = arbitrage()
    world.gate.deny = lambda order: Reason.NET_NOTIONAL if order.instrument == NEAR else 0
    calm(world, 2, far=6.0)
    assert (s.far.position, s.near.position) == (0, 0)
    closing = [m for m in world.sent if m.instrument == FAR][-1]
    assert closing.ord_type is OrdType.MARKET
    assert closing.exec_inst & ExecInst.REDUCE_ONLY
    assert world.denied() <= 2
    assert s.phase is Phase.FLAT


def test_a_hedge_filled_in_part_and_then_refused_is_taken_off_with_its_leg():
    world, s = arbitrage()
    world.quote(NEAR, MID, MID + 1, 7, 7)
    world.gate.deny = lambda order: (
        Reason.NET_NOTIONAL if order.instrument == NEAR and order.side is Side.BUY and order.qty < 20 else 0
    )
    place(world, 6.0)
    for _ in range(80):
        world.quote(NEAR, MID, MID + 1)
        world.advance(100 * MS)
    assert (s.far.position, s.near.position) == (0, 0)


def test_after_a_position_it_rests():
    world, s = arbitrage()
    calm(world, 1, far=6.0)
    calm(world, 0.5, far=0.0)
    entered = len(world.sent)
    calm(world, 1, far=6.0)
    assert len(world.sent) == entered
    calm(world, 2, far=6.0)
    assert s.phase is Phase.HELD


def test_a_position_is_left_after_its_longest_time():
    world, s = arbitrage(max_hold="5s", cooldown="60s")
    calm(world, 4, far=6.0)
    assert s.phase is Phase.HELD
    calm(world, 3, far=6.0)
    assert s.phase is Phase.FLAT


def test_a_position_is_stopped_when_the_basis_runs_away():
    world, s = arbitrage(stop_bps=10.0, cooldown="60s")
    calm(world, 1, far=6.0)
    calm(world, 1, far=14.0)
    assert s.phase is Phase.HELD
    calm(world, 1, far=18.0)
    assert s.phase is Phase.FLAT


def test_a_stale_or_missing_book_stops_entries():
    world, _ = arbitrage(max_age="1s")
    for _ in range(30):
        world.quote(NEAR, MID, MID + 1)
        world.advance(100 * MS)
    world.touches[FAR].bid, world.touches[FAR].ask = round(MID * 1.0006), round(MID * 1.0006) + 1
    world.quote(NEAR, MID, MID + 1)
    world.advance(SECOND)
    assert not world.sent
    world.gone(FAR)
    world.quote(NEAR, MID, MID + 1)
    world.advance(SECOND)
    assert not world.sent


def test_directions_that_cannot_be_done_are_not_tried():
    world, _ = arbitrage(directions="short")
    calm(world, 2, far=-8.0)
    assert not world.sent
    world, s = arbitrage(directions="long")
    calm(world, 2, far=8.0)
    assert not world.sent
    assert s.phase is Phase.FLAT


def test_a_drifting_price_moves_the_hedge_of_an_inverse_leg_only_by_whole_lots():
    world, s = arbitrage(qty=2.0, max_hold="1h", stop_bps=1e4)
    calm(world, 1, far=6.0)
    hedged = s.near.position
    assert hedged == 2000  # 1,201 contracts of 100 USD at 60,036
    for near in (MID + 100, MID - 100, MID + 100):
        together(world, near)
    assert s.near.position == hedged  # 0.02 % of 2000 lots is less than a lot
    near = round(MID * 1.01)
    together(world, near)
    assert s.near.position == pytest.approx(2000 / 1.01, abs=1.5)


def together(world, near):
    """Both markets at once, the far one 6 bps above."""
    far = round(near * 1.0006)
    world.touches[FAR].bid, world.touches[FAR].ask = far, far + 1
    world.quote(NEAR, near, near + 1, 10_000, 10_000)
    world.advance(200 * MS)


def test_a_spot_leg_hedges_in_its_own_lots_and_ticks():
    world = World(SPOT, INVERSE)
    params = BASIC | {"near": "BTCUSDT.SPOT"}
    world.quote(NEAR, 6_000_000, 6_000_001, 10**9, 10**9)
    world.quote(FAR, MID, MID + 1)
    s = world.add(BasisArbitrage, **params)
    for k in range(60):
        world.quote(NEAR, 6_000_000, 6_000_001, 10**9, 10**9)
        place(world, 6.0 if k > 30 else 0.0)
        world.advance(100 * MS)
    assert s.far.position == -12
    assert s.near.position == 1999  # 1,200 USD at 60,036
    assert abs(exposure(s)) < 1e-5


def test_a_position_survives_a_restart_and_is_left_when_due():
    world, s = arbitrage()
    calm(world, 1, far=6.0)
    again = world.restart(s)
    assert again.phase is Phase.HELD
    assert again.usual.value == pytest.approx(s.usual.value)
    assert again.entered_at == s.entered_at
    calm(world, 1, far=6.0)
    assert again.phase is Phase.HELD
    calm(world, 1, far=-0.5)
    assert (again.far.position, again.near.position) == (0, 0)


def test_a_leg_found_unhedged_at_the_start_is_hedged():
    world, s = arbitrage()
    place(world, 6.0)
    for _ in range(20):
        world.advance(100 * MS)
    world.hosts[0].positions |= {FAR: -12, NEAR: 0}
    again = world.restart(s)
    place(world, 6.0)
    calm(world, 1, far=6.0)
    assert again.near.position == 20


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_is_denied_halted_or_missing_the_legs_end_balanced(data):
    world, s = arbitrage(latency=data.draw(st.sampled_from([0, 4 * MS])), cooldown="1s")
    for _ in range(data.draw(st.integers(3, 12))):
        denied = data.draw(st.sampled_from([(), (NEAR,), (FAR,), (NEAR, FAR)]))
        world.gate.deny = lambda order, denied=denied: (
            Reason.NET_NOTIONAL if order.instrument in denied else 0
        )
        world.halted = data.draw(st.integers(0, 5)) == 0
        size = data.draw(st.sampled_from([3, 9, 10_000]))
        bps = data.draw(st.sampled_from([-8.0, -1.0, 0.0, 1.0, 8.0]))
        for _ in range(data.draw(st.integers(1, 20))):
            world.quote(NEAR, MID, MID + 1, size, size)
            place(world, bps, size)
            world.advance(100 * MS)
    world.gate.deny, world.halted = lambda order: 0, False
    calm(world, 70)
    assert abs(exposure(s)) <= 0.001
    assert s.lead.order is None
    assert s.hedge.order is None
    assert abs(s.far.position) <= 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry_bps": 0.5}, "entry_bps is 0.5, must be above exit_bps"),
        ({"directions": "shrot"}, "directions is 'shrot'; did you mean 'short'"),
        ({"far": "BTCUSDT.LIN"}, "two markets are needed"),
        ({"qty": -1.0}, "qty is -1.0, must be above 0"),
        ({"max_hold": "long"}, "max_hold"),
    ],
)
def test_parameters_are_checked_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        World(LINEAR, INVERSE).add(BasisArbitrage, **(BASIC | changes))


def test_markets_of_two_coins_are_refused():
    ether = msgspec.structs.replace(INVERSE, symbol="ETHUSD", base="ETH")
    with pytest.raises(UserError, match=r"BTCUSDT\.LIN is on BTC, ETHUSD\.INV on ETH"):
        World(LINEAR, ether).add(BasisArbitrage, **(BASIC | {"far": "ETHUSD.INV"}))


def test_a_quantity_below_half_a_lot_says_what_would_do():
    world = World(LINEAR, INVERSE)
    world.add(BasisArbitrage, **(BASIC | {"qty": 0.0005}))
    calm(world, 2)
    with pytest.raises(UserError, match=r"less than half a lot of BTCUSD\.INV; give at least 0\.0016"):
        calm(world, 2, far=6.0)
