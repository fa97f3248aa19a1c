"""A live run folded again: the tables of a report follow from the lanes' logs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.log.base import Entry
from tidegate.model.messages import LaneEpoch, Mark, NewOrder, Report
from tidegate.model.order import ExecType, OrdType, Side
from tidegate.model.time import SECOND
from tidegate.model.wire import pack
from tidegate.report.html import render
from tidegate.sim.live_run import LiveRun
from tidegate.world import World

START = 1_723_161_300 * SECOND
CONFIG = """
[data]
lake = "lake"
instruments = ["BTCUSDT.BINANCE_USDM"]
[accounts.one]
capital = "1000000"
[strategies.s]
type = "ema_cross"
account = "one"
[strategies.s.params]
market = "BTCUSDT.BINANCE_USDM"
size = 10
[risk.firm]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    from tidegate import world as module
    from tidegate.marketdata.binance_instruments import BINANCE
    from tidegate.model.instrument import Universe
    from tidegate.risk.limits import unlimited

    (item,) = [item for item in BINANCE if item.id == "BTCUSDT.BINANCE_USDM"]
    monkeypatch.setattr(module.configuration, "universe_of", lambda config, path: Universe([item]))
    path = Path(tmp_path / "c.toml")
    path.write_text(CONFIG)
    world = World.load(path)
    world.__dict__["limits"] = unlimited()
    return LiveRun(world.lane_kind(), world.universe, world.scopes, "USDT", {}, "trial", SECOND)


DOORS = {NewOrder: "cmd", Report: "rpt", LaneEpoch: "epoch"}


def entry(seq, *messages):
    subject = f"lane.0.{DOORS.get(type(messages[0]), 'sys')}"
    return Entry(seq, messages[0].ts, subject, pack(list(messages), ts=messages[0].ts))


def buy(ts, cmd_id):
    return NewOrder(
        ts, cmd_id, 0, 0, 0, Side.BUY, OrdType.LIMIT, 10, 600_000, ref_bid=599_990, ref_ask=600_010, ref_ts=ts
    )


def log():
    return [
        entry(1, LaneEpoch(START, 1, "00000000000000000001-oms-1", "x")),
        entry(2, Mark(START, 0, 599_990, 600_010)),
        entry(3, buy(START + SECOND, 1)),
        entry(4, Report(START + SECOND + 3000, 1, ExecType.NEW, START + SECOND + 1000)),
        entry(
            5,
            Report(START + SECOND + 9000, 1, ExecType.TRADE, START + SECOND + 8000, 77, 10, 600_000, 5, True),
        ),
        Entry(6, START, "lane.0.cmd", b"\xc1"),
        entry(7, LaneEpoch(START + 2 * SECOND, 2, "00000000000000000002-oms-2", "x")),
        entry(8, buy(START + 3 * SECOND, 2)),
        entry(9, Report(START + 3 * SECOND + 5000, 2, ExecType.NEW, START + 3 * SECOND + 1000)),
        entry(10, Mark(START + 4 * SECOND, 0, 600_090, 600_110)),
    ]


def test_orders_fills_and_profit_follow_from_the_log(run):
    run.begin(0)
    run.take(0, log()[:4])
    run.take(0, log()[4:])
    tables = run.tables()
    assert len(tables.orders) == 2
    (ledger,) = run.ledgers()
    assert ledger.position(0, 0, 0).lots == 10
    assert tables.summary["counters"]["dead_letters"] == run.dead == 1
    assert [(lane, epoch) for _, lane, epoch, _ in run.takeovers] == [(0, 1), (0, 2)]


def test_the_venues_latencies_are_taken_from_reports(run):
    run.begin(0)
    run.take(0, log())
    latency = run.tables().latency.to_pydict()
    assert sorted(zip(latency["name"], latency["ns"], strict=True)) == [
        ("entry BINANCE_USDM", 1000), ("entry BINANCE_USDM", 1000), ("response BINANCE_USDM", 1000),
        ("response BINANCE_USDM", 2000), ("response BINANCE_USDM", 4000),
    ]  # fmt: skip


def test_trading_again_is_the_first_acceptance_of_an_order_asked_for_later(run):
    run.begin(0)
    run.take(0, log())
    assert run.trading_after(START + 2 * SECOND) == START + 3 * SECOND + 5000
    assert run.trading_after(START + 3 * SECOND) == 0


def test_the_same_log_gives_the_same_state_hash_however_it_is_read(run):
    run.begin(0)
    run.take(0, log())
    first = run.state_hash()
    run.begin(0)
    for one in log():
        run.take(0, [one])
    assert run.state_hash() == first


def test_the_page_shows_what_was_killed_and_how_it_came_back(run):
    run.begin(0)
    run.take(0, log())
    kill = {
        "name": "oms-1",
        "at": START + 2 * SECOND,
        "healthy": START + 2 * SECOND + 250_000_000,
        "trading": 0,
    }
    live = {
        "kills": [kill], "hops": {"gateway.out": {"p50": 500_000, "p99": 900_000, "p999": 950_000, "count": 12}},
        "processes": [{"name": "oms-1", "state": "healthy", "restarts": 1, "memory": 10**8, "cpu": 1.5}],
        "takeovers": [list(item) for item in run.takeovers],
    }  # fmt: skip
    page = render(run.tables({"live": live}))
    for text in ('id="live"', "oms-1", "250 ms", "on the venue&#x27;s socket", "500 µs"):
        assert text in page, text
    assert 'id="live"' not in render(run.tables())
