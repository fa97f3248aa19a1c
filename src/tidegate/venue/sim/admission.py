"""A request's parameters made into an order, by the symbol's filters: what the dialect lets in, and how it says no."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from tidegate.model.order import OrdType, SelfTrade, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.venue.sim import refusal
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.listing import Listing
from tidegate.venue.sim.order import Order
from tidegate.venue.sim.refusal import Refused

Params = Mapping[str, str]
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_SPOT_TYPES = {
    "LIMIT": OrdType.LIMIT, "MARKET": OrdType.MARKET, "LIMIT_MAKER": OrdType.LIMIT, "STOP_LOSS": OrdType.STOP,
    "STOP_LOSS_LIMIT": OrdType.STOP_LIMIT,
}  # fmt: skip
_FUTURES_TYPES = {
    "LIMIT": OrdType.LIMIT, "MARKET": OrdType.MARKET, "STOP": OrdType.STOP_LIMIT, "STOP_MARKET": OrdType.STOP,
    "TRAILING_STOP_MARKET": OrdType.TRAILING_STOP,
}  # fmt: skip
_IN_FORCE = {
    "GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK, "GTX": TimeInForce.GTC,
    "GTD": TimeInForce.GTD,
}  # fmt: skip
_SELF_TRADE = {
    "NONE": SelfTrade.ALLOW, "EXPIRE_TAKER": SelfTrade.CANCEL_NEWEST, "EXPIRE_MAKER": SelfTrade.CANCEL_OLDEST,
    "EXPIRE_BOTH": SelfTrade.CANCEL_BOTH, "DECREMENT": SelfTrade.DECREMENT,
}  # fmt: skip
SELF_TRADE_TEXT = {mode: text for text, mode in _SELF_TRADE.items()}
_PRICED = (OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.ICEBERG)
_STOPS = (OrdType.STOP, OrdType.STOP_LIMIT)
_LONGEST_ID = 36
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/")


def needed(params: Params, name: str) -> str:
    """A mandatory parameter's text."""
    value = params.get(name)
    if not value:
        raise refusal.missing(name)
    return value


