"""Large tables in a moment: as many fills as asked for, on one random walk, by whole-array arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.analytics.tables import RunTables, make

Array = np.ndarray[Any, Any]
START = 1_723_075_200_000_000_000
SECOND = 1_000_000_000


def bulk_run(fills: int, seconds: int = 3600, strategies: int = 3, touches: int = 200_000) -> RunTables:
    """One linear instrument; every fill is an order of its own; positions are sums of fills."""
    rng = np.random.default_rng(5)
    span = seconds * SECOND
    touch_ts = START + np.arange(touches) * (span // touches)
    mid = np.round(60_000 * np.exp(np.cumsum(rng.normal(0, 2e-6, touches))), 1)
    ts = np.sort(START + rng.integers(SECOND, span, fills))
    at = np.searchsorted(touch_ts, ts, side="right") - 1
    who = rng.integers(0, strategies, fills)
    side = rng.choice(np.array([-1, 1]), fills)
    names = np.array([f"strategy {n}" for n in range(strategies)])
    price = mid[at] - side * 0.05
    qty = rng.integers(1, 9, fills) * 0.001
    fee = 1e-4 * price * qty
    order = np.arange(1, fills + 1)
    common = {"account": ["main"] * fills, "instrument": ["BTCUSDT.BINANCE"] * fills}
    return RunTables(
        fills=make("fills", {
            "ts": ts, "ts_venue": ts - 1_000_000, "strategy": names[who], **common, "cl_ord_id": order,
            "exec_id": order, "side": side, "price": price, "qty": qty, "value": price * qty, "fee": fee,
            "currency": ["USDT"] * fills, "liquidity": ["maker"] * fills, "mid": mid[at],
            "arrival_mid": mid[np.maximum(at - 3, 0)],
        }),
        orders=make("orders", {
            "cl_ord_id": order, "ts_submit": ts - 5_000_000, "ts_ack": ts - 3_000_000, "ts_done": ts,
            "strategy": names[who], **common, "side": side, "ord_type": ["LIMIT"] * fills,
            "tif": ["GTC"] * fills, "price": price, "qty": qty, "cum_qty": qty, "avg_px": price,
            "status": ["FILLED"] * fills, "reason": [""] * fills, "arrival_mid": mid[at],
            "queue_ahead": rng.exponential(1.0, fills),
        }),
        equity=_equity(names, who, side * qty, price, fee, ts, touch_ts, mid, span),
        touch=make("touch", {
            "ts": touch_ts, "instrument": ["BTCUSDT.BINANCE"] * touches, "bid": mid - 0.05, "ask": mid + 0.05,
        }),
        latency=make("latency", {"name": ["entry BINANCE"] * 1000, "ns": rng.integers(10**6, 10**7, 1000)}),
        summary={"base_currency": "USDT", "start": START, "end": START + span, "capital": {"main": 1e6}},
    )  # fmt: skip


def _equity(
    names: Array, who: Array, signed: Array, price: Array, fee: Array, ts: Array, touch_ts: Array, mid: Array,
    span: int,
) -> Any:  # fmt: skip
    samples = START + np.arange(0, span + 1, SECOND)
    mark = mid[np.searchsorted(touch_ts, samples, side="right") - 1]
    parts = []
    for n, name in enumerate(names):
        mine = who == n
        upto = np.searchsorted(ts[mine], samples, side="right")
        held, cash, fees = (
            np.concatenate(([0.0], np.cumsum(x[mine])))[upto] for x in (signed, -signed * price, fee)
        )
        parts.append((name, held, cash, fees))
    rows = len(samples)
    return make("equity", {
        "ts": np.tile(samples, len(parts)), "strategy": np.repeat(names, rows),
        "account": ["main"] * rows * len(parts), "instrument": ["BTCUSDT.BINANCE"] * rows * len(parts),
        "position": np.concatenate([held for _, held, _, _ in parts]), "mark": np.tile(mark, len(parts)),
        "exposure": np.concatenate([held * mark for _, held, _, _ in parts]),
        "realised": np.concatenate([cash + held * mark for _, held, cash, _ in parts]),
        "unrealised": np.zeros(rows * len(parts)),
        "fees": np.concatenate([fees for _, _, _, fees in parts]), "funding": np.zeros(rows * len(parts)),
    })  # fmt: skip
