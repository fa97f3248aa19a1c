"""A strategy's own view of its orders, moved by the order events that reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.messages import NewOrder, OrderEvent
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side
from tidegate.risk.booked import booked

if TYPE_CHECKING:
    from tidegate.strategy.market import Market

_CREATED, _PENDING_CANCEL, _FILLED = OrdStatus.CREATED, OrdStatus.PENDING_CANCEL, OrdStatus.FILLED
_BUY, _REPLACED, _BUST = Side.BUY, ExecType.REPLACED, ExecType.TRADE_CANCEL


class StrategyOrder:
    """One order as its strategy knows it: late by the way the reports take.

    `reason` is the code of a denial or rejection (`risk.reasons`), 0 for none; `limit` and `value` are the
    figures a denial compared.
    """

    __slots__ = (
        "_asked",
        "_cum_value",
        "avg_px",
        "cl_ord_id",
        "cmd_id",
        "cum_qty",
        "leaves_qty",
        "limit",
        "market",
        "ord_type",
        "price",
        "qty",
        "reason",
        "side",
        "status",
        "tag",
        "value",
    )  # fmt: skip

    def __init__(self, market: Market, command: NewOrder) -> None:
        self.market = market
        self.cmd_id = command.cmd_id
        self.cl_ord_id = 0
        self.side: Side = command.side
        self.ord_type: OrdType = command.ord_type
        self.qty = command.qty
        self.price = command.price
        self.status: OrdStatus = _CREATED
        self.cum_qty = 0
        self.leaves_qty = command.qty
        self.avg_px = 0.0
        self.reason = 0
        self.limit = 0
        self.value = 0
        self.tag: object = None
        """Anything the strategy wants to remember with the order."""
        self._cum_value = 0
        self._asked: tuple[int, int] | None = None

    @property
    def open(self) -> bool:
        """True until the order has ended."""
        return self.status < _FILLED

    @property
    def cancellable(self) -> bool:
        """Open, and no cancel is on its way."""
        return self.status < _FILLED and self.status is not _PENDING_CANCEL

    @property
    def buy(self) -> bool:
        return self.side is _BUY

    def adopt(self, event: OrderEvent) -> None:
        """Move by an event of this order."""
        self.cl_ord_id = event.cl_ord_id
        self.status = event.status
        self.cum_qty = event.cum_qty
        self.leaves_qty = event.leaves_qty
        if event.last_qty and booked(event):
            value = event.last_qty * event.last_px
            self._cum_value += -value if event.exec_type is _BUST else value
            self.avg_px = self._cum_value / event.cum_qty if event.cum_qty else 0.0
        elif event.exec_type is _REPLACED and self._asked is not None:
            self.qty, self.price = self._asked
            self._asked = None
        if event.reason:
            self.reason, self.limit, self.value = event.reason, event.limit, event.value

    def restore(self, event: OrderEvent, cum_value: int) -> None:
        """Stand as `event` says, with fills worth `cum_value` (ticks × lots) behind it."""
        self.adopt(event)
        self._cum_value = cum_value
        self.avg_px = cum_value / event.cum_qty if event.cum_qty else 0.0

    def asked(self, qty: int, price: int) -> None:
        """Remember what a replace asks for, until the venue confirms it."""
        self._asked = (qty or self.qty, price or self.price)

    def __repr__(self) -> str:
        side = "buy" if self.buy else "sell"
        return (
            f"<{self.status.name} {side} {self.leaves_qty}/{self.qty} {self.market.id} @ {self.price} "
            f"#{self.cl_ord_id}>"
        )
