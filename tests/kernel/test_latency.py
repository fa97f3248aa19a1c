"""Latencies drawn from distributions: the table, the generator, the draws."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from numba import int64
from oracle.replay import latency, randoms

from tidegate.kernel.engine import S_RANDOM
from tidegate.kernel.jit import kernel
from tidegate.kernel.latency import MAX_QUANTILES, draw_latency, quantile_table


@kernel(int64[::1](int64[::1], int64[:, ::1], int64, int64))
def draws(s, table, row, n):
    out = np.zeros(n, np.int64)
    for at in range(n):
        out[at] = draw_latency(s, table, row)
    return out


def state(seed: int) -> np.ndarray:
    s = np.zeros(32, np.int64)
    s[S_RANDOM] = (seed * 0x9E3779B97F4A7C15 + 0x2545F491) & ((1 << 62) - 1) or 1
    return s


def test_one_sample_is_a_constant_and_draws_nothing():
    s = state(1)
    before = s.copy()
    assert draws(s, quantile_table((250,))[None, :], 0, 5).tolist() == [250] * 5
    assert (s == before).all()


def test_draws_lie_between_the_samples_and_in_proportion():
    samples = (100, 200, 1_000)
    got = draws(state(3), quantile_table(samples)[None, :], 0, 40_000)
    assert got.min() >= 100
    assert got.max() <= 1_000
    # Half of them lie below the middle sample, a quarter below the middle of the first half.
    assert (got < 200).mean() == pytest.approx(0.5, abs=0.01)
    assert (got < 150).mean() == pytest.approx(0.25, abs=0.01)
    assert (got < 600).mean() == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2, 12345])
def test_draws_are_marsaglia_s_generator_and_the_quantile_function(seed):
    rng = np.random.default_rng(seed)
    samples = tuple(rng.integers(0, 10**9, 200).tolist())
    expected = latency(samples, randoms(seed))
    assert draws(state(seed), quantile_table(samples)[None, :], 0, 20_000).tolist() == [
        expected() for _ in range(20_000)
    ]


def test_the_generator_is_even():
    counts = np.bincount([int(x * 16) for x in islice(randoms(5), 64_000)], minlength=16)
    chi2 = float(((counts - 4_000) ** 2 / 4_000).sum())
    assert chi2 < 37.7, "15 degrees of freedom, one in a thousand"


def test_many_samples_become_quantiles_of_the_same_distribution():
    rng = np.random.default_rng(2)
    samples = rng.lognormal(10, 1, 50_000).astype(np.int64)
    row = quantile_table(samples)
    assert row[0] == MAX_QUANTILES
    points = row[1 : 1 + MAX_QUANTILES]
    assert (np.diff(points) >= 0).all()
    assert points[0] == samples.min()
    assert points[-1] == samples.max()
    assert points[128] == pytest.approx(np.median(samples), rel=0.02)


@pytest.mark.parametrize(
    ("samples", "complaint"), [((), "at least one sample"), ((5, -1), "cannot be negative: -1 ns")]
)
def test_a_bad_distribution_is_an_error(samples, complaint):
    with pytest.raises(ValueError, match=complaint):
        quantile_table(samples)
