"""Whose orders answer whose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.messages import NewOrder
from tidegate.model.order import OrdType, Side
from tidegate.strategy.deploy.comparison import LIVE, SHADOW, Comparison
from tidegate.strategy.deploy.measure import Figures

MS, SECOND = 10**6, 10**9


def order(ts, price=100, side=Side.BUY, qty=1, instrument=0):
    return NewOrder(ts, 1, 0, 0, instrument, side, OrdType.LIMIT, qty, price)


def test_the_nearest_in_time_belongs_and_the_rest_are_alone():
    c = Comparison(window=SECOND, ticks=2)
    c.asked(LIVE, order(10 * SECOND))
    c.asked(LIVE, order(10 * SECOND + 500 * MS, price=101))
    c.asked(SHADOW, order(10 * SECOND + 400 * MS, price=101))
    c.asked(SHADOW, order(10 * SECOND + 450 * MS, price=104))
    c.asked(SHADOW, order(10 * SECOND + 450 * MS, side=Side.SELL))
    r = c.report()
    assert (r.matched, r.same_price, r.orders) == (1, 1, (2, 3))
    assert r.apart_ms == (100.0, 100.0)
    c.pass_time(LIVE, 20 * SECOND)
    c.pass_time(SHADOW, 20 * SECOND)
    r = c.report()
    assert r.alone == (1, 2)
    assert r.examples[-1].startswith("live alone: buy 1 at 100")


def test_paths_are_of_the_same_intervals_however_late_one_side_is():
    c = Comparison()
    for n in range(1, 4):
        c.ended(LIVE, Figures(n * SECOND, pnl=1.0, inventory=10.0, fills=1))
    c.ended(SHADOW, Figures(2 * SECOND, pnl=5.0, inventory=7.0))
    c.ended(SHADOW, Figures(3 * SECOND, pnl=-1.0, inventory=8.0))
    assert [tuple(getattr(p, f) for f in p.__struct_fields__) for p in c.report().path] == [
        (2 * SECOND, 1.0, 5.0, 10.0, 7.0),
        (3 * SECOND, 2.0, 4.0, 10.0, 8.0),
    ]
    assert c.report().fills == (3, 0)


def test_memory_does_not_grow_where_the_shadow_is_silent():
    c = Comparison()
    for n in range(10_000):
        c.ended(LIVE, Figures(n * SECOND))
        c.asked(LIVE, order(n * SECOND))
        c.pass_time(SHADOW, n * SECOND)
    assert len(c._halves) <= 240
    assert len(c._waiting[LIVE]) <= 3


sides = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2 * SECOND), st.integers(95, 105), st.sampled_from(Side)),
    max_size=60,
)


@given(sides)
def test_every_order_is_matched_once_or_alone_or_waiting(acts):
    c, now = Comparison(ticks=3), [SECOND, SECOND]
    for side, wait, price, way in acts:
        now[side] += wait
        c.asked(side, order(now[side], price, way))
    r = c.report()
    for side in (LIVE, SHADOW):
        assert r.orders[side] == r.matched + r.alone[side] + len(c._waiting[side])
    for side in (LIVE, SHADOW):
        c.pass_time(side, 10**12)
    r = c.report()
    assert r.orders == (r.matched + r.alone[0], r.matched + r.alone[1])


@given(sides)
def test_the_same_orders_are_all_matched_at_no_distance(acts):
    c, now = Comparison(), SECOND
    orders = []
    for _, wait, price, way in acts:
        now += 1 + wait
        orders.append(order(now, price, way))
    for one in orders:
        c.asked(LIVE, one)
        c.asked(SHADOW, one)
    r = c.report()
    assert (r.matched, r.same_price) == (len(orders), len(orders))
    assert r.apart_ms == (0.0, 0.0)
