"""What a gateway needs of a venue: one session of one account. Each adapter fills it in.

Instruments are numbers of the run's universe; prices ticks, quantities lots, times ns. Every order carries our
ClOrdID to the venue as text (`client_id`), by which it is found again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol, runtime_checkable

import msgspec

from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.margin.compare import VenueMargin

PREFIX = "tg"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def client_id(cl_ord_id: int) -> str:
    """A ClOrdID as venues take it: `tg` and its digits to base 36."""
    text = ""
    while cl_ord_id:
        cl_ord_id, digit = divmod(cl_ord_id, 36)
        text = _DIGITS[digit] + text
    return PREFIX + text


def cl_ord_id_of(text: str) -> int:
    """The inverse of `client_id`; 0 for an id that is none of ours (an order somebody else placed)."""
    body = text.removeprefix(PREFIX).partition("-")[0]
    if not text.startswith(PREFIX) or not body or not set(body) <= set(_DIGITS):
        return 0
    return int(body, 36)


class VenueDown(Exception):
    """The venue did not answer, or cannot be reached: what was asked may or may not have been done."""


class VenueRefused(Exception):
    """The venue refused the session itself: a bad key, no permission, a banned address. Says what it said."""


class VenueOrder(msgspec.Struct, frozen=True, gc=False):
    """An open order as the venue holds it. `cl_ord_id` is 0 for one that is not ours; `text_id` is the venue's.

    `unread` says why it could not be read, where that is so (somebody's price off our grid): then only the ids and the
    instrument count, for it to be cancelled by.
    """

    cl_ord_id: int
    instrument: int
    side: Side
    qty: int
    price: int
    cum_qty: int
    leaves_qty: int
    status: OrdStatus
    ts_venue: int
    text_id: str = ""
    unread: str = ""


class VenueFill(msgspec.Struct, frozen=True, gc=False):
    """A fill as the venue's history has it: the report to adopt, and where it stands in the history."""

    report: Report
    instrument: int
    side: Side
    text_id: str = ""


@runtime_checkable
class MarginVenue(Protocol):
    """A venue that also says what an account's wallets hold, and what margin it asks for."""

    async def margin(self, with_tiers: bool = False) -> VenueMargin | None:
        """The account's margin by the venue's own sums, with its tiers if wanted (they change rarely); None where it
        has no wallets to tell of. Raises `VenueDown`, and `UserError` for tiers that make no table."""

    def on_money(self, told: Callable[[], None]) -> None:
        """Have `told` called when what a wallet holds has changed otherwise than by a fill of contracts."""


@runtime_checkable
class PacedVenue(Protocol):
    """A venue that counts what it is asked."""

    def between_fills(self) -> float:
        """Seconds that should lie between two regular readings of all fills, so that they keep others from nothing."""


def between_fills(venue: object) -> float:
    """As `PacedVenue`; 0 where the venue does not count."""
    return venue.between_fills() if isinstance(venue, PacedVenue) else 0.0


@runtime_checkable
class HoldingVenue(Protocol):
    """A venue that also says at what price a position was entered."""

    async def entries(self) -> dict[int, Decimal]:
        """The average entry price by instrument, of what is held, in the quote currency. Raises `VenueDown`."""


class Venue(Protocol):
    """One account at one venue."""

    @property
    def connected(self) -> bool:
        """Whether orders can be sent and the session's own reports arrive."""

    async def open(
        self, on_reports: Callable[[list[Report]], None], on_change: Callable[[bool], None]
    ) -> None:
        """Connect and stay connected. `on_reports` is told every report of the session as it comes, `on_change`
        whenever the session is lost (False) and back (True). Raises `VenueRefused` where the key is no good."""

    async def close(self) -> None:
        """Leave; open orders stay."""

    def send(self, request: SendNew | SendCancel | SendReplace) -> None:
        """Put a request on the wire now. Its answer comes as a report; where the venue does not answer, none does.
        One that cannot be sent (not connected, own rate limit) is reported as REJECTED or CANCEL_REJECTED only if it
        surely never left."""

    async def status(self, request: SendStatus) -> list[Report]:
        """The order's fills so far, then one ORDER_STATUS or NOT_FOUND. Raises `VenueDown`."""

    async def open_orders(self) -> list[VenueOrder]:
        """Every open order of the account in the run's instruments."""

    async def fills(self, since: int) -> list[VenueFill]:
        """Every fill at or after `since` (venue time, ns), oldest first."""

    async def positions(self) -> dict[int, int]:
        """Signed lots by instrument, 0 included, of contracts (perpetuals, futures); assets are `balances`."""

    async def balances(self) -> dict[str, Decimal]:
        """Total of each asset, free and locked."""

    async def cancel_all(self, instrument: int | None = None) -> None:
        """The venue's own mass cancel, of one instrument or of all of the run's."""

    async def countdown(self, seconds: float) -> None:
        """Arm the venue's dead man's switch: cancel all if this is not called again within `seconds`; 0 disarms.
        Where a venue has none, nothing happens."""

    def counters(self) -> dict[str, int]:
        """What went wrong or was held back so far, by name."""
