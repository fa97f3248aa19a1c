"""Thinning keeps what the eye would see; packing keeps the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.report import thin
from tidegate.report.pack import pack, times, unpack


def walk(n: int, seed: int = 1) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=n))


def test_a_short_line_is_kept_whole():
    assert thin.line(np.arange(10), walk(10), 10).tolist() == list(range(10))


@given(st.integers(50, 3000), st.integers(8, 400), st.integers(0, 99))
def test_every_slice_keeps_its_ends_and_extremes(n: int, points: int, seed: int):
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, 10_000, n))
    values = rng.normal(size=n)
    kept = thin.line(ts, values, points)
    assert (np.diff(kept) > 0).all()
    if n <= points:
        assert len(kept) == n
        return
    slices = max(points // 4, 1)
    assert len(kept) <= 4 * slices
    slot = np.minimum(((ts - ts[0]) / max(ts[-1] - ts[0], 1) * slices).astype(int), slices - 1)
    for number in np.unique(slot):
        all_of = np.flatnonzero(slot == number)
        of = kept[slot[kept] == number]
        assert (of[0], of[-1]) == (all_of[0], all_of[-1])
        assert values[of].min() == values[all_of].min()
        assert values[of].max() == values[all_of].max()


def test_gaps_in_a_line_do_not_hide_its_extremes():
    values = walk(1000)
    values[::7] = np.nan
    kept = thin.line(np.arange(1000), values, 40)
    assert np.nanmin(values[kept]) == np.nanmin(values)
    assert np.nanmax(values[kept]) == np.nanmax(values)


def test_a_line_in_one_moment_is_thinned_too():
    assert len(thin.line(np.zeros(1000, np.int64), walk(1000), 40)) <= 4


@given(st.integers(1, 4000), st.integers(20, 500), st.integers(0, 50))
def test_a_cloud_keeps_at_most_so_many_and_its_heaviest(n: int, points: int, seed: int):
    rng = np.random.default_rng(seed)
    x, y, weight = rng.integers(0, 10**9, n), rng.normal(size=n), rng.random(n)
    kept = thin.cloud(rng.integers(0, 4, n), x, y, weight, points)
    assert len(kept) == min(n, len(kept)) <= max(points, min(n, points))
    assert (np.diff(kept) > 0).all()
    assert int(np.argmax(weight)) in kept
    if n <= points:
        assert len(kept) == n


def test_a_cloud_in_one_point_keeps_one_of_each_series():
    n = 100
    kept = thin.cloud(np.arange(n) % 2, np.zeros(n, np.int64), np.zeros(n), np.arange(n, dtype=float), 10)
    assert kept.tolist() == [98, 99]


def test_more_series_than_points_still_fit():
    n = 500
    kept = thin.cloud(np.arange(n), np.arange(n), np.arange(n, dtype=float), np.ones(n), 50)
    assert len(kept) == 50


@given(st.lists(st.one_of(st.none(), st.floats(-1e12, 1e12)), max_size=80))
def test_packed_numbers_come_back_within_half_a_step(values: list[float | None]):
    given_ = np.array([np.nan if v is None else v for v in values], float)
    back = unpack(pack(given_))
    known = ~np.isnan(given_)
    assert (np.isnan(back) == ~known).all()
    if known.any():
        step = (given_[known].max() - given_[known].min()) / 2**32
        slack = 1e-9 * np.abs(given_[known]).max() if len(values) > 24 else 0
        assert np.abs(back[known] - given_[known]).max() <= step + slack


def test_a_long_series_takes_eleven_characters_a_number_at_most():
    packed = pack(walk(10_000))
    assert len(packed["u"]) <= 5.4 * 10_000


def test_times_are_milliseconds_with_their_fraction():
    ts = 1_723_075_200_000_000_000 + np.arange(100) * 1_234_567
    assert unpack(times(ts)) == pytest.approx(ts / 1e6, abs=1e-3)
