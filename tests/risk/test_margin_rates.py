"""The gate's one rate for a table of tiers: never less than any position within the limits needs."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from margin_desk import inverse, linear, units

from tidegate.risk.margin.pool import Holding, Touch
from tidegate.risk.margin.rates import Reach, flat_rate, largest

ONE = Fraction(1)


def test_the_highest_tier_in_reach_of_the_position_limit():
    item = linear(margin_price=D(60_000)).instrument
    assert flat_rate(item, [Reach(lots=4_000)], ONE) == Fraction(
        1, 100
    )  # 4 BTC: 240,000 USDT, the second tier
    assert flat_rate(item, [Reach(lots=5_000)], ONE) == Fraction(1, 50)
    assert flat_rate(item, [Reach(lots=4_000), Reach(lots=500_000)], ONE) == Fraction(1, 5)


def test_gross_limits_the_value_whatever_the_price():
    item = linear().instrument
    assert flat_rate(item, [Reach(lots=10**9, gross=Fraction(250_000))], ONE) == Fraction(1, 100)
    assert largest(item, Reach(gross=Fraction(250_000)), ONE) == units("250000")


def test_where_nothing_limits_it_the_whole_table_is_in_reach():
    assert flat_rate(linear().instrument, [Reach()], ONE) == 1
    assert flat_rate(linear().instrument, [Reach(lots=5)], ONE) == 1  # no price: lots alone say nothing


def test_the_leverage_an_account_is_set_to_asks_for_more():
    assert flat_rate(linear(leverage=20).instrument, [Reach(gross=Fraction(100))], ONE) == Fraction(1, 20)


def test_nobody_to_trade_it_asks_for_nothing():
    assert flat_rate(linear().instrument, [], ONE) == 0


def test_an_inverse_contract_is_worth_most_at_the_lowest_price():
    item = inverse(margin_price=D(10_000)).instrument
    assert largest(item, Reach(lots=10_000), None) == units("100", "BTC")
    assert flat_rate(item, [Reach(lots=10_000)]) == Fraction(1, 10)
    assert largest(item, Reach(lots=10**9, gross=Fraction(600_000)), None) == units("75", "BTC")


@settings(max_examples=300, deadline=None)
@given(
    st.booleans(), st.integers(1, 10**6), st.one_of(st.none(), st.integers(1, 10**8)), st.integers(1_000, 200_000),
    st.integers(-(10**6), 10**6),
)  # fmt: skip
def test_no_position_within_the_limits_needs_a_higher_rate(coin, most, gross, price, lots):
    """Every position that `position` and `gross` let pass, at every price the file's holds for."""
    assume(lots and abs(lots) <= most)
    if coin:
        c = inverse(margin_price=D(1_000))
        reach = Reach(most, Fraction(gross) if gross else None)
        rate = flat_rate(c.instrument, [reach])
        worth = Fraction(abs(lots) * 100)  # dollars, and so gross where the rate is the contract's own price
    else:
        c = linear(margin_price=D(200_000))
        reach = Reach(most, Fraction(gross) if gross else None)
        rate = flat_rate(c.instrument, [reach], ONE)
        worth = Fraction(abs(lots), 1000) * price
    assume(gross is None or worth <= gross)
    ticks = c.instrument.ticks(str(price))
    held = Holding(c, Touch(ticks, ticks), lots)
    assert held.initial <= -(-held.value * rate.numerator // rate.denominator)
