"""What reconciliation looks at and what it comes to: the venue's view, what is carried over, the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from tidegate.execution.lane_view import ViewOrder
from tidegate.model.messages import Report, SendCancel, SendStatus
from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import MS

Key = tuple[str, int | str, int | str]
"""(what was found, of which order, instrument or asset, how much)."""


class OpenOrder(Protocol):
    """An open order as the venue holds it (`venue.port.VenueOrder`)."""

    @property
    def cl_ord_id(self) -> int: ...
    @property
    def instrument(self) -> int: ...
    @property
    def side(self) -> Side: ...
    @property
    def qty(self) -> int: ...
    @property
    def price(self) -> int: ...
    @property
    def cum_qty(self) -> int: ...
    @property
    def leaves_qty(self) -> int: ...
    @property
    def status(self) -> OrdStatus: ...
    @property
    def ts_venue(self) -> int: ...
    @property
    def text_id(self) -> str: ...


class HistoryFill(Protocol):
    """A fill as the venue's history has it (`venue.port.VenueFill`)."""

    @property
    def report(self) -> Report: ...
    @property
    def instrument(self) -> int: ...
    @property
    def side(self) -> Side: ...
    @property
    def text_id(self) -> str: ...


class VenueView(msgspec.Struct):
    """One look at the venue, taken from `began` to `ended` (ns, our clock).

    `fills` are those of the history that its stream had not told; the ones that are ours must have been appended.
    `moved` are the instruments of which fills came while the look was taken.
    """

    began: int
    ended: int
    orders: Sequence[OpenOrder] = ()
    fills: Sequence[HistoryFill] = ()
    positions: Mapping[int, int] = {}
    balances: Mapping[str, Decimal] = {}
    moved: frozenset[int] = frozenset()

    def ids(self) -> set[int]:
        """ClOrdIDs that it shows: the lanes must be asked about these."""
        shown = {order.cl_ord_id for order in self.orders} | {fill.report.cl_ord_id for fill in self.fills}
        return shown - {0}


class Looks(msgspec.Struct):
    """What is carried from one look to the next.

    `found` counts in how many looks running a finding was made. `positions` and `balances` are the differences (the
    venue's less ours) that have been told, or were there at the first look: they are not told again.
    """

    found: dict[Key, int] = msgspec.field(default_factory=dict)
    positions: dict[int, int] = msgspec.field(default_factory=dict)
    balances: dict[str, Decimal] = msgspec.field(default_factory=dict)


class Rules(msgspec.Struct, frozen=True):
    """`margin` (ns) is how far clocks may differ, `tolerance` the part of a balance that may drift in silence."""

    margin: int = 200 * MS
    tolerance: Decimal = Decimal("0.0001")
    looks: int = 2
    unsettled_looks: int = 5


class Alarm(msgspec.Struct):
    """For people: an alert to be told once."""

    kind: str
    severity: str
    text: str
    figures: dict[str, int | str]


class Plan(msgspec.Struct):
    """What is to be done after one look, and what the next one has to know."""

    looks: Looks
    reports: list[Report] = []
    ask: list[tuple[SendStatus, ViewOrder]] = []
    cancel: list[SendCancel] = []
    alarms: list[Alarm] = []
    restrict: dict[int, int] = {}
    """Instruments whose position differs, and by how much: the account is to go to REDUCE_ONLY."""
    foreign: dict[int, int] = {}
    """Open orders of somebody else's, by instrument."""
    again: bool = False
    """Something waits for a second look."""
    moving: bool = False
    """An order was moving, and is not at the venue as in our books: only a later look can tell."""

    def seen(self, before: Looks, key: Key) -> int:
        """In how many looks running this has been found, this one included."""
        times = self.looks.found[key] = before.found.get(key, 0) + 1
        return times
