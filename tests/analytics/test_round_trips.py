"""First-in-first-out matching against a queue, and round trips by hand."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.round_trips import closings, match, trip_stats


def queue_match(side: list[int], qty: list[float]) -> list[tuple[int, int, float]]:
    """The obvious way: a queue of open lots of one sign."""
    open_lots: deque[list[float]] = deque()
    sign, pieces = 0, []
    for n, (s, q) in enumerate(zip(side, qty, strict=True)):
        left = q
        while left > 1e-9 and open_lots and sign != s:
            entry = open_lots[0]
            part = min(left, entry[1])
            pieces.append((int(entry[0]), n, part))
            entry[1] -= part
            left -= part
            if entry[1] <= 1e-9:
                open_lots.popleft()
        if left > 1e-9:
            sign = s
            open_lots.append([n, left])
    return pieces


@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 9)), max_size=60))
def test_matching_agrees_with_a_queue(fills: list[tuple[int, int]]):
    side, qty = [f[0] for f in fills], [f[1] * 0.001 for f in fills]
    found = match(np.array(side, np.int64), np.array(qty, float))
    got = sorted(zip(found.entry.tolist(), found.exit.tolist(), found.qty.tolist(), strict=True))
    expected = sorted(queue_match(side, qty))
    assert [(e, x) for e, x, _ in got] == [(e, x) for e, x, _ in expected]
    assert [q for *_, q in got] == pytest.approx([q for *_, q in expected])
    assert all(found.long == (np.array(side, np.int64)[found.entry] > 0))


def test_a_million_lots_leave_no_slivers():
    rng = np.random.default_rng(4)
    side, qty = rng.choice(np.array([-1, 1]), 200_000), rng.integers(1, 2000, 200_000) * 1e-5
    pieces = match(side, qty)
    assert pieces.qty.min() > 0.99e-5
    assert np.allclose(pieces.qty / 1e-5, np.rint(pieces.qty / 1e-5), atol=1e-6)


def test_quantities_without_a_common_decimal_unit_still_match_whole():
    third = 1 / 3
    pieces = match(np.array([1, 1, -1], np.int64), np.array([third, third, 2 * third]))
    assert pieces.entry.tolist() == [0, 1]
    assert pieces.qty.sum() == pytest.approx(2 * third, rel=1e-9)


def test_a_linear_round_trip_by_hand():
    """Buy 2 at 100 and 1 at 110, sell 2.5 at 120: 2 × 20 + 0.5 × 10, less fees pro rata."""
    price, qty = np.array([100.0, 110.0, 120.0]), np.array([2.0, 1.0, 2.5])
    closed = closings(
        np.array([0, 10, 40], np.int64), np.array([1, 1, -1], np.int64), price, qty, price * qty,
        np.array([0.2, 0.1, 0.25]), inverse=False,
    )  # fmt: skip
    assert closed.fill.tolist() == [2]
    assert closed.pnl.tolist() == pytest.approx([2 * 20 + 0.5 * 10 - 0.2 - 0.05 - 0.25])
    assert closed.qty.tolist() == pytest.approx([2.5])
    assert closed.holding_ns.tolist() == pytest.approx([(2 * 40 + 0.5 * 30) / 2.5])


def test_a_short_earns_when_price_falls():
    price, qty = np.array([100.0, 90.0]), np.array([1.0, 1.0])
    closed = closings(
        np.array([0, 5], np.int64), np.array([-1, 1], np.int64), price, qty, price * qty, np.zeros(2), False
    )
    assert closed.pnl.tolist() == [10.0]


def test_an_inverse_long_earns_coins_when_price_rises():
    """1000 contracts of 100 USD from 50,000 to 62,500: 2 BTC − 1.6 BTC."""
    price, qty = np.array([50_000.0, 62_500.0]), np.array([1000.0, 1000.0])
    closed = closings(
        np.array([0, 5], np.int64),
        np.array([1, -1], np.int64),
        price,
        qty,
        100 * qty / price,
        np.zeros(2),
        True,
    )
    assert closed.pnl.tolist() == pytest.approx([0.4])


@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 9), st.integers(90, 110)), max_size=40))
def test_closed_pnl_and_open_lots_add_up_to_cash(fills: list[tuple[int, int, int]]):
    """Cash from all fills = P&L closed − cost of what is still open."""
    side = np.array([f[0] for f in fills], np.int64)
    qty = np.array([float(f[1]) for f in fills])
    price = np.array([float(f[2]) for f in fills])
    closed = closings(np.arange(len(fills)), side, price, qty, price * qty, np.zeros(len(fills)), False)
    pieces = match(side, qty)
    left = qty.copy()
    np.subtract.at(left, pieces.entry, pieces.qty)
    np.subtract.at(left, pieces.exit, pieces.qty)
    cash = float((-side * price * qty).sum())
    assert closed.pnl.sum() - float((side * price * left).sum()) == pytest.approx(cash, abs=1e-6)


def test_statistics_by_hand():
    stats = trip_stats(
        np.array([3.0, -1.0, 1.0, 0.0]), np.array([10.0, 20.0, 30.0, 40.0]), np.array([1.0, 1, 2, 0])
    )
    assert (stats.closings, stats.hit_rate, stats.profit_factor) == (4, 0.5, 4.0)
    assert (stats.average_gain, stats.average_loss) == (2.0, 1.0)
    assert stats.holding_ns == (10 + 20 + 60) / 4


def test_without_closings_nothing_is_claimed():
    stats = trip_stats(np.zeros(0), np.zeros(0), np.zeros(0))
    assert (stats.closings, stats.hit_rate, stats.profit_factor, stats.holding_ns) == (0, None, None, None)
    assert trip_stats(np.array([1.0]), np.array([1.0]), np.array([1.0])).profit_factor is None
