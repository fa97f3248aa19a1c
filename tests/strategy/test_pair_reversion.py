"""The pair: enters on a wide spread, hedges by the fitted line, leaves on return, on time, or on a break."""

import math

import msgspec
import numpy as np
import pytest
from hosting import INVERSE, LINEAR, World

from tidegate.model.time import MS, SECOND
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.pair_reversion import PairReversion, quote_value
from tidegate.strategy.regression import RollingRegression, fit_ou

OTHER = msgspec.structs.replace(LINEAR, symbol="ETHUSDT", base="ETH")
Y, X = 0, 1
BASIC = {
    "y": "BTCUSDT.LIN", "x": "ETHUSDT.LIN", "size": 100, "interval": "1s", "window": 40, "entry_z": 2.0,
    "exit_z": 0.5, "stop_z": 6.0, "min_half_life": 0.1, "max_half_life": 20.0,
}  # fmt: skip


def spread_path(n, seed=3, phi=0.7, noise=4e-4):
    rng = np.random.default_rng(seed)
    s, out = 0.0, []
    for _ in range(n):
        s = phi * s + noise * rng.normal()
        out.append(s)
    return out


def pair_closes(n, seed=3, beta=1.5, walk=1e-3, **ou):
    """Closes of y and x in ticks: x walks in its logarithm, y follows β times that plus an OU spread."""
    rng = np.random.default_rng(seed + 100)
    log_x = math.log(30_000) + np.cumsum(rng.normal(0, walk, n))
    log_y = math.log(600_000) + beta * (log_x - log_x[0]) + np.array(spread_path(n, seed, **ou))
    return [(round(math.exp(a) * 10), round(math.exp(b))) for a, b in zip(log_x, log_y, strict=True)]


def pair(items=(LINEAR, OTHER), latency=0, **changes):
    world = World(*items, latency=latency)
    return world, world.add(PairReversion, **(BASIC | changes))


def feed(world, closes):
    for x, y in closes:
        world.quote(X, x, x + 1, 10**6, 10**6)
        world.quote(Y, y, y + 1, 10**6, 10**6)
        world.bar(X, x)
        world.bar(Y, y)
        world.advance(SECOND)
        yield


def logs(closes):
    return [(math.log(x * 0.1), math.log(y * 0.1)) for x, y in closes]


def test_the_score_is_that_of_the_window_before_the_bar():
    world, s = pair(entry_z=50.0, stop_z=60.0)
    closes = pair_closes(80)
    for _ in feed(world, closes):
        pass
    fit = RollingRegression(40)
    points = logs(closes)
    for x, y in points[39:79]:
        fit.add(x, y)
    ou = fit_ou(fit.residuals())
    x, y = points[79]
    expected = (y - fit.intercept - fit.slope * x - ou.mean) / ou.deviation
    assert s.score == pytest.approx(expected, rel=1e-6)


def test_round_trips_against_the_spread_hedged_by_the_slope():
    world, s = pair()
    entries = exits = 0
    for _ in feed(world, pair_closes(400)):
        legs = s.y.position, s.x.position
        if s.held is not None and s.held.bars == 0:
            entries += 1
            direction = -1 if s.score > 0 else 1
            assert legs[0] == 100 * direction
            ratio = -legs[1] * quote_value(s.x, s.x.mid) / (legs[0] * quote_value(s.y, s.y.mid))
            assert ratio == pytest.approx(s.held.slope, rel=0.01)
        elif s.held is None and s.legs[0].settled:
            assert legs == (0, 0)
            exits += 1
    assert entries > 5
    pnl = sum(
        -world.lane.by_command(e.cmd_id).side.sign * e.last_qty * e.last_px * 1e-4
        for e in world.events
        if e.last_qty
    )
    assert pnl > 0  # before fees, on a spread that does revert


def test_the_line_is_frozen_while_a_position_is_held():
    world, s = pair()
    held = None
    for _ in feed(world, pair_closes(200)):
        if s.held is not None:
            if held is not None and s.held.bars > 0:
                assert (s.held.slope, s.held.mean, s.held.deviation) == held
            held = s.held.slope, s.held.mean, s.held.deviation
        else:
            held = None


def drive(world, s, spread, bars=1):
    """Bars with x still and y at a spread (log) over the line."""
    for _ in range(bars):
        x = s._closes[X][1]
        line = s.held or s._line()
        log_y = line.intercept + line.slope * math.log(x * 0.1) + line.mean + spread * line.deviation
        y = round(math.exp(log_y) * 10)
        for _ in feed(world, [(x, y)]):
            pass


