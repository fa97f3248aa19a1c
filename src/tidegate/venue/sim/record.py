"""The venue's own record: every request it received, every order, every fill. Tests and benches compare against it.

It is written to an unnamed temporary file, which is gone with the process: an hour's soak does not grow the server.
"""

from __future__ import annotations

import tempfile
from array import array
from typing import IO, Any

import orjson

from tidegate.venue.sim.call import VENUE_NAMES
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.views import status_text

_MARK = 256
"""Every so many entries it is noted where in the file they stand."""
_BUFFER = 1 << 16
_REQUEST = ("received_ns", "account", "kind", "symbol", "client_id", "answered_ns")
_HAPPENED = (
    "ts", "account", "instrument", "order", "client_id", "side", "what", "status", "qty", "price", "trade", "maker",
    "cum",
)  # fmt: skip


class Pages:
    """Entries of one kind in a file, a JSON line each, found again by their number."""

    def __init__(self, names: tuple[str, ...], limit: int) -> None:
        self._names, self._limit = names, limit
        self._file: IO[bytes] | None = None
        self._marks = array("Q")
        self._size = self.count = self.left_out = 0

    def add(self, entry: tuple[Any, ...]) -> None:
        """Write an entry; beyond the limit it is counted only."""
        if self.count >= self._limit:
            self.left_out += 1
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=_BUFFER)  # noqa: SIM115
        if self.count % _MARK == 0:
            self._marks.append(self._size)
        line = orjson.dumps(entry) + b"\n"
        self._file.write(line)
        self._size += len(line)
        self.count += 1

    def read(self, start: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` entries from number `start` on."""
        start = max(start, 0)
        if self._file is None or start >= self.count or limit <= 0:
            return []
        self._file.seek(self._marks[start // _MARK])
        skip, last = start % _MARK, min(self.count, start + limit)
        made = []
        for number, line in enumerate(self._file, start - skip):
            if number >= last:
                break
            if number >= start:
                made.append(dict(zip(self._names, orjson.loads(line), strict=True)))
        self._file.seek(0, 2)
        return made

    def close(self) -> None:
        """Give the file up."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Record:
    """Requests and happenings, each numbered from 0 in order, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._requests, self._happened = Pages(_REQUEST, limit), Pages(_HAPPENED, limit)

    def request(
        self, received: int, account: str, kind: str, symbol: str, client_id: str, answered: int
    ) -> None:
        """One signed request: when it was read off its socket, and when its answer was made; ns."""
        self._requests.add((received, account, kind, symbol, client_id, answered))

    def happened(self, order: Order, what: str, ts: int, trade: Trade | None) -> None:
        """Something happened to an order. Prices are ticks, quantities lots."""
        listing = order.listing
        qty, price, ident, maker = (
            (trade.qty, trade.price, trade.id, trade.maker) if trade else (0, 0, 0, False)
        )
        self._happened.add(
            (
                ts, order.account.name, f"{listing.symbol}.{VENUE_NAMES[listing.market]}", order.id, order.client_id,
                order.side.name, what, status_text(order), qty, price, ident, maker, order.cum,
            )
        )  # fmt: skip

    @property
    def size(self) -> tuple[int, int]:
        """(requests, happenings) kept."""
        return self._requests.count, self._happened.count

    @property
    def left_out(self) -> int:
        """Entries beyond the limit."""
        return self._requests.left_out + self._happened.left_out

    def requests(self, start: int = 0, limit: int = 100_000) -> list[dict[str, Any]]:
        """Requests from a number on."""
        return self._requests.read(start, limit)

    def happenings(self, start: int = 0, limit: int = 100_000) -> list[dict[str, Any]]:
        """What happened to orders, from a number on."""
        return self._happened.read(start, limit)

    def close(self) -> None:
        """Give the files up; nothing can be read after."""
        self._requests.close()
        self._happened.close()
