"""The market-making cases on hftbacktest.   python peers/hftbacktest_mm.py CASE [N] [hashmap|roivec]

`elapse_mm` wakes the compiled strategy every 100 ms, `feed_mm` on every event that reaches it. Data, latencies
and queue model are those of `benchmarks/README.md`; `roivec` is its book over an array of a price range, the
faster of its two. Compilation and a run over 2000 rows come before the clock starts.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import draws
import numpy as np
from hftbacktest import (
    BUY,
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from meter import Stopwatch, emit
from numba import njit

FEED_DELAY = 1_000_000
ORDER_DELAY = 5_000_000
INTERVAL = 100_000_000
FOREVER = 10_000_000_000
END_OF_DATA = 1
TICK, LOT = 0.1, 0.001


def events(n: int) -> np.ndarray:
    ts, price, size, trade, buy = draws.depth_and_trades(n)
    rows = np.zeros(n, event_dtype)
    kind = np.where(trade, TRADE_EVENT, DEPTH_EVENT) | np.where(buy, BUY_EVENT, SELL_EVENT)
    rows["ev"] = kind | EXCH_EVENT | LOCAL_EVENT
    rows["exch_ts"], rows["local_ts"] = ts, ts + FEED_DELAY
    rows["px"], rows["qty"] = price * TICK, size
    return rows


@njit
def quote(hbt: Any) -> int:
    """One wake of the market maker; the requests it made."""
    hbt.clear_inactive_orders(0)
    depth = hbt.depth(0)
    bid, ask = depth.best_bid_tick - 1, depth.best_ask_tick + 1
    bidding = asking = False
    requests = 0
    live = hbt.orders(0).values()
    while live.has_next():
        order = live.get()
        is_bid = order.side == BUY
        bidding, asking = bidding or is_bid, asking or not is_bid
        if order.price_tick != (bid if is_bid else ask) and order.cancellable:
            hbt.cancel(0, order.order_id, False)
            requests += 1
    position = hbt.position(0)
    if not bidding and position < 100:
        hbt.submit_buy_order(0, bid, bid * depth.tick_size, 1.0, GTX, LIMIT, False)
        requests += 1
    if not asking and position > -100:
        hbt.submit_sell_order(0, ask, ask * depth.tick_size, 1.0, GTX, LIMIT, False)
        requests += 1
    return requests


@njit
def on_interval(hbt: Any) -> tuple[int, int]:
    wakes = requests = 0
    while hbt.elapse(INTERVAL) == 0:
        wakes += 1
        requests += quote(hbt)
    return wakes, requests


@njit
def on_feed(hbt: Any) -> tuple[int, int]:
    wakes = requests = 0
    while hbt.wait_next_feed(False, FOREVER) != END_OF_DATA:
        wakes += 1
        requests += quote(hbt)
    return wakes, requests


def engine(data: np.ndarray, book: str) -> Any:
    asset = (
        BacktestAsset()
        .data(data)
        .linear_asset(1.0)
        .constant_order_latency(ORDER_DELAY, ORDER_DELAY)
        .power_prob_queue_model(2.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(TICK)
        .lot_size(LOT)
        .last_trades_capacity(0)
    )
    if book == "hashmap":
        return HashMapMarketDepthBacktest([asset])
    return ROIVectorMarketDepthBacktest([asset.roi_lb(40_000.0).roi_ub(60_000.0)])


def main() -> None:
    case, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5_000_000
    book = sys.argv[3] if len(sys.argv) > 3 else "hashmap"
    loop = {"elapse_mm": on_interval, "feed_mm": on_feed}[case]
    data = events(n)
    few = data[:2000].copy()  # named, for the engine holds its address and no reference
    warm = engine(few, book)
    loop(warm)
    warm.close()
    hbt = engine(data, book)
    with Stopwatch() as run:
        wakes, requests = loop(hbt)
    fills = int(hbt.state_values(0).num_trades)
    position = float(hbt.position(0))
    hbt.close()
    emit(
        case, f"hftbacktest ({book})", version("hftbacktest"), n, run.wall, run.cpu,
        wakes=int(wakes), requests=int(requests), fills=fills, position=position,
    )  # fmt: skip


if __name__ == "__main__":
    main()