def whole(params: Params, name: str, default: int = 0) -> int:
    """An integer parameter."""
    value = params.get(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise refusal.illegal(name) from None


def price_of(listing: Listing, params: Params, name: str = "price", mandatory: bool = True) -> int:
    """A price in ticks, on the grid; 0 where it may be left out and is."""
    text = params.get(name)
    if not text:
        if mandatory:
            raise refusal.missing(name)
        return 0
    try:
        ticks, on_grid = listing.price.steps(text)
    except ValueError:
        raise refusal.illegal(name) from None
    if ticks <= 0:
        raise (
            Refused(-4001, "Price less than 0.")
            if listing.futures
            else refusal.filter_failure("PRICE_FILTER")
        )
    if not on_grid:
        if listing.futures:
            raise Refused(-4014, "Price not increased by tick size.")
        raise refusal.filter_failure("PRICE_FILTER")
    return ticks


def quantity_of(listing: Listing, params: Params, name: str = "quantity") -> int:
    """A quantity in lots, on the grid and within the symbol's bounds."""
    text = needed(params, name)
    try:
        lots, on_grid = listing.qty.steps(text)
    except ValueError:
        raise refusal.illegal(name) from None
    if listing.futures:
        if lots <= 0 and on_grid:
            raise Refused(-4003, "Quantity less than or equal to zero.")
        if not on_grid:
            raise Refused(-1111, "Precision is over the maximum defined for this asset.")
        if lots < listing.min_lots:
            raise Refused(-4004, "Quantity less than min quantity.")
        if lots > listing.max_lots:
            raise Refused(-4005, "Quantity greater than max quantity.")
        return lots
    if not on_grid or not listing.min_lots <= lots <= listing.max_lots:
        raise refusal.filter_failure("LOT_SIZE")
    return lots


def client_id_of(params: Params, name: str = "newClientOrderId") -> str:
    """The client's own id, empty where none was sent."""
    text = params.get(name) or ""
    if len(text) > _LONGEST_ID or not _ID_CHARACTERS.issuperset(text):
        raise refusal.illegal(name)
    return text


def new_order(account: Account, listing: Listing, params: Params, now: int, touch: tuple[int, int]) -> Order:
    """The order a request asks for; raises `Refused` where parameters or filters forbid it.

    `touch` is the market's best bid and ask, ticks, for what a market order's notional is judged by.
    """
    side = _SIDES.get(needed(params, "side").upper())
    if side is None:
        raise Refused(-1117, "Invalid side.")
    text = needed(params, "type").upper()
    ord_type = (_FUTURES_TYPES if listing.futures else _SPOT_TYPES).get(text)
    if ord_type is None:
        raise refusal.bad_order_type()
    if listing.futures and params.get("positionSide", "BOTH").upper() != "BOTH":
        raise Refused(-4061, "Order's position side does not match user's setting.")
    price = price_of(listing, params) if ord_type in _PRICED else 0
    stop = price_of(listing, params, "stopPrice") if ord_type in _STOPS else 0
    if params.get("quoteOrderQty") and ord_type is OrdType.MARKET and not listing.futures:
        qty = _lots_for(listing, params, touch[1] if side is Side.BUY else touch[0])
    elif params.get("closePosition", "").lower() == "true":
        qty = abs(account.positions[listing.number].lots)
        if not qty:
            raise Refused(-2022, "ReduceOnly Order is rejected.")
    else:
        qty = quantity_of(listing, params)
    order = Order(account, listing, side, ord_type, text, qty)
    order.price, order.stop = price, stop
    _in_force(order, params, now)
    order.client_id = client_id_of(params)
    order.reduce_only = listing.futures and (
        params.get("reduceOnly", "").lower() == "true" or params.get("closePosition", "").lower() == "true"
    )
    mode = (params.get("selfTradePreventionMode") or "NONE").upper()
    if mode not in _SELF_TRADE:
        raise Refused(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    order.self_trade = _SELF_TRADE[mode]
    if params.get("icebergQty") and ord_type is OrdType.LIMIT:
        order.display, order.ord_type = quantity_of(listing, params, "icebergQty"), OrdType.ICEBERG
    if ord_type is OrdType.TRAILING_STOP:
        _trail(order, params, touch)
    _check_notional(order, touch)
    return order


def _in_force(order: Order, params: Params, now: int) -> None:
    listing = order.listing
    text = (params.get("timeInForce") or "").upper()
    if order.type_text == "LIMIT_MAKER":
        order.post_only = True
        return
    if not text:
        if order.ord_type in _PRICED and not (listing.futures and order.ord_type is OrdType.STOP_LIMIT):
            raise refusal.missing("timeInForce")
        text = "GTC"
    if text not in _IN_FORCE or (text in ("GTX", "GTD") and not listing.futures):
        raise Refused(-1115, "Invalid timeInForce.")
    order.tif_text, order.tif = text, _IN_FORCE[text]
    order.post_only = text == "GTX"
    if text == "GTD":
        order.expire = whole(params, "goodTillDate") * MS
        if order.expire <= now:
            raise Refused(-4186, "Invalid goodTillDate: it must be later than the current time.")


def _trail(order: Order, params: Params, touch: tuple[int, int]) -> None:
    """A trailing stop's distance: the callback rate, of the market's price as it is now, in ticks."""
    try:
        rate = Decimal(needed(params, "callbackRate"))
    except InvalidOperation:
        raise refusal.illegal("callbackRate") from None
    if not Decimal("0.1") <= rate <= 10:
        raise Refused(-2007, "Invalid callBack rate.")
    reference = touch[0] if order.side is Side.SELL else touch[1]
    order.offset = max(1, int(reference * rate / 100))


def _lots_for(listing: Listing, params: Params, price: int) -> int:
    """The lots that `quoteOrderQty` pays for at the market's best price."""
    try:
        amount = Decimal(params["quoteOrderQty"])
    except InvalidOperation:
        raise refusal.illegal("quoteOrderQty") from None
    if not price:
        return listing.min_lots
    item = listing.instrument
    lots = int(amount / (item.tick * price) / item.lot)
    if lots < listing.min_lots:
        raise refusal.filter_failure("LOT_SIZE")
    return lots


def _check_notional(order: Order, touch: tuple[int, int]) -> None:
    listing = order.listing
    if not listing.min_value or order.reduce_only:
        return
    price = order.resting_price or (touch[1] if order.side is Side.BUY else touch[0])
    if price and listing.value(order.qty, price) < listing.min_value:
        if listing.futures:
            raise Refused(
                -4164,
                f"Order's notional must be no smaller than {listing.min_notional} (unless you choose reduce only).",
            )
        raise refusal.filter_failure("NOTIONAL")
