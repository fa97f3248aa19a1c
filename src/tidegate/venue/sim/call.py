"""One request as the exchange's desks see it, however it came in."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.marketdata.binance_instruments import Market
from tidegate.venue.sim import refusal
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.admission import Params, needed
from tidegate.venue.sim.listing import Listing, Listings

REST_PREFIX = {"api": Market.SPOT, "sapi": Market.SPOT, "fapi": Market.USDM, "dapi": Market.COINM}
SOCKET_PREFIX = {"spot": Market.SPOT, "usdm": Market.USDM, "coinm": Market.COINM}
VENUE_NAMES = {Market.SPOT: "BINANCE", Market.USDM: "BINANCE_USDM", Market.COINM: "BINANCE_COINM"}


class Call(NamedTuple):
    """A request: whose, to which market, its parameters as text, and when it came (ns)."""

    account: Account
    market: Market
    params: Params
    now: int


def listing_of(listings: Listings, market: Market, params: Params) -> Listing:
    """The symbol a request names; raises `Refused` −1102 without one, −1121 for one that is not listed."""
    found = listings.find(market, needed(params, "symbol"))
    if found is None:
        raise refusal.unknown_symbol()
    return found


def maybe_listing(listings: Listings, market: Market, params: Params) -> Listing | None:
    """The same where the symbol may be left out."""
    return listing_of(listings, market, params) if params.get("symbol") else None
