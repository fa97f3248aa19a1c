"""An order and a trade as the exchange keeps them. Prices ticks, quantities lots, times ns, money minor units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.order import ExecType, OrdStatus, OrdType, SelfTrade, Side, TimeInForce
from tidegate.venue.sim.listing import Listing

if TYPE_CHECKING:
    from tidegate.venue.sim.account import Account

_OPEN = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)


class Order:
    """One order. `value` is the sum of its fills' weights (`Listing.weight`), `turnover` their value in money."""

    __slots__ = (
        "account",
        "cancel_id",
        "client_id",
        "cum",
        "display",
        "ending",
        "expire",
        "id",
        "leaves",
        "lent",
        "listing",
        "locked",
        "offset",
        "ord_type",
        "post_only",
        "price",
        "qty",
        "reason",
        "reduce_only",
        "self_trade",
        "side",
        "side_effect",
        "status",
        "stop",
        "tif",
        "tif_text",
        "triggered",
        "ts",
        "ts_update",
        "turnover",
        "type_text",
        "value",
        "working",
    )  # fmt: skip

    def __init__(
        self, account: Account, listing: Listing, side: Side, ord_type: OrdType, type_text: str, qty: int,
    ) -> None:  # fmt: skip
        self.account, self.listing, self.side = account, listing, side
        self.ord_type, self.type_text, self.qty = ord_type, type_text, qty
        self.leaves = qty
        self.id = self.price = self.stop = self.display = self.offset = self.expire = 0
        self.cum = self.value = self.locked = self.ts = self.ts_update = self.reason = 0
        self.turnover = self.lent = 0
        self.client_id = self.cancel_id = ""
        self.tif, self.tif_text = TimeInForce.GTC, "GTC"
        self.post_only = self.reduce_only = False
        self.ending = self.side_effect = ""
        """How its end is called where that is not plain: `EXPIRED`, `EXPIRED_IN_MATCH`."""
        self.self_trade = SelfTrade.ALLOW
        self.status = OrdStatus.PENDING_NEW
        self.working = self.triggered = False

    @property
    def open(self) -> bool:
        """Whether it can still trade."""
        return self.status in _OPEN

    @property
    def resting_price(self) -> int:
        """What its money is judged by: its limit, else its stop price; 0 for a market order."""
        return self.price or self.stop


class Execution:
    """The market's word on one order: what happened to it, at which time of the exchange."""

    __slots__ = ("kind", "last_px", "last_qty", "leaves", "maker", "order_id", "price", "qty", "reason", "ts")

    def __init__(
        self, kind: ExecType, order_id: int, ts: int, last_qty: int = 0, last_px: int = 0, maker: bool = False,
        qty: int = 0, price: int = 0, leaves: int = 0, reason: int = 0,
    ) -> None:  # fmt: skip
        self.kind, self.order_id, self.ts = kind, order_id, ts
        self.last_qty, self.last_px, self.maker = last_qty, last_px, maker
        self.qty, self.price, self.leaves, self.reason = qty, price, leaves, reason


class Trade:
    """One fill of one order. `fee` is in `fee_asset`, `realised` in the settlement currency."""

    __slots__ = (
        "busted", "fee", "fee_asset", "id", "maker", "order", "price", "qty", "realised", "ts",
    )  # fmt: skip

    def __init__(
        self, ident: int, order: Order, qty: int, price: int, maker: bool, ts: int, fee: int, fee_asset: str
    ) -> None:
        self.id, self.order, self.qty, self.price, self.maker = ident, order, qty, price, maker
        self.ts, self.fee, self.fee_asset = ts, fee, fee_asset
        self.realised = 0
        self.busted = False
