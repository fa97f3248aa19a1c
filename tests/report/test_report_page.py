"""The page: complete, self-contained, escaped, valid for plotly, honest when there is little to show."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bulk_run import bulk_run
from page import Page
from simulated_run import simulate

from tidegate.analytics.run_summary import summarise
from tidegate.analytics.tables import SCHEMAS, RunTables, make
from tidegate.model.time import DAY
from tidegate.report.figures_time import FILL_POINTS
from tidegate.report.html import NAVIGATION, render, write_report
from tidegate.report.markup import plotly_text
from tidegate.report.script import SCRIPT

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)><b>%{y}$x$ "q" \' &amp; \u2028'


@pytest.fixture(scope="module")
def run() -> RunTables:
    return simulate(seed=2, seconds=60)


@pytest.fixture(scope="module")
def page(run: RunTables) -> Page:
    return Page(render(run))


def labelled(run: RunTables, prefix: str) -> RunTables:
    """The run with `prefix` before every label."""
    tables = {}
    for name in SCHEMAS:
        table = getattr(run, name)
        for column in ("strategy", "account", "instrument", "reason", "scope", "name", "status"):
            if column in table.column_names:
                values = [prefix + value for value in table.column(column).to_pylist()]
                place = table.column_names.index(column)
                table = table.set_column(place, column, pa.array(values, pa.string()).dictionary_encode())
        tables[name] = table
    return RunTables(**tables, summary=run.summary)


def test_every_section_is_there_and_in_the_navigation(page: Page):
    anchors = {attributes.get("id") for tag, attributes in page.elements if tag == "section"}
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert anchors == {anchor for anchor, _ in NAVIGATION} - {"live"}, "a backtest ran no services"
    assert links == {f"#{anchor}" for anchor in anchors}


def test_nothing_is_loaded_from_anywhere(page: Page):
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_library_s_offer_to_upload_a_chart_is_switched_off():
    assert "showSendToCloud: false" in SCRIPT
    assert 'plotlyServerURL: ""' in SCRIPT


def test_labels_from_data_cannot_become_markup(run: RunTables):
    text = render(
        replace(labelled(run, EVIL), summary={**run.summary, "config": EVIL, "error": EVIL, "run_id": EVIL})
    )
    page = Page(text)
    assert page.count("script") == 3
    assert page.count("img") == page.count("b") == 0
    assert "<img" not in text.split('<script type="application/json"')[0]
    assert "</script" not in page.scripts[0]
    assert page.text.count("<img src=x onerror=alert(2)>") > 20
    names = {t["name"] for f in page.figures().values() for t in f["data"]}
    assert any("alert" in name for name in names)
    assert not any("<" in name or "%{" in name or "$" in name for name in names)


def test_a_label_for_plotly_shows_what_was_written():
    assert plotly_text("a<b> %{x} $y$ & c") == "a&lt;b&gt; %&#123;x} &#36;y&#36; &amp; c"
    assert plotly_text("") != ""


@pytest.mark.parametrize(("strategies", "instruments"), [(1, 1), (3, 3), (10, 6)])
def test_figures_are_valid_for_plotly(strategies: int, instruments: int):
    from plotly.graph_objects import Figure

    page = Page(render(simulate(seed=3, seconds=30, strategies=strategies, instruments=instruments)))
    figures = page.figures()
    assert {
        "pnl",
        "exposure",
        "attribution",
        "markouts",
        "queue",
        "latency",
        "instruments/0",
    } <= figures.keys()
    for figure in figures.values():
        Figure(figure)
        for trace in figure["data"]:
            lengths = {
                len(trace[key]) for key in ("x", "y", "customdata") if isinstance(trace.get(key), list)
            }
            assert len(lengths) == 1


def test_the_pictures_show_the_tables_numbers(run: RunTables, page: Page):
    summary, data = summarise(run)
    figures = page.figures()
    by = {trace["name"]: trace for trace in figures["pnl"]["data"]}
    assert by["Total"]["y"][-1] == pytest.approx(summary.total.net, abs=1e-6)
    assert -min(by["Drawdown"]["y"]) == pytest.approx(summary.total.drawdown.depth, abs=1e-6)
    assert by["Total"]["x"][-1] == pytest.approx(data.curves.ts[-1] / 1e6, abs=1e-3)
    for row in summary.strategies:
        assert by[row.name]["y"][-1] == pytest.approx(row.net, abs=1e-6)
    gross = next(t for t in figures["exposure"]["data"] if t["name"] == "Gross of all")
    assert max(gross["y"]) == pytest.approx(summary.total.peak_gross)
    markers = [t for t in figures["instruments/0"]["data"] if t["mode"] == "markers"]
    mine = [f for f in run.fills.to_pylist() if f["instrument"] == "BTCUSDT.BINANCE"]
    assert sorted(p for t in markers for p in t["y"]) == pytest.approx(sorted(f["price"] for f in mine))
    bars = {t["name"]: dict(zip(t["y"], t["x"], strict=True)) for t in figures["attribution"]["data"]}
    assert bars["Fees"]["maker"] == pytest.approx(-summary.strategies[0].fees)


def test_a_strategy_has_one_colour_in_every_picture_and_table(run: RunTables):
    text = render(run)
    marks = set(re.findall(r'background:var\(--(\w+)\)"></i>(maker|trend|imbalance)<', text))
    assert marks == {("s0", "maker"), ("s1", "trend"), ("s2", "imbalance")}
    seen: dict[str, set[str]] = {}
    for figure in json.loads(Page(text).scripts[0]).values():
        for trace in (t for one in (figure if isinstance(figure, list) else [figure]) for t in one["data"]):
            style = trace["marker"] if trace.get("mode") in (None, "markers") else trace["line"]
            seen.setdefault(trace["name"], set()).add(style["color"])
    assert (seen["maker"], seen["trend"], seen["imbalance"]) == ({"@s0"}, {"@s1"}, {"@s2"})


def test_tables_show_the_totals(run: RunTables, page: Page):
    summary, _ = summarise(run)
    assert f"{summary.total.fills:,}" in page.text
    assert f"{abs(summary.total.net):,.2f}" in page.text
    assert f"{summary.total.fees:,.2f}" in page.text
    assert "2024-08-08 00:00:00 to 00:01:00 UTC" in page.text


def test_a_short_run_s_sharpe_ratio_is_called_not_meaningful(page: Page):
    assert "not meaningful" in page.text
    assert "It says nothing at all about another day." in page.text


def test_a_long_run_s_sharpe_ratio_is_shown_with_its_interval():
    rng = np.random.default_rng(1)
    days = 500
    n = np.arange(days)
    zero = np.zeros(days)
    equity = make("equity", {
        "ts": (20_000 + n) * DAY, "strategy": ["a"] * days, "account": ["b"] * days,
        "instrument": ["c"] * days,
        "position": zero, "mark": zero, "exposure": zero, "realised": np.cumsum(rng.normal(0.05, 1, days)),
        "unrealised": zero, "fees": zero, "funding": zero,
    })  # fmt: skip
    run = RunTables(equity=equity)
    page = Page(render(run))
    ratio = summarise(run)[0].total.sharpe
    assert ratio is not None
    assert "not meaningful" not in page.text
    assert f"{ratio.annual:.2f}".replace("-", "−") in page.text
    assert "at 95 %" in page.text


@pytest.mark.parametrize(
    ("why", "empty"),
    [
        ("No fills.", ("fills",)),
        ("No order was sent.", ("orders", "denials")),
        ("The risk gate denied nothing.", ("denials",)),
        ("No latency was sampled.", ("latency",)),
        ("No equity samples", ("equity",)),
        ("No prices and no fills.", ("touch", "fills", "equity")),
        ("No touch prices to measure against.", ()),
    ],
)
def test_an_empty_section_says_why(run: RunTables, why: str, empty: tuple[str, ...]):
    tables = replace(run, **{name: make(name) for name in empty})
    if not empty:
        nothing = pa.array(np.full(run.fills.num_rows, np.nan))
        fills = run.fills.set_column(run.fills.column_names.index("mid"), "mid", nothing)
        tables = replace(run, touch=make("touch"), fills=fills)
    assert why in Page(render(tables)).text


def test_a_run_of_nothing_is_still_a_page():
    page = Page(render(RunTables()))
    assert page.figures() == {}
    assert "no events" in page.text


def test_a_run_whose_every_order_was_denied_says_so(run: RunTables):
    status = pa.array(["DENIED"] * run.orders.num_rows)
    orders = run.orders.set_column(run.orders.column_names.index("status"), "status", status)
    denied = make("denials", {
        "ts": [1], "strategy": ["maker"], "account": ["main"], "instrument": ["x.y"], "reason": ["HALTED"],
        "control": [1], "scope": ["firm"], "limit": [0.0], "value": [np.nan],
    })  # fmt: skip
    page = Page(render(replace(run, orders=orders, fills=make("fills"), denials=denied)))
    assert "No order was sent: all 1 were denied." in page.text
    assert "HALTED" in page.text


def test_a_run_that_ended_early_says_why_above_everything(run: RunTables):
    page = Page(render(replace(run, summary={**run.summary, "error": "strategy maker raised ValueError: 7"})))
    assert page.text.index("strategy maker raised ValueError: 7") < page.text.index("Net P&L")
    assert "This run ended early." in page.text


def test_books_that_do_not_agree_are_announced(run: RunTables):
    half = replace(run, fills=run.fills.slice(10))
    assert "The books do not agree." in Page(render(half)).text
    assert "The books do not agree." not in Page(render(run)).text


def test_currencies_without_a_rate_are_named(run: RunTables):
    page = Page(render(replace(run, summary={**run.summary, "rates": {}})))
    assert "no rate to USDT for BTC" in page.text


def test_a_hundred_thousand_fills_stay_under_six_megabytes(tmp_path: Path):
    path = tmp_path / "report.html"
    write_report(bulk_run(100_000), path)
    assert path.stat().st_size < 6_000_000
    page = Page(path.read_text(encoding="utf-8"))
    drawn = sum(len(t["x"]) for t in page.figures()["instruments/0"]["data"] if t["mode"] == "markers")
    assert 1000 < drawn <= FILL_POINTS
    assert f"{drawn:,} of 100,000 fills are drawn" in page.text


def test_ten_strategies_in_six_instruments_stay_under_six_megabytes():
    run = simulate(seed=1, seconds=120, strategies=10, instruments=6, sample_ms=100)
    assert len(render(run).encode()) < 6_000_000


def test_one_run_gives_one_page(run: RunTables):
    assert render(run) == render(run)


def test_the_page_is_written_whole_or_not_at_all(run: RunTables, tmp_path: Path):
    path = tmp_path / "report.html"
    write_report(run, path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError):
        write_report(run, tmp_path / "missing" / "report.html")
    taken = tmp_path / "taken.html"
    taken.mkdir()
    with pytest.raises(OSError):
        write_report(run, taken)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "taken.html"]
