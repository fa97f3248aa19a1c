"""A flood on a lane's log is seen by the subject it comes on; what waited for the log is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.execution.flood import FACTOR, LEAST, REST, FloodWatch
from tidegate.model.messages import Message, Tick
from tidegate.model.time import MS, SECOND
from tidegate.model.wire import pack, peek
from tidegate.risk.pace import Pace

PACE = Pace(100.0, 100.0, 100.0, 100.0)
START = 1_700_000_000 * SECOND
MOST = PACE.burst * FACTOR / 2 + LEAST


def watch(pace: Pace = PACE) -> tuple[FloodWatch, list[tuple[int, str]]]:
    told: list[tuple[int, str]] = []
    return FloodWatch(lambda strategy: pace, lambda strategy, text: told.append((strategy, text))), told


def entry(count: int, ts: int) -> bytes:
    messages: list[Message] = [Tick(ts)] * count
    return pack(messages, ts=ts)


def test_a_flood_is_told_once_and_again_after_a_rest():
    flood, told = watch()
    for n in range(20_000):  # a second of 20,000 a second
        flood.saw("lane.0.cmd.7", entry(1, START + n * 50_000), START + n * 50_000)
    assert told == [(7, "its commands come faster than 4 times its limits of 200 a second allow")]
    for _ in range(1000):
        flood.saw("lane.0.cmd.7", entry(1, START + REST + SECOND), START + REST + SECOND)
    assert len(told) == 2


def test_it_is_seen_within_milliseconds():
    flood, told = watch()
    n = 0
    while not told:
        n += 1
        flood.saw("lane.0.cmd.7", entry(1, START + n * 50_000), START + n * 50_000)
    assert n * 50_000 < 30 * MS


def test_many_commands_in_one_entry_count_each():
    flood, told = watch()
    flood.saw("lane.0.cmd.7", entry(int(MOST) + 2, START), START)
    assert len(told) == 1


def test_each_strategy_by_itself_and_nobody_elses_entries():
    flood, told = watch()
    for subject in ("lane.0.cmd", "lane.0.rpt", "lane.0.sys", "lane.0.cmd.x", "evt.0"):
        for _ in range(2000):
            flood.saw(subject, entry(1, START), START)
    for strategy in range(20):
        for _ in range(int(MOST) - 1):
            flood.saw(f"lane.0.cmd.{strategy}", entry(1, START), START)
    assert told == []


def test_what_waited_while_the_log_was_away_is_no_flood():
    flood, told = watch()
    flood.saw("lane.0.cmd.7", entry(1, START), START)
    back = START + 60 * SECOND
    for n in range(60 * 400):  # a minute at twice its limits, all at once
        flood.saw("lane.0.cmd.7", entry(1, START + n * SECOND // 400), back)
    assert told == []


def test_an_entry_that_cannot_be_read_counts_as_one():
    flood, told = watch()
    for _ in range(int(MOST) + 2):
        flood.saw("lane.0.cmd.7", b"\xff", START)
    assert len(told) == 1


def test_without_limits_nothing_is_a_flood():
    flood, told = watch(Pace(float("inf"), float("inf"), float("inf"), float("inf")))
    for n in range(5000):
        flood.saw("lane.0.cmd.7", entry(100, START + n // 100), START + n // 100)
    assert told == []


@given(st.lists(st.tuples(st.integers(0, 20 * MS), st.integers(-10 * SECOND, 10 * SECOND)), max_size=600))
def test_false_stamps_gain_nothing(writes):
    """Whatever the stamps say, no more passes than honest ones of the same real time would let through."""
    flood, told = watch()
    now, count = START, 0
    flood.saw("lane.0.cmd.7", entry(0, START), START)
    for gap, lie in writes:
        now += gap
        count += 5
        flood.saw("lane.0.cmd.7", entry(5, now + lie), now)
        if count > MOST + PACE.total * FACTOR * (now - START) / SECOND + 1:
            assert told
            return


@given(st.integers(0, 70_000), st.integers(0, 1 << 62))
def test_an_envelope_is_counted_without_reading_it(count, ts):
    assert peek(entry(count, ts)) == (count, ts)
