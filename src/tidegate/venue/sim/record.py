"""The venue's own record: every request it received, every order, every fill. Tests and benches compare against it."""

from __future__ import annotations

from typing import Any

from tidegate.venue.sim.call import VENUE_NAMES
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.views import status_text


class Record:
    """Requests and happenings, in order, up to a limit; beyond it they are counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: list[tuple[int, str, str, str, str, int]] = []
        self._happened: list[tuple[int, Order, str, int, int, int, int, bool, str]] = []
        self.left_out = 0

    def request(
        self, received: int, account: str, kind: str, symbol: str, client_id: str, answered: int
    ) -> None:
        """One signed request: when it was read off its socket, and when its answer was written; ns."""
        if len(self._requests) >= self._limit:
            self.left_out += 1
            return
        self._requests.append((received, account, kind, symbol, client_id, answered))

    def happened(self, order: Order, what: str, ts: int, trade: Trade | None) -> None:
        """Something happened to an order."""
        if len(self._happened) >= self._limit:
            self.left_out += 1
            return
        qty, price, ident, maker = (
            (trade.qty, trade.price, trade.id, trade.maker) if trade else (0, 0, 0, False)
        )
        self._happened.append((ts, order, what, qty, price, ident, order.cum, maker, status_text(order)))

    @property
    def size(self) -> tuple[int, int]:
        """(requests, happenings) kept."""
        return len(self._requests), len(self._happened)

    def requests(self, start: int = 0, limit: int = 100_000) -> list[dict[str, Any]]:
        """Requests from a number on."""
        names = ("received_ns", "account", "kind", "symbol", "client_id", "answered_ns")
        return [dict(zip(names, row, strict=True)) for row in self._requests[start : start + limit]]

    def happenings(self, start: int = 0, limit: int = 100_000) -> list[dict[str, Any]]:
        """What happened to orders, from a number on. Prices are ticks, quantities lots."""
        made = []
        for ts, order, what, qty, price, trade, cum, maker, status in self._happened[start : start + limit]:
            made.append(
                {
                    "ts": ts,
                    "account": order.account.name,
                    "instrument": f"{order.listing.symbol}.{VENUE_NAMES[order.listing.market]}",
                    "order": order.id,
                    "client_id": order.client_id,
                    "side": order.side.name,
                    "what": what,
                    "status": status,
                    "qty": qty,
                    "price": price,
                    "trade": trade,
                    "maker": maker,
                    "cum": cum,
                }
            )
        return made
