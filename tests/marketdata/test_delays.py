"""Latency distributions against sorted samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.marketdata.delays import BUCKETS, Delays, edges


def of(*values: int) -> Delays:
    delays = Delays()
    delays.add(np.array(values, np.int64))
    return delays


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**61), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantiles_are_right_to_one_in_a_hundred_and_twenty_eight(values: list[int], q: float) -> None:
    exact = sorted(values)[max(1, int(np.ceil(q * len(values)))) - 1]
    assert of(*values).quantile(q) == pytest.approx(exact, rel=1 / 127, abs=1)


@settings(deadline=None)
@given(st.integers(0, 2**62))
def test_every_value_lies_in_its_bucket(value: int) -> None:
    [number] = np.flatnonzero(of(value).counts)
    low, high = edges(int(number))
    assert low <= value <= high


def test_buckets_follow_one_another_without_holes() -> None:
    for number in range(BUCKETS - 1):
        assert edges(number)[1] + 1 == edges(number + 1)[0]


def test_extremes_are_exact_over_several_batches() -> None:
    delays = of(5, 7)
    delays.add(np.array([1_000_003, -4]))
    delays.add(np.array([], np.int64))
    assert (delays.least, delays.most, delays.count) == (-4, 1_000_003, 4)
    summary = delays.summary()
    assert (summary["count"], summary["min"], summary["max"]) == (4, -4, 1_000_003)


def test_a_histogram_holds_everything_once() -> None:
    shares = of(900, 1_500_000, 1_700_000, 30_000_000_000).histogram()
    assert sum(share for _, share in shares) == pytest.approx(1.0)
    assert dict(shares)[1000] == dict(shares)[2**62] == 0.25
    assert dict(shares)[2_000_000] == 0.5


def test_nothing_has_no_quantiles() -> None:
    assert Delays().quantile(0.5) == 0
    assert Delays().histogram() == []
