"""Pictures of execution: P&L in parts, markouts, the queue, denials, latency."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.analytics.attribution import Attribution
from tidegate.analytics.latency import exceedance
from tidegate.analytics.markouts import HORIZONS
from tidegate.analytics.order_flow import QueueBucket
from tidegate.analytics.run_summary import CostGroup, RunData, RunSummary
from tidegate.report.figures_time import Figure, colour
from tidegate.report.format import duration
from tidegate.report.markup import plotly_text
from tidegate.report.pack import pack

PARTS = (("spread", "Spread", 1), ("adverse", "Adverse selection, 10 s", 1), ("holding", "Holding", 1),
         ("fees", "Fees", -1), ("funding", "Funding", 1))  # fmt: skip
"""Fields of an attribution, what they are called, and the sign they enter net P&L with."""
QUARTERS = ("none ahead", "first quarter", "second quarter", "third quarter", "last quarter")


def attribution(rows: tuple[tuple[str, Attribution], ...], unit: str) -> Figure | None:
    """Stacked bars of the parts of each strategy's P&L, with a mark at the net; unrated rows are left out."""
    whole = [(name, parts) for name, parts in rows if parts.spread is not None]
    if not whole:
        return None
    labels = [plotly_text(name) for name, _ in whole]
    traces: list[dict[str, Any]] = []
    for n, (part, title, sign) in enumerate(PARTS):
        amounts = [sign * getattr(parts, part) for _, parts in whole]
        if any(amounts):
            traces.append(
                {
                    "type": "bar", "orientation": "h", "name": title, "y": labels, "x": amounts,
                    "marker": {"color": f"@p{n}"}, "hovertemplate": "%{x:,.2f}<extra>" + title + "</extra>",
                }
            )  # fmt: skip
    traces.append(
        {
            "type": "scatter", "mode": "markers", "name": "Net", "y": labels,
            "x": [parts.net for _, parts in whole],
            "marker": {
                "symbol": "diamond", "size": 10, "color": "@ink", "line": {"width": 1.5, "color": "@paper"},
            },
            "hovertemplate": "%{x:,.2f}<extra>Net</extra>",
        }
    )  # fmt: skip
    layout = {
        "barmode": "relative", "bargap": 0.45, "hovermode": "y unified",
        "xaxis": {"title": {"text": unit}, "zeroline": True},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "showgrid": False},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def markouts(summary: RunSummary) -> Figure | None:
    """Mean markout against horizon, makers and takers side by side, with 95 % bars."""
    sides = [
        (word, [g for g in summary.cost_groups if g.liquidity == word and any(m.fills for m in g.markouts)])
        for word in ("maker", "taker")
    ]
    sides = [(word, groups) for word, groups in sides if groups]
    if not sides:
        return None
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"hovermode": "closest"}
    named: set[str] = set()
    for n, (word, groups) in enumerate(sides):
        number = "" if n == 0 else "2"
        domain = [0.0, 1.0] if len(sides) == 1 else [0.54 * n, 0.46 + 0.54 * n]
        step, middle = 0.6 / max(len(groups), 4), (len(groups) - 1) / 2
        for k, group in enumerate(groups):
            trace = _markout_trace(summary, group, (k - middle) * step)
            traces.append(
                {
                    **trace,
                    "xaxis": f"x{number}",
                    "yaxis": f"y{number}",
                    "showlegend": group.strategy not in named,
                }
            )
            named.add(group.strategy)
        layout[f"xaxis{number}"] = {
            "domain": domain, "anchor": f"y{number}", "tickvals": list(range(len(HORIZONS))),
            "ticktext": ["fill", *(duration(h) for h in HORIZONS[1:])], "zeroline": False,
            "range": [-0.5, len(HORIZONS) - 0.5], "title": {"text": f"After the fill, as {word}"},
        }  # fmt: skip
        layout[f"yaxis{number}"] = {
            "anchor": f"x{number}", "zeroline": True, "title": {"text": "Markout, bps" if n == 0 else ""},
        }  # fmt: skip
    return {"data": traces, "layout": layout}


