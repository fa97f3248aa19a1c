"""The strategies of the replay benchmarks, as the peers' scripts define them."""

from __future__ import annotations

from tidegate.model.order import TimeInForce
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Bar, Book, Fill, Quote

QTY = 1000  # 0.001 BTC in lots


class Counting(Strategy):
    """Counts what it is called for."""

    class Params(StrategyParams):
        market: str = "BTCUSDT.BINANCE"

    n = 0
    fills = 0
    orders_sent = 0

    def on_fill(self, fill: Fill) -> None:
        self.fills += 1


class QuotesEmpty(Counting):
    """`quotes_empty`: called on every quote."""

    def on_start(self) -> None:
        self.subscribe_quotes(self.market(self.params.market))

    def on_quote(self, quote: Quote) -> None:
        self.n += 1


class QuotesOrders(Counting):
    """`quotes_orders`: a market order every 1000 quotes; every 100 a limit order ten ticks off, the last cancelled."""

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.limit: StrategyOrder | None = None
        self.subscribe_quotes(self.m)

    def on_quote(self, quote: Quote) -> None:
        self.n += 1
        n = self.n
        if n % 1000 == 0:
            self.orders_sent += 1
            if (n // 1000) % 2:
                self.m.buy(QTY, tif=TimeInForce.IOC)
            else:
                self.m.sell(QTY, tif=TimeInForce.IOC)
        if n % 100 == 0:
            if self.limit is not None and self.limit.open:
                self.cancel(self.limit)
            self.orders_sent += 1
            if (n // 100) % 2:
                self.limit = self.m.buy(QTY, quote.bid - 10)
            else:
                self.limit = self.m.sell(QTY, quote.ask + 10)


class Ema:
    """Exponential moving average over n values."""

    def __init__(self, n: int) -> None:
        self.alpha = 2 / (n + 1)
        self.value = 0.0
        self.count = 0
        self.need = n

    def add(self, x: float) -> None:
        self.value = x if self.count == 0 else self.value + self.alpha * (x - self.value)
        self.count += 1


class TradesEma(Counting):
    """`trades_ema`: one-minute bars from trades, an EMA(10)/EMA(20) cross, a market order on each."""

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.fast, self.slow = Ema(10), Ema(20)
        self.want = 0
        self.subscribe_bars(self.m, "1m")

    def on_bar(self, bar: Bar) -> None:
        self.n += 1
        self.fast.add(bar.close)
        self.slow.add(bar.close)
        if self.slow.count < self.slow.need:
            return
        want = 1 if self.fast.value >= self.slow.value else -1
        if want != self.want:
            self.orders_sent += 1
            if want > 0:
                self.m.buy(QTY, tif=TimeInForce.IOC)
            else:
                self.m.sell(QTY, tif=TimeInForce.IOC)
            self.want = want


class Deltas(Counting):
    """`deltas`: called after every message of depth data."""

    def on_start(self) -> None:
        self.subscribe_book(self.market(self.params.market))

    def on_book(self, book: Book) -> None:
        self.n += 1
