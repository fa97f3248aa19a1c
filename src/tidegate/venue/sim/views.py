"""Orders, trades and money as the dialect's answers show them: plain dicts, all numbers as decimal text."""

from __future__ import annotations

from typing import Any

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import OrdStatus, OrdType
from tidegate.model.time import MS
from tidegate.venue.sim import margin as margins
from tidegate.venue.sim.account import Account, MarkOf, entry_price
from tidegate.venue.sim.admission import SELF_TRADE_TEXT
from tidegate.venue.sim.listing import PURSE, Listing
from tidegate.venue.sim.order import Order, Trade

Json = dict[str, Any]
_STATUS = {
    OrdStatus.PENDING_NEW: "NEW", OrdStatus.NEW: "NEW", OrdStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrdStatus.FILLED: "FILLED", OrdStatus.CANCELED: "CANCELED", OrdStatus.REJECTED: "REJECTED",
    OrdStatus.EXPIRED: "EXPIRED",
}  # fmt: skip


def status_text(order: Order) -> str:
    """Binance's word for an order's status."""
    if order.ending and order.status is OrdStatus.EXPIRED:
        return order.ending
    return _STATUS[order.status]


def present_type(order: Order) -> str:
    """The type as it is now: a stop that has been triggered is a limit or a market order."""
    if order.triggered:
        return "LIMIT" if order.ord_type is OrdType.STOP_LIMIT else "MARKET"
    return order.type_text


def spot_order(order: Order) -> Json:
    """An order of spot as queries show it."""
    listing = order.listing
    return {
        "symbol": listing.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": listing.price.text(order.price),
        "origQty": listing.qty.text(order.qty),
        "executedQty": listing.qty.text(order.cum),
        "origQuoteOrderQty": listing.price.text(0),
        "cummulativeQuoteQty": PURSE.text(listing.settle, order.turnover),
        "status": status_text(order),
        "timeInForce": order.tif_text,
        "type": order.type_text,
        "side": order.side.name,
        "stopPrice": listing.price.text(order.stop),
        "icebergQty": listing.qty.text(order.display),
        "time": order.ts // MS,
        "updateTime": order.ts_update // MS,
        "isWorking": order.working,
        "workingTime": order.ts // MS,
        "selfTradePreventionMode": SELF_TRADE_TEXT[order.self_trade],
    }


def spot_answer(order: Order, kind: str, now: int, fills: list[Trade]) -> Json:
    """What a new order on spot is answered: `kind` is ACK, RESULT or FULL."""
    listing = order.listing
    made: Json = {
        "symbol": listing.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": now // MS,
    }
    if kind == "ACK":
        return made
    full = spot_order(order)
    for name in (
        "price", "origQty", "executedQty", "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce",
        "type", "side", "workingTime", "selfTradePreventionMode",
    ):  # fmt: skip
        made[name] = full[name]
    if kind == "FULL":
        made["fills"] = [
            {
                "price": listing.price.text(t.price),
                "qty": listing.qty.text(t.qty),
                "commission": PURSE.text(t.fee_asset, t.fee),
                "commissionAsset": t.fee_asset,
                "tradeId": t.id,
            }
            for t in fills
        ]
    return made


def spot_canceled(order: Order, now: int) -> Json:
    """The answer to a cancel on spot: the cancel has a client id of its own."""
    made = spot_order(order)
    made["origClientOrderId"], made["clientOrderId"] = order.client_id, order.cancel_id
    made["transactTime"] = now // MS
    return made


def futures_order(order: Order, bare: bool = False) -> Json:
    """An order of a futures market; `bare`: as it was just taken in (an ACK), whatever has happened since."""
    listing = order.listing
    coin = listing.market is Market.COINM
    made: Json = {
        "orderId": order.id,
        "symbol": listing.symbol,
        "status": "NEW" if bare else status_text(order),
        "clientOrderId": order.client_id,
        "price": listing.price.text(order.price),
        "avgPrice": "0.00" if bare else listing.average(order.value, order.cum),
        "origQty": listing.qty.text(order.qty),
        "executedQty": listing.qty.text(0 if bare else order.cum),
        "cumQty": listing.qty.text(0 if bare else order.cum),
        "cumBase" if coin else "cumQuote": PURSE.text(listing.settle, 0 if bare else order.turnover),
        "timeInForce": order.tif_text,
        "type": present_type(order),
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side.name,
        "positionSide": "BOTH",
        "stopPrice": listing.price.text(order.stop),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type_text,
        "priceMatch": "NONE",
        "selfTradePreventionMode": SELF_TRADE_TEXT[order.self_trade],
        "goodTillDate": order.expire // MS,
        "time": order.ts // MS,
        "updateTime": order.ts_update // MS,
    }
    if coin:
        made["pair"] = listing.pair
    return made


