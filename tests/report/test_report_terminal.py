"""The summary in the terminal and as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import orjson
import pytest
from rich.console import Console
from simulated_run import simulate

from tidegate.analytics.run_summary import summarise
from tidegate.analytics.tables import RunTables
from tidegate.report.summary import summary_json
from tidegate.report.terminal import print_summary


def shown(run: RunTables, width: int = 120) -> str:
    out = io.StringIO()
    print_summary(run, Console(file=out, width=width, color_system=None))
    return out.getvalue()


@pytest.fixture(scope="module")
def run() -> RunTables:
    return simulate(seed=2, seconds=120)


def test_the_terminal_names_the_run_and_every_strategy(run: RunTables):
    text = shown(run)
    summary, _ = summarise(run)
    for word in (
        "three-markets.toml",
        "3f9c1e7ab2d4",
        "a41be07f6c3d92e8",
        "maker",
        "trend",
        "imbalance",
        "Total",
    ):
        assert word in text
    assert f"{abs(summary.total.net):,.2f}" in text
    assert "not meaningful" in text
    assert "quarantined 2" in text
    assert "gaps" not in text


def test_the_terminal_s_markout_is_that_of_all_fills(run: RunTables):
    rates = run.summary["rates"]
    touches = [(t["instrument"], t["ts"], (t["bid"] + t["ask"]) / 2) for t in run.touch.to_pylist()]
    by: dict[str, list[tuple[int, float]]] = {}
    for name, ts, mid in touches:
        by.setdefault(name, []).append((ts, mid))
    weight = total = 0.0
    for f in run.fills.to_pylist():
        when, series = f["ts_venue"] + 10**9, by[f["instrument"]]
        if when <= series[-1][0]:
            later = next(mid for ts, mid in reversed(series) if ts <= when)
            w = f["value"] * rates[f["currency"]]
            total += w * 1e4 * f["side"] * (later - f["price"]) / f["mid"]
            weight += w
    row = next(line for line in shown(run).splitlines() if line.startswith("Total"))
    assert f"{total / weight:.3f}".replace("-", "−") in row


def test_a_run_that_ended_early_says_so_first_and_markup_in_it_is_text(run: RunTables):
    text = shown(replace(run, summary={**run.summary, "error": "boom [bold]x[/bold]\nmore"}))
    assert text.startswith("This run ended early: boom [bold]x[/bold]\n")


def test_denials_and_broken_books_are_pointed_out():
    run = simulate(seed=9, seconds=240)
    assert "POSITION_LIMIT" in shown(run)
    assert "Check failed" in shown(replace(run, fills=run.fills.slice(1)))


def test_a_run_of_nothing_is_printed_too():
    assert "Backtest" in shown(RunTables())


def test_json_holds_the_same_figures_and_only_json(run: RunTables):
    tree = summary_json(run)
    assert json.loads(orjson.dumps(tree)) == tree
    summary, _ = summarise(run)
    assert tree["total"]["net"] == pytest.approx(summary.total.net)
    assert [row["name"] for row in tree["strategies"]] == list(summary.names.strategies)
    assert tree["total"]["sharpe"]["low"] < tree["total"]["sharpe"]["high"]
    assert tree["run"]["run_id"] == run.summary["run_id"]
    assert tree["run"]["error"] is None
    assert tree["attribution"]["Total"]["net"] == pytest.approx(summary.total.net)
    assert len(tree["costs"]["by_strategy_and_liquidity"][0]["markouts"]) == 8


def test_json_has_null_for_what_is_not_known():
    tree = summary_json(RunTables())
    text = orjson.dumps(tree).decode()
    assert "NaN" not in text
    assert tree["total"]["sharpe"] is None
    assert tree["run"]["capital"] is None
