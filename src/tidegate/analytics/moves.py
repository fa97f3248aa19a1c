"""Positions that moved without a trade: handed over from one version of a strategy to another, or adopted by people.

They are part of a position and of its closings, and no fill: nothing was paid, and nobody decided a price.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from tidegate.analytics.fill_arrays import Fills
from tidegate.analytics.tables import Bools, Names, RunTables


def with_moves(run: RunTables, names: Names, fills: Fills) -> tuple[Fills, Bools]:
    """The fills and the moves of `summary["moves"]`, by time; and which of the rows are fills."""
    moves = run.summary.get("moves") or []
    if not moves:
        return fills, np.ones(len(fills), np.bool_)
    rates = dict(run.summary.get("rates") or {})
    rates.setdefault(str(run.summary.get("base_currency", "")), 1.0)
    inverse = run.summary.get("inverse") or ()
    nan = np.full(len(moves), np.nan)
    ts = np.array([m["ts"] for m in moves], np.int64)
    codes = {
        name: np.array([known.index(m[name]) for m in moves], np.int64)
        for name, known in (
            ("strategy", list(names.strategies)), ("account", list(names.accounts)),
            ("instrument", list(names.instruments)),
        )
    }  # fmt: skip
    added = Fills(
        ts=ts,
        ts_venue=ts,
        **codes,
        order=np.zeros(len(moves), np.int64),
        side=np.array([m["side"] for m in moves], np.int64),
        price=np.array([m["price"] for m in moves], np.float64),
        qty=np.array([m["qty"] for m in moves], np.float64),
        value=np.array([m["value"] for m in moves], np.float64),
        fee=np.zeros(len(moves)),
        mid=nan,
        arrival=nan,
        maker=np.zeros(len(moves), np.bool_),
        rate=np.array([float(rates.get(m["currency"], np.nan)) for m in moves], np.float64),
        inverse=np.array([m["instrument"] in inverse for m in moves], np.bool_),
    )
    order = np.argsort(np.concatenate([fills.ts, ts]), kind="stable")
    joined = {
        f.name: np.concatenate([getattr(fills, f.name), getattr(added, f.name)])[order] for f in fields(Fills)
    }
    return replace(fills, **joined), order < len(fills)
