"""A sweep's points as a table for the terminal: the values that were set, and what each run came to."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def sweep_table(rows: list[dict[str, Any]]) -> Table:
    """`rows` hold `values` (dotted key → value), `summary` (`report.summary.summary_json`) and `error`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(rows[0]["values"]) if rows else []
    for name in names:
        table.add_column(name.removeprefix("strategies."), justify="right")
    for name in ("net P&L", "fees", "max drawdown", "fills", "orders", "denied", "state hash"):
        table.add_column(name, justify="right")
    for row in rows:
        values = [str(row["values"][name]) for name in names]
        if row["error"]:
            table.add_row(*values, f"failed: {row['error']}")
            continue
        table.add_row(*values, *_figures(row["summary"]))
    return table


def _figures(summary: dict[str, Any]) -> list[str]:
    total, orders = summary["total"], summary["orders"]["total"]
    money = [total["net"], total["fees"], total["drawdown"]["depth"]]
    return [
        *(f"{value:,.2f}" if value is not None else "–" for value in money),
        f"{total['fills']:,}",
        f"{orders['sent']:,}",
        f"{sum(denial['count'] for denial in summary['denials']):,}",
        summary["run"]["state_hash"][:12],
    ]
