"""What is asked of Binance by REST: how an order stands, what is open, what has filled, what is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendStatus
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.scale import ScaleError
from tidegate.model.time import DAY, MS, SECOND
from tidegate.venue.binance.errors import UNKNOWN_ORDER, VenueError
from tidegate.venue.binance.events import STATUSES, Events
from tidegate.venue.binance.limits import SHARE
from tidegate.venue.binance.orders import Known, Orders, generation_id, generation_of
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.symbols import Grid, Symbol, Symbols
from tidegate.venue.binance.wallets import SpotWallets
from tidegate.venue.port import VenueDown, VenueFill, VenueOrder, VenueRefused, cl_ord_id_of

Json = dict[str, Any]
PAGE = 1000
_MANY = 5
_WINDOW = {"spot": DAY // MS, "futures": 7 * DAY // MS}
"""The longest time, in ms, that one question about trades may span."""
ARMED_EACH = 8.0
"""Seconds that a symbol's dead man's switch is armed for, for every symbol that has one: so that keeping them all armed
takes 150 of a minute's weight at most, however many there are."""
READING = 0.1
"""The part of the rate limit that one account's regular readings of its fills may take."""
_FEW = 3
"""Symbols up to this number are asked about one by one, more of them all at once."""


class Queries:
    """Questions about one account at one product."""

    def __init__(
        self, product: Product, rest: Rest, symbols: Symbols, orders: Orders, events: Events, clock: Clock
    ) -> None:
        self._product, self._rest, self._symbols = product, rest, symbols
        self._orders, self._events, self._clock = orders, events, clock
        self.counts: Counter[str] = Counter()
        """What the venue said that could not be read, by name."""
        self.wallets = SpotWallets()
        """Of a spot account."""
        self._armed: dict[str, int] = {}
        """When each symbol's dead man's switch was armed last, ns."""

    async def status(self, request: SendStatus) -> list[Report]:
        """See `Venue.status`."""
        symbol = self._symbols.by_number[request.instrument]
        # The venue speaks of some time after the question left: that is the latest it surely knew of.
        asked = self._rest.venue_now()
        try:
            chain = await self.chain(symbol, request.cl_ord_id)
            fills = [
                fill for order in chain for fill in await self._fills_of(symbol, order, request.cl_ord_id)
            ]
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{symbol.item.id}: status of an order: {error}") from None
        if not chain:
            return [Report(self._clock.now(), request.cl_ord_id, ExecType.NOT_FOUND, ts_venue=asked)]
        last, known = chain[-1], self._orders.find(request.cl_ord_id)
        assert known is not None
        generation = generation_of(last["clientOrderId"])
        done, total = symbol.qty.steps(last["executedQty"]), symbol.qty.steps(last["origQty"])
        base = max(known.base(generation), 0)
        report = Report(self._clock.now(), request.cl_ord_id, ExecType.ORDER_STATUS, ts_venue=asked)
        report.status = STATUSES[last["status"]]
        report.cum_qty = base + done
        report.leaves_qty = 0 if report.status.terminal else total - done
        report.qty, report.price = base + total, symbol.price.steps(last["price"])
        if report.status.terminal:
            self._orders.end(known)
        return [*fills, report]

    async def chain(self, symbol: Symbol, cl_ord_id: int) -> list[Json]:
        """The venue's orders behind a ClOrdID, first to last, but those whose fills are all known; empty where it
        knows none. What they say is remembered."""
        known = self._orders.find(cl_ord_id)
        if known is None or not known.complete:
            first = await self._order(symbol, origClientOrderId=generation_id(cl_ord_id, 0))
            chain = [] if first is None else [first]
            if first is not None and self._product.chains and first["status"] == "CANCELED":
                chain += await self._successors(symbol, first, cl_ord_id)
        else:
            missing = [
                g for g, lots in known.filled.items() if known.seen.get(g, 0) < lots and g != known.generation
            ]
            found = [
                await self._order(symbol, origClientOrderId=generation_id(cl_ord_id, g))
                for g in (*sorted(missing), known.generation, known.generation + 1)
                if g <= known.generation or self._product.chains
            ]
            chain = [order for order in found if order is not None]
        if chain:
            self._remember(symbol, chain, cl_ord_id)
        return chain

    def _remember(self, symbol: Symbol, chain: list[Json], cl_ord_id: int) -> Known:
        known = self._orders.get(cl_ord_id, symbol.number)
        for order in chain:
            generation = generation_of(order["clientOrderId"])
            known.has_filled(generation, symbol.qty.steps(order["executedQty"]))
            known.generation = max(known.generation, generation)
            self._orders.owns(symbol.number, order["orderId"], cl_ord_id)
        last = chain[-1]
        known.complete = True
        known.venue_id = last["orderId"]
        known.side = int(Side[last["side"]])
        if not known.kind:
            known.kind = {"type": last["type"]}
            if last["type"] != "LIMIT_MAKER":
                known.kind["timeInForce"] = last["timeInForce"]
            if float(last.get("icebergQty", "0")):
                known.kind["icebergQty"] = last["icebergQty"]
        return known

    async def _order(self, symbol: Symbol, **name: Any) -> Json | None:
        try:
            found: Json = await self._rest.signed(
                "GET", self._product.order, {"symbol": symbol.name, **name}, self._product.query_weight
            )
        except VenueError as error:
            if error.code in UNKNOWN_ORDER:
                return None
            raise
        return found

    async def _successors(self, symbol: Symbol, first: Json, cl_ord_id: int) -> list[Json]:
        """The later generations of an order of which nothing is remembered: from the list of all orders since."""
        found: list[Json] = []
        at = first["orderId"] + 1
        while True:
            page: list[Json] = await self._rest.signed(
                "GET", "/api/v3/allOrders", {"symbol": symbol.name, "orderId": at, "limit": PAGE}, 20
            )
            found += [order for order in page if cl_ord_id_of(order["clientOrderId"]) == cl_ord_id]
            if len(page) < PAGE:
                return sorted(found, key=lambda order: generation_of(order["clientOrderId"]))
            at = page[-1]["orderId"] + 1

    async def _fills_of(self, symbol: Symbol, order: Json, cl_ord_id: int) -> list[Report]:
        if not symbol.qty.steps(order["executedQty"]):
            return []
        params = {"symbol": symbol.name, "orderId": order["orderId"], "limit": PAGE}
        trades = await self._rest.signed("GET", self._product.trades, params, self._product.trades_weight)
        return [self._fill(symbol, trade, cl_ord_id) for trade in trades]

    def _fill(self, symbol: Symbol, trade: Json, cl_ord_id: int) -> Report:
        report = Report(self._clock.now(), cl_ord_id, ExecType.TRADE, ts_venue=trade["time"] * MS)
        report.exec_id = symbol.exec_id(trade["id"])
        report.last_qty = self._steps(symbol.qty, trade["qty"], cl_ord_id)
        report.last_px = self._steps(symbol.price, trade["price"], cl_ord_id)
        report.maker = trade["isMaker"] if "isMaker" in trade else trade["maker"]
        report.fee = self._events.fee(symbol, trade["commission"], trade["commissionAsset"], report.last_px)
        return report

    def _steps(self, grid: Grid, text: str, cl_ord_id: int) -> int:
        """Of somebody else's fill, 0 where it is off our grid: it is told all the same. Raises `ScaleError` for ours."""
        try:
            return grid.steps(text)
        except ScaleError:
            if cl_ord_id:
                raise
            self.counts["foreign fills off our grid"] += 1
            return 0

    async def open_orders(self) -> list[VenueOrder]:
        """See `Venue.open_orders`."""
        found: list[Json] = []
        try:
            if len(self._symbols.by_name) <= _FEW:
                for name in self._symbols.by_name:
                    found += await self._rest.signed("GET", self._product.open_orders, {"symbol": name}, 6)
            else:
                weight = self._product.open_orders_weight
                found = await self._rest.signed("GET", self._product.open_orders, {}, weight)
            return [await self._open(order) for order in found if order["symbol"] in self._symbols.by_name]
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{self._product.venue}: open orders: {error}") from None

    async def _open(self, order: Json) -> VenueOrder:
        """One of them; of one that cannot be read, what it is cancelled by: it keeps none of the others from being."""
        try:
            return await self._read(order)
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            number, text = self._symbols.by_name[order["symbol"]].number, str(order.get("clientOrderId", ""))
            cl_ord_id, generation = cl_ord_id_of(text), generation_of(text)
            self.counts["open orders not understood" if cl_ord_id else "foreign orders not understood"] += 1
            if cl_ord_id:  # it is cancelled by the name of its present generation
                self._orders.get(cl_ord_id, number, generation).moved(generation)
            return VenueOrder(
                cl_ord_id, number, Side.BUY, 0, 0, 0, 0, OrdStatus.NEW, self._rest.venue_now(), text,
                unread=f"{type(error).__name__}: {error}",
            )  # fmt: skip

    async def _read(self, order: Json) -> VenueOrder:
        symbol = self._symbols.by_name[order["symbol"]]
        cl_ord_id, generation = cl_ord_id_of(order["clientOrderId"]), generation_of(order["clientOrderId"])
        base = 0
        self._orders.owns(symbol.number, order["orderId"], cl_ord_id)
        if cl_ord_id and generation:
            known = self._orders.find(cl_ord_id)
            if known is None or known.base(generation) < 0 or known.generation < generation:
                await self.chain(symbol, cl_ord_id)
                known = self._orders.find(cl_ord_id)
            base = max(known.base(generation), 0) if known is not None else 0
        qty, done = symbol.qty.steps(order["origQty"]), symbol.qty.steps(order["executedQty"])
        return VenueOrder(
            cl_ord_id, symbol.number, Side[order["side"]], base + qty, symbol.price.steps(order["price"]),
            base + done, qty - done, STATUSES.get(order["status"], OrdStatus.NEW), order["updateTime"] * MS,
            order["clientOrderId"],
        )  # fmt: skip

    async def fills(self, since: int) -> list[VenueFill]:
        """See `Venue.fills`."""
        found: list[VenueFill] = []
        try:
            for symbol in self._symbols.by_number.values():
                trades = [trade async for trade in self._trades(symbol, max(since, 0) // MS)]
                await self._learn_owners(symbol, [trade["orderId"] for trade in trades])
                for trade in trades:
                    owner = self._orders.owner(symbol.number, trade["orderId"])
                    if owner is None:
                        order = await self._order(symbol, orderId=trade["orderId"])
                        owner = cl_ord_id_of(order["clientOrderId"]) if order else 0
                        self._orders.owns(symbol.number, trade["orderId"], owner)
                    buyer = trade["isBuyer"] if "isBuyer" in trade else trade["buyer"]
                    side = Side.BUY if buyer else Side.SELL
                    found.append(
                        VenueFill(self._fill(symbol, trade, owner), symbol.number, side, str(trade["id"]))
                    )
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{self._product.venue}: fills: {error}") from None
        return sorted(found, key=lambda fill: (fill.report.ts_venue, fill.report.exec_id))

    async def _learn_owners(self, symbol: Symbol, ids: list[int]) -> None:
        """Whose orders these are, of many by the list of all orders: a query for each, after a restart under load,
        would take seconds and use up the rate limit."""
        unknown = sorted({n for n in ids if self._orders.owner(symbol.number, n) is None})
        if len(unknown) <= _MANY:
            return
        path, at = self._product.order.removesuffix("order") + "allOrders", unknown[0]
        while at <= unknown[-1]:
            params = {"symbol": symbol.name, "orderId": at, "limit": self._product.orders_page}
            page: list[Json] = await self._rest.signed("GET", path, params, self._product.trades_weight)
            for order in page:
                self._orders.owns(symbol.number, order["orderId"], cl_ord_id_of(order["clientOrderId"]))
            if len(page) < self._product.orders_page:
                return
            at = page[-1]["orderId"] + 1

    async def _trades(self, symbol: Symbol, since: int) -> AsyncIterator[Json]:
        """Every trade of the account at or after `since` (ms), oldest first; 0: from the very first."""
        window = _WINDOW[self._product.error_scope]
        now = self._rest.venue_now() // MS
        page: list[Json] = []
        start = since
        while since and start <= now and not page:
            page = await self._page(symbol, startTime=start, endTime=start + window - 1)
            start += window
        if since and len(page) < PAGE and start > now:  # that was all there is
            for trade in sorted(page, key=lambda trade: int(trade["id"])):
                yield trade
            return
        at = 0 if not since else min(trade["id"] for trade in page)
        while page or not since:
            page = sorted(await self._page(symbol, fromId=at), key=lambda trade: int(trade["id"]))
            for trade in page:
                if trade["time"] >= since:
                    yield trade
            if len(page) < PAGE:
                return
            at = page[-1]["id"] + 1

    async def _page(self, symbol: Symbol, **where: int) -> list[Json]:
        params = {"symbol": symbol.name, "limit": PAGE, **where}
        page: list[Json] = await self._rest.signed(
            "GET", self._product.trades, params, self._product.trades_weight
        )
        return page

    async def positions(self) -> dict[int, int]:
        """See `Venue.positions`."""
        if not self._product.positions:
            return {}
        held = dict.fromkeys(self._symbols.by_number, 0)
        for row in await self._positions():
            symbol = self._symbols.by_name.get(row["symbol"])
            if symbol is not None:
                held[symbol.number] += symbol.qty.steps(row["positionAmt"])
        return held

    async def entries(self) -> dict[int, Decimal]:
        """See `HoldingVenue.entries`."""
        if not self._product.positions:
            return {}
        lots: dict[int, Decimal] = {}
        worth: dict[int, Decimal] = {}
        for row in await self._positions():
            symbol, amount = self._symbols.by_name.get(row["symbol"]), Decimal(row["positionAmt"])
            if symbol is not None:
                lots[symbol.number] = lots.get(symbol.number, Decimal(0)) + amount
                worth[symbol.number] = worth.get(symbol.number, Decimal(0)) + amount * Decimal(
                    row["entryPrice"]
                )
        return {n: worth[n] / held for n, held in lots.items() if held}

    async def _positions(self) -> list[Json]:
        try:
            rows: list[Json] = await self._rest.signed(
                "GET", self._product.positions, {}, self._product.account_weight
            )
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{self._product.venue}: positions: {error}") from None
        return rows

    async def balances(self) -> dict[str, Decimal]:
        """See `Venue.balances`."""
        try:
            return await self.account()
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{self._product.venue}: balances: {error}") from None

    async def account(self) -> dict[str, Decimal]:
        """As `balances`, with the venue's refusal as it is: raises `VenueError`, `VenueRefused` too."""
        answer = await self._rest.signed("GET", self._product.account, {}, self._product.account_weight)
        if self._product.positions:
            return {row["asset"]: Decimal(row["balance"]) for row in answer}
        return self.wallets.answer(answer)

    async def cancel_all(self, instrument: int | None) -> None:
        """See `Venue.cancel_all`."""
        numbers = self._symbols.by_number if instrument is None else (instrument,)
        for number in numbers:
            params = {"symbol": self._symbols.by_number[number].name}
            try:
                await self._rest.signed("DELETE", self._product.cancel_all, params, 1, urgent=True)
            except VenueRefused as error:
                raise VenueDown(str(error)) from None
            except VenueError as error:
                if error.code not in UNKNOWN_ORDER:  # spot says so where nothing is open
                    raise VenueDown(
                        f"{self._product.venue}: cancel all {params['symbol']}: {error}"
                    ) from None

    async def countdown(self, seconds: float) -> None:
        """See `Venue.countdown`: each symbol's is renewed once half of its time is over."""
        if not self._product.countdown:
            return
        armed = max(seconds, ARMED_EACH * len(self._symbols.by_name)) if seconds else 0.0
        now = self._clock.now()
        for name in sorted(self._symbols.by_name, key=lambda name: self._armed.get(name, 0)):
            if seconds and name in self._armed and now - self._armed[name] < armed * SECOND / 2:
                continue
            params = {"symbol": name, "countdownTime": round(armed * 1000)}
            try:
                await self._rest.signed("POST", self._product.countdown, params, 10, share=SHARE)
            except (VenueError, VenueRefused) as error:
                raise VenueDown(f"{self._product.venue}: countdown {name}: {error}") from None
            if seconds:
                self._armed[name] = now
            else:
                self._armed.pop(name, None)

    def between_fills(self) -> float:
        """See `PacedVenue.between_fills`."""
        limit = self._rest.limits.weight
        weight = self._product.trades_weight * len(self._symbols.by_name)
        return weight / (limit.limit * READING) * (limit.length / SECOND)
