"""Sharpe and Sortino against hand-computed numbers, the closed forms they generalise, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.analytics.performance import (
    LEAST_RETURNS,
    YEAR,
    autocorrelation_factor,
    choose_step,
    default_lags,
    long_run_covariance,
    returns,
    sharpe,
    sortino,
)
from tidegate.model.time import DAY, HOUR, MINUTE, MS, SECOND


def noise(n: int, seed: int = 1, mean: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def ar1(n: int, rho: float, seed: int = 1, mean: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal()
    steps = rng.normal(0, math.sqrt(1 - rho * rho), n)
    for i in range(1, n):
        x[i] = rho * x[i - 1] + steps[i]
    return x + mean


def test_without_lags_the_error_is_mertens_closed_form_computed_by_hand():
    r = np.random.default_rng(3).standard_t(6, 500) + 0.08
    result = sharpe(r, DAY, lags=0)
    sr = r.mean() / r.std(ddof=1)
    z = (r - r.mean()) / r.std()
    skew, kurtosis = (z**3).mean(), (z**4).mean()
    by_hand = math.sqrt((1 - skew * sr + (kurtosis - 1) / 4 * sr**2) / len(r))
    assert result is not None
    assert result.per_period == pytest.approx(sr, rel=1e-12)
    assert result.annual == pytest.approx(math.sqrt(365) * sr, rel=1e-12)
    assert result.se == pytest.approx(math.sqrt(365) * by_hand, rel=5e-3)
    assert (result.skew, result.kurtosis) == (pytest.approx(skew), pytest.approx(kurtosis))


def test_for_normal_returns_the_error_is_lo_s_textbook_value():
    r = noise(200_000, mean=0.5)
    result = sharpe(r, DAY, lags=0)
    assert result is not None
    assert result.se / math.sqrt(365) == pytest.approx(math.sqrt((1 + 0.5**2 / 2) / len(r)), rel=0.02)


def test_the_interval_covers_the_truth_as_often_as_it_says_with_fat_tails_and_serial_correlation():
    """400 records of an AR(1) with t-distributed shocks; the truth is the long-run ratio."""
    rng = np.random.default_rng(11)
    rho, mean, n, hits, runs = 0.3, 0.05, 1500, 0, 400
    shock = math.sqrt(6 / 4) / math.sqrt(1 - rho**2)
    truth = mean / shock * math.sqrt(365 * (1 - rho) / (1 + rho))
    for _ in range(runs):
        x = np.empty(n)
        x[0] = 0.0
        steps = rng.standard_t(6, n)
        for i in range(1, n):
            x[i] = rho * x[i - 1] + steps[i]
        result = sharpe(x + mean, DAY, lags=20)
        assert result is not None
        hits += result.low <= truth <= result.high
    assert 0.91 <= hits / runs <= 0.98


def test_positive_serial_correlation_lowers_the_annual_ratio_by_lo_s_factor():
    r = ar1(200_000, 0.4)
    q = 365
    k = np.arange(1, q)
    exact = q / math.sqrt(q + 2 * float(((q - k) * 0.4**k).sum()))
    assert autocorrelation_factor(r, q, 60) == pytest.approx(exact, rel=0.03)


def test_lo_s_factor_matches_the_ratio_of_summed_returns():
    """Brute force: add up q returns at a time and take the ratio of the sums."""
    r, q = ar1(400_000, 0.5, seed=5), 50
    sums = r[: len(r) // q * q].reshape(-1, q).sum(axis=1)
    summed = sums.mean() / sums.std(ddof=1)
    mine = autocorrelation_factor(r, q, 49) * r.mean() / r.std(ddof=1)
    assert mine == pytest.approx(summed, rel=0.05)


def test_without_lags_the_factor_is_the_square_root_of_time():
    assert autocorrelation_factor(noise(100), 365.0, 0) == pytest.approx(math.sqrt(365))


def test_the_long_run_covariance_agrees_with_a_loop_over_pairs():
    x = np.random.default_rng(2).normal(size=(40, 2))
    x -= x.mean(axis=0)
    lags, n = 5, len(x)
    slow = np.zeros((2, 2))
    for i in range(n):
        for j in range(n):
            if abs(i - j) <= lags:
                slow += (1 - abs(i - j) / (lags + 1)) * np.outer(x[i], x[j]) / n
    assert np.allclose(long_run_covariance(x, lags), slow)


def test_five_minutes_of_data_leave_an_annual_interval_hundreds_wide():
    result = sharpe(noise(300, mean=0.0), SECOND)
    assert result is not None
    assert (result.high - result.low) / 2 > 300
    years = 300 * SECOND / YEAR
    assert (result.high - result.low) / 2 == pytest.approx(1.96 / math.sqrt(years), rel=0.4)


@given(st.floats(1e-6, 1e6), st.integers(1, 1000))
def test_the_ratio_does_not_depend_on_the_unit_of_money(scale: float, seed: int):
    r = noise(60, seed)
    a, b = sharpe(r, MINUTE), sharpe(r * scale, MINUTE)
    assert a is not None
    assert b is not None
    assert (b.annual, b.low, b.high) == pytest.approx((a.annual, a.low, a.high), rel=1e-9)


@given(st.integers(1, 10_000))
def test_turning_the_returns_around_turns_the_interval_around(seed: int):
    r = np.random.default_rng(seed).standard_t(4, 50) + 0.2
    a, b = sharpe(r, HOUR), sharpe(-r, HOUR)
    assert a is not None
    assert b is not None
    assert (-b.high, -b.low) == pytest.approx((a.low, a.high))
    assert b.psr == pytest.approx(1 - a.psr, abs=1e-12)


def test_the_probability_is_one_half_at_zero_and_high_far_above():
    r = noise(400)
    flat = sharpe(r - r.mean(), DAY)
    good = sharpe(r - r.mean() + 0.5, DAY)
    assert flat is not None
    assert good is not None
    assert flat.psr == pytest.approx(0.5)
    assert good.psr > 0.999


@pytest.mark.parametrize("r", [np.zeros(100), np.full(100, 0.1), noise(LEAST_RETURNS - 1), np.zeros(0)])
def test_no_ratio_is_given_without_enough_returns_that_move(r: np.ndarray):
    assert sharpe(r, SECOND) is None


def test_sortino_by_hand():
    r = np.array([0.02, -0.01, 0.03, -0.02] * 5)
    downside = math.sqrt((0.01**2 + 0.02**2) * 5 / 20)
    assert sortino(r, DAY) == pytest.approx(math.sqrt(365) * 0.005 / downside)
    assert sortino(np.abs(r), DAY) is None
    assert sortino(r[:4], DAY) is None


def test_lags_grow_slowly_with_the_record():
    assert [default_lags(n) for n in (0, 50, 100, 1000, 100_000)] == [0, 3, 4, 6, 18]


def test_returns_are_changes_over_full_steps_from_zero_at_the_start():
    ts = np.array([5, 12, 20, 31], np.int64)
    pnl = np.array([1.0, 3.0, 2.0, 7.0])
    assert returns(ts, pnl, 0, 34, 10).tolist() == [1.0, 1.0, 0.0]
    assert returns(ts, pnl, 0, 40, 10).tolist() == [1.0, 1.0, 0.0, 5.0]


def test_the_step_is_the_longest_that_still_gives_enough_returns():
    assert choose_step(0, 5 * MINUTE, 500 * MS) == SECOND
    assert choose_step(0, HOUR, SECOND) == 10 * SECOND
    assert choose_step(0, 365 * DAY, SECOND) == DAY
    assert choose_step(0, 10 * SECOND, 100 * MS) == 100 * MS
    assert choose_step(0, HOUR, MINUTE) == MINUTE
