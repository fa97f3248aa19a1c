"""Markouts: the mid looked up, the sign, the shrinking count, and errors that know fills cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.markouts import HORIZONS, clustered_mean, markout_bps, markout_curve, mids
from tidegate.model.time import MS, SECOND


def flat(ts: list[int], mid: list[float]):
    n = len(ts)
    return mids(np.zeros(n, np.int64), np.array(ts, np.int64), np.array(mid) - 0.5, np.array(mid) + 0.5, 1)


def test_the_mid_after_is_the_last_touch_at_or_before_that_time():
    touches = flat([10, 20, 30], [100.0, 101.0, 103.0])
    where = np.zeros(6, np.int64)
    got = touches.after(where, np.array([5, 10, 19, 20, 30, 31], np.int64), 0)
    assert got.tolist()[1:5] == [100.0, 100.0, 101.0, 103.0]
    assert np.isnan(got[[0, 5]]).all()
    assert touches.after(where[:1], np.array([10], np.int64), 10).tolist() == [101.0]
    assert touches.last(where[:1]).tolist() == [103.0]
    assert touches.spacing() == 10


def test_one_sided_touches_are_left_out():
    touches = mids(
        np.zeros(2, np.int64), np.array([1, 2], np.int64), np.array([1.0, np.nan]), np.array([3.0, 4.0]), 1
    )
    assert touches.mid[0].tolist() == [2.0]


def test_instruments_do_not_mix():
    touches = mids(
        np.array([0, 1, 0], np.int64),
        np.array([5, 1, 3], np.int64),
        np.array([7.0, 70, 5]),
        np.array([9.0, 90, 7]),
        2,
    )
    assert touches.ts[0].tolist() == [3, 5]
    got = touches.after(np.array([1, 0], np.int64), np.array([1, 4], np.int64), 0)
    assert got.tolist() == [80.0, 6.0]


def test_a_buy_below_a_rising_mid_gains():
    side, price, mid = np.array([1, -1], np.int64), np.array([99.0, 101.0]), np.array([100.0, 100.0])
    assert markout_bps(side, price, mid, np.array([102.0, 102.0])).tolist() == pytest.approx([300.0, -100.0])


def test_the_curve_by_hand_with_a_count_that_shrinks_towards_the_end():
    seconds = list(range(0, 21))
    touches = flat([s * SECOND for s in seconds], [100.0 + s for s in seconds])
    ts = np.array([2, 14, 18], np.int64) * SECOND
    curve = markout_curve(
        touches, np.zeros(3, np.int64), ts, np.array([1, 1, 1], np.int64), 100.0 + ts / SECOND - 0.5,
        100.0 + ts / SECOND, np.ones(3),
    )  # fmt: skip
    by = {m.horizon: m for m in curve}
    assert [m.fills for m in curve] == [3, 3, 3, 3, 2, 1, 0, 0]
    assert by[0].bps == pytest.approx(np.mean([50 / 1.02, 50 / 1.14, 50 / 1.18]))
    assert by[5 * SECOND].bps == pytest.approx(np.mean([550 / 1.02, 550 / 1.14]))
    assert by[10 * SECOND].bps == pytest.approx(1050 / 1.02)
    assert by[10 * SECOND].se is None
    assert by[60 * SECOND].bps is None
    assert by[100 * MS].bps == pytest.approx(by[0].bps)
    assert tuple(m.horizon for m in curve) == HORIZONS


def test_with_every_fill_its_own_cluster_the_error_is_the_usual_one():
    rng = np.random.default_rng(1)
    x = rng.normal(size=500)
    mean, se, count = clustered_mean(x, np.ones(500), np.arange(500))
    assert (mean, count) == (pytest.approx(x.mean()), 500)
    assert se == pytest.approx(x.std(ddof=1) / np.sqrt(500), rel=1e-9)


def test_copies_of_a_fill_do_not_make_the_mean_more_certain():
    rng = np.random.default_rng(2)
    x = rng.normal(size=50)
    once = clustered_mean(x, np.ones(50), np.arange(50))
    often = clustered_mean(np.repeat(x, 10), np.ones(500), np.repeat(np.arange(50), 10))
    assert often[:2] == pytest.approx(once[:2])


def test_the_clustered_error_tells_how_far_means_really_scatter():
    """Fills in 40 windows share each window's move: the naive error would be about five times too small."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(40), 25)
    means, errors = [], []
    for _ in range(300):
        x = rng.normal(size=40)[cluster] + 0.2 * rng.normal(size=1000)
        mean, se, _ = clustered_mean(x, np.ones(1000), cluster)
        means.append(mean)
        errors.append(se)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9), st.integers(0, 4)), min_size=2, max_size=30))
def test_the_error_agrees_with_its_formula_written_as_loops(rows: list[tuple[float, float, int]]):
    x, w, c = (np.array(column, float) for column in zip(*rows, strict=True))
    mean, se, count = clustered_mean(x, w, c.astype(np.int64))
    assert mean == pytest.approx((w * x).sum() / w.sum(), abs=1e-9)
    groups = sorted(set(c.tolist()))
    if len(groups) == 1:
        assert se is None
        return
    total = sum(sum(wi * (xi - mean) for xi, wi, ci in rows if ci == g) ** 2 for g in groups)
    assert se == pytest.approx((len(groups) / (len(groups) - 1) * total) ** 0.5 / w.sum(), abs=1e-9)
    assert count == len(rows)
