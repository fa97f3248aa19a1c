"""Nanoseconds, and the text that stands for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.time import (
    DAY,
    HOUR,
    MINUTE,
    MS,
    SECOND,
    US,
    RealClock,
    SimulatedClock,
    day,
    duration,
    iso,
    parse,
)

moments = st.integers(-(10**18), 9 * 10**18)


@given(moments)
def test_a_time_survives_the_way_to_text_and_back(ts):
    assert parse(iso(ts)) == ts


@given(moments)
def test_the_day_is_the_date_of_the_text(ts):
    assert day(ts) == iso(ts)[:10]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-08-08", "2024-08-08T00:00:00.000000000Z"),
        ("2024-08-08T01:02:03", "2024-08-08T01:02:03.000000000Z"),
        ("2024-08-08T01:02:03.5+02:00", "2024-08-07T23:02:03.500000000Z"),
        ("2024-08-08T01:02:03,000000007", "2024-08-08T01:02:03.000000007Z"),
        ("2024-08-08T01:02:03.0123456789", "2024-08-08T01:02:03.012345678Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_iso_text_is_read_in_its_forms(text, same):
    assert iso(parse(text)) == same


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-08-08T25:00:00"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250us", 250 * US), ("250µs", 250 * US), ("100ms", 100 * MS), ("1.5s", 1500 * MS), ("1m", MINUTE),
        ("2min", 2 * MINUTE), ("0.5h", HOUR // 2), ("1d", DAY), ("7ns", 7), (42, 42), (" 3 s ", 3 * SECOND),
        ("9007199254740993ns", 9007199254740993), ("-1ms", -MS), ("1700000000.123456789s",
        1700000000123456789),
    ],
)  # fmt: skip
def test_durations_are_read_to_the_nanosecond(text, ns):
    assert duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1 fortnight", "nan s", "1.2.3s", "1e999999999s", "0x1s"])
def test_what_is_no_duration_is_an_error_that_shows_how(text):
    with pytest.raises(ValueError, match="is not a duration; write one like"):
        duration(text)


def test_a_simulated_clock_stands_where_it_was_put_and_never_runs_backwards():
    clock = SimulatedClock(5)
    assert clock.now() == 5
    clock.set(9)
    clock.set(9)
    assert clock.now() == 9
    with pytest.raises(ValueError, match="backwards: from 9 to 8"):
        clock.set(8)


def test_the_real_clock_is_the_machines():
    before = datetime.now(UTC).timestamp()
    assert before - 1 < RealClock().now() / SECOND < before + 60