def _markout_trace(summary: RunSummary, group: CostGroup, shift: float) -> dict[str, Any]:
    known = [(n, m) for n, m in enumerate(group.markouts) if m.bps is not None]
    code = summary.names.strategies.index(group.strategy)
    bars = [None if m.se is None else 1.96 * m.se for _, m in known]
    notes = [[m.fills, "–" if bar is None else f"{bar:.2f}"] for (_, m), bar in zip(known, bars, strict=True)]
    return {
        "type": "scatter", "mode": "lines+markers", "name": plotly_text(group.strategy),
        "legendgroup": f"s{code}", "x": [n + shift for n, _ in known], "y": [m.bps for _, m in known],
        "customdata": notes,
        "error_y": {"type": "data", "array": bars, "thickness": 1, "width": 0, "color": f"{colour(code)}/50"},
        "line": {"color": colour(code), "width": 1.5}, "marker": {"size": 6, "color": colour(code)},
        "hovertemplate": "%{y:.2f} ± %{customdata[1]} bps, %{customdata[0]:,} fills"
                         "<extra>%{fullData.name}</extra>",
    }  # fmt: skip


def queue(rows: tuple[tuple[str, tuple[QueueBucket, ...]], ...]) -> Figure | None:
    """Fill ratio of resting orders against what stood ahead of them, by instrument."""
    if not rows:
        return None
    traces = []
    for n, (name, buckets) in enumerate(rows):
        labels = bucket_labels(buckets)
        traces.append(
            {
                "type": "bar", "name": plotly_text(name), "x": labels,
                "y": [None if b.ratio is None else 100 * b.ratio for b in buckets],
                "customdata": [b.orders for b in buckets], "marker": {"color": f"@i{n % 6}"},
                "hovertemplate": "%{y:.1f} % of %{customdata:,} orders<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    layout = {
        "barmode": "group", "bargap": 0.3, "hovermode": "closest",
        "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": list(QUARTERS),
            "range": [-0.5, len(QUARTERS) - 0.5],
                  "title": {"text": "Quantity ahead on joining, in quarters of the instrument's orders"}},
        "yaxis": {"title": {"text": "Quantity filled, %"}, "rangemode": "tozero"},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def bucket_labels(buckets: tuple[QueueBucket, ...]) -> list[str]:
    """`none ahead` for the bucket at 0, then the quarters in order."""
    out, place = [], 1
    for bucket in buckets:
        if bucket.high == 0:
            out.append(QUARTERS[0])
        else:
            out.append(QUARTERS[min(place, len(QUARTERS) - 1)])
            place += 1
    return out


def denials(summary: RunSummary) -> Figure | None:
    """Denied requests by reason, stacked by strategy."""
    if not summary.denials:
        return None
    reasons: dict[str, int] = {}
    for row in summary.denials:
        reasons[row.reason] = reasons.get(row.reason, 0) + row.count
    order = sorted(reasons, key=lambda reason: (reasons[reason], reason))
    traces = []
    for n, name in enumerate(summary.names.strategies):
        totals = [
            sum(r.count for r in summary.denials if r.strategy == name and r.reason == q) for q in order
        ]
        if any(totals):
            traces.append(
                {
                    "type": "bar", "orientation": "h", "name": plotly_text(name), "x": totals,
                    "y": [plotly_text(reason) for reason in order], "marker": {"color": colour(n)},
                    "hovertemplate": "%{x:,}<extra>%{fullData.name}</extra>",
                }
            )  # fmt: skip
    layout = {
        "barmode": "stack", "bargap": 0.45, "hovermode": "y unified",
        "xaxis": {"title": {"text": "Denials"}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "automargin": True, "showgrid": False},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def latency(data: RunData) -> Figure | None:
    """The share of samples slower than x, both axes logarithmic."""
    traces = []
    least, fast, slowest = 1.0, np.inf, 0.0
    for n, (name, ns) in enumerate(data.latency):
        slow, share = exceedance(ns)
        if not len(slow):
            continue
        least = min(least, float(share.min()))
        fast, slowest = min(fast, float(slow.min()) / 1e6), max(slowest, float(slow.max()) / 1e6)
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": plotly_text(name), "x": pack(slow / 1e6),
                "y": pack(100 * share), "line": {"color": colour(n), "width": 1.5, "shape": "vh",
                                                 "dash": "solid" if n < 10 else "dash"},
                "hovertemplate": "%{y:.3~g} % take %{x:.4~g} ms or more<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    if not traces:
        return None
    decades = [100 / 10**k for k in range(int(np.ceil(-np.log10(least))) + 1)]
    ticks = _log_ticks(fast, slowest)
    layout = {
        "hovermode": "closest",
        "xaxis": {
            "type": "log", "title": {"text": "Latency, ms"},
            "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks],
        },
        "yaxis": {
            "type": "log", "title": {"text": "Share at or above, %"},
            "tickvals": decades, "ticktext": [f"{share:g}" for share in decades],
        },
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade between the two, or the decades alone where there are many."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    steps = (1, 2, 5) if last - first <= 4 else (1,)
    ticks = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [low]
