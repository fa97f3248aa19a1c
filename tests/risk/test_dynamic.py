"""Dynamic limits: tight at once, loose slowly, within their bounds, told in steps."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.risk.dynamic import WHOLE, DynamicSettings, Look, Tightening

S = 1_000_000_000
PLAIN = DynamicSettings()


class Market:
    """A market looked at once a second, and what was told of it."""

    def __init__(self, settings=PLAIN, seed=1):
        self.one = Tightening(settings)
        self.rng, self.ts, self.price, self.traded = random.Random(seed), 0, 1_000_000, 0
        self.told = []

    def run(self, seconds, move=100, depth=1_000, volume=50, margin=0.0):
        for _ in range(seconds):
            self.ts += S
            self.price += self.rng.choice((-move, move))
            self.traded += volume
            factor = self.one.look(Look(self.ts, self.price, self.price + 1, depth, self.traded, margin))
            if factor is not None:
                self.told.append((self.ts // S, factor))


def test_a_calm_market_is_never_held_down():
    market = Market()
    market.run(3_600)
    assert market.told == []
    assert market.one.factor == 1.0


@pytest.mark.parametrize(
    ("shock", "why"),
    [({"move": 3_000}, "volatility"), ({"depth": 100}, "depth"), ({"volume": 0}, "volume"), ({"margin": 0.9}, "margin")],
)  # fmt: skip
def test_a_shock_is_felt_at_once_and_forgotten_slowly(shock, why):
    market = Market()
    market.run(1_800)
    market.run(120, **shock)
    assert market.one.why == why
    lowest = market.one.factor
    assert lowest < 0.6
    if why in ("depth", "margin"):
        assert market.told[0][0] == 1_801, "with the first look"
    low = market.ts // S
    market.run(150)
    assert market.one.factor < 0.75 * 1.0 + 0.25 * lowest, "half a half-life later it is far from whole"
    market.run(3_600)
    assert market.told[-1][1] == WHOLE
    assert market.told[-1][0] - low > 600
    ups = [factor for at, factor in market.told if at > low]
    assert ups == sorted(ups), "it comes back step by step"


def test_half_of_what_was_taken_is_back_after_a_half_life():
    market = Market(DynamicSettings.load({"half_life": "100s", "warm_up": 10}))
    market.run(100)
    market.run(1, margin=1.0)
    assert market.one.factor == pytest.approx(0.2)
    market.run(100)
    assert market.one.factor == pytest.approx(0.6, abs=0.01)


def test_nothing_is_held_down_by_a_market_that_is_not_known_yet():
    market = Market()
    market.run(30)
    market.run(20, move=50_000, depth=0, volume=0)
    assert market.one.factor == 1.0


looks = st.lists(
    st.tuples(
        st.integers(1, 5 * S), st.integers(0, 1 << 40), st.integers(0, 1 << 20), st.integers(0, 1 << 30),
        st.integers(0, 1 << 30), st.floats(0, 3),
    ),
    min_size=2, max_size=120,
)  # fmt: skip


@given(looks, st.integers(1, 100), st.integers(1, 50))
def test_whatever_happens_a_factor_stays_within_its_bounds_and_falls_at_once(path, floor, step):
    one = Tightening(DynamicSettings.load({"floor": f"{floor}%", "step": f"{step}%", "warm_up": 3}))
    ts, traded, told = 0, 0, [WHOLE]
    for gap, bid, spread, depth, volume, margin in path:
        ts, traded = ts + gap, traded + volume
        before = one.factor
        factor = one.look(Look(ts, bid, bid + spread, depth, traded, margin))
        assert floor / 100 - 1e-12 <= one.factor <= 1.0
        if one.factor > before:
            most = before + (1 - before) * (1 - 0.5 ** (gap / PLAIN.half_life))
            assert one.factor <= most + 1e-9, "never faster than its half-life"
        if factor is not None:
            assert floor * WHOLE // 100 - 1 <= factor <= WHOLE
            assert factor != told[-1]
            told.append(factor)
        assert abs(one.told - one.factor * WHOLE) <= max(step * WHOLE / 100, 1), (
            "what was told is a step away at most"
        )


@given(st.floats(0, 2))
def test_the_same_market_gives_the_same_factors(margin):
    first, second = Market(seed=3), Market(seed=3)
    for market in (first, second):
        market.run(100)
        market.run(20, move=2_000, margin=margin)
    assert first.told == second.told


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"flor": "10%"}, "unknown key 'flor'; did you mean 'floor'"),
        ({"floor": 0}, "floor is 0, must be above 0"),
        ({"floor": "150%"}, "at most 100%"),
        ({"half_life": "0s"}, "half_life is 0, must be above 0"),
        ({"half_life": "slow"}, "'slow' is not a duration"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(table, message):
    with pytest.raises(UserError, match=message):
        DynamicSettings.load(table)
