"""The requests about orders: new, cancel, change, look up, cancel all, the dead man's switch."""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import OrdType
from tidegate.model.time import MS
from tidegate.venue.sim import refusal
from tidegate.venue.sim.admission import needed, new_order, price_of, quantity_of, whole
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.call import Call, listing_of, maybe_listing
from tidegate.venue.sim.corrections import fill_after_cancel
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.faults import Faults
from tidegate.venue.sim.lending import SIDE_EFFECTS
from tidegate.venue.sim.limits import Limits
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.views import Json, futures_order, order_view, spot_answer, spot_canceled

_FULL_BY_DEFAULT = ("LIMIT", "MARKET")
_MOST, _USUAL = 1000, 500


class OrderDesk:
    """Takes `Call`s about orders to the exchange, and makes the answers. Every method raises `Refused`."""

    def __init__(self, exchange: Exchange, faults: Faults, limits: Limits) -> None:
        self.exchange, self.faults, self.limits = exchange, faults, limits
        self.countdowns: dict[tuple[int, int], int] = {}
        """When everything of an account in an instrument is canceled, unless the owner calls again before."""
        self._late_fills: list[tuple[int, Order, int]] = []

    # New orders.

    def place(self, call: Call, side_effect: str = "") -> Json:
        """`POST order`; what it borrows and repays is a margin account's alone."""
        order, first = self._place(call, side_effect)
        if order.listing.futures:
            bare = call.params.get("newOrderRespType", "ACK").upper() == "ACK"
            return futures_order(order, bare)
        kind = call.params.get("newOrderRespType", "").upper()
        if not kind:
            kind = "FULL" if order.type_text in _FULL_BY_DEFAULT else "ACK"
        return spot_answer(order, kind, call.now, self._fills(order, first))

    def place_on_margin(self, call: Call) -> Json:
        """`POST margin/order`."""
        effect = call.params.get("sideEffectType") or "NO_SIDE_EFFECT"
        if effect not in SIDE_EFFECTS or call.params.get("isIsolated", "FALSE").upper() == "TRUE":
            raise refusal.illegal("sideEffectType" if effect not in SIDE_EFFECTS else "isIsolated")
        return self.place(call, effect)

    def _place(self, call: Call, side_effect: str = "") -> tuple[Order, int]:
        order = self._judged(call)
        order.side_effect = side_effect
        first = self.exchange.last_trade
        self.exchange.place(order, call.now)
        return order, first

    def _judged(self, call: Call) -> Order:
        """The order asked for, if limits, faults and filters let it pass."""
        self.limits.order(call.account.number, call.market, call.now)
        self.faults.reject(call.now, call.account.name)
        listing = listing_of(self.exchange.listings, call.market, call.params)
        touch = self.exchange.background.touch(listing.number)
        return new_order(call.account, listing, call.params, call.now, touch)

    def _fills(self, order: Order, first: int) -> list[Trade]:
        if not order.cum:
            return []
        trades = order.account.trades
        made = (trades.get(n) for n in range(first + 1, self.exchange.last_trade + 1))
        return [t for t in made if t is not None and t.order is order]

    def test(self, call: Call) -> Json:
        """`POST order/test`: judged, and not placed."""
        self._judged(call)
        return {}

    def batch(self, call: Call) -> list[Json]:
        """`POST batchOrders`: up to five, each answered by itself."""
        try:
            wanted = orjson.loads(needed(call.params, "batchOrders"))
            requests = [{k: str(v) for k, v in item.items()} for item in wanted]
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            raise refusal.illegal("batchOrders") from None
        if not 1 <= len(requests) <= 5:
            raise Refused(-4082, "Invalid number of batch place orders.")
        return [self._each(call._replace(params=params)) for params in requests]

    def _each(self, call: Call) -> Json:
        try:
            return self.place(call)
        except Refused as no:
            return no.body()

    # Open orders.

    def find(
        self, call: Call, cancel: bool, id_name: str = "orderId", client_name: str = "origClientOrderId"
    ) -> Order:
        """The order a request names by id or client id. Raises −2011 to a cancel, −2013 to a query."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        params = call.params
        if not params.get(id_name) and not params.get(client_name):
            raise Refused(
                -1102, f"Param '{client_name}' or '{id_name}' must be sent, but both were empty/null!"
            )
        if self.faults.hidden(call.now, call.account.name):
            raise refusal.unknown_order(cancel)
        if params.get(id_name):
            order = call.account.orders.get(whole(params, id_name))
        else:
            order = call.account.by_client.get((listing.number, params[client_name]))
        if order is None or order.listing is not listing:
            raise refusal.unknown_order(cancel)
        return order

    def cancel(self, call: Call) -> Json:
        """`DELETE order`."""
        order = self.find(call, True)
        self._cancel(order, call)
        return futures_order(order) if order.listing.futures else spot_canceled(order, call.now)

    def _cancel(self, order: Order, call: Call) -> None:
        before = order.cancel_id
        order.cancel_id = call.params.get("newClientOrderId") or f"cancel_{order.id}"
        try:
            self.exchange.cancel(order, call.now)
        except Refused:
            order.cancel_id = before
            raise
        fault = self.faults.draw("fill_after_cancel", call.now, call.account.name)
        if fault is not None:
            qty = order.listing.qty.steps(fault.quantity)[0] if fault.quantity else order.qty
            self._late_fills.append((call.now + self.faults.wait(fault), order, qty))

    def modify(self, call: Call) -> Json:
        """`PUT order` of the futures markets: the new total quantity and limit of an open order."""
        self.limits.order(call.account.number, call.market, call.now)
        order = self.find(call, True)
        listing = order.listing
        if order.ord_type not in (OrdType.LIMIT, OrdType.STOP_LIMIT):
            raise Refused(-4104, "Invalid contract type.")
        price = price_of(listing, call.params, mandatory=False) or order.price
        qty = quantity_of(listing, call.params) if call.params.get("quantity") else order.qty
        if order.open and (qty, price) == (order.qty, order.price):
            raise Refused(-5027, "No need to modify the order.")
        self.exchange.replace(order, qty, price, call.now)
        return futures_order(order)

    def cancel_replace(self, call: Call) -> Json:
        """`POST order/cancelReplace` of spot: a cancel, then a new order; both are judged by the filters first."""
        stop_on_failure = needed(call.params, "cancelReplaceMode").upper() != "ALLOW_FAILURE"
        fresh = self._judged(call)
        answer: Json = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
        try:
            old = self.find(call, True, "cancelOrderId", "cancelOrigClientOrderId")
            old.cancel_id = call.params.get("cancelNewClientOrderId") or f"cancel_{old.id}"
            self.exchange.cancel(old, call.now)
            answer["cancelResponse"] = spot_canceled(old, call.now)
        except Refused as no:
            answer |= {"cancelResult": "FAILURE", "cancelResponse": no.body(), "newOrderResponse": None}
            if stop_on_failure:
                raise Refused(-2022, "Order cancel-replace failed.", 400, answer) from None
        first = self.exchange.last_trade
        try:
            self.exchange.place(fresh, call.now)
        except Refused as no:
            answer |= {"newOrderResult": "FAILURE", "newOrderResponse": no.body()}
            if answer["cancelResult"] == "FAILURE":
                raise Refused(-2022, "Order cancel-replace failed.", 400, answer) from None
            raise Refused(-2021, "Order cancel-replace partially failed.", 409, answer) from None
        fills = self._fills(fresh, first)
        answer |= {
            "newOrderResult": "SUCCESS",
            "newOrderResponse": spot_answer(
                fresh, call.params.get("newOrderRespType", "FULL").upper(), call.now, fills
            ),
        }
        if answer["cancelResult"] == "FAILURE":
            raise Refused(-2021, "Order cancel-replace partially failed.", 409, answer)
        return answer

    def cancel_all(self, call: Call) -> Any:
        """`DELETE openOrders` of spot, `DELETE allOpenOrders` of the futures markets."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        if call.market is Market.SPOT and not any(o.listing is listing for o in call.account.open.values()):
            raise refusal.unknown_order(True)
        for order in call.account.open.values():
            if order.listing is listing:
                order.cancel_id = f"cancel_{order.id}"
        canceled = self.exchange.cancel_all(call.account, call.market, listing, call.now)
        if call.market is Market.SPOT:
            return [spot_canceled(order, call.now) for order in canceled]
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    # The dead man's switch.

    def countdown(self, call: Call) -> Json:
        """`POST countdownCancelAll`: cancel everything in a symbol unless called again in time; 0 disarms."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        needed(call.params, "countdownTime")
        wait = whole(call.params, "countdownTime")
        key = (call.account.number, listing.number)
        if wait > 0:
            self.countdowns[key] = call.now + wait * MS
        else:
            self.countdowns.pop(key, None)
        return {"symbol": listing.symbol, "countdownTime": str(wait)}

    def tick(self, now: int) -> None:
        """Carry out the countdowns that have run down, and the fills that come after a cancel."""
        if self._late_fills:
            for late in [item for item in self._late_fills if item[0] <= now]:
                self._late_fills.remove(late)
                fill_after_cancel(self.exchange, late[1], late[2], now)
        for key, due in list(self.countdowns.items()):
            if due <= now:
                del self.countdowns[key]
                listing = self.exchange.listings[key[1]]
                self.exchange.count("countdowns_run_down")
                self.exchange.cancel_all(self.exchange.accounts[key[0]], listing.market, listing, now)

    def next_due(self) -> int:
        """When `tick` next has something to do."""
        fills = min((due for due, _, _ in self._late_fills), default=NEVER)
        return min(min(self.countdowns.values(), default=NEVER), fills)

    # Looking up.

    def status(self, call: Call) -> Json:
        """`GET order`."""
        return order_view(self.find(call, False))

    def open_order(self, call: Call) -> Json:
        """`GET openOrder` of the futures markets: as `GET order`, for an order that is open."""
        order = self.find(call, False)
        if not order.open:
            raise refusal.unknown_order(False)
        return order_view(order)

    def open_orders(self, call: Call) -> list[Json]:
        """`GET openOrders`."""
        listing = maybe_listing(self.exchange.listings, call.market, call.params)
        if self.faults.hidden(call.now, call.account.name):
            return []
        return [
            order_view(order) for order in call.account.open.values()
            if order.listing.market is call.market and (listing is None or order.listing is listing)
        ]  # fmt: skip

    def all_orders(self, call: Call) -> list[Json]:
        """`GET allOrders`: from an order id on, or between two times (ms), or the newest."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        mine = [o for o in call.account.orders.values() if o.listing is listing]
        return [order_view(order) for order in window(mine, call.params, "orderId", _created)]


def _created(order: Order) -> int:
    return order.ts


def window(items: list[Any], params: Any, id_name: str, time_of: Any) -> list[Any]:
    """A page of a history that is sorted by id: from an id on, between two times, or the newest `limit`."""
    limit = min(max(whole(params, "limit", _USUAL), 1), _MOST)
    start, end, first = (whole(params, name) for name in ("startTime", "endTime", id_name))
    if params.get(id_name):
        return [item for item in items if item.id >= first][:limit]
    if start:
        items = [item for item in items if time_of(item) // MS >= start]
    if end:
        items = [item for item in items if time_of(item) // MS <= end]
    return items[:limit] if start else items[-limit:]
