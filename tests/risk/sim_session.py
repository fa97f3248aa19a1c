"""The simulated exchange behind a gateway, on virtual time: its accounts, margin and liquidation, without a server.

The market is one that a test moves: a touch for each instrument, and so many lots on each side of it for every order.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecInst, ExecType, OrdStatus, Side, TimeInForce
from tidegate.risk.margin.compare import VenueMargin, VenuePosition, VenueWallet
from tidegate.risk.reasons import Reason
from tidegate.venue.port import VenueFill, VenueOrder, cl_ord_id_of, client_id
from tidegate.venue.sim import margin
from tidegate.venue.sim.account import entry_price
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.config import VenueConfig
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.liquidation import Liquidator
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.order import Execution, Order
from tidegate.venue.sim.refusal import Refused

VENUE, WALLET = "BINANCE_USDM", (Market.USDM, "USDT")


class MovedMarket:
    """A touch that is set from outside; `depth` lots trade with each order that reaches it."""

    own_orders_meet = False

    def __init__(self, touches) -> None:
        self.touches, self.depth = list(touches), [1 << 40] * len(touches)
        self.resting: list[Order] = []
        self.sink = lambda execution: None

    def advance(self, now) -> None:
        for order in list(self.resting):
            self._meet(order, now)

    def place(self, order, now) -> None:
        self.sink(Execution(ExecType.NEW, order.id, now))
        self.resting.append(order)
        self._meet(order, now)
        if order in self.resting and order.tif is TimeInForce.IOC:
            self.resting.remove(order)
            self.sink(Execution(ExecType.EXPIRED, order.id, now))

    def _meet(self, order, now) -> None:
        bid, ask = self.touches[order.listing.number]
        best = ask if order.side is Side.BUY else bid
        if order.side.sign * (order.price - best) < 0:
            return
        qty = min(order.leaves, self.depth[order.listing.number])
        if qty:
            left = order.leaves - qty
            if not left:
                self.resting.remove(order)
            self.sink(Execution(ExecType.TRADE, order.id, now, qty, best, leaves=left))

    def cancel(self, order, now) -> None:
        self.resting.remove(order)
        self.sink(Execution(ExecType.CANCELED, order.id, now))

    def replace(self, order, qty, price, now) -> None:
        raise NotImplementedError

    def halt(self, instrument, halted, now) -> None:
        pass

    def touch(self, instrument):
        return self.touches[instrument]

    def last(self, instrument) -> int:
        return 0

    def next_due(self) -> int:
        return NEVER


class SimVenue:
    """The exchange with one account, looked at by its liquidator ten times a second; `happened` has every order's fate."""

    def __init__(self, universe, touches, wallet: str, clock) -> None:
        account = {
            "name": "main",
            "api_key": "k",
            "api_secret": "s",
            "balances": {VENUE: {"USDT": wallet}},
            "leverage": 75,
        }
        self.clock, self.market = clock, MovedMarket(touches)
        self.sessions: list[Session] = []
        self.happened: list[tuple[int, str, str, Order]] = []
        self.exchange = Exchange(Listings(universe), VenueConfig.load({"accounts": [account]}), self)
        self.market.sink = self.exchange.executed
        self.exchange.stand_on(self.market)
        self.liquidator = Liquidator(self.exchange)
        self.account = self.exchange.accounts[0]
        self.fills: list[VenueFill] = []

    def step(self) -> None:
        self.exchange.advance(self.clock.now())
        self.liquidator.step(self.clock.now())

    @property
    def ratio(self) -> float:
        """Maintenance margin over margin balance, by the exchange's own sums: at 1 it liquidates."""
        held = [item for item in self.exchange.listings.all if self.account.positions[item.number].lots]
        mark_of = self.exchange.mark
        balance = self.account.wallets[WALLET] + sum(self.account.unrealised(item, mark_of) for item in held)
        return (
            sum(margin.maintenance(self.account, item, mark_of) for item in held) / balance if held else 0.0
        )

    def on_order(self, order, happened, ts, trade) -> None:
        self.happened.append((ts, happened, order.client_id, order))
        key, now = cl_ord_id_of(order.client_id), self.clock.now()
        more = {"cum_qty": order.cum, "leaves_qty": order.leaves if order.open else 0}
        if trade is not None:
            report = Report(now, key, ExecType.TRADE, ts, trade.id, trade.qty, trade.price, trade.fee, **more)
            self.fills.append(VenueFill(report, order.listing.number, order.side, str(trade.id)))
        else:
            kinds = {"NEW": ExecType.NEW, "CANCELED": ExecType.CANCELED, "EXPIRED": ExecType.EXPIRED}
            report = Report(now, key, kinds[happened], ts, **more)
        for session in self.sessions:
            session.hear(report)

    def on_money(self, account, listing, ts, traded) -> None:
        pass


