"""The replay cases on nautilus_trader 1 (Cython).   python peers/nautilus1.py CASE [N]

Cases and data are those of `benchmarks/README.md`. Market data are Python objects made and handed over before
the clock starts; only `BacktestEngine.run` is timed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import draws
import nautilus_trader
import numpy as np
from meter import Stopwatch, emit
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import (
    BarType,
    BookOrder,
    OrderBookDelta,
    OrderBookDeltas,
    QuoteTick,
    TradeTick,
)
from nautilus_trader.model.enums import AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

BTC = TestInstrumentProvider.btcusdt_binance()
ME = BTC.id
TICK = 0.01
LAST, SNAPSHOT = 128, 32
SIDES = {1: OrderSide.BUY, 0: OrderSide.SELL}


def price(ticks: int) -> Price:
    return Price(ticks / 100, 2)


def quotes(n: int) -> Iterator[QuoteTick]:
    for ts, bid, bids, asks in draws.quotes(n):
        low, high = np.round(bid / 100, 2), np.round((bid + 1) / 100, 2)
        at = ts.astype(np.uint64)
        yield from QuoteTick.from_raw_arrays_to_list(
            ME, 2, 6, low, high, bids.astype(float), asks.astype(float), at, at
        )


def trades(n: int) -> Iterator[TradeTick]:
    number = 0
    for chunk in draws.trades(n):
        for ts, at, size, buyer in zip(*(column.tolist() for column in chunk), strict=True):
            side = AggressorSide.BUYER if buyer else AggressorSide.SELLER
            yield TradeTick(ME, price(at), Quantity(size, 6), side, TradeId(str(number)), ts, ts)
            number += 1


def deltas(n: int, batch: int) -> Iterator[OrderBookDelta | OrderBookDeltas]:
    at = {
        (side, away): price(draws.MID + (-away if side else away)) for side in (0, 1) for away in range(1, 21)
    }
    units = [Quantity(size, 6) for size in range(101)]
    ts = draws.START
    first = [OrderBookDelta(ME, BookAction.CLEAR, None, SNAPSHOT, 0, ts, ts)]
    for place, (side, away) in enumerate(at):
        flags = SNAPSHOT | (LAST if place == len(at) - 1 else 0)
        order = BookOrder(SIDES[side], at[side, away], units[10], 0)
        first.append(OrderBookDelta(ME, BookAction.ADD, order, flags, 0, ts, ts))
    if batch == 1:
        yield from first
    else:
        yield OrderBookDeltas(ME, first)
    held: list[OrderBookDelta] = []
    for chunk in draws.deltas(n):
        for row, side, away, size, gone in zip(*(column.tolist() for column in chunk), strict=True):
            ts = draws.START + draws.STEP * (1 + row // batch)
            action = BookAction.DELETE if gone else BookAction.UPDATE
            order = BookOrder(SIDES[side], at[side, away], units[0 if gone else size], 0)
            flags = LAST if (row + 1) % batch == 0 else 0
            delta = OrderBookDelta(ME, action, order, flags, row, ts, ts)
            if batch == 1:
                yield delta
                continue
            held.append(delta)
            if flags:
                yield OrderBookDeltas(ME, held)
                held = []


class Counting(Strategy):
    def __init__(self) -> None:
        super().__init__()
        self.calls = self.sent = self.fills = 0

    def send(self, order: object) -> None:
        self.sent += 1
        self.submit_order(order)

    def on_order_filled(self, event: object) -> None:
        self.fills += 1


class QuotesEmpty(Counting):
    def on_start(self) -> None:
        self.subscribe_quote_ticks(ME)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.calls += 1


class QuotesOrders(Counting):
    def on_start(self) -> None:
        self.qty = BTC.make_qty(0.001)
        self.resting = None
        self.subscribe_quote_ticks(ME)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.calls += 1
        n = self.calls
        if n % 1000 == 0:
            self.send(self.order_factory.market(ME, SIDES[n // 1000 % 2], self.qty))
        if n % 100 == 0:
            buy = n // 100 % 2
            if self.resting is not None and self.resting.is_open:
                self.cancel_order(self.resting)
            target = tick.bid_price.as_double() - 10 * TICK if buy else tick.ask_price.as_double() + 10 * TICK
            self.resting = self.order_factory.limit(ME, SIDES[buy], self.qty, BTC.make_price(target))
            self.send(self.resting)


class TradesEma(Counting):
    def on_start(self) -> None:
        bars = BarType.from_str(f"{ME}-1-MINUTE-LAST-INTERNAL")
        self.fast, self.slow = ExponentialMovingAverage(10), ExponentialMovingAverage(20)
        for average in (self.fast, self.slow):
            self.register_indicator_for_bars(bars, average)
        self.qty, self.held = BTC.make_qty(0.001), 0
        self.subscribe_bars(bars)

    def on_bar(self, bar: object) -> None:
        self.calls += 1
        if self.indicators_initialized():
            want = 1 if self.fast.value >= self.slow.value else -1
            if want != self.held:
                self.send(self.order_factory.market(ME, SIDES[want > 0], self.qty))
                self.held = want


class Deltas(Counting):
    def on_start(self) -> None:
        self.subscribe_order_book_deltas(ME, BookType.L2_MBP)

    def on_order_book_deltas(self, deltas: object) -> None:
        self.calls += 1


CASES = {
    "quotes_empty": (quotes, QuotesEmpty),
    "quotes_orders": (quotes, QuotesOrders),
    "trades_ema": (trades, TradesEma),
    "deltas": (lambda n: deltas(n, 1), Deltas),
    "deltas10": (lambda n: deltas(n, 10), Deltas),
}


def main() -> None:
    case, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    make, kind = CASES[case]
    data = list(make(n))
    engine = BacktestEngine(
        BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    )
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(10_000_000, USDT)],
        book_type=BookType.L2_MBP if case.startswith("deltas") else BookType.L1_MBP,
        trade_execution=case.startswith("trades"),
    )  # fmt: skip
    engine.add_instrument(BTC)
    strategy = kind()
    engine.add_strategy(strategy)
    engine.add_data(data)
    with Stopwatch() as run:
        engine.run()
    emit(
        case, "nautilus_trader 1", nautilus_trader.__version__, n, run.wall, run.cpu,
        callbacks=strategy.calls, orders=strategy.sent, fills=strategy.fills,
    )  # fmt: skip


if __name__ == "__main__":
    main()
