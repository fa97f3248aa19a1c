"""A desk with one account and generous limits, for tests that tighten one control at a time."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
FIRM, DESK, MAIN, OTHER, MM, ARB = range(6)
BTC, OIL = 0, 1

# One lot is 0.001 BTC; at 60,000.0 (600,000 ticks) it is worth 60 USDT.
UNIVERSE = Universe(
    [
        Instrument(
            symbol="BTCUSDT", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=D("0.1"),
            lot=D("0.001"), initial_margin=D("0.1"), min_qty=D("0.002"), max_qty=D(100), min_notional=D(50),
        ),
        Instrument(
            symbol="CL", venue="Y", kind=InstrumentKind.FUTURE, base="CL", quote="USDT", tick=D("0.01"), lot=D(1),
            multiplier=D(1000), expiry=T0 + 100 * SECOND, negative_prices=True, initial_margin=D("0.1"),
        ),
    ]
)  # fmt: skip
SCOPES = ScopeTable(
    [Account(name="main", desk="desk", capital=D(1_000_000)), Account(name="other", capital=D(1_000_000))],
    [StrategyScope(name="mm", accounts=("main",)), StrategyScope(name="arb", accounts=("main", "other"))],
    desks=["desk"],
)
_EACH = {
    "position": 1_000, "gross": 50_000_000, "net": 50_000_000, "loss": 500_000, "drawdown": 500_000,
    "traded_value": 500_000_000,
}  # fmt: skip
GENEROUS: dict[str, Any] = {
    "firm": {
        **_EACH, "trade": ["*"], "sides": ["buy", "sell"], "time_in_force": ["day", "gtc", "ioc", "fok", "gtd"],
        "order_types": ["market", "limit", "stop", "stop_limit", "trailing_stop", "iceberg", "pegged"],
        "order_qty": 90, "order_value": 10_000_000, "parent_value": 20_000_000, "price_collar": "5%",
        "price_collar_floor": "1", "dynamic_collar": 8, "period_drift": "2%", "max_age": "1s", "duplicate_orders": 3,
    },
    "accounts": {"*": {**_EACH, "orders_per_second": 1000, "cancels_per_second": 1000, "open_orders": 100,
                       "open_value": 50_000_000, "margin_buffer": "10%"}},
    "strategies": {"*": {**_EACH, "orders_per_second": 1000, "cancels_per_second": 1000, "open_orders": 100,
                         "open_value": 50_000_000}},
}  # fmt: skip


def merged(changes: dict[str, Any], into: dict[str, Any] | None = None) -> dict[str, Any]:
    """GENEROUS with `changes` laid over it; None takes a key out."""
    result = dict(GENEROUS if into is None else into)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(value, result.get(key, {})) if isinstance(value, dict) else value
    return result


class Desk:
    """A gate, a clock that stands still unless moved, and orders numbered as they come."""

    def __init__(self, bid: int = 600_000, ask: int = 600_010, **changes: Any) -> None:
        self.gate = Gate(UNIVERSE, SCOPES, Limits.load(merged(changes)))
        self.ts, self.number = T0, 0
        self.touch = {BTC: (bid, ask), OIL: (5_000, 5_002)}
        self.age = 0

    def order(self, lots: int, price: int = 0, **fields: Any) -> Order:
        """An order for `lots` (below 0: a sell); a limit when it has a price, else a market order."""
        self.number += 1
        given = {
            "account": 0, "strategy": 0, "instrument": BTC, "cl_ord_id": self.number, "cmd_id": self.number,
            "side": Side.BUY if lots > 0 else Side.SELL, "qty": abs(lots), "leaves_qty": abs(lots), "price": price,
            "ord_type": OrdType.LIMIT if price else OrdType.MARKET, "time_in_force": TimeInForce.GTC,
        }  # fmt: skip
        return Order(**{**given, **fields})

    def check(self, order: Order) -> int:
        bid, ask = self.touch.get(order.instrument, (0, 0))
        return self.gate.check(order, bid, ask, self.ts - self.age, self.ts)

    def send(self, lots: int, price: int = 0, **fields: Any) -> int:
        """Check a new order; its reason."""
        return self.check(self.order(lots, price, **fields))

    def replace(self, order: Order, qty: int = 0, price: int = 0) -> int:
        bid, ask = self.touch[order.instrument]
        return self.gate.check_replace(order, qty, price, bid, ask, self.ts - self.age, self.ts)

    def trade(self, lots: int, price: int, **fields: Any) -> None:
        """Buy or sell at once: an IOC limit that fills whole."""
        order = self.order(lots, price, time_in_force=TimeInForce.IOC, **fields)
        assert self.check(order) == 0, self.gate.explain()
        self.gate.fill(order, order.qty, price, 0, self.ts)

    def mark(self, instrument: int = BTC) -> None:
        self.gate.mark(instrument, *self.touch[instrument], self.ts)

    def move(self, bid: int, ask: int, after: int = SECOND, instrument: int = BTC) -> None:
        """Let time pass and the market move, and mark it."""
        self.ts += after
        self.touch[instrument] = (bid, ask)
        self.mark(instrument)

    @property
    def figures(self) -> tuple[int, int, int]:
        """(limit, value, scope) of the last denial."""
        return self.gate.limit, self.gate.value, self.gate.scope