class Session:
    """See `venue.port.Venue`."""

    def __init__(self, venue: SimVenue, latency: float = 0.005) -> None:
        self.venue, self.latency, self.connected = venue, latency, False
        self.refuse: set[int] = set()

    async def open(self, on_reports, on_change) -> None:
        self._on_reports, self.connected = on_reports, True
        self.venue.sessions.append(self)

    async def close(self) -> None:
        self.connected = False
        self.venue.sessions.remove(self)

    def hear(self, report) -> None:
        asyncio.get_running_loop().call_later(self.latency, lambda: self._on_reports([report]))

    def send(self, request) -> None:
        asyncio.get_running_loop().call_later(self.latency, self._take, request)

    def _take(self, m: SendNew | SendCancel | SendReplace) -> None:
        venue, now = self.venue, self.venue.clock.now()
        try:
            if type(m) is SendCancel:
                venue.exchange.cancel(self._order(m.cl_ord_id), now)
                return
            assert type(m) is SendNew
            listing = venue.exchange.listings[m.instrument]
            order = Order(venue.account, listing, m.side, m.ord_type, "LIMIT", m.qty)
            order.client_id, order.price, order.tif = client_id(m.cl_ord_id), m.price, m.time_in_force
            order.reduce_only = bool(m.exec_inst & ExecInst.REDUCE_ONLY)
            venue.exchange.place(order, now)
        except (Refused, LookupError):
            kind = ExecType.CANCEL_REJECTED if type(m) is SendCancel else ExecType.REJECTED
            self.hear(Report(now, m.cl_ord_id, kind, now, reason=int(Reason.VENUE_OTHER)))

    def _order(self, key: int) -> Order:
        return next(o for o in self.venue.account.orders.values() if o.client_id == client_id(key))

    async def status(self, request):
        now = self.venue.clock.now()
        try:
            order = self._order(request.cl_ord_id)
        except StopIteration:
            return [Report(now, request.cl_ord_id, ExecType.NOT_FOUND, now)]
        fills = [f.report for f in self.venue.fills if f.report.cl_ord_id == request.cl_ord_id]
        status, left = order.status, order.leaves if order.open else 0
        said = Report(
            now, request.cl_ord_id, ExecType.ORDER_STATUS, now, qty=order.qty, price=order.price, cum_qty=order.cum,
            leaves_qty=left, status=status,
        )  # fmt: skip
        return [*fills, said]

    async def open_orders(self):
        return [
            VenueOrder(
                cl_ord_id_of(o.client_id), o.listing.number, o.side, o.qty, o.price, o.cum, o.leaves,
                OrdStatus.PARTIALLY_FILLED if o.cum else OrdStatus.NEW, o.ts_update, str(o.id),
            )
            for o in self.venue.account.open.values()
        ]  # fmt: skip

    async def fills(self, since):
        return [fill for fill in self.venue.fills if fill.report.ts_venue >= since]

    async def positions(self):
        return {n: position.lots for n, position in self.venue.account.positions.items()}

    async def balances(self):
        return {"USDT": money.from_units(self.venue.account.wallets[WALLET], "USDT")}

    async def cancel_all(self, instrument=None) -> None:
        for order in list(self.venue.account.open.values()):
            if instrument in (None, order.listing.number):
                self.venue.exchange.cancel(order, self.venue.clock.now())

    async def countdown(self, seconds) -> None:
        pass

    def counters(self):
        return {}

    def on_money(self, told) -> None:
        pass

    async def margin(self, with_tiers=False) -> VenueMargin:
        venue, account = self.venue, self.venue.account
        mark_of, rows, total = venue.exchange.mark, [], Decimal(0)
        for item in venue.exchange.listings.all:
            position = account.positions[item.number]
            if position.lots:
                keep = money.from_units(margin.maintenance(account, item, mark_of), "USDT")
                first = money.from_units(account.position_margin(item, mark_of), "USDT")
                total += keep
                rows.append(
                    VenuePosition(
                        item.number, position.lots, Decimal(entry_price(item, position)),
                        item.instrument.price(mark_of(item.number)), first, keep,
                        margin.liquidation_price(account, item, mark_of), account.leverage[item.number],
                    )
                )  # fmt: skip
        wallet = VenueWallet(
            money.from_units(account.wallets[WALLET], "USDT"),
            sum((r.initial for r in rows), Decimal(0)),
            total,
        )
        return VenueMargin(venue.clock.now(), {"USDT": wallet}, rows)
