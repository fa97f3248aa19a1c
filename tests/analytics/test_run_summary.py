"""All figures of a run together: they agree with plain loops over the tables, and with one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from simulated_run import simulate

from tidegate.analytics.run_summary import summarise
from tidegate.analytics.tables import RunTables, make


@pytest.fixture(scope="module")
def run() -> RunTables:
    return simulate(seed=9, seconds=90)


def test_totals_are_sums_over_strategies(run: RunTables):
    summary, _ = summarise(run)
    for name in ("net", "realised", "unrealised", "fees", "turnover", "fills"):
        assert getattr(summary.total, name) == pytest.approx(
            sum(getattr(r, name) for r in summary.strategies)
        )
    assert summary.total.net == pytest.approx(sum(row.net for row in summary.positions))


def test_figures_agree_with_loops_over_the_tables(run: RunTables):
    summary, _ = summarise(run)
    fills = run.fills.to_pylist()
    rates = run.summary["rates"]
    for row in summary.strategies:
        mine = [f for f in fills if f["strategy"] == row.name]
        assert row.fills == len(mine)
        assert row.turnover == pytest.approx(sum(f["value"] * rates[f["currency"]] for f in mine))
        makers = [f for f in mine if f["liquidity"] == "maker"]
        assert row.maker_share == pytest.approx(len(makers) / len(mine))
    last = {}
    for sample in run.equity.to_pylist():
        last[sample["strategy"], sample["instrument"]] = sample
    net = sum(s["realised"] + s["unrealised"] - s["fees"] + s["funding"] for s in last.values())
    assert summary.total.net == pytest.approx(net)


def test_costs_agree_with_loops_over_the_fills(run: RunTables):
    summary, _ = summarise(run)
    rates = run.summary["rates"]
    weights = [f["value"] * rates[f["currency"]] for f in run.fills.to_pylist()]
    bps = [1e4 * f["side"] * (f["price"] - f["mid"]) / f["mid"] for f in run.fills.to_pylist()]
    assert summary.costs.mid_bps == pytest.approx(np.average(bps, weights=weights))
    assert sum(g.costs.fills for g in summary.cost_groups) == run.fills.num_rows
    assert sum(g.costs.mid_cost for g in summary.cost_groups) == pytest.approx(summary.costs.mid_cost)
    assert sum(row.fees for _, row in summary.costs_by_instrument) == pytest.approx(summary.costs.fees)
    assert [name for name, _ in summary.costs_by_strategy] == list(summary.names.strategies)


def test_orders_agree_with_loops_over_the_orders(run: RunTables):
    summary, _ = summarise(run)
    orders = [o for o in run.orders.to_pylist() if o["status"] != "DENIED"]
    total = summary.orders.total
    assert total.sent == len(orders)
    assert total.resting == sum(not np.isnan(o["queue_ahead"]) for o in orders)
    assert total.fill_ratio == pytest.approx(np.mean([o["cum_qty"] / o["qty"] for o in orders]))
    for group in summary.orders.groups:
        mine = [o for o in orders if (o["strategy"], o["instrument"]) == (group.strategy, group.instrument)]
        assert group.flow.fill_ratio == pytest.approx(
            sum(o["cum_qty"] for o in mine) / sum(o["qty"] for o in mine)
        )
    assert sum(flow.sent for _, flow in summary.orders.by_strategy) == total.sent


def test_denials_are_counted_by_reason_and_show_the_worst_value():
    run = simulate(seed=9, seconds=240)
    summary, _ = summarise(run)
    rows = run.denials.to_pylist()
    assert sum(row.count for row in summary.denials) == len(rows) > 0
    for row in summary.denials:
        mine = [d for d in rows if d["scope"] == row.scope]
        assert (row.count, row.worst) == (len(mine), max(d["value"] for d in mine))
        assert row.first_ts == min(d["ts"] for d in mine)


def test_the_simulated_books_agree(run: RunTables):
    summary, _ = summarise(run)
    assert all(check.ok for check in summary.checks)
    assert [check.of > 0 for check in summary.checks] == [True, True, True]


@pytest.mark.parametrize(
    ("table", "column", "which"), [("fills", "qty", 0), ("fills", "fee", 1), ("orders", "cum_qty", 2)]
)
def test_books_that_do_not_agree_are_found(run: RunTables, table: str, column: str, which: int):
    found = getattr(run, table)
    place = found.column_names.index(column)
    values = found.column(column).to_numpy().copy()
    values[3] += 1.0
    summary, _ = summarise(replace(run, **{table: found.set_column(place, column, [values])}))
    assert not summary.checks[which].ok
    assert summary.checks[which].first_break


def test_a_fill_of_an_unknown_order_breaks_the_check(run: RunTables):
    summary, _ = summarise(replace(run, orders=run.orders.slice(1)))
    first = run.orders.column("cl_ord_id")[0].as_py()
    known = pc.any(pc.equal(run.fills.column("cl_ord_id"), first)).as_py()
    assert summary.checks[2].ok is not known


def test_a_currency_without_a_rate_is_named_and_its_amounts_left_blank(run: RunTables):
    info = {**run.summary, "rates": {"USDT": 1.0}}
    summary, _ = summarise(replace(run, summary=info))
    assert summary.unrated == ("BTC",)
    assert summary.total.turnover is None
    assert summary.costs.value is None
    by = dict(summary.costs_by_instrument)
    assert by["BTCUSDT.BINANCE"].value is not None
    assert by["BTCUSD_PERP.BINANCE_CM"].value is None
    assert by["BTCUSD_PERP.BINANCE_CM"].mid_bps is not None


def test_inverse_contracts_are_recognised_without_being_declared(run: RunTables):
    declared, _ = summarise(run)
    found, _ = summarise(replace(run, summary={k: v for k, v in run.summary.items() if k != "inverse"}))
    assert found.attribution == declared.attribution
    assert found.total.trips == declared.total.trips


def test_order_of_rows_does_not_matter(run: RunTables):
    rng = np.random.default_rng(1)
    shuffled = {
        name: getattr(run, name).take(rng.permutation(getattr(run, name).num_rows))
        for name in ("fills", "orders", "touch")
    }
    a, _ = summarise(run)
    b, _ = summarise(replace(run, **shuffled))
    assert b.total.trips.closings == a.total.trips.closings
    assert b.costs.mid_bps == pytest.approx(a.costs.mid_bps)
    assert b.cost_groups[0].markouts[4].bps == pytest.approx(a.cost_groups[0].markouts[4].bps)


def test_an_empty_run_has_zeros_and_no_claims():
    summary, data = summarise(RunTables())
    assert (summary.total.net, summary.total.fills, summary.total.sharpe, summary.total.drawdown) == (
        0.0,
        0,
        None,
        None,
    )
    assert summary.strategies == ()
    assert len(data.curves.ts) == 0


def test_the_window_is_the_run_s_own_or_what_was_seen(run: RunTables):
    summary, _ = summarise(replace(run, summary={}))
    assert summary.end == run.equity.column("ts")[-1].as_py()
    only = RunTables(
        touch=make("touch", {"ts": [5, 9], "instrument": ["a", "a"], "bid": [1.0, 1.0], "ask": [2.0, 2.0]})
    )
    summary, _ = summarise(only)
    assert (summary.start, summary.end) == (5, 9)
