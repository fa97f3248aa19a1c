"""Folding the sampled ledger into curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_run import simulate

from tidegate.analytics.equity import at, curves, paths, regular_grid
from tidegate.analytics.tables import RunTables, make, names


def ledger(rows: list[tuple[int, str, str, float, float]]) -> RunTables:
    """Rows of (ts, strategy, instrument, realised, exposure)."""
    zero = [0.0] * len(rows)
    return RunTables(
        equity=make("equity", {
            "ts": [r[0] for r in rows], "strategy": [r[1] for r in rows], "account": ["a"] * len(rows),
            "instrument": [r[2] for r in rows], "position": zero, "mark": zero,
            "exposure": [r[4] for r in rows], "realised": [r[3] for r in rows], "unrealised": zero,
            "fees": [0.5] * len(rows), "funding": zero,
        })
    )  # fmt: skip


def test_samples_hold_until_the_next_and_are_zero_before_the_first():
    run = ledger(
        [
            (10, "x", "i", 1.0, 5.0),
            (20, "x", "j", 2.0, -7.0),
            (30, "x", "i", 4.0, 6.0),
            (30, "y", "i", 9.0, 1.0),
        ]
    )
    labels = names(run)
    lines = curves(paths(run.equity, labels), len(labels.strategies))
    assert lines.ts.tolist() == [10, 20, 30]
    assert lines.pnl.tolist() == [[0.5, 2.0, 5.0], [0.0, 0.0, 8.5]]
    assert lines.net.tolist() == [[5.0, -2.0, -1.0], [0.0, 0.0, 1.0]]
    assert lines.gross.tolist() == [[5.0, 12.0, 13.0], [0.0, 0.0, 1.0]]


def test_of_several_samples_with_one_stamp_the_last_counts():
    run = ledger([(10, "x", "i", 1.0, 0.0), (10, "x", "i", 3.0, 0.0)])
    lines = curves(paths(run.equity, names(run)), 1)
    assert lines.pnl.tolist() == [[2.5]]


def test_an_empty_ledger_gives_empty_curves():
    lines = curves([], 2)
    assert lines.ts.shape == (0,)
    assert lines.pnl.shape == (2, 0)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(-9, 9)), max_size=20),
    st.lists(st.integers(-5, 40), max_size=20),
)
def test_at_agrees_with_a_scan(samples: list[tuple[int, int]], when: list[int]):
    samples = sorted(samples, key=lambda s: s[0])
    ts = np.array([s[0] for s in samples], np.int64)
    values = np.array([float(s[1]) for s in samples])
    expected = []
    for t in when:
        last = -1.0
        for stamp, value in samples:
            if stamp <= t:
                last = float(value)
        expected.append(last)
    assert at(ts, values, np.array(when, np.int64), before=-1.0).tolist() == expected


def test_the_grid_is_regular_and_includes_an_end_that_lies_on_it():
    assert regular_grid(0, 30, 10).tolist() == [0, 10, 20, 30]
    assert regular_grid(0, 29, 10).tolist() == [0, 10, 20]
    with pytest.raises(ValueError, match="step is 0 ns"):
        regular_grid(0, 1, 0)


def test_the_simulated_ledger_adds_up_to_cash_and_marks():
    """A linear instrument's net P&L is cash from its fills, plus what is held at the mark, less fees."""
    run = simulate(seconds=60, instruments=2)
    labels = names(run)
    fills = run.fills.to_pylist()
    for path in paths(run.equity, labels):
        mine = [
            f for f in fills
            if f["strategy"] == labels.strategies[path.strategy]
            and f["instrument"] == labels.instruments[path.instrument]
        ]  # fmt: skip
        cash = sum(-f["side"] * f["value"] - f["fee"] for f in mine)
        assert path.pnl[-1] == pytest.approx(cash + path.position[-1] * path.mark[-1], abs=1e-6)
