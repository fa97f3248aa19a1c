"""The micro-price against a simulated book whose future is known."""

import numpy as np
import pytest

from tidegate.strategy.microprice import MicroPrice, book_imbalance

BINS = 4


def chain(n, seed=7, drift=0.5):
    """Quotes of a one-tick market: the imbalance wanders over four bins; from an end bin the mid may move that way
    and the imbalance starts afresh. Yields (bid, bid_qty, ask, ask_qty)."""
    rng = np.random.default_rng(seed)
    bid, cell = 1000, 1
    sizes = [(10, 90), (35, 65), (65, 35), (90, 10)]
    for _ in range(n):
        yield (bid, sizes[cell][0], bid + 1, sizes[cell][1])
        if cell in (0, 3) and rng.random() < drift:
            bid += 1 if cell == 3 else -1
            cell = int(rng.integers(1, 3))
        else:
            cell = min(3, max(0, cell + (1 if rng.random() < 0.5 else -1)))


def expected_moves(drift=0.5):
    """E[future mid − mid] by cell of `chain`, solved from its definition, by hand."""
    # After a move the chain is back in the middle, symmetric: what follows has mean 0. So G is the probability
    # weight of leaving upwards less downwards: u(0..3) with u3 = d + (1−d)(u2+u3)/2, u1 = (u0 + u2)/2, u3 = −u0 …
    a = np.array(
        [
            [1 - (1 - drift) / 2, -(1 - drift) / 2, 0, 0],
            [-0.5, 1, -0.5, 0],
            [0, -0.5, 1, -0.5],
            [0, 0, -(1 - drift) / 2, 1 - (1 - drift) / 2],
        ]
    )
    return np.linalg.solve(a, [-drift, 0, 0, drift])


def learned(n=60_000, **kwargs):
    micro = MicroPrice(bins=BINS, spreads=1, **kwargs)
    for quote in chain(n):
        micro.add(*quote)
    micro.fit()
    return micro


def test_the_adjustment_is_the_expected_future_move_of_the_mid():
    micro, truth = learned(), expected_moves()
    sizes = [(10, 90), (35, 65), (65, 35), (90, 10)]
    found = [micro.adjustment(1000, b, 1001, a) for b, a in sizes]
    assert found == pytest.approx(list(truth), abs=0.02)


def test_the_adjustment_agrees_with_the_average_of_simulated_futures():
    micro = learned()
    quotes = list(chain(60_000, seed=11))
    mids = np.array([(q[0] + q[2]) / 2 for q in quotes])
    ahead = 200
    for bid_qty, ask_qty in ((90, 10), (65, 35)):
        at = [k for k in range(len(quotes) - ahead) if quotes[k][1] == bid_qty]
        moves = mids[np.array(at) + ahead] - mids[at]
        error = moves.std() / np.sqrt(len(at) / ahead)
        assert abs(moves.mean() - micro.adjustment(1000, bid_qty, 1001, ask_qty)) < 3 * error


def test_the_adjustment_mirrors_between_the_sides():
    micro = learned(20_000)
    up, down = micro.adjustment(1000, 90, 1001, 10), micro.adjustment(1000, 10, 1001, 90)
    assert up > 0
    assert up == pytest.approx(-down, abs=1e-9)


def test_wider_spreads_are_states_of_their_own_up_to_the_widest():
    micro = MicroPrice(bins=BINS, spreads=2)
    assert micro.cell(1000, 50, 1001, 50) == 2
    assert micro.cell(1000, 50, 1002, 50) == BINS + 2
    assert micro.cell(1000, 50, 1009, 50) == BINS + 2
    assert micro.cell(1000, 100, 1001, 0) == BINS - 1


def test_a_quote_without_a_side_breaks_the_chain_and_adjusts_nothing():
    micro = MicroPrice(bins=BINS, spreads=1)
    micro.add(1000, 10, 1001, 90)
    micro.add(1000, 0, 1001, 90)
    micro.add(1005, 10, 1006, 90)
    assert micro.steps == 0
    assert micro.adjustment(1000, 0, 1001, 5) == 0.0


def test_before_a_fit_or_with_too_little_data_there_is_no_adjustment():
    micro = MicroPrice(bins=BINS, spreads=1)
    for _ in range(3):
        micro.add(1000, 10, 1001, 90)
    micro.fit()
    assert micro.adjustment(1000, 10, 1001, 90) == 0.0


def test_old_counts_fade():
    micro = MicroPrice(bins=BINS, spreads=1, memory=100)
    for quote in chain(1_000):
        micro.add(*quote)
    counted = sum(map(sum, micro.state()["_stay"])) + sum(map(sum, micro.state()["_leave"]))
    assert counted < 2 * 2 * 100 + 10


def test_the_micro_price_survives_a_restart():
    first, second = learned(5_000), MicroPrice(bins=BINS, spreads=1)
    second.restore(first.state())
    assert second.adjustment(1000, 90, 1001, 10) == first.adjustment(1000, 90, 1001, 10)
    second.fit()
    assert second.adjustment(1000, 90, 1001, 10) == pytest.approx(first.adjustment(1000, 90, 1001, 10))


def test_book_imbalance_weighs_levels_by_their_distance():
    bids, asks = [(100, 30), (98, 50)], [(101, 10)]
    assert book_imbalance(bids, asks) == pytest.approx((80 - 10) / 90)
    weight = np.exp(-0.5 * 2)
    assert book_imbalance(bids, asks, 0.5) == pytest.approx((30 + 50 * weight - 10) / (40 + 50 * weight))
    assert book_imbalance([], []) == 0.0
    assert book_imbalance(bids, []) == 1.0
