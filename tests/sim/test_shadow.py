"""A shadow is a backtest that is fed as the market moves: the same orders, the same fills, and nothing in any lane."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tidegate.kernel.replay_engine import VenueModel
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.event import META, TS_RECV
from tidegate.model.messages import Mark, NewOrder, OrderEvent
from tidegate.model.order import ExecType
from tidegate.model.time import SECOND
from tidegate.model.wire import decode
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.shadow import ShadowService, ShadowSetup, subject
from tidegate.sim.stream import Source
from tidegate.sim.virtual_time import VirtualClock, run
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov
from tidegate.strategy.strategy import Strategy
from tidegate.venue.sim.capture_files import load_capture

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LENGTH = 60 * SECOND
RATES = {"BTC": "60000", "USD": "1"}
MODEL = VenueModel(
    fill="partial", entry_latency=(1_500_000, 2_000_000, 4_000_000), response_latency=(1_400_000,)
)


@cache
def market():
    capture = load_capture([SAMPLE])
    rows = capture.rows[capture.rows[:, TS_RECV] < capture.rows[0, TS_RECV] + LENGTH].copy()
    return capture.universe, rows, capture.max_delay


def maker():
    return AvellanedaStoikov(
        "maker", 0, 0, AvellanedaStoikov.Params(market="BTCUSDT.BINANCE_USDM", size=10, max_position=100)
    )


def runs(rows):
    """What came at once of one instrument, together."""
    instruments = rows[:, META] & 0xFFFF_FFFF
    cuts = np.flatnonzero(np.diff(rows[:, TS_RECV]) | np.diff(instruments)) + 1
    return [(int(p[0, TS_RECV]), int(p[0, META] & 0xFFFF_FFFF), p) for p in np.split(rows, cuts)]


async def shadowed(strategy, positions=None, state=None, seconds=LENGTH // SECOND):
    universe, rows, max_delay = market()
    loop = asyncio.get_running_loop()
    clock = VirtualClock(loop, int(rows[0, TS_RECV]) - SECOND)
    server = MemoryServer(1, clock=clock, log=declared(1))
    feed, listener, heard = server.client("feed"), server.client("listener"), []
    for item in universe.instruments:
        feed.serve(f"snap.{item.venue}.{item.symbol}", lambda data: b"")
    listener.subscribe(subject("maker"), lambda _, data: heard.append(decode(data)))
    scopes = ScopeTable.simple(1)
    setup = ShadowSetup(
        universe, Gate(universe, scopes, unlimited(), base_currency="USDT", fx=RATES), Ledger(universe, fx=RATES),
        {item.venue: MODEL for item in universe.instruments}, positions or {}, max_delay=max_delay,
    )  # fmt: skip
    service = ShadowService("maker", strategy, setup, server.client("shadow"), clock, state)
    await service.start()
    end = int(rows[0, TS_RECV]) + seconds * SECOND
    for received, instrument, piece in runs(rows):
        if received > end:
            break
        if received > clock.now():
            await asyncio.sleep((received - clock.now()) / 1e9)
        item = universe[instrument]
        feed.publish(f"md.{item.venue}.{item.symbol}", piece.tobytes())
    await asyncio.sleep(0.2)
    health = service.health()
    await service.stop()
    assert [e.seq for e in heard] == list(range(1, len(heard) + 1))
    durable = sum(len(stream.entries) for stream in server.streams.values())
    return [m for envelope in heard for m in envelope.messages], health, durable


def fills(events):
    return [
        (e.ts, e.cl_ord_id, e.side, e.last_qty, e.last_px, e.maker)
        for e in events
        if type(e) is OrderEvent and e.exec_type is ExecType.TRADE and e.cl_ord_id
    ]


def test_it_does_what_the_backtest_does_and_leaves_no_trace_in_the_log():
    universe, rows, max_delay = market()
    setup = Setup(
        universe=universe, sources=[Source([rows.copy()], None, max_delay=max_delay)], strategies=[maker()],
        limits=unlimited(), venues={item.venue: MODEL for item in universe.instruments}, scopes=ScopeTable.simple(1),
        rates=RATES,
    )  # fmt: skip
    events = []
    result = Backtest(setup, sink=lambda messages: events.extend(messages)).run()
    assert result.error is None
    said, health, durable = run(shadowed(maker()))
    assert health["ok"]
    until = max(m.ts for m in said)
    want = [f for f in fills(events) if f[0] <= until]
    assert len(want) >= 15
    assert fills(said) == want
    asked = [(m.ts, m.cmd_id, m.side, m.qty, m.price) for m in said if type(m) is NewOrder]
    assert asked == [
        (m.ts, m.cmd_id, m.side, m.qty, m.price) for m in events if type(m) is NewOrder and m.ts <= until
    ]
    assert sum(type(m) is Mark for m in said) > 10
    assert durable == 0


class Holder(Strategy):
    """Sells what it finds itself holding, once."""

    def on_start(self):
        self.m = self.market("BTCUSDT.BINANCE_USDM")
        self.loaded = getattr(self, "loaded", None)
        self.subscribe_quotes(self.m)

    def load_state(self, state):
        self.loaded = state["was"]

    def on_quote(self, quote):
        if self.m.position > 0 and not self.m.orders:
            self.m.sell(self.m.position)


def test_it_begins_with_what_the_live_version_holds_and_kept():
    strategy = Holder("maker", 0, 0, Holder.Params())
    said, health, _ = run(shadowed(strategy, {1: 25}, {"was": 7}, seconds=5))
    assert strategy.loaded == 7
    moved = [m for m in said if type(m) is OrderEvent and m.exec_type is ExecType.TRADE]
    assert (moved[0].cl_ord_id, moved[0].last_qty) == (0, 25)
    assert sum(m.side.sign * m.last_qty for m in moved) == 0
    assert not health["strategies"]["maker"]["positions"]


@pytest.mark.parametrize("where", ["on_start", "on_quote", "load_state"])
def test_an_exception_stops_the_shadow_and_is_told(where):
    class Broken(Holder):
        pass

    def broken(self, *_):
        raise RuntimeError("no")

    setattr(Broken, where, broken)
    _, health, _ = run(shadowed(Broken("maker", 0, 0, Broken.Params()), {}, {"was": 1}, seconds=3))
    assert health["why"] == "RuntimeError: no"
    assert not health["ok"]
