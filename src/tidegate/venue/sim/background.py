"""What stands behind the exchange: the market that orders meet. Two kinds fill this in, a capture and agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tidegate.venue.sim.order import Execution, Order

Sink = Callable[[Execution], None]
NEVER = (1 << 63) - 1


class Background(Protocol):
    """A market. Times are the server's (ns); every word on an order goes to the sink given at its making."""

    own_orders_meet: bool
    """Whether orders of ours trade with one another; where they do not, the exchange prevents self-trades."""

    def advance(self, now: int) -> None:
        """Let everything happen that is due at or before `now`."""

    def place(self, order: Order, now: int) -> None:
        """A new order arrives: NEW and what follows, or REJECTED, before this returns."""

    def cancel(self, order: Order, now: int) -> None:
        """A cancel arrives: CANCELED or CANCEL_REJECTED before this returns."""

    def replace(self, order: Order, qty: int, price: int, now: int) -> None:
        """A change of total quantity and price arrives: REPLACED and what follows, or CANCEL_REJECTED."""

    def halt(self, instrument: int, halted: bool, now: int) -> None:
        """Trading in an instrument stops, or goes on."""

    def touch(self, instrument: int) -> tuple[int, int]:
        """Best bid and ask, ticks; 0 where there is none."""

    def last(self, instrument: int) -> int:
        """The last trade's price, ticks; 0 before the first."""

    def next_due(self) -> int:
        """When `advance` next has something to do; `NEVER` when nothing more will happen by itself."""
