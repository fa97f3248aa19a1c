"""Pictures over time: P&L and drawdown, exposure, and each instrument's price, fills and inventory.

A figure is plotly's own `{"data", "layout"}` as plain data. Colours are names of the page's palette
(`@ink`, `@s0` …), which the page turns into the colours of its light or dark theme.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.analytics.drawdown import underwater
from tidegate.analytics.equity import Path
from tidegate.analytics.run_summary import RunData, RunSummary
from tidegate.analytics.tables import Floats, Ints
from tidegate.report import thin
from tidegate.report.markup import plotly_text
from tidegate.report.pack import pack, times

Figure = dict[str, Any]
COLOURS = 10
LINE_POINTS = 14_000
PRICE_POINTS = 3_000
FILL_POINTS = 9_000
WEBGL_FROM = 2_500
"""Markers in one picture above which they are drawn by the graphics card, where there is one."""


def colour(n: int) -> str:
    """The palette's name for strategy `n`; beyond ten they repeat."""
    return f"@s{n % COLOURS}"


def _line(ts: Ints, values: Floats, name: str, points: int, **style: Any) -> dict[str, Any]:
    kept = thin.line(ts, values, points)
    return {
        "type": "scatter", "mode": "lines", "name": plotly_text(name),
        "x": times(ts[kept]), "y": pack(values[kept]), **style,
    }  # fmt: skip


def pnl(summary: RunSummary, data: RunData, unit: str) -> Figure | None:
    """Net P&L by strategy, of all, and the drawdown of all, one above the other."""
    curves = data.curves
    if not len(curves.ts):
        return None
    total = curves.pnl.sum(axis=0)
    drop = {"line": {"color": "@neg", "width": 1.2}, "fill": "tozeroy", "fillcolor": "@neg-soft"}
    return _panels(
        summary, curves.ts, curves.pnl, total, underwater(total), drop, "linear", "%{y:,.2f}",
        (f"Net P&L, {unit}", "Total", "Drawdown"),
    )  # fmt: skip


def exposure(summary: RunSummary, data: RunData, unit: str) -> Figure | None:
    """Net exposure by strategy, of all, and the gross of all, one above the other."""
    curves = data.curves
    if not len(curves.ts):
        return None
    net, gross = curves.net.sum(axis=0), curves.gross.sum(axis=0)
    area = {"line": {"color": "@muted", "width": 1.2}, "fill": "tozeroy", "fillcolor": "@tint-strong"}
    return _panels(
        summary, curves.ts, curves.net, net, gross, area, "hv", "%{y:,.0f}",
        (f"Net, {unit}", "Net of all", "Gross of all"),
    )  # fmt: skip


def _panels(
    summary: RunSummary, ts: Ints, rows: Floats, total: Floats, below: Floats, area: dict[str, Any],
    shape: str, number: str, titles: tuple[str, str, str],
) -> Figure:  # fmt: skip
    """Strategies, their total, and a filled curve below. One strategy is its own total."""
    several = len(rows) > 1
    share = LINE_POINTS // (len(rows) + 2)
    hover = number + "<extra>%{fullData.name}</extra>"

    def draw(values: Floats, name: str, axis: str, line: dict[str, Any], **style: Any) -> dict[str, Any]:
        full = {**line, "shape": shape}
        return _line(ts, values, name, share, line=full, yaxis=axis, hovertemplate=hover, **style)

    traces = [
        draw(row, name, "y", {"color": colour(n), "width": 1.4}, showlegend=several)
        for n, (name, row) in enumerate(zip(summary.names.strategies, rows, strict=True))
    ]
    if several:
        line = {"color": "@ink", "width": 1.6}
        traces.append(draw(total, titles[1], "y2", line, showlegend=False))
    fill = {key: value for key, value in area.items() if key != "line"}
    traces.append(draw(below, titles[2], "y3", area["line"], showlegend=False, **fill))
    layout: dict[str, Any] = {
        "hovermode": "x unified",
        "xaxis": _time_axis(summary, "y3"),
        "yaxis": {"domain": [0.54 if several else 0.33, 1.0], "title": {"text": titles[0]}, "zeroline": True},
        "yaxis3": {
            "domain": [0.0, 0.17 if several else 0.25], "title": {"text": titles[2]}, "rangemode": "tozero",
            "nticks": 4,
        },
    }  # fmt: skip
    if several:
        layout["yaxis2"] = {
            "domain": [0.23, 0.48], "title": {"text": titles[1]}, "zeroline": True, "nticks": 6,
        }  # fmt: skip
    return {"data": traces, "layout": layout}


