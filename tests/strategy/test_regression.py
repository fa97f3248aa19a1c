"""The rolling regression against numpy's, and the OU fit against the process it was drawn from."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.strategy.regression import OrnsteinUhlenbeck, RollingRegression, fit_ou


def brute(pairs):
    x, y = np.array(pairs).T
    slope = np.cov(x, y, bias=True)[0, 1] / np.var(x)
    return slope, y.mean() - slope * x.mean()


def test_every_window_of_log_prices_agrees_with_least_squares_from_scratch():
    rng = np.random.default_rng(4)
    x = 11.03 + np.cumsum(rng.normal(0, 1e-4, 700))
    y = 0.3 + 0.97 * x + rng.normal(0, 5e-5, 700)
    fit, pairs = RollingRegression(50), []
    for a, b in zip(x, y, strict=True):
        fit.add(a, b)
        pairs = [*pairs, (a, b)][-50:]
        if len(pairs) < 3:
            continue
        slope, intercept = brute(pairs)
        assert fit.slope == pytest.approx(slope, rel=1e-6)
        assert fit.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-6)
        assert fit.correlation == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1], rel=1e-6)
    assert fit.ready
    assert fit.residuals() == pytest.approx([b - intercept - slope * a for a, b in pairs], abs=1e-12)
    assert sum(fit.residuals()) == pytest.approx(0.0, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=3, max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_pairs_agree_with_least_squares_from_scratch(pairs):
    fit = RollingRegression(10)
    for a, b in pairs:
        fit.add(float(a), float(b))
    last = [(float(a), float(b)) for a, b in pairs[-10:]]
    if np.var([a for a, _ in last]) == 0:
        assert fit.slope == 0.0
    else:
        slope, intercept = brute(last)
        assert fit.slope == pytest.approx(slope, rel=1e-9, abs=1e-9)
        assert fit.intercept == pytest.approx(intercept, rel=1e-9, abs=1e-6)


def test_a_constant_x_has_no_slope_and_a_level_line():
    fit = RollingRegression(5)
    for y in (1.0, 2.0, 3.0):
        fit.add(7.0, y)
    assert (fit.slope, fit.intercept, fit.correlation) == (0.0, 2.0, 0.0)


def test_the_regression_survives_a_restart():
    first, second = RollingRegression(8), RollingRegression(8)
    for k in range(20):
        first.add(float(k % 7), float(k * k % 11))
    second.restore(first.state())
    assert second.slope == pytest.approx(first.slope)
    assert list(second.pairs) == list(first.pairs)


def ou_path(mean, phi, noise, n, seed=6):
    rng, x, path = np.random.default_rng(seed), mean, []
    for _ in range(n):
        x = mean + phi * (x - mean) + noise * rng.normal()
        path.append(float(x))
    return path


def test_an_ou_process_is_recovered():
    mean, phi, noise = 3.0, 0.9, 0.2
    found = fit_ou(ou_path(mean, phi, noise, 20_000))
    assert found is not None
    assert found.phi == pytest.approx(phi, abs=0.01)  # std error √((1 − φ²)/n) = 0.003
    assert found.mean == pytest.approx(mean, abs=0.06)
    assert found.noise == pytest.approx(noise, rel=0.03)
    assert found.half_life == pytest.approx(-math.log(2) / math.log(phi), rel=0.1)
    assert found.deviation == pytest.approx(noise / math.sqrt(1 - phi**2), rel=0.05)


def test_half_life_is_when_half_of_a_deviation_is_left():
    ou = OrnsteinUhlenbeck(0.0, 0.8, 1.0)
    assert 0.8**ou.half_life == pytest.approx(0.5)


def test_short_windows_look_more_mean_reverting_by_kendalls_bias():
    phi, n = 0.9, 40
    fits = [fit_ou(ou_path(0.0, phi, 1.0, n + 200, seed)[200:]) for seed in range(600)]
    bias = np.mean([found.phi for found in fits if found]) - phi
    assert bias == pytest.approx(-(1 + 3 * phi) / n, rel=0.25)


def test_what_does_not_revert_has_no_half_life():
    assert OrnsteinUhlenbeck(0.0, 1.01, 1.0).half_life == math.inf
    assert OrnsteinUhlenbeck(0.0, 1.01, 1.0).deviation == math.inf
    assert not OrnsteinUhlenbeck(0.0, -0.2, 1.0).reverts


def test_too_few_or_equal_values_have_no_process():
    assert fit_ou([1.0, 2.0, 1.0]) is None
    assert fit_ou([1.0] * 20) is None
