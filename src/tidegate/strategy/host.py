"""What a strategy stands on: the port that a backtest, a paper run and a live process each fill in."""

from __future__ import annotations

from typing import Protocol

from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelAll, CancelOrder, NewOrder, ReplaceOrder


class Host(Protocol):
    """The services a strategy uses. Instruments are numbers of `universe`; units are ticks, lots, ns."""

    universe: Universe

    def now(self) -> int:
        """The local time."""

    def touch(self, instrument: int) -> tuple[int, int, int]:
        """(bid, ask, time of the last update); a price is 0 where there is none or the book is unusable."""

    def level_qty(self, instrument: int, side: int, price: int) -> int:
        """Size shown at a price of the local book."""

    def levels(self, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
        """Up to `count` (price, size) of one side, best first."""

    def last_trade(self, instrument: int) -> tuple[int, int]:
        """(price, size) of the last trade seen; (0, 0) before the first."""

    def position(self, instrument: int) -> int:
        """The strategy's own position in lots, signed."""

    def command(self, message: NewOrder | CancelOrder | ReplaceOrder | CancelAll) -> None:
        """Hand a command to the order manager."""

    def subscribe(self, instrument: int, wake: int) -> None:
        """Be woken by a kind of event (`kernel.engine.WAKE_*`) of an instrument."""

    def subscribe_bars(self, instrument: int, interval: int) -> None:
        """Be woken at the end of each `interval` ns in which the instrument traded."""

    def timer(self, interval: int, first: int, name: str) -> None:
        """Be woken at `first` and every `interval` ns after; interval 0: once."""

    def stop(self, reason: str) -> None:
        """End this strategy's run."""
