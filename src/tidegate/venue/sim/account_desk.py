"""The requests about accounts: balances, positions, own trades, leverage and margin type."""

from __future__ import annotations

from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.scale import ScaleError
from tidegate.model.time import MS
from tidegate.venue.sim import margin
from tidegate.venue.sim.admission import needed, whole
from tidegate.venue.sim.call import Call, listing_of, maybe_listing
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.lending import Lender
from tidegate.venue.sim.listing import PURSE
from tidegate.venue.sim.order import Trade
from tidegate.venue.sim.order_desk import window
from tidegate.venue.sim.refusal import Refused, illegal
from tidegate.venue.sim.treasury import Treasury
from tidegate.venue.sim.views import Json, futures_asset, position_view, spot_balance, trade_view


class AccountDesk:
    """Answers `Call`s about an account."""

    def __init__(self, exchange: Exchange, treasury: Treasury, lender: Lender) -> None:
        self.exchange, self.treasury, self._lender = exchange, treasury, lender
        self._loans = 0

    def account(self, call: Call) -> Json:
        """`GET account`, of spot or of a futures market."""
        if call.market is Market.SPOT:
            return self._spot(call)
        assets = self._assets(call)
        positions = self.positions(call._replace(params={}), everything=True)
        total = assets[0] if len(assets) == 1 else _sum(assets)
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": False,
            "canWithdraw": False,
            "multiAssetsMargin": call.account.multi and call.market is Market.USDM,
            "updateTime": call.now // MS,
            "totalInitialMargin": total["initialMargin"],
            "totalMaintMargin": total["maintMargin"],
            "totalWalletBalance": total["walletBalance"],
            "totalUnrealizedProfit": total["unrealizedProfit"],
            "totalMarginBalance": total["marginBalance"],
            "totalPositionInitialMargin": total["positionInitialMargin"],
            "totalOpenOrderInitialMargin": total["openOrderInitialMargin"],
            "totalCrossWalletBalance": total["crossWalletBalance"],
            "totalCrossUnPnl": total["crossUnPnl"],
            "availableBalance": total["availableBalance"],
            "maxWithdrawAmount": total["maxWithdrawAmount"],
            "assets": assets,
            "positions": positions,
        }

    def _spot(self, call: Call) -> Json:
        account = call.account
        omit = call.params.get("omitZeroBalances", "").lower() == "true"
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": "0.001", "taker": "0.001", "buyer": "0", "seller": "0"},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": call.now // MS,
            "accountType": "SPOT",
            "balances": [
                spot_balance(account, asset)
                for asset, held in account.spot.items()
                if not omit or held.free or held.locked
            ],
            "permissions": ["SPOT"],
            "uid": account.number + 1,
        }

    def margin(self, call: Call) -> Json:
        """`GET margin/account`."""
        return self._lender.view(call.account)

    def borrow_or_repay(self, call: Call) -> Json:
        """`POST margin/borrow-repay`."""
        account, asset, lender = call.account, needed(call.params, "asset"), self._lender
        try:
            units = money.to_units(needed(call.params, "amount"), asset)
        except ScaleError:
            raise illegal("amount") from None
        kind = needed(call.params, "type").upper()
        if asset not in account.spot or kind not in ("BORROW", "REPAY"):
            raise illegal("type" if asset in account.spot else "asset")
        if kind == "BORROW":
            lender.borrow(account, asset, units, call.now)
        elif account.spot[asset].free < units:
            raise Refused(-3041, "Balance is not enough")
        elif not lender.repay(account, asset, units, call.now):
            raise Refused(-3015, "Repay amount exceeds borrow amount.")
        self._loans += 1
        return {"tranId": self._loans}

    def _assets(self, call: Call) -> list[Json]:
        mark_of = self.exchange.mark
        return [
            futures_asset(call.account, market, asset, mark_of, call.now)
            for market, asset in call.account.wallets
            if market is call.market
        ]

    def balance(self, call: Call) -> list[Json]:
        """`GET balance` of a futures market."""
        made = []
        for row in self._assets(call):
            row["accountAlias"], row["balance"] = call.account.name, row["walletBalance"]
            made.append(row)
        return made

    def positions(self, call: Call, everything: bool = False) -> list[Json]:
        """`GET positionRisk`: every symbol's position; version 3 leaves out those that are flat."""
        one = maybe_listing(self.exchange.listings, call.market, call.params)
        listed = [one] if one else self.exchange.listings.of(call.market)
        mark_of = self.exchange.mark
        return [position_view(call.account, item, mark_of, call.now) for item in listed]

    def open_positions(self, call: Call) -> list[Json]:
        """`GET positionRisk` v3: positions that are not flat, or have orders."""
        account = call.account
        busy = {order.listing.symbol for order in account.open.values()}
        busy |= {self.exchange.listings[n].symbol for n, p in account.positions.items() if p.lots}
        return [row for row in self.positions(call) if row["symbol"] in busy]

    def trades(self, call: Call) -> list[Json]:
        """`GET myTrades`, `GET userTrades`: from an id on, between two times (ms), of an order, or the newest."""
        symbol = call.market is Market.SPOT or call.params.get("symbol")
        listing = listing_of(self.exchange.listings, call.market, call.params) if symbol else None
        order = whole(call.params, "orderId")
        mine = [
            trade for trade in call.account.trades.values()
            if not trade.busted and trade.order.listing.market is call.market
            and (listing is None or trade.order.listing is listing) and (not order or trade.order.id == order)
        ]  # fmt: skip
        return [trade_view(trade) for trade in window(mine, call.params, "fromId", _traded)]

    def leverage(self, call: Call) -> Json:
        """`POST leverage`."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        needed(call.params, "leverage")
        value = whole(call.params, "leverage")
        item = listing.instrument
        if not 1 <= value <= margin.brackets(item)[0].leverage:
            raise Refused(-4028, f"Leverage {value} is not valid")
        call.account.leverage[listing.number] = value
        most = margin.most_notional(item, value).normalize()
        return {"symbol": listing.symbol, "leverage": value, "maxNotionalValue": f"{most:f}"}

    def brackets(self, call: Call) -> list[Json]:
        """`GET leverageBracket`; on COIN-M version 1 goes by pair."""
        if call.market is not Market.COINM:
            return self.symbol_brackets(call)
        pairs = {item.pair: item for item in reversed(self.exchange.listings.of(call.market))}
        pair = call.params.get("pair", "")
        return [margin.brackets_view(item, "pair") for name, item in pairs.items() if pair in ("", name)]

    def symbol_brackets(self, call: Call) -> list[Json]:
        """`GET leverageBracket` by symbol: version 2 on COIN-M."""
        one = maybe_listing(self.exchange.listings, call.market, call.params)
        listed = [one] if one else self.exchange.listings.of(call.market)
        return [margin.brackets_view(item, "symbol") for item in listed]

    def margin_type(self, call: Call) -> Json:
        """`POST marginType`: taken note of; every position is margined as crossed."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        wanted = "isolated" if needed(call.params, "marginType").upper() == "ISOLATED" else "cross"
        if call.account.margin_type[listing.number] == wanted:
            raise Refused(-4046, "No need to change margin type.")
        call.account.margin_type[listing.number] = wanted
        return {"code": 200, "msg": "success"}

    def position_mode(self, call: Call) -> Json:
        """`GET positionSide/dual`: one position a symbol."""
        return {"dualSidePosition": False}

    def set_position_mode(self, call: Call) -> Json:
        """`POST positionSide/dual`."""
        if call.params.get("dualSidePosition", "").lower() == "true":
            raise Refused(-4060, "Invalid position side: the simulated exchange has one position a symbol.")
        raise Refused(-4059, "No need to change position side.")

    def commission(self, call: Call) -> Json:
        """`GET commissionRate`."""
        listing = listing_of(self.exchange.listings, call.market, call.params)
        item = listing.instrument
        return {
            "symbol": listing.symbol,
            "makerCommissionRate": str(item.maker_fee),
            "takerCommissionRate": str(item.taker_fee),
        }

    def multi_assets(self, call: Call) -> Json:
        """`GET multiAssetsMargin`."""
        return {"multiAssetsMargin": call.account.multi}

    def set_multi_assets(self, call: Call) -> Json:
        """`POST multiAssetsMargin`."""
        wanted = needed(call.params, "multiAssetsMargin").lower() == "true"
        if wanted == call.account.multi_assets:
            raise Refused(-4171, "No need to change multi-assets mode.")
        call.account.multi_assets = wanted
        return {"code": 200, "msg": "success"}

    def income(self, call: Call) -> list[Json]:
        """`GET income`: fundings, oldest first, of a symbol, between two times (ms)."""
        symbol, kind = call.params.get("symbol"), call.params.get("incomeType")
        since, until = whole(call.params, "startTime"), whole(call.params, "endTime")
        found = [
            {name: value for name, value in row.items() if name != "market"}
            for row in self.treasury.income.get(call.account.number, ())
            if row["market"] is call.market and symbol in (None, row["symbol"]) and kind in (None, row["incomeType"])
            and row["time"] >= since and (not until or row["time"] <= until)
        ]  # fmt: skip
        return found[-min(whole(call.params, "limit", 100), 1000) :]


def _traded(trade: Trade) -> int:
    return trade.ts


def _sum(assets: list[Json]) -> Json:
    """Totals over wallets of different assets mean nothing: zeros, as Binance shows them on COIN-M."""
    return dict.fromkeys(assets[0], PURSE.text("USD", 0)) if assets else {}
