"""Every request the server knows: what it costs, whether it is signed, who answers. REST and WebSocket API share it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.time import MS
from tidegate.venue.sim.account_desk import AccountDesk
from tidegate.venue.sim.call import Call
from tidegate.venue.sim.lending import guarded
from tidegate.venue.sim.market_desk import MarketDesk
from tidegate.venue.sim.order_desk import OrderDesk
from tidegate.venue.sim.user_streams import UserStreams


class Security(IntEnum):
    """What a request must prove."""

    NONE = 0
    KEY = 1
    SIGNED = 2


class Route(NamedTuple):
    """One request. Public ones take (market, parameters, now), the others a `Call`."""

    answer: Callable[..., Any]
    weight: int
    security: Security


class Desks(NamedTuple):
    """Who answers."""

    orders: OrderDesk
    accounts: AccountDesk
    markets: MarketDesk
    streams: UserStreams


Table = dict[tuple[bool, str], Route]
"""By (futures, name)."""


def _listen(
    streams: UserStreams,
) -> tuple[Callable[[Call], Any], Callable[[Call], Any], Callable[[Call], Any]]:
    def start(call: Call) -> Any:
        return {"listenKey": streams.open_key(call.account, call.market, call.now)}

    def keep(call: Call) -> Any:
        key = streams.keep(call.account, call.market, call.params.get("listenKey", ""), call.now)
        return {} if call.market is Market.SPOT else {"listenKey": key}

    def stop(call: Call) -> Any:
        streams.close_key(call.account, call.market)
        return {}

    return start, keep, stop


def rest_table(desks: Desks) -> Table:
    """REST requests by `METHOD path`, the path without its prefix and version."""
    orders, accounts, markets, streams = desks
    start, keep, stop = _listen(streams)
    public = {
        "GET ping": (markets.ping, 1),
        "GET time": (markets.time, 1),
        "GET exchangeInfo": (markets.info, 20),
        "GET depth": (markets.depth, 5),
        "GET trades": (markets.trades, 5),
        "GET aggTrades": (markets.aggregate_trades, 2),
        "GET klines": (markets.klines, 2),
        "GET ticker/24hr": (markets.ticker, 2),
        "GET ticker/bookTicker": (markets.book_ticker, 2),
        "GET ticker/price": (markets.price, 2),
    }
    both = {
        "POST order": (orders.place, 1),
        "POST order/test": (orders.test, 1),
        "GET order": (orders.status, 4),
        "DELETE order": (orders.cancel, 1),
        "GET openOrders": (orders.open_orders, 6),
        "GET allOrders": (orders.all_orders, 20),
        "GET account": (accounts.account, 20),
    }
    spot = {
        "POST order/cancelReplace": (orders.cancel_replace, 1),
        "DELETE openOrders": (orders.cancel_all, 1),
        "GET myTrades": (accounts.trades, 20),
    }
    futures = {
        "PUT order": (orders.modify, 1),
        "POST batchOrders": (orders.batch, 5),
        "DELETE allOpenOrders": (orders.cancel_all, 1),
        "GET openOrder": (orders.open_order, 1),
        "POST countdownCancelAll": (orders.countdown, 10),
        "GET userTrades": (accounts.trades, 5),
        "GET balance": (accounts.balance, 5),
        "GET positionRisk": (accounts.positions, 5),
        "GET positionSide/dual": (accounts.position_mode, 30),
        "POST positionSide/dual": (accounts.set_position_mode, 1),
        "POST leverage": (accounts.leverage, 1),
        "POST marginType": (accounts.margin_type, 1),
        "GET commissionRate": (accounts.commission, 20),
        "GET multiAssetsMargin": (accounts.multi_assets, 30),
        "POST multiAssetsMargin": (accounts.set_multi_assets, 1),
        "GET income": (accounts.income, 30),
        "GET leverageBracket": (accounts.brackets, 1),
        "GET v2/leverageBracket": (accounts.symbol_brackets, 1),
    }
    table: Table = {}
    for name, (answer, weight) in public.items():
        table[False, name] = table[True, name] = Route(answer, weight, Security.NONE)
    for name, answer in (
        ("premiumIndex", markets.premium), ("fundingRate", markets.funding), ("openInterest", markets.open_interest),
    ):  # fmt: skip
        table[True, f"GET {name}"] = Route(answer, 1, Security.NONE)
    table[True, "GET assetIndex"] = Route(markets.asset_index, 10, Security.NONE)
    for name, (private, weight) in both.items():
        table[True, name] = Route(private, weight, Security.SIGNED)
        table[False, name] = Route(guarded(private, False), weight, Security.SIGNED)
    for name, (op, weight) in spot.items():
        table[False, name] = Route(guarded(op, False), weight, Security.SIGNED)
    table |= {(True, name): Route(op, weight, Security.SIGNED) for name, (op, weight) in futures.items()}
    table[True, "GET v3/positionRisk"] = Route(accounts.open_positions, 5, Security.SIGNED)
    for is_futures, path in ((False, "userDataStream"), (True, "listenKey")):
        table[is_futures, f"POST {path}"] = Route(start, 1, Security.KEY)
        table[is_futures, f"PUT {path}"] = Route(keep, 1, Security.KEY)
        table[is_futures, f"DELETE {path}"] = Route(stop, 1, Security.KEY)
    return table


def margin_table(desks: Desks) -> Table:
    """REST requests of a margin account (`/sapi/v1/…`), as `rest_table` has the others."""
    orders, accounts, _, streams = desks

    def token(call: Call) -> Any:
        text, until = streams.open_token(call.account, call.now)
        return {"token": text, "expirationTime": until // MS}

    signed = {
        "GET margin/account": (accounts.margin, 10),
        "POST margin/borrow-repay": (accounts.borrow_or_repay, 1),
        "POST margin/order": (orders.place_on_margin, 6),
        "GET margin/order": (orders.status, 10),
        "DELETE margin/order": (orders.cancel, 10),
        "GET margin/openOrders": (orders.open_orders, 10),
        "DELETE margin/openOrders": (orders.cancel_all, 1),
        "GET margin/allOrders": (orders.all_orders, 200),
        "GET margin/myTrades": (accounts.trades, 10),
    }
    table = {
        (False, name): Route(guarded(answer, True), weight, Security.SIGNED)
        for name, (answer, weight) in signed.items()
    }
    table[False, "POST userListenToken"] = Route(guarded(token, True), 1, Security.KEY)
    return table


def socket_table(desks: Desks) -> Table:
    """WebSocket API requests by method."""
    orders, accounts, markets, streams = desks
    start, keep, stop = _listen(streams)
    made: Table = {}
    for name, answer, weight in (
        ("ping", markets.ping, 1),
        ("time", markets.time, 1),
        ("exchangeInfo", markets.info, 20),
        ("depth", markets.depth, 5),
        ("ticker.book", markets.book_ticker, 2),
        ("ticker.price", markets.price, 2),
    ):
        made[False, name] = made[True, name] = Route(answer, weight, Security.NONE)
    for name, private, weight, where in (
        ("order.place", orders.place, 0, (False, True)),
        ("order.test", orders.test, 1, (False,)),
        ("order.cancel", orders.cancel, 1, (False, True)),
        ("order.cancelReplace", orders.cancel_replace, 1, (False,)),
        ("order.modify", orders.modify, 1, (True,)),
        ("order.status", orders.status, 4, (False, True)),
        ("openOrders.status", orders.open_orders, 6, (False, True)),
        ("openOrders.cancelAll", orders.cancel_all, 1, (False, True)),
        ("allOrders", orders.all_orders, 20, (False,)),
        ("myTrades", accounts.trades, 20, (False,)),
        ("account.status", accounts.account, 20, (False, True)),
        ("v2/account.status", accounts.account, 5, (True,)),
        ("account.balance", accounts.balance, 5, (True,)),
        ("v2/account.balance", accounts.balance, 5, (True,)),
        ("account.position", accounts.positions, 5, (True,)),
        ("v2/account.position", accounts.open_positions, 5, (True,)),
    ):
        for futures in where:
            own = private if futures else guarded(private, False)
            made[futures, name] = Route(own, weight, Security.SIGNED)
    for futures in (False, True):
        made[futures, "userDataStream.start"] = Route(start, 2, Security.KEY)
        made[futures, "userDataStream.ping"] = Route(keep, 2, Security.KEY)
        made[futures, "userDataStream.stop"] = Route(stop, 2, Security.KEY)
    return made
