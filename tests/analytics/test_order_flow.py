"""Fill ratios, queue buckets, time to fill, latency quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.latency import exceedance, latency_row
from tidegate.analytics.order_flow import fill_ratio, flow_row, queue_buckets, time_to_fill

NAN = np.nan


def test_ratios_add_quantities_of_one_instrument_and_average_orders_of_several():
    qty, cum = np.array([1.0, 3.0]), np.array([1.0, 0.0])
    assert fill_ratio(qty, cum) == 0.25
    assert fill_ratio(qty, cum, one_instrument=False) == 0.5
    assert fill_ratio(np.zeros(0), np.zeros(0)) is None


def test_time_to_fill_runs_from_acknowledgement_to_first_fill():
    waited = time_to_fill(
        np.array([7, 3, 9, 4], np.int64), np.array([100, 200, 0, 400], np.int64),
        np.array([3, 7, 7, 9, 3], np.int64), np.array([290, 150, 120, 500, 250], np.int64),
    )  # fmt: skip
    assert waited[:2].tolist() == [20.0, 50.0]
    assert np.isnan(waited[2:]).all()
    early = time_to_fill(np.array([1]), np.array([100]), np.array([1]), np.array([90]))
    assert early.tolist() == [0.0]
    assert np.isnan(
        time_to_fill(np.array([1]), np.array([1]), np.zeros(0, np.int64), np.zeros(0, np.int64))
    ).all()


def test_a_group_by_hand():
    row = flow_row(
        qty=np.array([2.0, 2.0, 4.0]), cum_qty=np.array([2.0, 0.0, 1.0]),
        queue_ahead=np.array([5.0, 0.0, NAN]),
        to_fill=np.array([10.0, NAN, 30.0]), cancelled=np.array([False, True, True]),
        rejected=np.zeros(3, bool), fills=4, one_instrument=True,
    )  # fmt: skip
    assert (row.sent, row.filled, row.resting, row.cancelled, row.rejected) == (3, 2, 2, 2, 0)
    assert row.fill_ratio == pytest.approx(3 / 8)
    assert row.queue_fill_ratio == pytest.approx(2 / 4)
    assert row.order_to_trade == pytest.approx(3 / 4)
    assert row.median_to_fill == 20.0
    assert row.p90_to_fill == pytest.approx(28.0)


def test_buckets_start_with_nothing_ahead_and_leave_out_orders_that_never_joined():
    ahead = np.array([0.0, 0.0, NAN, 1.0, 2.0, 3.0, 4.0])
    qty = np.ones(7)
    cum = np.array([1.0, 1, 1, 1, 0, 0.5, 0])
    buckets = queue_buckets(ahead, qty, cum, np.full(7, NAN))
    assert [(b.low, b.orders, b.ratio) for b in buckets[:1]] == [(0.0, 2, 1.0)]
    assert sum(b.orders for b in buckets) == 6
    assert buckets[-1].high == 4.0
    assert queue_buckets(np.array([NAN]), np.ones(1), np.ones(1), np.ones(1)) == ()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=60))
def test_every_resting_order_falls_into_exactly_one_bucket(orders: list[tuple[int, int, int]]):
    ahead, qty, cum = (np.array(column, float) for column in zip(*orders, strict=True))
    cum = np.minimum(cum, qty)
    buckets = queue_buckets(ahead, qty, cum, np.full(len(ahead), NAN))
    assert sum(b.orders for b in buckets) == len(orders)
    assert sum(b.submitted for b in buckets) == pytest.approx(qty.sum())
    assert sum(b.filled for b in buckets) == pytest.approx(cum.sum())
    for bucket in buckets:
        mine = (ahead > bucket.low) & (ahead <= bucket.high) if bucket.high > 0 else ahead == 0
        assert bucket.orders == mine.sum()
        assert bucket.ratio == pytest.approx(cum[mine].sum() / qty[mine].sum())


def test_latency_quantiles_are_samples_and_clocks_that_disagree_are_counted():
    row = latency_row("feed", np.arange(-1, 999, dtype=np.int64))
    assert row is not None
    assert (row.samples, row.negative, row.minimum, row.maximum) == (1000, 1, -1.0, 998.0)
    assert row.quantiles == (498.0, 898.0, 988.0, 997.0)
    assert latency_row("none", np.zeros(0, np.int64)) is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_the_tail_says_how_many_samples_take_at_least_so_long(samples: list[int]):
    slow, share = exceedance(np.array(samples, np.int64))
    assert (share[0], slow[0]) == (1.0, min(samples))
    assert (share[-1], slow[-1]) == (1 / len(samples), max(samples))
    for latency, part in zip(slow, share, strict=True):
        assert sum(s >= latency for s in samples) / len(samples) >= part - 1e-9


def test_no_positive_latency_no_tail():
    slow, share = exceedance(np.array([0, -5], np.int64))
    assert len(slow) == len(share) == 0
