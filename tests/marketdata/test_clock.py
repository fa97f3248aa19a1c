"""The recorder's clock: known offsets and drifts put into made-up traffic, and found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.marketdata.binance_shapes import (
    DEPTH,
    M_EVENT,
    M_KIND,
    M_RECV,
    M_TRADED,
    MESSAGE_WORDS,
    SNAPSHOT,
)
from tidegate.marketdata.clock import ClockFit, LagMinima, fit
from tidegate.model.event import Words
from tidegate.model.time import MS, SECOND

START = 1_723_161_255 * SECOND


def traffic(
    seconds: int, offset: int, ppm: float, seed: int = 0, floor: int = 2 * MS, rate: int = 100
) -> Words:
    """Headers of messages whose latency is `floor` and more, stamped by a clock with this offset and drift."""
    rng = np.random.default_rng(seed)
    n = seconds * rate
    sent = START + np.sort(rng.integers(0, seconds * SECOND, n))
    latency = floor + rng.exponential(3 * MS, n).astype(np.int64)
    recv = sent + latency + offset + ((sent - START) * ppm * 1e-6).astype(np.int64)
    messages = np.zeros((n, MESSAGE_WORDS), np.int64)
    messages[:, M_KIND], messages[:, M_RECV] = DEPTH, np.maximum.accumulate(recv)
    messages[:, M_EVENT] = sent // MS * MS
    return messages


def fitted(messages: Words, floor: int = 2 * MS) -> ClockFit:
    minima = LagMinima()
    minima.add(messages)
    return fit(*minima.points(), floor)


@pytest.mark.parametrize(
    ("offset", "ppm"), [(-1_274_000_000, -5.5), (0, 0.0), (40 * MS, 80.0), (3 * SECOND, -20.0)]
)
def test_offset_and_drift_are_found(offset: int, ppm: float) -> None:
    messages = traffic(300, offset, ppm)
    clock = fitted(messages)
    assert clock.drift_ppm == pytest.approx(ppm, abs=2.0)
    for at in (10, 150, 290):
        true = offset + at * ppm * 1000
        recv = START + at * SECOND + int(true)
        # Stamps in whole ms make every latency look up to 1 ms longer.
        assert recv - clock.correct(recv) == pytest.approx(true, abs=1.0 * MS)


def test_no_latency_comes_out_below_the_floor_by_more_than_the_slack_within_a_second() -> None:
    messages = traffic(120, -SECOND, 10.0)
    clock = fitted(messages)
    latency = [clock.correct(int(m[M_RECV])) - int(m[M_EVENT]) for m in messages]
    assert min(latency) >= 2 * MS - 20_000
    assert min(latency) <= 2 * MS + 20_000


def test_a_slowly_bending_clock_is_followed() -> None:
    messages = traffic(600, 0, 0.0)
    bend = (2e-12 * (messages[:, M_RECV] - START).astype(float) ** 2 / SECOND * 1e0).astype(np.int64)
    messages[:, M_RECV] += bend
    clock = fitted(messages)
    residual = [
        clock.correct(int(m[M_RECV])) + int(b) - int(m[M_RECV])
        for m, b in zip(messages[::500], bend[::500], strict=True)
    ]
    assert max(residual) - min(residual) < 0.6 * MS


def test_a_busy_minute_is_not_taken_for_drift() -> None:
    messages = traffic(300, 0, 0.0)
    busy = (messages[:, M_RECV] > START + 100 * SECOND) & (messages[:, M_RECV] < START + 160 * SECOND)
    messages[busy, M_RECV] += 30 * MS
    clock = fitted(messages)
    middle = START + 130 * SECOND
    assert middle - clock.correct(middle) < 1.2 * MS


def test_wrong_stamps_are_left_out_and_counted() -> None:
    messages = traffic(60, 0, 0.0)
    messages[[500, 3000], M_EVENT] += 10 * SECOND
    clock = fitted(messages)
    assert clock.rejected == 2
    assert abs(clock.offset) < 1.2 * MS


def test_snapshots_and_frames_without_time_say_nothing_of_the_clock() -> None:
    messages = traffic(10, 0, 0.0)
    messages[:, M_KIND] = SNAPSHOT
    minima = LagMinima()
    minima.add(messages)
    messages[:, M_KIND], messages[:, M_EVENT] = DEPTH, 0
    minima.add(messages)
    clock = fit(*minima.points())
    assert clock.offset == 0
    assert clock.correct(START) == START


def test_the_later_of_two_stamps_bounds_the_latency() -> None:
    messages = traffic(20, 0, 0.0)
    messages[:, M_TRADED] = messages[:, M_EVENT] - 8 * MS
    assert abs(fitted(messages).offset) < 1.2 * MS


def test_minima_of_files_merge_to_those_of_their_union() -> None:
    a, b = traffic(30, 0, 5.0, seed=1), traffic(30, 0, 5.0, seed=2)
    apart, whole = LagMinima(), LagMinima()
    apart.add(a)
    other = LagMinima()
    other.add(b)
    apart.merge(other)
    for half in (b[:1000], a, b[1000:]):
        whole.add(half)
    assert [p.tolist() for p in apart.points()] == [p.tolist() for p in whole.points()]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20 * SECOND), min_size=1, max_size=30))
def test_correction_keeps_the_order_of_time(moments: list[int]) -> None:
    clock = fitted(traffic(20, -SECOND, -50.0, rate=20))
    times = sorted(START - SECOND + moment for moment in moments)
    corrected = [clock.correct(ts) for ts in times]
    assert corrected == sorted(corrected)


def test_a_negative_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be below 0"):
        fit(np.zeros(0, np.int64), np.zeros(0, np.int64), -1)
