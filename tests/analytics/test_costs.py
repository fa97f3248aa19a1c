"""Costs: signs, hand-computed bps and amounts, the linear and inverse forms, unknown references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.costs import (
    CostInputs,
    cost_row,
    looks_inverse,
    slippage_amount,
    slippage_bps,
    weighted_mean,
)

BUY, SELL = np.array([1], np.int64), np.array([-1], np.int64)


def one(value: float) -> np.ndarray:
    return np.array([value])


def inputs(**columns: list[float]) -> CostInputs:
    n = len(columns["price"])
    given_ = {name: np.array(values, float) for name, values in columns.items()}
    unknown = np.full(n, np.nan)
    return CostInputs(
        side=np.array(columns["side"], np.int64), price=given_["price"], value=given_["value"],
        fee=given_.get("fee", np.zeros(n)),
        mid=given_.get("mid", unknown), arrival=given_.get("arrival", unknown),
        future=given_.get("future", unknown), rate=given_.get("rate", np.ones(n)),
        inverse=np.zeros(n, np.bool_),
    )  # fmt: skip


def test_paying_above_mid_is_a_cost_for_a_buyer_and_an_earning_for_a_seller():
    assert slippage_bps(BUY, one(100.5), one(100.0)).tolist() == pytest.approx([50.0])
    assert slippage_bps(SELL, one(100.5), one(100.0)).tolist() == pytest.approx([-50.0])


def test_a_linear_cost_is_the_difference_times_quantity():
    """Buy 3 at 101 against 100, multiplier 10: 30 in money."""
    assert slippage_amount(BUY, one(101.0), one(100.0), one(101.0 * 30), False).tolist() == pytest.approx(
        [30.0]
    )


def test_an_inverse_cost_is_in_coins():
    """Buy 50 contracts of 100 at 50,000 against 49,000: 5000 × (1/49,000 − 1/50,000) coins."""
    got = slippage_amount(BUY, one(50_000.0), one(49_000.0), one(5000 / 50_000), True)
    assert got.tolist() == pytest.approx([5000 * (1 / 49_000 - 1 / 50_000)])


def test_negative_prices_keep_the_sign_of_the_cost():
    assert slippage_bps(BUY, one(-36.0), one(-37.0))[0] > 0
    assert slippage_amount(BUY, one(-36.0), one(-37.0), one(36.0 * 5), False).tolist() == pytest.approx([5.0])


@given(st.sampled_from([-1, 1]), st.floats(1, 1e5), st.floats(1, 1e5), st.floats(0.001, 100), st.booleans())
def test_amount_and_bps_have_one_sign_and_vanish_together(
    side: int, price: float, reference: float, qty: float, inverse: bool
):
    value = qty / price if inverse else qty * price
    s = np.array([side], np.int64)
    bps = slippage_bps(s, one(price), one(reference))[0]
    amount = slippage_amount(s, one(price), one(reference), one(value), inverse)[0]
    assert np.sign(bps) == np.sign(amount)


def test_an_unknown_or_zero_reference_gives_no_number():
    assert np.isnan(slippage_bps(BUY, one(1.0), one(np.nan))).all()
    assert np.isnan(slippage_bps(BUY, one(1.0), one(0.0))).all()
    assert np.isnan(slippage_amount(BUY, one(1.0), one(np.nan), one(1.0), False)).all()


def test_weighted_mean_leaves_out_what_is_unknown():
    assert weighted_mean(np.array([1.0, np.nan, 4.0]), np.array([1.0, 100.0, 2.0])) == pytest.approx(3.0)
    assert weighted_mean(np.array([np.nan]), np.array([1.0])) is None
    assert weighted_mean(np.zeros(0), np.zeros(0)) is None


def test_a_row_by_hand():
    """A taker's buy of 1 at 101 (mid 100, later 102) and a maker's sell of 1 at 101 (mid 100, later 102)."""
    row = cost_row(
        inputs(
            side=[1, -1], price=[101.0, 101.0], value=[101.0, 101.0], fee=[0.101, -0.0101],
            mid=[100.0, 100.0],
            arrival=[99.0, np.nan], future=[102.0, 102.0],
        )
    )  # fmt: skip
    assert (row.fills, row.no_mid, row.no_arrival) == (2, 0, 1)
    assert row.value == pytest.approx(202.0)
    assert row.fees == pytest.approx(0.0909)
    assert row.fee_bps == pytest.approx((10 - 1) / 2)
    assert row.mid_bps == pytest.approx(0.0)
    assert row.arrival_bps == pytest.approx(2 / 99 * 1e4)
    assert row.arrival_cost == pytest.approx(2.0)
    buyer = cost_row(inputs(side=[1], price=[101.0], value=[101.0], mid=[100.0], future=[102.0]))
    assert (buyer.effective_bps, buyer.realised_bps, buyer.impact_bps) == (
        pytest.approx(200.0), pytest.approx(-200.0), pytest.approx(400.0),
    )  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([-1, 1]), *[st.floats(50, 150)] * 3), min_size=1, max_size=20))
def test_effective_is_realised_plus_impact_and_twice_the_slippage(
    fills: list[tuple[int, float, float, float]],
):
    side, price, mid, future = (list(column) for column in zip(*fills, strict=True))
    row = cost_row(inputs(side=side, price=price, value=price, mid=mid, future=future))
    assert row.effective_bps == pytest.approx(2 * row.mid_bps, abs=1e-6)
    assert row.realised_bps + row.impact_bps == pytest.approx(row.effective_bps, abs=1e-6)
    by_hand = sum(2e4 * s * (f - m) / m * p for s, p, m, f in fills) / sum(price)
    assert row.impact_bps == pytest.approx(by_hand, abs=1e-6)


def test_amounts_without_a_rate_are_left_blank_but_means_are_not():
    row = cost_row(inputs(side=[1], price=[101.0], value=[101.0], mid=[100.0], rate=[np.nan]))
    assert (row.value, row.fees, row.mid_cost) == (None, None, None)
    assert row.mid_bps == pytest.approx(100.0)


def test_no_fills_no_claims():
    row = cost_row(inputs(side=[], price=[], value=[]))
    assert (row.fills, row.value, row.mid_bps, row.effective_bps) == (0, None, None, None)


@given(st.integers(1, 10_000), st.booleans(), st.floats(0.001, 1000))
def test_the_form_of_a_contract_shows_in_its_values(seed: int, inverse: bool, multiplier: float):
    rng = np.random.default_rng(seed)
    price, qty = rng.uniform(50_000, 51_000, 8), rng.integers(1, 9, 8).astype(float)
    value = multiplier * (qty / price if inverse else qty * price)
    assert looks_inverse(price, qty, value) is inverse


def test_one_fill_alone_reads_as_linear():
    assert not looks_inverse(one(1.0), one(1.0), one(1.0))