def ready(**changes):
    """A pair with a fit and no position, at the mean."""
    world, s = pair(**changes)
    for _ in feed(world, pair_closes(60)):
        pass
    while s.held is not None:
        drive(world, s, 0.0)
    drive(world, s, 0.0, 2)
    return world, s


def entered(**changes):
    world, s = ready(**changes)
    drive(world, s, 3.0)
    assert s.held is not None
    assert s.y.position == -100
    return world, s


def test_it_leaves_when_the_spread_is_back():
    world, s = entered()
    drive(world, s, 1.0)
    assert s.y.position == -100
    drive(world, s, 0.3)
    assert (s.y.position, s.x.position) == (0, 0)
    assert not s.blocked


def test_a_break_of_the_relation_stops_it_and_blocks():
    world, s = entered()
    drive(world, s, 7.0)
    assert (s.y.position, s.x.position) == (0, 0)
    assert s.blocked


def test_a_blocked_pair_enters_nothing_until_the_spread_has_been_back():
    world, s = ready()
    s.blocked = True
    drive(world, s, 3.0)
    assert s.blocked
    assert s.held is None
    drive(world, s, 0.1)
    assert not s.blocked
    drive(world, s, -3.0)
    assert s.y.position == 100


def test_a_reversion_that_is_late_is_given_up():
    world, s = entered(time_stop=2.0)
    half_life = s.held.half_life
    bars = 0
    while s.held is not None:
        drive(world, s, 3.0)
        bars += 1
    assert bars == math.floor(2.0 * half_life) + 1
    assert s.blocked


def test_a_leg_that_is_denied_closes_the_other():
    world, s = pair()
    world.gate.deny = lambda order: Reason.POSITION_LIMIT if order.instrument == X else 0
    for _ in feed(world, pair_closes(120)):
        pass
    for _ in range(100):
        world.advance(100 * MS)
    assert s.y.position == 0
    assert s.x.position == 0
    assert any(e.last_qty for e in world.events)


def test_markets_that_do_not_move_together_are_left_alone():
    world, s = pair()
    rng = np.random.default_rng(8)
    walk = 1000 + np.cumsum(rng.normal(0, 1, (300, 2)), axis=0)
    for _ in feed(world, [(round(a * 300), round(b * 6000)) for a, b in walk]):
        assert s.held is None or s.held.bars > 0 or s.fit.correlation >= 0.45
    world, s = pair(min_correlation=0.999999)
    for _ in feed(world, pair_closes(200)):
        pass
    assert not world.sent


def test_a_spread_that_reverts_too_slowly_is_left_alone():
    world, _ = pair(max_half_life=0.3)
    for _ in feed(world, pair_closes(200, phi=0.9)):
        pass
    assert not world.sent


def test_a_bar_without_its_partner_is_left_out():
    world, s = pair()
    world.bar(Y, 600_000)
    world.advance(SECOND)
    world.bar(X, 300_000)
    assert len(s.fit.pairs) == 0
    world.bar(Y, 600_000)
    assert len(s.fit.pairs) == 1


def test_an_inverse_leg_is_sized_by_its_face_value():
    world = World(LINEAR, INVERSE)
    s = world.add(PairReversion, **(BASIC | {"x": "BTCUSD.INV"}))
    assert quote_value(s.x, 300_000) == 100.0
    assert quote_value(s.y, 600_000) == pytest.approx(60.0)


def test_window_and_position_survive_a_restart():
    world, s = entered()
    again = world.restart(s)
    assert list(again.fit.pairs) == [tuple(p) for p in s.fit.pairs]
    assert again.held == s.held
    again._closes = dict(s._closes)
    drive(world, again, 1.0)
    assert again.y.position == -100
    drive(world, again, 0.2)
    assert (again.y.position, again.x.position) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry_z": 0.3}, "exit_z is 0.5, must be below entry_z"),
        ({"window": 5}, "window is 5, must be at least 10"),
        ({"x": "BTCUSDT.LIN"}, "two markets are needed"),
        ({"max_half_life": 0.05}, "min_half_life is 0.1, must be below max_half_life"),
    ],
)
def test_parameters_are_checked_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        World(LINEAR, OTHER).add(PairReversion, **(BASIC | changes))
