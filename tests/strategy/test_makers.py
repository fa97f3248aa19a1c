"""Avellaneda-Stoikov and GLFT as strategies: on both sides, within limits, quiet when they should be."""

import math

import numpy as np
import pytest
from hosting import LINEAR, World

from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import MS, SECOND
from tidegate.strategy.intensity import Intensity
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov, optimal_spread
from tidegate.strategy.library.glft import GLFT, half_spread, lean
from tidegate.strategy.library.maker import Distances, ModelMaker

FIXED = {
    "market": "BTCUSDT.LIN", "size": 10, "max_position": 40, "gamma": 1e-4, "sigma": 20.0, "kappa": 0.1,
    "intensity": 0.8, "warmup": "1s", "pause": "1ms", "move": 1,
}  # fmt: skip


def maker(cls, latency=0, **changes):
    world = World(LINEAR, latency=latency)
    world.quote(0, 600_000, 600_001)
    s = world.add(cls, **(FIXED | changes))
    world.advance(2 * SECOND)
    world.quote(0, 600_000, 600_001)
    return world, s


def quotes(s) -> dict[Side, tuple[int, int]]:
    return {order.side: (order.price, order.leaves_qty) for order in s.orders.values()}


def hold(world, s, lots):
    """Give the strategy a position by a fill of the world's making."""
    world.hosts[0].positions[0] = lots
    world.advance(10 * MS)
    world.quote(0, 600_000, 600_001)


def test_avellaneda_stoikov_quotes_around_the_reservation_price():
    world, s = maker(AvellanedaStoikov, horizon="30s")
    spread = optimal_spread(1e-4, 20.0, 30.0, 0.1)
    expected = math.floor(600_000.5 - spread / 2), math.ceil(600_000.5 + spread / 2)
    assert quotes(s) == {Side.BUY: (expected[0], 10), Side.SELL: (expected[1], 10)}
    hold(world, s, 20)
    shift = -2 * 1e-4 * 400 * 30
    found = quotes(s)
    assert found[Side.BUY][0] == math.floor(600_000.5 + shift - spread / 2)
    assert found[Side.SELL][0] == math.ceil(600_000.5 + shift + spread / 2)


def test_glft_quotes_by_its_closed_form():
    world, s = maker(GLFT)
    base, c = half_spread(1e-4, 0.1), lean(1e-4, 20.0, Intensity(0.8, 0.1))
    for lots in (0, 10, -20):
        hold(world, s, lots)
        q = lots / 10
        assert quotes(s)[Side.BUY][0] == math.floor(600_000.5 - base - (2 * q + 1) / 2 * c)
        assert quotes(s)[Side.SELL][0] == math.ceil(600_000.5 + base - (2 * q - 1) / 2 * c)


def test_the_session_form_leans_less_towards_its_end():
    world, s = maker(AvellanedaStoikov, horizon="30s", rolling=False)
    before = s.tau
    world.advance(20 * SECOND)
    assert before - s.tau == pytest.approx(20.0)
    world.advance(9 * SECOND)
    assert 20.0 < s.tau <= 30.0  # a new session


@pytest.mark.parametrize("cls", [AvellanedaStoikov, GLFT])
def test_quotes_shrink_and_stop_at_the_position_limits(cls):
    world, s = maker(cls)
    hold(world, s, 35)
    assert quotes(s)[Side.BUY][1] == 5
    hold(world, s, 40)
    assert set(quotes(s)) == {Side.SELL}
    hold(world, s, -40)
    assert set(quotes(s)) == {Side.BUY}


def test_without_short_selling_nothing_is_offered_that_is_not_held():
    world, s = maker(AvellanedaStoikov, min_position=0)
    assert set(quotes(s)) == {Side.BUY}
    hold(world, s, 4)
    assert quotes(s)[Side.SELL][1] == 4


def test_nothing_is_quoted_before_the_warm_up():
    world = World(LINEAR)
    s = world.add(AvellanedaStoikov, **(FIXED | {"warmup": "10s"}))
    for _ in range(9):
        world.quote(0, 600_000, 600_001)
        world.advance(SECOND)
    assert not s.orders
    world.advance(2 * SECOND)
    world.quote(0, 600_000, 600_001)
    assert len(s.orders) == 2


def test_a_silent_or_vanished_book_pulls_the_quotes_and_its_return_brings_them_back():
    world, s = maker(AvellanedaStoikov, max_age="3s")
    world.advance(2 * SECOND)
    assert len(s.orders) == 2
    world.advance(3 * SECOND)
    assert not s.orders
    world.quote(0, 600_000, 600_001)
    assert len(s.orders) == 2
    world.gone(0)
    world.advance(2 * SECOND)
    assert not s.orders


