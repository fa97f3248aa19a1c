"""Numbers and times in words."""

from __future__ import annotations

import math

import pytest

from tidegate.model.time import DAY, HOUR, MINUTE, MS, SECOND, US
from tidegate.report.format import (
    clock,
    duration,
    moment,
    money_decimals,
    number,
    percent,
    plural,
    significant,
    window,
)

START = 1_723_075_200 * SECOND


@pytest.mark.parametrize(
    ("value", "decimals", "plus", "text"),
    [
        (1234.5, 2, False, "1,234.50"),
        (-1234.5, 0, False, "−1,234"),
        (3.0, 1, True, "+3.0"),
        (-0.001, 2, True, "0.00"),
        (0.0, 2, True, "0.00"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "–"),
        (-math.inf, 2, False, "–"),
    ],
)
def test_numbers(value: float | None, decimals: int, plus: bool, text: str):
    assert number(value, decimals, plus) == text


def test_significant_digits_at_any_scale():
    assert [significant(v) for v in (0.02, 61_250.125, 12_345_678.0, 0.0, -1e-9, None)] == [
        "0.02", "61,250.1", "12,345,678", "0", "−0.000000001", "–",
    ]  # fmt: skip
    assert significant(4.6, 3, trim=False) == "4.60"


def test_shares_and_words():
    assert (percent(0.1234), percent(1.0, 0), percent(None)) == ("12.3 %", "100 %", "–")
    assert (plural(1, "fill"), plural(1200, "fill"), plural(0, "strategy", "strategies")) == (
        "1 fill", "1,200 fills", "0 strategies",
    )  # fmt: skip


def test_amounts_of_one_column_share_their_decimals():
    assert money_decimals([3.0, 999_999.0]) == 2
    assert money_decimals([2e6]) == 0
    assert money_decimals([0.0123, None, math.nan]) == 5
    assert money_decimals([]) == 2


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 s"), (850, "850 ns"), (1.5 * US, "1.5 µs"), (100 * MS, "100 ms"), (2.742 * SECOND, "2.74 s"),
        (MINUTE, "1 min"), (5 * MINUTE, "5 min"), (61 * SECOND, "1 min 1 s"),
        (HOUR + 12 * MINUTE, "1 h 12 min"),
        (2 * DAY + 4 * HOUR, "2 d 4 h"), (400 * DAY, "400 d"),
        (-3 * MS, "−3 ms"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_durations(ns: float | None, text: str):
    assert duration(ns) == text


def test_times_are_utc():
    assert moment(START + 1) == "2024-08-08 00:00:00"
    assert moment(START + SECOND - 1) == "2024-08-08 00:00:01"
    assert clock(START + 12_345 * MS) == "00:00:12.3"


def test_a_window_names_its_day_once():
    assert window(START, START + 5 * MINUTE - MS) == "2024-08-08 00:00:00 to 00:05:00 UTC"
    assert window(START, START + DAY) == "2024-08-08 00:00:00 to 2024-08-09 00:00:00 UTC"