def order_view(order: Order) -> Json:
    """An order as its market's queries show it."""
    return futures_order(order) if order.listing.futures else spot_order(order)


def trade_view(trade: Trade) -> Json:
    """A trade of one's own as its market's history shows it."""
    order, listing = trade.order, trade.order.listing
    value = PURSE.text(listing.settle, listing.value(trade.qty, trade.price) if trade.qty else 0)
    made: Json = {
        "symbol": listing.symbol,
        "id": trade.id,
        "orderId": order.id,
        "price": listing.price.text(trade.price),
        "qty": listing.qty.text(trade.qty),
        "commission": PURSE.text(trade.fee_asset, trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.ts // MS,
    }
    if not listing.futures:
        return made | {
            "orderListId": -1,
            "quoteQty": value,
            "isBuyer": order.side == 1,
            "isMaker": trade.maker,
            "isBestMatch": True,
        }
    made |= {
        "side": order.side.name,
        "positionSide": "BOTH",
        "buyer": order.side == 1,
        "maker": trade.maker,
        "realizedPnl": PURSE.text(listing.settle, trade.realised),
    }
    if listing.market is Market.COINM:
        return made | {"pair": listing.pair, "marginAsset": listing.settle, "baseQty": value}
    return made | {"quoteQty": value}


# Money.


def spot_balance(account: Account, asset: str) -> Json:
    """An asset on spot."""
    held = account.spot[asset]
    return {"asset": asset, "free": PURSE.text(asset, held.free), "locked": PURSE.text(asset, held.locked)}


def futures_asset(account: Account, market: Market, asset: str, mark_of: MarkOf, now: int) -> Json:
    """A futures wallet with its margin figures."""
    listed = [item for item in account.listings.of(market) if item.settle == asset]
    unrealised = sum(account.unrealised(item, mark_of) for item in listed)
    margin = sum(account.position_margin(item, mark_of) for item in listed)
    wallet, orders = account.wallets[market, asset], account.order_margin[market, asset]
    free = account.available(market, asset, mark_of)
    text = PURSE.text
    return {
        "asset": asset,
        "walletBalance": text(asset, wallet),
        "unrealizedProfit": text(asset, unrealised),
        "marginBalance": text(asset, wallet + unrealised),
        "maintMargin": text(asset, sum(margins.maintenance(account, item, mark_of) for item in listed)),
        "initialMargin": text(asset, margin + orders),
        "positionInitialMargin": text(asset, margin),
        "openOrderInitialMargin": text(asset, orders),
        "crossWalletBalance": text(asset, wallet),
        "crossUnPnl": text(asset, unrealised),
        "availableBalance": text(asset, free),
        "maxWithdrawAmount": text(asset, max(0, free)),
        "marginAvailable": True,
        "updateTime": now // MS,
    }


def position_view(account: Account, listing: Listing, mark_of: MarkOf, now: int) -> Json:
    """A position, as `positionRisk` and `account` show it."""
    position, mark = account.positions[listing.number], mark_of(listing.number)
    unrealised = account.unrealised(listing, mark_of)
    value = listing.value(position.lots, mark) if position.lots and mark > 0 else 0
    value = value if position.lots >= 0 else -value
    amount = listing.qty.text(position.lots)
    entry = entry_price(listing, position)
    margin, orders = account.position_margin(listing, mark_of), margins.order_margin(account, listing)
    leverage = account.leverage[listing.number]
    most = margins.most_notional(listing.instrument, leverage)
    ends = margins.liquidation_price(account, listing, mark_of)
    text = PURSE.text(listing.settle, unrealised)
    return {
        "symbol": listing.symbol,
        "positionAmt": amount,
        "entryPrice": entry,
        "breakEvenPrice": entry,
        "markPrice": listing.price.text(mark),
        "unRealizedProfit": text,
        "unrealizedProfit": text,
        "liquidationPrice": f"{ends:.8f}" if ends else "0",
        "leverage": str(leverage),
        "maxNotionalValue": f"{most.normalize():f}",
        "maxQty": listing.qty.text(listing.max_lots),
        "marginType": account.margin_type[listing.number],
        "isolated": account.margin_type[listing.number] == "isolated",
        "isolatedMargin": "0.00000000",
        "isolatedWallet": "0",
        "isAutoAddMargin": "false",
        "positionSide": "BOTH",
        "notional" if listing.market is Market.USDM else "notionalValue": PURSE.text(listing.settle, value),
        "marginAsset": listing.settle,
        "initialMargin": PURSE.text(listing.settle, margin + orders),
        "positionInitialMargin": PURSE.text(listing.settle, margin),
        "openOrderInitialMargin": PURSE.text(listing.settle, orders),
        "maintMargin": PURSE.text(listing.settle, margins.maintenance(account, listing, mark_of)),
        "adl": 0,
        "updateTime": now // MS,
    }
