"""The market maker of `compare_fills.py` on hftbacktest.   python peers/hftbacktest_fills.py FOLDER

Reads `events.npy` and `run.json` of the folder, writes `orders.npy`: for each order sent its time here, side, price
(ticks) and how it ended: status, time at the exchange, executed price (ticks).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest import BUY, GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
from numba import njit

QUEUES = {
    "risk_averse": "risk_adverse_queue_model",
    "log": "log_prob_queue_model",
    "log2": "log_prob_queue_model2",
    "power": "power_prob_queue_model",
    "power2": "power_prob_queue_model2",
    "power3": "power_prob_queue_model3",
}


@njit
def harvest(hbt: Any, rows: Any) -> None:
    """Write down how orders have ended that ended since the last look."""
    live = hbt.orders(0).values()
    while live.has_next():
        order = live.get()
        row = rows[np.int64(order.order_id)]
        row[3], row[4], row[5] = order.status, order.exch_timestamp, order.exec_price_tick


@njit
def run(hbt: Any, first: int, interval: int, offset: int, size: float, most: float, rows: Any) -> int:
    """Quote `offset` ticks behind the touch from `first` on, every `interval` ns; the orders sent."""
    count = 0
    hbt.elapse(0)
    step = first - hbt.current_timestamp
    while hbt.elapse(step) == 0:
        step = interval
        harvest(hbt, rows)
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        bid, ask = depth.best_bid_tick - offset, depth.best_ask_tick + offset
        bidding = asking = False
        live = hbt.orders(0).values()
        while live.has_next():
            order = live.get()
            is_bid = order.side == BUY
            bidding, asking = bidding or is_bid, asking or not is_bid
            if order.price_tick != (bid if is_bid else ask) and order.cancellable:
                hbt.cancel(0, order.order_id, False)
        position = hbt.position(0)
        for side in (1, -1):
            resting, price = (bidding, bid) if side == 1 else (asking, ask)
            if resting or side * position >= most:
                continue
            rows[count, 0], rows[count, 1], rows[count, 2] = hbt.current_timestamp, side, price
            if side == 1:
                hbt.submit_buy_order(0, count, price * depth.tick_size, size, GTX, LIMIT, False)
            else:
                hbt.submit_sell_order(0, count, price * depth.tick_size, size, GTX, LIMIT, False)
            count += 1
    harvest(hbt, rows)
    return count


def main() -> None:
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "run.json").read_text())
    events = np.load(folder / "events.npy")
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(asked["entry"], asked["response"])
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(asked["tick"])
        .lot_size(asked["lot"])
        .last_trades_capacity(0)
    )
    getattr(asset, QUEUES[asked["queue"]])(*([] if asked["exponent"] is None else [asked["exponent"]]))
    hbt = HashMapMarketDepthBacktest([asset])
    rows = np.zeros((1_000_000, 6), np.int64)
    count = run(hbt, asked["first"], asked["interval"], asked["offset"], asked["size"], asked["most"], rows)
    hbt.close()
    np.save(folder / "orders.npy", rows[:count])


if __name__ == "__main__":
    main()
