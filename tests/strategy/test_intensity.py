"""The fitted arrival intensity against the process it was drawn from, and against counting by hand."""

import math

import numpy as np
import pytest

from tidegate.model.order import Side
from tidegate.model.time import MS, SECOND
from tidegate.strategy.intensity import ArrivalIntensity, Intensity, depth_grid

FOREVER = 10**9 * SECOND


def simulate(a: float, kappa: float, interval: float, intervals: int, seed: int = 5) -> ArrivalIntensity:
    """Poisson market orders a side, each reaching an exponential depth beyond the half tick."""
    rng = np.random.default_rng(seed)
    fit = ArrivalIntensity(int(interval * SECOND), FOREVER)
    mid, base = 50_000.5, a * math.exp(-kappa * 0.5)
    fit.begin(mid)
    for _ in range(intervals):
        for side in (Side.BUY, Side.SELL):
            for _ in range(rng.poisson(base * interval)):
                # Reaching at least k ticks beyond the first has probability e^(−κk).
                reach = 0.5 + int(rng.exponential(1 / kappa))
                fit.trade(mid + side.sign * reach, side)
        fit.begin(mid)
    return fit


@pytest.mark.parametrize(
    ("a", "kappa", "interval"), [(1.2, 0.04, 0.25), (0.4, 0.02, 1.0), (5.0, 0.6, 0.5), (30.0, 0.3, 0.2)]
)
def test_a_and_kappa_of_a_poisson_process_are_recovered(a, kappa, interval):
    found = simulate(a, kappa, interval, 8_000).fit()
    assert found is not None
    assert found.kappa == pytest.approx(kappa, rel=0.06)
    assert found.a == pytest.approx(a, rel=0.08)


def test_reached_counts_each_side_of_each_interval_once_by_its_farthest_trade():
    fit = ArrivalIntensity(SECOND, FOREVER)
    fit.begin(100.0)
    fit.trade(101.0, Side.BUY)
    fit.trade(103.0, Side.BUY)
    fit.trade(99.5, Side.SELL)
    fit.begin(102.0)
    fit.trade(101.0, Side.SELL)
    fit.trade(99.0, Side.BUY)  # a buy below the mid reaches nothing
    fit.begin(100.0)
    shares = dict(fit.reached())
    assert fit.intervals == pytest.approx(4, rel=1e-6)
    assert shares[0.5] == pytest.approx(3 / 4)
    assert shares[1.5] == pytest.approx(1 / 4)
    assert shares[2.5] == pytest.approx(1 / 4)
    assert shares[3.5] == 0.0


def test_an_interval_without_a_mid_is_left_out():
    fit = ArrivalIntensity(SECOND, FOREVER)
    fit.begin(0.0)
    fit.trade(100.0, Side.BUY)
    fit.begin(100.0)
    assert fit.intervals == 0
    assert fit.reached() == []


def test_the_past_is_forgotten_by_half_lives():
    fit = ArrivalIntensity(SECOND, 10 * SECOND)
    fit.begin(100.0)
    for k in range(11):
        if k == 0:
            fit.trade(110.0, Side.BUY)
        fit.begin(100.0)
    weights = [0.5 ** ((10 - k) / 10) for k in range(11)]
    assert dict(fit.reached())[0.5] == pytest.approx(weights[0] / (2 * sum(weights)))


def test_rescaling_of_the_weights_changes_nothing():
    fit = ArrivalIntensity(SECOND, SECOND)
    for k in range(200):  # the weight doubles each time: 2²⁰⁰ without rescaling
        fit.begin(100.0)
        if k % 2:
            fit.trade(105.0, Side.BUY)
    fit.begin(100.0)
    # Each interval weighs half of the next: ½ + ¼ + …, on two sides; every other one was reached, on one side.
    assert fit.intervals == pytest.approx(2.0, rel=1e-6)
    assert dict(fit.reached())[4.5] == pytest.approx((1 / 2 + 1 / 8 + 1 / 32 + 1 / 96) / 2, rel=1e-6)


def test_too_little_data_gives_no_fit():
    fit = ArrivalIntensity(SECOND, FOREVER)
    assert fit.fit() is None
    for _ in range(6):
        fit.begin(100.0)
        fit.trade(101.0, Side.BUY)
    assert fit.fit() is None


def test_the_grid_has_every_near_tick_and_widens_far_away():
    grid = depth_grid()
    assert grid[:6] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    widths = np.diff(grid)
    assert (np.diff(widths) >= 0).all()
    assert grid[-1] > 20_000
    assert len(grid) < 100


def test_the_fit_survives_a_restart_and_a_foreign_grid_is_refused():
    fit = simulate(1.2, 0.04, 0.25, 500)
    other = ArrivalIntensity(250 * MS, FOREVER)
    other.restore(fit.state())
    assert other.fit() == fit.fit()
    other.restore({"_hits": [1.0], "_total": 5.0, "_weight": 1.0})
    assert other.fit() == fit.fit()


def test_a_rate_falls_with_depth():
    assert Intensity(2.0, 0.1).rate(10) == pytest.approx(2.0 * math.exp(-1))
