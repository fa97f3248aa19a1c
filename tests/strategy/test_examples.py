"""The strategies of `examples/`, loaded as a configuration loads them, through the real backtest."""

from pathlib import Path

import numpy as np
import pytest
from hosting import LINEAR, World

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Flag, Kind, empty
from tidegate.model.instrument import Universe
from tidegate.model.order import OrdStatus, OrdType, Side
from tidegate.model.time import MS, SECOND
from tidegate.risk.limits import unlimited
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.strategy_code import strategy_class

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
START = 1_700_000_000 * SECOND


def events(n=6000, seed=5, drift=0.0, step=50 * MS):
    """Quotes with trades at the touch between them, a walk with a drift in ticks a step."""
    rng = np.random.default_rng(seed)
    mid = 600_000 + np.cumsum(rng.normal(drift, 3.0, n)).round().astype(int)
    rows = empty(n)
    trade = rng.random(n) < 0.4
    side = rng.integers(1, 3, n)
    rows["ts_event"] = START + step * np.arange(n)
    rows["ts_recv"] = rows["ts_event"] + MS
    rows["kind"] = np.where(trade, Kind.TRADE, Kind.QUOTE)
    rows["side"] = np.where(trade, side, 0)
    rows["price"] = np.where(trade & (side == 1), mid + 1, mid)
    rows["price2"] = np.where(trade, np.arange(n), mid + 1)
    rows["size"], rows["size2"] = 40, np.where(trade, 0, 40)
    rows["flags"] = Flag.LAST
    return rows


def run(name, rows=None, **params):
    kind = strategy_class(name, EXAMPLES)
    setup = Setup(
        universe=Universe([LINEAR]),
        sources=[Source([events() if rows is None else rows], max_delay=MS)],
        venues={"LIN": VenueModel(fill="partial", entry_latency=(2 * MS,), response_latency=(MS,))},
        scopes=ScopeTable.simple(1, "1000000"),
        limits=unlimited(),
        strategies=[kind("example", 0, 0, kind.Params(market=LINEAR.id, **params))],
        sample=SECOND,
    )
    result = Backtest(setup).run()
    if result.error is not None:
        raise result.error
    return result


def column(table, name):
    return table.column(name).to_pylist()


def positions(result):
    fills = result.tables.fills
    signed = [a * b for a, b in zip(column(fills, "side"), column(fills, "qty"), strict=True)]
    return np.cumsum(signed) / float(LINEAR.lot)


def test_the_quoter_trades_both_sides_within_its_limit():
    result = run("quoter.py:Quoter", size=10, max_position=30)
    held = positions(result)
    assert set(column(result.tables.fills, "side")) == {1, -1}
    assert len(held) > 30
    assert np.abs(held).max() <= 30 + 10
    assert set(column(result.tables.fills, "liquidity")) == {"maker"}


def test_the_quoter_rests_after_a_denial():
    world = World(LINEAR)
    s = world.add(strategy_class("quoter.py:Quoter", EXAMPLES), market=LINEAR.id)
    world.gate.deny = lambda order: Reason.POSITION_LIMIT
    for _ in range(100):
        world.quote(0, 1000, 1001)
        world.advance(50 * MS)
    assert world.denied() == 2 * 5
    assert not s.orders


def test_the_breakout_opens_brackets_and_is_out_by_target_or_stop():
    result = run("breakout.py:Breakout", rows=events(drift=0.05), size=5, interval="2s", lookback=5)
    orders = result.tables.orders
    kinds = column(orders, "ord_type")
    filled = [
        c
        for c in zip(kinds, column(orders, "side"), column(orders, "status"), strict=True)
        if c[2] == "FILLED"
    ]
    assert ("LIMIT", 1, "FILLED") in filled
    assert ("LIMIT", -1, "FILLED") in filled  # a target
    assert ("STOP", -1, "FILLED") in filled
    held = positions(result)
    assert held.min() >= 0
    assert held.max() == 5


def test_the_breakouts_range_survives_a_restart():
    world = World(LINEAR)
    world.quote(0, 1000, 1001)
    s = world.add(strategy_class("breakout.py:Breakout", EXAMPLES), market=LINEAR.id, size=5, lookback=3)
    for close in (1000, 1002, 1001):
        world.bar(0, close)
    again = world.restart(s)
    world.bar(0, 1003)
    assert [m.ord_type for m in world.sent] == [OrdType.LIMIT, OrdType.LIMIT, OrdType.STOP]
    assert again.entry.status is OrdStatus.FILLED
    assert again.m.position == 5


def test_a_breakout_entry_that_does_not_fill_is_given_up_with_its_exits():
    world = World(LINEAR, latency=5 * MS)
    world.quote(0, 1000, 1001)
    s = world.add(strategy_class("breakout.py:Breakout", EXAMPLES), market=LINEAR.id, size=5, lookback=3)
    for close in (1000, 1002, 1001, 1003):
        world.bar(0, close)
    world.touches[0].ask = 1010  # gone
    world.advance(SECOND)
    assert len(s.orders) == 3
    world.advance(11 * SECOND)
    assert not s.orders
    assert s.m.position == 0


def test_the_compiled_joiner_holds_one_order_and_turns_with_its_position():
    result = run("compiled_joiner.py:Joiner", size=7)
    sides = column(result.tables.fills, "side")
    assert len(sides) > 20
    held = positions(result)
    assert held.min() >= 0
    assert held.max() == 7
    assert {Side.BUY.sign, Side.SELL.sign} == set(sides)


def test_a_parameter_out_of_range_is_named():
    kind = strategy_class("breakout.py:Breakout", EXAMPLES)
    with pytest.raises(ValueError, match="lookback is 1, must be at least 2"):
        kind.Params(market="x", size=1, lookback=1)
