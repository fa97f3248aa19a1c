"""The trend on bars: follows the cross, protects what it holds, and stays out after a stop."""

import numpy as np
import pytest
from hosting import LINEAR, World

from tidegate.model.order import ExecInst, OrdType, Side
from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.ema_cross import EmaCross

BASIC = {"market": "BTCUSDT.LIN", "size": 5, "interval": "1s", "fast": 2, "slow": 5, "atr_period": 3}


def trend(latency=0, **changes):
    world = World(LINEAR, latency=latency)
    world.quote(0, 1000, 1001)
    return world, world.add(EmaCross, **(BASIC | changes))


def bars(world, closes, spread=4, trades=False):
    """A bar a second, with the touch at its close."""
    for close in closes:
        world.quote(0, close, close + 1)
        if trades:
            world.trade(0, close, 1, Side.BUY)
        world.bar(0, close, close + spread // 2, close - spread // 2)
        world.advance(SECOND)


UP, DOWN = range(1000, 1100, 10), range(1100, 950, -10)


def ema(closes, period):
    value, out = None, []
    for x in closes:
        value = x if value is None else value + 2 / (period + 1) * (x - value)
        out.append(value)
    return out


def test_the_position_follows_the_sign_of_fast_less_slow():
    rng = np.random.default_rng(12)
    closes = [int(x) for x in 1000 + np.cumsum(rng.normal(0, 12, 200))]
    world, s = trend()
    fast, slow = ema(closes, 2), ema(closes, 5)
    flips = 0
    for k, close in enumerate(closes):
        before = s.m.position
        bars(world, [close])
        expected = 0 if k < 4 else 5 if fast[k] > slow[k] else -5
        assert s.m.position == expected
        flips += before * expected < 0
    assert flips > 10
    assert len(world.sent) == flips + 1  # one order a flip: from long to short at once


def test_without_short_selling_it_is_flat_below_the_cross():
    world, s = trend(short=False)
    bars(world, [*UP])
    assert s.m.position == 5
    bars(world, [*DOWN])
    assert s.m.position == 0
    assert world.sent[-1].exec_inst & ExecInst.REDUCE_ONLY


def test_nothing_is_traded_before_the_averages_are_ready():
    world, s = trend()
    bars(world, [1000, 1010, 1020, 1030])
    assert not world.sent
    bars(world, [1040])
    assert s.m.position == 5


def test_a_stop_rests_at_its_distance_from_the_entry_and_covers_the_position():
    world, s = trend(atr_stop=2.0)
    bars(world, [*UP])
    entry = next(e.last_px for e in world.events if e.last_qty)
    stop = s.stop_order
    resting = world.resting[stop.cl_ord_id]
    first_atr = [4, 12, 12]  # true ranges: the bar's own four ticks, then the ten-tick steps
    atr = sum(first_atr) / 3
    for _ in range(2):
        atr += (12 - atr) / 3
    assert (resting.ord_type, resting.side, resting.qty) == (OrdType.STOP, Side.SELL, 5)
    assert resting.exec_inst & ExecInst.REDUCE_ONLY
    assert resting.stop_price == entry - round(2 * atr)


def test_after_a_stop_it_stays_out_until_the_averages_cross():
    world, s = trend(atr_stop=2.0)
    bars(world, [*UP])
    price = world.resting[s.stop_order.cl_ord_id].stop_price
    world.quote(0, price - 5, price - 4)
    world.trade(0, price - 5, 1, Side.SELL)
    world.advance(5 * SECOND)
    assert (s.m.position, s.stopped, s.stop_order) == (0, 1, None)
    bars(world, [1100, 1110, 1120])
    assert s.m.position == 0
    bars(world, [*DOWN])
    assert s.m.position == -5
    assert world.resting[s.stop_order.cl_ord_id].side is Side.BUY
    bars(world, [*UP])
    assert s.m.position == 5


def test_a_reversal_takes_the_stop_away_first():
    world, s = trend(atr_stop=8.0, latency=20 * MS)
    bars(world, [*UP])
    first = s.stop_order
    bars(world, [*DOWN])
    assert s.m.position == -5
    assert not first.open
    kinds = [m.ord_type for m in world.sent]
    assert kinds == [OrdType.MARKET, OrdType.STOP, OrdType.MARKET, OrdType.STOP]
    assert len(world.resting) == 1


def test_a_stop_that_fills_while_it_is_being_cancelled_does_not_keep_the_new_trend_out():
    world, s = trend(atr_stop=8.0, latency=100 * MS)
    bars(world, [*UP])
    stop = world.resting[s.stop_order.cl_ord_id]
    closes = [*DOWN]
    for close in closes:
        was_cancelling = not s.stop_order.cancellable
        world.quote(0, close, close + 1)
        world.bar(0, close, close + 2, close - 2)
        if not s.stop_order.cancellable and not was_cancelling:
            world.trade(0, stop.stop_price, 1, Side.SELL)  # the cancel is on its way
            break
        world.advance(SECOND)
    world.advance(3 * SECOND)
    bars(world, [950, 940])
    assert s.m.position == -5


def test_a_trailing_stop_is_the_venues_own():
    world, s = trend(atr_stop=2.0, trailing=True)
    bars(world, [*UP])
    resting = world.resting[s.stop_order.cl_ord_id]
    assert resting.ord_type is OrdType.TRAILING_STOP
    assert resting.offset > 0


def test_a_position_whose_stop_is_refused_is_closed():
    world, s = trend(atr_stop=2.0)
    world.gate.deny = lambda order: Reason.ORD_TYPE_NOT_PERMITTED if order.ord_type is OrdType.STOP else 0
    bars(world, [*UP])
    assert s.m.position == 0
    assert s.stopped == 1
    assert world.denied() == 1


def test_denied_entries_are_not_repeated_every_bar():
    world, s = trend()
    world.gate.deny = lambda order: Reason.LOSS_LIMIT
    bars(world, range(1000, 1400, 10))
    assert s.m.position == 0
    assert world.denied() <= 6


def test_averages_position_and_stop_survive_a_restart():
    world, s = trend(atr_stop=2.0)
    bars(world, [*UP])
    again = world.restart(s)
    assert (again.fast.value, again.slow.value, again.atr.value) == (s.fast.value, s.slow.value, s.atr.value)
    assert again.stop_order is s.stop_order
    sent = len(world.sent)
    bars(world, [1100, 1110])
    assert len(world.sent) == sent
    bars(world, [*DOWN])
    assert again.m.position == -5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fast": 26, "slow": 12}, "fast is 26, must be below slow"),
        ({"size": 0}, "size is 0"),
        ({"interval": "1 minute"}, "interval"),
        ({"atr_stop": -1.0}, "atr_stop is -1.0, must be at least 0"),
    ],
)
def test_parameters_are_checked_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        World(LINEAR).add(EmaCross, **(BASIC | changes))
