"""Queue positions: each model's formula on figures a person can check, and every model on seeded levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import float64, int64
from oracle import queue as reference
from oracle.stage import BUY, SELL, buy, level, play, trade

from tidegate.kernel.jit import kernel
from tidegate.kernel.queue import (
    FRONT,
    QUEUE_MODELS,
    TRADED,
    behind_probability,
    queue_at_most,
    queue_depth,
    queue_executable,
    queue_join,
    queue_removed,
    queue_trade,
)

JOIN, TRADE, DEPTH, REMOVED, AT_MOST, EXECUTABLE = range(6)


@kernel(float64[:, ::1](int64[:, ::1], int64, float64))
def play_queue(ops, model, exponent):
    """Each operation's (front, traded, answer) after it."""
    out = np.zeros((len(ops), 3))
    q = np.zeros((1, 2))
    for n in range(len(ops)):
        op, a, b = ops[n, 0], ops[n, 1], ops[n, 2]
        if op == JOIN:
            queue_join(q, 0, a)
        elif op == TRADE:
            queue_trade(q, 0, a)
        elif op == DEPTH:
            queue_depth(q, 0, model, exponent, a, b)
        elif op == REMOVED:
            queue_removed(q, 0, a)
        elif op == AT_MOST:
            queue_at_most(q, 0, a)
        else:
            out[n, 2] = queue_executable(q, 0)
        out[n, 0], out[n, 1] = q[0, FRONT], q[0, TRADED]
    return out


@kernel(float64(int64, float64, float64, float64))
def probability(model, exponent, front, back):
    return behind_probability(model, exponent, front, back)


LN = math.log
BEHIND = [
    # model, n or the size of a lot, front, back, probability that a cancel is behind
    ("log", 1.0, 3.0, 1.0, LN(2) / (LN(2) + LN(4))),  # 1/3
    ("log2", 1.0, 3.0, 4.0, LN(5) / LN(8)),
    ("power", 1.0, 3.0, 1.0, 0.25),
    ("power", 2.0, 3.0, 1.0, 0.1),
    ("power2", 2.0, 3.0, 1.0, 1 / 16),
    ("power3", 2.0, 3.0, 1.0, 1 - 9 / 16),
    ("log", 0.5, 6.0, 2.0, LN(2) / (LN(2) + LN(4))),  # lots of a half: three ahead, one behind
    ("log2", 0.001, 3000.0, 4000.0, LN(5) / LN(8)),
    ("power", 2.0, 0.0, 5.0, 1.0),
    ("power3", 3.0, 4.0, 0.0, 0.0),
    ("log", 1.0, 7.0, 0.0, 0.0),
    # Nobody at all: a cancel cannot have been ahead.
    ("log", 1.0, 0.0, 0.0, 1.0),
    ("log2", 1.0, 0.0, 0.0, 1.0),
    ("power", 2.0, 0.0, 0.0, 1.0),
    ("power2", 2.0, 0.0, 0.0, 1.0),
    ("power3", 2.0, 0.0, 0.0, 1.0),
]


@pytest.mark.parametrize(("model", "exponent", "front", "back", "expected"), BEHIND)
def test_the_probability_that_a_cancel_was_behind(model, exponent, front, back, expected):
    assert probability(QUEUE_MODELS[model], exponent, front, back) == pytest.approx(expected, abs=1e-15)
    assert reference.behind(model, exponent, front, back) == pytest.approx(expected, abs=1e-15)


def fronts(model: str, exponent: float, *ops: tuple[int, ...]) -> list[float]:
    rows = np.array([(*op, *[0] * (3 - len(op))) for op in ops], np.int64)
    return play_queue(rows, QUEUE_MODELS[model], exponent)[:, 0].tolist()


def test_risk_averse_only_shrinks_with_the_level_itself():
    # Ten ahead. The level grows to 14 and falls to 11: who cancelled? Somebody behind. At 7 it must be 7.
    assert fronts("risk_averse", 0, (JOIN, 10), (DEPTH, 10, 14), (DEPTH, 14, 11), (DEPTH, 11, 7)) == [
        10,
        10,
        10,
        7,
    ]


def test_a_trade_moves_everybody_up_by_what_it_took():
    for model in QUEUE_MODELS:
        assert fronts(model, 2.0, (JOIN, 10), (TRADE, 4)) == [10, 6]


def test_a_decrease_that_a_trade_explains_is_no_cancel():
    # Ten ahead, ten behind. Four trade, the level falls by four: still six ahead.
    for model in ("log", "log2", "power", "power2", "power3"):
        steps = ((JOIN, 10), (DEPTH, 10, 20), (TRADE, 4), (DEPTH, 20, 16))
        assert fronts(model, 2.0, *steps)[-1] == 6


def test_the_power_model_shares_a_cancel_by_the_sizes_ahead_and_behind():
    # Ten ahead, ten behind, exponent 1: half of four cancelled lots were ahead.
    assert fronts("power", 1.0, (JOIN, 10), (DEPTH, 10, 20), (DEPTH, 20, 16))[-1] == 8
    # Thirty ahead, ten behind, exponent 2: a tenth of ten was behind, nine ahead.
    assert fronts("power", 2.0, (JOIN, 30), (DEPTH, 30, 40), (DEPTH, 40, 30))[-1] == pytest.approx(21)


