"""Positions that move without a trade, in the report: a hand-over and an adoption stand by strategy as in the ledger."""

from __future__ import annotations

import pytest
from sim.test_live_run import CONFIG, START, entry, run

from tidegate.analytics.run_summary import summarise
from tidegate.model.messages import Adopt, HandOver, Mark, NewOrder, Report, SlotShare
from tidegate.model.order import ExecType, OrdType, Side
from tidegate.model.time import SECOND
from tidegate.report.html import render
from tidegate.report.summary import summary_json
from tidegate.risk.ledger import NOBODY
from tidegate.risk.slots import WHOLE

__all__ = ["run"]
LIVE, NEXT = 0, 1


@pytest.fixture(autouse=True)
def slot(monkeypatch):
    monkeypatch.setattr(
        "sim.test_live_run.CONFIG", CONFIG.replace('account = "one"', 'account = "one"\ncanary = "20%"')
    )


class Story:
    def __init__(self, run):
        self.run, self.seq, self.ts, self.ids = run, 0, START, 0
        run.begin(0)
        scopes = run.scopes
        self.mark(600_000)
        self.say(
            SlotShare(
                self.ts, scopes.strategy_scope(LIVE), scopes.strategy_scope(NEXT), WHOLE * 4 // 5, WHOLE // 5
            )
        )

    def say(self, *messages):
        self.seq += 1
        self.run.take(0, [entry(self.seq, *messages)])
        self.ts += SECOND

    def mark(self, mid):
        self.say(Mark(self.ts, 0, mid - 10, mid + 10))

    def trade(self, strategy, side, qty, price, kind=ExecType.TRADE):
        self.ids += 1
        cmd = strategy << 40 | self.ids
        self.say(
            NewOrder(self.ts, cmd, 0, strategy, 0, side, OrdType.LIMIT, qty, price, ref_bid=599_990, ref_ask=600_010,
                     ref_ts=self.ts)
        )  # fmt: skip
        (order,) = (o for o in self.run._lanes[0].open_orders() if o.cmd_id == cmd)
        self.say(Report(self.ts, order.cl_ord_id, ExecType.NEW))
        self.say(
            Report(
                self.ts, order.cl_ord_id, ExecType.TRADE, exec_id=self.ids, last_qty=qty, last_px=price, fee=3
            )
        )
        return order.cl_ord_id, self.ids


def check(run):
    """The report by strategy is the ledger by strategy, and its own checks hold."""
    tables = run.tables()
    summary, _ = summarise(tables)
    (ledger,) = run.ledgers()
    names = {"s": LIVE, "s.next": NEXT, "(no strategy)": NOBODY}
    found = {(row.strategy, row.instrument): row for row in summary.positions if row.position or row.realised}
    for name, number in names.items():
        held = ledger.position(0, number, 0)
        row = found.pop((name, "BTCUSDT.BINANCE_USDM"), None)
        assert (held.lots * 0.001 if row else 0) == pytest.approx(row.position if row else 0), name
        assert held.realised / 1e8 == pytest.approx(row.realised if row else 0, abs=1e-6), name
    assert not found
    assert all(c.ok for c in summary.checks), summary.checks
    return tables, summary


def test_a_hand_over_moves_the_position_to_the_version_that_took_over(run):
    s = Story(run)
    s.trade(NEXT, Side.BUY, 10, 600_000)
    s.mark(600_100)
    s.say(HandOver(s.ts, NEXT, LIVE))
    s.mark(600_300)
    s.trade(LIVE, Side.SELL, 4, 600_300)
    s.mark(600_300)
    tables, summary = check(run)
    rows = {row.strategy: row for row in summary.positions}
    assert (rows["s"].position, rows["s.next"].position) == (pytest.approx(0.006), 0)
    assert rows["s.next"].realised == pytest.approx(10 * 100 * 0.0001)
    assert rows["s"].realised == pytest.approx(4 * 200 * 0.0001)
    assert rows["s"].unrealised == pytest.approx(6 * 200 * 0.0001)
    by_name = {row.name: row for row in summary.strategies}
    assert by_name["s"].trips.closings == 1
    assert by_name["s"].trips.average_gain == pytest.approx(4 * 200 * 0.0001 - 3e-8, rel=1e-3)
    assert by_name["s.next"].trips.closings == 0
    assert [m["what"] for m in summary_json(tables)["run"]["moves"]] == ["handed over", "handed over"]
    assert "Positions that moved without a trade" in render(tables)


def test_what_people_adopted_is_held_by_whom_they_said(run):
    s = Story(run)
    s.say(Adopt(s.ts, 0, 0, 7, 0, 500_000, NOBODY, "ann", "a"))
    s.say(Adopt(s.ts, 0, 0, 5, 7, 590_000, LIVE, "ann", "b"))
    s.trade(LIVE, Side.SELL, 5, 600_000)
    s.mark(600_000)
    tables, summary = check(run)
    by_name = {row.name: row for row in summary.strategies}
    assert by_name["(no strategy)"].unrealised == pytest.approx(7 * 100_000 * 0.0001)
    assert by_name["s"].realised == pytest.approx(5 * 10_000 * 0.0001)
    assert by_name["s"].trips.closings == 1
    page = render(tables)
    assert "adopted" in page
    assert "(no strategy)" in page


def test_a_fill_that_the_venue_took_back_is_none(run):
    s = Story(run)
    number, exec_id = s.trade(LIVE, Side.BUY, 10, 600_000)
    s.trade(LIVE, Side.BUY, 2, 600_000)
    s.say(Report(s.ts, number, ExecType.TRADE_CANCEL, exec_id=99, ref_exec_id=exec_id))
    s.mark(600_500)
    tables, summary = check(run)
    assert len(tables.fills) == 1
    assert summary.positions[0].position == pytest.approx(0.002)
    assert "moved without" not in render(tables)
