"""Drawdown by hand and against a loop over all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.drawdown import drawdown, underwater


def test_a_curve_by_hand():
    ts = np.array([0, 10, 20, 30, 40, 50, 60], np.int64)
    pnl = np.array([0.0, 5.0, 2.0, 4.0, 6.0, 1.0, 3.0])
    found = drawdown(ts, pnl)
    assert found is not None
    assert found.depth == 5.0
    assert (found.peak_ts, found.trough_ts, found.recovered_ts) == (40, 50, None)
    assert found.duration_ns == 20
    assert found.longest_ns == 30
    assert underwater(pnl).tolist() == [0, 0, -3, -1, 0, -5, -3]


def test_a_recovered_drawdown_ends_at_the_first_new_high():
    found = drawdown(np.arange(5, dtype=np.int64) * 10, np.array([1.0, 0.0, 1.0, 2.0, 1.5]))
    assert found is not None
    assert (found.depth, found.peak_ts, found.trough_ts, found.recovered_ts) == (1.0, 0, 10, 20)
    assert (found.duration_ns, found.longest_ns) == (20, 20)


def test_a_curve_that_only_falls_is_under_what_was_put_in_from_its_first_point():
    found = drawdown(np.array([7, 9], np.int64), np.array([-1.0, -4.0]))
    assert found is not None
    assert (found.depth, found.peak_ts, found.recovered_ts, found.longest_ns) == (4.0, 7, None, 2)


def test_a_curve_that_only_rises_has_none():
    found = drawdown(np.array([1, 2, 3], np.int64), np.array([0.0, 1.0, 2.0]))
    assert found is not None
    assert (found.depth, found.duration_ns, found.longest_ns, found.recovered_ts) == (0.0, 0, 0, None)


def test_no_points_no_drawdown():
    assert drawdown(np.zeros(0, np.int64), np.zeros(0)) is None


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40))
def test_depth_and_longest_spell_agree_with_loops(steps: list[int]):
    pnl = np.cumsum(np.array(steps, float))
    ts = np.arange(len(pnl), dtype=np.int64) * 7 + 3
    found = drawdown(ts, pnl)
    assert found is not None
    path = [0.0, *pnl.tolist()]
    worst = max(path[i] - path[j] for i in range(len(path)) for j in range(i, len(path)))
    assert found.depth == worst
    assert found.longest_ns == longest_by_hand(ts, pnl)
    assert found.peak_ts <= found.trough_ts
    if found.recovered_ts is not None:
        assert found.recovered_ts > found.trough_ts


def longest_by_hand(ts: np.ndarray, pnl: np.ndarray) -> int:
    """Walk the curve; a spell runs from the last point at the high to the first one back at it."""
    high, since, longest = 0.0, int(ts[0]), 0
    below = False
    for t, value in zip(ts.tolist(), pnl.tolist(), strict=True):
        if value >= high:
            if below:
                longest = max(longest, t - since)
            high, since, below = value, t, False
        else:
            below = True
            longest = max(longest, t - since)
    return longest