def test_quotes_stand_behind_the_touch_however_hard_they_lean():
    world, s = maker(AvellanedaStoikov, gamma=1e-2, max_position=100)
    hold(world, s, 90)
    assert quotes(s)[Side.SELL][0] == 600_001
    assert quotes(s)[Side.BUY][0] < 599_000


def test_estimates_gone_astray_are_bounded():
    _, s = maker(AvellanedaStoikov, sigma=1e4, max_distance=300)
    assert quotes(s)[Side.BUY][0] == math.floor(600_000.5 - 300)
    assert quotes(s)[Side.SELL][0] == math.ceil(600_000.5 + 300)


def test_the_spread_is_never_below_its_least():
    _, s = maker(AvellanedaStoikov, kappa=50.0, sigma=1e-6, min_spread=20)
    assert quotes(s)[Side.SELL][0] - quotes(s)[Side.BUY][0] in (20, 21)


def test_the_run_ends_without_orders_and_flat_where_asked():
    world, s = maker(AvellanedaStoikov, flatten_on_stop=True)
    hold(world, s, 12)
    s.on_stop()
    world.advance(SECOND)
    assert not s.orders
    assert world.hosts[0].positions[0] == 0


def market(world, seconds, seed=9, sigma=25.0, step=50 * MS):
    """A mid that walks with trades that reach exponentially far; the strategy is watched by the caller."""
    rng = np.random.default_rng(seed)
    mid = 600_000.0
    for _ in range(seconds * SECOND // step):
        mid += rng.normal(0, sigma * math.sqrt(step / SECOND))
        bid = round(mid)
        world.quote(0, bid, bid + 1)
        if rng.random() < 0.3:
            side = Side.BUY if rng.random() < 0.5 else Side.SELL
            reach = int(rng.exponential(12))
            world.trade(0, bid + 1 + reach if side is Side.BUY else bid - reach, 4, side)
        world.advance(step)
        yield


@pytest.mark.parametrize("cls", [AvellanedaStoikov, GLFT])
def test_with_everything_estimated_it_makes_a_market_within_its_limits(cls):
    world = World(LINEAR, latency=2 * MS)
    s = world.add(cls, market="BTCUSDT.LIN", size=5, max_position=20, gamma=5e-5, warmup="5s")
    both = total = 0
    for k, _ in enumerate(market(world, 150)):
        if k < 600:
            continue
        total += 1
        both += len({order.side for order in s.orders.values()}) == 2
        assert -20 <= s.m.position <= 20
        assert len(s.orders) <= 2
    fills = [event for event in world.events if event.last_qty]
    sides = {world.lane.by_command(event.cmd_id).side for event in fills}
    assert len(fills) > 40
    assert sides == {Side.BUY, Side.SELL}
    assert all(event.maker for event in fills)
    assert both / total > 0.6
    refused = [event for event in world.events if event.status is OrdStatus.REJECTED]
    assert len(refused) < 0.1 * len(world.sent)
    assert s.volatility.value == pytest.approx(25.0, rel=0.3)
    assert s.fills is not None


def test_estimates_and_orders_survive_a_restart():
    world = World(LINEAR)
    s = world.add(GLFT, market="BTCUSDT.LIN", size=5, max_position=20, gamma=5e-5, warmup="5s")
    for _ in market(world, 60):
        pass
    assert s.orders
    again = world.restart(s)
    assert again.volatility.value == s.volatility.value
    assert again.arrivals.fit() == s.arrivals.fit()
    assert again.fills == again.arrivals.fit()
    for _ in market(world, 20, seed=10):
        assert len(again.orders) <= 2
    assert len(again.orders) == 2


def test_a_maker_without_a_model_says_so():
    world = World(LINEAR)
    s = world.add(ModelMaker, **FIXED)
    with pytest.raises(TypeError, match="no model"):
        s.distances(0.0, 1.0, Intensity(1.0, 1.0))
    assert Distances(1.0, 2.0).ask == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is 0, must be at least 1"),
        ({"gamma": 0.0}, "gamma is 0.0, must be above 0"),
        ({"pause": "soon"}, "pause: 'soon' is not a duration"),
        ({"max_age": "0s"}, "max_age is '0s', must be above zero"),
        ({"kappa": 0.0}, "give both, or neither"),
        ({"min_position": 50}, "min_position is 50"),
        ({"horizon": "x"}, "horizon: 'x' is not a duration"),
        ({"gama": 1.0}, "unknown field `gama`"),
    ],
)
def test_parameters_are_checked_by_name(changes, message):
    world = World(LINEAR)
    with pytest.raises(ValueError, match=message):
        world.add(AvellanedaStoikov, **(FIXED | changes))
