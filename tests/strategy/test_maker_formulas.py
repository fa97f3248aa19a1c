"""The quotes of the models against what the models say they are, solved by other means."""

import math

import numpy as np
import pytest

from tidegate.strategy.intensity import Intensity
from tidegate.strategy.library.avellaneda_stoikov import optimal_spread, reservation_shift
from tidegate.strategy.library.glft import half_spread, lean


def zero(f, low, high):
    """Where `f`, of one sign at `low` and the other at `high`, crosses zero: by halving."""
    rising = f(low) < 0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (f(middle) < 0) is rising else (low, middle)
    return (low + high) / 2


def frozen_utility(x, s, q, gamma, sigma, tau):
    """Expected utility of doing nothing until T with cash x, inventory q, mid s (their equation 2.2)."""
    return -math.exp(-gamma * x) * math.exp(-gamma * q * s) * math.exp(0.5 * (gamma * q * sigma) ** 2 * tau)


@pytest.mark.parametrize("q", [-3, 0, 2])
@pytest.mark.parametrize(("gamma", "sigma", "tau"), [(0.1, 2.0, 1.0), (0.02, 5.0, 3.0)])
def test_the_reservation_price_lies_between_the_two_prices_of_indifference(q, gamma, sigma, tau):
    s = 10.0

    def u(x, held):
        return frozen_utility(x, s, held, gamma, sigma, tau)

    bid = zero(lambda p: math.log(u(-p, q + 1) / u(0, q)), s - 500, s + 500)
    ask = zero(lambda p: math.log(u(p, q - 1) / u(0, q)), s - 500, s + 500)
    assert reservation_shift(q, gamma, sigma, tau) == pytest.approx((bid + ask) / 2 - s, abs=1e-9)


@pytest.mark.parametrize(("gamma", "kappa"), [(0.1, 1.5), (0.01, 0.3), (2e-5, 0.04)])
def test_half_the_constant_spread_maximises_fill_rate_times_utility_of_the_gain(gamma, kappa):
    # With inventory risk aside, a quote δ away earns 1 − e^(−γδ) in utility at rate e^(−κδ).
    best = zero(lambda d: gamma * math.exp(-gamma * d) - kappa * (1 - math.exp(-gamma * d)), 1e-9, 50 / kappa)
    assert optimal_spread(gamma, 1.0, 0.0, kappa) / 2 == pytest.approx(best, rel=1e-6)
    assert half_spread(gamma, kappa) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("gamma", "average"), [(0.1, 1.49), (0.01, 1.35), (1.0, 3.02)])
def test_the_average_spreads_are_those_of_the_papers_tables(gamma, average):
    # Avellaneda & Stoikov, section 3.3: σ = 2, κ = 1.5, T = 1.
    spreads = [optimal_spread(gamma, 2.0, 1.0 - (k + 0.5) / 200, 1.5) for k in range(200)]
    assert sum(spreads) / 200 == pytest.approx(average, abs=0.005)


def test_a_maker_without_fear_quotes_one_over_kappa():
    assert half_spread(1e-12, 0.05) == pytest.approx(20.0, rel=1e-6)
    fills = Intensity(0.9, 0.05)
    gamma, sigma = 1e-9, 80.0
    assert lean(gamma, sigma, fills) == pytest.approx(
        sigma * math.sqrt(gamma * math.e / (2 * fills.kappa * fills.a)), rel=1e-6
    )


@pytest.mark.parametrize(
    ("gamma", "sigma", "a", "kappa"),
    [(2e-5, 80.0, 0.9, 0.04), (1e-4, 50.0, 0.5, 0.03), (0.01, 0.3, 0.9, 0.3)],
)
def test_the_closed_form_agrees_with_the_eigenvector_of_the_models_matrix(gamma, sigma, a, kappa):
    # Their theorem: stationary quotes are ln(f_q / f_q±1)/κ + (1/γ)ln(1 + γ/κ), with f the eigenvector of the
    # smallest eigenvalue of the tridiagonal matrix αq² on the diagonal, −η beside it.
    limit = 60
    q = np.arange(-limit, limit + 1)
    alpha = kappa / 2 * gamma * sigma**2
    eta = a * (1 + gamma / kappa) ** -(1 + kappa / gamma)
    matrix = np.diag(alpha * q**2) - eta * (np.eye(2 * limit + 1, k=1) + np.eye(2 * limit + 1, k=-1))
    f = np.abs(np.linalg.eigh(matrix)[1][:, 0])
    base, c = half_spread(gamma, kappa), lean(gamma, sigma, Intensity(a, kappa))
    for held in (-3, -1, 0, 1, 3):
        at = limit + held
        bid = math.log(f[at] / f[at + 1]) / kappa + base
        ask = math.log(f[at] / f[at - 1]) / kappa + base
        assert base + (2 * held + 1) / 2 * c == pytest.approx(bid, rel=0.05, abs=0.05 * base)
        assert base - (2 * held - 1) / 2 * c == pytest.approx(ask, rel=0.05, abs=0.05 * base)