def test_what_the_back_does_not_have_the_front_gives():
    # One lot behind of 31, exponent 0.1: p = 0.416 of twenty lots would be 8.3, but only one is there.
    p = 1 / (1 + 30**0.1)
    assert p * 20 > 1
    after = fronts("power", 0.1, (JOIN, 30), (DEPTH, 30, 31), (DEPTH, 31, 11))[-1]
    assert after == pytest.approx(30 - 19)


def test_the_front_is_never_more_than_the_level():
    for model in ("log", "log2", "power", "power2", "power3", "risk_averse", "l3_fifo"):
        assert fronts(model, 2.0, (JOIN, 30), (DEPTH, 30, 3))[-1] <= 3
        assert fronts(model, 2.0, (JOIN, 30), (AT_MOST, 5))[-1] == 5
        assert fronts(model, 2.0, (JOIN, 3), (AT_MOST, 5))[-1] == 3


def test_l3_counts_a_trade_and_its_removal_once():
    assert fronts("l3_fifo", 0, (JOIN, 10), (TRADE, 4), (REMOVED, 4), (REMOVED, 2)) == [10, 6, 6, 4]
    assert fronts("l3_fifo", 0, (JOIN, 10), (TRADE, 4), (REMOVED, 5))[-1] == 5
    assert fronts("l3_fifo", 0, (JOIN, 10), (REMOVED, 40))[-1] == 0


@pytest.mark.parametrize(
    ("front", "lots"), [(0.0, 0), (-0.4, 0), (-0.5, 1), (-0.6, 1), (-3.0, 3), (-3.5, 4), (2.0, 0)]
)
def test_lots_past_the_front_are_whole(front, lots):
    q = np.array([[front, 0.0]])
    assert executable(q) == lots
    assert q[0, FRONT] == (0.0 if lots else front)


@kernel(int64(float64[:, ::1]))
def executable(q):
    return queue_executable(q, 0)


@pytest.mark.parametrize("model", QUEUE_MODELS)
@pytest.mark.parametrize("exponent", [0.7, 2.0, 3.0])
def test_every_model_agrees_with_its_formula_on_a_seeded_level(model, exponent):
    rng = np.random.default_rng(hash_of(model) + int(10 * exponent))
    n = 20_000
    ops = np.zeros((n, 3), np.int64)
    ops[:, 0] = rng.choice(
        [JOIN, TRADE, DEPTH, REMOVED, AT_MOST, EXECUTABLE], n, p=[0.03, 0.2, 0.5, 0.1, 0.01, 0.16]
    )
    ops[:, 1:] = rng.integers(0, 80, (n, 2))
    ops[0] = (JOIN, 40, 0)
    got = play_queue(ops, QUEUE_MODELS[model], exponent)
    place = reference.Place(0.0)
    expected = []
    for op, a, b in ops.tolist():
        answer = 0
        if op == JOIN:
            place = reference.Place(float(a))
        elif op == TRADE:
            reference.traded(place, a)
        elif op == DEPTH:
            reference.level_changed(place, model, exponent, a, b)
        elif op == REMOVED:
            reference.removed(place, a)
        elif op == AT_MOST:
            reference.at_most(place, a)
        else:
            answer = reference.executable(place)
        expected.append((place.front, place.traded, float(answer)))
    assert np.array(expected).tobytes() == got.tobytes()


def hash_of(name: str) -> int:
    return sum(name.encode())


def test_a_model_named_for_a_venue_is_the_one_its_orders_move_by():
    # Ten ahead, ten behind, four cancelled.
    feed = (
        level(1, BUY, 99, 10),
        level(1, SELL, 101, 5),
        buy(2, 1, 99),
        level(3, BUY, 99, 20),
        level(4, BUY, 99, 16),
    )
    expected = {
        "risk_averse": 10.0, "power": 8.0, "power2": 8.0, "power3": 8.0,
        "log": 8.0, "log2": 10 - 4 * (1 - LN(1.01) / LN(1.02)), "l3_fifo": 10.0,  # a lot is 0.001
    }  # fmt: skip
    for model, front in expected.items():
        assert play(*feed, queue=model, exponent=1.0).front(1) == pytest.approx(front), model


def test_a_fraction_ahead_counts_to_the_nearest_lot():
    # POWER with exponent 1, ten ahead and ten behind, five cancelled: 7.5 ahead. A trade of 8 leaves half a lot: one.
    feed = (
        level(1, BUY, 99, 10),
        level(1, SELL, 101, 5),
        buy(2, 9, 99),
        level(3, BUY, 99, 20),
        level(4, BUY, 99, 15),
    )
    played = play(*feed, trade(5, 99, 8, SELL), queue="power", exponent=1.0)
    assert played.lines[-1] == "5 TRADE 1: 1 at 99 maker, 8 left"
