"""Descriptions against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.oracle import binance_writer as w
from tests.store.captures import capture, spot_session
from tidegate.model.event import Kind
from tidegate.model.time import MS
from tidegate.store.describe import describe, listing
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake

SPOT, USDM = "BTCUSDT.BINANCE", "BTCUSDT.BINANCE_USDM"


def test_spread_is_weighted_by_time_and_trades_are_summed(tmp_path: Path) -> None:
    frames = [
        (0, w.usdm_ticker(1, "100.0", "100.1", at=-5)), (10, w.usdm_ticker(2, "100.0", "100.5", at=5)), (20,
        w.usdm_ticker(3, "100.0", "100.2", at=15)), (50, w.usdm_ticker(4, "100.0", "100.1", at=45)), (60,
        w.usdm_trade(1, "100.1", "2.000", at=55)), (70, w.usdm_trade(2, "100.0", "1.000", seller=True,
        at=65)), (100, w.usdm_trade(3, "100.4", "1.000", at=95)),
    ]  # fmt: skip
    import_captures([capture(tmp_path / "a.gz", frames)], tmp_path / "lake")
    found = describe(Lake(tmp_path / "lake"), USDM)
    assert found.spread is not None
    assert found.spread.mean == pytest.approx((1 * 60 + 5 * 10 + 2 * 30) / 100)
    assert (found.spread.median, found.spread.p99, found.spread.widest) == (1, 5, 5)
    assert found.spread.one_tick == pytest.approx(0.6)
    assert found.trading is not None
    trading = found.trading
    assert (trading.count, trading.quantity, trading.bought, trading.largest) == (3, "4.000", 0.75, "2.000")
    assert (trading.first, trading.high, trading.low, trading.last) == ("100.1", "100.4", "100.0", "100.4")
    assert trading.vwap == pytest.approx((100.1 * 2 + 100 + 100.4) / 4)
    assert found.messages_per_second == pytest.approx(70)


def test_latency_gaps_and_listing_are_those_of_the_stream(tmp_path: Path) -> None:
    frames = spot_session()
    del frames[30:34]
    import_captures([capture(tmp_path / "a.gz", frames)], tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    events = np.concatenate(list(lake.open(SPOT)))
    found = describe(lake, SPOT)
    trades = events[events["kind"] == Kind.TRADE]
    delay = np.sort(trades["ts_recv"] - trades["ts_event"])
    assert found.delays["trade"]["count"] == len(trades)
    assert (found.delays["trade"]["min"], found.delays["trade"]["max"]) == (delay[0], delay[-1])
    assert found.delays["trade"]["p50"] == pytest.approx(delay[(len(delay) - 1) // 2], rel=0.01)
    assert "bookTicker" not in found.delays
    assert found.estimated == (events["kind"] == Kind.QUOTE).sum() + 5
    assert sum(share for _, share in found.histograms["trade"]) == pytest.approx(1)
    assert found.gaps == events["ts_recv"][events["flags"] & 4 != 0].tolist()
    assert len(found.gaps) == 1
    assert found.snapshots == lake.snapshots(SPOT)
    [line] = listing(lake)
    assert line.rows == {Kind(k).name: int((events["kind"] == k).sum()) for k in np.unique(events["kind"])}
    assert line.total == len(events)
    assert line.last_recv - line.first_recv < 200 * MS
    assert line.size == lake.parts(SPOT)[0].path.stat().st_size
