"""Requests as Binance's WS API takes them: one frame of JSON each, its parameters sorted and signed.

Written as text straight away: every value is a number, a plain symbol or a client id, so nothing needs escaping.
"""

from __future__ import annotations

from tidegate.model.messages import SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.orders import Known, generation_id, replaced_id
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.rest import RECV_WINDOW
from tidegate.venue.binance.symbols import Symbol

Params = dict[str, str]
_SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
_TIMES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK", TimeInForce.GTD: "GTD"}
_POST_ONLY, _REDUCE_ONLY = int(ExecInst.POST_ONLY), int(ExecInst.REDUCE_ONLY)
_NUMBERS = ("timestamp", "recvWindow", "goodTillDate")
"""Parameters that are numbers in JSON."""


class Unsupported(Exception):
    """The venue has no such order: says what it lacks."""


def new_order(product: Product, symbol: Symbol, request: SendNew) -> Params:
    """The parameters of a new order; raises `Unsupported`."""
    kind, tif = request.ord_type, request.time_in_force
    name = product.types.get(kind)
    if name is None:
        raise Unsupported(f"{product.venue} has no {kind.name} orders, or none that the platform can express")
    params = {"symbol": symbol.name, "side": _SIDES[request.side], "quantity": symbol.qty.text(request.qty)}
    if kind in (OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.ICEBERG):
        params["price"] = symbol.price.text(request.price)
        if request.exec_inst & _POST_ONLY:
            if kind is not OrdType.LIMIT or tif is not TimeInForce.GTC:
                raise Unsupported(f"{product.venue}: only a plain GTC limit order can be post-only")
            name = product.post_only_type
            if product.post_only_tif:
                params["timeInForce"] = product.post_only_tif
        elif tif not in _TIMES or (tif is TimeInForce.GTD and not product.good_till_date):
            raise Unsupported(f"{product.venue} has no time in force {tif.name}")
        else:
            params["timeInForce"] = _TIMES[tif]
            if tif is TimeInForce.GTD:
                params["goodTillDate"] = str(request.expire_ts // MS // 1000 * 1000)
    elif request.exec_inst & _POST_ONLY:
        raise Unsupported(f"{product.venue}: a {kind.name} order cannot be post-only")
    if kind in (OrdType.STOP, OrdType.STOP_LIMIT):
        params["stopPrice"] = symbol.price.text(request.stop_price)
    if kind is OrdType.ICEBERG:
        params["icebergQty"] = symbol.qty.text(request.display_qty)
    if request.exec_inst & _REDUCE_ONLY and product.reduce_only:
        params["reduceOnly"] = "true"
    params["type"] = name
    params["newClientOrderId"] = generation_id(request.cl_ord_id, 0)
    params["newOrderRespType"] = "ACK"
    return params


def cancel(symbol: Symbol, request: SendCancel, generation: int) -> Params:
    """The parameters of a cancel."""
    return {"symbol": symbol.name, "origClientOrderId": generation_id(request.cl_ord_id, generation)}


def modify(symbol: Symbol, request: SendReplace) -> Params:
    """The parameters of a change in place (futures)."""
    return {
        "symbol": symbol.name,
        "side": _SIDES[request.side],
        "origClientOrderId": generation_id(request.cl_ord_id, 0),
        "quantity": symbol.qty.text(request.qty),
        "price": symbol.price.text(request.price),
    }


def successor(symbol: Symbol, request: SendReplace, known: Known) -> Params:
    """The parameters of a cancel and its successor (spot), which gets what of the new total has not filled.

    An order without fills is replaced only if it still has none: a fill
    that crosses the replace on the wire must not be bought twice.
    """
    params = {
        "symbol": symbol.name,
        "side": _SIDES[request.side],
        "cancelReplaceMode": "STOP_ON_FAILURE",
        "cancelOrigClientOrderId": generation_id(request.cl_ord_id, known.generation),
        "cancelNewClientOrderId": replaced_id(request.cl_ord_id, known.generation),
        "quantity": symbol.qty.text(request.qty - known.cum),
        "price": symbol.price.text(request.price),
        "newClientOrderId": generation_id(request.cl_ord_id, known.generation + 1),
        "newOrderRespType": "ACK",
        **known.kind,
    }
    if not known.cum:
        params["cancelRestrictions"] = "ONLY_NEW"
    return params


def kind_of(params: Params) -> Params:
    """The part of a new order's parameters that its successors share."""
    return {
        name: params[name] for name in ("type", "timeInForce", "icebergQty", "stopPrice") if name in params
    }


def frame(number: str, method: str, params: Params, keys: Keys, venue_now: int) -> bytes:
    """A signed request, ready for the wire."""
    params["apiKey"] = keys.key
    params["recvWindow"] = str(RECV_WINDOW)
    params["timestamp"] = str(venue_now // MS)
    payload = "&".join(map("=".join, sorted(params.items())))
    signature = keys.sign(payload.encode())
    body = payload.replace("=", '":"').replace("&", '","')
    for name in _NUMBERS:
        if name in params:
            body = body.replace(f'"{name}":"{params[name]}"', f'"{name}":{params[name]}')
    return f'{{"id":"{number}","method":"{method}","params":{{"{body}","signature":"{signature}"}}}}'.encode()
