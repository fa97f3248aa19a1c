"""One account at one of Binance's products, as a gateway needs it: orders over the WS API, the rest by REST.

What became of a request is told by its answer or by the user stream, whichever comes first; where neither does
(connection lost, server error, "status unknown"), nothing is reported, and the lane asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import orjson

from tidegate.errors import UserError
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.time import SECOND
from tidegate.risk.margin.compare import VenueMargin, VenueWallet
from tidegate.venue.binance.answers import Answers
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.events import Events
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.margin import MarginQueries
from tidegate.venue.binance.order_entry import ANSWER_WITHIN, OrderEntry
from tidegate.venue.binance.orders import Orders
from tidegate.venue.binance.products import Endpoints, Product, product
from tidegate.venue.binance.queries import Queries
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.symbols import Symbols
from tidegate.venue.binance.user_stream import KEEP_ALIVE, UserStream
from tidegate.venue.binance.websocket import Pace, Socket
from tidegate.venue.port import VenueDown, VenueFill, VenueOrder, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
SYNC_EVERY = 600.0
"""Seconds between measurements of the venue's clock."""
_PACE = Pace()
_MONEY = frozenset({"outboundAccountPosition", "balanceUpdate", "ACCOUNT_UPDATE"})
_AGAIN = frozenset({"TRADE_LITE", "listStatus"})
"""Events that say again what orders say already."""