def instrument(summary: RunSummary, data: RunData, code: int) -> tuple[Figure | None, int]:
    """The price with every strategy's fills above, inventory below; and how many fills are drawn."""
    ts, mid = data.touches.ts[code], data.touches.mid[code]
    positions = [path for path in data.paths if path.instrument == code and np.any(path.position)]
    fills, drawn = _fill_traces(summary, data, code)
    if not len(ts) and not fills and not positions:
        return None, 0
    shown = max(len(summary.names.instruments), 1)
    traces: list[dict[str, Any]] = []
    if len(ts):
        traces.append(
            _line(
                ts,
                mid,
                "Mid",
                max(PRICE_POINTS * 6 // (5 + shown), 1200),
                line={"color": "@muted", "width": 1.1},
                hovertemplate="%{y}<extra>mid</extra>",
            )
        )
    traces += fills
    share = max(LINE_POINTS // (shown * max(len(positions), 1)), 160)
    traces += [_inventory(summary, path, share) for path in positions]
    layout = {
        "hovermode": "closest",
        "xaxis": _time_axis(summary, "y2"),
        "yaxis": {"domain": [0.36, 1.0], "title": {"text": "Price"}},
        "yaxis2": {"domain": [0.0, 0.28], "title": {"text": "Position"}, "zeroline": True, "nticks": 5},
    }
    return {"data": traces, "layout": layout}, drawn


def _fill_traces(summary: RunSummary, data: RunData, code: int) -> tuple[list[dict[str, Any]], int]:
    fills = data.fills
    mine = np.flatnonzero(fills.instrument == code)
    if not len(mine):
        return [], 0
    series = fills.strategy[mine] * 2 + (fills.side[mine] < 0)
    budget = max(FILL_POINTS // max(len(np.unique(fills.instrument)), 1), 600)
    kept = mine[thin.cloud(series, fills.ts[mine], fills.price[mine], fills.qty[mine], budget)]
    kind = "scattergl" if len(kept) > WEBGL_FROM else "scatter"
    size, edge = (
        (9, 0.8)
        if len(kept) < 200
        else (7.5, 0.5)
        if len(kept) < 600
        else (6, 0.0)
        if kind == "scatter"
        else (4.5, 0.0)
    )
    traces = []
    for s, name in enumerate(summary.names.strategies):
        for sign, word, symbol in ((1, "buys", "triangle-up"), (-1, "sells", "triangle-down")):
            own = kept[(fills.strategy[kept] == s) & (fills.side[kept] == sign)]
            if not len(own):
                continue
            first = sign > 0 or not ((fills.strategy[kept] == s) & (fills.side[kept] > 0)).any()
            traces.append(
                {
                    "type": kind, "mode": "markers", "name": plotly_text(name), "legendgroup": f"s{s}",
                    "showlegend": bool(first), "x": times(fills.ts[own]), "y": pack(fills.price[own]),
                    "customdata": pack(fills.qty[own]),
                    "marker": {
                        "symbol": symbol, "size": size, "color": colour(s),
                        "opacity": 0.85 if kind == "scatter" else 0.7,
                        "line": {"width": edge, "color": "@paper"},
                    },
                    "hovertemplate": "%{x|%H:%M:%S.%L}<br>" + word[:-1]
                    + " %{customdata:.6~g} at %{y}<extra>%{fullData.name}</extra>",
                }
            )  # fmt: skip
    return traces, len(kept)


def _inventory(summary: RunSummary, path: Path, points: int) -> dict[str, Any]:
    several = len(summary.names.accounts) > 1
    name = summary.names.strategies[path.strategy]
    label = f"{name} ({summary.names.accounts[path.account]})" if several else name
    return _line(
        path.ts, path.position, label, points, yaxis="y2", showlegend=False,
        legendgroup=f"s{path.strategy}", hovertemplate="%{y:.6~g}<extra>%{fullData.name}</extra>",
        line={"color": colour(path.strategy), "width": 1.4, "shape": "hv"},
    )  # fmt: skip


def _time_axis(summary: RunSummary, anchor: str) -> dict[str, Any]:
    """The run from start to end, the same in every picture."""
    ends = [summary.start / 1e6, max(summary.end, summary.start + 1_000_000) / 1e6]
    return {
        "range": ends,
        "type": "date", "anchor": anchor, "hoverformat": "%Y-%m-%d %H:%M:%S.%L",
        "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "solid",
    }  # fmt: skip
