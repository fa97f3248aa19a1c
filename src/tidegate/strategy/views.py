"""What a strategy is shown of the market: light views over the event of the moment.

`Quote`, `Trade` and `Book` read the event being delivered, in place, so that a callback on every tick costs no
object. They are valid until the handler returns: take numbers out of them, or `copy()`. `Bar` and `Fill` are
values of their own and may be kept. Prices are ticks, quantities lots, times ns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tidegate.model.order import Side

if TYPE_CHECKING:
    from tidegate.strategy.market import Market
    from tidegate.strategy.orders import StrategyOrder

# Words of the shown event (model.event) and of the touch behind it (kernel.engine C_*).
_SIDES = {int(side): side for side in Side}
_TS_EVENT, _TS_RECV, _SEQ, _PRICE, _SIZE, _PRICE2, _SIZE2, _META = range(8)
_NOW, _BID, _BID_QTY, _ASK, _ASK_QTY = range(8, 13)
_NUMBER = 0xFFFFFFFF


class View:
    """The event of the moment, over `words`: int64, the event's eight and then the touch."""

    __slots__ = ("_markets", "_words")

    def __init__(self, words: memoryview, markets: list[Market]) -> None:
        self._words = words
        self._markets = markets

    @property
    def market(self) -> Market:
        """The market the event is of."""
        return self._markets[self._words[_META] & _NUMBER]

    @property
    def ts_event(self) -> int:
        """Exchange time, ns."""
        return self._words[_TS_EVENT]

    @property
    def ts_recv(self) -> int:
        """When it reached us, ns."""
        return self._words[_TS_RECV]

    @property
    def seq(self) -> int:
        """The source's sequence number."""
        return self._words[_SEQ]


class QuoteTick(msgspec.Struct, frozen=True, gc=False):
    """A quote to keep: best bid and ask with their sizes."""

    market: Market
    ts_event: int
    ts_recv: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


class Quote(View):
    """Best bid and ask as the feed stated them."""

    __slots__ = ()

    @property
    def bid(self) -> int:
        return self._words[_PRICE]

    @property
    def bid_qty(self) -> int:
        return self._words[_SIZE]

    @property
    def ask(self) -> int:
        return self._words[_PRICE2]

    @property
    def ask_qty(self) -> int:
        return self._words[_SIZE2]

    @property
    def mid(self) -> float:
        """The middle, in ticks."""
        return (self._words[_PRICE] + self._words[_PRICE2]) / 2

    def copy(self) -> QuoteTick:
        """The same numbers as a value that may be kept."""
        return QuoteTick(
            self.market, self.ts_event, self.ts_recv, self.bid, self.bid_qty, self.ask, self.ask_qty
        )


class TradeTick(msgspec.Struct, frozen=True, gc=False):
    """A trade to keep."""

    market: Market
    ts_event: int
    ts_recv: int
    price: int
    qty: int
    side: Side
    trade_id: int


class Trade(View):
    """One trade of the market; `side` is the aggressor's."""

    __slots__ = ()

    @property
    def price(self) -> int:
        return self._words[_PRICE]

    @property
    def qty(self) -> int:
        return self._words[_SIZE]

    @property
    def side(self) -> Side:
        return _SIDES[(self._words[_META] >> 40) & 0xFF]

    @property
    def trade_id(self) -> int:
        return self._words[_PRICE2]

    def copy(self) -> TradeTick:
        """The same numbers as a value that may be kept."""
        return TradeTick(
            self.market, self.ts_event, self.ts_recv, self.price, self.qty, self.side, self.trade_id
        )


class Book(View):
    """The order book after a message of depth data; `market.levels` reads deeper than the touch."""

    __slots__ = ()

    @property
    def bid(self) -> int:
        """Best bid; far below every price when there is none (`market.has_touch`)."""
        return self._words[_BID]

    @property
    def bid_qty(self) -> int:
        return self._words[_BID_QTY]

    @property
    def ask(self) -> int:
        return self._words[_ASK]

    @property
    def ask_qty(self) -> int:
        return self._words[_ASK_QTY]

    @property
    def mid(self) -> float:
        """The middle, in ticks."""
        return (self._words[_BID] + self._words[_ASK]) / 2


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Trades of one interval, which ended at `ts`. Intervals without a trade have no bar."""

    market: Market
    ts: int
    interval: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Fill(msgspec.Struct, frozen=True, gc=False):
    """A fill of one of our orders. `fee` is in minor units of the settlement currency, positive when paid."""

    order: StrategyOrder
    market: Market
    ts: int
    side: Side
    price: int
    qty: int
    fee: int
    maker: bool
    exec_id: int