class BinanceVenue:
    """`venue.port.Venue` for the instruments of the universe that are traded at `venue`."""

    def __init__(
        self,
        venue: str,
        universe: Universe,
        endpoints: Endpoints,
        keys: Keys,
        clock: Clock,
        pace: Pace = _PACE,
        keep_alive: float = KEEP_ALIVE,
        of: Product | None = None,
        entry: Callable[..., OrderEntry] = OrderEntry,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._product = of or product(venue)
        self._symbols = Symbols(universe, venue)
        if not self._symbols.by_number:
            raise UserError(
                f"no instrument of the run is traded at {venue}: add one, or leave the account out"
            )
        self._rest = Rest(self._product, endpoints, keys, clock)
        orders = Orders(self._product.chains)
        events = Events(self._product, self._symbols, orders, self.counts)
        answers = Answers(self._product, self._symbols, orders, events, self._rest.limits, self.counts)
        self._events = events
        self._margin = MarginQueries(self._product, self._rest, self._symbols)
        self._queries = Queries(self._product, self._rest, self._symbols, orders, events, clock)
        self._entry = entry(
            self._product, keys, self._rest, self._symbols, orders, answers, self._queries, self.counts, clock,
            lambda: self.connected, self._hand_on,
        )  # fmt: skip
        self._was = False
        self._closing = False
        self._on_reports: Callable[[list[Report]], None] = lambda reports: None
        self._on_change: Callable[[bool], None] = lambda up: None
        self._on_money: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ws_api = self._entry.socket = Socket(
            f"{venue} WS API", _always(endpoints.ws_api), self._read, self._ws_changed, clock, pace
        )
        self._user = UserStream(
            self._product, endpoints, self._rest, self._subscribe, self._read, self._update, clock, pace, keep_alive
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"BinanceVenue({self._product.venue})"

    @property
    def connected(self) -> bool:
        """See `Venue.connected`."""
        return self._ws_api.up and self._user.up

    async def open(
        self, on_reports: Callable[[list[Report]], None], on_change: Callable[[bool], None]
    ) -> None:
        """See `Venue.open`. Returns after the first attempt, whatever came of it."""
        self._on_reports, self._on_change = on_reports, on_change
        self._closing = False
        try:
            try:
                await self._prepare()
            except (VenueDown, VenueError) as error:
                log.warning("%s: %s", self._product.venue, error)
            await self._ws_api.open()
            await self._user.open()
            if self._ws_api.up:
                await self._user.settled()
        except VenueRefused:
            await self.close()
            raise
        self._every("sync", SYNC_EVERY, self._sync)
        self._every("sweep", ANSWER_WITHIN / SECOND, self._entry.sweep)

    async def _prepare(self) -> None:
        """The venue's limits and clock, and whether it takes the key."""
        # Limits first: any answer says how much was used, by whoever was here before us, and what that means they say.
        listed = await self._rest.public(self._product.exchange_info, weight=20)
        self._rest.limits.told(self._rest.venue_now(), listed.get("rateLimits", ()))
        await self._rest.sync()
        await self._queries.account()

    async def close(self) -> None:
        """See `Venue.close`."""
        self._closing = True
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._entry.close()
        await self._user.close()
        await self._ws_api.close()
        await self._rest.close()

    # Requests.

    def send(self, request: SendNew | SendCancel | SendReplace) -> None:
        """See `Venue.send`."""
        self._entry.send(request)

    # What comes back.

    def _read(self, frames: list[bytes], ts: int) -> None:
        reports: list[Report] = []
        for raw in frames:
            try:
                reports += self._frame(orjson.loads(raw), ts)
            except (ValueError, KeyError, TypeError) as error:
                self.counts["frames not understood"] += 1
                log.exception("%s: frame not understood: %r", self._product.venue, error)
        self._hand_on(reports)

    def _frame(self, data: dict[str, Any], ts: int) -> list[Report]:
        if "status" in data and "id" in data:
            return self._entry.answer(data, ts)
        event = data.get("event") or data.get("data") or data
        kind = event.get("e", "")
        if kind == self._product.user_event:
            order = event["o"]  # the futures' order; spot's order type
            return self._events.order(order if isinstance(order, dict) else event, ts)
        if kind in ("listenKeyExpired", "eventStreamTerminated"):
            self._user.expired()
        elif kind == "serverShutdown":
            self._ws_api.drop("the venue's server shuts down")
        elif kind in _MONEY:
            self._money(kind, event)
        elif kind not in _AGAIN:
            self.counts[f"events ignored: {kind or 'without a type'}"] += 1
        return []

    def _money(self, kind: str, event: dict[str, Any]) -> None:
        """What is held has changed. A futures wallet's changes by fills are told by their orders."""
        wallets = self._queries.wallets
        if kind == "outboundAccountPosition":
            told = wallets.event(event)
        elif kind == "balanceUpdate":
            wallets.lost()
            told = True
        else:
            told = event["a"]["m"] != "ORDER"
        if told:
            self.counts["changes of money"] += 1
            self._on_money()

    def _hand_on(self, reports: list[Report]) -> None:
        if reports and not self._closing:
            self._on_reports(reports)

    # Questions.

    async def status(self, request: SendStatus) -> list[Report]:
        """See `Venue.status`."""
        return await self._queries.status(request)

    async def open_orders(self) -> list[VenueOrder]:
        """See `Venue.open_orders`."""
        return await self._queries.open_orders()

    async def fills(self, since: int) -> list[VenueFill]:
        """See `Venue.fills`."""
        return await self._queries.fills(since)

    def between_fills(self) -> float:
        """See `PacedVenue.between_fills`."""
        return self._queries.between_fills()

    async def positions(self) -> dict[int, int]:
        """See `Venue.positions`."""
        return await self._queries.positions()

    async def entries(self) -> dict[int, Decimal]:
        """See `HoldingVenue.entries`."""
        return await self._queries.entries()

    async def balances(self) -> dict[str, Decimal]:
        """See `Venue.balances`."""
        return await self._queries.balances()

    async def margin(self, with_tiers: bool = False) -> VenueMargin | None:
        """See `MarginVenue.margin`. Of a spot account it is what is held; no request is made while events tell of it."""
        if not self._product.margin_account:
            wallets, nothing = self._queries.wallets, Decimal(0)
            if not wallets.known:
                await self._queries.balances()
            held = {name: VenueWallet(total, nothing, nothing) for name, total in wallets.totals().items()}
            return VenueMargin(self._rest.venue_now(), held, [])
        return await self._margin.margin(with_tiers)

    def on_money(self, told: Callable[[], None]) -> None:
        """See `MarginVenue.on_money`."""
        self._on_money = told

    async def cancel_all(self, instrument: int | None = None) -> None:
        """See `Venue.cancel_all`."""
        await self._queries.cancel_all(instrument)

    async def countdown(self, seconds: float) -> None:
        """See `Venue.countdown`."""
        await self._queries.countdown(seconds)

    def counters(self) -> dict[str, int]:
        """See `Venue.counters`."""
        return {**self.counts, **self._queries.counts, **self._rest.counts, **self._user.counts, **{
            f"WS API {name}": count for name, count in self._ws_api.counts.items()
        }}  # fmt: skip

    def health(self) -> dict[str, Any]:
        """How it stands, for people and monitors."""
        return {
            "venue": self._product.venue,
            "connected": self.connected,
            "clock_offset_ms": self._rest.offset / 1e6,
            "unanswered": len(self._entry),
            "weight_used": self._rest.limits.weight.used,
            "ws_api": self._ws_api.health(),
            "user": self._user.health(),
            "counters": self.counters(),
        }

    # Its own upkeep.

    async def _subscribe(self) -> Any:
        return await self._entry.ask("userDataStream.subscribe.signature")

    def _ws_changed(self, up: bool) -> None:
        if not up:
            self._entry.lost()
        self._user.ws_api_changed(up)
        self._update()

    def _update(self) -> None:
        if self.connected != self._was and not self._closing:
            self._was = self.connected
            self._queries.wallets.lost()
            self._on_change(self._was)

    def _sync(self) -> None:
        task = asyncio.create_task(self._entry.sync())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _every(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            act()
            self._every(name, seconds, act)

        self._timers[name] = asyncio.get_running_loop().call_later(seconds, run)


def _always(url: str) -> Callable[[], Awaitable[str]]:
    async def same() -> str:
        return url

    return same
