"""What the adapter remembers of its orders: enough to read the venue's events, never needed to be right.

Spot has no modify: a replace there cancels the order and places its successor, `<client id>-<generation>`. So one
ClOrdID is a chain of orders at the venue; quantities and fills are added up over it. A gateway that starts anew asks
the venue for the chain (`queries`).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from tidegate.model.messages import SendNew
from tidegate.venue.port import PREFIX, client_id

KEPT = 10_000
"""Orders remembered after their end; the oldest are forgotten."""


class Known(msgspec.Struct, gc=False):
    """An order as last heard of."""

    cl_ord_id: int
    instrument: int
    side: int = 0
    new: SendNew | None = None
    """The request that placed it; None where another process did."""
    qty: int = 0
    """The total over the chain; 0 where it is not known."""
    price: int = 0
    generation: int = 0
    filled: dict[int, int] = {}
    """What each generation has filled, by the venue's count; those that filled nothing are left out."""
    seen: dict[int, int] = {}
    """What of it has been handed on as trades."""
    kind: dict[str, str] = {}
    """The venue's type and time in force, which a successor shares."""
    complete: bool = True
    """Whether `filled` has every generation before this one."""
    venue_id: int = 0
    """The venue's number of the present generation."""
    sent_qty: int = 0
    """Quantity and price that the last successor was sent with."""
    sent_price: int = 0
    cancel_asked: bool = False
    replacing: bool = False
    """A replace is on its way."""
    told: set[tuple[int, int, int]] = set()
    """Reports that come by answer and by event, and have been handed on: (kind, quantity, price)."""
    over: bool = False

    @property
    def cum(self) -> int:
        """Filled over the chain; −1 where an earlier generation is not known."""
        return sum(self.filled.values()) if self.complete else -1

    def has_filled(self, generation: int, lots: int) -> None:
        """The venue counts so many lots filled by a generation."""
        if lots > self.filled.get(generation, 0):
            self.filled[generation] = lots

    def moved(self, generation: int) -> None:
        """The venue shows a generation: it is the present one if none later has been seen."""
        if generation > self.generation:
            self.complete = self.complete and generation == self.generation + 1
            self.generation = generation

    def once(self, kind: int, qty: int = 0, price: int = 0) -> bool:
        """Whether this is the first report of its kind, by answer or by event."""
        if (kind, qty, price) in self.told:
            return False
        self.told.add((kind, qty, price))
        return True

    def base(self, generation: int) -> int:
        """Filled before this generation; −1 where that is not known."""
        if not self.complete and generation:
            return -1
        return sum(lots for number, lots in self.filled.items() if number < generation)


def generation_of(text: str) -> int:
    """The generation in a client id; 0 for the first."""
    _, _, number = text.partition("-")
    return int(number) if number.isdigit() else 0


def generation_id(cl_ord_id: int, generation: int) -> str:
    """The client id of a generation."""
    return f"{client_id(cl_ord_id)}-{generation}" if generation else client_id(cl_ord_id)


def replaced_id(cl_ord_id: int, generation: int) -> str:
    """The id that the cancel of a replaced generation carries, so that its event is known for what it is."""
    return f"r{client_id(cl_ord_id)}-{generation}"


def is_replaced_id(text: str) -> bool:
    """Whether a cancel's own id says that it made room for a successor."""
    return text.startswith("r" + PREFIX)


class Orders:
    """The orders known, open ones always, closed ones as long as there is room. `chains`: a replace has successors."""

    def __init__(self, chains: bool) -> None:
        self._chains = chains
        self._open: dict[int, Known] = {}
        self._closed: OrderedDict[int, Known] = OrderedDict()
        self._owners: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open) + len(self._closed)

    def find(self, cl_ord_id: int) -> Known | None:
        """The order, open or over."""
        return self._open.get(cl_ord_id) or self._closed.get(cl_ord_id)

    def get(self, cl_ord_id: int, instrument: int, generation: int = 0) -> Known:
        """The order; one not heard of before is remembered from now on."""
        known = self.find(cl_ord_id)
        if known is None:
            known = Known(cl_ord_id, instrument, generation=generation, complete=not self._chains)
            self._open[cl_ord_id] = known
        return known

    def place(self, request: SendNew) -> Known:
        """One that is being sent."""
        known = Known(
            request.cl_ord_id, request.instrument, int(request.side), request, request.qty, request.price
        )  # fmt: skip
        self._open[request.cl_ord_id] = known
        return known

    def owns(self, instrument: int, venue_id: int, cl_ord_id: int) -> None:
        """The venue's number of an order of ours (0: of somebody else's)."""
        self._owners[instrument << 56 ^ venue_id] = cl_ord_id
        while len(self._owners) > 2 * KEPT:
            self._owners.popitem(last=False)

    def owner(self, instrument: int, venue_id: int) -> int | None:
        """Whose the venue's number is; None where it is not known."""
        return self._owners.get(instrument << 56 ^ venue_id)

    def end(self, known: Known) -> None:
        """The order is over: it may be forgotten."""
        known.over = True
        if self._open.pop(known.cl_ord_id, None) is not None:
            self._closed[known.cl_ord_id] = known
            while len(self._closed) > KEPT:
                self._closed.popitem(last=False)
