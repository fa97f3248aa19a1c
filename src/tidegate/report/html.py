"""The report: one HTML file that opens anywhere, without a network.

Styles, script, pictures' data and the plotting library stand in the file itself. A content security policy
forbids every request, so nothing the page carries could load anything even if it tried.
"""

from __future__ import annotations

import os
from pathlib import Path

from tidegate.analytics.run_summary import RunData, RunSummary, summarise
from tidegate.analytics.tables import RunTables
from tidegate.report import sections_execution as execution
from tidegate.report import sections_result as result
from tidegate.report.live import live_section
from tidegate.report.markup import esc, script_json
from tidegate.report.script import SCRIPT
from tidegate.report.sections_run import banner, run_section, warnings
from tidegate.report.style import STYLE

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'"
)
"""Inline only. `unsafe-eval` is for plotly's WebGL traces, which compile their drawing code."""
NAVIGATION = (
    ("pnl", "P&L"), ("strategies", "Strategies"), ("attribution", "Where it came from"),
    ("exposure", "Exposure"), ("instruments", "Fills and inventory"), ("costs", "Costs"),
    ("markouts", "Markouts"), ("orders", "Orders"), ("denials", "Denials"), ("latency", "Latency"),
    ("live", "Live"), ("run", "The run"),
)  # fmt: skip


def write_report(tables: RunTables, path: Path) -> None:
    """Write the run's report to `path`, whole or not at all (it is renamed into place)."""
    text = render(tables)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def render(tables: RunTables) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    summary, data = summarise(tables)
    figures: result.Figures = {}
    info = tables.summary
    body = "".join(
        (banner(info.get("error")), warnings(summary), result.head(summary, info), _navigation("live" in info),
         *_sections(tables, summary, data, figures))
    )  # fmt: skip
    title = f"{info.get('config') or 'Backtest'} · {info.get('run_id') or 'run'}"
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{esc(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{esc(title)}</title><style>{STYLE}</style></head><body><main>",
            body,
            "<noscript><p class='empty'>The pictures need JavaScript; the tables do not.</p></noscript>",
            "</main>",
            f'<script type="application/json" id="figures">{script_json(figures)}</script>',
            f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n",
        )
    )


def _navigation(live: bool) -> str:
    shown = NAVIGATION if live else [item for item in NAVIGATION if item[0] != "live"]
    links = "".join(f'<a href="#{anchor}">{esc(title)}</a>' for anchor, title in shown)
    return f'<nav aria-label="Sections">{links}</nav>'


def _sections(
    tables: RunTables, summary: RunSummary, data: RunData, figures: result.Figures
) -> tuple[str, ...]:
    return (
        result.pnl_section(summary, data, figures),
        result.strategies_section(summary),
        result.attribution_section(summary, figures),
        result.exposure_section(summary, data, figures),
        result.instruments_section(summary, data, figures),
        execution.costs_section(summary),
        execution.markouts_section(summary, figures),
        execution.orders_section(summary, figures),
        execution.denials_section(summary, figures),
        execution.latency_section(summary, data, figures),
        live_section(tables.summary),
        run_section(summary, tables.summary),
    )
