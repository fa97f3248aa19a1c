"""Closing positions as a core: never across zero, legs in step, nothing on stale prices."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.execution.closing import PPM, STALE, Leg, Terms, Touch, smaller, step
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.order import Side

UNIVERSE = Universe(
    [
        Instrument(
            symbol=f"C{n}", venue="X", kind=InstrumentKind.PERPETUAL, base="C", quote="USDT", tick=Decimal("0.1"),
            lot=Decimal("0.001"), **more,
        )
        for n, more in enumerate(({}, {}, {"min_qty": Decimal("0.005")}, {"min_notional": Decimal(5)}))
    ]
)  # fmt: skip
NOW = 10**18
FRESH = {n: Touch(9_990, 10_010, NOW) for n in range(4)}


def test_a_step_takes_its_part_and_pays_no_more_than_the_collar():
    done = step([Leg(0, 0, 0, 100), Leg(1, 0, 0, -50)], FRESH, UNIVERSE, Terms(100_000, 5_000), NOW)
    long, short = done.closes
    assert (long.side, long.qty, long.price) == (Side.SELL, 10, 9_950)
    assert (short.side, short.qty, short.price) == (Side.BUY, 5, 10_050)
    assert not done.waits


def test_a_leg_that_lags_holds_the_others_back():
    legs = [Leg(0, 0, 0, 60, done=40), Leg(0, 0, 1, -90, done=10)]
    closes = step(legs, FRESH, UNIVERSE, Terms(100_000), NOW).closes
    assert [(c.instrument, c.qty) for c in closes] == [(1, 10)]
    legs = [Leg(0, 0, 0, 60, done=40), Leg(0, 0, 1, -60, done=40)]
    closes = step(legs, FRESH, UNIVERSE, Terms(100_000), NOW).closes
    assert [(c.instrument, c.qty) for c in closes] == [(0, 10), (1, 10)]


@pytest.mark.parametrize(
    "touch", [None, Touch(0, 10_010, NOW), Touch(10_020, 10_010, NOW), Touch(1, 2, NOW - STALE - 1)]
)
def test_one_leg_without_a_fresh_price_stops_its_group_and_no_other(touch):
    touches = {n: t for n, t in {**FRESH, 1: touch}.items() if t is not None}
    legs = [Leg(0, 0, 0, 100), Leg(0, 0, 1, 100), Leg(0, 1, 0, 100)]
    done = step(legs, touches, UNIVERSE, Terms(), NOW)
    assert [(c.account, c.strategy) for c in done.closes] == [(0, 1)]
    assert "no fresh price of C1.X" in done.waits[0, 0, ""]


def test_other_orders_go_first_and_a_step_waits_for_the_last():
    done = step([Leg(0, 0, 0, 100, other=True)], FRESH, UNIVERSE, Terms(), NOW)
    assert not done.closes
    assert "being cancelled" in done.waits[0, 0, ""]
    done = step([Leg(0, 0, 0, 100), Leg(0, 0, 1, 5, working=True)], FRESH, UNIVERSE, Terms(), NOW)
    assert not done.closes
    assert "are open" in done.waits[0, 0, ""]


def test_what_is_refused_is_halved_down_to_the_venue_s_smallest_order():
    (close,) = step([Leg(0, 0, 2, 1000)], FRESH, UNIVERSE, Terms(PPM), NOW).closes
    assert [smaller(close, n, UNIVERSE).qty for n in (0, 1, 2, 7, 8, 999)] == [1000, 500, 250, 7, 5, 5]


def test_a_rest_below_the_smallest_order_is_taken_along_or_left_and_said():
    (close,) = step([Leg(0, 0, 2, 12)], FRESH, UNIVERSE, Terms(), NOW).closes
    assert close.qty == 5
    (close,) = step([Leg(0, 0, 2, 7, done=5)], FRESH, UNIVERSE, Terms(), NOW).closes
    assert close.qty == 7
    done = step([Leg(0, 0, 2, 4)], FRESH, UNIVERSE, Terms(), NOW)
    assert not done.closes
    assert "smallest order" in done.waits[0, 0, ""]
    (close,) = step([Leg(0, 0, 3, 100)], FRESH, UNIVERSE, Terms(1), NOW).closes
    assert close.qty == 6, "0.006 at 994.9 or more is 5 USDT"


@pytest.mark.parametrize("text", ["0", "-1%", "101%", "x", "", "nan"])
def test_terms_that_are_none_are_refused(text):
    with pytest.raises(UserError, match="participation"):
        Terms.of({"participation": text})
    assert Terms.of(Terms(123_000, 7).args()) == Terms(123_000, 7)


LEGS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 3), st.integers(-2000, 2000)),
    max_size=8, unique_by=lambda leg: leg[:3],
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(LEGS, st.integers(1, PPM), st.data())
def test_it_ends_flat_or_in_dust_and_never_crosses_zero_whatever_fills(raw, part, data):
    held = {leg[:3]: leg[3] for leg in raw if leg[3]}
    began = dict(held)
    terms = Terms(max(part, 50_000), 5_000)
    for round_ in range(400):
        legs = [Leg(*key, lots, abs(began[key]) - abs(lots)) for key, lots in held.items()]
        done = step(legs, FRESH, UNIVERSE, terms, NOW)
        if not done.closes:
            break
        for close in done.closes:
            key = close[:3]
            assert 0 < close.qty <= abs(held[key])
            assert (close.side is Side.SELL) == (held[key] > 0)
            filled = 1.0 if round_ > 60 else data.draw(st.sampled_from([0.0, 0.5, 1.0]))
            held[key] += close.side.sign * int(close.qty * filled)
    for (_, _, instrument), lots in held.items():
        assert abs(lots) < {2: 5, 3: 6}.get(instrument, 1)
