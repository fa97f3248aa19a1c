"""The user streams' events: what an account is told about its orders and money, as bytes ready to send."""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import OrdStatus
from tidegate.model.time import MS
from tidegate.venue.sim.account import Account, MarkOf, entry_price
from tidegate.venue.sim.admission import SELF_TRADE_TEXT
from tidegate.venue.sim.listing import PURSE, Listing
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.views import present_type, status_text

BUST, CORRECT = "TRADE_CANCEL", "TRADE_CORRECT"
"""Execution types Binance does not have: a trade was taken back, or changed. `t` names the trade; `l` and `L` are its
quantity and price as they are now (of a bust: as they were); `z`, `ap` and `Z` are the order's figures after it."""


def order_event(order: Order, happened: str, ts: int, trade: Trade | None) -> bytes:
    """`executionReport` of spot, `ORDER_TRADE_UPDATE` of futures."""
    return (
        _futures(order, happened, ts, trade) if order.listing.futures else _spot(order, happened, ts, trade)
    )


def _spot(order: Order, happened: str, ts: int, trade: Trade | None) -> bytes:
    listing = order.listing
    price, qty, settle = listing.price.text, listing.qty.text, listing.settle
    canceled = happened == "CANCELED"
    ms = ts // MS
    event: dict[str, Any] = {
        "e": "executionReport",
        "E": ms,
        "s": listing.symbol,
        "c": order.cancel_id if canceled else order.client_id,
        "S": order.side.name,
        "o": order.type_text,
        "f": order.tif_text,
        "q": qty(order.qty),
        "p": price(order.price),
        "P": price(order.stop),
        "F": qty(order.display),
        "g": -1,
        "C": order.client_id if canceled else "",
        "x": happened,
        "X": status_text(order),
        "r": "NONE",
        "i": order.id,
        "l": qty(trade.qty if trade else 0),
        "z": qty(order.cum),
        "L": price(trade.price if trade else 0),
        "n": PURSE.text(trade.fee_asset, trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": ms,
        "t": trade.id if trade else -1,
        "I": order.id,
        "w": order.working,
        "m": trade.maker if trade else False,
        "M": False,
        "O": order.ts // MS,
        "Z": PURSE.text(settle, order.turnover),
        "Y": PURSE.text(settle, listing.value(trade.qty, trade.price) if trade and trade.qty else 0),
        "Q": price(0),
        "W": order.ts // MS,
        "V": SELF_TRADE_TEXT[order.self_trade],
    }
    return orjson.dumps(event)


def _futures(order: Order, happened: str, ts: int, trade: Trade | None) -> bytes:
    listing = order.listing
    price, qty, settle = listing.price.text, listing.qty.text, listing.settle
    ms = ts // MS
    body: dict[str, Any] = {
        "s": listing.symbol,
        "c": order.client_id,
        "S": order.side.name,
        "o": present_type(order),
        "f": order.tif_text,
        "q": qty(order.qty),
        "p": price(order.price),
        "ap": listing.average(order.value, order.cum),
        "sp": price(order.stop),
        "x": happened,
        "X": status_text(order),
        "i": order.id,
        "l": qty(trade.qty if trade else 0),
        "z": qty(order.cum),
        "L": price(trade.price if trade else 0),
        "n": PURSE.text(trade.fee_asset, trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else settle,
        "T": ms,
        "t": trade.id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.type_text,
        "ps": "BOTH",
        "cp": False,
        "rp": PURSE.text(settle, trade.realised if trade else 0),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": SELF_TRADE_TEXT[order.self_trade],
        "pm": "NONE",
        "gtd": order.expire // MS,
    }
    if listing.market is Market.COINM:
        body["ma"] = settle
    return orjson.dumps({"e": "ORDER_TRADE_UPDATE", "E": ms, "T": ms, "o": body})


def money_event(account: Account, listing: Listing, ts: int, mark_of: MarkOf) -> bytes:
    """`outboundAccountPosition` of spot, `ACCOUNT_UPDATE` of futures: the balances that `listing` touches."""
    ms = ts // MS
    if not listing.futures:
        item = listing.instrument
        balances = [
            {"a": asset, "f": PURSE.text(asset, held.free), "l": PURSE.text(asset, held.locked)}
            for asset in (item.base, item.quote)
            for held in (account.spot[asset],)
        ]
        return orjson.dumps({"e": "outboundAccountPosition", "E": ms, "u": ms, "B": balances})
    settle, position = listing.settle, account.positions[listing.number]
    wallet = PURSE.text(settle, account.wallets[listing.market, settle])
    entry = entry_price(listing, position)
    return orjson.dumps(
        {
            "e": "ACCOUNT_UPDATE",
            "E": ms,
            "T": ms,
            "a": {
                "m": "ORDER",
                "B": [{"a": settle, "wb": wallet, "cw": wallet, "bc": "0"}],
                "P": [
                    {
                        "s": listing.symbol,
                        "pa": listing.qty.text(position.lots),
                        "ep": entry,
                        "bep": entry,
                        "cr": PURSE.text(settle, position.realised),
                        "up": PURSE.text(settle, account.unrealised(listing, mark_of)),
                        "mt": account.margin_type[listing.number],
                        "iw": "0",
                        "ps": "BOTH",
                    }
                ],
            },
        }
    )


def moved_events(
    account: Account, market: Market, asset: str, units: int, reason: str, ts: int
) -> list[bytes]:
    """What is told of money that no order moved: `balanceUpdate` and then the balance on spot, an `ACCOUNT_UPDATE` with
    that balance alone of futures (so Binance tells of funding of crossed positions)."""
    ms, text = ts // MS, PURSE.text
    if market is Market.SPOT:
        held = account.spot[asset]
        balance = {"a": asset, "f": text(asset, held.free), "l": text(asset, held.locked)}
        return [
            orjson.dumps({"e": "balanceUpdate", "E": ms, "a": asset, "d": text(asset, units), "T": ms}),
            orjson.dumps({"e": "outboundAccountPosition", "E": ms, "u": ms, "B": [balance]}),
        ]
    wallet = text(asset, account.wallets[market, asset])
    body = {"m": reason, "B": [{"a": asset, "wb": wallet, "cw": wallet, "bc": text(asset, units)}], "P": []}
    return [orjson.dumps({"e": "ACCOUNT_UPDATE", "E": ms, "T": ms, "a": body})]


def ended(order: Order) -> bool:
    """Whether nothing more is to come of an order."""
    return order.status >= OrdStatus.FILLED
