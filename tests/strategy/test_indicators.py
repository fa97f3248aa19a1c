"""Estimators against their definitions, worked out the slow way."""

import math
from itertools import pairwise

import numpy as np
import pytest

from tidegate.model.time import SECOND
from tidegate.strategy.indicators import Atr, Ema, HeldMean, Volatility


def test_ema_is_the_weighted_sum_of_its_samples():
    xs = np.random.default_rng(1).normal(100, 5, 60)
    ema, alpha = Ema(9), 2 / 10
    for x in xs:
        ema.add(x)
    weights = [alpha * (1 - alpha) ** k for k in range(59)] + [(1 - alpha) ** 59]
    assert ema.value == pytest.approx(float(np.dot(weights, xs[::-1])), rel=1e-12)
    assert sum(weights) == pytest.approx(1.0)


def test_ema_is_ready_after_its_period():
    ema = Ema(3)
    assert [(ema.add(x), ema.ready)[1] for x in (1.0, 2.0, 3.0)] == [False, False, True]


def test_ema_refuses_a_period_below_one():
    with pytest.raises(ValueError, match="period is 0"):
        Ema(0)


def test_held_mean_is_the_exponentially_weighted_integral_of_a_step_function():
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.integers(1, 5_000, 80)) + 1
    values = rng.normal(0, 1, 80)
    half = 20_000
    mean = HeldMean(half)
    for t, v in zip(times, values, strict=True):
        mean.add(int(t), float(v))
    rate, end = math.log(2) / half, times[-1]
    weights = [math.exp(-rate * (end - b)) - math.exp(-rate * (end - a)) for a, b in pairwise(times)]
    assert mean.value == pytest.approx(np.dot(weights, values[:-1]) / sum(weights), rel=1e-10)
    assert mean.weight == pytest.approx(1 - 0.5 ** ((end - times[0]) / half))


def test_a_new_value_does_not_dilute_its_own_deviation():
    mean = HeldMean(SECOND)
    mean.add(SECOND, 5.0)
    assert mean.add(2 * SECOND, 9.0) == 5.0
    assert mean.add(3 * SECOND, 9.0) == pytest.approx(5 + 4 * (0.5 / 0.75))


def test_atr_averages_its_first_period_then_smooths_like_wilder():
    bars = [(12, 8, 10), (13, 9, 12), (20, 18, 19), (21, 15, 16), (17, 14, 15)]
    atr = Atr(3)
    seen = [atr.add(*map(float, bar)) for bar in bars]
    ranges = [4, 4, 8, 6, 3]  # the third gaps up from 12: 20 − 12
    third = sum(ranges[:3]) / 3
    fourth = third + (6 - third) / 3
    assert seen == pytest.approx([4, 4, third, fourth, fourth + (3 - fourth) / 3])
    assert atr.ready


def test_volatility_of_a_brownian_path_is_found():
    rng = np.random.default_rng(3)
    sigma, estimate = 12.5, Volatility(1_000 * SECOND, SECOND)
    path = 60_000 + np.cumsum(rng.normal(0, sigma * math.sqrt(0.1), 40_000))
    for k, price in enumerate(path):
        estimate.add(SECOND + k * SECOND // 10, float(price))
    assert estimate.value == pytest.approx(sigma, rel=0.05)  # std error 1/√(2·~1440) = 1.9 %


def test_volatility_is_the_weighted_ratio_of_squares_to_time():
    times = [1.0, 2.0, 3.5, 3.9, 5.0, 9.0]
    prices = [100.0, 103.0, 101.0, 400.0, 104.0, 110.0]
    estimate = Volatility(2 * SECOND, SECOND)
    for t, p in zip(times, prices, strict=True):
        estimate.add(int(t * SECOND), p)
    steps = [(2.0, 1.0, 3.0), (3.5, 1.5, -2.0), (5.0, 1.5, 3.0), (9.0, 4.0, 6.0)]  # 3.9 s is too soon
    weight = {end: 0.5 ** ((9.0 - end) / 2.0) for end, _, _ in steps}
    squares = sum(weight[end] * r * r for end, _, r in steps)
    elapsed = sum(weight[end] * dt for end, dt, _ in steps)
    assert estimate.value == pytest.approx(math.sqrt(squares / elapsed))


def test_a_jump_over_a_gap_is_not_volatility():
    estimate = Volatility(60 * SECOND, SECOND)
    for t in range(1, 30):
        estimate.add(t * SECOND, 100.0 + t % 2)
    before = estimate.value
    estimate.restart()
    estimate.add(100 * SECOND, 500.0)
    estimate.add(101 * SECOND, 501.0)
    assert estimate.value == pytest.approx(before, rel=0.1)


@pytest.mark.parametrize(
    ("make", "feed"),
    [
        (lambda: Ema(5), lambda e, k: e.add(float(k * k % 17))),
        (lambda: HeldMean(3 * SECOND), lambda e, k: e.add((k + 1) * SECOND, float(k * k % 17))),
        (lambda: Atr(4), lambda e, k: e.add(20.0 + k % 5, 10.0 - k % 3, 15.0)),
        (lambda: Volatility(5 * SECOND, SECOND), lambda e, k: e.add((k + 1) * SECOND, float(k * k % 17))),
    ],
)
def test_an_estimator_goes_on_where_its_saved_state_left_off(make, feed):
    whole, first, second = make(), make(), make()
    for k in range(40):
        feed(whole, k)
        if k < 20:
            feed(first, k)
    second.restore(first.state())
    for k in range(20, 40):
        feed(second, k)
    assert second.state() == whole.state()
