"""The replay cases on nautilus_trader 2 (Rust core, Python strategies).   python peers/nautilus2.py CASE [N]

Cases and data are those of `benchmarks/README.md`. Market data are Python objects made and handed over before
the clock starts; only `BacktestEngine.run` is timed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import draws
import nautilus_trader
from meter import Stopwatch, emit
from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig
from nautilus_trader.execution import MakerTakerFeeModel
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model import (
    AccountType,
    AggressorSide,
    BarType,
    BookAction,
    BookOrder,
    BookType,
    Currency,
    Money,
    OmsType,
    OrderBookDelta,
    OrderBookDeltas,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
    TradeId,
    TradeTick,
    Venue,
)
from nautilus_trader.testkit.providers import TestInstrumentProvider
from nautilus_trader.trading import Strategy, StrategyConfig

BTC = TestInstrumentProvider.btcusdt_binance()
ME = BTC.id
TICK = 0.01
LAST, SNAPSHOT = 128, 32
SIDES = {1: OrderSide.BUY, 0: OrderSide.SELL}


def price(ticks: int) -> Price:
    return Price(ticks / 100, 2)


def quotes(n: int) -> Iterator[QuoteTick]:
    size = [Quantity(units, 6) for units in range(11)]
    for chunk in draws.quotes(n):
        for ts, bid, bids, asks in zip(*(column.tolist() for column in chunk), strict=True):
            yield QuoteTick(ME, price(bid), price(bid + 1), size[bids], size[asks], ts, ts)


def trades(n: int) -> Iterator[TradeTick]:
    number = 0
    for chunk in draws.trades(n):
        for ts, at, size, buyer in zip(*(column.tolist() for column in chunk), strict=True):
            side = AggressorSide.BUY if buyer else AggressorSide.SELL
            yield TradeTick(ME, price(at), Quantity(size, 6), side, TradeId(str(number)), ts, ts)
            number += 1


def deltas(n: int, batch: int) -> Iterator[OrderBookDelta | OrderBookDeltas]:
    at = {
        (side, away): price(draws.MID + (-away if side else away)) for side in (0, 1) for away in range(1, 21)
    }
    units = [Quantity(size, 6) for size in range(101)]
    ts = draws.START
    first = [OrderBookDelta.clear(ME, 0, ts, ts)]
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
    def __new__(cls) -> Counting:
        return super().__new__(cls, StrategyConfig(order_id_tag="001", log_events=False, log_commands=False))

    def __init__(self) -> None:
        self.calls = self.sent = self.fills = 0

    def send(self, order: object) -> None:
        self.sent += 1
        self.submit_order(order)

    def on_order_filled(self, _event: object) -> None:
        self.fills += 1


class QuotesEmpty(Counting):
    def on_start(self) -> None:
        self.subscribe_quotes(ME)

    def on_quote(self, _quote: QuoteTick) -> None:
        self.calls += 1


class QuotesOrders(Counting):
    def on_start(self) -> None:
        self.qty = BTC.make_qty(0.001)
        self.resting = None
        self.subscribe_quotes(ME)

    def on_quote(self, quote: QuoteTick) -> None:
        self.calls += 1
        n = self.calls
        if n % 1000 == 0:
            self.send(self.order_factory.market(ME, SIDES[n // 1000 % 2], self.qty))
        if n % 100 == 0:
            buy = n // 100 % 2
            if self.resting is not None and self.cache.is_order_open(self.resting):
                self.cancel_order(self.resting)
            target = (
                quote.bid_price.as_double() - 10 * TICK if buy else quote.ask_price.as_double() + 10 * TICK
            )
            order = self.order_factory.limit(ME, SIDES[buy], self.qty, BTC.make_price(target))
            self.resting = order.client_order_id
            self.send(order)


class TradesEma(Counting):
    def on_start(self) -> None:
        bars = BarType.from_str(f"{ME}-1-MINUTE-LAST-INTERNAL")
        self.fast, self.slow = ExponentialMovingAverage(10), ExponentialMovingAverage(20)
        for average in (self.fast, self.slow):
            self.register_indicator_for_bars(bars, average)
        self.qty, self.held = BTC.make_qty(0.001), 0
        self.subscribe_bars(bars)

    def on_bar(self, _bar: object) -> None:
        self.calls += 1
        if self.indicators_initialized():
            want = 1 if self.fast.value >= self.slow.value else -1
            if want != self.held:
                self.send(self.order_factory.market(ME, SIDES[want > 0], self.qty))
                self.held = want


class Deltas(Counting):
    def on_start(self) -> None:
        self.subscribe_book_deltas(ME, BookType.L2_MBP, managed=True)

    def on_book_deltas(self, _deltas: object) -> None:
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
    logger = LoggerConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(bypass_logging=True, run_analysis=False, logging=logger))
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(10_000_000, Currency.from_str("USDT"))],
        book_type=BookType.L2_MBP if case.startswith("deltas") else BookType.L1_MBP,
        trade_execution=case.startswith("trades"), fee_model=MakerTakerFeeModel(Decimal("0.001"), Decimal("0.001")),
    )  # fmt: skip
    engine.add_instrument(BTC)
    strategy = kind()
    engine.add_strategy(strategy)
    engine.add_data(data)
    with Stopwatch() as run:
        engine.run()
    time.sleep(0.3)  # its logger's thread may still write; the result must start a line of its own
    print(flush=True)
    emit(
        case, "nautilus_trader 2", nautilus_trader.__version__, n, run.wall, run.cpu,
        callbacks=strategy.calls, orders=strategy.sent, fills=strategy.fills,
    )  # fmt: skip


if __name__ == "__main__":
    main()
