"""The requests anybody may make: time, symbols and their filters, books, tickers, trades, bars."""

from __future__ import annotations

from typing import Any

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.scale import plain
from tidegate.model.time import MS
from tidegate.venue.sim.admission import Params, needed, whole
from tidegate.venue.sim.call import listing_of, maybe_listing
from tidegate.venue.sim.capture_feed import Feed
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.limits import Limits
from tidegate.venue.sim.listing import Listing
from tidegate.venue.sim.market_view import MarketView
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.treasury import E8, Treasury
from tidegate.venue.sim.views import Json

_MINUTES = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
    "12h": 720, "1d": 1440,
}  # fmt: skip
_TYPES = {
    False: ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
    True: ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TRAILING_STOP_MARKET"],
}
_MODES = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE"]
FOREVER = 4_133_404_800_000
"""A perpetual's delivery date, as Binance gives it: ms, the year 2100."""


class MarketDesk:
    """Answers questions about a market."""

    def __init__(self, exchange: Exchange, feed: Feed, limits: Limits, treasury: Treasury) -> None:
        self.exchange, self.feed, self.limits, self.treasury = exchange, feed, limits, treasury

    def _view(self, market: Market, params: Params) -> MarketView:
        return self.feed.views[listing_of(self.exchange.listings, market, params).number]

    def _views(self, market: Market, params: Params) -> list[MarketView]:
        one = maybe_listing(self.exchange.listings, market, params)
        listed = [one] if one else self.exchange.listings.of(market)
        return [self.feed.views[item.number] for item in listed]

    def ping(self, market: Market, params: Params, now: int) -> Json:
        return {}

    def time(self, market: Market, params: Params, now: int) -> Json:
        return {"serverTime": now // MS}

    def info(self, market: Market, params: Params, now: int) -> Json:
        """`GET exchangeInfo`."""
        one = maybe_listing(self.exchange.listings, market, params)
        listed = [one] if one else self.exchange.listings.of(market)
        made: Json = {
            "timezone": "UTC",
            "serverTime": now // MS,
            "rateLimits": self.limits.rows(market),
            "exchangeFilters": [],
            "symbols": [self._symbol(item) for item in listed],
        }
        if market is not Market.SPOT:
            assets = self.exchange.listings.assets(market)
            made["assets"] = [{"asset": a, "marginAvailable": True, "autoAssetExchange": "0"} for a in assets]
        return made

    def _symbol(self, listing: Listing) -> Json:
        trading = listing.number not in self.exchange.halted
        return futures_symbol(listing, trading) if listing.futures else spot_symbol(listing, trading)

    def depth(self, market: Market, params: Params, now: int) -> Json:
        view = self._view(market, params)
        limit = whole(params, "limit", 500 if view.listing.futures else 100)
        if not 1 <= limit <= 5000:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return view.depth(limit, now)

    def trades(self, market: Market, params: Params, now: int) -> list[Json]:
        return self._view(market, params).recent(min(whole(params, "limit", 500), 1000))

    def aggregate_trades(self, market: Market, params: Params, now: int) -> list[Json]:
        """`GET aggTrades`: every trade is an aggregate of itself."""
        return self._view(market, params).aggregates(min(whole(params, "limit", 500), 1000))

    def ticker(self, market: Market, params: Params, now: int) -> Any:
        rows = [view.ticker(now) for view in self._views(market, params)]
        return rows[0] if params.get("symbol") and market is not Market.COINM else rows

    def book_ticker(self, market: Market, params: Params, now: int) -> Any:
        rows = [view.book_ticker(now) for view in self._views(market, params)]
        return rows[0] if params.get("symbol") and market is not Market.COINM else rows

    def price(self, market: Market, params: Params, now: int) -> Any:
        rows = []
        for view in self._views(market, params):
            last = self.exchange.background.last(view.listing.number)
            rows.append(
                {"symbol": view.listing.symbol, "price": view.listing.price.text(last), "time": now // MS}
            )
        return rows[0] if params.get("symbol") and market is not Market.COINM else rows

    def klines(self, market: Market, params: Params, now: int) -> list[list[Any]]:
        minutes = _MINUTES.get(needed(params, "interval"))
        if minutes is None:
            raise Refused(-1120, "Invalid interval.")
        return self._view(market, params).klines(minutes, min(whole(params, "limit", 500), 1500))

    def premium(self, market: Market, params: Params, now: int) -> Any:
        """`GET premiumIndex`: the mark is the middle of the book."""
        rows = []
        for view in self._views(market, params):
            mark = view.listing.price.text(self.exchange.mark(view.listing.number))
            rate, due = self.treasury.next_of(view.listing.number, now)
            rows.append(
                {
                    "symbol": view.listing.symbol,
                    "markPrice": mark,
                    "indexPrice": mark,
                    "estimatedSettlePrice": mark,
                    "lastFundingRate": rate_text(rate),
                    "interestRate": "0.00000000",
                    "nextFundingTime": due // MS,
                    "time": now // MS,
                }
            )
        return rows[0] if params.get("symbol") and market is not Market.COINM else rows

    def funding(self, market: Market, params: Params, now: int) -> list[Json]:
        """`GET fundingRate`: what was paid, oldest first; COIN-M tells no mark."""
        listing = listing_of(self.exchange.listings, market, params)
        since, until = whole(params, "startTime") * MS, whole(params, "endTime") * MS
        found = [
            paid for paid in self.treasury.paid.get(listing.number, ())
            if paid.due >= since and (not until or paid.due <= until)
        ]  # fmt: skip
        limit = min(whole(params, "limit", 100), 1000)
        rows = []
        for paid in found[:limit] if since else found[-limit:]:
            row: Json = {
                "symbol": listing.symbol, "fundingRate": rate_text(paid.rate), "fundingTime": paid.due // MS,
            }  # fmt: skip
            rows.append(row | ({"markPrice": listing.price.text(paid.mark)} if market is Market.USDM else {}))
        return rows

    def asset_index(self, market: Market, params: Params, now: int) -> Any:
        """`GET assetIndex`: what assets are taken for in multi-assets mode."""
        rows = []
        for asset, rule in self.treasury.collateral.items():
            worth, counts = (float(value) for value in self.treasury.taken(asset))
            rows.append(
                {
                    "symbol": f"{asset}USD",
                    "time": now // MS,
                    "index": f"{worth:.8f}",
                    "bidBuffer": f"{float(rule.buffer):.8f}",
                    "askBuffer": "0.00000000",
                    "bidRate": f"{counts:.8f}",
                    "askRate": f"{worth:.8f}",
                }
            )
        wanted = params.get("symbol")
        return next((row for row in rows if row["symbol"] == wanted), None) if wanted else rows

    def open_interest(self, market: Market, params: Params, now: int) -> Json:
        """`GET openInterest`: base units, on COIN-M contracts."""
        listing = listing_of(self.exchange.listings, market, params)
        made: Json = {
            "symbol": listing.symbol, "openInterest": listing.qty.text(self.treasury.interest(listing)),
            "time": now // MS,
        }  # fmt: skip
        return made | ({"pair": listing.pair, "contractType": "PERPETUAL"} if market is Market.COINM else {})


def rate_text(rate: int) -> str:
    """A rate of 1e-8 as decimal text."""
    return f"{'-' if rate < 0 else ''}{abs(rate) // E8}.{abs(rate) % E8:08d}"


def _price_filter(listing: Listing) -> Json:
    tick = plain(listing.instrument.tick)
    return {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000000", "tickSize": tick}


def _lot_filter(listing: Listing, name: str) -> Json:
    bounds = {
        "minQty": plain(listing.instrument.qty(listing.min_lots)),
        "stepSize": plain(listing.instrument.lot),
    }
    return {"filterType": name, "maxQty": plain(listing.instrument.qty(listing.max_lots)), **bounds}


def spot_symbol(listing: Listing, trading: bool) -> Json:
    """A spot symbol as `exchangeInfo` lists it."""
    item = listing.instrument
    return {
        "symbol": item.symbol,
        "status": "TRADING" if trading else "HALT",
        "baseAsset": item.base,
        "baseAssetPrecision": 8,
        "quoteAsset": item.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _TYPES[False],
        "icebergAllowed": True,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            _price_filter(listing),
            _lot_filter(listing, "LOT_SIZE"),
            _lot_filter(listing, "MARKET_LOT_SIZE"),
            {
                "filterType": "NOTIONAL",
                "minNotional": plain(item.min_notional),
                "applyMinToMarket": True,
                "maxNotional": "9000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": _MODES,
    }


def futures_symbol(listing: Listing, trading: bool) -> Json:
    """A futures symbol as `exchangeInfo` lists it."""
    item = listing.instrument
    coin = listing.market is Market.COINM
    filters = [
        _price_filter(listing),
        _lot_filter(listing, "LOT_SIZE"),
        _lot_filter(listing, "MARKET_LOT_SIZE"),
    ]
    filters.append({"filterType": "MAX_NUM_ORDERS", "limit": 200})
    if not coin:
        filters.append({"filterType": "MIN_NOTIONAL", "notional": plain(item.min_notional)})
    made: Json = {
        "symbol": item.symbol,
        "pair": listing.pair if coin else item.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": FOREVER,
        "onboardDate": 0,
        "contractStatus" if coin else "status": "TRADING" if trading else "SETTLING",
        "maintMarginPercent": plain(item.maintenance_margin * 100),
        "requiredMarginPercent": plain(item.initial_margin * 100),
        "baseAsset": item.base,
        "quoteAsset": item.quote,
        "marginAsset": listing.settle,
        "pricePrecision": listing.precision,
        "quantityPrecision": listing.qty_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": filters,
        "orderTypes" if not coin else "OrderType": _TYPES[True],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
    if coin:
        made["contractSize"] = int(item.multiplier)
        made["orderTypes"] = _TYPES[True]
    return made
