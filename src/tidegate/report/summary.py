"""The run's figures as plain data, for `--json`: every number of the report, none of the pictures."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

from tidegate.analytics.run_summary import RunSummary, summarise
from tidegate.analytics.tables import RunTables

_ABOUT = (
    "run_id",
    "state_hash",
    "config",
    "version",
    "events",
    "wall_s",
    "events_per_s",
    "data",
    "counters",
    "moves",
)


def summary_json(tables: RunTables) -> dict[str, Any]:
    """The run in figures: JSON types only, times in ns, what is not known as null.

    Keys: `run` (identity, window, data, counters, error), `total`, `strategies`, `positions`, `attribution`,
    `costs`, `orders`, `denials`, `latency`, `checks`. Amounts are in `run.base_currency`.
    """
    summary, _ = summarise(tables)
    return as_json(summary, tables.summary)


def as_json(summary: RunSummary, info: dict[str, Any]) -> dict[str, Any]:
    """The same of figures already computed."""
    about = {key: info[key] for key in _ABOUT if info.get(key) is not None}
    run = {
        **about,
        "base_currency": summary.base,
        "start": summary.start,
        "end": summary.end,
        "capital": summary.capital,
        "return_step": summary.step,
        "touch_spacing": summary.touch_spacing,
        "currencies_without_rate": summary.unrated,
        "error": info.get("error"),
    }
    tree: dict[str, Any] = plain(
        {
            "run": run,
            "total": summary.total,
            "strategies": summary.strategies,
            "positions": summary.positions,
            "attribution": dict(summary.attribution),
            "costs": {
                "total": summary.costs,
                "by_strategy": dict(summary.costs_by_strategy),
                "by_strategy_and_liquidity": summary.cost_groups,
                "by_instrument": dict(summary.costs_by_instrument),
            },
            "orders": {
                "total": summary.orders.total,
                "by_strategy": dict(summary.orders.by_strategy),
                "by_strategy_and_instrument": summary.orders.groups,
                "queue": dict(summary.orders.queue),
                "statuses": dict(summary.orders.statuses),
            },
            "denials": summary.denials,
            "latency": summary.latency,
            "checks": summary.checks,
        }
    )
    return tree


def plain(value: Any) -> Any:
    """Dataclasses to objects, tuples to lists, NaN and infinities to null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
