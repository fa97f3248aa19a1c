"""`/admin`: faults on demand, the venue's own record and state. Loopback and a token only."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import VENUES
from tidegate.model.scale import ScaleError
from tidegate.model.time import MS
from tidegate.venue.sim.bands import BandRules
from tidegate.venue.sim.call import VENUE_NAMES
from tidegate.venue.sim.config import FundingRule
from tidegate.venue.sim.corrections import amend_trade, find_trade
from tidegate.venue.sim.faults import KINDS
from tidegate.venue.sim.listing import PURSE, Listing
from tidegate.venue.sim.views import order_view

if TYPE_CHECKING:
    from tidegate.venue.sim.server import VenueServer

TOKEN = "X-Admin-Token"
_LOOPBACK = ("127.0.0.1", "::1")
Json = dict[str, Any]


class Admin:
    """The administration of one server; its methods serve programs in the same process, too."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    def add_to(self, app: web.Application) -> None:
        """Add the paths, where the configuration has a token."""
        if not self._server.config.admin_token:
            return
        routes: dict[tuple[str, str], Callable[[Json], Any]] = {
            ("POST", "faults"): self.fault,
            ("DELETE", "faults"): self.clear,
            ("GET", "faults"): self.faults,
            ("POST", "disconnect"): self.disconnect,
            ("POST", "halt"): lambda asked: self.halt(asked, True),
            ("POST", "resume"): lambda asked: self.halt(asked, False),
            ("POST", "bands"): self.set_bands,
            ("GET", "bands"): self.bands,
            ("POST", "funding"): self.funding,
            ("POST", "deposit"): self.deposit,
            ("POST", "bust"): self.bust,
            ("POST", "correct"): self.correct,
            ("POST", "start"): self.start,
            ("POST", "speed"): self.speed,
            ("GET", "record"): self.record,
            ("GET", "state"): self.state,
            ("GET", "health"): lambda asked: self._server.health(),
        }
        for (method, path), answer in routes.items():
            app.router.add_route(method, f"/admin/{path}", self._handler(answer))

    def _handler(self, answer: Callable[[Json], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            token = request.headers.get(TOKEN, "")
            if request.remote not in _LOOPBACK or not hmac.compare_digest(
                token.encode(), self._server.config.admin_token.encode()
            ):
                return web.json_response(
                    {"error": f"send the server's token as {TOKEN}, from this machine"}, status=403
                )
            try:
                raw = await request.read()
                asked: Json = dict(request.query) | (orjson.loads(raw) if raw else {})
                made = answer(asked)
            except (UserError, ScaleError, ValueError, TypeError) as error:
                return web.json_response({"error": str(error)}, status=400)
            self._server.outlets.flush()
            return web.Response(body=orjson.dumps(made), content_type="application/json")

        return handle

    # Faults.

    def fault(self, asked: Json) -> Json:
        """Add a standing fault: see `faults.Fault`."""
        server = self._server
        made = server.faults.add(asked, server.clock.now())
        if made.kind == "malformed_public":
            server.faults.clear(made.kind)
            server.hub.cut_next += made.count or 1
            server.faults.acted[made.kind] += made.count or 1
        return {"added": made.kind}

    def clear(self, asked: Json) -> Json:
        """End the faults of a `kind`, or all."""
        self._server.faults.clear(str(asked.get("kind", "")))
        return {"standing": len(self._server.faults.standing())}

    def faults(self, asked: Json) -> Json:
        """What can go wrong, what is to, and what has."""
        standing = [
            {"kind": f.kind, "count": f.count, "until": f.until} for f in self._server.faults.standing()
        ]
        return {"kinds": KINDS, "standing": standing, "acted": dict(self._server.faults.acted)}

    def disconnect(self, asked: Json) -> Json:
        """Cut sockets: of a `kind` (`public`, `user`, `ws_api`), of an `account`, or all."""
        count = self._server.outlets.cut(str(asked.get("kind", "")), str(asked.get("account", "")))
        return {"cut": count}

    def halt(self, asked: Json, halted: bool) -> Json:
        """Stop trading in an `instrument` (`SYMBOL.VENUE`), or let it go on."""
        listing = self._listing(asked)
        self._server.exchange.halt(listing, halted, self._server.clock.now())
        return {"halted": [self._server.listings[n].symbol for n in sorted(self._server.exchange.halted)]}

    def set_bands(self, asked: Json) -> Json:
        """Give an `instrument` price bands and volatility halts: see `bands.BandRules`."""
        listing = self._listing(asked)
        rules = BandRules.load({name: value for name, value in asked.items() if name != "instrument"})
        self._server.exchange.bands.set(listing.number, rules)
        return self.bands(asked)

    def bands(self, asked: Json) -> Json:
        """The bands as they are, decimal text, and what is halted by them and why."""
        exchange, now = self._server.exchange, self._server.clock.now()
        bounds = {item: exchange.bands.bounds(item.number, now) for item in exchange.listings.all}
        return {
            "bands": {
                item.instrument.id: [item.price.text(ticks) for ticks in found]
                for item, found in bounds.items()
                if found is not None
            },
            "paused": {exchange.listings[n].instrument.id: why for n, why in exchange.paused.items()},
        }

    # Money.

    def funding(self, asked: Json) -> Json:
        """Fund an `instrument` at a `rate` (decimal text) `every` so many seconds from now on."""
        listing = self._listing(asked)
        rule = FundingRule(rate=str(asked.get("rate", "0")), every=float(asked.get("every", 28_800)))
        self._server.treasury.set_funding(listing, rule)
        return {"next": self._server.treasury.next_of(listing.number, self._server.clock.now())[1] // MS}

    def deposit(self, asked: Json) -> Json:
        """Put an `amount` (decimal text, below 0 takes it out) of an `asset` into an `account` at a `venue`."""
        found = [item for item in self._server.exchange.accounts if item.name == asked.get("account")]
        venue = str(asked.get("venue", ""))
        if not found or venue not in VENUES:
            raise UserError(f"no account {asked.get('account')!r} at {venue!r}")
        asset, amount = str(asked.get("asset", "")), str(asked.get("amount", ""))
        self._server.treasury.deposit(found[0], VENUES[venue], asset, amount, self._server.clock.now())
        return {"deposited": amount}

    # Trades.

    def bust(self, asked: Json) -> Json:
        """Take a `trade` back."""
        return self._amend(asked, "0", "0")

    def correct(self, asked: Json) -> Json:
        """Give a `trade` another `quantity` and `price` (decimal text)."""
        return self._amend(asked, str(asked.get("quantity", "")), str(asked.get("price", "")))

    def _amend(self, asked: Json, quantity: str, price: str) -> Json:
        exchange = self._server.exchange
        trade = find_trade(exchange, int(asked.get("trade", 0)))
        if trade is None:
            raise UserError(f"there is no trade {asked.get('trade')!r}")
        item = trade.order.listing.instrument
        lots = item.lots(quantity) if quantity != "0" else 0
        ticks = item.ticks(price) if price != "0" else 0
        if not amend_trade(exchange, trade, lots, ticks, self._server.clock.now()):
            raise UserError(f"trade {trade.id} was taken back already, or too much has been traded since")
        return {"trade": trade.id}

    # Time.

    def start(self, asked: Json) -> Json:
        """Let a capture begin to run."""
        self._server.run_market()
        return {"started": True}

    def speed(self, asked: Json) -> Json:
        """Run it at another `speed`."""
        self._server.set_speed(str(asked.get("speed", "1")))
        return {"speed": str(asked.get("speed", "1"))}

    # What there is.

    def record(self, asked: Json) -> Json:
        """The record: `requests_from` and `happenings_from` say where to begin, `limit` how many of each."""
        record = self._server.record
        limit = int(asked.get("limit", 100_000))
        return {
            "requests": record.requests(int(asked.get("requests_from", 0)), limit),
            "happenings": record.happenings(int(asked.get("happenings_from", 0)), limit),
            "size": record.size,
            "left_out": record.left_out,
        }

    def state(self, asked: Json) -> Json:
        """Every account: money, positions, all orders remembered."""
        return {account.name: self._account(account) for account in self._server.exchange.accounts}

    def _account(self, account: Any) -> Json:
        listings = self._server.listings
        return {
            "spot": {
                asset: {"free": PURSE.text(asset, held.free), "locked": PURSE.text(asset, held.locked)}
                for asset, held in account.spot.items()
            },
            "wallets": {
                f"{VENUE_NAMES[m]} {a}": PURSE.text(a, units) for (m, a), units in account.wallets.items()
            },
            "positions": {listings[n].instrument.id: p.lots for n, p in account.positions.items()},
            "orders": [
                order_view(order) | {"venue": VENUE_NAMES[order.listing.market]}
                for order in account.orders.values()
            ],
        }

    def _listing(self, asked: Json) -> Listing:
        symbol, _, venue = str(asked.get("instrument", "")).partition(".")
        found = self._server.listings.find(VENUES[venue], symbol) if venue in VENUES else None
        if found is None:
            known = ", ".join(item.instrument.id for item in self._server.listings.all)
            raise UserError(f"unknown instrument {asked.get('instrument')!r}; known: {known}")
        return found
