"""What must hold of margin whatever the figures are, and liquidation prices against a slow search."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from margin_desk import by_slices, inverse, linear

from tidegate.model.margin_tiers import Tier, TierTable
from tidegate.risk.margin.liquidation import ALWAYS, liquidation, of_pool
from tidegate.risk.margin.pool import Contract, Figures, Holding, Pool, Touch, resting


@st.composite
def tables(draw: st.DrawFn, currency: str = "USDT") -> tuple[Tier, ...]:
    """One to five tiers with rates that do not fall."""
    n = draw(st.integers(1, 5))
    caps = sorted(draw(st.sets(st.integers(1, 400), min_size=n, max_size=n)))
    kept = sorted(draw(st.lists(st.integers(0, 500), min_size=n, max_size=n)))
    more = sorted(draw(st.lists(st.integers(1, 500), min_size=n, max_size=n)))
    made, floor = [], D(0)
    for k, (cap, low, high) in enumerate(zip(caps, kept, more, strict=True)):
        end = D(cap) if k < n - 1 or draw(st.booleans()) else D(0)
        made.append(
            Tier(floor=floor, cap=end, maintenance=D(low) / 1000, initial=D(max(low + high, 1)) / 1000)
        )
        floor = end
    return tuple(made)


LOTS = st.integers(-5_000, 5_000)
PRICES = st.integers(1, 400)
"""Ticks: few enough to try each of them."""


def contract(table: tuple[Tier, ...], coin: bool) -> Contract:
    """A contract whose value runs through its tiers between prices of 1 and 400 ticks."""
    if coin:
        return inverse(table, tick=D("0.1"), multiplier=D("0.5"))
    return linear("BTCUSDT", table, tick=D("0.1"))


def holding(c: Contract, lots: int, entry: int, mark: int) -> Holding:
    return Holding(c, Touch(mark, mark), lots, c.terms.cost(lots, entry) if lots else 0)


def worth(c: Contract, lots: int, price: Fraction) -> Fraction:
    """Signed worth of a position, as `risk.position` counts it, before rounding."""
    if c.sense < 0:
        return -lots * c.lot_value / price
    return lots * c.lot_value * price


def left(h: Holding, others: int, price: int, fees: bool = False) -> Fraction:
    """Equity less maintenance at a price, the long way."""
    c = h.contract
    value = abs(worth(c, h.lots, Fraction(price)))
    need = by_slices(c, value) + (value * c.fee if fees else 0)
    return others + worth(c, h.lots, Fraction(price)) - h.cost - need


@settings(max_examples=300, deadline=None)
@given(tables(), st.booleans(), LOTS, PRICES, st.integers(-3 * 10**10, 3 * 10**10), st.booleans())
def test_the_closed_form_ends_a_position_at_the_prices_that_a_search_finds(
    table, coin, lots, entry, others, fees
):
    assume(lots)
    c = contract(table, coin)
    h = holding(c, lots, entry, entry)
    found = liquidation(h, others, fees)
    for price in range(1, 401):
        assert found.reached(price) == (left(h, others, price, fees) <= 0), (price, found)


@settings(max_examples=200, deadline=None)
@given(tables(), LOTS, st.integers(-400, 400), st.integers(-3 * 10**10, 3 * 10**10))
def test_a_contract_whose_price_may_be_negative(table, lots, entry, others):
    assume(lots and entry)
    c = linear("BTCUSDT", table, tick=D("0.1"), negative_prices=True)
    h = holding(c, lots, entry, entry)
    found = liquidation(h, others)
    for price in range(-400, 401, 3):
        if price:
            assert found.reached(price) == (left(h, others, price) <= 0), (price, found)


@settings(max_examples=300, deadline=None)
@given(tables(), st.booleans(), LOTS, PRICES, PRICES, st.integers(0, 10**11))
def test_a_healthy_position_is_liquidated_on_its_losing_side(table, coin, lots, entry, mark, wallet):
    assume(lots)
    h = holding(contract(table, coin), lots, entry, mark)
    pool = Pool("USDT", wallet, (h,))
    figures = pool.figures()
    found = of_pool(pool, h)
    slack = 3  # what three roundings come to
    if figures.equity > figures.maintenance + slack:
        assert not found.reached(mark)
        if found.price is not None:
            assert found.below is (lots > 0)
            assert found.price < mark if lots > 0 else found.price > mark
    if figures.equity < figures.maintenance - slack:
        assert found.reached(mark)


@settings(max_examples=200, deadline=None)
@given(tables(), st.integers(0, 500 * 10**8), st.integers(0, 500 * 10**8), st.integers(0, 50))
def test_more_value_never_needs_less(table, one, other, leverage):
    t = TierTable(table, "USDT")
    low, high = sorted((one, other))
    assert t.initial(low, leverage) <= t.initial(high, leverage)
    assert t.maintenance(low) <= t.maintenance(high)
    assert t.maintenance(high) <= t.initial(high, leverage)


@settings(max_examples=200, deadline=None)
@given(tables())
def test_maintenance_goes_on_without_a_step_at_every_tiers_end(table):
    t = TierTable(table, "USDT")
    for cap in t.caps:
        assert 0 <= t.maintenance(cap + 1) - t.maintenance(cap) <= 1


@settings(max_examples=200, deadline=None)
@given(tables(), st.booleans(), st.integers(1, 5_000), st.integers(1, 5_000), PRICES, PRICES)
def test_margin_grows_with_quantity_and_with_the_dearer_price(table, coin, lots, more, price, other):
    c = contract(table, coin)
    small, large = holding(c, lots, price, price), holding(c, lots + more, price, price)
    assert small.initial <= large.initial
    assert small.maintenance <= large.maintenance
    cheap, dear = sorted((price, other), reverse=coin)
    assert holding(c, lots, price, cheap).maintenance <= holding(c, lots, price, dear).maintenance


ORDERS = st.lists(st.tuples(st.integers(-500, 500).filter(bool), st.integers(0, 400)), max_size=6)


@settings(max_examples=200, deadline=None)
@given(tables(), st.booleans(), LOTS, PRICES, PRICES, ORDERS, st.data())
def test_open_orders_count_at_their_worst(table, coin, lots, bid, ask, orders, data):
    """Whichever of the orders of one side fill, at their limit or at the market, margin was asked for it already."""
    c = contract(table, coin)
    touch = Touch(min(bid, ask), max(bid, ask))
    held = Holding(c, touch, lots, c.terms.cost(lots, bid), *resting(c, touch, orders))
    side = data.draw(st.sampled_from((1, -1)))
    filled = [o for o in orders if o[0] * side > 0 and data.draw(st.booleans())]
    after = lots + sum(o[0] for o in filled)
    slack = len(orders) + 1  # each value is rounded to the nearest minor unit by itself
    assert held.initial + slack >= Holding(c, touch, after).position_initial
    assert held.initial >= held.position_initial
    assert held.worst_maintenance >= held.maintenance
    assert held.worst_maintenance + slack >= Holding(c, touch, after).maintenance


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(tables(), LOTS.filter(bool), PRICES, PRICES, st.integers(0, 10**10)), min_size=1, max_size=4
    )
)
def test_cross_asks_no_more_than_isolated_and_lives_as_long(parts):
    """The same positions with the same money: what is asked is the sum, and cross ends no sooner than the first that
    is alone."""
    cross, alone = [], []
    for n, (table, lots, entry, mark, wallet) in enumerate(parts):
        c = linear("BTCUSDT", table, n, tick=D("0.1"))
        h = holding(c, lots, entry, mark)
        cross.append(h)
        alone.append(Holding(c, h.touch, h.lots, h.cost, isolated=wallet))
    together = Pool("USDT", sum(part[4] for part in parts), tuple(cross)).figures()
    apart: list[Figures] = [Pool("USDT", 0, (h,)).alone(h) for h in alone]
    assert together.initial <= sum(f.initial for f in apart)
    assert together.maintenance <= sum(f.maintenance for f in apart)
    assert together.equity == sum(f.equity for f in apart)
    if together.equity <= together.maintenance:
        assert any(f.equity <= f.maintenance for f in apart)


@settings(max_examples=100, deadline=None)
@given(tables(), st.booleans(), LOTS, PRICES, st.integers(0, 10**10), st.integers(0, 10**10))
def test_more_money_moves_the_liquidation_price_away(table, coin, lots, entry, wallet, more):
    assume(lots)
    h = holding(contract(table, coin), lots, entry, entry)
    near, far = liquidation(h, wallet), liquidation(h, wallet + more)
    if near.kind == ALWAYS or far.price is None:
        assert far.kind != ALWAYS or near.kind == ALWAYS
        return
    assert near.price is not None
    assert far.price <= near.price if lots > 0 else far.price >= near.price


@settings(max_examples=100, deadline=None)
@given(tables(), st.booleans(), LOTS, PRICES, st.integers(0, 10**10))
def test_fees_to_close_bring_the_end_nearer(table, coin, lots, entry, wallet):
    assume(lots)
    h = holding(contract(table, coin), lots, entry, entry)
    bare, paid = liquidation(h, wallet), liquidation(h, wallet, fees=True)
    for price in range(1, 401, 7):
        assert paid.reached(price) or not bare.reached(price)


def test_whole_ticks_are_those_that_are_reached_first():
    h = holding(linear(tick=D("0.1")), 1_000, 500_000, 500_000)
    below = liquidation(h, 10**11)
    assert below.ticks is not None
    assert below.price is not None
    assert below.ticks - 1 < below.price <= below.ticks
    short = liquidation(holding(linear(tick=D("0.1")), -1_000, 500_000, 500_000), 10**11)
    assert short.price is not None
    assert short.ticks is not None
    assert short.ticks <= short.price < short.ticks + 1
