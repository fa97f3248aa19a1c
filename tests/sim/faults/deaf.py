"""A strategy that misses corrections of fills: a fault of ours that the simulation must find."""

from __future__ import annotations

from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType
from tidegate.risk.booked import booked


def without_corrections(event: OrderEvent) -> int:
    """In place of `booked`."""
    return 0 if event.exec_type is ExecType.TRADE_CORRECT else booked(event)
