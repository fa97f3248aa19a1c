"""P&L in parts: by hand, and summing to the ledger's net on simulated runs."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_run import simulate

from tidegate.analytics.attribution import attribute, mid_move, spread_capture
from tidegate.analytics.run_summary import ADVERSE_HORIZON, summarise


def test_a_maker_s_buy_by_hand():
    """Bought 2 at 99 under a mid of 100 that then fell to 97 and ended at 98; fee 0.1."""
    side, price, mid, value = np.array([1]), np.array([99.0]), np.array([100.0]), np.array([198.0])
    spread = spread_capture(side, price, mid, value, False)
    moved = mid_move(side, price, mid, np.array([97.0]), value, False)
    assert spread.tolist() == pytest.approx([2.0])
    assert moved.tolist() == pytest.approx([-6.0])
    parts = attribute(spread, moved, np.ones(1), trading=2 * (98 - 99), fees=0.1, funding=0.05)
    assert (parts.spread, parts.adverse, parts.holding) == pytest.approx((2.0, -6.0, 2.0))
    assert parts.net == pytest.approx(-2 - 0.1 + 0.05)


def test_an_inverse_contract_is_split_in_coins():
    """100 contracts of 100 USD bought at 50,000 under a mid of 50,100 that moved to 50,200."""
    args = (np.array([1]), np.array([50_000.0]), np.array([50_100.0]))
    value = np.array([10_000 / 50_000])
    assert spread_capture(*args, value, True).tolist() == pytest.approx([10_000 * (1 / 50_000 - 1 / 50_100)])
    moved = mid_move(*args, np.array([50_200.0]), value, True)
    assert moved.tolist() == pytest.approx([10_000 * (1 / 50_100 - 1 / 50_200)])


def test_without_a_rate_or_a_mid_the_parts_are_left_blank():
    parts = attribute(np.array([np.nan]), np.array([1.0]), np.ones(1), 5.0, 1.0, 0.0)
    assert (parts.spread, parts.adverse, parts.holding) == (None, None, None)
    assert parts.net == 4.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_parts_sum_to_net_for_every_strategy_and_strategies_to_the_total(seed: int):
    summary, _ = summarise(simulate(seed=seed, seconds=60))
    rows = dict(summary.attribution)
    total = rows.pop("Total")
    for name, parts in rows.items():
        together = parts.spread + parts.adverse + parts.holding - parts.fees + parts.funding
        assert together == pytest.approx(parts.net)
        row = next(r for r in summary.strategies if r.name == name)
        assert parts.net == pytest.approx(row.net)
    for part in ("spread", "adverse", "holding", "fees", "net"):
        assert getattr(total, part) == pytest.approx(sum(getattr(p, part) for p in rows.values()))


def test_holding_is_what_positions_made_after_the_horizon_fill_by_fill():
    """Linear instruments: Σ s (last mark − mid 10 s later) × quantity, by a loop over fills."""
    run = simulate(seed=4, seconds=60, instruments=2)
    summary, data = summarise(run)
    touch = run.touch.to_pylist()
    by = {name: [(t["ts"], (t["bid"] + t["ask"]) / 2) for t in touch if t["instrument"] == name]
          for name in summary.names.instruments}  # fmt: skip
    marks = {(r["strategy"], r["instrument"]): r["mark"] for r in run.equity.to_pylist()}
    expected = 0.0
    for f in run.fills.to_pylist():
        when, series = f["ts_venue"] + ADVERSE_HORIZON, by[f["instrument"]]
        later = next((mid for ts, mid in reversed(series) if ts <= when), None)
        if when > series[-1][0]:
            later = series[-1][1]
        expected += f["side"] * (marks[f["strategy"], f["instrument"]] - later) * f["qty"]
    assert dict(summary.attribution)["Total"].holding == pytest.approx(expected, abs=1e-6)
    assert len(data.fills) == run.fills.num_rows
