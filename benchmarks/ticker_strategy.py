"""The load of `bench_live.py`: on every so manieth tick one post-only order far from the touch, the one before it
cancelled; and a note of each tick's times, written at the end."""

from __future__ import annotations

from array import array
from pathlib import Path

from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Book, Quote, Trade, View

FAR = 0.02
"""The order's distance from the bid, a part of the price."""
MOST_OPEN = 100


class TickerParams(StrategyParams, frozen=True):
    """`market` is where the orders go, `size` their lots; `every` how many ticks there are to an order; `notes` the
    file for (exchange time, receive time) of every order's tick, two 64-bit integers each."""

    market: str
    size: int
    notes: str
    every: int = 10


class Ticker(Strategy):
    """See the module. Ticks are quotes, trades and depth messages of all instruments; orders follow from those of
    the traded one only, whose stamps are the venue's own."""

    Params = TickerParams
    params: TickerParams

    def on_start(self) -> None:
        self._market = self.market(self.params.market)
        self._number = self._market.number
        self._ticks = 0
        self._last: StrategyOrder | None = None
        self._notes = array("q")
        for number in range(len(self.host.universe)):
            market = self.market_number(number)
            self.subscribe_quotes(market)
            self.subscribe_trades(market)
            self.subscribe_book(market)

    def on_quote(self, quote: Quote) -> None:
        self._tick(quote)

    def on_trade(self, trade: Trade) -> None:
        self._tick(trade)

    def on_book(self, book: Book) -> None:
        self._tick(book)

    def _tick(self, view: View) -> None:
        self._ticks += 1
        if self._ticks < self.params.every or view.market.number != self._number:
            return
        bid = self._market.bid
        if not bid or len(self.orders) > MOST_OPEN:
            return
        self._ticks = min(self._ticks - self.params.every, 5 * self.params.every)
        self._notes.extend((view.ts_event, view.ts_recv))
        last, self._last = (
            self._last,
            self._market.buy(self.params.size, int(bid * (1 - FAR)), post_only=True),
        )
        if last is not None:
            self.cancel(last)

    def on_stop(self) -> None:
        Path(self.params.notes).write_bytes(self._notes.tobytes())
