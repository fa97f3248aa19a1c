"""What decoders need, without a network; and the payloads Binance's documentation gives as examples."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Universe
from tidegate.model.messages import SendNew
from tidegate.model.order import OrdType, Side, TimeInForce
from tidegate.venue.binance.answers import Answers
from tidegate.venue.binance.events import Events
from tidegate.venue.binance.limits import Limits
from tidegate.venue.binance.orders import Orders
from tidegate.venue.binance.products import product
from tidegate.venue.binance.symbols import Symbols
from tidegate.venue.port import client_id

UNIVERSE = Universe(list(BINANCE))
SPOT, USDM, COINM = 0, 2, 4
"""BTC's number on each market."""
ORDER = (7 << 40) + 5
TEXT = client_id(ORDER)


class Desk:
    """The decoders of one product."""

    def __init__(self, venue: str = "BINANCE") -> None:
        self.product = product(venue)
        self.symbols = Symbols(UNIVERSE, venue)
        self.orders = Orders(self.product.chains)
        self.counts: Counter[str] = Counter()
        self.limits = Limits(self.product)
        self.events = Events(self.product, self.symbols, self.orders, self.counts)
        self.answers = Answers(self.product, self.symbols, self.orders, self.events, self.limits, self.counts)


def new_order(instrument: int = SPOT, **changes: Any) -> SendNew:
    """A limit order to buy, changed as told."""
    fields: dict[str, Any] = {
        "ts": 1, "cl_ord_id": ORDER, "account": 0, "instrument": instrument, "side": Side.BUY,
        "ord_type": OrdType.LIMIT, "qty": 100_000, "price": 5_000_000, "stop_price": 0,
        "time_in_force": TimeInForce.GTC, "exec_inst": 0, "display_qty": 0, "offset": 0, "expire_ts": 0,
    }  # fmt: skip
    return SendNew(**(fields | changes))


def execution_report(**changes: Any) -> dict[str, Any]:
    """Spot's `executionReport`, as documented (user-data-stream.md), for an order of ours."""
    event: dict[str, Any] = {
        "e": "executionReport", "E": 1499405658658, "s": "BTCUSDT", "c": TEXT, "S": "BUY", "o": "LIMIT",
        "f": "GTC", "q": "1.00000000", "p": "50000.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1,
        "C": "", "x": "NEW", "X": "NEW", "r": "NONE", "i": 4293153, "l": "0.00000000", "z": "0.00000000",
        "L": "0.00000000", "n": "0", "N": None, "T": 1499405658657, "t": -1, "v": 3, "I": 8641984, "w": True,
        "m": False, "M": False, "O": 1499405658657, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000",
        "W": 1499405658657, "V": "NONE",
    }  # fmt: skip
    return event | changes


def order_trade_update(**changes: Any) -> dict[str, Any]:
    """The `o` of the futures' `ORDER_TRADE_UPDATE`, as documented, for an order of ours."""
    order: dict[str, Any] = {
        "s": "BTCUSDT", "c": TEXT, "S": "SELL", "o": "LIMIT", "f": "GTC", "q": "0.001", "p": "50000", "ap": "0",
        "sp": "0", "x": "NEW", "X": "NEW", "i": 8886774, "l": "0", "z": "0", "L": "0", "N": "USDT", "n": "0",
        "T": 1568879465650, "t": 0, "b": "0", "a": "9.91", "m": False, "R": False, "wt": "CONTRACT_PRICE",
        "ot": "LIMIT", "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_TAKER",
        "pm": "OPPONENT", "gtd": 0,
    }  # fmt: skip
    return order | changes
