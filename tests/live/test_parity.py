"""One strategy, one capture, in the backtest and through the live services: the same orders, the same fills."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from live.parity_world import RATES, live

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import TS_RECV
from tidegate.model.time import SECOND
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.sim.virtual_time import run
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov
from tidegate.strategy.library.ema_cross import EmaCross
from tidegate.venue.sim.capture_files import load_capture

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LENGTH = 140 * SECOND
MODEL = VenueModel(fill="partial", entry_latency=(2_000_003,), response_latency=(1_400_001,))
"""Odd figures: at one instant, what comes first is the machine's business live, and a rule in the backtest."""


@cache
def market():
    capture = load_capture([SAMPLE])
    rows = capture.rows[capture.rows[:, TS_RECV] < capture.rows[0, TS_RECV] + LENGTH].copy()
    return capture.universe, rows, capture.max_delay


def maker():
    params = AvellanedaStoikov.Params(market="BTCUSDT.BINANCE_USDM", size=10, max_position=100)
    return AvellanedaStoikov("maker", 0, 0, params)


def trend():
    return EmaCross(
        "trend", 0, 0, EmaCross.Params(market="BTCUSDT.BINANCE", size=2000, interval="1s", short=False)
    )


def asked(recorder):
    """Every order: when and what was asked for, when the venue had it, and how it ended."""
    return [
        (key, r.command.ts, r.command.instrument, r.command.side, r.command.qty, r.command.price, r.ts_ack, r.ts_done,
         r.status, r.cum_qty)
        for key, r in sorted(recorder.orders.items())
    ]  # fmt: skip


def filled(recorder):
    return [
        (
            f.ts_venue,
            f.event.ts,
            f.event.cl_ord_id,
            f.event.last_qty,
            f.event.last_px,
            f.event.fee,
            f.event.maker,
        )
        for f in recorder.fills
    ]


@pytest.mark.parametrize(("make", "orders", "fills"), [(maker, 60, 40), (trend, 4, 4)])
def test_the_same_orders_and_fills_where_latencies_are_equal(make, orders, fills):
    universe, rows, max_delay = market()
    setup = Setup(
        universe=universe, sources=[Source([rows.copy()], None)], strategies=[make()], limits=unlimited(),
        venues={item.venue: MODEL for item in universe.instruments}, scopes=ScopeTable.simple(1), rates=RATES,
    )  # fmt: skip
    backtest = Backtest(setup).run()
    assert backtest.error is None, backtest.error
    here = run(live(universe, rows, max_delay, [make()], MODEL))
    assert len(asked(backtest.recorder)) >= orders
    assert len(filled(backtest.recorder)) >= fills
    assert filled(here.recorder) == filled(backtest.recorder)
    assert asked(here.recorder) == asked(backtest.recorder)
